#include "dns/answer/zone_context.h"

#include <algorithm>

#include "net/base/check.h"

namespace dns {

ZoneContext::ZoneContext(std::shared_ptr<const Zone> zone, std::shared_ptr<const ZoneKeys> keys)
    : zone_(std::move(zone)), keys_(std::move(keys)) {
  auto apex = zone_->names.find(zone_->apex);
  CHECK(apex != zone_->names.end());
  apex_sets_ = apex->second;
  SetSerial(SoaSerial(apex->second.at(Type::kSoa).rdatas[0]));
  ReadNames();
  for (const PoolUse& use : zone_->pools) {
    AddWithAncestors(use.addresses_at, more_names_);
    for (const ServiceUse& service : use.services) {
      AddWithAncestors(*ServiceOwner(use, service), more_names_);
    }
    for (const BindingUse& binding : use.bindings) AddWithAncestors(binding.owner, more_names_);
  }
}

// In one pass, since a large zone lies all over the memory. In canonical order an ancestor stands
// before what is below it, so that only the labels that a name does not share with the one before
// it are looked at.
void ZoneContext::ReadNames() {
  size_t apex_labels = zone_->apex.label_count();
  const Name* previous = &zone_->apex;
  for (const auto& [name, sets] : zone_->names) {
    if (name.label_count() > apex_labels + 1) {
      for (Name up = name.Parent(); !previous->IsWithin(up); up = up.Parent()) {
        if (!zone_->names.contains(up)) more_names_.insert(up);
      }
    }
    previous = &name;
    if (sets.contains(Type::kNs) && name != zone_->apex) cuts_.insert(name);
    if (sets.contains(Type::kDname)) dnames_.insert(name);
    if (auto cname = sets.find(Type::kCname); cname != sets.end()) {
      auto target = Name::FromWire(cname->second.rdatas[0]);
      if (target && target->IsWithin(zone_->apex)) cnames_.emplace(*target, name);
    }
  }
}

void ZoneContext::AddWithAncestors(Name name, std::set<Name>& out) const {
  while (!Exists(name)) {
    out.insert(name);
    name = name.Parent();
  }
}

void ZoneContext::SetTime(uint32_t now) {
  key_state_ = keys_ ? keys_->At(now) : KeyState{};
  apex_sets_ = zone_->names.at(zone_->apex);
  apex_sets_[Type::kSoa] = soa_;
  // Beside the zone's own: other signers of the zone put their keys into the file (RFC 8901).
  auto add = [&](Type type, const Bytes& rdata) {
    Rrset& set = apex_sets_[type];
    set.owner = zone_->apex;
    set.type = type;
    set.ttl = key_state_.dnskey_ttl;
    if (std::ranges::find(set.rdatas, rdata) == set.rdatas.end()) set.rdatas.push_back(rdata);
  };
  for (const auto& key : key_state_.published) add(Type::kDnskey, key->dnskey());
  for (const auto& key : key_state_.synced) {
    add(Type::kCdnskey, key->dnskey());
    add(Type::kCds, key->Ds());
  }
}

void ZoneContext::SetSerial(uint32_t serial) {
  soa_ = zone_->names.at(zone_->apex).at(Type::kSoa);
  SetSoaSerial(soa_.rdatas[0], serial);
  negative_soa_ = soa_;
  negative_soa_.ttl = std::min(soa_.ttl, SoaMinimum(soa_.rdatas[0]));
  apex_sets_[Type::kSoa] = soa_;
}

std::set<Name> ZoneContext::SetOverlay(const std::vector<Record>& records) {
  overlay_.clear();
  overlay_ancestors_.clear();
  if (zone_->unavailable) return {};
  for (const Record& record : records) {
    const Name& owner = record.owner;
    if (!owner.IsWithin(zone_->apex) || CutOf(owner) || DnameOver(owner)) continue;
    if (Find(owner, Type::kCname) != nullptr || owner == zone_->apex) continue;
    AddWithAncestors(owner, overlay_ancestors_);
    overlay_ancestors_.erase(owner);
    const SetMap* before = SetsAt(owner);
    SetMap& sets = overlay_.try_emplace(owner, before ? *before : SetMap()).first->second;
    Rrset& set = sets[record.type];
    if (set.rdatas.empty()) set = {owner, record.type, record.ttl, {}};
    if (std::ranges::find(set.rdatas, record.rdata) == set.rdatas.end()) {
      set.rdatas.push_back(record.rdata);
    }
  }
  std::set<Name> touched = overlay_ancestors_;
  for (const auto& [name, sets] : overlay_) touched.insert(name);
  // Aliases of what is touched, and aliases of those.
  std::vector<Name> todo(touched.begin(), touched.end());
  while (!todo.empty()) {
    Name target = std::move(todo.back());
    todo.pop_back();
    for (auto it = cnames_.lower_bound(target); it != cnames_.end() && it->first.IsWithin(target);
         ++it) {
      if (touched.insert(it->second).second) todo.push_back(it->second);
    }
  }
  return touched;
}

const SetMap* ZoneContext::SetsAt(const Name& name) const {
  if (!overlay_.empty()) {
    auto it = overlay_.find(name);
    if (it != overlay_.end()) return &it->second;
  }
  if (name == zone_->apex) return &apex_sets_;
  auto it = zone_->names.find(name);
  return it == zone_->names.end() ? nullptr : &it->second;
}

const Rrset* ZoneContext::Find(const Name& name, Type type) const {
  const SetMap* sets = SetsAt(name);
  if (sets == nullptr) return nullptr;
  auto it = sets->find(type);
  return it == sets->end() ? nullptr : &it->second;
}

const std::map<Type, PoolSet>& ZoneContext::PoolsAt(const Name& name) const {
  static const std::map<Type, PoolSet> kEmpty;
  if (pool_sets_.empty()) return kEmpty;
  auto it = pool_sets_.find(name);
  return it == pool_sets_.end() ? kEmpty : it->second;
}

const PoolSet* ZoneContext::FindPool(const Name& name, Type type) const {
  const auto& sets = PoolsAt(name);
  auto it = sets.find(type);
  return it == sets.end() ? nullptr : &it->second;
}

const Rrset* ZoneContext::FindAddresses(const Name& name, Type type) const {
  if (const PoolSet* set = FindPool(name, type)) {
    return set->set.rdatas.empty() ? nullptr : &set->set;
  }
  return Find(name, type);
}

std::vector<Type> ZoneContext::TypesAt(const Name& name) const {
  std::vector<Type> types;
  const auto& pools = PoolsAt(name);
  if (const SetMap* sets = SetsAt(name)) {
    for (const auto& [type, set] : *sets) {
      if (!pools.contains(type)) types.push_back(type);
    }
  }
  for (const auto& [type, set] : pools) {
    if (!set.set.rdatas.empty()) types.push_back(type);
  }
  return types;
}

bool ZoneContext::Exists(const Name& name) const {
  return name == zone_->apex || SetsAt(name) != nullptr || more_names_.contains(name) ||
         overlay_ancestors_.contains(name);
}

ZoneContents ZoneContext::Contents() const {
  ZoneContents contents;
  contents.zone = zone_;
  contents.changed = overlay_;
  contents.changed[zone_->apex] = apex_sets_;
  contents.changed[zone_->apex].erase(Type::kSoa);
  for (const auto& [name, pools] : pool_sets_) {
    const SetMap* sets = SetsAt(name);
    SetMap& changed =
        contents.changed.try_emplace(name, sets != nullptr ? *sets : SetMap()).first->second;
    for (const auto& [type, set] : pools) {
      if (set.set.rdatas.empty()) {
        changed.erase(type);
      } else {
        changed[type] = set.set;
        changed[type].ttl = set.transfer_ttl;
      }
    }
  }
  contents.cuts = cuts_;
  contents.cuts.insert(dnames_.begin(), dnames_.end());
  return contents;
}

std::optional<Name> ZoneContext::AtOrAbove(const std::set<Name>& names, Name name) const {
  std::optional<Name> highest;
  if (names.empty()) return highest;
  for (; name != zone_->apex; name = name.Parent()) {
    if (names.contains(name)) highest = name;
  }
  return highest;
}

std::optional<Name> ZoneContext::DnameOver(const Name& name) const {
  if (dnames_.empty() || name == zone_->apex) return std::nullopt;
  if (dnames_.contains(zone_->apex)) return zone_->apex;
  return AtOrAbove(dnames_, name.Parent());
}

bool ZoneContext::HasWildcardFor(Name name) const {
  while (!Exists(name)) name = name.Parent();
  auto wildcard = name.Child("*");
  return wildcard && Exists(*wildcard);
}

}  // namespace dns
