#include "dns/zone/zone.h"

#include <algorithm>
#include <thread>

namespace dns {

size_t RdataNameSize(ByteView rdata) {
  size_t i = 0;
  while (i < rdata.size() && rdata[i] != 0) {
    if (rdata[i] > kLabelBytesMax) return 0;
    i += rdata[i] + 1u;
  }
  return i < rdata.size() && i < kNameBytesMax ? i + 1 : 0;
}

std::shared_ptr<Zone> MakeZone(Name apex) {
  constexpr size_t kLarge = 10'000;
  auto end = [](Zone* zone) {
    if (zone->names.size() < kLarge) {
      delete zone;
    } else {
      std::thread([zone] { delete zone; }).detach();
    }
  };
  std::shared_ptr<Zone> zone(new Zone, end);
  zone->apex = std::move(apex);
  return zone;
}

std::optional<Name> ServiceOwner(const PoolUse& use, const ServiceUse& service) {
  auto protocol = use.services_at.Child("_" + service.protocol);
  return protocol ? protocol->Child("_" + service.service) : std::nullopt;
}

std::shared_ptr<Zone> MakeUnavailableZone(const Name& apex) {
  auto zone = MakeZone(apex);
  zone->unavailable = true;
  SetMap& sets = zone->names[apex];
  // Two root names and five zeroes; the root as name server.
  sets[Type::kSoa] = {apex, Type::kSoa, 0, {Bytes(22)}};
  sets[Type::kNs] = {apex, Type::kNs, 0, {Bytes(1)}};
  return zone;
}

std::expected<void, std::string> AddRecord(Zone& zone, Record record) {
  return RecordAdder(zone).Add(std::move(record));
}

const SetMap& RecordAdder::At(const Name& name) {
  if (last_ == zone_.names.end() || last_->first != name) {
    auto hint = last_ == zone_.names.end() ? last_ : std::next(last_);
    last_ = zone_.names.try_emplace(hint, name);
  }
  return last_->second;
}

namespace {

std::string What(const Record& record) {
  return record.owner.ToString() + " " + TypeName(record.type);
}

}  // namespace

std::expected<void, std::string> RecordAdder::Add(Record record) {
  if (!record.owner.IsWithin(zone_.apex)) {
    return std::unexpected(What(record) + " is outside of the zone " + zone_.apex.ToString());
  }
  if (record.rdata.size() > kRdataBytesMax) {
    return std::unexpected(What(record) + " has " + std::to_string(record.rdata.size()) +
                           " bytes of data, above the limit of " + std::to_string(kRdataBytesMax));
  }
  At(record.owner);
  Rrset& set = last_->second[record.type];
  if (set.rdatas.empty()) {
    static_assert(kRdataBytesMax <= kSetBytesMax);
    set.owner = std::move(record.owner);
    set.type = record.type;
    set.ttl = record.ttl;
    set.rdatas.push_back(std::move(record.rdata));
    return {};
  }
  if (set.ttl != record.ttl) {
    return std::unexpected(What(record) + " has records with the TTLs " + std::to_string(set.ttl) +
                           " and " + std::to_string(record.ttl) + "; a set has one TTL");
  }
  if (std::ranges::find(set.rdatas, record.rdata) != set.rdatas.end()) return {};
  if (set.rdatas.size() == kRecordsPerSetMax) {
    return std::unexpected(What(record) + " has more than " + std::to_string(kRecordsPerSetMax) +
                           " records");
  }
  size_t bytes = record.rdata.size();
  for (const Bytes& rdata : set.rdatas) bytes += rdata.size() + kRecordFixedBytes;
  if (bytes > kSetBytesMax) {
    return std::unexpected(What(record) + " has more than " + std::to_string(kSetBytesMax) +
                           " bytes in all, which fits no message");
  }
  set.rdatas.push_back(std::move(record.rdata));
  return {};
}

std::string Conflict(const Zone& zone, const SetMap* sets, const Record& record) {
  if (record.type == Type::kSoa && record.owner != zone.apex) return "is a SOA below the apex";
  if (record.type == Type::kNs && record.owner.is_wildcard()) {
    return "is NS at a wildcard (RFC 4592 §4.2)";
  }
  if (record.type == Type::kDname && record.owner.is_wildcard()) {
    return "is a DNAME at a wildcard (RFC 6672 §3.3)";
  }
  if (sets == nullptr) return "";
  auto second = [&](Type type) {
    auto it = record.type == type ? sets->find(type) : sets->end();
    return it != sets->end() && !it->second.rdatas.empty() && it->second.rdatas[0] != record.rdata;
  };
  for (Type single : {Type::kCname, Type::kDname, Type::kSoa}) {
    if (second(single)) return "is a second " + TypeName(single) + " at its name";
  }
  bool has_cname = sets->contains(Type::kCname);
  if (record.type == Type::kCname ? sets->size() > (has_cname ? 1u : 0u) : has_cname) {
    return "stands beside a CNAME, or is one beside other records (RFC 1034 §3.6.2)";
  }
  return "";
}

namespace {

void FindMistakesAtName(const Zone& zone, const Name& name, const SetMap& sets,
                        std::vector<std::string>& mistakes) {
  auto cname = sets.find(Type::kCname);
  if (cname != sets.end()) {
    if (sets.size() > 1) mistakes.push_back(name.ToString() + " has a CNAME beside other records");
    if (cname->second.rdatas.size() > 1) mistakes.push_back(name.ToString() + " has two CNAMEs");
  }
  if (auto dname = sets.find(Type::kDname); dname != sets.end()) {
    if (name.is_wildcard()) mistakes.push_back(name.ToString() + " is a wildcard with a DNAME");
    if (dname->second.rdatas.size() > 1) mistakes.push_back(name.ToString() + " has two DNAMEs");
    auto below = std::next(zone.names.find(name));
    if (below != zone.names.end() && below->first.IsWithin(name)) {
      mistakes.push_back(below->first.ToString() + " is below the DNAME at " + name.ToString() +
                         " (RFC 6672 §2.4)");
    }
  }
  if (sets.contains(Type::kSoa) && name != zone.apex) {
    mistakes.push_back(name.ToString() + " has a SOA below the zone's apex");
  }
  if (name.is_wildcard() && sets.contains(Type::kNs)) {
    mistakes.push_back(name.ToString() + " is a wildcard with NS (RFC 4592 §4.2)");
  }
}

void FindPoolMistakes(const Zone& zone, const PoolUse& use, std::vector<std::string>& mistakes) {
  auto taken_by = [&](const Name& name, Type type) {
    auto it = zone.names.find(name);
    return it != zone.names.end() &&
           (it->second.contains(Type::kCname) || it->second.contains(type));
  };
  auto taken = [&](const Name& name) {
    return taken_by(name, Type::kA) || taken_by(name, Type::kAaaa);
  };
  if (taken(use.addresses_at)) {
    mistakes.push_back(use.addresses_at.ToString() +
                       " has addresses of a pool and A, AAAA or CNAME records of its own");
  }
  for (const Name& host : use.hosts) {
    if (taken(host)) {
      mistakes.push_back(host.ToString() + " is a balancer's host name and has records of its own");
    }
  }
  for (const ServiceUse& service : use.services) {
    auto owner = ServiceOwner(use, service);
    if (!owner) {
      mistakes.push_back("_" + service.service + "._" + service.protocol + "." +
                         use.services_at.ToString() + " is longer than a name may be");
    } else if (taken_by(*owner, Type::kSrv)) {
      mistakes.push_back(owner->ToString() + " has a pool's SRV set and SRV records of its own");
    }
  }
  for (const BindingUse& binding : use.bindings) {
    if (!taken_by(binding.owner, binding.type)) continue;
    std::string type = TypeName(binding.type);
    mistakes.push_back(binding.owner.ToString() + " has a pool's " + type + " set and " + type +
                       " records of its own");
  }
}

// Where several uses of a pool meet, their records make one set; several pools make none.
void FindSharedPlaces(const Zone& zone, std::vector<std::string>& mistakes) {
  struct Place {
    size_t pool;
    size_t records = 0;
    bool two_pools = false;
  };
  std::map<std::pair<Name, Type>, Place> places;
  auto add = [&](const Name& owner, Type type, const PoolUse& use) {
    Place& place = places.try_emplace({owner, type}, Place{use.pool}).first->second;
    if (place.pool != use.pool && !std::exchange(place.two_pools, true)) {
      mistakes.push_back(owner.ToString() + " has the " +
                         (type == Type::kA ? "addresses" : TypeName(type) + " records") +
                         " of two pools");
    }
    if (type != Type::kA) place.records += use.hosts.size();
  };
  for (const PoolUse& use : zone.pools) {
    add(use.addresses_at, Type::kA, use);
    for (const ServiceUse& service : use.services) {
      if (auto owner = ServiceOwner(use, service)) add(*owner, Type::kSrv, use);
    }
    for (const BindingUse& binding : use.bindings) add(binding.owner, binding.type, use);
  }
  for (const auto& [where, place] : places) {
    if (place.records <= kShuffledMax) continue;
    mistakes.push_back(where.first.ToString() + " has " + std::to_string(place.records) + " " +
                       TypeName(where.second) +
                       " records of pools, which is above the largest allowed, " +
                       std::to_string(kShuffledMax));
  }
}

}  // namespace

std::vector<std::string> FindMistakes(const Zone& zone) {
  std::vector<std::string> mistakes;
  auto apex = zone.names.find(zone.apex);
  const auto* soa = apex == zone.names.end() ? nullptr : &apex->second;
  if (soa == nullptr || !soa->contains(Type::kSoa)) {
    mistakes.push_back("has no SOA record at " + zone.apex.ToString());
  } else if (soa->at(Type::kSoa).rdatas.size() != 1) {
    mistakes.push_back("has more than one SOA record");
  }
  if (soa == nullptr || !soa->contains(Type::kNs)) {
    mistakes.push_back("has no NS record at " + zone.apex.ToString());
  }
  for (const auto& [name, sets] : zone.names) FindMistakesAtName(zone, name, sets, mistakes);
  for (const PoolUse& use : zone.pools) FindPoolMistakes(zone, use, mistakes);
  FindSharedPlaces(zone, mistakes);
  return mistakes;
}

namespace {

// The five numbers stand behind the two names.
size_t SoaNumbers(ByteView rdata) {
  size_t mname = RdataNameSize(rdata);
  return mname + RdataNameSize(rdata.subspan(mname));
}

}  // namespace

uint32_t SoaSerial(ByteView rdata) { return Get32(rdata.data() + SoaNumbers(rdata)); }
uint32_t SoaRefresh(ByteView rdata) { return Get32(rdata.data() + SoaNumbers(rdata) + 4); }
uint32_t SoaRetry(ByteView rdata) { return Get32(rdata.data() + SoaNumbers(rdata) + 8); }
uint32_t SoaExpire(ByteView rdata) { return Get32(rdata.data() + SoaNumbers(rdata) + 12); }
uint32_t SoaMinimum(ByteView rdata) { return Get32(rdata.data() + SoaNumbers(rdata) + 16); }
void SetSoaSerial(Bytes& rdata, uint32_t serial) {
  Put32(rdata.data() + SoaNumbers(rdata), serial);
}

}  // namespace dns
