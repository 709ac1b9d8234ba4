#include "server/cluster/operation.h"

#include "server/dist/node_name.h"

namespace server {
namespace {

std::string Done(OrderKind kind, std::string_view self, std::string_view target) {
  switch (kind) {
    case OrderKind::kJoin:
      return "You have successfully joined the node " + QuotedNodeName(self) +
             " to the cluster with node member " + QuotedNodeName(target);
    case OrderKind::kLeave:
      return "You have successfully left the node " + QuotedNodeName(self) + " from the cluster.";
    case OrderKind::kRemove:
      break;
  }
  return "The node " + QuotedNodeName(target) + " has been removed from the cluster";
}

}  // namespace

OrderAnswer AnswerOf(OrderKind kind, Outcome outcome, std::string_view self,
                     std::string_view target, std::string_view detail) {
  switch (outcome) {
    case Outcome::kDone:
      return {Done(kind, self, target), 0};
    case Outcome::kDoneDead:
      return {"The dead node " + QuotedNodeName(target) + " has been removed from the cluster", 0};
    case Outcome::kAlreadyJoined:
      return {"The node " + std::string(target) + " has already joined the cluster", 1};
    case Outcome::kUnreachable:
      return {"Timeout while attempting to connect to node " + std::string(target), 1};
    case Outcome::kNotInCluster:
      return {"The node " + QuotedNodeName(self) + " is not in the cluster", 1};
    case Outcome::kUnknownNode:
      return {"Error: the node " + QuotedNodeName(target) +
                  " is not known in the cluster; `mongooseimctl mnesia info` lists its nodes",
              1};
    case Outcome::kPeersDown:
      return {"Error: nobody can be told, these nodes are down: " + std::string(detail) +
                  "; start one of them, or leave with --force and remove " + QuotedNodeName(self) +
                  " there later",
              1};
    case Outcome::kFailed:
      break;
  }
  return {"Error: " + std::string(detail), 1};
}

}  // namespace server
