// A zone as the operator wrote it: names, their record sets, and the places where a pool of
// balancers stands. This is the input of the compiler (answer.h); no query ever looks at it.
//
// Built on the control thread at start and reload, then immutable.
#pragma once

#include <cstdint>
#include <expected>
#include <map>
#include <string>
#include <string_view>
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

// A service of a pool: one SRV set.
struct ServiceUse {
  std::string service;  // "xmpp-client", "xmpps-client", "xmpp-server", "xmpps-server"
  uint16_t port = 0;
};

// Where a pool stands in a zone: addresses at `addresses_at`, SRV sets below `services_at`, and a
// host name for each balancer, BALANCER.addresses_at, which the SRV records point to.
struct PoolUse {
  size_t pool = 0;  // index into the configuration's pools
  Name addresses_at;
  Name services_at;
  std::vector<ServiceUse> services;
  // The balancers' host names, in the order of the pool's balancers.
  std::vector<Name> hosts;
};

struct Zone {
  Name apex;
  std::map<Name, std::map<Type, Rrset>> names;
  std::vector<PoolUse> pools;
};

// Limits of a zone: what is above them is an error when the zone is read.
constexpr size_t kRecordsPerSetMax = 256;
constexpr size_t kRdataBytesMax = 16 * 1024;
constexpr size_t kSetBytesMax = 32 * 1024;
constexpr size_t kRecordFixedBytes = 12;  // of a record with a compressed owner: all but the RDATA

// Adds a record. Errors: outside of the zone, too many in the set, too large. A record that is
// there already is left out; the first TTL of a set counts (a file with different ones is an
// error).
std::expected<void, std::string> AddRecord(Zone& zone, Record record);

// What makes a zone unservable: no SOA, several SOA, no NS, CNAME beside other data, records of a
// pool beside records of the file, DNAME (not supported). All problems are told at once.
std::vector<std::string> FindMistakes(const Zone& zone);

// The fields of a SOA that answers need (RFC 1035 §3.3.13). `rdata` must be a well-formed SOA.
uint32_t SoaSerial(ByteView rdata);
uint32_t SoaMinimum(ByteView rdata);
void SetSoaSerial(Bytes& rdata, uint32_t serial);
// Serial arithmetic (RFC 1982 §3.2): does `a` come after `b`?
constexpr bool SerialIsNewer(uint32_t a, uint32_t b) {
  return a != b && static_cast<uint32_t>(a - b) < 0x80000000u;
}

// The size of the uncompressed name that begins at `rdata`'s start; 0 when there is none.
size_t RdataNameSize(ByteView rdata);

}  // namespace dns
