// epmd over the loop: one question, and the registration that lives as long as its connection.
// Messages are epmd.h's.
//
// One thread, the loop's.
#pragma once

#include <expected>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "net/base/address.h"
#include "net/io/stream.h"
#include "server/dist/dist_options.h"
#include "server/dist/epmd.h"
#include "server/dist/side_thread.h"

namespace server {

// A connection to an epmd: a question, and what comes back. Destroyed, it calls nothing more.
class EpmdConnection final : private net::StreamHandler {
 public:
  // With all that came so far; true when nothing more is awaited.
  using AnswerHandler = std::function<bool(std::span<const uint8_t> answer)>;
  using EndHandler = std::function<void(std::string_view why)>;

  // The handlers may destroy the object.
  EpmdConnection(net::EventLoop& loop, const net::Address& epmd, TermBuffer question,
                 AnswerHandler on_answer, EndHandler on_end);
  ~EpmdConnection();
  EpmdConnection(const EpmdConnection&) = delete;
  EpmdConnection& operator=(const EpmdConnection&) = delete;

 private:
  void OnConnected() override;
  void OnData(std::span<const uint8_t> data) override;
  void OnEnd() override { Ended("epmd closed the connection"); }
  void OnClosed(std::string_view why) override { Ended(why); }
  void Ended(std::string_view why);

  net::SocketName name_;
  TermBuffer question_;
  std::vector<uint8_t> answer_;
  bool answered_ = false;
  AnswerHandler on_answer_;
  EndHandler on_end_;
  std::shared_ptr<net::Stream> stream_;
};

// Keeps the node's name registered: starts epmd where none is there, and registers again when it
// has gone.
class EpmdRegistrar {
 public:
  struct Identity {
    std::string alive;
    uint16_t port = 0;
    bool visible = false;
    net::Address interface;  // where the distribution listens
    bool ipv6 = false;
  };
  struct Failure {
    std::string what;
    std::string remedy;
  };
  using Registered = std::function<void(uint32_t creation)>;
  using Failed = std::function<void(const Failure& failure)>;

  // Between attempts, doubled until the maximum.
  static constexpr net::Duration kRetry = std::chrono::milliseconds(200);
  static constexpr net::Duration kRetryMax = std::chrono::seconds(5);
  // How long an epmd that was started, or one that is slow, may take to answer.
  static constexpr net::Duration kAnswerTime = std::chrono::seconds(5);
  // Attempts at the start before it is an error.
  static constexpr unsigned kFirstAttempts = 25;

  EpmdRegistrar(net::EventLoop& loop, SideThread& side, EpmdOptions options, Identity identity);
  ~EpmdRegistrar();

  // Each registration is told, and so is each failure: those of the first one, which gives up, and
  // later ones, which go on.
  void Start(Registered registered, Failed failed);
  bool registered() const { return registered_now_; }

 private:
  void Attempt();
  bool OnAnswer(std::span<const uint8_t> answer);
  void OnLost(std::string_view why);
  void Fail(std::string what, std::string remedy, bool final);
  void RetryLater();

  net::EventLoop& loop_;
  SideThread& side_;
  const EpmdOptions options_;
  const Identity identity_;
  Registered on_registered_;
  Failed on_failed_;
  std::unique_ptr<EpmdConnection> connection_;
  // What was posted or timed looks whether this still lives.
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
  net::EventLoop::TimerId timer_{};
  bool registered_now_ = false;
  bool ever_registered_ = false;
  bool start_tried_ = false;
  unsigned attempts_ = 0;
  net::Duration retry_ = kRetry;
};

net::Address LoopbackAddress(bool ipv6, uint16_t port);

}  // namespace server
