// The copy of a secondary zone on disk, from which a restart serves: the messages of a transfer,
// each behind its size, as one would go out over TCP; read back by the same reader as the network's
// (TransferReader). The file's time is when the primary last confirmed it. Any thread.
#pragma once

#include <cstdint>
#include <expected>
#include <memory>
#include <string>

#include "dns/zone/zone.h"

namespace dns {

// Replaces the file as a whole, durably. "" or why not.
std::string WriteZoneCopy(const std::string& path, const std::shared_ptr<const Zone>& zone);

struct ZoneCopy {
  std::shared_ptr<const Zone> zone;  // null: there is none
  int64_t confirmed_at = 0;          // seconds since 1970
};
// The error says the file and what is wrong with it.
std::expected<ZoneCopy, std::string> ReadZoneCopy(const std::string& path, const Name& apex,
                                                  size_t size_max);

// The primary has confirmed what the file holds. "" or why not.
std::string TouchZoneCopy(const std::string& path);

}  // namespace dns
