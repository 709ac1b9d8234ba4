#include "dns/zone/name_place.h"

namespace dns {
namespace {

// The names are in canonical order: what is below one comes right behind it.
bool HasBelow(const Zone& zone, const Name& name, const std::set<Name>& more) {
  auto below = zone.names.upper_bound(name);
  if (below != zone.names.end() && below->first.IsWithin(name)) return true;
  auto another = more.upper_bound(name);
  return another != more.end() && another->IsWithin(name);
}

bool IsThere(const Zone& zone, const Name& name, const std::set<Name>& more) {
  return zone.names.contains(name) || more.contains(name);
}

bool Has(const Zone& zone, const Name& name, Type type) {
  auto sets = zone.names.find(name);
  return sets != zone.names.end() && sets->second.contains(type);
}

}  // namespace

std::string_view ToString(NameKind kind) {
  switch (kind) {
    case NameKind::kThere:
      return "there";
    case NameKind::kEmptyNonTerminal:
      return "empty non-terminal";
    case NameKind::kFromWildcard:
      return "from wildcard";
    case NameKind::kDelegated:
      return "delegated";
    case NameKind::kBelowDname:
      return "below DNAME";
    case NameKind::kAbsent:
      return "absent";
  }
  return "?";
}

NamePlace FindPlace(const Zone& zone, const Name& name, const std::set<Name>& more) {
  // The highest cut or DNAME decides: what is below it is not looked at.
  NamePlace place;
  for (Name at = name; at != zone.apex; at = at.Parent()) {
    if (Has(zone, at, Type::kNs)) place = {NameKind::kDelegated, at};
    if (at != name && Has(zone, at, Type::kDname)) place = {NameKind::kBelowDname, at};
  }
  if (name != zone.apex && Has(zone, zone.apex, Type::kDname)) {
    place = {NameKind::kBelowDname, zone.apex};
  }
  if (place.kind != NameKind::kAbsent) return place;
  if (name == zone.apex || IsThere(zone, name, more)) return {NameKind::kThere, name};
  if (HasBelow(zone, name, more)) return {NameKind::kEmptyNonTerminal, name};
  Name encloser = name.Parent();
  while (encloser != zone.apex && !IsThere(zone, encloser, more) &&
         !HasBelow(zone, encloser, more)) {
    encloser = encloser.Parent();
  }
  auto wildcard = encloser.Child("*");
  if (wildcard && IsThere(zone, *wildcard, more)) return {NameKind::kFromWildcard, *wildcard};
  return {NameKind::kAbsent, name};
}

}  // namespace dns
