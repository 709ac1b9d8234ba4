// Sends of which the kernel speaks only when they fail (Ring::SendQuietly): with the call that
// submitted it, such a send has either gone out whole or left a completion. So what left none is
// done, and is told without one.
//
// Pure, one thread. Failures come in the order of the sends, as a rule.
#pragma once

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <utility>
#include <vector>

namespace net {

struct QuietSend {
  uint64_t data = 0;  // who it is told to; of one send at a time
  uint32_t slot = 0;
  std::span<const uint8_t> bytes;
};

class QuietSends {
 public:
  // More of them in a turn, and nobody sleeps on them: they need not be looked at one by one.
  static constexpr size_t kFew = 16;

  void Add(const QuietSend& send) { queued_.push_back(send); }
  bool any() const { return !queued_.empty(); }
  size_t queued() const { return queued_.size(); }

  // Whether one that is queued belongs to `target` (its data without the `mask`ed bits), or there
  // are too many to look.
  bool Concerns(uint64_t target, uint64_t mask) const {
    if (queued_.size() > kFew) return true;
    for (const QuietSend& send : queued_) {
      if ((send.data & ~mask) == target) return true;
    }
    return false;
  }

  // All that are queued have been submitted, and their failures are told from now on, by Failed(),
  // until they are Taken().
  void Begin() {
    taken_.clear();
    taken_.swap(queued_);
    next_ = 0;
  }
  void Failed(uint64_t data, int32_t result) {
    for (size_t looked = 0; looked < taken_.size(); ++looked) {
      QuietSend& send = taken_[next_];
      next_ = next_ + 1 < taken_.size() ? next_ + 1 : 0;
      if (send.data != data) continue;
      if (result == -EAGAIN) again_.push_back(send);
      send.data = 0;
      return;
    }
  }
  // Those that are to be sent again, by one that waits; once.
  std::vector<QuietSend> Again() { return std::exchange(again_, {}); }
  // Those that went out, in order; data is 0 for those that did not. Valid until Begin().
  std::span<const QuietSend> Taken() const { return taken_; }

  // One that was submitted early, before its turn, and has failed.
  std::optional<QuietSend> Remove(uint64_t data) {
    for (auto send = queued_.begin(); send != queued_.end(); ++send) {
      if (send->data != data) continue;
      const QuietSend found = *send;
      queued_.erase(send);
      return found;
    }
    return std::nullopt;
  }

 private:
  std::vector<QuietSend> queued_;
  std::vector<QuietSend> taken_;
  std::vector<QuietSend> again_;
  size_t next_ = 0;
};

}  // namespace net
