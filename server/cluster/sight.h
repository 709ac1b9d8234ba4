// Who sees whom, and the one rule by which all nodes agree on a view of a broken network.
//
// The rule (the same by which mongooselb decides):
//   1. Two nodes see each other only if each hears the other; one way is not seeing.
//   2. Of nodes that are connected, but not all with all, the one with the fewest others in sight
//      goes (of several the one with the greatest name) until all that are left see each other.
//      Those are a side. Who went form sides among themselves by the same rule.
//   3. A side stays in when it holds more than half of the members that count; with exactly half,
//      when it holds the lowest name. Who stopped in order, or whose host says that nobody is
//      there, does not count. All other sides are isolated.
//
// Pure; rows are bit sets over members in the order of their names.
#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>

#include "server/cluster/limits.h"

namespace server {

using MemberMask = uint64_t;
static_assert(kMembersMax <= 64);

constexpr MemberMask MaskOf(size_t member) { return MemberMask{1} << member; }

struct SightMatrix {
  size_t count = 0;
  std::array<MemberMask, kMembersMax> sees{};  // what each says of itself

  // Both ways only, and everybody sees himself.
  SightMatrix Mutual() const;
};

// The side that `member` is on, by rule 2.
MemberMask SideOf(const SightMatrix& mutual, size_t member);
// By rule 3; `counting` are the members that count.
bool StaysIn(MemberMask side, MemberMask counting);

}  // namespace server
