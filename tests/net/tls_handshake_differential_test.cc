// Differential: thousands of seeded changes to real hellos. Where the own handshake answers,
// OpenSSL must answer as well, with the same suite, group, protocol, certificate and signature.
// Never may it be the more lenient.
#include <random>

#include "tests/net/tls_gnutls_hello.h"
#include "tests/net/tls_handshake_peer.h"

namespace net {
namespace {

// The extensions, as far as a report needs them.
std::string Describe(const Bytes& wire) {
  std::string text;
  for (const HelloParts::Extension& one : HelloParts(wire).extensions) {
    text += " " + std::to_string(one.type) + "=";
    for (size_t i = 0; i < std::min<size_t>(one.body.size(), 12); ++i) {
      constexpr std::string_view kDigits = "0123456789abcdef";
      text += {kDigits[one.body[i] >> 4], kDigits[one.body[i] & 15]};
    }
  }
  return text;
}

struct Answers {
  int answered = 0;
  int resumed = 0;
  int read = 0;  // flights that were decrypted and compared
  int refused = 0;
};

// What stands in a server's flight under the handshake's keys.
struct Flight {
  Bytes alpn;         // the extension
  Bytes certificate;  // the message
  size_t scheme = 0;
  bool operator==(const Flight&) const = default;
};

class TlsHelloDifferential : public testing::Test, public TlsHandshakeFixture {
 protected:
  TlsHelloDifferential() {
    options_.tickets = TlsTicketKeys::Random();
    options_.alpn = {"xmpp-client", "xmpp-server"};
    options_.sites = {{.certificates = {Files(), Files({.key_type = "RSA2048"})}},
                      {.names = {"other.example"}, .certificates = {Files({.key_type = "P-384"})}}};
    own_ = Server(options_);
    by_openssl_ = ByOpenSsl(options_);
  }
  size_t Pick(size_t low, size_t high) { return low + random_() % (high - low + 1); }
  Bytes RandomBytes(size_t size) {
    Bytes bytes(size);
    for (uint8_t& byte : bytes) byte = static_cast<uint8_t>(random_());
    return bytes;
  }

  std::vector<Bytes> Hellos() {
    return {Hello([](SSL* ssl) {
              SetName(ssl, "example.org");
              SetAlpn(ssl, {"h2", "xmpp-server", "xmpp-client"});
              SSL_set_tlsext_status_type(ssl, TLSEXT_STATUSTYPE_ocsp);
            }),
            Hello([](SSL* ssl) {
              SSL_set_min_proto_version(ssl, TLS1_3_VERSION);
              SetName(ssl, "other.example");
              SSL_set_post_handshake_auth(ssl, 1);
            }),
            Hello([](SSL* ssl) {
              CHECK(SSL_set_ciphersuites(
                        ssl, "TLS_CHACHA20_POLY1305_SHA256:TLS_AES_256_GCM_SHA384") == 1);
            }),
            GnuTlsHello("NORMAL"), GnuTlsHello("NORMAL:-GROUP-ALL:+GROUP-X25519:+GROUP-SECP384R1")};
  }

  // One change to the fields, after which all lengths still fit.
  void ChangeFields(HelloParts* hello) {
    auto& list = hello->extensions;
    auto& one = list[Pick(0, list.size() - 1)];
    switch (Pick(0, 12)) {
      case 0:
        return std::swap(one, list[Pick(0, list.size() - 1)]);
      case 1:
        return list.insert(list.begin() + static_cast<long>(Pick(0, list.size())), one), void();
      case 2:
        return void(list.erase(list.begin() + static_cast<long>(Pick(0, list.size() - 1))));
      case 3: {  // another type, most often a known one
        static constexpr std::array<size_t, 24> kTypes = {0,  1,  5,  10, 11, 13, 14,    15,
                                                          16, 18, 21, 22, 23, 35, 41,    42,
                                                          43, 44, 45, 47, 49, 50, 13172, 65281};
        return hello->Add(kTypes[Pick(0, kTypes.size() - 1)], RandomBytes(Pick(0, 6)));
      }
      case 4:
        return hello->Add(Pick(0, 65535), RandomBytes(Pick(0, 300)));
      case 5:  // a body that ends early
        return one.body.resize(Pick(0, one.body.size()));
      case 6:
        return AddBytes(&one.body, RandomBytes(Pick(1, 4)));
      case 7: {  // suites in another order
        for (size_t i = 0; i + 3 < hello->suites.size(); i += 2) {
          const size_t j = 2 * Pick(0, hello->suites.size() / 2 - 1);
          std::swap_ranges(hello->suites.begin() + static_cast<long>(i),
                           hello->suites.begin() + static_cast<long>(i + 2),
                           hello->suites.begin() + static_cast<long>(j));
        }
        return;
      }
      case 8:
        return AddShare(hello);
      case 9:
        return hello->session_id.resize(Pick(0, 40));
      case 10:
        return hello->suites.resize(Pick(0, hello->suites.size()));
      case 11:
        return hello->compression.resize(Pick(0, 2));
      default:
        return Flip(one.body.empty() ? &hello->suites : &one.body);
    }
  }
  void Flip(Bytes* bytes) {
    if (bytes->empty()) return;
    (*bytes)[Pick(0, bytes->size() - 1)] ^= static_cast<uint8_t>(1 << Pick(0, 7));
  }
  // Another share before or behind those that are there.
  void AddShare(HelloParts* hello) {
    static constexpr std::array<size_t, 8> kGroups = {23, 24, 25, 29, 30, 256, 0x0a0a, 0x11ec};
    Bytes* body = hello->Find(51);
    if (body == nullptr || body->size() < 2) return;
    Bytes share;
    AddNumber(&share, kGroups[Pick(0, kGroups.size() - 1)], 2);
    AddVector(&share, 2, RandomBytes(Pick(0, 1) == 0 ? 32 : Pick(0, 70)));
    const bool before = Pick(0, 1) == 0;
    body->insert(before ? body->begin() + 2 : body->end(), share.begin(), share.end());
    const size_t size = body->size() - 2;
    (*body)[0] = static_cast<uint8_t>(size >> 8);
    (*body)[1] = static_cast<uint8_t>(size);
  }
  // A change that knows nothing of fields.
  void ChangeBytes(Bytes* wire) {
    switch (Pick(0, 3)) {
      case 0:
        return wire->resize(Pick(0, wire->size()));
      case 1:
        (*wire)[Pick(0, wire->size() - 1)] = static_cast<uint8_t>(random_());
        return;
      case 2:
        wire->insert(wire->begin() + static_cast<long>(Pick(0, wire->size())),
                     static_cast<uint8_t>(random_()));
        return;
      default:
        return Flip(wire);
    }
  }

  // The flight behind a ServerHello; nothing when the hello was not for our key.
  std::optional<Flight> Read(const Bytes& wire, const Bytes& psk, const ServerHelloFacts& answer) {
    const Bytes hello = Copy(std::span(wire).subspan(kTlsHeaderBytes));
    const TlsSuite suite = SuiteOf(answer.suite);
    TestSchedule schedule(DigestOfSuite(suite));
    const Bytes secret = schedule.Expand(
        schedule.Handshake(answer.psk ? psk : Bytes(), key_.SharedWith(answer.share)),
        "s hs traffic", schedule.Hash({hello, answer.message}));
    TlsRecordState state;
    CHECK(StartTlsRecords(worker_->records(), suite, true, secret, secret, &state));
    Bytes rest = answer.rest;
    Bytes messages;
    while (!rest.empty()) {
      if (rest[0] == 20) {
        rest.erase(rest.begin(), rest.begin() + 6);
        continue;
      }
      const OpenedRecord opened = OpenNext(worker_->records(), &state, &rest);
      if (opened.error != TlsAlert::kNone) return {};
      AddBytes(&messages, opened.content);
    }
    Flight flight;
    ByteReader reader(messages);
    while (!reader.empty()) {
      const size_t type = reader.Number(1);
      ByteReader body(reader.Vector(3));
      if (type == 8) {
        ByteReader extensions(body.Vector(2));
        while (!extensions.empty()) {
          const size_t extension = extensions.Number(2);
          const auto content = extensions.Vector(2);
          if (extension == 16) flight.alpn = Copy(content);
        }
      }
      if (type == 11) flight.certificate = Copy(body.Take(body.empty() ? 0 : 64));
      if (type == 15) flight.scheme = body.Number(2);
    }
    EXPECT_TRUE(reader.ok());
    return flight;
  }

  // OpenSSL takes the client's first share whatever the server prefers, and asks whether ChaCha20
  // is the first of all suites, not of TLS 1.3's. Where that makes a difference these come first.
  static Bytes AsOpenSslPrefers(const Bytes& wire) {
    HelloParts hello(wire);
    Bytes* body = hello.Find(51);
    ByteReader outer(*body);
    ByteReader list(outer.Vector(2));
    Bytes first, others;
    bool matters = false;
    while (!list.empty()) {
      const size_t group = list.Number(2);
      const auto share = list.Vector(2);
      matters |= first.empty() && (group == 23 || group == 24);
      Bytes* to = group == 29 ? &first : &others;
      AddNumber(to, group, 2);
      AddVector(to, 2, share);
    }
    AddBytes(&first, others);
    if (matters) {
      body->clear();
      AddVector(body, 2, first);
    }
    auto known = [](size_t suite) { return suite >= 0x1301 && suite <= 0x1305; };
    ByteReader suites(hello.suites);
    const bool known_first = known(suites.Number(2));
    Bytes front, back;
    for (suites = ByteReader(hello.suites); !suites.empty();) {
      const size_t suite = suites.Number(2);
      AddNumber(known(suite) ? &front : &back, suite, 2);
    }
    AddBytes(&front, back);
    if (!known_first) hello.suites = front;
    return matters || !known_first ? hello.Wire() : wire;
  }

  void Compare(const Bytes& wire, const Bytes& psk, Answers* answers) {
    const auto own = ReadServerHello(AnswerTo(own_, wire));
    const bool ours = own && worker_->on_openssl() == 0;
    if (!ours) {
      ++answers->refused;
      return;
    }
    ++answers->answered;
    const Bytes asked = AsOpenSslPrefers(wire);
    const auto theirs = ReadServerHello(AnswerTo(by_openssl_, asked));
    ASSERT_TRUE(theirs.has_value())
        << "OpenSSL says: " << server_->ErrorText() << ", to" << Describe(asked);
    EXPECT_EQ(own->suite, theirs->suite);
    EXPECT_EQ(own->group, theirs->group);
    if (own->psk) ++answers->resumed;
    if (HasFailure()) return;
    const auto own_flight = Read(wire, psk, *own);
    const auto their_flight = Read(asked, psk, *theirs);
    ASSERT_EQ(own_flight.has_value(), their_flight.has_value());
    if (!own_flight) return;
    ++answers->read;
    EXPECT_EQ(own_flight->alpn, their_flight->alpn);
    if (own->psk) return;  // OpenSSL does not know the ticket
    EXPECT_EQ(own_flight->certificate, their_flight->certificate);
    EXPECT_EQ(own_flight->scheme, their_flight->scheme);
  }

  TlsServerOptions options_;
  std::shared_ptr<const TlsServerContext> own_;
  std::shared_ptr<const TlsServerContext> by_openssl_;
  TestKeyShare key_;
  std::mt19937 random_;
};

// Our key takes the place of X25519's in a hello, whatever stands beside it.
void PutShare(HelloParts* hello, const Bytes& share) {
  Bytes* body = hello->Find(51);
  CHECK(body != nullptr);
  const Bytes before = {0, 29, 0, 32};
  auto found = std::ranges::search(*body, before);
  CHECK(!found.empty());
  std::ranges::copy(share, found.end());
}

TEST_F(TlsHelloDifferential, TheHellosAsTheyAreAreAnsweredAlike) {
  Answers answers;
  for (const Bytes& wire : Hellos()) {
    HelloParts hello(wire);
    PutShare(&hello, key_.share());
    EXPECT_EQ(HelloParts(hello.Wire()).Message(), hello.Message());
    Compare(hello.Wire(), {}, &answers);
  }
  EXPECT_GE(answers.read, 4);
}

TEST_F(TlsHelloDifferential, ChangedFieldsAreNeverTakenMoreLeniently) {
  Answers answers;
  const std::vector<Bytes> hellos = Hellos();
  for (unsigned seed = 0; seed < 3000 && !HasFailure(); ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    random_.seed(seed);
    HelloParts hello(hellos[Pick(0, hellos.size() - 1)]);
    PutShare(&hello, key_.share());
    for (size_t i = Pick(1, 3); i-- > 0 && !hello.extensions.empty();) ChangeFields(&hello);
    Compare(hello.Wire(), {}, &answers);
  }
  // It saw both, so it compared something.
  EXPECT_GT(answers.answered, 400);
  EXPECT_GT(answers.read, 300);
  EXPECT_GT(answers.refused, 400);
}

TEST_F(TlsHelloDifferential, ChangedBytesAreNeverTakenMoreLeniently) {
  Answers answers;
  const std::vector<Bytes> hellos = Hellos();
  for (unsigned seed = 0; seed < 3000 && !HasFailure(); ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    random_.seed(seed);
    HelloParts hello(hellos[Pick(0, hellos.size() - 1)]);
    PutShare(&hello, key_.share());
    Bytes wire = hello.Wire();
    for (size_t i = Pick(1, 2); i-- > 0 && !wire.empty();) ChangeBytes(&wire);
    Compare(wire, {}, &answers);
  }
  EXPECT_GT(answers.answered, 400);
  EXPECT_GT(answers.read, 200);
  EXPECT_GT(answers.refused, 400);
}

// With a binder that fits the change, as a client of ours could make it.
TEST_F(TlsHelloDifferential, ChangedHellosThatResumeAreNeverTakenMoreLeniently) {
  const Prepare prepare = [](SSL* ssl) {
    CHECK(SSL_set_ciphersuites(ssl, "TLS_AES_128_GCM_SHA256:TLS_CHACHA20_POLY1305_SHA256") == 1);
    SetName(ssl, "example.org");
    SetAlpn(ssl, {"xmpp-server"});
  };
  ASSERT_TRUE(Connect(own_, prepare).ok);
  const Bytes psk = PskOf(newest());
  const Bytes hello_wire = Hello([&](SSL* ssl) {
    prepare(ssl);
    SSL_set_session(ssl, newest());
  });
  Answers answers;
  for (unsigned seed = 0; seed < 2000 && !HasFailure(); ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    random_.seed(seed);
    HelloParts hello(hello_wire);
    PutShare(&hello, key_.share());
    const Bytes keys = *hello.Find(41);
    hello.Remove(41);
    for (size_t i = Pick(1, 2); i-- > 0;) ChangeFields(&hello);
    hello.extensions.push_back({41, keys});
    Rebind(&hello, TlsDigest::kSha256, psk);
    Compare(hello.Wire(), psk, &answers);
  }
  EXPECT_GT(answers.answered, 300);
  EXPECT_GT(answers.resumed, 200);
  EXPECT_GT(answers.refused, 300);
}

}  // namespace
}  // namespace net
