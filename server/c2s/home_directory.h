// Where users are at home, as one worker of a node knows it: each user is looked up on one worker
// of each node, its *deputy*, the one that its home would be on.
//
// A user with sessions has one home in the cluster, on the node of its first session; that node
// says so in a record that all nodes hold. Who has no record is dealt with on the node that
// rendezvous hashing of the bare address over our side names, its *warden*. Nobody becomes a home
// but by the warden's leave, so that two sessions which come at once on two nodes find one home,
// and the warden has nothing of the user under way when another begins; until the record is there
// it knows by its *grant*.
//
// Pure. Bounded: records are those of the table, grants end. One thread.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

#include "net/base/clock.h"

namespace server {

// A node of our side, as long as it is: SessionId::node. 0 is this one.
using NodeNumber = uint16_t;

class HomeDirectory {
 public:
  static constexpr net::Duration kGrantTime = std::chrono::seconds(10);
  // A login that read its user longer ago is over (HomeLimits::login_max).
  static constexpr net::Duration kTouchedTime = std::chrono::minutes(2);
  static constexpr size_t kTouchedMax = 65'536;

  explicit HomeDirectory(std::string self);

  void NodeUp(NodeNumber node, const std::string& name);
  // Whose homes were there.
  std::vector<std::string> NodeDown(NodeNumber node, net::Time now);
  const std::string& NameOf(NodeNumber node) const;
  std::optional<NodeNumber> Find(std::string_view name) const;
  bool alone() const { return nodes_.empty(); }

  // --- Records of other nodes, in the order of each.
  void Recorded(const std::string& bare, NodeNumber node, uint64_t stamp);
  void Erased(const std::string& bare, NodeNumber node, net::Time now);
  // It went from its node to that one, whose record may still be on its way.
  void Moved(const std::string& bare, NodeNumber node, net::Time now);
  // The other node that has a record of it.
  std::optional<NodeNumber> RecordedAt(const std::string& bare) const;
  // Of the record; 0: there is none.
  uint64_t StampOf(const std::string& bare) const;

  // --- Homes of this worker. True: it changed.
  bool Take(const std::string& bare) { return mine_.insert(bare).second; }
  bool GiveUp(const std::string& bare) { return mine_.erase(bare) != 0; }
  bool IsMine(const std::string& bare) const { return mine_.contains(bare); }

  void Grant(const std::string& bare, NodeNumber node, net::Time now);
  // Who has a home, or is granted one; nothing: nobody.
  std::optional<NodeNumber> HomeOf(const std::string& bare, net::Time now) const;
  NodeNumber WardenOf(std::string_view bare) const;
  // Who deals with it.
  NodeNumber Where(const std::string& bare, net::Time now) const {
    return HomeOf(bare, now).value_or(WardenOf(bare));
  }
  // It was at home elsewhere a short while ago: what a login has read of it may be old.
  bool Touched(const std::string& bare, net::Time now);
  void Tick(net::Time now);

  size_t mine() const { return mine_.size(); }
  size_t records() const { return records_.size(); }

 private:
  void Touch(const std::string& bare, net::Time now);
  struct Node {
    std::string name;
    uint64_t hash;
  };
  struct Record {
    NodeNumber node;
    uint64_t stamp;
  };
  struct Granted {
    NodeNumber node;
    net::Time until;
  };

  const std::string self_;
  const uint64_t self_hash_;
  std::map<NodeNumber, Node> nodes_;
  std::unordered_set<std::string> mine_;
  std::unordered_map<std::string, Record> records_;
  std::unordered_map<std::string, Granted> grants_;
  std::unordered_map<std::string, net::Time> touched_;
  std::deque<std::pair<std::string, net::Time>> touched_order_;
  net::Time all_touched_until_{};
};

}  // namespace server
