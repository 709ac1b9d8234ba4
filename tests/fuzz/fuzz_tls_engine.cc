// The engine as its callers drive it, in both roles and on each of its drivers: our own handshake,
// OpenSSL (TLS 1.2, and TLS 1.3 that stays), and the record layer after either handshake. The peer
// is OpenSSL itself, so that a conversation gets as far as it likes before it breaks.
//
// The first byte says role and driver; then come orders: what the peer says, how it is cut, what is
// changed or added on the way, and what we do meanwhile. A caller's loop must end, and no engine
// may ask to be called again without having moved.
#include <openssl/err.h>

#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "net/base/check.h"
#include "tests/fuzz/fuzz_input.h"
#include "tests/net/tls_test_certs.h"
#include "tests/net/tls_test_peer.h"

namespace {

using net::Bytes;
using net::TlsEngine;
using net::TlsNext;
using net::TlsState;

struct SslContextFree {
  void operator()(SSL_CTX* context) const { SSL_CTX_free(context); }
};
using SslContext = std::unique_ptr<SSL_CTX, SslContextFree>;

constexpr size_t kDrivers = 4;

class Stage {
 public:
  Stage() : worker_(std::move(*net::TlsWorker::Create())), certificate_({}) {
    const net::TestFolder folder;
    const std::string chain = folder.Write("chain.pem", certificate_.chain_pem());
    const std::string key = folder.Write("key.pem", certificate_.key_pem());
    for (size_t driver = 0; driver < kDrivers; ++driver) {
      net::TlsPolicy policy;
      policy.max_version = driver == 0 ? net::TlsVersion::kTls12 : net::TlsVersion::kTls13;
      policy.take_over = driver != 1;
      policy.own_handshake = driver == 3;
      net::TlsServerOptions options;
      options.policy = policy;
      options.sites.push_back({.certificates = {{.chain = chain, .key = key}}});
      options.tickets = net::TlsTicketKeys::Random();
      auto server = net::TlsServerContext::Create(options);
      CHECK(server.has_value());
      servers_[driver] = *server;
      auto client = net::TlsClientContext::Create({.policy = policy, .ca = chain});
      CHECK(client.has_value());
      clients_[driver] = *client;
    }
    peer_client_.reset(SSL_CTX_new(TLS_client_method()));
    peer_server_.reset(SSL_CTX_new(TLS_server_method()));
    CHECK(SSL_CTX_use_certificate(peer_server_.get(), certificate_.x509()) == 1);
    CHECK(SSL_CTX_use_PrivateKey(peer_server_.get(), certificate_.key()) == 1);
  }

  net::TlsEnginePtr Engine(bool server, size_t driver) {
    return server ? worker_->NewServer(servers_[driver])
                  : worker_->NewClient(clients_[driver], {.server_name = "example.org"});
  }
  // The other end of an engine of that role.
  SSL_CTX* Peer(bool server) { return server ? peer_client_.get() : peer_server_.get(); }
  net::TlsWorker& worker() { return *worker_; }

 private:
  std::unique_ptr<net::TlsWorker> worker_;
  net::TestCertificate certificate_;
  std::shared_ptr<const net::TlsServerContext> servers_[kDrivers];
  std::shared_ptr<const net::TlsClientContext> clients_[kDrivers];
  SslContext peer_client_;
  SslContext peer_server_;
};

class Talk {
 public:
  Talk(Stage& stage, FuzzInput& input, uint8_t kind)
      : input_(input),
        engine_(stage.Engine((kind & 1) != 0, kind >> 1 & 3)),
        peer_(stage.Peer((kind & 1) != 0), (kind & 1) == 0) {
    CHECK(engine_ != nullptr);
    Feed({});
  }

  void Run() {
    if (input_.Byte() % 4 != 0) {  // mostly they get to the end of it
      for (int i = 0; i < 4; ++i) {
        peer_.Handshake();
        Exchange();
      }
    }
    for (int orders = 0; orders < 64 && !input_.empty(); ++orders) Order();
    peer_.Read();
    Exchange();
  }

 private:
  void Order() {
    switch (input_.Byte() % 12) {
      case 0:
        peer_.Handshake();
        break;
      case 1:
        peer_.Write(Bytes(input_.Byte() + size_t{1}, 'a'));
        break;
      case 2:
        peer_.Write(Bytes(size_t{256} * input_.Byte(), 'b'));
        break;
      case 3:
        SSL_key_update(peer_.ssl(), input_.Byte() % 2);
        break;
      case 4:
        SSL_shutdown(peer_.ssl());
        break;
      case 5:
        SSL_renegotiate(peer_.ssl());
        break;
      case 6:
        Exchange();
        break;
      case 7: {  // a byte is changed on its way
        Collect();
        const size_t at = input_.Byte() * size_t{256} + input_.Byte();
        if (!wire_.empty()) wire_[at % wire_.size()] ^= static_cast<uint8_t>(input_.Byte() | 1);
        break;
      }
      case 8: {  // something is said in between
        Collect();
        const Bytes more = input_.Take(input_.Byte());
        wire_.insert(wire_.end(), more.begin(), more.end());
        break;
      }
      case 9:
        if (engine_->state() != TlsState::kHandshaking) engine_->Shutdown();
        break;
      case 10:
        WriteAll(*engine_, Bytes(size_t{64} * input_.Byte(), 'c'),
                 600 + size_t{80} * input_.Byte());
        break;
      default:
        Collect();
        Feed(wire_, input_.Byte() + size_t{1});
        wire_.clear();
        break;
    }
    ERR_clear_error();
  }

  void Collect() {
    const Bytes said = peer_.Take();
    wire_.insert(wire_.end(), said.begin(), said.end());
  }

  void Exchange() {
    Collect();
    Feed(wire_);
    wire_.clear();
    peer_.Give(FlushAll(*engine_));
    peer_.Read();
    ERR_clear_error();
  }

  // Each call gets bytes of its own, so that reading behind them is seen.
  void Feed(const Bytes& wire, size_t piece = SIZE_MAX) {
    size_t at = 0;
    do {
      const size_t size = std::min(piece, wire.size() - at);
      Bytes bytes(wire.begin() + static_cast<long>(at),
                  wire.begin() + static_cast<long>(at + size));
      FeedOnce(bytes);
      at += size;
    } while (at < wire.size());
  }

  void FeedOnce(std::span<uint8_t> rest) {
    // Each call takes input or gives a buffer of plaintext, and there is at least as much input.
    const size_t calls_max = 2 + 2 * rest.size();
    TlsNext next = TlsNext::kAgain;
    for (size_t calls = 0; next == TlsNext::kAgain; ++calls) {
      CHECK(calls < calls_max);
      net::TlsPlaintext plain;
      const net::TlsFeed feed = engine_->Feed(rest, &plain);
      next = feed.next;
      CHECK(feed.consumed <= rest.size() && feed.state == engine_->state());
      CHECK(next == TlsNext::kAgain ? feed.consumed > 0 || plain.bytes > 0
                                    : feed.consumed == rest.size());
      const bool over = feed.state == TlsState::kPeerClosed || feed.state == TlsState::kFailed;
      CHECK(over == (next == TlsNext::kOver));
      size_t bytes = 0;
      for (const std::span<uint8_t> span : plain.view()) bytes += span.size();
      CHECK(bytes == plain.bytes && plain.count <= net::TlsPlaintext::kMaxSpans);
      CHECK(!over_ || (over && bytes == 0));
      over_ = over;
      if (feed.handshake_done) {
        CHECK(!done_);
        done_ = true;
        CHECK(engine_->TakeFacts() != nullptr);
      }
      rest = rest.subspan(feed.consumed);
    }
    engine_->Release();
  }

  FuzzInput& input_;
  net::TlsEnginePtr engine_;
  net::OpenSslPeer peer_;
  Bytes wire_;  // said by the peer and not yet fed
  bool done_ = false;
  bool over_ = false;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static Stage stage;
  FuzzInput input(data, size);
  const uint8_t kind = input.Byte();
  {
    Talk(stage, input, kind).Run();
  }
  ERR_clear_error();
  stage.worker().EndTurn();
  CHECK(stage.worker().engines() == 0 && stage.worker().handshaking() == 0);
  CHECK(stage.worker().on_openssl() == 0);
  return 0;
}
