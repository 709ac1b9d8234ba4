// Single records in presentation form (RFC 1035 §5), read with ldns. At start and reload only: ldns
// never sees a byte from the network. Zone files: zone_file.h.
#pragma once

#include <expected>
#include <string>
#include <string_view>
#include <vector>

#include "dns/zone/zone.h"

namespace dns {

// A type by its name, "TYPE4711" too; Type{} when there is none.
Type TypeFromText(const std::string& text);

// One record: "www 300 IN A 192.0.2.1", with names relative to `origin`.
std::expected<Record, std::string> ReadRecord(std::string_view text, const Name& origin,
                                              uint32_t default_ttl);

// Prints a record in one line; for `ctl`, logs and tests.
std::string ToText(const Record& record);

// The same in the generic form (RFC 3597 §5), without ldns: for records of the network.
std::string ToPlainText(const Record& record);

}  // namespace dns
