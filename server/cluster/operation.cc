#include "server/cluster/operation.h"

#include <algorithm>

namespace server {
namespace {

bool PlainAtom(std::string_view name) {
  if (name.empty() || name[0] < 'a' || name[0] > 'z') return false;
  return std::all_of(name.begin(), name.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '@';
  });
}

std::string Done(OrderKind kind, std::string_view self, std::string_view target) {
  switch (kind) {
    case OrderKind::kJoin:
      return "You have successfully joined the node " + QuotedNode(self) +
             " to the cluster with node member " + QuotedNode(target);
    case OrderKind::kLeave:
      return "You have successfully left the node " + QuotedNode(self) + " from the cluster.";
    case OrderKind::kRemove:
      break;
  }
  return "The node " + QuotedNode(target) + " has been removed from the cluster";
}

}  // namespace

std::string QuotedNode(std::string_view name) {
  if (PlainAtom(name)) return std::string(name);
  std::string out = "'";
  for (char c : name) {
    if (c == '\'' || c == '\\') out += '\\';
    out += c;
  }
  return out + "'";
}

OrderAnswer AnswerOf(OrderKind kind, Outcome outcome, std::string_view self,
                     std::string_view target, std::string_view detail) {
  switch (outcome) {
    case Outcome::kDone:
      return {Done(kind, self, target), 0};
    case Outcome::kDoneDead:
      return {"The dead node " + QuotedNode(target) + " has been removed from the cluster", 0};
    case Outcome::kAlreadyJoined:
      return {"The node " + std::string(target) + " has already joined the cluster", 1};
    case Outcome::kUnreachable:
      return {"Timeout while attempting to connect to node " + std::string(target), 1};
    case Outcome::kNotInCluster:
      return {"The node " + QuotedNode(self) + " is not in the cluster", 1};
    case Outcome::kUnknownNode:
      return {"Error: the node " + QuotedNode(target) +
                  " is not known in the cluster; `mongooseimctl mnesia info` lists its nodes",
              1};
    case Outcome::kPeersDown:
      return {"Error: nobody can be told, these nodes are down: " + std::string(detail) +
                  "; start one of them, or leave with --force and remove " + QuotedNode(self) +
                  " there later",
              1};
    case Outcome::kFailed:
      break;
  }
  return {"Error: " + std::string(detail), 1};
}

}  // namespace server
