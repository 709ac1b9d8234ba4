// Discovery by file: a node's name a line, read again when the file changes. With auto_join a node
// that stands alone joins by itself the first of them that takes it.
//
// Who joins whom: each tries the names below its own, in the order of names; the least waits to be
// joined, and goes after the others only when that has not come for a while (it lost its disk, and
// the others still have it as a member).
//
// On the node's thread. Ends with the object; the loop and the cluster outlive it.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "net/io/event_loop.h"
#include "server/node/cluster_host.h"

namespace server {

// Names in the file; what is above is not read, and said.
inline constexpr size_t kDiscoveredMax = 1024;

// Lines without blanks at their ends; '#' begins a comment; what is no name of a node is left out.
std::vector<std::string> ParseDiscovery(std::string_view text);

class Discovery {
 public:
  static constexpr net::Duration kLookEvery = std::chrono::seconds(1);
  static constexpr int kPatience = 10;  // looks, before the least goes after the others

  struct Options {
    std::string node;
    std::string path;
    bool auto_join = false;
  };

  Discovery(net::EventLoop& loop, ClusterHost& cluster, Options options);
  ~Discovery();
  Discovery(const Discovery&) = delete;
  Discovery& operator=(const Discovery&) = delete;

  const std::vector<std::string>& names() const { return names_; }  // in order

 private:
  void Look();
  void Read();
  void JoinSomebody();

  net::EventLoop& loop_;
  ClusterHost& cluster_;
  const Options options_;
  net::EventLoop::TimerId timer_{};
  std::string text_;
  std::vector<std::string> names_;
  size_t next_ = 0;
  int alone_for_ = 0;
  bool joining_ = false;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace server
