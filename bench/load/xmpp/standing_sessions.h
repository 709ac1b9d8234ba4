// Builds up a standing set: session i is account i. Those that fail are tried again, until there
// were too many failures.
#pragma once

#include <vector>

#include "bench/load/xmpp/xmpp_engine.h"

namespace bench {

// Sessions that are logging in at one time while a standing set is built up.
inline constexpr std::size_t kLoggingInMax = 64;

class StandingSessions {
 public:
  void Start(XmppEngine& engine);
  void Ready() { --opening_, ++ready_; }
  void Failed(XmppEngine& engine, const Session& session, bool was_ready);
  // Opens more; true when all are ready.
  bool Fill(XmppEngine& engine);
  std::size_t ReadyCount() const { return ready_; }
  bool Hopeless() const { return failures_ > kFailuresMax; }
  // When Fill should be called next, at the latest.
  std::int64_t NextNs() const { return pause_until_ns_; }

 private:
  static constexpr std::size_t kFailuresMax = 1000;
  static constexpr std::int64_t kPauseNs = 10'000'000;  // after a failure

  std::vector<std::uint32_t> to_open_;
  std::size_t wanted_ = 0;
  std::size_t opening_ = 0;
  std::size_t ready_ = 0;
  std::size_t failures_ = 0;
  std::int64_t pause_until_ns_ = kNever;
};

}  // namespace bench
