// Sessions that went on as others (XEP-0198, resumed elsewhere), as those see them who still have
// something of theirs under way.
//
//   LeftSessions  at the place that a session left: what is settled of what it had sent there is
//                 told to the session that it became.
//   MoveOrder     at its home: stanzas of the session that it became wait until all has come that
//                 it had sent before, so that order holds from a sender to its receivers.
//
// Pure; one thread. Both are bounded, and say what it costs when they are full.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <unordered_set>
#include <utility>
#include <vector>

#include "server/im/parcel.h"

namespace server {

class LeftSessions {
 public:
  static constexpr size_t kMax = 8192;

  // `unsettled`: what it had sent and nobody has settled; without any it need not be known. `ways`:
  // the nodes by which that is to be heard. The answer is of the oldest, which had to be forgotten
  // for it: it hears no more of what it sent.
  std::optional<SessionId> Add(const SessionId& id, const SessionId& next,
                               const std::vector<uint32_t>& unsettled, std::vector<uint16_t> ways) {
    if (unsettled.empty()) return std::nullopt;
    std::optional<SessionId> forgotten;
    if (left_.size() >= kMax) {
      const auto oldest = left_.find(by_age_.begin()->second);
      forgotten = oldest->second.next;
      Erase(oldest);
    }
    left_.insert_or_assign(id, Left{.next = next,
                                    .unsettled = {unsettled.begin(), unsettled.end()},
                                    .ways = std::move(ways),
                                    .age = ++ages_});
    by_age_[ages_] = id;
    return forgotten;
  }
  // Where to tell it; nothing: it was told, or nobody waits for it.
  std::optional<SessionId> Settle(const SessionId& id, uint32_t number) {
    const auto it = left_.find(id);
    if (it == left_.end() || it->second.unsettled.erase(number) == 0) return std::nullopt;
    const SessionId next = it->second.next;
    if (it->second.unsettled.empty()) Erase(it);
    return next;
  }
  // That what it had sent is to be heard by way of that node as well came to be known late. Where
  // it went, while it waits for something.
  std::optional<SessionId> Owe(const SessionId& id, uint16_t node) {
    const auto it = left_.find(id);
    if (it == left_.end()) return std::nullopt;
    it->second.ways.push_back(node);
    return it->second.next;
  }
  // Where it went, while it waits for something.
  std::optional<SessionId> Next(const SessionId& id) const {
    const auto it = left_.find(id);
    return it == left_.end() ? std::nullopt : std::optional(it->second.next);
  }
  // What was to be heard by way of that node is not heard any more. The answer is of those
  // elsewhere that may wait for it in vain.
  std::vector<SessionId> NodeDown(uint16_t node) {
    std::vector<SessionId> in_vain;
    for (auto it = left_.begin(); it != left_.end();) {
      const auto one = it++;
      if (one->second.next.node == node) {
        Erase(one);
      } else if (std::ranges::find(one->second.ways, node) != one->second.ways.end()) {
        in_vain.push_back(one->second.next);
      }
    }
    return in_vain;
  }
  size_t size() const { return left_.size(); }

 private:
  struct Left {
    SessionId next;
    std::unordered_set<uint32_t> unsettled;
    std::vector<uint16_t> ways;
    uint64_t age;
  };
  void Erase(std::map<SessionId, Left>::iterator it) {
    by_age_.erase(it->second.age);
    left_.erase(it);
  }

  std::map<SessionId, Left> left_;
  std::map<uint64_t, SessionId> by_age_;
  uint64_t ages_ = 0;
};

class MoveOrder {
 public:
  using Item = std::move_only_function<void()>;
  // Of one session: a client is not read from when more of it is not settled. Above it order gives
  // way.
  static constexpr size_t kHeldMax = 4096;

  // Whatever `before` had sent comes before what `next` sends; Ended(before) says that it has.
  void Moved(const SessionId& before, const SessionId& next) {
    waiting_.insert_or_assign(next, Waiting{.before = before, .held = {}});
    next_of_.insert_or_assign(before, next);
  }
  bool Waits(const SessionId& session) const { return waiting_.contains(session); }
  // Runs it, now or when it is its turn.
  void Run(const SessionId& session, Item item) {
    const auto it = waiting_.find(session);
    if (it == waiting_.end()) return item();
    it->second.held.push_back(std::move(item));
    if (it->second.held.size() > kHeldMax) Release(session);
  }
  // Nothing more comes from that session.
  void Ended(const SessionId& session) {
    const auto next = next_of_.extract(session);
    if (next) Release(next.mapped());
  }
  // It does not wait any longer.
  void Release(const SessionId& session) {
    auto waiting = waiting_.extract(session);
    if (!waiting) return;
    const auto next = next_of_.find(waiting.mapped().before);
    if (next != next_of_.end() && next->second == session) next_of_.erase(next);
    for (Item& item : waiting.mapped().held) item();
  }
  size_t size() const { return waiting_.size(); }

 private:
  struct Waiting {
    SessionId before;
    std::vector<Item> held;
  };
  std::map<SessionId, Waiting> waiting_;
  std::map<SessionId, SessionId> next_of_;
};

}  // namespace server
