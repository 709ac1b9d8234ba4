// TLS through the real ring and real sockets, OpenSSL at the other ends: every byte arrives in its
// order, in any pieces, by either record layer; ends of all kinds arrive, and nothing stays behind.

#include <fcntl.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <openssl/ssl.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "lb/proxy/proxy_worker.h"
#include "net/base/random.h"
#include "net/tls/context/tls_context.h"
#include "tests/net/loopback.h"
#include "tests/net/tls_test_certs.h"

namespace lb {
namespace {

using net::test::BoundAddress;
using net::test::Dial;
using net::test::ListenLoopback;
using net::test::RunUntil;

struct Case {
  int version;
  bool own_records;
  bool client_tls;
  bool node_tls;
  uint32_t large_buffers = 32;
};

uint8_t ByteAt(uint64_t salt, uint64_t offset) {
  return static_cast<uint8_t>(net::FastRandom::Mix(salt + offset / 8) >> (8 * (offset % 8)));
}

// One end of a connection, in the clear or by OpenSSL, with a stream of known bytes each way.
class End {
 public:
  End(net::UniqueFd socket, SSL* ssl, uint64_t salt_out, uint64_t salt_in, uint64_t seed)
      : fd_(std::move(socket)), ssl_(ssl), out_(salt_out), in_(salt_in), random_(seed) {
    fcntl(fd_.get(), F_SETFL, O_NONBLOCK);
    if (ssl_ != nullptr) SSL_set_fd(ssl_, fd_.get());
  }
  ~End() { SSL_free(ssl_); }
  End(const End&) = delete;
  End& operator=(const End&) = delete;

  void Step() {
    if (!fd_) return;
    if (ssl_ != nullptr && SSL_is_init_finished(ssl_) == 0) {
      const int result = SSL_do_handshake(ssl_);
      if (result != 1) {
        const int error = SSL_get_error(ssl_, result);
        if (error != SSL_ERROR_WANT_READ && error != SSL_ERROR_WANT_WRITE) failed = true;
        return;
      }
    }
    Send();
    Receive();
  }
  void Shut() {
    if (ssl_ != nullptr) SSL_shutdown(ssl_);
    shutdown(fd_.get(), SHUT_WR);
  }
  void Reset() {
    const linger now{.l_onoff = 1, .l_linger = 0};
    setsockopt(fd_.get(), SOL_SOCKET, SO_LINGER, &now, sizeof now);
    fd_.Reset();
  }
  const char* version() const { return ssl_ == nullptr ? "" : SSL_get_version(ssl_); }

  uint64_t target = 0;
  uint64_t sent = 0;
  uint64_t got = 0;
  bool ended = false;
  bool clean = false;  // by close_notify, where TLS is spoken
  bool failed = false;
  bool differs = false;

 private:
  void Send() {
    // OpenSSL wants a write that was refused repeated with the same bytes.
    for (int chunks = 0; chunks < 8 && sent < target; ++chunks) {
      if (pending_.empty()) {
        pending_.resize(std::min<uint64_t>(
            1 + random_.Next() % (random_.Next() % 4 == 0 ? 30'000 : 600), target - sent));
        for (size_t i = 0; i < pending_.size(); ++i) pending_[i] = ByteAt(out_, sent + i);
      }
      ssize_t done = 0;
      if (ssl_ != nullptr) {
        done = SSL_write(ssl_, pending_.data(), static_cast<int>(pending_.size()));
      } else {
        done = send(fd_.get(), pending_.data(), pending_.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
      }
      if (done <= 0) return;
      sent += static_cast<uint64_t>(done);
      pending_.erase(pending_.begin(), pending_.begin() + done);
    }
  }
  void Receive() {
    std::array<uint8_t, 65'536> chunk;
    for (int chunks = 0; chunks < 8; ++chunks) {
      ssize_t done = 0;
      if (ssl_ != nullptr) {
        const int result = SSL_read(ssl_, chunk.data(), static_cast<int>(chunk.size()));
        done = result;
        if (result <= 0) {
          const int error = SSL_get_error(ssl_, result);
          if (error == SSL_ERROR_ZERO_RETURN) {
            ended = true;
            clean = true;
          } else if (error != SSL_ERROR_WANT_READ && error != SSL_ERROR_WANT_WRITE) {
            failed = true;
          }
          return;
        }
      } else {
        done = recv(fd_.get(), chunk.data(), chunk.size(), MSG_DONTWAIT);
        if (done == 0) ended = true;
        if (done < 0 && errno != EAGAIN) failed = true;
        if (done <= 0) return;
      }
      for (ssize_t i = 0; i < done; ++i) {
        differs |= chunk[static_cast<size_t>(i)] != ByteAt(in_, got + static_cast<uint64_t>(i));
      }
      got += static_cast<uint64_t>(done);
    }
  }

  net::UniqueFd fd_;
  SSL* ssl_;
  uint64_t out_;
  uint64_t in_;
  net::FastRandom random_;
  std::vector<uint8_t> pending_;
};

struct SslContextFree {
  void operator()(SSL_CTX* context) const { SSL_CTX_free(context); }
};
using SslContext = std::unique_ptr<SSL_CTX, SslContextFree>;

class Proxy {
 public:
  explicit Proxy(const Case& what) : what_(what), certificate_({}) {
    chain_ = folder_.Write("chain.pem", certificate_.chain_pem());
    key_ = folder_.Write("key.pem", certificate_.key_pem());
    client_.reset(SSL_CTX_new(TLS_client_method()));
    server_.reset(SSL_CTX_new(TLS_server_method()));
    for (SSL_CTX* context : {client_.get(), server_.get()}) {
      SSL_CTX_set_min_proto_version(context, what.version);
      SSL_CTX_set_max_proto_version(context, what.version);
    }
    SSL_CTX_use_certificate(server_.get(), certificate_.x509());
    SSL_CTX_use_PrivateKey(server_.get(), certificate_.key());
    node_listener_ = ListenLoopback();
    auto loop = net::EventLoop::Create({}, clock_);
    EXPECT_TRUE(loop.has_value());
    loop_ = std::move(*loop);
    auto made =
        ProxyWorker::Create(*loop_, {.buffers_max = 1024, .large_buffers = what.large_buffers}, {});
    EXPECT_TRUE(made.has_value());
    worker = std::move(*made);
    SetPool();
    SetListener();
  }
  ~Proxy() {
    worker->StopAccepting();
    worker->EndAll(EndReason::kShut);
    EXPECT_TRUE(RunUntil(*loop_, [&] { return worker->size() == 0; }));
    EXPECT_EQ(worker->buffers().in_use(), 0U);
    EXPECT_EQ(worker->buffers().large_in_use(), 0U);
    EXPECT_EQ(shared_->handshakes.load(), 0U);
    EXPECT_EQ(node_->active(), 0U);
    EXPECT_TRUE(loop_->Drain(std::chrono::seconds(5)));
    worker.reset();  // fails where an engine is left
  }

  std::unique_ptr<End> Client(uint64_t seed) {
    return std::make_unique<End>(Dial(where_), what_.client_tls ? SSL_as(true) : nullptr, 1'000'000,
                                 2'000'000, seed);
  }
  std::unique_ptr<End> NodeEnd(End& client, uint64_t seed) {
    fcntl(node_listener_.get(), F_SETFL, O_NONBLOCK);
    net::UniqueFd accepted;
    EXPECT_TRUE(RunUntil(*loop_, [&] {
      client.Step();
      accepted = net::UniqueFd(accept4(node_listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
      return static_cast<bool>(accepted);
    }));
    return std::make_unique<End>(std::move(accepted), what_.node_tls ? SSL_as(false) : nullptr,
                                 2'000'000, 1'000'000, seed + 1);
  }
  bool Move(End& a, End& b, const std::function<bool()>& done) {
    return RunUntil(*loop_, [&] {
      a.Step();
      b.Step();
      return done();
    });
  }
  bool Run(const std::function<bool()>& done) { return RunUntil(*loop_, done); }
  uint64_t Ended(EndReason reason) const {
    return worker->stats().ended[static_cast<size_t>(reason)].load();
  }
  const sockaddr_in& where() const { return where_; }

 private:
  SSL* SSL_as(bool client) {
    SSL* ssl = SSL_new(client ? client_.get() : server_.get());
    client ? SSL_set_connect_state(ssl) : SSL_set_accept_state(ssl);
    return ssl;
  }
  void SetPool() {
    const sockaddr_in at = BoundAddress(node_listener_.get());
    const auto address = net::Address::FromSockaddr(net::test::Plain(at), sizeof at);
    node_ = std::make_shared<Node>("pool", "n1", address->ToSocketName(), 100U, 0U);
    PoolSettings pool{.name = "pool",
                      .connect_timeout = std::chrono::seconds(20),
                      .fin_timeout = std::chrono::seconds(20),
                      .pending_bytes_max = 65'536,
                      .splice_after = 65'536};
    if (what_.node_tls) {
      pool.node_tls = NodeTls::kTls;
      auto context = net::TlsClientContext::Create(
          {.policy = {.take_over = what_.own_records}, .verify = false});
      EXPECT_TRUE(context.has_value());
      pool.tls = *context;
    }
    std::vector<BalancerNode> nodes;
    nodes.push_back({.name = "n1", .state = node_});
    worker->SetPool(0, std::make_shared<PoolSettings>(pool),
                    std::make_shared<Balancer>(std::move(nodes), BalancerOptions{}));
  }
  void SetListener() {
    ListenerSettings listener{.name = "in", .shared = shared_};
    listener.handshake_timeout = std::chrono::seconds(20);
    if (what_.client_tls) {
      listener.mode = ListenerMode::kTls;
      net::TlsServerOptions options;
      options.policy.take_over = what_.own_records;
      options.sites.push_back({.certificates = {{.chain = chain_, .key = key_}}});
      options.tickets = net::TlsTicketKeys::Random();
      auto context = net::TlsServerContext::Create(options);
      EXPECT_TRUE(context.has_value()) << context.error().front().ToString();
      listener.tls = *context;
    }
    worker->SetListener(0, std::make_shared<ListenerSettings>(listener));
    net::UniqueFd socket = ListenLoopback();
    where_ = BoundAddress(socket.get());
    worker->AddSocket(0, 1, std::move(socket));
  }

  const Case what_;
  net::SystemClock clock_;
  net::TestCertificate certificate_;
  net::TestFolder folder_;
  std::string chain_;
  std::string key_;
  SslContext client_;
  SslContext server_;
  net::UniqueFd node_listener_;
  std::unique_ptr<net::EventLoop> loop_;
  std::shared_ptr<Node> node_;
  std::shared_ptr<ListenerShared> shared_ = std::make_shared<ListenerShared>();
  sockaddr_in where_{};

 public:
  std::unique_ptr<ProxyWorker> worker;
};

class TlsRelay : public ::testing::TestWithParam<Case> {};

TEST_P(TlsRelay, EveryByteArrivesInOrderInAnyPiecesAndAHalfCloseIsOneDirections) {
  Proxy proxy(GetParam());
  for (uint64_t seed = 1; seed <= 3; ++seed) {
    auto client = proxy.Client(seed);
    auto node = proxy.NodeEnd(*client, seed);
    client->target = 400'000 + seed * 12'345;
    node->target = 300'000 + seed * 54'321;
    ASSERT_TRUE(proxy.Move(*client, *node,
                           [&] {
                             return (client->got == node->target && node->got == client->target) ||
                                    client->failed || node->failed;
                           }))
        << "client got " << client->got << ", node got " << node->got;
    EXPECT_EQ(client->got, node->target);
    EXPECT_EQ(node->got, client->target);
    EXPECT_FALSE(client->differs || node->differs || client->failed || node->failed);
    client->Shut();
    ASSERT_TRUE(proxy.Move(*client, *node, [&] { return node->ended; }));
    EXPECT_FALSE(client->ended);
    // The other direction goes on, and its last bytes come before its end.
    node->target += 70'000;
    ASSERT_TRUE(proxy.Move(*client, *node, [&] { return node->sent == node->target; }));
    node->Shut();
    ASSERT_TRUE(
        proxy.Move(*client, *node, [&] { return client->ended && proxy.worker->size() == 0; }));
    EXPECT_EQ(client->got, node->target);
    EXPECT_FALSE(client->differs);
    EXPECT_EQ(client->clean, GetParam().client_tls);
    EXPECT_EQ(node->clean, GetParam().node_tls);
  }
  EXPECT_EQ(proxy.worker->stats().bulk_entered.load(), 0U) << "TLS is never spliced";
  const bool large = GetParam().large_buffers > 0;
  EXPECT_EQ(proxy.worker->stats().large_buffers_entered.load() > 0, large);
}

TEST_P(TlsRelay, AResetOfEitherEndLeavesNothingBehind) {
  Proxy proxy(GetParam());
  for (uint64_t seed = 1; seed <= 6; ++seed) {
    auto client = proxy.Client(seed);
    auto node = proxy.NodeEnd(*client, seed);
    client->target = 2'000'000;
    node->target = 2'000'000;
    const uint64_t until = seed * 40'000;
    ASSERT_TRUE(proxy.Move(*client, *node, [&] { return node->got + client->got > until; }));
    (seed % 2 == 0 ? client : node)->Reset();
    ASSERT_TRUE(proxy.Move(*client, *node, [&] { return proxy.worker->size() == 0; }));
    EXPECT_FALSE(client->differs || node->differs);
  }
}

TEST_P(TlsRelay, AReaderThatStandsStillStopsItsSenderAndLosesNothing) {
  Proxy proxy(GetParam());
  auto client = proxy.Client(7);
  auto node = proxy.NodeEnd(*client, 7);
  client->target = 1;
  node->target = 1;
  ASSERT_TRUE(proxy.Move(*client, *node, [&] { return client->got == 1 && node->got == 1; }));
  client->target = 30'000'000;
  // Only the client moves; the node reads nothing. Then what is held stays below its bound.
  uint64_t last = 0;
  int same = 0;
  ASSERT_TRUE(proxy.Run([&] {
    client->Step();
    same = client->sent == last ? same + 1 : 0;
    last = client->sent;
    return same > 50;
  }));
  EXPECT_LT(client->sent, client->target);
  // pending_bytes_max, and what had come before the receive was told to stop.
  EXPECT_LE(proxy.worker->buffers().in_use(), 128U);
  EXPECT_LE(proxy.worker->buffers().large_in_use(), 32U);
  client->target = client->sent + 50'000;
  ASSERT_TRUE(proxy.Move(*client, *node, [&] { return node->got == client->target; }));
  EXPECT_FALSE(node->differs);
}

TEST(TlsRelaySizes, AStreamTurnsToLargeBuffersAndSmallTalkLeavesThemToOthers) {
  Proxy proxy({TLS1_3_VERSION, true, true, false, 2});
  auto client = proxy.Client(3);
  auto node = proxy.NodeEnd(*client, 3);
  auto arrives = [&](End& from, End& to, uint64_t bytes) {
    from.target += bytes;
    return proxy.Move(*client, *node, [&] { return to.got == from.target; });
  };
  ASSERT_TRUE(arrives(*client, *node, 3'000'000));
  const auto entered = [&] { return proxy.worker->stats().large_buffers_entered.load(); };
  EXPECT_GT(entered(), 0U);
  // One receive each: eight of them are more than enough to give the large buffers up.
  for (int i = 0; i < 20; ++i) ASSERT_TRUE(arrives(*client, *node, 100));
  const uint64_t before = entered();
  for (int i = 0; i < 20; ++i) ASSERT_TRUE(arrives(*client, *node, 100));
  EXPECT_EQ(entered(), before);
  ASSERT_TRUE(arrives(*client, *node, 3'000'000));
  EXPECT_GT(entered(), before) << "as a new stream does";
  EXPECT_FALSE(node->differs);
}

std::string NameOf(const ::testing::TestParamInfo<Case>& info) {
  const Case& c = info.param;
  return std::string(c.version == TLS1_2_VERSION ? "Tls12" : "Tls13") +
         (c.own_records ? "Own" : "OpenSsl") + (c.client_tls ? "Client" : "") +
         (c.node_tls ? "Node" : "") +
         (c.large_buffers == 32 ? "" : "Large" + std::to_string(c.large_buffers));
}

INSTANTIATE_TEST_SUITE_P(Ways, TlsRelay,
                         ::testing::Values(Case{TLS1_3_VERSION, true, true, false},
                                           Case{TLS1_3_VERSION, false, true, false},
                                           Case{TLS1_2_VERSION, true, true, false},
                                           Case{TLS1_3_VERSION, true, false, true},
                                           Case{TLS1_2_VERSION, true, false, true},
                                           Case{TLS1_3_VERSION, true, true, true},
                                           Case{TLS1_3_VERSION, true, true, false, 1},
                                           Case{TLS1_3_VERSION, true, true, true, 0}),
                         NameOf);

TEST(TlsHandshake, BytesThatAreNoTlsEndTheConnectionAndAreCounted) {
  Proxy proxy({TLS1_3_VERSION, true, true, false});
  const net::UniqueFd fd = Dial(proxy.where());
  ASSERT_EQ(send(fd.get(), "hello", 5, MSG_NOSIGNAL), 5);
  ASSERT_TRUE(proxy.Run([&] { return proxy.Ended(EndReason::kNotTls) == 1; }));
  ASSERT_TRUE(proxy.Run([&] { return proxy.worker->size() == 0; }));
}

TEST(TlsHandshake, ABrokenHelloGetsAnAlertBeforeTheEnd) {
  Proxy proxy({TLS1_3_VERSION, true, true, false});
  const net::UniqueFd fd = Dial(proxy.where());
  const std::array<uint8_t, 11> hello = {22, 3, 1, 0, 6, 1, 0, 0, 2, 3, 3};
  ASSERT_EQ(send(fd.get(), hello.data(), hello.size(), MSG_NOSIGNAL), ssize_t{hello.size()});
  std::array<uint8_t, 64> answer{};
  ssize_t got = 0;
  ASSERT_TRUE(proxy.Run([&] {
    const ssize_t n =
        recv(fd.get(), answer.data() + got, answer.size() - static_cast<size_t>(got), MSG_DONTWAIT);
    if (n > 0) got += n;
    return n == 0;
  }));
  EXPECT_GE(got, 7);
  EXPECT_EQ(answer[0], 21) << "an alert";
  shutdown(fd.get(), SHUT_WR);
  ASSERT_TRUE(proxy.Run([&] { return proxy.worker->size() == 0; }));
  EXPECT_EQ(proxy.Ended(EndReason::kTlsHandshakeFailed), 1U);
}

}  // namespace
}  // namespace lb
