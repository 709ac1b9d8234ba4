#include "server/muc/room_directory.h"

#include <utility>

namespace server {
namespace {

std::string_view ServiceOf(std::string_view jid) { return jid.substr(jid.find('@') + 1); }

}  // namespace

bool RoomDirectory::Add(const std::string& jid, Room room, uint32_t most) {
  std::lock_guard lock(mutex_);
  uint32_t& count = counts_[std::string(ServiceOf(jid))];
  if (count >= most) return false;
  if (rooms_.emplace(jid, std::move(room)).second) ++count;
  return true;
}

void RoomDirectory::Set(const std::string& jid, Room room) {
  std::lock_guard lock(mutex_);
  const auto at = rooms_.find(jid);
  if (at != rooms_.end()) at->second = std::move(room);
}

void RoomDirectory::Remove(const std::string& jid) {
  std::lock_guard lock(mutex_);
  if (rooms_.erase(jid) != 0) --counts_[std::string(ServiceOf(jid))];
}

std::optional<RoomDirectory::Room> RoomDirectory::Find(std::string_view jid) const {
  std::lock_guard lock(mutex_);
  const auto at = rooms_.find(jid);
  return at == rooms_.end() ? std::nullopt : std::optional(at->second);
}

std::vector<RoomName> RoomDirectory::List(std::string_view service, std::string_view after,
                                          size_t most) const {
  std::lock_guard lock(mutex_);
  std::vector<RoomName> names;
  for (auto at = rooms_.upper_bound(after); at != rooms_.end() && names.size() < most; ++at) {
    if (!at->second.listed || ServiceOf(at->first) != service) continue;
    names.push_back({.jid = at->first, .name = at->second.name});
  }
  return names;
}

size_t RoomDirectory::size() const {
  std::lock_guard lock(mutex_);
  return rooms_.size();
}

}  // namespace server
