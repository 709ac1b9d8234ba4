#include "dns/serve/transfer.h"

#include <algorithm>

#include "dns/answer/responder.h"
#include "dns/answer/zone_records.h"

namespace dns {

TransferWriter::TransferWriter(Record soa, Source source, std::vector<uint8_t> question,
                               uint16_t id)
    : soa_(std::move(soa)), source_(std::move(source)), question_(std::move(question)), id_(id) {}

TransferWriter::TransferWriter(Record soa, std::vector<Record> records,
                               std::vector<uint8_t> question, uint16_t id)
    : TransferWriter(
          std::move(soa),
          [records = std::move(records), at = size_t{0}]() mutable -> std::optional<Record> {
            if (at == records.size()) return std::nullopt;
            return std::move(records[at++]);
          },
          std::move(question), id) {}

std::unique_ptr<TransferWriter> TransferWriter::UpToDate(Record soa, std::vector<uint8_t> question,
                                                         uint16_t id) {
  auto writer = std::make_unique<TransferWriter>(std::move(soa), std::vector<Record>(),
                                                 std::move(question), id);
  writer->soa_alone_ = true;
  return writer;
}

namespace {

// RFC 1995 §4: of each step the SOA before, what is removed, the SOA after, what is added.
TransferWriter::Source DifferencesOf(ZoneSteps steps, size_t first) {
  // Within a step: 0 the SOA before, then what is removed, the SOA after, what is added.
  return [steps = std::move(steps), at = first,
          within = size_t{0}]() mutable -> std::optional<Record> {
    for (; at < steps.size(); ++at, within = 0) {
      const ZoneStep& step = *steps[at];
      size_t removed = step.removed.size();
      size_t place = within++;
      if (place == 0) return step.from;
      if (place <= removed) return step.removed[place - 1];
      if (place == removed + 1) return step.to;
      place -= removed + 2;
      if (place < step.added.size()) return step.added[place];
    }
    return std::nullopt;
  };
}

}  // namespace

std::unique_ptr<TransferWriter> TransferWriter::Incremental(Record soa, ZoneSteps steps,
                                                            size_t first,
                                                            std::vector<uint8_t> question,
                                                            uint16_t id) {
  auto writer = std::make_unique<TransferWriter>(
      std::move(soa), DifferencesOf(std::move(steps), first), std::move(question), id);
  writer->incremental_ = true;
  return writer;
}

const Record* TransferWriter::Peek() {
  if (state_ == State::kRecords) {
    if (!next_) next_ = source_();
    if (next_) return &*next_;
    state_ = State::kLastSoa;
  }
  return state_ == State::kDone ? nullptr : &soa_;
}

void TransferWriter::Advance() {
  switch (state_) {
    case State::kFirstSoa:
      state_ = soa_alone_ ? State::kDone : State::kRecords;
      return;
    case State::kRecords:
      next_.reset();
      return;
    case State::kLastSoa:
    case State::kDone:
      state_ = State::kDone;
      return;
  }
}

Bytes TransferWriter::Next() {
  Bytes out(kHeaderBytes);
  Put16(out.data(), id_);
  Put16(out.data() + 2, 0x8400);  // QR, AA
  if (state_ == State::kFirstSoa) {
    Put16(out.data() + 4, 1);
    Append(out, question_);
  }
  size_t count = 0;
  while (const Record* record = Peek()) {
    size_t size = record->owner.size() + 10 + record->rdata.size();
    if (count > 0 && out.size() + size > kMessageBytes) break;
    if (out.size() + size > kMessageBytesMax) return {};
    Append(out, record->owner.wire());
    Append16(out, static_cast<uint16_t>(record->type));
    Append16(out, kClassIn);
    Append32(out, record->ttl);
    Append16(out, record->rdata.size());
    Append(out, record->rdata);
    ++count;
    Advance();
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
                                                      const Name* key,
                                                      std::optional<uint32_t> known_serial) const {
  std::shared_ptr<const Snapshot> snapshot;
  {
    std::lock_guard lock(mutex_);
    snapshot = snapshot_;
  }
  if (!snapshot || !snapshot->generation) return nullptr;
  auto zone = std::ranges::find_if(snapshot->zones,
                                   [&](const ZoneConfig& z) { return z.zone->apex == apex; });
  if (zone == snapshot->zones.end() || zone->zone->unavailable) return nullptr;
  bool allowed = std::ranges::any_of(zone->secondaries, [&](const SecondaryConfig& secondary) {
    return secondary.MayTransfer(client, key);
  });
  if (zone->transfer_needs_tls && !(over_tls && certificate_verified)) allowed = false;
  if (!allowed) return nullptr;
  const Generation& generation = *snapshot->generation;
  for (size_t i = 0; i < generation.contents.size(); ++i) {
    if (generation.contents[i]->zone->apex != apex) continue;
    const auto& state = generation.zones[i];
    Record soa{apex, Type::kSoa, state->soa.ttl, state->soa.rdatas[0]};
    if (known_serial && !SerialIsNewer(state->serial, *known_serial)) {
      return TransferWriter::UpToDate(std::move(soa), std::move(question), id);
    }
    auto steps = snapshot->steps.find(apex);
    if (known_serial && steps != snapshot->steps.end()) {
      if (auto first = FirstStep(steps->second, *known_serial)) {
        return TransferWriter::Incremental(std::move(soa), steps->second, *first,
                                           std::move(question), id);
      }
    }
    return std::make_unique<TransferWriter>(
        std::move(soa),
        [snapshot, records = ZoneRecords(generation.contents[i], state,
                                         snapshot->signatures.get())]() mutable {
          return records.Next();
        },
        std::move(question), id);
  }
  return nullptr;
}

}  // namespace dns
