// Makes the key that follows another one: `mongoosedns keygen --successor`. At the command line
// only.
#pragma once

#include <cstdint>
#include <expected>
#include <string>

#include "dns/zone/zone_keys.h"

namespace dns {

struct Successor {
  ZoneKey key;
  Rollover plan;
};

// A key with the algorithm and the role of the one in `private_path`, written beside it, with times
// by PlanRollover(); the old key's times are written into its file. Nothing is changed when it
// cannot be done: the old key is on its way out already, or a file cannot be written.
std::expected<Successor, std::string> MakeSuccessor(const std::string& private_path,
                                                    const Name& zone, uint32_t now,
                                                    uint32_t dnskey_ttl, uint32_t ds_timeout);

}  // namespace dns
