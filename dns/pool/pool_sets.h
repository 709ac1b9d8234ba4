// The record sets that a pool makes at its names, from what is given out of the pool now.
#pragma once

#include <cstdint>
#include <map>
#include <vector>

#include "dns/pool/pool.h"
#include "dns/zone/zone.h"

namespace dns {

// All addresses of a pool may stand in one set.
static_assert(kPoolAddressesMax <= kRecordsPerSetMax);

struct PoolSet {
  size_t pool = 0;
  Rrset set;                      // empty when nothing is given out
  std::vector<uint32_t> weights;  // a record
  std::vector<Name> hosts;        // a record, not of addresses: whose addresses go along
  uint16_t answers_max = 8;
  // What secondaries have: the TTL of `set` follows the next possible change, theirs may not, since
  // one serial is one content.
  uint32_t transfer_ttl = 0;
  bool weighted = false;  // the weight decides how often a record is in an answer
  bool all_down = false;

  // How many of the records one answer holds. SRV sets and bindings are whole: clients choose by
  // priority and weight, and a part of the set would have them choose among backups only.
  uint16_t AnswersPerReply() const;
};

using PoolSets = std::map<Name, std::map<Type, PoolSet>>;

// All sets of all pools in `zone`. Which sets are there depends on the configuration only; a set
// whose pool gives nothing out is there and empty.
PoolSets MakePoolSets(const Zone& zone, const std::vector<PoolConfig>& pools,
                      std::span<const PoolView> views);

// Adds the addresses of the balancers' host names to the zone, so that the names are there whatever
// health says; what is given out at them is a pool set. After FindMistakes(), which sees to it that
// nothing else is there.
void AddHosts(Zone& zone, const std::vector<PoolConfig>& pools);

Bytes AddressRdata(const net::Address& address);

}  // namespace dns
