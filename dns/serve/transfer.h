// Zone transfers out (RFC 5936): who may have which zone, and the messages of one transfer.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <vector>

#include "dns/config/config.h"
#include "dns/pool/pool.h"
#include "dns/zone/zone.h"

namespace dns {

// Records of one AXFR as messages, made one after the other so that a slow peer costs no memory.
// Pure. The SOA stands first and last.
class TransferWriter {
 public:
  // Messages are filled up to this.
  static constexpr size_t kMessageBytes = 16 * 1024;

  TransferWriter(Record soa, std::vector<Record> records, std::vector<uint8_t> question,
                 uint16_t id);

  bool done() const { return next_ > records_.size() + 1; }
  // The next message, without its length; empty when a record fits no message, which ends the
  // transfer.
  Bytes Next();

 private:
  const Record& At(size_t index) const;

  Record soa_;
  std::vector<Record> records_;
  std::vector<uint8_t> question_;
  uint16_t id_;
  size_t next_ = 0;  // 0 and records_.size() + 1 are the SOA
};

// What transfers are made from. The control thread sets it, the TCP thread asks. A lock, since a
// transfer is rare.
class TransferSource {
 public:
  struct Snapshot {
    std::vector<ZoneConfig> zones;
    std::vector<PoolConfig> pools;
    std::vector<PoolView> views;
    std::vector<uint32_t> serials;  // a zone
  };

  void Set(std::shared_ptr<const Snapshot> snapshot);

  // Null when the client may not have the zone. `key`: the name of the key that the request was
  // signed with, or null.
  std::unique_ptr<TransferWriter> Begin(const Name& apex, const net::Address& client, bool over_tls,
                                        bool certificate_verified, std::vector<uint8_t> question,
                                        uint16_t id, const Name* key = nullptr) const;

 private:
  mutable std::mutex mutex_;
  std::shared_ptr<const Snapshot> snapshot_;
};

}  // namespace dns
