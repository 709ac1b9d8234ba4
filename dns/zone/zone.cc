#include "dns/zone/zone.h"

#include <algorithm>

namespace dns {

size_t RdataNameSize(ByteView rdata) {
  size_t i = 0;
  while (i < rdata.size() && rdata[i] != 0) {
    if (rdata[i] > kLabelBytesMax) return 0;
    i += rdata[i] + 1u;
  }
  return i < rdata.size() && i < kNameBytesMax ? i + 1 : 0;
}

std::expected<void, std::string> AddRecord(Zone& zone, Record record) {
  std::string what = record.owner.ToString() + " " + TypeName(record.type);
  if (!record.owner.IsWithin(zone.apex)) {
    return std::unexpected(what + " is outside of the zone " + zone.apex.ToString());
  }
  if (record.rdata.size() > kRdataBytesMax) {
    return std::unexpected(what + " has " + std::to_string(record.rdata.size()) +
                           " bytes of data, above the limit of " + std::to_string(kRdataBytesMax));
  }
  Rrset& set = zone.names[record.owner][record.type];
  if (set.rdatas.empty()) {
    set.owner = record.owner;
    set.type = record.type;
    set.ttl = record.ttl;
  } else if (set.ttl != record.ttl) {
    return std::unexpected(what + " has records with the TTLs " + std::to_string(set.ttl) +
                           " and " + std::to_string(record.ttl) + "; a set has one TTL");
  }
  if (std::ranges::find(set.rdatas, record.rdata) != set.rdatas.end()) return {};
  if (set.rdatas.size() == kRecordsPerSetMax) {
    return std::unexpected(what + " has more than " + std::to_string(kRecordsPerSetMax) +
                           " records");
  }
  size_t bytes = record.rdata.size();
  for (const Bytes& rdata : set.rdatas) bytes += rdata.size() + kRecordFixedBytes;
  if (bytes > kSetBytesMax) {
    return std::unexpected(what + " has more than " + std::to_string(kSetBytesMax) +
                           " bytes in all, which fits no message");
  }
  set.rdatas.push_back(std::move(record.rdata));
  return {};
}

namespace {

void FindMistakesAtName(const Zone& zone, const Name& name, const std::map<Type, Rrset>& sets,
                        std::vector<std::string>& mistakes) {
  auto cname = sets.find(Type::kCname);
  if (cname != sets.end()) {
    if (sets.size() > 1) mistakes.push_back(name.ToString() + " has a CNAME beside other records");
    if (cname->second.rdatas.size() > 1) mistakes.push_back(name.ToString() + " has two CNAMEs");
  }
  if (sets.contains(Type::kDname)) {
    mistakes.push_back(name.ToString() + " has a DNAME, which this server does not do");
  }
  if (sets.contains(Type::kSoa) && name != zone.apex) {
    mistakes.push_back(name.ToString() + " has a SOA below the zone's apex");
  }
  if (name.is_wildcard() && sets.contains(Type::kNs)) {
    mistakes.push_back(name.ToString() + " is a wildcard with NS (RFC 4592 §4.2)");
  }
}

void FindPoolMistakes(const Zone& zone, const PoolUse& use, std::vector<std::string>& mistakes) {
  auto taken = [&](const Name& name, bool all_types) {
    auto it = zone.names.find(name);
    if (it == zone.names.end()) return false;
    if (it->second.contains(Type::kCname)) return true;
    if (all_types) return it->second.contains(Type::kSrv);
    return it->second.contains(Type::kA) || it->second.contains(Type::kAaaa);
  };
  if (taken(use.addresses_at, false)) {
    mistakes.push_back(use.addresses_at.ToString() +
                       " has addresses of a pool and A, AAAA or CNAME records of its own");
  }
  for (const Name& host : use.hosts) {
    if (taken(host, false)) {
      mistakes.push_back(host.ToString() + " is a balancer's host name and has records of its own");
    }
  }
  for (const ServiceUse& service : use.services) {
    auto tcp = use.services_at.Child("_tcp");
    auto owner = tcp ? tcp->Child("_" + service.service) : std::nullopt;
    if (!owner) {
      mistakes.push_back("_" + service.service + "._tcp." + use.services_at.ToString() +
                         " is longer than a name may be");
    } else if (taken(*owner, true)) {
      mistakes.push_back(owner->ToString() + " has a pool's SRV set and SRV records of its own");
    }
  }
}

// Where several uses of pools meet, their records make one set.
void FindSharedPlaces(const Zone& zone, std::vector<std::string>& mistakes) {
  std::map<Name, size_t> pool_at;
  std::map<Name, size_t> records_at;
  for (const PoolUse& use : zone.pools) {
    auto [place, is_new] = pool_at.emplace(use.addresses_at, use.pool);
    if (!is_new && place->second != use.pool) {
      mistakes.push_back(use.addresses_at.ToString() + " has the addresses of two pools");
    }
    for (const ServiceUse& service : use.services) {
      auto tcp = use.services_at.Child("_tcp");
      auto owner = tcp ? tcp->Child("_" + service.service) : std::nullopt;
      if (owner) records_at[*owner] += use.hosts.size();
    }
  }
  for (const auto& [owner, records] : records_at) {
    if (records <= kRecordsPerSetMax) continue;
    mistakes.push_back(owner.ToString() + " has " + std::to_string(records) +
                       " SRV records of pools, which is above the largest allowed, " +
                       std::to_string(kRecordsPerSetMax));
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
uint32_t SoaMinimum(ByteView rdata) { return Get32(rdata.data() + SoaNumbers(rdata) + 16); }
void SetSoaSerial(Bytes& rdata, uint32_t serial) {
  Put32(rdata.data() + SoaNumbers(rdata), serial);
}

}  // namespace dns
