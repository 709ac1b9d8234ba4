// Runs checks over sockets: connects, carries bytes between a CheckScript and the peer, keeps the
// time, and reports one verdict. The scripts know what is said; this knows how.
//
// Control thread. Destroying a Probe ends it without a report.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "net/base/address.h"
#include "net/conn/channel.h"
#include "net/http/http.h"
#include "net/io/event_loop.h"
#include "net/io/stream.h"
#include "net/probe/check_script.h"
#include "net/tls/tls_engine.h"
#include "net/xmpp/starttls.h"

namespace net {

// How a check speaks TLS: as the connections do whose node it looks at. Give no session key: a
// check neither resumes nor leaves a session for others.
struct CheckTls {
  std::shared_ptr<TlsWorker>
      worker;  // of the loop's thread; null: there is none, and the check fails
  std::shared_ptr<const TlsClientContext> context;
  TlsPeer peer;
  std::optional<StartTlsClientOptions> starttls;  // STARTTLS first; none: TLS from the first byte
};

// One run of one check.
class Probe final : private ChannelHandler {
 public:
  using Done = std::move_only_function<void(bool ok, const std::string& why)>;

  // `preamble` goes before what the script sends.
  Probe(EventLoop& loop, const SocketName& address, std::string preamble,
        std::unique_ptr<CheckScript> script, Duration timeout, Done done,
        std::optional<CheckTls> tls = std::nullopt);
  ~Probe();
  Probe(const Probe&) = delete;
  Probe& operator=(const Probe&) = delete;

  // It failed for want of a port, descriptor or memory of ours: that says nothing of the peer.
  bool ours() const { return ours_; }

 private:
  enum class Stage : uint8_t {
    kConnecting,
    kStartTls,   // words in the clear
    kHandshake,  // TLS
    kScript,
  };
  static std::string_view Where(Stage stage);

  void OnOpen() override;
  void OnBytes(std::span<const uint8_t> bytes) override;
  void OnEnd() override;
  void OnClosed(std::string_view why) override;
  void Secure();
  void Begin();
  void Fail(std::string why);
  void Look();

  EventLoop& loop_;
  std::string preamble_;
  std::unique_ptr<CheckScript> script_;
  Done done_;
  std::optional<CheckTls> tls_;
  std::unique_ptr<StartTlsClient> words_;
  Stage stage_ = Stage::kConnecting;
  std::unique_ptr<Channel> channel_;
  EventLoop::TimerId timer_;
  bool reported_ = false;
  bool ours_ = false;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);  // for a report on its way
};

// One HTTP request, as a rule a GET, whose answer's body is wanted.
class HttpFetch final : private StreamHandler {
 public:
  // The body of a 200, or why there is none.
  using Done = std::move_only_function<void(std::expected<std::string, std::string>)>;

  HttpFetch(EventLoop& loop, const SocketName& address, std::string host, std::string path,
            Duration timeout, size_t bytes_max, Done done);
  HttpFetch(EventLoop& loop, const SocketName& address, const HttpClientRequest& request,
            Duration timeout, size_t bytes_max, Done done);
  ~HttpFetch();
  HttpFetch(const HttpFetch&) = delete;
  HttpFetch& operator=(const HttpFetch&) = delete;

  bool ours() const { return ours_; }  // as Probe's
  // The request went out and its answer did not come back whole: the peer may have done what it
  // asks all the same.
  bool maybe_done() const { return sent_ && !answered_; }

 private:
  void OnConnected() override;
  void OnData(std::span<const uint8_t> data) override;
  void OnEnd() override;
  void OnClosed(std::string_view why) override;
  void Report(std::expected<std::string, std::string> result);

  EventLoop& loop_;
  std::string request_;
  HttpResponseParser parser_;
  Done done_;
  std::shared_ptr<Stream> stream_;
  EventLoop::TimerId timer_;
  bool sent_ = false;
  bool answered_ = false;
  bool reported_ = false;
  bool ours_ = false;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);  // for a report on its way
};

}  // namespace net
