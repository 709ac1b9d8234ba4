// What a name is in a zone (RFC 1034 §4.3.2, RFC 4592, RFC 8020): for ctl explain, which tells it
// in words. Answers are made of answer/plan.h. Pure.
#pragma once

#include <set>
#include <string_view>

#include "dns/zone/zone.h"

namespace dns {

enum class NameKind {
  kThere,
  kEmptyNonTerminal,  // nothing stands at it, but something below it: NODATA
  kFromWildcard,      // does not exist; `source` is the wildcard that answers for it
  kDelegated,         // at or below the cut `source`
  kBelowDname,        // redirected by the DNAME at `source`
  kAbsent,            // NXDOMAIN
};
std::string_view ToString(NameKind kind);

struct NamePlace {
  NameKind kind = NameKind::kAbsent;
  Name source;

  bool operator==(const NamePlace&) const = default;
};

// `name` must be within the zone. `more`: names that exist beside the zone's own (of pools, of
// challenges).
NamePlace FindPlace(const Zone& zone, const Name& name, const std::set<Name>& more);

}  // namespace dns
