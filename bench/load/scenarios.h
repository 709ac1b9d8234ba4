// What is done with connections:
//   connect  each operation is a new connection: open, one request, its reply, close
//   echo     standing connections, one request in flight on each
//   bulk     a few connections that each fetch many bytes
//   hold     connections that are opened, exchange once, and rest (idle), or come as a storm
//
// connect and echo run closed (as fast as replies come) or open (an arrival profile); latencies of
// open runs count from the intended start, the wait for a free connection included.
#pragma once

#include <deque>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "bench/load/engine.h"
#include "bench/load/pacing.h"

namespace bench {

// Operations that wait in the generator for a connection; beyond it they are shed and counted.
inline constexpr std::size_t kQueuedStartsMax = 200'000;
// Connections that are being opened at one time while a standing set is built up.
inline constexpr std::size_t kOpeningMax = 128;

struct Payload {
  std::string request;
  std::uint64_t reply_bytes = 0;  // 0: any reply
  bool verify = true;             // the reply must repeat the request
};

class ConnectScenario final : public Scenario {
 public:
  ConnectScenario(Timing timing, Payload payload, std::optional<Arrivals> arrivals);
  void OnStart(Engine& engine) override;
  void OnOpen(Engine& engine, Conn& conn) override;
  void OnReply(Engine& engine, Conn& conn) override;
  void OnFail(Engine& engine, Conn& conn, FailReason reason, bool was_idle) override;
  std::int64_t OnTick(Engine& engine, std::int64_t now_ns) override;
  bool Done() const override { return done_; }

 private:
  void OpenDue(Engine& engine);

  Window window_;
  Payload payload_;
  OpenLoop loop_;
  std::vector<std::uint32_t> free_;
  std::deque<std::int64_t> waiting_;  // intended starts without a slot
  std::int64_t pause_until_ns_ = 0;   // after a failure that came at once
  bool done_ = false;
};

// Builds up and keeps a standing set of connections.
class StandingSet {
 public:
  void Start(Engine& engine);
  void Opened() { --opening_, ++ready_; }
  void Failed(const Conn& conn, bool was_idle);
  // Opens more; true when all are ready.
  bool Fill(Engine& engine, std::int64_t now_ns);
  std::size_t Ready() const { return ready_; }
  bool Hopeless() const { return failures_ > kFailuresMax; }

 private:
  static constexpr std::size_t kFailuresMax = 1000;
  std::vector<std::uint32_t> to_open_;
  std::size_t opening_ = 0;
  std::size_t ready_ = 0;
  std::size_t failures_ = 0;
  std::int64_t pause_until_ns_ = 0;
};

class EchoScenario final : public Scenario {
 public:
  EchoScenario(Timing timing, Payload payload, std::optional<Arrivals> arrivals);
  void OnStart(Engine& engine) override;
  void OnOpen(Engine& engine, Conn& conn) override;
  void OnReply(Engine& engine, Conn& conn) override;
  void OnFail(Engine& engine, Conn& conn, FailReason reason, bool was_idle) override;
  std::int64_t OnTick(Engine& engine, std::int64_t now_ns) override;
  bool Done() const override { return done_; }

 private:
  void Begin(Engine& engine, Conn& conn, std::int64_t intended_ns);
  void TakeDue(Engine& engine);

  Window window_;
  Payload payload_;
  OpenLoop loop_;
  StandingSet set_;
  std::vector<std::deque<std::int64_t>> waiting_;  // per connection, open loop
  std::size_t waiting_count_ = 0;
  std::size_t turn_ = 0;
  bool running_ = false;
  bool done_ = false;
};

class BulkScenario final : public Scenario {
 public:
  // `total_bytes` are shared evenly by the engine's connections; each sends "GET n\n".
  BulkScenario(std::uint64_t total_bytes, std::size_t connections);
  void OnStart(Engine& engine) override { set_.Start(engine); }
  void OnOpen(Engine& engine, Conn& conn) override;
  void OnReply(Engine& engine, Conn& conn) override;
  void OnFail(Engine& engine, Conn& conn, FailReason reason, bool was_idle) override;
  std::int64_t OnTick(Engine& engine, std::int64_t now_ns) override;
  bool Done() const override { return done_; }

 private:
  std::string request_;
  std::uint64_t bytes_each_;
  std::size_t left_;
  StandingSet set_;
  bool running_ = false;
  bool done_ = false;
};

struct HoldOptions {
  Payload payload;           // exchanged once before resting; empty request: none
  std::int64_t hold_ns = 0;  // after all have been opened; kNever: until told
  std::size_t retries_max = 0;
  std::int64_t retry_base_ns = 500'000'000;  // doubled at each retry, the upper half random
  std::uint64_t seed = 1;
  std::function<void(Engine&)> on_held;  // all opened (or given up)
  std::function<bool()> told_to_stop;    // asked four times a second while holding
};

class HoldScenario final : public Scenario {
 public:
  HoldScenario(HoldOptions options, std::optional<Arrivals> arrivals);
  void OnStart(Engine& engine) override;
  void OnOpen(Engine& engine, Conn& conn) override;
  void OnReply(Engine& engine, Conn& conn) override;
  void OnFail(Engine& engine, Conn& conn, FailReason reason, bool was_idle) override;
  std::int64_t OnTick(Engine& engine, std::int64_t now_ns) override;
  bool Done() const override { return done_; }

 private:
  struct Retry {
    std::int64_t due_ns;
    std::uint32_t index;
  };
  void Settled(Engine& engine, Conn& conn);
  std::int64_t OpenMore(Engine& engine, std::int64_t now_ns);

  HoldOptions options_;
  OpenLoop loop_;
  std::mt19937_64 random_;
  std::vector<std::uint32_t> unopened_;
  std::vector<Retry> retries_;
  std::size_t opening_ = 0;
  std::size_t outcome_ = 0;  // connections that rest or were given up
  std::size_t wanted_ = 0;
  std::int64_t held_since_ns_ = 0;
  bool held_ = false;
  bool done_ = false;
};

}  // namespace bench
