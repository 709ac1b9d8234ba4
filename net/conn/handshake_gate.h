// Which TLS handshakes of a worker may be worked on, and when: a bounded time of it in each turn,
// so that who is connected goes on during a storm of new connections, and a bounded number at once,
// since each under way holds memory (50 KB with OpenSSL).
//
// A connection that has input for its handshake takes a place and stands in line for work (Due).
// Once half of the places are taken a newcomer first waits for one (Await): those who resume, which
// costs little, go before the others. Who holds a place and says nothing for kSilence gives it up
// when somebody waits.
//
// Pure but for the clock it is given. One thread; `places` may be shared between workers.
//
// Connections are named by index. A line may still name one that has left, or whose index another
// has by now: whoever is called looks whether it means anything to him.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <deque>

#include "net/base/clock.h"
#include "net/base/deadline_queue.h"

namespace net {

class HandshakeGate {
 public:
  struct Options {
    uint32_t places_max = 0;  // at once, of all who share them; 0 for no limit
    // Who wait for a place, here; more are refused.
    uint32_t waiting_max = 4096;
  };
  // Work in one turn; what is left comes in the next.
  static constexpr Duration kWork = std::chrono::microseconds(500);
  // Longer than a slow client takes for its next word.
  static constexpr Duration kSilence = std::chrono::seconds(2);

  // What came of offering a place.
  enum class Offer : uint8_t { kTaken, kNoneFree, kGone };

  HandshakeGate(const Options& options, std::atomic<uint32_t>& places)
      : options_(options), places_(places) {}

  // Whoever comes now has to wait.
  bool Crowded() const {
    if (!waiting_[0].empty() || !waiting_[1].empty()) return true;
    return options_.places_max != 0 &&
           places_.load(std::memory_order_relaxed) >= (options_.places_max + 1) / 2;
  }
  bool TakePlace() {
    const uint32_t before = places_.fetch_add(1, std::memory_order_relaxed);
    if (options_.places_max == 0 || before < options_.places_max) return true;
    LeavePlace();
    return false;
  }
  void LeavePlace() { places_.fetch_sub(1, std::memory_order_relaxed); }

  void Due(uint32_t index) { due_.push_back(index); }
  // False: waiting_max wait already.
  bool Await(uint32_t index, bool resumes) {
    if (waiting_[0].size() + waiting_[1].size() >= options_.waiting_max) return false;
    waiting_[resumes].push_back(index);
    return true;
  }
  // It holds a place, and has the word.
  void Silent(uint32_t index, Time now) {
    if (options_.places_max == 0) return;
    if (silent_.size() > 2 * size_t{options_.places_max} + kStaleMax) silent_.DropOldest();
    silent_.Push(index, now);
  }

  bool has_work() const { return !due_.empty(); }
  bool has_waiting() const { return !waiting_[0].empty() || !waiting_[1].empty(); }

  // At the end of a turn: work(index) for those in line; then offer(index) -> Offer to those who
  // wait; evict(index, since) -> bool ends one that has been silent since then, false when it is
  // not. True: there is more to do, come again in the next turn.
  template <typename Work, typename OfferPlace, typename Evict>
  bool Serve(const Clock& clock, Work&& work, OfferPlace&& offer, Evict&& evict) {
    const Time begin = clock.Now();
    while (ServeOne(clock, work, offer, evict)) {
      if (clock.Now() - begin >= kWork) return has_work() || has_waiting();
    }
    return false;
  }

 private:
  static constexpr size_t kStaleMax = 64;
  template <typename Work, typename OfferPlace, typename Evict>
  bool ServeOne(const Clock& clock, Work& work, OfferPlace& offer, Evict& evict) {
    if (!due_.empty()) {
      const uint32_t index = due_.front();
      due_.pop_front();
      work(index);
      return true;
    }
    for (const bool resumes : {true, false}) {
      std::deque<uint32_t>& line = waiting_[resumes];
      if (line.empty()) continue;
      if (offer(line.front()) == Offer::kNoneFree) return EvictOne(clock, evict);
      line.pop_front();
      return true;
    }
    return false;
  }

  template <typename Evict>
  bool EvictOne(const Clock& clock, Evict& evict) {
    while (const auto longest = silent_.PopDue(clock.Now())) {
      if (evict(longest->key, longest->since)) return true;
    }
    return false;
  }

  const Options options_;
  std::atomic<uint32_t>& places_;
  std::deque<uint32_t> due_;
  std::array<std::deque<uint32_t>, 2> waiting_;  // full ones, resumed ones
  DeadlineQueue<uint32_t> silent_{kSilence};
};

}  // namespace net
