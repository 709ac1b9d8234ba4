// Orders that change the membership, how they end, and the words for it: the texts are those of
// MongooseIM, since operators' scripts compare them.
//
// Pure.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace server {

enum class OrderKind : uint8_t { kJoin, kLeave, kRemove };

enum class Outcome : uint8_t {
  kDone,
  kDoneDead,       // removed, and nobody was there to be told
  kAlreadyJoined,  // or it is the node itself
  kUnreachable,    // no link within the time: down, a wrong cookie, a wrong name
  kNotInCluster,   // to leave, where there is nobody else
  kUnknownNode,    // to remove, who is no member
  kPeersDown,      // to leave, and nobody can be told; the detail lists them
  kFailed,         // the detail says why
};
inline constexpr int kOutcomes = 8;

struct OrderAnswer {
  std::string text;
  int exit_code;
};
// `target` is the other node; not used by leave.
OrderAnswer AnswerOf(OrderKind kind, Outcome outcome, std::string_view self,
                     std::string_view target, std::string_view detail);

}  // namespace server
