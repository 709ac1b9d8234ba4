// Zone files and single records in presentation form (RFC 1035 §5), read with ldns. At start and
// reload only: ldns never sees a byte from the network.
#pragma once

#include <expected>
#include <string>
#include <string_view>
#include <vector>

#include "dns/zone/zone.h"

namespace dns {

// A zone file with $ORIGIN, $TTL, and parentheses. $INCLUDE and $GENERATE are not followed. The
// error names file and line.
std::expected<std::vector<Record>, std::string> ReadZoneFile(const std::string& path,
                                                             const Name& origin,
                                                             uint32_t default_ttl);

// One record: "www 300 IN A 192.0.2.1", with names relative to `origin`.
std::expected<Record, std::string> ReadRecord(std::string_view text, const Name& origin,
                                              uint32_t default_ttl);

// Prints a record in one line; for `ctl`, logs and tests.
std::string ToText(const Record& record);

}  // namespace dns
