// Deliveries whose end a home waits for, by their tickets and by the session that has them: what
// follows a session that moves, and what is lost with one that never came.
//
// Costs by what the session has, never by what all have. Pure; one thread. Bounded by what sessions
// may leave unacknowledged.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

#include "server/im/parcel.h"

namespace server {

class TicketBook {
 public:
  void Add(uint64_t ticket, const SessionId& session) {
    if (!at_.emplace(ticket, session).second) return;
    of_[session].insert(ticket);
  }
  // Whose it was; nothing: it is not awaited.
  std::optional<SessionId> Take(uint64_t ticket) {
    const auto it = at_.extract(ticket);
    if (!it) return std::nullopt;
    const auto of = of_.find(it.mapped());
    of->second.erase(ticket);
    if (of->second.empty()) of_.erase(of);
    return it.mapped();
  }
  // All of a session; ascending, which is the order in which they were given.
  std::vector<uint64_t> TakeAll(const SessionId& session) {
    const auto of = of_.extract(session);
    if (!of) return {};
    std::vector<uint64_t> tickets(of.mapped().begin(), of.mapped().end());
    std::ranges::sort(tickets);
    for (const uint64_t ticket : tickets) at_.erase(ticket);
    return tickets;
  }
  void Move(const SessionId& session, const SessionId& next) {
    auto of = of_.extract(session);
    if (!of) return;
    for (const uint64_t ticket : of.mapped()) at_[ticket] = next;
    of_[next].merge(of.mapped());
  }
  // Of all sessions of a node, ascending.
  std::vector<std::pair<uint64_t, SessionId>> TakeNode(uint16_t node) {
    std::vector<std::pair<uint64_t, SessionId>> taken;
    std::erase_if(of_, [&](const auto& of) {
      if (of.first.node != node) return false;
      for (const uint64_t ticket : of.second) taken.emplace_back(ticket, of.first);
      return true;
    });
    std::ranges::sort(taken);
    for (const auto& [ticket, session] : taken) at_.erase(ticket);
    return taken;
  }
  bool HasAny(const SessionId& session) const { return of_.contains(session); }
  size_t size() const { return at_.size(); }

 private:
  std::unordered_map<uint64_t, SessionId> at_;
  std::map<SessionId, std::unordered_set<uint64_t>> of_;
};

}  // namespace server
