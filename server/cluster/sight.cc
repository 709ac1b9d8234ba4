#include "server/cluster/sight.h"

namespace server {
namespace {

MemberMask Connected(const SightMatrix& mutual, MemberMask left, size_t start) {
  MemberMask found = MaskOf(start);
  MemberMask fresh = found;
  while (fresh != 0) {
    const auto at = static_cast<size_t>(std::countr_zero(fresh));
    fresh &= fresh - 1;
    const MemberMask more = mutual.sees[at] & left & ~found;
    found |= more;
    fresh |= more;
  }
  return found;
}

// Takes out the worst connected until all see each other.
MemberMask Reduced(const SightMatrix& mutual, MemberMask group) {
  while (true) {
    const int size = std::popcount(group);
    size_t worst = kMembersMax;
    int fewest = size;
    for (MemberMask rest = group; rest != 0; rest &= rest - 1) {
      const auto member = static_cast<size_t>(std::countr_zero(rest));
      const int links = std::popcount(mutual.sees[member] & group);
      if (links < size && links <= fewest) {
        fewest = links;
        worst = member;  // names ascend, so of equals the greatest is left standing
      }
    }
    if (worst == kMembersMax) return group;
    group &= ~MaskOf(worst);
  }
}

}  // namespace

SightMatrix SightMatrix::Mutual() const {
  SightMatrix mutual{.count = count};
  for (size_t a = 0; a < count; ++a) {
    mutual.sees[a] |= MaskOf(a);
    for (size_t b = 0; b < a; ++b) {
      if ((sees[a] & MaskOf(b)) == 0 || (sees[b] & MaskOf(a)) == 0) continue;
      mutual.sees[a] |= MaskOf(b);
      mutual.sees[b] |= MaskOf(a);
    }
  }
  return mutual;
}

MemberMask SideOf(const SightMatrix& mutual, size_t member) {
  MemberMask left = Connected(mutual, ~MemberMask{0}, member);
  while (true) {
    // Who went earlier may be connected to `member` no more.
    const MemberMask group = Connected(mutual, left, member);
    const MemberMask side = Reduced(mutual, group);
    if ((side & MaskOf(member)) != 0) return side;
    left = group & ~side;
  }
}

bool StaysIn(MemberMask side, MemberMask counting) {
  counting |= side;
  const int ours = 2 * std::popcount(side);
  const int all = std::popcount(counting);
  return ours > all || (ours == all && std::countr_zero(side) == std::countr_zero(counting));
}

}  // namespace server
