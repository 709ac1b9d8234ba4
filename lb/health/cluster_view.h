// What the nodes of a cluster say about it, and who stays in when they disagree.
//
// ParseClusterStatus reads the answer of `GET /api/cluster/status`:
//   {"node","incarnation","state":"starting|running|joining|draining|isolated|stopping",
//    "members":[…],"running":[…],"stopped":[…],"sessions","max_sessions","load"}
// DecideNetsplit compares the `running` views of all nodes. In a split only the side that most
// nodes belong to stays in; between equal halves the side with the lowest node name, so that every
// balancer decides alike.
//
// Pure; control thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <expected>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace lb {

inline constexpr size_t kClusterStatusMax = size_t{256} * 1024;  // bytes of the body
inline constexpr size_t kClusterNodesMax = 256;                  // in each list
inline constexpr size_t kClusterNameMax = 255;                   // bytes of a name

enum class ClusterState : uint8_t {
  kStarting,
  kRunning,
  kJoining,
  kDraining,
  kIsolated,  // knows that it is on the minority side of a netsplit
  kStopping,
};
std::string_view ClusterStateName(ClusterState state);  // as in the JSON
// New connections may go to it.
constexpr bool Choosable(ClusterState state) { return state == ClusterState::kRunning; }

struct ClusterStatus {
  std::string node;         // "mongooseim@host"
  std::string incarnation;  // changes with every start; a JSON string or integer
  ClusterState state = ClusterState::kStarting;
  std::vector<std::string> members;
  std::vector<std::string> running;  // whom this node sees, itself included
  std::vector<std::string> stopped;
  uint64_t sessions = 0;
  uint64_t max_sessions = 0;  // 0 = not said
  double load = 0;
};

struct ClusterStatusError {
  enum class Kind : uint8_t {
    kTooLarge,
    kNotJson,  // or not an object
    kMissingKey,
    kWrongType,
    kBadValue,  // an unknown state, a name that is empty, too long or holds control characters
    kTooMany,   // nodes in a list
  };
  Kind kind;
  std::string key;  // the JSON key it is about, or ""

  std::string ToString() const;  // "missing key 'running'"
};

// Required: node, incarnation, state, members, running. The rest may be absent, not of a wrong
// type. Keys that are not known are ignored.
std::expected<ClusterStatus, ClusterStatusError> ParseClusterStatus(std::string_view body);

// One node of the pool as the checker saw it.
struct ClusterReport {
  std::string name;                     // in the pool, for the texts
  std::optional<ClusterStatus> status;  // nothing when it could not be asked or answered garbage
  std::string error;                    // then: why
};

enum class SplitVerdict : uint8_t {
  kIn,
  kOut,
  kUnknown,  // not reachable for the checker: its health decides, not the view
};

struct SplitDecision {
  struct Node {
    SplitVerdict verdict = SplitVerdict::kUnknown;
    std::string why;
  };
  bool split = false;
  std::string summary;      // one line for the log
  std::vector<Node> nodes;  // as the reports
};

// Sides are groups of nodes that see each other both ways (one way is not seeing). A side counts
// all nodes its members see, those included that the checker cannot reach. Nodes that are starting,
// joining or stopping have no say; isolated ones are out by their own word.
SplitDecision DecideNetsplit(std::span<const ClusterReport> reports);

// Lets a split take effect only when it was seen `confirm` times in a row (views take a moment to
// agree after a node came or went), and its end at once.
class SplitFilter {
 public:
  explicit SplitFilter(uint32_t confirm) : confirm_(confirm) {}
  // The verdicts to act on. The i-th node must be the same in every call; Reset() after a change.
  SplitDecision Apply(SplitDecision seen);
  void Reset() { seen_out_.clear(); }

 private:
  uint32_t confirm_;
  std::vector<uint32_t> seen_out_;  // for each node: how often in a row
};

}  // namespace lb
