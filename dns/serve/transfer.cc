#include "dns/serve/transfer.h"

#include <algorithm>

#include "dns/answer/compile.h"

namespace dns {

TransferWriter::TransferWriter(Record soa, std::vector<Record> records,
                               std::vector<uint8_t> question, uint16_t id)
    : soa_(std::move(soa)), records_(std::move(records)), question_(std::move(question)), id_(id) {}

const Record& TransferWriter::At(size_t index) const {
  return index == 0 || index == records_.size() + 1 ? soa_ : records_[index - 1];
}

Bytes TransferWriter::Next() {
  Bytes out(kHeaderBytes);
  Put16(out.data(), id_);
  Put16(out.data() + 2, 0x8400);  // QR, AA
  if (next_ == 0) {
    Put16(out.data() + 4, 1);
    Append(out, question_);
  }
  size_t count = 0;
  for (; !done(); ++next_) {
    const Record& record = At(next_);
    size_t size = record.owner.size() + 10 + record.rdata.size();
    if (count > 0 && out.size() + size > kMessageBytes) break;
    if (out.size() + size > kMessageBytesMax) return {};
    Append(out, record.owner.wire());
    Append16(out, static_cast<uint16_t>(record.type));
    Append16(out, kClassIn);
    Append32(out, record.ttl);
    Append16(out, record.rdata.size());
    Append(out, record.rdata);
    ++count;
  }
  Put16(out.data() + 6, count);
  return out;
}

void TransferSource::Set(std::shared_ptr<const Snapshot> snapshot) {
  std::lock_guard lock(mutex_);
  snapshot_ = std::move(snapshot);
}

std::unique_ptr<TransferWriter> TransferSource::Begin(const Name& apex, const net::Address& client,
                                                      bool over_tls, bool certificate_verified,
                                                      std::vector<uint8_t> question, uint16_t id,
                                                      const Name* key) const {
  std::shared_ptr<const Snapshot> snapshot;
  {
    std::lock_guard lock(mutex_);
    snapshot = snapshot_;
  }
  if (!snapshot) return nullptr;
  for (size_t i = 0; i < snapshot->zones.size(); ++i) {
    const ZoneConfig& zone = snapshot->zones[i];
    if (zone.zone->apex != apex) continue;
    bool allowed = std::ranges::any_of(zone.secondaries, [&](const SecondaryConfig& secondary) {
      return secondary.MayTransfer(client, key);
    });
    if (zone.transfer_needs_tls && !(over_tls && certificate_verified)) allowed = false;
    if (!allowed) return nullptr;
    const Rrset& soa = zone.zone->names.at(apex).at(Type::kSoa);
    Record soa_record{apex, Type::kSoa, soa.ttl, soa.rdatas[0]};
    SetSoaSerial(soa_record.rdata, snapshot->serials[i]);
    return std::make_unique<TransferWriter>(
        std::move(soa_record), Compiler::Records(*zone.zone, snapshot->pools, snapshot->views),
        std::move(question), id);
  }
  return nullptr;
}

}  // namespace dns
