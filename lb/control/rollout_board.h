// Rolling restarts that are under way, a pool each. Who leads one (`mongooselb ctl
// rolling-restart`, a process of its own, which runs the hook) reports here at least every
// kRolloutSilence; operators read how it goes, and leave here what they want: pause, resume, abort.
// Two never lead one pool.
//
// Nothing here outlives the process; a leader that finds a new one (after an upgrade) reports what
// was wanted so far, and that holds.
//
// Control thread only; pure but for that: the clock is the caller's.
#pragma once

#include <cstdint>
#include <expected>
#include <map>
#include <string>
#include <vector>

#include "lb/control/orders.h"
#include "net/base/clock.h"

namespace lb {

// A leader that was not heard for so long has left.
inline constexpr net::Duration kRolloutSilence = std::chrono::seconds(15);
inline constexpr size_t kRolloutTextMax = 1024;  // bytes of what a leader says; the rest is cut off

struct RolloutReport {
  std::string pool;
  std::string leader;  // names the process, and no other that ever leads
  std::string text;    // how it goes
  bool ended = false;
  // What was wanted when the leader last heard.
  bool paused = false;
  uint32_t resumes = 0;
};

struct RolloutWanted {
  bool paused = false;
  bool aborted = false;
  uint32_t resumes = 0;
};

enum class RolloutOrderKind : uint8_t { kPause, kResume, kAbort };

struct RolloutView {
  std::string pool;
  std::string leader;
  std::string text;
  bool ended = false;
  bool lost = false;  // its leader has left without a word
  bool paused = false;
  bool aborted = false;
  double begun_s = 0;  // ago
  double heard_s = 0;  // ago
};

class RolloutBoard {
 public:
  // Takes the pool, or tells how the rollout of it goes; what is wanted of it.
  std::expected<RolloutWanted, Refusal> Report(const RolloutReport& report, net::Time now);
  Done Order(const std::string& pool, RolloutOrderKind kind, net::Time now);
  // All, and the last one of each pool after its end.
  std::vector<RolloutView> Views(net::Time now) const;
  // Pools that are no more are forgotten.
  template <typename Exists>
  void Keep(Exists exists) {
    std::erase_if(records_, [&](const auto& record) { return !exists(record.first); });
  }

 private:
  struct Record {
    std::string leader;
    std::string text;
    RolloutWanted wanted;
    bool ended = false;
    net::Time begun{};
    net::Time heard{};

    bool Lost(net::Time now) const { return !ended && now - heard > kRolloutSilence; }
  };

  std::map<std::string, Record> records_;  // by pool
};

}  // namespace lb
