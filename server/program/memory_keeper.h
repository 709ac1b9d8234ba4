// What is done about a node's memory: readings in, orders out. One for the whole process.
//
//   kEnough   below 90 % of the bound
//   kShort    above it, also when what is idle has gone: new sessions are refused, balancers are
//             told, the heaviest sessions go until what they had makes 78 %
//   kFull     above 97 %: new streams are refused as well, and messages and requests but for short
//             ones of who waits with little, until 94 %
//   kOut      above 110 %: those as well, until 105 %
//
// It is short until it is below 80 %. In this order: the allocator gives back what is free, what is
// kept for nobody in particular goes (homes of who is away, rooms that are empty), then sessions.
//
// Contents of stanzas that are under way count against a bound of their own in the same way.
//
// What was ordered is not ordered again: memory that is on its way back (with the allocator, or as
// messages on their way to the store) counts as gone for a while. Sessions that wait with little
// are not ended: that gives nothing.
//
// Pure; one thread.
#pragma once

#include <cstdint>
#include <deque>
#include <optional>

#include "net/base/clock.h"
#include "server/c2s/client_stream.h"

namespace server {

struct MemoryBounds {
  uint64_t process = 0;   // of what the process has resident; 0: none is known
  uint64_t group = 0;     // of what all of its cgroup have; 0: none
  uint64_t messages = 0;  // of the contents that are under way; 0: none
};

struct MemoryReading {
  net::Time now{};
  // None: it could not be read.
  std::optional<uint64_t> resident;
  std::optional<uint64_t> group;
  // By the counters of those who have it.
  uint64_t messages = 0;   // contents of stanzas that are under way (im/message_bytes.h)
  uint64_t sheddable = 0;  // what would come free if all sessions ended
  uint64_t settling = 0;   // what is on its way into the store
};

struct MemoryOrders {
  enum class Said : uint8_t { kNothing, kBegins, kGoesOn, kEnds };
  bool trim = false;           // the allocator gives back what is free
  bool ease = false;           // what is idle goes
  uint64_t shed = 0;           // bytes of sessions; 0: none
  Said said = Said::kNothing;  // for the log
};

class MemoryKeeper {
 public:
  static constexpr uint64_t kLow = 80;  // percent of the bound
  static constexpr uint64_t kHigh = 90;
  static constexpr uint64_t kAim = 78;  // of sessions that go: what they have makes so much
  static constexpr uint64_t kFullEnds = 94;
  static constexpr uint64_t kFull = 97;
  static constexpr uint64_t kOutEnds = 105;
  static constexpr uint64_t kOut = 110;
  // What is idle has so long to go before sessions do.
  static constexpr net::Duration kEaseTime = std::chrono::milliseconds(250);
  static constexpr net::Duration kTrimEvery = std::chrono::seconds(1);
  static constexpr net::Duration kEaseEvery = std::chrono::seconds(5);
  static constexpr net::Duration kSayEvery = std::chrono::minutes(1);
  // What was ordered is gone by then, or is not what was thought.
  static constexpr net::Duration kGoneIn = std::chrono::seconds(3);
  // Messages that wait for the store are on their way out for so long behind an order.
  static constexpr net::Duration kSettledIn = std::chrono::seconds(10);
  // An order that is neither answered nor done by then is over.
  static constexpr net::Duration kAnswerIn = std::chrono::seconds(1);
  // Of what is too much sessions must have this part at least, or ending them is no remedy.
  static constexpr uint64_t kWorthPart = 16;

  explicit MemoryKeeper(MemoryBounds bounds) : bounds_(bounds) {}

  // Where it stands now, and what is to be done: the caller does all of it.
  MemoryOrders Look(const MemoryReading& reading);
  // So many bytes are what the last order of sessions came to.
  void Shed(uint64_t bytes);

  const MemoryBounds& bounds() const { return bounds_; }
  MemoryPressure pressure() const { return pressure_; }

 private:
  struct Ordered {
    net::Time at;
    uint64_t bytes;
  };
  struct Judged {
    uint64_t percent = 0;
    int64_t over = 0;  // kAim; less than 0: below it
  };
  std::optional<Judged> Judge(const MemoryReading& reading) const;
  void Enter(const Judged& judged, net::Time now);
  void Settle(const MemoryReading& reading, const Judged& judged);
  uint64_t ToShed(const MemoryReading& reading, const Judged& judged);

  const MemoryBounds bounds_;
  MemoryPressure pressure_ = MemoryPressure::kEnough;
  std::optional<net::Time> high_since_;
  std::optional<net::Time> trimmed_;
  std::optional<net::Time> eased_;
  std::optional<net::Time> asked_;  // for sessions, and not answered
  std::optional<int64_t> last_over_;
  uint64_t last_sheddable_ = 0;
  uint64_t undone_ = 0;  // of what was ordered: sessions have it still, by their counters
  net::Time said_{};
  std::deque<Ordered> going_;    // not seen to be gone yet; oldest first
  std::deque<Ordered> settled_;  // all orders of the last kSettledIn
};

}  // namespace server
