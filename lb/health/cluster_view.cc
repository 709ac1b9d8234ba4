#include "lb/health/cluster_view.h"

#include <algorithm>
#include <set>
#include <utility>

namespace lb {
namespace {

// A node that has a say, as the comparison holds it.
struct Voter {
  size_t report;
  const ClusterStatus* status;
  std::vector<bool> sees;  // mutual, by voter
  size_t links = 0;
};

struct Side {
  std::vector<size_t> voters;
  std::set<std::string_view> view;  // everybody its members see
};

bool Lists(const std::vector<std::string>& names, const std::string& name) {
  return std::binary_search(names.begin(), names.end(), name);
}

bool HasSay(ClusterState state) {
  return state == ClusterState::kRunning || state == ClusterState::kDraining;
}

std::vector<Voter> CollectVoters(std::span<const ClusterReport> reports) {
  std::vector<Voter> voters;
  for (size_t i = 0; i < reports.size(); ++i) {
    if (!reports[i].status || !HasSay(reports[i].status->state)) continue;
    voters.push_back({i, &*reports[i].status, {}, 0});
  }
  for (size_t a = 0; a < voters.size(); ++a) {
    voters[a].sees.assign(voters.size(), false);
    for (size_t b = 0; b < voters.size(); ++b) {
      const ClusterStatus& one = *voters[a].status;
      const ClusterStatus& other = *voters[b].status;
      voters[a].sees[b] = a == b || one.node == other.node ||
                          (Lists(one.running, other.node) && Lists(other.running, one.node));
      voters[a].links += voters[a].sees[b];
    }
  }
  return voters;
}

// Everybody that can be reached from `start` over mutual sight, among `left`.
std::vector<size_t> Component(const std::vector<Voter>& voters, const std::vector<bool>& left,
                              size_t start) {
  std::vector<size_t> found = {start};
  std::vector<bool> seen(voters.size(), false);
  seen[start] = true;
  for (size_t at = 0; at < found.size(); ++at) {
    for (size_t b = 0; b < voters.size(); ++b) {
      if (!left[b] || seen[b] || !voters[found[at]].sees[b]) continue;
      seen[b] = true;
      found.push_back(b);
    }
  }
  return found;
}

// In a partition that is not clean (A sees B sees C, but A not C), takes the worst connected out
// until all that are left see each other. Ties: the highest name goes.
void ReduceToMutual(const std::vector<Voter>& voters, std::vector<size_t>& group) {
  while (true) {
    size_t worst = group.size();
    size_t worst_links = group.size();
    for (size_t i = 0; i < group.size(); ++i) {
      const Voter& voter = voters[group[i]];
      auto links = static_cast<size_t>(std::count_if(
          group.begin(), group.end(), [&](size_t other) { return voter.sees[other]; }));
      if (links == group.size()) continue;
      bool worse = worst == group.size() || links < worst_links ||
                   (links == worst_links && voter.status->node > voters[group[worst]].status->node);
      if (!worse) continue;
      worst = i;
      worst_links = links;
    }
    if (worst == group.size()) return;
    group.erase(group.begin() + static_cast<ptrdiff_t>(worst));
  }
}

std::vector<Side> FindSides(const std::vector<Voter>& voters) {
  std::vector<Side> sides;
  std::vector<bool> left(voters.size(), true);
  for (size_t i = 0; i < voters.size(); ++i) {
    while (left[i]) {
      std::vector<size_t> group = Component(voters, left, i);
      ReduceToMutual(voters, group);
      Side side;
      for (size_t v : group) {
        left[v] = false;
        side.view.insert(voters[v].status->node);
        for (const std::string& name : voters[v].status->running) side.view.insert(name);
      }
      side.voters = std::move(group);
      sides.push_back(std::move(side));
    }
  }
  // A node that answers but stands on another side is not this side's, whatever an older view says.
  for (Side& side : sides) {
    for (size_t v = 0; v < voters.size(); ++v) {
      bool mine = std::find(side.voters.begin(), side.voters.end(), v) != side.voters.end();
      if (!mine) side.view.erase(voters[v].status->node);
    }
    for (size_t v : side.voters) side.view.insert(voters[v].status->node);
  }
  return sides;
}

bool Better(const Side& a, const Side& b) {
  if (a.view.size() != b.view.size()) return a.view.size() > b.view.size();
  return *a.view.begin() < *b.view.begin();
}

std::string OutReason(const Side& side, const Side& winner, const ClusterStatus& status) {
  std::string lowest(*winner.view.begin());
  bool stranger = !Lists(status.members, lowest);
  if (stranger) return "belongs to another cluster: " + lowest + " is not among its members";
  if (side.view.size() == winner.view.size()) {
    return "netsplit: equal halves of " + std::to_string(side.view.size()) +
           ", the other side has the lowest name, " + lowest;
  }
  return "netsplit: its side has " + std::to_string(side.view.size()) + ", the larger one " +
         std::to_string(winner.view.size()) + " nodes";
}

std::string Summary(const std::vector<Side>& sides) {
  std::string text = "netsplit: ";
  for (const Side& side : sides) {
    if (&side != &sides.front()) text += " | ";
    bool first = true;
    for (std::string_view name : side.view) {
      text += (first ? "" : " ") + std::string(name);
      first = false;
    }
  }
  return text + "; the first side stays in";
}

}  // namespace

SplitDecision DecideNetsplit(std::span<const ClusterReport> reports) {
  SplitDecision decision;
  decision.nodes.resize(reports.size());
  for (size_t i = 0; i < reports.size(); ++i) {
    SplitDecision::Node& node = decision.nodes[i];
    if (!reports[i].status) {
      node.why = "not reachable: " + reports[i].error;
      continue;
    }
    ClusterState state = reports[i].status->state;
    node.verdict = state == ClusterState::kIsolated ? SplitVerdict::kOut : SplitVerdict::kIn;
    node.why = "says that it is " + std::string(ClusterStateName(state));
  }
  std::vector<Voter> voters = CollectVoters(reports);
  std::vector<Side> sides = FindSides(voters);
  if (sides.size() < 2) {
    decision.summary = sides.empty() ? "no node has a view of the cluster" : "all views agree";
    return decision;
  }
  std::sort(sides.begin(), sides.end(), Better);
  decision.split = true;
  decision.summary = Summary(sides);
  for (const Side& side : sides) {
    bool winner = &side == &sides.front();
    for (size_t v : side.voters) {
      SplitDecision::Node& node = decision.nodes[voters[v].report];
      node.verdict = winner ? SplitVerdict::kIn : SplitVerdict::kOut;
      node.why = winner ? "netsplit: on the side that stays in"
                        : OutReason(side, sides.front(), *voters[v].status);
    }
  }
  return decision;
}

SplitDecision SplitFilter::Apply(SplitDecision seen) {
  seen_out_.resize(seen.nodes.size(), 0);
  for (size_t i = 0; i < seen.nodes.size(); ++i) {
    SplitDecision::Node& node = seen.nodes[i];
    if (node.verdict != SplitVerdict::kOut) {
      seen_out_[i] = 0;
      continue;
    }
    if (++seen_out_[i] >= confirm_) continue;
    node.verdict = SplitVerdict::kIn;
    node.why = "not yet confirmed (" + std::to_string(seen_out_[i]) + " of " +
               std::to_string(confirm_) + "): " + node.why;
  }
  return seen;
}

}  // namespace lb
