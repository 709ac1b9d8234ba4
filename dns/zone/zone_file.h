// Zone files (RFC 1035 §5, RFC 2308 §4), read as Knot, NSD and BIND read them: $ORIGIN, $TTL and
// $INCLUDE in any case, class and TTL in either order or left out, units of time in TTLs,
// parentheses, quotes, escapes, generic types and data (RFC 3597). $GENERATE is refused.
//
// The lines are taken apart here, so that each mistake is found at once and with its own file and
// line; the data of the rarer types is read by ldns. At start and reload only. Any thread.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "dns/zone/zone.h"

namespace dns {

constexpr int kIncludeDepthMax = 8;
// Mistakes and warnings that are told one by one; the rest is counted.
constexpr size_t kZoneReportsMax = 100;

struct ZoneFileReport {
  std::vector<std::string> mistakes;  // "FILE:LINE: what"; the zone cannot be used
  std::vector<std::string> warnings;  // the zone can be used
  size_t more_mistakes = 0;
  size_t more_warnings = 0;

  void Mistake(std::string text);
  void Warning(std::string text);
};

// Adds the file's records to `zone`. Warned of, and mended as others do: records outside of the
// zone (left out), a set with different TTLs (the first counts).
ZoneFileReport LoadZoneFile(const std::string& path, uint32_t default_ttl, Zone& zone);

// The same without a zone: each record as it comes, with its place. For LoadZoneFile and tests.
using RecordSink = std::function<void(Record record, const std::string& file, int line)>;
void ReadZoneRecords(const std::string& path, const Name& origin, uint32_t default_ttl,
                     const RecordSink& sink, ZoneFileReport& report);

// "3600", "1h30m", "2W". Nothing when it is not a TTL (RFC 2181 §8: below 2^31).
std::optional<uint32_t> ReadTtl(std::string_view text);

}  // namespace dns
