// Deadlines that all lie equally far ahead: whoever came first is due first, so a line does for
// them, without a timer each and without sorting.
//
// Pure; one thread. Nothing is taken out of the middle: whoever is called looks whether it still
// means anything to him, by what it gave as key. The owner bounds the line (size, DropOldest).
#pragma once

#include <cstddef>
#include <deque>
#include <optional>

#include "net/base/check.h"
#include "net/base/clock.h"

namespace net {

template <typename Key>
class DeadlineQueue {
 public:
  explicit DeadlineQueue(Duration after) : after_(after) {}

  // `now` never goes back.
  void Push(Key key, Time now) {
    DCHECK(line_.empty() || line_.back().since <= now);
    line_.push_back({std::move(key), now});
  }
  // The first one, if its time has come: taken out.
  struct Entry {
    Key key;
    Time since;  // when it came
  };
  std::optional<Entry> PopDue(Time now) {
    if (line_.empty() || now - line_.front().since < after_) return std::nullopt;
    std::optional<Entry> entry(std::move(line_.front()));
    line_.pop_front();
    return entry;
  }
  void DropOldest() { line_.pop_front(); }
  // When the first one is due; Time::max() with none.
  Time next() const { return line_.empty() ? Time::max() : line_.front().since + after_; }
  size_t size() const { return line_.size(); }
  bool empty() const { return line_.empty(); }

 private:
  const Duration after_;
  std::deque<Entry> line_;
};

}  // namespace net
