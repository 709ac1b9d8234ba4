// The serial of each zone: another content gets one above every serial that was ever published for
// the zone, over health changes, reloads, edited files, restarts, kill -9 and power cuts, since
// secondaries freeze on what they have when a serial goes back (RFC 1982, RFC 5936 §6).
//
// The last serial and a digest of its content are part of the state file, which is written before
// the serial is published. A write is not made durable each time, which would cost a disk's
// latency for each health change: within one boot of the machine the file is exact whatever happens
// to the process; after another boot the serials go on above a reserve that was made durable
// before.
//
// Pure: the digest, the clock and the boot come in as values. One thread.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <utility>

namespace dns {

struct ZoneSerial {
  uint32_t serial = 0;      // the last one published
  uint32_t configured = 0;  // what the file said then
  uint64_t content = 0;     // digest
  uint32_t reserved = 0;    // no serial above this is published before it is durable
  uint32_t announced = 0;   // secondaries have acknowledged the NOTIFY of this one

  bool operator==(const ZoneSerial&) const = default;
};

class Serials {
 public:
  // Serials that a durable write covers. Each one costs one fsync.
  static constexpr uint32_t kReserve = 256;

  // What the state file had. `same_boot`: the machine did not go down since.
  void Restore(std::map<std::string, ZoneSerial> saved, bool same_boot);
  // Without saved serials a zone begins with the file's, or with this where it is newer.
  void SetFloor(uint32_t floor) { floor_ = floor; }

  // The serial for this content. True as second where it is a new one: to be saved, then published.
  std::pair<uint32_t, bool> For(const std::string& zone, uint32_t configured, uint64_t content);
  // The serial as it is; `configured` where none was made yet.
  uint32_t Current(const std::string& zone, uint32_t configured) const;

  // All secondaries know of the zone's serial.
  void Announced(const std::string& zone);
  bool IsAnnounced(const std::string& zone) const;

  // The next write must be durable; Reserved() says that it was.
  bool NeedsDurable() const;
  void Reserve();
  const std::map<std::string, ZoneSerial>& all() const { return zones_; }

 private:
  std::map<std::string, ZoneSerial> zones_;
  uint32_t floor_ = 0;
};

}  // namespace dns
