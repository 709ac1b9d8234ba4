#include "dns/zone/transfer_reader.h"

#include <algorithm>
#include <array>

namespace dns {
namespace {

// Where names stand in the data of types that may compress them (RFC 3597 §4), or whose names are
// put in lower case (RFC 4034 §6.2; NAPTR keeps its own, which nobody writes in capitals): behind
// `before` bytes, so many, and `after` bytes behind them.
struct Layout {
  uint16_t type;
  uint8_t before;
  uint8_t names;
  uint8_t after;
};
constexpr std::array<Layout, 18> kLayouts = {{
    {2, 0, 1, 0},   // NS
    {3, 0, 1, 0},   // MD
    {4, 0, 1, 0},   // MF
    {5, 0, 1, 0},   // CNAME
    {6, 0, 2, 20},  // SOA
    {7, 0, 1, 0},   // MB
    {8, 0, 1, 0},   // MG
    {9, 0, 1, 0},   // MR
    {12, 0, 1, 0},  // PTR
    {14, 0, 2, 0},  // MINFO
    {15, 2, 1, 0},  // MX
    {17, 0, 2, 0},  // RP
    {18, 2, 1, 0},  // AFSDB
    {21, 2, 1, 0},  // RT
    {26, 2, 2, 0},  // PX
    {33, 6, 1, 0},  // SRV
    {36, 2, 1, 0},  // KX
    {39, 0, 1, 0},  // DNAME
}};

constexpr uint16_t kNsec3 = 50;
constexpr uint16_t kNsec3Param = 51;

bool IsSigners(Type type) {
  auto number = static_cast<uint16_t>(type);
  return type == Type::kRrsig || type == Type::kNsec || number == kNsec3 || number == kNsec3Param;
}

// Types that no zone may hold: OPT, NXNAME and other meta types, and those of questions (RFC 6895
// §3.1).
bool IsMeta(Type type) {
  auto number = static_cast<uint16_t>(type);
  return number == 0 || type == Type::kOpt || (number >= 128 && number <= 255);
}

std::string Named(const Name& owner, Type type) { return owner.ToString() + " " + TypeName(type); }

bool StringsFill(ByteView rdata) {
  size_t at = 0;
  while (at < rdata.size()) at += rdata[at] + 1u;
  return !rdata.empty() && at == rdata.size();
}

}  // namespace

std::expected<Bytes, std::string> ReadRdata(ByteView message, const MessageRecord& record) {
  ByteView raw = message.subspan(record.rdata_at, record.rdata_size);
  auto broken = [&] {
    return std::unexpected(Named(record.owner, record.type) + " has data that is malformed");
  };
  const auto* layout =
      std::ranges::find(kLayouts, static_cast<uint16_t>(record.type), &Layout::type);
  if (layout == kLayouts.end()) {
    bool good = record.type == Type::kA      ? raw.size() == 4
                : record.type == Type::kAaaa ? raw.size() == 16
                : record.type == Type::kTxt  ? StringsFill(raw)
                                             : true;
    if (!good) return broken();
    return Bytes(raw.begin(), raw.end());
  }
  if (raw.size() < layout->before) return broken();
  Bytes out(raw.begin(), raw.begin() + layout->before);
  size_t at = record.rdata_at + layout->before;
  size_t end = record.rdata_at + record.rdata_size;
  for (int i = 0; i < layout->names; ++i) {
    auto name = at < end ? ReadName(message, at) : std::nullopt;
    if (!name || at > end) return broken();
    Append(out, name->wire());
  }
  if (end - at != layout->after) return broken();
  Append(out, message.subspan(at, layout->after));
  return out;
}

TransferReader::TransferReader(Name apex, uint16_t id, std::shared_ptr<const Zone> known,
                               size_t size_max)
    : apex_(std::move(apex)), id_(id), known_(std::move(known)), size_max_(size_max) {}

TransferReader::Result TransferReader::CheckHeader(ByteView message, size_t& at, size_t& records) {
  if (message.size() < kHeaderBytes) return std::unexpected("a message is shorter than its header");
  const uint8_t* p = message.data();
  if (Get16(p) != id_ || (p[2] & 0xf8) != 0x80) {  // QR, opcode QUERY
    return std::unexpected("a message is no answer to what was asked");
  }
  rcode_ = static_cast<Rcode>(p[3] & 15);
  if (rcode_ != Rcode::kNoError) {
    return std::unexpected("the answer is " + std::string(RcodeName(rcode_)));
  }
  if ((p[2] & 2) != 0) return std::unexpected("a message is truncated");
  size_t questions = Get16(p + 4);
  if (questions > 1 || (questions == 0 && state_ == State::kFirst)) {
    return std::unexpected("a message has " + std::to_string(questions) + " questions");
  }
  at = kHeaderBytes;
  if (questions == 1) {
    auto name = ReadName(message, at);
    if (!name || *name != apex_ || message.size() - at < 4) {
      return std::unexpected("a message answers another question");
    }
    at += 4;
  }
  records = Get16(p + 6);
  return {};
}

std::expected<TransferReader::Step, std::string> TransferReader::Take(ByteView message) {
  size_t at = 0;
  size_t records = 0;
  if (auto good = CheckHeader(message, at, records); !good) return std::unexpected(good.error());
  if (records == 0) return std::unexpected("a message has no records");
  for (size_t i = 0; i < records; ++i) {
    auto head = ReadMessageRecord(message, at);
    if (!head) return std::unexpected("a message is malformed");
    if (head->rclass != kClassIn) {
      return std::unexpected(Named(head->owner, head->type) + " is not of class IN");
    }
    auto rdata = ReadRdata(message, *head);
    if (!rdata) return std::unexpected(rdata.error());
    // RFC 2181 §8: a TTL with its highest bit set counts as 0.
    uint32_t ttl = head->ttl > 0x7fffffffu ? 0 : head->ttl;
    auto taken = TakeRecord({std::move(head->owner), head->type, ttl, std::move(*rdata)});
    if (!taken) return std::unexpected(taken.error());
  }
  // One SOA is the whole answer to those who have its serial, or a newer one (RFC 1995 §2, §4).
  if (state_ == State::kSecond && known_ != nullptr) {
    uint32_t ours = SoaSerial(known_->names.at(apex_).at(Type::kSoa).rdatas[0]);
    if (!SerialIsNewer(SoaSerial(soa_->rdata), ours)) {
      up_to_date_ = true;
      state_ = State::kDone;
    }
  }
  return state_ == State::kDone ? Step::kDone : Step::kMore;
}

TransferReader::Result TransferReader::TakeRecord(Record record) {
  if (state_ == State::kDone) return std::unexpected("there are records behind the last SOA");
  bool soa = record.type == Type::kSoa && record.owner == apex_;
  if (state_ == State::kFirst && !soa) return std::unexpected("it does not begin with the SOA");
  if (soa) return TakeSoa(std::move(record));
  if (state_ == State::kSecond) {
    state_ = State::kWhole;
    zone_ = MakeZone(apex_);
    adder_.emplace(*zone_);
  }
  if (IsSigners(record.type)) {
    return std::unexpected(
        "the zone is signed at its primary (" + Named(record.owner, record.type) +
        "), and its signatures cannot be served from here; transfer it unsigned and give it a key");
  }
  if (IsMeta(record.type)) {
    return std::unexpected(Named(record.owner, record.type) + " is of a type no zone may hold");
  }
  return state_ == State::kRemoving ? Remove(record) : Add(std::move(record));
}

TransferReader::Result TransferReader::TakeSoa(Record record) {
  uint32_t serial = SoaSerial(record.rdata);
  uint32_t last = soa_ ? SoaSerial(soa_->rdata) : 0;
  switch (state_) {
    case State::kFirst:
      soa_ = std::move(record);
      state_ = State::kSecond;
      return {};
    case State::kSecond:
      if (known_ == nullptr) return std::unexpected("there is nothing between its SOAs");
      state_ = State::kRemoving;
      return BeginDifferences(serial);
    case State::kWhole:
      if (serial != last) return std::unexpected("its last SOA is another one than its first");
      state_ = State::kDone;
      return {};
    case State::kRemoving:
      at_serial_ = serial;
      state_ = State::kAdding;
      return {};
    case State::kAdding:
      if (serial != at_serial_) return std::unexpected("its differences do not follow each other");
      state_ = serial == last ? State::kDone : State::kRemoving;
      return {};
    case State::kDone:
      break;
  }
  return std::unexpected("there are records behind the last SOA");
}

TransferReader::Result TransferReader::BeginDifferences(uint32_t from) {
  if (from != SoaSerial(known_->names.at(apex_).at(Type::kSoa).rdatas[0])) {
    return std::unexpected("its differences are to another zone than ours");
  }
  incremental_ = true;
  zone_ = MakeZone(apex_);
  zone_->names = known_->names;
  for (const auto& [name, sets] : zone_->names) {
    for (const auto& [type, set] : sets) {
      for (const Bytes& rdata : set.rdatas) cost_ += kRecordCost + name.size() + rdata.size();
    }
  }
  adder_.emplace(*zone_);
  return {};
}

TransferReader::Result TransferReader::Charge(const Record& record) {
  cost_ += kRecordCost + record.owner.size() + record.rdata.size();
  if (cost_ <= size_max_) return {};
  return std::unexpected("the zone is larger than size_max, " + std::to_string(size_max_) +
                         " bytes");
}

TransferReader::Result TransferReader::Add(Record record) {
  if (!record.owner.IsWithin(apex_)) return {};  // left out, as when a file is read
  if (auto good = Charge(record); !good) return good;
  const SetMap& sets = adder_->At(record.owner);
  if (auto set = sets.find(record.type); set != sets.end()) record.ttl = set->second.ttl;
  return adder_->Add(std::move(record));
}

TransferReader::Result TransferReader::Remove(const Record& record) {
  if (!record.owner.IsWithin(apex_)) return {};
  auto absent = [&] {
    return std::unexpected(Named(record.owner, record.type) + " is to be removed and is not there");
  };
  auto name = zone_->names.find(record.owner);
  if (name == zone_->names.end() || !name->second.contains(record.type)) return absent();
  std::vector<Bytes>& rdatas = name->second[record.type].rdatas;
  auto at = std::ranges::find(rdatas, record.rdata);
  if (at == rdatas.end()) return absent();
  cost_ -= std::min(cost_, kRecordCost + record.owner.size() + record.rdata.size());
  rdatas.erase(at);
  if (!rdatas.empty()) return {};
  name->second.erase(record.type);
  if (!name->second.empty()) return {};
  zone_->names.erase(name);
  adder_.emplace(*zone_);  // it may have stood there
  return {};
}

std::expected<std::shared_ptr<const Zone>, std::string> TransferReader::Finish() {
  if (up_to_date_) return nullptr;
  SetMap& apex = zone_->names[apex_];
  apex.erase(Type::kSoa);
  apex[Type::kSoa] = {apex_, Type::kSoa, soa_->ttl, {soa_->rdata}};
  std::string text;
  for (const std::string& mistake : FindMistakes(*zone_)) {
    if (text.size() > 1000) break;
    text += (text.empty() ? "" : "; ") + mistake;
  }
  if (!text.empty()) return std::unexpected(text);
  return zone_;
}

}  // namespace dns
