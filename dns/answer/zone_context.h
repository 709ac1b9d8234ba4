// One zone as answers are planned from it: what the operator wrote, the keys' sets at the apex,
// names that came in since (the overlay), and the pools' sets of this moment. Lookups only; the
// plans are plan.h's, the bytes answer_writer.h's. One thread at a time.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <vector>

#include "dns/answer/answer.h"
#include "dns/pool/pool_sets.h"
#include "dns/zone/zone.h"
#include "dns/zone/zone_keys.h"

namespace dns {

class ZoneContext {
 public:
  ZoneContext(std::shared_ptr<const Zone> zone, std::shared_ptr<const ZoneKeys> keys);

  const Zone& zone() const { return *zone_; }
  const std::shared_ptr<const Zone>& shared_zone() const { return zone_; }
  const Name& apex() const { return zone_->apex; }

  // What the keys do at `now`, and with it the sets of the apex. A zone without keys is not signed.
  void SetTime(uint32_t now);
  const KeyState& keys() const { return key_state_; }
  bool is_signed() const { return key_state_.is_signed(); }
  void SetSerial(uint32_t serial);
  const Rrset& soa() const { return soa_; }
  const Rrset& negative_soa() const { return negative_soa_; }

  void SetPools(const std::vector<PoolConfig>& pools, std::span<const PoolView> views) {
    pool_sets_ = MakePoolSets(*zone_, pools, views);
  }
  const PoolSets& pool_sets() const { return pool_sets_; }

  // Replaces the overlay: these records stand beside the zone's own. Records below a cut or a
  // DNAME, or at a CNAME, are left out. Returns the names whose answers are others than without it.
  std::set<Name> SetOverlay(const std::vector<Record>& records);
  const std::map<Name, SetMap>& overlay() const { return overlay_; }

  const SetMap* SetsAt(const Name& name) const;
  const Rrset* Find(const Name& name, Type type) const;
  const PoolSet* FindPool(const Name& name, Type type) const;
  // Addresses for the additional section: a pool's as they are given out now.
  const Rrset* FindAddresses(const Name& name, Type type) const;
  // The types that are there now; a pool's set stands for the zone's of its type.
  std::vector<Type> TypesAt(const Name& name) const;
  const std::map<Type, PoolSet>& PoolsAt(const Name& name) const;
  // Empty non-terminals too.
  bool Exists(const Name& name) const;
  // The cut that `name` is at or below, if any: the highest one, since what is below it is not
  // ours.
  std::optional<Name> CutOf(const Name& name) const { return AtOrAbove(cuts_, name); }
  // The DNAME that `name` is below, if any.
  std::optional<Name> DnameOver(const Name& name) const;
  // The wildcard that stands for `name`, which does not exist.
  bool HasWildcardFor(Name name) const;
  const std::set<Name>& cuts() const { return cuts_; }
  // All records of this moment.
  ZoneContents Contents() const;
  // Names of the zone, empty non-terminals and names of pools, in no order.
  const std::set<Name>& more_names() const { return more_names_; }

 private:
  std::optional<Name> AtOrAbove(const std::set<Name>& names, Name name) const;
  void AddWithAncestors(Name name, std::set<Name>& out) const;
  void ReadNames();

  std::shared_ptr<const Zone> zone_;
  std::shared_ptr<const ZoneKeys> keys_;
  KeyState key_state_;
  SetMap apex_sets_;
  Rrset soa_;
  Rrset negative_soa_;
  std::set<Name> more_names_;  // that exist and have no records in the zone
  std::set<Name> cuts_;
  std::set<Name> dnames_;
  std::multimap<Name, Name> cnames_;  // owners, by targets within the zone
  PoolSets pool_sets_;
  std::map<Name, SetMap> overlay_;
  std::set<Name> overlay_ancestors_;  // that exist by the overlay only
};

}  // namespace dns
