// Runs checks over sockets: connects, carries bytes between a CheckScript and the peer, keeps the
// time, and reports one verdict. The scripts know what is said; this knows how.
//
// Control thread. Destroying a Probe ends it without a report.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "net/base/address.h"
#include "net/http/http.h"
#include "net/io/event_loop.h"
#include "net/io/stream.h"
#include "net/probe/check_script.h"

namespace net {

// One run of one check.
class Probe final : private StreamHandler {
 public:
  using Done = std::move_only_function<void(bool ok, const std::string& why)>;

  // `preamble` goes before what the script sends.
  Probe(EventLoop& loop, const SocketName& address, std::string preamble,
        std::unique_ptr<CheckScript> script, Duration timeout, Done done);
  ~Probe();
  Probe(const Probe&) = delete;
  Probe& operator=(const Probe&) = delete;

  // It failed for want of a port, descriptor or memory of ours: that says nothing of the peer.
  bool ours() const { return ours_; }

 private:
  void OnConnected() override;
  void OnData(std::span<const uint8_t> data) override;
  void OnEnd() override;
  void OnClosed(std::string_view why) override;
  void Look();

  EventLoop& loop_;
  std::string preamble_;
  std::unique_ptr<CheckScript> script_;
  Done done_;
  std::shared_ptr<Stream> stream_;
  EventLoop::TimerId timer_;
  bool reported_ = false;
  bool ours_ = false;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);  // for a report on its way
};

// One HTTP GET whose body is wanted.
class HttpFetch final : private StreamHandler {
 public:
  // The body of a 200, or why there is none.
  using Done = std::move_only_function<void(std::expected<std::string, std::string>)>;

  HttpFetch(EventLoop& loop, const SocketName& address, std::string host, std::string path,
            Duration timeout, size_t bytes_max, Done done);
  ~HttpFetch();
  HttpFetch(const HttpFetch&) = delete;
  HttpFetch& operator=(const HttpFetch&) = delete;

  bool ours() const { return ours_; }  // as Probe's

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
  bool reported_ = false;
  bool ours_ = false;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);  // for a report on its way
};

}  // namespace net
