// Reads the records of a message with every step bounded (RFC 1035 §4.1): for what is not a query
// (updates, responses of other servers). Names are at most 255 bytes and are read through at most
// kPointersMax pointers, each to before the last one, so that a name costs what it is long.
// Pure. Any thread.
#pragma once

#include <cstdint>
#include <optional>

#include "dns/wire/name.h"
#include "dns/wire/wire.h"

namespace dns {

constexpr int kPointersMax = 16;
// Of a record behind its owner: type, class, TTL, size of the RDATA.
constexpr size_t kRecordHeadBytes = 10;

// Reads a name, in lower case, and moves `at` behind it. Nothing where there is none.
std::optional<Name> ReadName(ByteView message, size_t& at);

struct MessageRecord {
  Name owner;
  Type type = Type::kA;
  uint16_t rclass = 0;
  uint32_t ttl = 0;
  size_t rdata_at = 0;  // in the message, since its names may point back
  size_t rdata_size = 0;
};

// Reads a record and moves `at` behind it. Names in its data are not read.
std::optional<MessageRecord> ReadMessageRecord(ByteView message, size_t& at);

}  // namespace dns
