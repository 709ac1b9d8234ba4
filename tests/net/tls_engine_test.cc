// The engine against plain OpenSSL and against itself, over bytes in memory.
#include "net/tls/tls_engine.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <malloc.h>
#include <openssl/err.h>

#include <algorithm>
#include <map>
#include <random>

#include "net/base/check.h"
#include "tests/net/tls_test_certs.h"
#include "tests/net/tls_test_peer.h"

namespace net {
namespace {

constexpr const char* kSuiteNames[] = {"TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384",
                                       "TLS_CHACHA20_POLY1305_SHA256"};

class TlsEngineTest : public testing::Test {
 protected:
  TlsEngineTest() : certificate_({}), chain_(folder_.Write("chain.pem", certificate_.chain_pem())) {
    folder_.Write("key.pem", certificate_.key_pem());
    auto worker = TlsWorker::Create();
    CHECK(worker.has_value());
    worker_ = std::move(*worker);
  }

  TlsServerOptions ServerOptions() const {
    TlsServerOptions options;
    options.sites.push_back({.certificates = {{.chain = chain_, .key = folder_.Path("key.pem")}}});
    options.tickets = TlsTicketKeys::Random();
    return options;
  }
  static std::shared_ptr<const TlsServerContext> Server(const TlsServerOptions& options) {
    auto context = TlsServerContext::Create(options);
    if (!context) {
      for (const TlsConfigError& error : context.error()) ADD_FAILURE() << error.ToString();
    }
    CHECK(context.has_value());
    return *context;
  }
  std::shared_ptr<const TlsClientContext> Client(TlsClientOptions options = {}) const {
    if (options.ca.empty()) options.ca = chain_;
    auto context = TlsClientContext::Create(options);
    if (!context) {
      for (const TlsConfigError& error : context.error()) ADD_FAILURE() << error.ToString();
    }
    CHECK(context.has_value());
    return *context;
  }
  static TlsPeer Node() {
    return {.server_name = "example.org", .verify_name = "example.org", .session_key = "node-1"};
  }

  // A plain OpenSSL client context; the newest session that it got is in session_.
  SSL_CTX* ClientCtx() {
    SSL_CTX* context = SSL_CTX_new(TLS_client_method());
    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    contexts_.push_back(context);
    SSL_CTX_set_app_data(context, this);
    SSL_CTX_sess_set_new_cb(context, [](SSL* ssl, SSL_SESSION* session) {
      auto* self = static_cast<TlsEngineTest*>(SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl)));
      SSL_SESSION_free(self->session_);
      self->session_ = session;
      return 1;
    });
    return context;
  }
  ~TlsEngineTest() override {
    SSL_SESSION_free(session_);
    for (SSL_CTX* context : contexts_) SSL_CTX_free(context);
  }

  // Runs the handshake; `piece` cuts what the engine gets.
  static bool Connect(TlsEngine& server, OpenSslPeer& client, size_t piece = SIZE_MAX) {
    bool done = false;
    for (int i = 0; i < 6; ++i) {
      client.Handshake();
      FeedAll(server, client.Take(), piece, &done);
      client.Give(FlushAll(server));
      if (done && SSL_is_init_finished(client.ssl()) == 1) {
        client.Read();  // tickets
        return true;
      }
    }
    return false;
  }
  static void Shuttle(TlsEngine& server, TlsEngine& client) {
    TlsPlaintext none;
    client.Feed({}, &none);
    for (int i = 0; i < 6; ++i) {
      FeedAll(server, FlushAll(client));
      FeedAll(client, FlushAll(server));
    }
  }
  // One echo from the client's side; both engines must be open.
  static void ExpectEcho(TlsEngine& server, TlsEngine& client, const Bytes& data) {
    EXPECT_EQ(FeedAll(server, WriteAll(client, data)), data);
    EXPECT_EQ(FeedAll(client, WriteAll(server, data)), data);
  }

  TestFolder folder_;
  TestCertificate certificate_;
  std::string chain_;
  std::unique_ptr<TlsWorker> worker_;
  std::vector<SSL_CTX*> contexts_;
  SSL_SESSION* session_ = nullptr;
  std::mt19937 random_{42};

  size_t Pick(size_t low, size_t high) { return low + random_() % (high - low + 1); }
  Bytes RandomBytes(size_t size) {
    Bytes bytes(size);
    for (uint8_t& byte : bytes) byte = static_cast<uint8_t>(random_());
    return bytes;
  }

  // Random records, chunks, padding and KeyUpdates both ways, then close_notify.
  void Converse(TlsEngine& server, OpenSslPeer& client, int rounds) {
    for (int round = 0; round < rounds; ++round) {
      Bytes sent;
      for (size_t i = Pick(0, 3); i-- > 0;) {
        Bytes data = RandomBytes(Pick(0, 1) == 0 ? Pick(1, 200) : Pick(1, 40'000));
        client.Write(data);
        sent.insert(sent.end(), data.begin(), data.end());
        if (SSL_version(client.ssl()) == TLS1_3_VERSION && Pick(0, 2) == 0) {
          SSL_key_update(client.ssl(),
                         Pick(0, 1) == 0 ? SSL_KEY_UPDATE_REQUESTED : SSL_KEY_UPDATE_NOT_REQUESTED);
          SSL_do_handshake(client.ssl());
        }
      }
      Bytes got = FeedAll(server, client.Take(), Pick(0, 1) == 0 ? Pick(1, 300) : Pick(1, 20'000));
      ASSERT_EQ(got, sent) << server.ErrorText();
      client.Give(FlushAll(server));
      client.Give(WriteAll(server, got, Pick(1, 30'000) + kTlsRecordOverhead + 100));
      ASSERT_EQ(client.Read(), sent);
      ASSERT_EQ(client.read_error(), SSL_ERROR_WANT_READ);
    }
  }
  void CloseBoth(TlsEngine& server, OpenSslPeer& client) {
    if (Pick(0, 1) == 0) {
      server.Shutdown();
      client.Give(FlushAll(server));
      client.Read();
      EXPECT_EQ(client.read_error(), SSL_ERROR_ZERO_RETURN);
      SSL_shutdown(client.ssl());
      FeedAll(server, client.Take());
    } else {
      SSL_shutdown(client.ssl());
      FeedAll(server, client.Take());
      EXPECT_EQ(server.state(), TlsState::kPeerClosed);
      server.Shutdown();
      client.Give(FlushAll(server));
      EXPECT_EQ(SSL_shutdown(client.ssl()), 1);
    }
    EXPECT_EQ(server.state(), TlsState::kPeerClosed);
    EXPECT_TRUE(server.closed());
    EXPECT_FALSE(server.wants_output());
  }
};

size_t RandomPadding(SSL*, int, size_t length, void* arg) {
  auto& random = *static_cast<std::mt19937*>(arg);
  return length < 16'000 && random() % 2 == 0 ? random() % 300 : 0;
}

// --- TLS 1.3: leaves OpenSSL -----------------------------------------------------------------

class TlsEngineSuites : public TlsEngineTest, public testing::WithParamInterface<const char*> {};

TEST_P(TlsEngineSuites, FullAndResumedConnectionsEchoAfterTheTakeOver) {
  auto context = Server(ServerOptions());
  SSL_CTX* client_context = ClientCtx();
  ASSERT_EQ(SSL_CTX_set_ciphersuites(client_context, GetParam()), 1);
  SSL_CTX_set_record_padding_callback(client_context, RandomPadding);
  SSL_CTX_set_record_padding_callback_arg(client_context, &random_);
  for (int i = 0; i < 30; ++i) {
    TlsEnginePtr server = worker_->NewServer(context);
    OpenSslPeer client(client_context, false);
    if (i > 0) SSL_set_session(client.ssl(), session_);
    ASSERT_TRUE(Connect(*server, client, i % 3 == 2 ? Pick(1, 50) : SIZE_MAX));
    ASSERT_EQ(server->take_over(), TlsTakeOver::kTaken) << ToString(server->take_over());
    auto facts = server->TakeFacts();
    ASSERT_NE(facts, nullptr);
    EXPECT_EQ(facts->resumed, i > 0);
    EXPECT_EQ(facts->cipher, GetParam());
    EXPECT_EQ(facts->version_name, "TLSv1.3");
    EXPECT_EQ(facts->exporter, TlsExporterBinding(client.ssl()));
    EXPECT_EQ(facts->server_end_point, TlsServerEndPoint(certificate_.x509()));
    EXPECT_EQ(worker_->on_openssl(), 0u);
    Converse(*server, client, 6);
    CloseBoth(*server, client);
  }
  EXPECT_EQ(worker_->counters().handshakes_full, 1u);
  EXPECT_EQ(worker_->counters().handshakes_resumed, 29u);
  EXPECT_EQ(worker_->records().staging_in_use(), 0u);
}

TEST_P(TlsEngineSuites, TamperedRecordsEndInAnAlertThatThePeerCanRead) {
  SSL_CTX* client_context = ClientCtx();
  ASSERT_EQ(SSL_CTX_set_ciphersuites(client_context, GetParam()), 1);
  TlsEnginePtr server = worker_->NewServer(Server(ServerOptions()));
  OpenSslPeer client(client_context, false);
  ASSERT_TRUE(Connect(*server, client));
  client.Write(RandomBytes(100));
  Bytes wire = client.Take();
  wire[40] ^= 4;
  EXPECT_EQ(FeedAll(*server, wire), Bytes{});
  EXPECT_EQ(server->state(), TlsState::kFailed);
  EXPECT_EQ(server->ErrorText(), "bad_record_mac");
  client.Give(FlushAll(*server));
  client.Read();
  EXPECT_EQ(ERR_GET_REASON(ERR_peek_last_error()), SSL_R_SSLV3_ALERT_BAD_RECORD_MAC);
  ERR_clear_error();
  EXPECT_TRUE(server->closed());
  EXPECT_EQ(worker_->counters().records_failed, 1u);
}

INSTANTIATE_TEST_SUITE_P(Suites, TlsEngineSuites, testing::ValuesIn(kSuiteNames),
                         [](const auto& suite) { return std::string(suite.param); });

TEST_F(TlsEngineTest, DataInTheFlightOfTheFinishedIsNotLost) {
  TlsEnginePtr server = worker_->NewServer(Server(ServerOptions()));
  OpenSslPeer client(ClientCtx(), false);
  client.Handshake();
  FeedAll(*server, client.Take());
  client.Give(FlushAll(*server));
  ASSERT_EQ(client.Handshake(), 1);
  client.Write(ToBytes("<?xml version='1.0'?>"));
  SSL_key_update(client.ssl(), SSL_KEY_UPDATE_REQUESTED);
  SSL_do_handshake(client.ssl());
  client.Write(ToBytes("<stream:stream>"));
  bool done = false;
  EXPECT_EQ(ToText(FeedAll(*server, client.Take(), SIZE_MAX, &done)),
            "<?xml version='1.0'?><stream:stream>");
  EXPECT_TRUE(done);
  EXPECT_EQ(server->take_over(), TlsTakeOver::kTaken);
  // Tickets come before our first own record, which is the KeyUpdate.
  client.Give(FlushAll(*server));
  client.Give(WriteAll(*server, ToBytes("hi")));
  EXPECT_EQ(ToText(client.Read()), "hi");
}

TEST_F(TlsEngineTest, TicketsWaitForRoomAndGoOutBeforeOwnRecords) {
  TlsServerOptions options = ServerOptions();
  options.tickets_per_handshake = 4;
  TlsEnginePtr server = worker_->NewServer(Server(options));
  OpenSslPeer client(ClientCtx(), false);
  client.Handshake();
  FeedAll(*server, client.Take());
  client.Give(FlushAll(*server));
  client.Handshake();
  FeedAll(*server, client.Take());
  ASSERT_EQ(server->take_over(), TlsTakeOver::kTaken);
  EXPECT_EQ(server->TakeFacts()->version, TLS1_3_VERSION);
  client.Give(WriteAll(*server, ToBytes("data"), 100));  // much less than the tickets
  EXPECT_EQ(ToText(client.Read()), "data");
  EXPECT_FALSE(server->wants_output());
}

TEST_F(TlsEngineTest, NegotiatedFragmentLengthIsHonoured) {
  SSL_CTX* client_context = ClientCtx();
  SSL_CTX_set_tlsext_max_fragment_length(client_context, TLSEXT_max_fragment_length_1024);
  TlsEnginePtr server = worker_->NewServer(Server(ServerOptions()));
  OpenSslPeer client(client_context, false);
  ASSERT_TRUE(Connect(*server, client));
  ASSERT_EQ(server->take_over(), TlsTakeOver::kTaken);
  Bytes data = RandomBytes(5000);
  Bytes wire = WriteAll(*server, data);
  EXPECT_EQ(static_cast<size_t>(wire[3]) << 8 | wire[4], 1024u + 17);
  client.Give(wire);
  EXPECT_EQ(client.Read(), data);
  Converse(*server, client, 4);
}

TEST_F(TlsEngineTest, HelloRetryRequestIsNoObstacle) {
  TlsServerOptions options = ServerOptions();
  options.policy.groups = "P-384";
  TlsEnginePtr server = worker_->NewServer(Server(options));
  OpenSslPeer client(ClientCtx(), false);  // offers a key share for X25519
  ASSERT_TRUE(Connect(*server, client));
  EXPECT_EQ(server->take_over(), TlsTakeOver::kTaken);
  Converse(*server, client, 4);
}

TEST_F(TlsEngineTest, IdleConnectionsHoldNothingButTheirSlot) {
  auto context = Server(ServerOptions());
  SSL_CTX* client_context = ClientCtx();
  std::vector<TlsEnginePtr> engines;
  auto connect = [&] {
    TlsEnginePtr server = worker_->NewServer(context);
    OpenSslPeer client(client_context, false);
    ASSERT_TRUE(Connect(*server, client));
    server->TakeFacts();
    engines.push_back(std::move(server));
  };
  engines.reserve(512);
  for (int i = 0; i < 128; ++i) connect();
  size_t before = mallinfo2().uordblks;
  for (int i = 0; i < 384; ++i) connect();
  double bytes = static_cast<double>(mallinfo2().uordblks - before) / 384;
  // Blocks in malloc's thread cache count as used, hence the allowance.
  EXPECT_LT(bytes, 400) << "a slab slot has " << sizeof(TlsEngine);
  EXPECT_EQ(worker_->engines(), 512u);
  EXPECT_EQ(worker_->on_openssl(), 0u);
}

// --- stays on OpenSSL ------------------------------------------------------------------------

TEST_F(TlsEngineTest, Tls12StaysOnOpenSslAndWorksAlike) {
  auto context = Server(ServerOptions());
  SSL_CTX* client_context = ClientCtx();
  SSL_CTX_set_max_proto_version(client_context, TLS1_2_VERSION);
  for (int i = 0; i < 4; ++i) {
    TlsEnginePtr server = worker_->NewServer(context);
    OpenSslPeer client(client_context, false);
    if (i > 0) SSL_set_session(client.ssl(), session_);
    ASSERT_TRUE(Connect(*server, client, i == 2 ? 7 : SIZE_MAX));
    EXPECT_EQ(server->take_over(), TlsTakeOver::kNotTls13);
    EXPECT_EQ(server->TakeFacts()->resumed, i > 0);
    Converse(*server, client, 6);
    CloseBoth(*server, client);
  }
}

TEST_F(TlsEngineTest, TakeOverCanBeTurnedOff) {
  TlsServerOptions options = ServerOptions();
  options.policy.take_over = false;
  TlsEnginePtr server = worker_->NewServer(Server(options));
  OpenSslPeer client(ClientCtx(), false);
  ASSERT_TRUE(Connect(*server, client));
  EXPECT_EQ(server->take_over(), TlsTakeOver::kOff);
  EXPECT_EQ(worker_->on_openssl(), 1u);
  Converse(*server, client, 8);
  CloseBoth(*server, client);
  EXPECT_EQ(worker_->counters().take_over[static_cast<size_t>(TlsTakeOver::kOff)], 1u);
}

// --- what attackers and failures do ----------------------------------------------------------

TEST_F(TlsEngineTest, GarbageInsteadOfAHandshakeFailsWithOneAlert) {
  using std::string_view_literals::operator""sv;
  for (std::string_view garbage :
       {"GET / HTTP/1.1\r\nHost: example.org\r\n\r\n"sv,
        "<?xml version='1.0'?><stream:stream to='example.org'>"sv, "\x16\x03\x01\x00\x02\x01\x00"sv,
        "\x80\x2e\x01\x00\x02 sslv2"sv}) {
    TlsEnginePtr server = worker_->NewServer(Server(ServerOptions()));
    FeedAll(*server, ToBytes(garbage));
    if (server->state() == TlsState::kHandshaking) FeedAll(*server, Bytes(600, 0));
    EXPECT_EQ(server->state(), TlsState::kFailed) << garbage;
    EXPECT_FALSE(server->ErrorText().empty());
    FlushAll(*server);
    EXPECT_TRUE(server->closed());
  }
  EXPECT_EQ(worker_->counters().handshakes_failed, 4u);
  EXPECT_EQ(worker_->handshaking(), 0u);
}

TEST_F(TlsEngineTest, AFailedConnectionNeverWantsToBeCalledAgain) {
  // attacks.md 15: stale retry state made others spin.
  TlsEnginePtr server = worker_->NewServer(Server(ServerOptions()));
  FeedAll(*server, Bytes(100, 'x'));
  FlushAll(*server);
  for (int i = 0; i < 3; ++i) {
    TlsPlaintext plain;
    Bytes more(50, 'y');
    TlsFeed feed = server->Feed(more, &plain);
    EXPECT_EQ(feed.consumed, more.size());
    EXPECT_EQ(feed.next, TlsNext::kOver);
    EXPECT_FALSE(server->wants_output());
    Bytes out(100);
    std::span<const uint8_t> part(more);
    EXPECT_EQ(server->Write(std::span(&part, 1), out).consumed, 0u);
  }
}

TEST_F(TlsEngineTest, BytesBehindACloseNotifyAreTakenAndIgnoredWhoeverDrives) {
  // attacks.md 50. By version, take-over and whose handshake it is; both roles.
  struct Driver {
    TlsVersion version;
    bool take_over;
    bool own_handshake;
  };
  for (const Driver driver :
       {Driver{TlsVersion::kTls12, true, true}, Driver{TlsVersion::kTls13, false, false},
        Driver{TlsVersion::kTls13, true, false}, Driver{TlsVersion::kTls13, true, true}}) {
    TlsServerOptions options = ServerOptions();
    options.policy.max_version = driver.version;
    options.policy.take_over = driver.take_over;
    options.policy.own_handshake = driver.own_handshake;
    TlsClientOptions client_options;
    client_options.policy.take_over = driver.take_over;
    for (const bool server_closes : {false, true}) {
      for (const std::string_view behind : {"x", "\x17\x03\x03\x00\x01x", "\x15\x03\x03"}) {
        TlsEnginePtr server = worker_->NewServer(Server(options));
        TlsEnginePtr client = worker_->NewClient(Client(client_options), Node());
        Shuttle(*server, *client);
        ExpectEcho(*server, *client, ToBytes("hello"));
        TlsEngine& closing = server_closes ? *server : *client;
        TlsEngine& reading = server_closes ? *client : *server;
        closing.Shutdown();
        Bytes wire = FlushAll(closing);
        wire.insert(wire.end(), behind.begin(), behind.end());
        for (int call = 0; call < 2; ++call) {
          TlsPlaintext plain;
          const TlsFeed feed = reading.Feed(wire, &plain);
          EXPECT_EQ(feed.consumed, wire.size());
          EXPECT_EQ(feed.next, TlsNext::kOver);
          EXPECT_EQ(feed.state, TlsState::kPeerClosed);
          wire.assign(3, 'y');
        }
        EXPECT_FALSE(WriteAll(reading, ToBytes("half-closed")).empty());
      }
    }
  }
}

TEST_F(TlsEngineTest, RepeatedClientHellosLeaveMemoryFlat) {
  // attacks.md 6. First hello as it is; the second in plaintext, again and again.
  auto context = Server(ServerOptions());
  OpenSslPeer client(ClientCtx(), false);
  client.Handshake();
  Bytes hello = client.Take();
  size_t before = 0;
  for (int i = 0; i < 1200; ++i) {
    TlsEnginePtr server = worker_->NewServer(context);
    for (int j = 0; j < 4; ++j) FeedAll(*server, hello);
    EXPECT_EQ(server->state(), TlsState::kFailed);
    FlushAll(*server);
    server.reset();
    if (i == 200) before = mallinfo2().uordblks;
  }
  // Not 66 bytes each; what malloc keeps at hand counts as in use, and varies.
  EXPECT_LT(mallinfo2().uordblks, before + 65'536);
}

TEST_F(TlsEngineTest, AHelloThatIgnoresTheRetryRequestIsRefusedAndMemoryStaysFlat) {
  // attacks.md 6. The server asks for another key share; the client says the same again.
  TlsServerOptions options = ServerOptions();
  options.policy.groups = "P-384";
  auto context = Server(options);
  OpenSslPeer client(ClientCtx(), false);
  client.Handshake();
  Bytes hello = client.Take();
  size_t before = 0;
  for (int i = 0; i < 1200; ++i) {
    TlsEnginePtr server = worker_->NewServer(context);
    FeedAll(*server, hello);
    ASSERT_EQ(server->state(), TlsState::kHandshaking);
    ASSERT_GT(FlushAll(*server).size(), 40u) << "a HelloRetryRequest";
    FeedAll(*server, hello);
    EXPECT_EQ(server->state(), TlsState::kFailed);
    for (int j = 0; j < 4; ++j) FeedAll(*server, hello);
    FlushAll(*server);
    EXPECT_FALSE(server->wants_output());
    server.reset();
    if (i == 200) before = mallinfo2().uordblks;
  }
  // Not 66 bytes each; what malloc keeps at hand counts as in use, and varies.
  EXPECT_LT(mallinfo2().uordblks, before + 65'536);
  EXPECT_EQ(worker_->handshaking(), 0u);
}

TEST_F(TlsEngineTest, RenegotiationInTls12IsRefused) {
  SSL_CTX* client_context = ClientCtx();
  SSL_CTX_set_max_proto_version(client_context, TLS1_2_VERSION);
  TlsEnginePtr server = worker_->NewServer(Server(ServerOptions()));
  OpenSslPeer client(client_context, false);
  ASSERT_TRUE(Connect(*server, client));
  for (int i = 0; i < 3; ++i) {
    SSL_renegotiate(client.ssl());
    SSL_do_handshake(client.ssl());
    FeedAll(*server, client.Take());
    client.Give(FlushAll(*server));
  }
  EXPECT_EQ(worker_->counters().handshakes_full, 1u);
  client.Handshake();
  EXPECT_NE(SSL_is_init_finished(client.ssl()), 1);
  ERR_clear_error();
}

TEST_F(TlsEngineTest, ShutdownDuringTheHandshakeEndsIt) {
  TlsEnginePtr server = worker_->NewServer(Server(ServerOptions()));
  server->Shutdown();
  EXPECT_EQ(server->state(), TlsState::kFailed);
  EXPECT_EQ(server->ErrorText(), "closed during the handshake");
  EXPECT_EQ(worker_->handshaking(), 0u);
}

TEST_F(TlsEngineTest, ASlowHandshakeIsDroppedAtItsLimit) {
  TlsEnginePtr server = worker_->NewServer(Server(ServerOptions()));
  // A ClientHello that claims 128 KiB, sent in small records for ever.
  Bytes first = {0x16, 3, 1, 0, 68, 1, 0x01, 0xff, 0x00};
  first.resize(5 + 68);
  FeedAll(*server, first);
  for (int i = 0; i < 5000 && server->state() == TlsState::kHandshaking; ++i) {
    Bytes record = {0x16, 3, 1, 0, 64};
    record.resize(5 + 64);
    FeedAll(*server, record);
  }
  EXPECT_EQ(server->state(), TlsState::kFailed);
}

// --- clients to nodes ------------------------------------------------------------------------

TEST_F(TlsEngineTest, EnginesSpeakWithEachOtherAndBindTheChannelAlike) {
  TlsServerOptions options = ServerOptions();
  options.alpn = {"xmpp-client", "xmpp-server"};
  TlsClientOptions client_options;
  client_options.alpn = {"xmpp-server"};
  TlsEnginePtr server = worker_->NewServer(Server(options));
  TlsEnginePtr client = worker_->NewClient(Client(client_options), Node());
  Shuttle(*server, *client);
  ASSERT_EQ(server->state(), TlsState::kOpen) << server->ErrorText();
  ASSERT_EQ(client->state(), TlsState::kOpen) << client->ErrorText();
  auto at_server = server->TakeFacts();
  auto at_client = client->TakeFacts();
  EXPECT_EQ(at_server->alpn, "xmpp-server");
  EXPECT_EQ(at_server->sni, "example.org");
  EXPECT_EQ(at_client->alpn, "xmpp-server");
  EXPECT_EQ(at_server->exporter.size(), 32u);
  EXPECT_EQ(at_server->exporter, at_client->exporter);
  EXPECT_EQ(at_server->server_end_point.size(), 32u);
  EXPECT_EQ(at_server->server_end_point, at_client->server_end_point);
  ASSERT_TRUE(at_client->peer.has_value());
  EXPECT_TRUE(at_client->peer->verified);
  EXPECT_FALSE(at_server->peer.has_value());
  EXPECT_EQ(client->take_over(), TlsTakeOver::kPending);  // waits for data, keeps the tickets
  ExpectEcho(*server, *client, RandomBytes(30'000));
  EXPECT_EQ(client->take_over(), TlsTakeOver::kTaken);
  for (int i = 0; i < 20; ++i) ExpectEcho(*server, *client, RandomBytes(Pick(1, 30'000)));
  client->Shutdown();
  FeedAll(*server, FlushAll(*client));
  server->Shutdown();
  FeedAll(*client, FlushAll(*server));
  EXPECT_TRUE(client->closed());
  EXPECT_TRUE(server->closed());
}

TEST_F(TlsEngineTest, NodesAreResumedWhenNodeAndNamesAreTheSame) {
  auto server_context = Server(ServerOptions());
  auto client_context = Client();
  auto connect = [&](const TlsPeer& peer) {
    TlsEnginePtr server = worker_->NewServer(server_context);
    TlsEnginePtr client = worker_->NewClient(client_context, peer);
    Shuttle(*server, *client);
    EXPECT_EQ(client->state(), TlsState::kOpen) << client->ErrorText();
    ExpectEcho(*server, *client, RandomBytes(100));
    EXPECT_EQ(client->take_over(), TlsTakeOver::kTaken) << ToString(client->take_over());
    auto facts = client->TakeFacts();
    return facts != nullptr && facts->resumed;
  };
  EXPECT_FALSE(connect(Node()));
  EXPECT_TRUE(connect(Node()));
  EXPECT_TRUE(connect(Node()));
  // attacks.md 8: not for another SNI, not from or for a health check.
  TlsPeer other = Node();
  other.server_name = "other.example.org";
  EXPECT_FALSE(connect(other));
  TlsPeer elsewhere = Node();
  elsewhere.session_key = "node-2";
  EXPECT_FALSE(connect(elsewhere));
  TlsPeer check = Node();
  check.session_key = "";
  size_t stored = client_context->sessions();
  EXPECT_FALSE(connect(check));
  EXPECT_EQ(client_context->sessions(), stored);
}

TEST_F(TlsEngineTest, NodesWithAWrongNameOrIssuerAreRefused) {
  auto server_context = Server(ServerOptions());
  TlsPeer wrong_name = Node();
  wrong_name.verify_name = "example.com";
  {
    TlsEnginePtr server = worker_->NewServer(server_context);
    TlsEnginePtr client = worker_->NewClient(Client(), wrong_name);
    Shuttle(*server, *client);
    EXPECT_EQ(client->state(), TlsState::kFailed);
    EXPECT_THAT(client->ErrorText(), testing::HasSubstr("hostname mismatch"));
  }
  TestCertificate stranger({});
  TlsClientOptions options;
  options.ca = folder_.Write("stranger.pem", stranger.chain_pem());
  TlsEnginePtr server = worker_->NewServer(server_context);
  TlsEnginePtr client = worker_->NewClient(Client(options), Node());
  Shuttle(*server, *client);
  EXPECT_EQ(client->state(), TlsState::kFailed);
  EXPECT_THAT(client->ErrorText(), testing::HasSubstr("certificate verify failed"));
  EXPECT_EQ(server->state(), TlsState::kFailed);  // got the alert
}

TEST_F(TlsEngineTest, ANodesNameWithANulInsideMatchesNothing) {
  // attacks.md 9: whoever stops at the NUL takes it for ours.
  for (const std::string& name :
       {std::string("example.org\0.evil.example", 25), std::string("example.org\0", 12)}) {
    TestCertificate evil({.common_name = "x", .dns_names = {name}});
    TlsServerOptions options;
    options.sites.push_back({.certificates = {{.chain = folder_.Write("evil.pem", evil.chain_pem()),
                                               .key = folder_.Write("evil.key", evil.key_pem())}}});
    TlsClientOptions trusting;
    trusting.ca = folder_.Path("evil.pem");
    TlsEnginePtr server = worker_->NewServer(Server(options));
    TlsEnginePtr client = worker_->NewClient(Client(trusting), Node());
    Shuttle(*server, *client);
    EXPECT_EQ(client->state(), TlsState::kFailed);
    EXPECT_THAT(client->ErrorText(), testing::HasSubstr("hostname mismatch"));
  }
}

TEST_F(TlsEngineTest, SessionsToNodesAreBounded) {
  TlsClientOptions options;
  options.sessions_max = 3;
  auto server_context = Server(ServerOptions());
  auto client_context = Client(options);
  for (int i = 0; i < 8; ++i) {
    TlsPeer peer = Node();
    peer.session_key = "node-" + std::to_string(i);
    TlsEnginePtr server = worker_->NewServer(server_context);
    TlsEnginePtr client = worker_->NewClient(client_context, peer);
    Shuttle(*server, *client);
    ExpectEcho(*server, *client, RandomBytes(10));
  }
  EXPECT_EQ(client_context->sessions(), 3u);
}

TEST_F(TlsEngineTest, ANodeThatUpdatesKeysBeforeDataKeepsItsClientOnOpenSsl) {
  SSL_CTX* node_context = SSL_CTX_new(TLS_server_method());
  contexts_.push_back(node_context);
  SSL_CTX_use_certificate(node_context, certificate_.x509());
  SSL_CTX_use_PrivateKey(node_context, certificate_.key());
  OpenSslPeer node(node_context, true);
  TlsEnginePtr client = worker_->NewClient(Client(), Node());
  TlsPlaintext plain;
  client->Feed({}, &plain);
  for (int i = 0; i < 3; ++i) {
    node.Give(FlushAll(*client));
    node.Handshake();
    FeedAll(*client, node.Take());
  }
  ASSERT_EQ(client->state(), TlsState::kOpen) << client->ErrorText();
  SSL_key_update(node.ssl(), SSL_KEY_UPDATE_REQUESTED);
  SSL_do_handshake(node.ssl());
  node.Write(ToBytes("hello"));
  EXPECT_EQ(ToText(FeedAll(*client, node.Take())), "hello");
  EXPECT_EQ(client->take_over(), TlsTakeOver::kKeyUpdate);
  node.Give(FlushAll(*client));
  node.Give(WriteAll(*client, ToBytes("back")));
  EXPECT_EQ(ToText(node.Read()), "back");
}

TEST_F(TlsEngineTest, TheHeapIsTrimmedOnceAfterAStorm) {
  auto context = Server(ServerOptions());
  for (uint64_t i = 0; i < TlsWorker::kTrimAfter; ++i) {
    EXPECT_FALSE(worker_->HeapTrimDue());
    worker_->NewServer(context).reset();
  }
  TlsEnginePtr busy = worker_->NewServer(context);
  EXPECT_FALSE(worker_->HeapTrimDue());
  busy.reset();
  EXPECT_TRUE(worker_->HeapTrimDue());
  EXPECT_FALSE(worker_->HeapTrimDue());
}

}  // namespace
}  // namespace net
