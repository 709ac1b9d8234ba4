// Nodes that find each other: names from a file or from the store that they share. With auto_join a
// node that stands alone joins by itself the first of them that takes it.
//
// Who joins whom: each tries the names below its own, in the order of names; the least waits to be
// joined, and goes after the others only when that has not come for a while (it lost its disk, and
// the others still have it as a member).
//
// On the node's thread. Ends with the object; the loop and the cluster outlive it.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "net/io/event_loop.h"
#include "server/node/cluster_host.h"

namespace server {

// Names of one source; what is above is not read.
inline constexpr size_t kDiscoveredMax = 1024;

// Where names come from.
class DiscoverySource {
 public:
  using Told = std::function<void(std::vector<std::string> names)>;

  virtual ~DiscoverySource() = default;
  // Called once a second. `told`, in order, on the node's thread and while the source is there, at
  // once or later, where there is news; what was told last holds until then.
  virtual void Look(Told told) = 0;
};

// Lines without blanks at their ends; '#' begins a comment; what is no name of a node is left out.
std::vector<std::string> ParseDiscovery(std::string_view text);

// A node's name a line, read again when the file changes.
std::unique_ptr<DiscoverySource> DiscoveryFile(std::string path);

class Discovery {
 public:
  static constexpr net::Duration kLookEvery = std::chrono::seconds(1);
  static constexpr int kPatience = 10;  // looks, before the least goes after the others

  struct Options {
    std::string node;
    bool auto_join = false;
  };

  Discovery(net::EventLoop& loop, ClusterHost& cluster, std::unique_ptr<DiscoverySource> source,
            Options options);
  ~Discovery();
  Discovery(const Discovery&) = delete;
  Discovery& operator=(const Discovery&) = delete;

  const std::vector<std::string>& names() const { return names_; }  // in order

 private:
  void Look();
  void Known(std::vector<std::string> names);
  void JoinSomebody();

  net::EventLoop& loop_;
  ClusterHost& cluster_;
  const std::unique_ptr<DiscoverySource> source_;
  const Options options_;
  net::EventLoop::TimerId timer_{};
  std::vector<std::string> names_;
  size_t next_ = 0;
  int alone_for_ = 0;
  bool joining_ = false;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace server
