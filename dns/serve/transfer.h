// Zone transfers out (RFC 5936, RFC 1995): who may have which zone, and the messages of one
// transfer.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

#include "dns/answer/answer.h"
#include "dns/answer/zone_journal.h"
#include "dns/config/config.h"
#include "dns/zone/zone.h"

namespace dns {

// Records of one transfer as messages, made one after the other so that neither a slow peer nor a
// large zone costs memory. Pure. The SOA stands first and last.
class TransferWriter {
 public:
  // Messages are filled up to this.
  static constexpr size_t kMessageBytes = 16 * 1024;
  // The records between the two SOAs; nothing at their end.
  using Source = std::move_only_function<std::optional<Record>()>;

  TransferWriter(Record soa, Source source, std::vector<uint8_t> question, uint16_t id);
  TransferWriter(Record soa, std::vector<Record> records, std::vector<uint8_t> question,
                 uint16_t id);
  // The answer to an IXFR of one who has it all: the SOA alone (RFC 1995 §2).
  static std::unique_ptr<TransferWriter> UpToDate(Record soa, std::vector<uint8_t> question,
                                                  uint16_t id);

  // The differences from step `first` on.
  static std::unique_ptr<TransferWriter> Incremental(Record soa, ZoneSteps steps, size_t first,
                                                     std::vector<uint8_t> question, uint16_t id);

  bool incremental() const { return incremental_; }
  bool done() const { return state_ == State::kDone; }
  // The next message, without its length; empty when a record fits no message, which ends the
  // transfer.
  Bytes Next();

 private:
  enum class State { kFirstSoa, kRecords, kLastSoa, kDone };
  // The record that is due, or nothing when all are written.
  const Record* Peek();
  void Advance();

  Record soa_;
  Source source_;
  std::vector<uint8_t> question_;
  uint16_t id_;
  bool soa_alone_ = false;
  bool incremental_ = false;
  State state_ = State::kFirstSoa;
  std::optional<Record> next_;
};

// What transfers are made from. The control thread sets it, the TCP thread asks. A lock, since a
// transfer is rare.
class TransferSource {
 public:
  struct Snapshot {
    std::vector<ZoneConfig> zones;
    std::shared_ptr<const Generation> generation;
    std::shared_ptr<SignatureStore> signatures;  // for signed zones
    std::map<Name, ZoneSteps> steps;             // what an IXFR can be told, by zone
  };

  void Set(std::shared_ptr<const Snapshot> snapshot);

  // Null when the client may not have the zone. `key`: the name of the key that the request was
  // signed with, or null. `known_serial`: what an IXFR says that it has.
  std::unique_ptr<TransferWriter> Begin(const Name& apex, const net::Address& client, bool over_tls,
                                        bool certificate_verified, std::vector<uint8_t> question,
                                        uint16_t id, const Name* key = nullptr,
                                        std::optional<uint32_t> known_serial = {}) const;

 private:
  mutable std::mutex mutex_;
  std::shared_ptr<const Snapshot> snapshot_;
};

}  // namespace dns
