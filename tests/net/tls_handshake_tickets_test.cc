// Tickets of the server's own handshake: where they resume, and where a full handshake follows.
#include <gmock/gmock.h>

#include <ctime>

#include "tests/net/tls_handshake_peer.h"

namespace net {
namespace {

using testing::Each;
using testing::SizeIs;

// A session with another ticket or secret, which OpenSSL has no setter for.
SSL_SESSION* Altered(SSL_SESSION* session, std::span<const uint8_t> part, size_t at) {
  Bytes der(static_cast<size_t>(i2d_SSL_SESSION(session, nullptr)));
  unsigned char* to = der.data();
  i2d_SSL_SESSION(session, &to);
  auto found = std::ranges::search(der, part);
  CHECK(!found.empty() && at < found.size());
  found[static_cast<long>(at)] ^= 1;
  const unsigned char* from = der.data();
  SSL_SESSION* altered = d2i_SSL_SESSION(nullptr, &from, static_cast<long>(der.size()));
  CHECK(altered != nullptr);
  return altered;
}
std::span<const uint8_t> TicketOf(SSL_SESSION* session) {
  const unsigned char* ticket = nullptr;
  size_t size = 0;
  SSL_SESSION_get0_ticket(session, &ticket, &size);
  return {ticket, size};
}

class TlsHandshakeTickets : public testing::Test, public TlsHandshakeFixture {
 protected:
  // A session of a full handshake with `context`; kept until the end of the test.
  SSL_SESSION* Ticket(const std::shared_ptr<const TlsServerContext>& context,
                      const Prepare& prepare = {}) {
    const Outcome outcome = Connect(context, prepare);
    EXPECT_TRUE(outcome.ok) << outcome.server_error;
    EXPECT_FALSE(outcome.resumed);
    CHECK(newest() != nullptr);
    return newest();
  }
  void ExpectResumed(const Outcome& outcome) {
    EXPECT_TRUE(outcome.ok) << outcome.server_error;
    EXPECT_TRUE(outcome.resumed);
    EXPECT_TRUE(outcome.facts != nullptr && outcome.facts->resumed);
  }
  void ExpectFull(const Outcome& outcome) {
    EXPECT_TRUE(outcome.ok) << outcome.server_error;
    EXPECT_FALSE(outcome.resumed);
    EXPECT_TRUE(outcome.facts != nullptr && !outcome.facts->resumed);
  }
};

// --- where they resume ------------------------------------------------------------------------

TEST_F(TlsHandshakeTickets, AnotherWorkerAndAnotherContextWithTheSameKeysResumes) {
  const TlsServerOptions options = Options();
  SSL_SESSION* session = Ticket(Server(options));
  worker_ = (server_.reset(), NewWorker());
  ExpectResumed(Resume(Server(options), session));
  EXPECT_EQ(declined(), 0u);
}

TEST_F(TlsHandshakeTickets, TheyResumeUntilTheSecondRotation) {
  const TlsServerOptions options = Options();
  const auto context = Server(options);
  SSL_SESSION* session = Ticket(context);
  options.tickets->Rotate();
  ExpectResumed(Resume(context, session));
  SSL_SESSION* newer = newest();
  options.tickets->Rotate();  // its key was the current, then the oldest, and is gone now
  ExpectFull(Resume(context, session));
  ExpectResumed(Resume(context, newer));
  options.tickets->Rotate();
  ExpectFull(Resume(context, newer));
  EXPECT_EQ(declined(), 0u);
}

TEST_F(TlsHandshakeTickets, ATicketFromABalancerThatHasRotatedAlreadyResumes) {
  TlsServerOptions options = Options();
  ASSERT_TRUE(options.tickets->Save(folder_.Path("tickets")));
  const auto here = Server(options);
  auto there = TlsTicketKeys::FromFile(folder_.Path("tickets"));
  ASSERT_TRUE(there.has_value());
  options.tickets = *there;
  (*there)->Rotate();
  ExpectResumed(Resume(here, Ticket(Server(options))));
}

TEST_F(TlsHandshakeTickets, EachTicketOfOneHandshakeResumesAndHasItsOwnSecret) {
  TlsServerOptions options = Options();
  options.tickets_per_handshake = 2;
  const auto context = Server(options);
  Ticket(context);
  ASSERT_THAT(sessions_, SizeIs(2));
  EXPECT_NE(PskOf(sessions_[0]), PskOf(sessions_[1]));
  EXPECT_NE(Copy(TicketOf(sessions_[0])), Copy(TicketOf(sessions_[1])));
  ExpectResumed(Resume(context, sessions_[0]));
  ASSERT_THAT(sessions_, SizeIs(4)) << "a resumed handshake brings new ones";
  ExpectResumed(Resume(context, sessions_[1]));
  ExpectResumed(Resume(context, sessions_[3]));
  EXPECT_EQ(declined(), 0u);
}

TEST_F(TlsHandshakeTickets, TicketsSayHowLongTheyLive) {
  TlsServerOptions options = Options();
  options.ticket_lifetime = std::chrono::seconds(300);
  EXPECT_EQ(SSL_SESSION_get_ticket_lifetime_hint(Ticket(Server(options))), 300u);
  options.ticket_lifetime = std::chrono::days(30);  // RFC 8446 allows seven days
  EXPECT_EQ(SSL_SESSION_get_ticket_lifetime_hint(Ticket(Server(options))), 604'800u);
}

TEST_F(TlsHandshakeTickets, WithoutKeysOrWithACountOfZeroNoneIsSent) {
  TlsServerOptions options = Options();
  options.tickets_per_handshake = 0;
  ExpectFull(Connect(Server(options)));
  options.tickets_per_handshake = 2;
  options.tickets = nullptr;
  ExpectFull(Connect(Server(options)));
  EXPECT_THAT(sessions_, SizeIs(0));
  EXPECT_EQ(declined(), 0u);
}

TEST_F(TlsHandshakeTickets, WithoutKeysATicketIsPassedOver) {
  TlsServerOptions options = Options();
  SSL_SESSION* session = Ticket(Server(options));
  options.tickets = nullptr;
  ExpectFull(Resume(Server(options), session));
  EXPECT_EQ(declined(), 0u);
}

TEST_F(TlsHandshakeTickets, ResumedConnectionsNameTheCertificateThatWasShown) {
  TlsServerOptions options;
  options.tickets = TlsTicketKeys::Random();
  options.sites.push_back({.certificates = {Files({.key_type = "RSA2048"}), Files()}});
  const auto context = Server(options);
  const Prepare only_rsa = [](SSL* ssl) {
    CHECK(SSL_set1_sigalgs_list(ssl, "rsa_pss_rsae_sha256") == 1);
  };
  SSL_SESSION* session = Ticket(context, only_rsa);
  const Outcome again = Resume(context, session);  // now it would be shown the other
  ExpectResumed(again);
  EXPECT_EQ(again.facts->server_end_point, again.end_point);
  EXPECT_NE(again.end_point, Connect(context).end_point);
}

// --- where a full handshake follows -----------------------------------------------------------

TEST_F(TlsHandshakeTickets, ExpiredOnesAreRefused) {
  TlsServerOptions options = Options();
  SSL_SESSION* session = Ticket(Server(options));
  options.ticket_lifetime = std::chrono::seconds(0);
  ExpectFull(Resume(Server(options), session));
  EXPECT_EQ(declined(), 0u);
}

TEST_F(TlsHandshakeTickets, AlteredOnesAreRefusedWhereverTheByteLies) {
  const auto context = Server(Options());
  SSL_SESSION* session = Ticket(context);
  const size_t size = TicketOf(session).size();
  for (size_t at = 0; at < size; at += 3) {
    SSL_SESSION* altered = Altered(session, TicketOf(session), at);
    ExpectFull(Resume(context, altered));
    SSL_SESSION_free(altered);
  }
  ExpectResumed(Resume(context, session));
  EXPECT_EQ(declined(), 0u);
}

TEST_F(TlsHandshakeTickets, OfAnotherSiteTheyAreRefused) {
  TlsServerOptions options = Options();
  options.sites.push_back({.names = {"other.example"}, .certificates = {Files()}});
  const auto context = Server(options);
  SSL_SESSION* session = Ticket(context, [](SSL* ssl) { SetName(ssl, "example.org"); });
  ExpectFull(Resume(context, session, [](SSL* ssl) { SetName(ssl, "other.example"); }));
  ExpectResumed(Resume(context, session, [](SSL* ssl) { SetName(ssl, "example.org"); }));
  EXPECT_EQ(declined(), 0u);
}

TEST_F(TlsHandshakeTickets, AfterTheCertificateChangedTheyAreRefused) {
  TlsServerOptions options = Options();
  SSL_SESSION* session = Ticket(Server(options));
  options.sites[0].certificates = {Files()};
  ExpectFull(Resume(Server(options), session));
  EXPECT_EQ(declined(), 0u);
}

TEST_F(TlsHandshakeTickets, AtASiteThatAsksForClientCertificatesTheyAreRefused) {
  TlsServerOptions options = Options();
  SSL_SESSION* session = Ticket(Server(options));
  options.sites[0].client_auth = TlsClientAuth::kOptional;
  options.sites[0].client_ca = options.sites[0].certificates[0].chain;
  ExpectFull(Resume(Server(options), session));
}

TEST_F(TlsHandshakeTickets, OpenSslsAreNotTakenHereNorTheReverse) {
  const TlsServerOptions options = Options();
  const auto own = Server(options);
  const auto by_openssl = ByOpenSsl(options);
  SSL_SESSION* ours = Ticket(own);
  SSL_SESSION* theirs = Ticket(by_openssl);
  ExpectFull(Resume(own, theirs));
  ExpectFull(Resume(by_openssl, ours));
  ExpectResumed(Resume(own, ours));
  ExpectResumed(Resume(by_openssl, theirs));
  EXPECT_EQ(declined(), declined(TlsDecline::kOff));
}

TEST_F(TlsHandshakeTickets, WithASuiteOfAnotherHashTheyAreRefusedWithOneOfTheSameTheyResume) {
  const TlsServerOptions options = Options();
  auto with = [](const char* suite) {
    return [suite](SSL* ssl) { CHECK(SSL_set_ciphersuites(ssl, suite) == 1); };
  };
  auto ticket = [&] { return Ticket(Server(options), with("TLS_AES_128_GCM_SHA256")); };
  ExpectResumed(Resume(Server(options), ticket(), with("TLS_CHACHA20_POLY1305_SHA256")));
  TlsServerOptions other = options;
  other.policy.suites = "TLS_AES_256_GCM_SHA384";
  SSL_SESSION* session = ticket();
  const Prepare both = with("TLS_AES_256_GCM_SHA384:TLS_AES_128_GCM_SHA256");
  const Bytes hello = Hello([&](SSL* ssl) {
    SSL_set_session(ssl, session);
    both(ssl);
  });
  ASSERT_NE(HelloParts(hello).Find(41), nullptr) << "the ticket is offered";
  EXPECT_FALSE(ReadServerHello(AnswerTo(Server(other), hello))->psk.has_value());
  ExpectFull(Resume(Server(other), session, both));
  EXPECT_EQ(declined(), 0u);
}

// --- what clients can do to them --------------------------------------------------------------

TEST_F(TlsHandshakeTickets, AForgedBinderEndsTheConnectionWithAnAlertInTheClear) {
  const auto context = Server(Options());
  for (const char* suite : {"TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384"}) {
    const Prepare with = [&](SSL* ssl) { CHECK(SSL_set_ciphersuites(ssl, suite) == 1); };
    SSL_SESSION* session = Ticket(context, with);
    SSL_SESSION* forged = Altered(session, PskOf(session), 5);
    const Bytes hello = Hello([&](SSL* ssl) {
      with(ssl);
      SSL_set_session(ssl, forged);
    });
    EXPECT_EQ(AnswerTo(context, hello), (Bytes{21, 3, 3, 0, 2, 2, 51}));
    const Outcome outcome = Resume(context, forged, with);
    EXPECT_FALSE(outcome.ok);
    EXPECT_EQ(outcome.client_error, SSL_R_TLSV1_ALERT_DECRYPT_ERROR);
    EXPECT_EQ(outcome.server_error, "a pre-shared key's binder is wrong");
    SSL_SESSION_free(forged);
  }
  server_.reset();
  EXPECT_EQ(worker_->counters().handshakes_failed, 4u);
  EXPECT_EQ(worker_->counters().handshakes_resumed, 0u);
  EXPECT_EQ(declined(), 0u);
}

TEST_F(TlsHandshakeTickets, TheBinderVouchesForEveryByteOfTheHello) {
  const auto context = Server(Options());
  SSL_SESSION* session = Ticket(context);
  const Bytes hello = Hello([&](SSL* ssl) { SSL_set_session(ssl, session); });
  ASSERT_TRUE(ReadServerHello(AnswerTo(context, hello))->psk.has_value());
  for (size_t at = kTlsHeaderBytes; at < hello.size(); ++at) {
    Bytes changed = hello;
    changed[at] ^= 4;
    const auto answer = ReadServerHello(AnswerTo(context, changed));
    EXPECT_FALSE(answer && answer->psk) << at;
  }
}

class TlsHandshakeIdentities : public TlsHandshakeTickets {
 protected:
  // A resuming hello with `strangers` identities before ours.
  HelloParts With(SSL_SESSION* session, size_t strangers) {
    HelloParts hello(Hello([&](SSL* ssl) { SSL_set_session(ssl, session); }));
    UseShare(&hello, key_.share());
    Bytes* keys = hello.Find(41);
    ByteReader reader(*keys);
    const Bytes identity = Copy(reader.Vector(2));
    const Bytes binder = Copy(reader.Vector(2));
    Bytes identities, binders;
    for (size_t i = 0; i < strangers; ++i) {
      AddVector(&identities, 2, Bytes(100 + i, 's'));
      AddNumber(&identities, 0, 4);
      AddVector(&binders, 1, Bytes(32, 'b'));
    }
    AddBytes(&identities, identity);
    AddBytes(&binders, binder);
    keys->clear();
    AddVector(keys, 2, identities);
    AddVector(keys, 2, binders);
    Rebind(&hello, TlsDigest::kSha256, PskOf(session));
    return hello;
  }
  // The first byte of each message in the first record under the handshake's keys.
  std::vector<int> Messages(const HelloParts& hello, const Bytes& psk,
                            const ServerHelloFacts& answer) {
    TestSchedule schedule(TlsDigest::kSha256);
    const Bytes secret =
        schedule.Expand(schedule.Handshake(psk, key_.SharedWith(answer.share)), "s hs traffic",
                        schedule.Hash({hello.Message(), answer.message}));
    TlsRecordState state;
    CHECK(StartTlsRecords(worker_->records(), SuiteOf(answer.suite), true, secret, secret, &state));
    Bytes rest = answer.rest;
    while (!rest.empty() && rest[0] == 20) rest.erase(rest.begin(), rest.begin() + 6);
    const OpenedRecord opened = OpenNext(worker_->records(), &state, &rest);
    EXPECT_EQ(opened.error, TlsAlert::kNone);
    std::vector<int> types;
    ByteReader reader(opened.content);
    while (!reader.empty()) {
      types.push_back(static_cast<int>(reader.Number(1)));
      reader.Vector(3);
    }
    EXPECT_TRUE(reader.ok());
    return types;
  }
  static Prepare Aes128() {
    return [](SSL* ssl) { CHECK(SSL_set_ciphersuites(ssl, "TLS_AES_128_GCM_SHA256") == 1); };
  }
  TestKeyShare key_;
};

TEST_F(TlsHandshakeIdentities, OursMayBeAmongOthersButNotBehindTooMany) {
  const auto context = Server(Options());
  SSL_SESSION* session = Ticket(context, Aes128());
  for (size_t strangers = 0; strangers < 8; ++strangers) {
    const HelloParts hello = With(session, strangers);
    const auto answer = ReadServerHello(AnswerTo(context, hello.Wire()));
    ASSERT_TRUE(answer.has_value());
    if (strangers < 4) {
      EXPECT_EQ(answer->psk, strangers);
      EXPECT_THAT(Messages(hello, PskOf(session), *answer), testing::ElementsAre(8, 20));
    } else {
      EXPECT_FALSE(answer->psk.has_value());
      EXPECT_THAT(Messages(hello, {}, *answer), testing::ElementsAre(8, 11, 15, 20));
    }
  }
  EXPECT_EQ(declined(), 0u);
}

TEST_F(TlsHandshakeIdentities, TheBinderThatCountsStandsWhereItsIdentityDoes) {
  const auto context = Server(Options());
  SSL_SESSION* session = Ticket(context, Aes128());
  HelloParts hello = With(session, 1);
  Bytes* keys = hello.Find(41);
  // Ours in the stranger's place, the stranger's in ours.
  std::swap_ranges(keys->end() - 66, keys->end() - 33, keys->end() - 33);
  EXPECT_EQ(AnswerTo(context, hello.Wire()), (Bytes{21, 3, 3, 0, 2, 2, 51}));
  EXPECT_EQ(declined(), 0u);
}

TEST_F(TlsHandshakeIdentities, ABinderOfAnotherSizeIsForged) {
  const auto context = Server(Options());
  SSL_SESSION* session = Ticket(context, Aes128());
  HelloParts hello = With(session, 0);
  Bytes* keys = hello.Find(41);
  ByteReader reader(*keys);
  const Bytes identities = Copy(reader.Vector(2));
  Bytes list;
  AddVector(&list, 1, Bytes(48, 1));
  keys->clear();
  AddVector(keys, 2, identities);
  AddVector(keys, 2, list);
  EXPECT_EQ(AnswerTo(context, hello.Wire()), (Bytes{21, 3, 3, 0, 2, 2, 51}));
}

// Tickets as a balancer with our keys could have made them.
TEST_F(TlsHandshakeIdentities, WhatATicketSaysMustFitTheSiteAndTheTime) {
  TlsServerOptions options = Options();
  options.ticket_lifetime = std::chrono::hours(1);
  const auto context = Server(options);
  SSL_SESSION* session = Ticket(context, Aes128());
  const int64_t now = std::time(nullptr);
  TlsTicket genuine{.issued = now - 1800, .site = context->plan().Binding(0, "")};
  std::ranges::copy(PskOf(session), genuine.psk.begin());
  auto taken = [&](const std::function<void(TlsTicket*)>& change) {
    TlsTicket ticket = genuine;
    change(&ticket);
    std::array<uint8_t, kTlsTicketBytesMax> sealed;
    const size_t size =
        TlsTicketSealer().Seal(*options.tickets->set(), ticket, std::array<uint8_t, 12>{}, sealed);
    HelloParts hello = With(session, 0);
    Bytes identities, binders;
    AddVector(&identities, 2, std::span(sealed).first(size));
    AddNumber(&identities, 0, 4);
    AddVector(&binders, 1, Bytes(32));
    Bytes* keys = hello.Find(41);
    keys->clear();
    AddVector(keys, 2, identities);
    AddVector(keys, 2, binders);
    Rebind(&hello, TlsDigest::kSha256, PskOf(session));
    const auto answer = ReadServerHello(AnswerTo(context, hello.Wire()));
    EXPECT_TRUE(answer.has_value());
    return answer && answer->psk.has_value();
  };
  EXPECT_TRUE(taken([](TlsTicket*) {}));
  EXPECT_TRUE(taken([](TlsTicket* it) { it->suite = TlsSuite::kChaCha20Poly1305Sha256; }));
  EXPECT_FALSE(taken([](TlsTicket* it) { it->suite = TlsSuite::kAes256GcmSha384; }));
  EXPECT_FALSE(taken([](TlsTicket* it) { it->signer = 1; })) << "the site has one certificate";
  EXPECT_FALSE(taken([](TlsTicket* it) { it->site[31] ^= 1; }));
  EXPECT_FALSE(taken([&](TlsTicket* it) { it->site = context->plan().Binding(0, "example.net"); }));
  EXPECT_FALSE(taken([&](TlsTicket* it) { it->issued = now - 3600; })) << "too old";
  EXPECT_TRUE(taken([&](TlsTicket* it) { it->issued = now - 3500; }));
  EXPECT_FALSE(taken([&](TlsTicket* it) { it->issued = now + 600; })) << "of the future";
  EXPECT_FALSE(taken([](TlsTicket* it) { it->issued = -1; }));
  EXPECT_EQ(declined(), 0u);
}

TEST_F(TlsHandshakeIdentities, WithoutTheModeThatKeepsForwardSecrecyNoneIsTaken) {
  const auto context = Server(Options());
  SSL_SESSION* session = Ticket(context, Aes128());
  HelloParts hello = With(session, 0);
  *hello.Find(45) = {1, 0};  // psk_ke alone
  Rebind(&hello, TlsDigest::kSha256, PskOf(session));
  auto answer = ReadServerHello(AnswerTo(context, hello.Wire()));
  ASSERT_TRUE(answer.has_value());
  EXPECT_FALSE(answer->psk.has_value());
  EXPECT_THAT(Messages(hello, {}, *answer), testing::ElementsAre(8, 11, 15, 20));
  *hello.Find(45) = {2, 0, 1};
  Rebind(&hello, TlsDigest::kSha256, PskOf(session));
  answer = ReadServerHello(AnswerTo(context, hello.Wire()));
  ASSERT_TRUE(answer.has_value());
  EXPECT_EQ(answer->psk, 0u);
  EXPECT_EQ(declined(), 0u);
}

TEST_F(TlsHandshakeIdentities, EarlyDataIsLeftToOpenSslWhichRefusesTheTicket) {
  const auto context = Server(Options());
  SSL_SESSION* session = Ticket(context, Aes128());
  HelloParts hello = With(session, 0);
  hello.Add(42, {});
  Rebind(&hello, TlsDigest::kSha256, PskOf(session));
  const auto answer = ReadServerHello(AnswerTo(context, hello.Wire()));
  EXPECT_EQ(declined(TlsDecline::kExtension), 1u);
  ASSERT_TRUE(answer.has_value());
  EXPECT_FALSE(answer->psk.has_value());
}

}  // namespace
}  // namespace net
