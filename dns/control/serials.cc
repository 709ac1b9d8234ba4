#include "dns/control/serials.h"

#include "dns/zone/zone.h"

namespace dns {
void Serials::Restore(std::map<std::string, ZoneSerial> saved, bool same_boot) {
  zones_ = std::move(saved);
  if (same_boot) return;
  for (auto& [name, zone] : zones_) {
    // What was published behind the last durable write may be gone from the file.
    if (SerialIsNewer(zone.reserved, zone.serial)) {
      zone.serial = zone.reserved;
      zone.content = 0;
    }
  }
}

std::pair<uint32_t, bool> Serials::For(const std::string& zone, uint32_t configured,
                                       uint64_t content) {
  auto [it, fresh] = zones_.try_emplace(zone);
  ZoneSerial& known = it->second;
  if (fresh) {
    known.serial = floor_ != 0 && SerialIsNewer(floor_, configured) ? floor_ : configured;
    known.reserved = known.serial;
    known.announced = known.serial - 1;
  } else if (known.content == content && known.configured == configured) {
    return {known.serial, false};
  } else if (configured != known.configured && SerialIsNewer(configured, known.serial)) {
    known.serial = configured;  // the operator's own step forward
  } else if (known.content != content) {
    ++known.serial;
  } else {
    known.configured = configured;  // a step back, and nothing else changed
    return {known.serial, false};
  }
  known.configured = configured;
  known.content = content;
  return {known.serial, true};
}

uint32_t Serials::Current(const std::string& zone, uint32_t configured) const {
  auto it = zones_.find(zone);
  return it == zones_.end() ? configured : it->second.serial;
}

void Serials::Announced(const std::string& zone) {
  auto it = zones_.find(zone);
  if (it != zones_.end()) it->second.announced = it->second.serial;
}

bool Serials::IsAnnounced(const std::string& zone) const {
  auto it = zones_.find(zone);
  return it != zones_.end() && it->second.announced == it->second.serial;
}

bool Serials::NeedsDurable() const {
  for (const auto& [name, zone] : zones_) {
    if (!SerialIsNewer(zone.reserved, zone.serial)) return true;
  }
  return false;
}

void Serials::Reserve() {
  for (auto& [name, zone] : zones_) zone.reserved = zone.serial + kReserve;
}

}  // namespace dns
