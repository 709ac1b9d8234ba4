// Who is connected, for all threads: written by the node's thread, read by whoever sends.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <shared_mutex>
#include <string>
#include <string_view>
#include <vector>

#include "server/dist/dist_types.h"
#include "server/dist/out_queue.h"

namespace server {

class Link;

class PeerRegistry {
 public:
  struct Entry {
    bool ours = false;
    std::shared_ptr<OutQueue> queue;
    std::weak_ptr<Link> link;  // for the node's thread only
  };

  void Add(const DistPeer& peer, std::shared_ptr<OutQueue> queue, std::weak_ptr<Link> link) {
    std::unique_lock lock(mutex_);
    peers_.insert_or_assign(peer.node, Item{peer, {peer.ours, std::move(queue), std::move(link)}});
  }
  void Remove(const std::string& node) {
    std::unique_lock lock(mutex_);
    peers_.erase(node);
  }
  std::optional<Entry> Find(std::string_view node) const {
    std::shared_lock lock(mutex_);
    auto found = peers_.find(node);
    if (found == peers_.end()) return std::nullopt;
    return found->second.entry;
  }
  std::vector<DistPeer> Peers() const {
    std::shared_lock lock(mutex_);
    std::vector<DistPeer> peers;
    for (const auto& [name, item] : peers_) peers.push_back(item.peer);
    return peers;
  }

 private:
  struct Item {
    DistPeer peer;
    Entry entry;
  };
  mutable std::shared_mutex mutex_;
  std::map<std::string, Item, std::less<>> peers_;
};

}  // namespace server
