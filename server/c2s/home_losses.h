// Homes of this node whose record gave way to another node's: who hears of it, and when.
//
// A home that lost ends where the other one is known to be reached. While it is not (both have the
// other's record, and no relation yet), to end would leave the user without a home here, and to say
// its own record again would have the other do the same, for as long as that lasts. So it waits:
// for the relation, or until the other's record has gone.
//
// Pure; one thread. Bounded by the homes of this node.
#pragma once

#include <cstddef>
#include <cstdint>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace server {

class HomeLosses {
 public:
  // Whose the record of a home is now.
  enum class Owner : uint8_t {
    kNobody,
    kThisNode,  // it was said anew meanwhile
    kReached,
    kUnreached,  // a node that the workers do not know, or that may be about to go
  };

  void Add(std::string bare) { losses_.insert(std::move(bare)); }
  bool empty() const { return losses_.empty(); }
  size_t size() const { return losses_.size(); }
  void Clear() { losses_.clear(); }

  // Those that their homes are to hear of now; they are known no more.
  template <typename OwnerOf>
  std::vector<std::string> Judge(OwnerOf&& owner_of) {
    std::vector<std::string> judged;
    for (auto it = losses_.begin(); it != losses_.end();) {
      const Owner owner = owner_of(*it);
      if (owner == Owner::kUnreached) {
        ++it;
        continue;
      }
      auto one = losses_.extract(it++);
      if (owner != Owner::kThisNode) judged.push_back(std::move(one.value()));
    }
    return judged;
  }

 private:
  std::set<std::string> losses_;
};

}  // namespace server
