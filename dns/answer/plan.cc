#include "dns/answer/plan.h"

#include <algorithm>

namespace dns {
namespace {

const std::vector<Type> kAbsentTypes = {Type::kRrsig, Type::kNsec, Type::kNxname};
const std::vector<Type> kCutTypes = {Type::kNs, Type::kRrsig, Type::kNsec};

std::optional<Name> HostOf(Type type, ByteView rdata) {
  size_t before = type == Type::kMx ? 2 : type == Type::kSrv ? 6 : 0;
  if (type != Type::kMx && type != Type::kSrv && type != Type::kNs) return std::nullopt;
  rdata = rdata.subspan(before);
  return Name::FromWire(rdata.first(RdataNameSize(rdata)));
}

}  // namespace

Planner::Planner(const ZoneContext& zone, const Name& qname) : zone_(zone) {
  plan_.qname = qname;
  plan_.variable = qname.is_wildcard();
}

Plan Planner::ForType(std::optional<Type> type) {
  Name at = plan_.qname;
  for (int hop = 0; hop < kCnameHopsMax; ++hop) {
    if (type && Take(at, *type)) return std::move(plan_);
    const Rrset* cname = zone_.Find(at, Type::kCname);
    if (cname == nullptr) return Deny(at);
    plan_.head.push_back(cname);
    at = *Name::FromWire(cname->rdatas[0]);
    if (!at.IsWithin(zone_.apex()) || zone_.CutOf(at)) return std::move(plan_);
    if (!zone_.Exists(at)) {
      // The asker asks on.
      if (zone_.DnameOver(at) || zone_.HasWildcardFor(at)) return std::move(plan_);
      return Absent(at);
    }
  }
  return std::move(plan_);
}

Plan Planner::ForAny() {
  const Name& name = plan_.qname;
  if (const Rrset* cname = zone_.Find(name, Type::kCname)) {
    plan_.head.push_back(cname);
    return std::move(plan_);
  }
  for (const auto& [type, set] : zone_.PoolsAt(name)) pools_ |= uint64_t{1} << set.pool;
  if (zone_.TypesAt(name).empty()) return Deny(name);
  // RFC 8482 §4.2: CPU "RFC8482", OS empty.
  plan_.made = Rrset{name, Type::kHinfo, kAnyTtl, {{7, 'R', 'F', 'C', '8', '4', '8', '2', 0}}};
  return std::move(plan_);
}

Plan Planner::OwnNsec() { return Deny(plan_.qname); }

Plan Planner::Referral(const Name& cut) {
  plan_.qname = cut;
  plan_.variable = true;
  plan_.authoritative = false;
  plan_.kind = AnswerKind::kReferral;
  plan_.referral = zone_.Find(cut, Type::kNs);
  if (zone_.is_signed()) {
    plan_.ds = zone_.Find(cut, Type::kDs);
    if (plan_.ds == nullptr) plan_.nsec = Nsec(cut, kCutTypes);
  }
  // What the zone says, whatever health says: glue is the child's.
  for (const Bytes& rdata : plan_.referral->rdatas) {
    auto host = HostOf(Type::kNs, rdata);
    if (!host) continue;
    bool own = host->IsWithin(cut);
    for (Type type : {Type::kA, Type::kAaaa}) {
      const Rrset* found = zone_.Find(*host, type);
      if (found == nullptr || (!own && plan_.extra.size() == kAdditionalSetsMax)) continue;
      (own ? plan_.glue : plan_.extra).push_back(found);
    }
  }
  return std::move(plan_);
}

Plan Planner::DsOfCut() {
  if (const Rrset* set = zone_.Find(plan_.qname, Type::kDs)) {
    plan_.head.push_back(set);
    return std::move(plan_);
  }
  plan_.negative = true;
  plan_.kind = AnswerKind::kNoData;
  if (zone_.is_signed()) plan_.nsec = Nsec(plan_.qname, kCutTypes);
  return std::move(plan_);
}

Plan Planner::Nowhere() {
  plan_.qname = zone_.apex();
  plan_.variable = true;
  plan_.negative = true;
  plan_.rcode = Rcode::kNxDomain;
  plan_.kind = AnswerKind::kNxDomain;
  if (zone_.is_signed()) plan_.lazy_nsec = LazyNsec{kAbsentTypes, zone_.negative_soa().ttl};
  return std::move(plan_);
}

std::vector<Type> Planner::NsecTypes(const Name& name) const {
  std::vector<Type> types = zone_.TypesAt(name);
  types.push_back(Type::kRrsig);
  types.push_back(Type::kNsec);
  return types;
}

Rrset Planner::Nsec(const Name& owner, std::vector<Type> types) const {
  return {owner, Type::kNsec, zone_.negative_soa().ttl, {CompactNsec(owner, std::move(types))}};
}

bool Planner::Take(const Name& at, Type type) {
  if (const PoolSet* set = zone_.FindPool(at, type)) {
    pools_ |= uint64_t{1} << set->pool;
    if (set->set.rdatas.empty()) return false;
    plan_.pool_set = set;
    plan_.all_down = set->all_down;
    return true;
  }
  const Rrset* set = zone_.Find(at, type);
  if (set == nullptr) return false;
  uses_soa_ |= type == Type::kSoa;
  bool addresses = type == Type::kA || type == Type::kAaaa;
  if (addresses && set->rdatas.size() > 1 && set->rdatas.size() <= kAnswersMax) {
    plan_.shuffled = set;
  } else {
    plan_.head.push_back(set);
    AddHosts(*set, plan_.extra);
  }
  return true;
}

void Planner::AddHosts(const Rrset& set, std::vector<const Rrset*>& out) {
  for (const Bytes& rdata : set.rdatas) {
    auto host = HostOf(set.type, rdata);
    if (!host) return;
    for (Type type : {Type::kA, Type::kAaaa}) {
      if (const PoolSet* pool = zone_.FindPool(*host, type)) pools_ |= uint64_t{1} << pool->pool;
      const Rrset* found = zone_.FindAddresses(*host, type);
      if (found == nullptr || out.size() == kAdditionalSetsMax) continue;
      if (std::ranges::find(out, found) == out.end()) out.push_back(found);
    }
  }
}

Plan Planner::Deny(const Name& at) {
  for (const auto& [type, set] : zone_.PoolsAt(at)) {
    pools_ |= uint64_t{1} << set.pool;
    if (set.all_down && set.set.rdatas.empty()) plan_.all_down = true;
  }
  plan_.negative = true;
  plan_.kind = AnswerKind::kNoData;
  if (!zone_.is_signed()) return std::move(plan_);
  if (plan_.variable && at == plan_.qname) {
    plan_.lazy_nsec = LazyNsec{NsecTypes(at), zone_.negative_soa().ttl};
  } else {
    plan_.nsec = Nsec(at, NsecTypes(at));
  }
  return std::move(plan_);
}

Plan Planner::Absent(const Name& at) {
  plan_.negative = true;
  plan_.rcode = Rcode::kNxDomain;
  plan_.kind = AnswerKind::kNxDomain;
  if (zone_.is_signed()) plan_.nsec = Nsec(at, kAbsentTypes);
  return std::move(plan_);
}

}  // namespace dns
