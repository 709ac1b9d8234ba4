// A zone as the operator wrote it: names, their record sets, and the places where a pool of
// balancers stands. This is the input of the compiler (answer.h); no query ever looks at it.
//
// Built on the control thread at start and reload, then immutable.
#pragma once

#include <algorithm>
#include <cstdint>
#include <expected>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "dns/wire/name.h"
#include "dns/wire/wire.h"

namespace dns {

struct Record {
  Name owner;
  Type type = Type::kA;
  uint32_t ttl = 0;
  Bytes rdata;  // wire form, uncompressed, its names in lower case (RFC 4034 §6.2)
};

// All records of one type at one name (RFC 2181 §5): one TTL, no record twice.
struct Rrset {
  Name owner;
  Type type = Type::kA;
  uint32_t ttl = 0;
  std::vector<Bytes> rdatas;
};

// The sets at one name, in the order of their types: a map in one piece of memory, since a zone may
// have a million of them with one set each.
class SetMap {
 public:
  using value_type = std::pair<Type, Rrset>;
  using const_iterator = std::vector<value_type>::const_iterator;

  const_iterator begin() const { return sets_.begin(); }
  const_iterator end() const { return sets_.end(); }
  size_t size() const { return sets_.size(); }
  bool empty() const { return sets_.empty(); }
  const_iterator find(Type type) const {
    auto it = Place(type);
    return it != end() && it->first == type ? it : end();
  }
  bool contains(Type type) const { return find(type) != end(); }
  // The set must be there.
  const Rrset& at(Type type) const { return find(type)->second; }
  Rrset& operator[](Type type) {
    auto it = Place(type);
    if (it == end() || it->first != type) it = sets_.insert(it, {type, {}});
    return sets_[static_cast<size_t>(it - begin())].second;
  }
  void erase(Type type) {
    if (auto it = find(type); it != end()) sets_.erase(it);
  }

 private:
  const_iterator Place(Type type) const {
    return std::ranges::lower_bound(sets_, type, {}, &value_type::first);
  }

  std::vector<value_type> sets_;
};

// A service of a pool: one SRV set.
struct ServiceUse {
  std::string service;  // "xmpp-client", "sip"
  uint16_t port = 0;
  std::string protocol = "tcp";
};

// A service binding of a pool (RFC 9460): one HTTPS or SVCB set, a record a balancer.
struct BindingUse {
  Name owner;
  Type type = Type::kHttps;
  Bytes params;  // in wire form
};

// Where a pool stands in a zone: addresses at `addresses_at`, SRV sets below `services_at`,
// bindings, and a host name for each balancer, BALANCER.addresses_at, which SRV records and
// bindings point to.
struct PoolUse {
  size_t pool = 0;  // index into the configuration's pools
  Name addresses_at;
  Name services_at;
  std::vector<ServiceUse> services;
  // The balancers' host names, in the order of the pool's balancers.
  std::vector<Name> hosts;
  std::vector<BindingUse> bindings = {};
};
// The owner of a service's SRV set, _xmpp-client._tcp.DOMAIN; nothing where that is too long.
std::optional<Name> ServiceOwner(const PoolUse& use, const ServiceUse& service);

struct Zone {
  Name apex;
  std::map<Name, SetMap> names;
  std::vector<PoolUse> pools;
  // Of a secondary zone: there are no data, or they have expired. Everything in it is SERVFAIL.
  bool unavailable = false;
};

// A zone whose end holds nobody: a large one is taken apart on a thread of its own, since whoever
// lets go of it last may be the control thread.
std::shared_ptr<Zone> MakeZone(Name apex);

// What stands for a secondary zone whose data are not there: an apex that nobody sees.
std::shared_ptr<Zone> MakeUnavailableZone(const Name& apex);

// Limits of a zone: what is above them is an error when the zone is read.
// A set must fit a message of 65,535 bytes with its question, its signatures and an OPT.
constexpr size_t kRecordsPerSetMax = 3500;
constexpr size_t kRdataBytesMax = 60 * 1024;
constexpr size_t kSetBytesMax = 60 * 1024;
// Of a set that is shuffled, or drawn from.
constexpr size_t kShuffledMax = 256;
constexpr size_t kRecordFixedBytes = 12;  // of a record with a compressed owner: all but the RDATA

// Adds a record. Errors: outside of the zone, another TTL than the set has, too many in the set,
// too large. A record that is there already is left out.
std::expected<void, std::string> AddRecord(Zone& zone, Record record);

// Adds many records: files mostly have a name's records together and their names in order, which
// saves looking for the place.
class RecordAdder {
 public:
  explicit RecordAdder(Zone& zone) : zone_(zone), last_(zone.names.end()) {}

  // As AddRecord().
  std::expected<void, std::string> Add(Record record);
  // The sets at a name to which records are about to be added.
  const SetMap& At(const Name& name);

 private:
  Zone& zone_;
  std::map<Name, SetMap>::iterator last_;
};

// What a record would make wrong where it is added: it stands beside a CNAME or is one beside other
// data, is a second CNAME, DNAME or SOA, a SOA below the apex, NS at a wildcard. "" when nothing.
std::string Conflict(const Zone& zone, const SetMap* sets, const Record& record);

// What makes a zone unservable: no SOA, several SOA, no NS, CNAME beside other data, records below
// a DNAME, records of a pool beside records of the file. All problems are told at once.
std::vector<std::string> FindMistakes(const Zone& zone);

// The fields of a SOA that answers need (RFC 1035 §3.3.13). `rdata` must be a well-formed SOA.
uint32_t SoaSerial(ByteView rdata);
uint32_t SoaRefresh(ByteView rdata);
uint32_t SoaRetry(ByteView rdata);
uint32_t SoaExpire(ByteView rdata);
uint32_t SoaMinimum(ByteView rdata);
void SetSoaSerial(Bytes& rdata, uint32_t serial);
// Serial arithmetic (RFC 1982 §3.2): does `a` come after `b`?
constexpr bool SerialIsNewer(uint32_t a, uint32_t b) {
  return a != b && static_cast<uint32_t>(a - b) < 0x80000000u;
}

// The size of the uncompressed name that begins at `rdata`'s start; 0 when there is none.
size_t RdataNameSize(ByteView rdata);

}  // namespace dns
