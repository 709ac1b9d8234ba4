// Keeps what is said to an account in the order in which it was said, while the node that deals
// with the account becomes another one: what went to the one before may be sent on from there, so
// the next waits until all of that is settled.
//
// Pure; one thread. Bounded by what is under way; of what waits, FarSide has the bounds.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "net/base/clock.h"
#include "server/c2s/home_directory.h"
#include "server/im/parcel.h"

namespace server {

class RouteOrder {
 public:
  struct Waiting {
    net::Time since{};
    std::vector<Parcel> parcels = {};
    size_t bytes = 0;
  };

  // Nothing is under way to the account by another node, and nothing waits. 0: it is at home here.
  bool MayGo(const std::string& bare, NodeNumber node) const {
    if (under_way_.empty()) return true;
    const auto it = under_way_.find(bare);
    return it == under_way_.end() || (it->second.node == node && !waiting_.contains(bare));
  }
  void Went(const std::string& bare, NodeNumber node) {
    UnderWay& way = under_way_[bare];
    way.node = node;
    ++way.count;
  }
  void Wait(const std::string& bare, Parcel parcel, net::Time now) {
    const auto [it, fresh] = waiting_.try_emplace(bare);
    if (fresh) it->second.since = now;
    it->second.bytes += parcel.content_view().size() + sizeof(Parcel);
    it->second.parcels.push_back(std::move(parcel));
    ++count_;
  }
  const Waiting* Of(const std::string& bare) const {
    const auto it = waiting_.find(bare);
    return it == waiting_.end() ? nullptr : &it->second;
  }
  // One of those that went. What may go now, in its order.
  std::vector<Parcel> Settled(const std::string& bare) {
    const auto it = under_way_.find(bare);
    if (it == under_way_.end() || --it->second.count > 0) return {};
    under_way_.erase(it);
    return Take(bare);
  }
  // What has waited for so long: it goes without an order.
  std::vector<Parcel> TakeLate(net::Time now, net::Duration limit) {
    std::vector<std::string> late;
    for (const auto& [bare, waiting] : waiting_) {
      if (now - waiting.since >= limit) late.push_back(bare);
    }
    std::vector<Parcel> parcels;
    for (const std::string& bare : late) {
      for (Parcel& parcel : Take(bare)) parcels.push_back(std::move(parcel));
    }
    return parcels;
  }
  size_t waiting() const { return count_; }

 private:
  struct UnderWay {
    NodeNumber node = 0;  // of the last one
    uint32_t count = 0;
  };

  std::vector<Parcel> Take(const std::string& bare) {
    auto waiting = waiting_.extract(bare);
    if (!waiting) return {};
    count_ -= waiting.mapped().parcels.size();
    return std::move(waiting.mapped().parcels);
  }

  std::unordered_map<std::string, UnderWay> under_way_;
  std::unordered_map<std::string, Waiting> waiting_;
  size_t count_ = 0;
};

}  // namespace server
