#include "dns/tsig/tsig.h"

#include <openssl/crypto.h>

#include <algorithm>

#include "dns/wire/message.h"

namespace dns {
namespace {

constexpr size_t kTsigFixedBytes = 16;  // of the RDATA, without the algorithm, MAC and other data

uint8_t Lower(uint8_t c) { return c >= 'A' && c <= 'Z' ? static_cast<uint8_t>(c | 0x20) : c; }

// The uncompressed name at `at`, in lower case; empty when there is none.
Bytes PlainName(ByteView bytes, size_t at) {
  Bytes out;
  while (at < bytes.size()) {
    uint8_t length = bytes[at];
    if (length > kLabelBytesMax || bytes.size() - at - 1 < length) return {};
    if (out.size() + 1u + length > kNameBytesMax) return {};
    out.push_back(length);
    for (size_t i = 1; i <= length; ++i) out.push_back(Lower(bytes[at + i]));
    if (length == 0) return out;
    at += 1u + length;
  }
  return {};
}

// The owner of a TSIG: a name, which may end in a pointer to where the question's name or a label
// of it begins. No other pointer is followed.
Bytes OwnerName(ByteView message, size_t at) {
  Bytes out;
  while (at < message.size() && message[at] < 0xc0) {
    uint8_t length = message[at];
    if (length > kLabelBytesMax || message.size() - at - 1 < length) return {};
    if (out.size() + 1u + length > kNameBytesMax) return {};
    out.push_back(length);
    for (size_t i = 1; i <= length; ++i) out.push_back(Lower(message[at + i]));
    if (length == 0) return out;
    at += 1u + length;
  }
  if (message.size() < kHeaderBytes || message.size() - at < 2) return {};
  if (Get16(message.data() + 4) == 0) return {};  // no question to point into
  size_t target = Get16(message.data() + at) & 0x3fffu;
  Bytes question = PlainName(message, kHeaderBytes);
  size_t label = 0;
  while (label < question.size() && kHeaderBytes + label < target) label += question[label] + 1u;
  if (label >= question.size() || kHeaderBytes + label != target) return {};
  if (out.size() + question.size() - label > kNameBytesMax) return {};
  out.insert(out.end(), question.begin() + static_cast<std::ptrdiff_t>(label), question.end());
  return out;
}

bool ReadRdata(ByteView rdata, TsigRecord& out) {
  out.algorithm = PlainName(rdata, 0);
  if (out.algorithm.empty()) return false;
  ByteView rest = rdata.subspan(out.algorithm.size());
  if (rest.size() < kTsigFixedBytes) return false;
  const uint8_t* p = rest.data();
  out.time = static_cast<uint64_t>(Get16(p)) << 32 | Get32(p + 2);
  out.fudge = Get16(p + 6);
  size_t mac = Get16(p + 8);
  if (rest.size() < kTsigFixedBytes + mac) return false;
  out.mac.assign(p + 10, p + 10 + mac);
  p += 10 + mac;
  out.original_id = Get16(p);
  out.error = Get16(p + 2);
  size_t other = Get16(p + 4);
  if (rest.size() != kTsigFixedBytes + mac + other) return false;
  out.other.assign(p + 6, p + 6 + other);
  return true;
}

void Append48(Bytes& out, uint64_t value) {
  Append16(out, value >> 32 & 0xffff);
  Append32(out, static_cast<uint32_t>(value));
}

// §4.3.3: all of the record but what the MAC is made over anyway.
void AppendVariables(Bytes& out, ByteView key_name, ByteView algorithm, uint64_t time,
                     uint16_t fudge, uint16_t error, ByteView other) {
  Append(out, key_name);
  Append16(out, kClassAny);
  Append32(out, 0);
  Append(out, algorithm);
  Append48(out, time);
  Append16(out, fudge);
  Append16(out, error);
  Append16(out, other.size());
  Append(out, other);
}

// What the MAC of a message is made over. `timers_only`: of the second and later messages of a
// response (§5.3.1).
Bytes SignedBytes(ByteView prior, ByteView pending, ByteView message, const TsigRecord& record,
                  bool timers_only) {
  Bytes data;
  data.reserve(prior.size() + pending.size() + message.size() + 64 + record.key_name.size());
  if (!prior.empty()) {
    Append16(data, prior.size());
    Append(data, prior);
  }
  Append(data, pending);
  size_t at = data.size();
  Append(data, message);
  Put16(data.data() + at, record.original_id);
  if (timers_only) {
    Append48(data, record.time);
    Append16(data, record.fudge);
  } else {
    AppendVariables(data, record.key_name, record.algorithm, record.time, record.fudge,
                    record.error, record.other);
  }
  return data;
}

// The message as it was before the TSIG was put behind it.
Bytes WithoutTsig(ByteView message, size_t offset) {
  Bytes out(message.begin(), message.begin() + static_cast<std::ptrdiff_t>(offset));
  Put16(out.data() + 10, Get16(out.data() + 10) - 1u);
  return out;
}

bool SameMac(ByteView a, ByteView b) {
  return a.size() == b.size() && CRYPTO_memcmp(a.data(), b.data(), a.size()) == 0;
}

Bytes RecordBytes(const TsigRecord& record) {
  Bytes out = record.key_name;
  Append16(out, static_cast<uint16_t>(Type::kTsig));
  Append16(out, kClassAny);
  Append32(out, 0);
  Append16(out,
           record.algorithm.size() + kTsigFixedBytes + record.mac.size() + record.other.size());
  Append(out, record.algorithm);
  Append48(out, record.time);
  Append16(out, record.fudge);
  Append16(out, record.mac.size());
  Append(out, record.mac);
  Append16(out, record.original_id);
  Append16(out, record.error);
  Append16(out, record.other.size());
  Append(out, record.other);
  return out;
}

bool IsInTime(const TsigRecord& record, uint64_t now) {
  uint64_t fudge = std::min(record.fudge, kTsigFudge);
  return now <= record.time + fudge && record.time <= now + fudge;
}

TsigRecord RecordOf(const TsigKey& key, ByteView message, uint64_t now) {
  TsigRecord record;
  record.key_name.assign(key.name.wire().begin(), key.name.wire().end());
  ByteView algorithm = AlgorithmName(key.algorithm).wire();
  record.algorithm.assign(algorithm.begin(), algorithm.end());
  record.time = now;
  record.fudge = kTsigFudge;
  record.original_id = Get16(message.data());
  return record;
}

}  // namespace

TsigForm ReadTsig(ByteView message, TsigRecord& out) {
  if (message.size() < kHeaderBytes) return TsigForm::kBroken;
  size_t questions = Get16(message.data() + 4);
  size_t records =
      size_t{Get16(message.data() + 6)} + Get16(message.data() + 8) + Get16(message.data() + 10);
  size_t additional = Get16(message.data() + 10);
  size_t at = kHeaderBytes;
  for (size_t i = 0; i < questions; ++i) {
    size_t name = NameBytes(message, at);
    if (name == 0 || message.size() - at - name < 4) return TsigForm::kBroken;
    at += name + 4;
  }
  for (size_t i = 0; i < records; ++i) {
    size_t name = NameBytes(message, at);
    if (name == 0 || message.size() - at - name < kRecordHeadBytes) return TsigForm::kBroken;
    const uint8_t* head = message.data() + at + name;
    size_t size = Get16(head + 8);
    if (message.size() - at - name - kRecordHeadBytes < size) return TsigForm::kBroken;
    if (static_cast<Type>(Get16(head)) == Type::kTsig) {
      bool last = i + 1 == records && additional > 0;
      if (!last || Get16(head + 2) != kClassAny || Get32(head + 4) != 0) return TsigForm::kBroken;
      out.offset = at;
      out.key_name = OwnerName(message, at);
      if (out.key_name.empty() || !ReadRdata({head + kRecordHeadBytes, size}, out)) {
        return TsigForm::kBroken;
      }
      at += name + kRecordHeadBytes + size;
      return at == message.size() ? TsigForm::kPresent : TsigForm::kBroken;
    }
    at += name + kRecordHeadBytes + size;
  }
  return at == message.size() ? TsigForm::kAbsent : TsigForm::kBroken;
}

TsigCheck CheckTsig(ByteView message, const std::shared_ptr<const TsigKeys>& keys, uint64_t now) {
  TsigCheck check;
  TsigForm form = ReadTsig(message, check.record);
  if (form == TsigForm::kAbsent) return check;
  check.verdict = TsigCheck::Verdict::kFormErr;
  if (form == TsigForm::kBroken) return check;
  auto refuse = [&](TsigError error) {
    check.verdict = TsigCheck::Verdict::kRefused;
    check.error = error;
    return check;
  };
  const TsigKey* key = keys ? keys->Find(check.record.key_name) : nullptr;
  if (key == nullptr ||
      !std::ranges::equal(AlgorithmName(key->algorithm).wire(), check.record.algorithm)) {
    return refuse(TsigError::kBadKey);
  }
  check.keys = keys;
  check.key = key;
  size_t full = MacBytes(key->algorithm);
  size_t size = check.record.mac.size();
  if (size > full || size < std::max<size_t>(10, full / 2)) return check;  // §5.2.2.1: FORMERR
  Bytes made = Mac(
      *key, SignedBytes({}, {}, WithoutTsig(message, check.record.offset), check.record, false));
  if (!SameMac(ByteView(made).first(size), check.record.mac)) return refuse(TsigError::kBadSig);
  if (!IsInTime(check.record, now)) return refuse(TsigError::kBadTime);
  if (size < full) return refuse(TsigError::kBadTrunc);
  check.verdict = TsigCheck::Verdict::kGood;
  return check;
}

size_t TsigBytes(const TsigCheck& check) {
  size_t mac = check.key != nullptr ? MacBytes(check.key->algorithm) : 0;
  return check.record.key_name.size() + kRecordHeadBytes + check.record.algorithm.size() +
         kTsigFixedBytes + mac + 6;
}

size_t SignResponse(const TsigCheck& check, std::span<uint8_t> out, size_t size, uint64_t now) {
  TsigRecord record;
  record.key_name = check.record.key_name;
  record.algorithm = check.record.algorithm;
  record.time = now;
  record.fudge = kTsigFudge;
  record.original_id = Get16(out.data());
  record.error = static_cast<uint16_t>(check.error);
  if (check.error == TsigError::kBadTime) {  // §5.2.3: the client's time, and ours beside it
    record.time = check.record.time;
    Append48(record.other, now);
  }
  bool sign = check.key != nullptr && check.error != TsigError::kBadSig &&
              check.error != TsigError::kBadKey;
  if (sign) {
    record.mac = Mac(*check.key,
                     SignedBytes(check.record.mac, {}, ByteView(out).first(size), record, false));
  }
  Bytes bytes = RecordBytes(record);
  if (out.size() - size < bytes.size()) return size;
  std::ranges::copy(bytes, out.begin() + static_cast<std::ptrdiff_t>(size));
  Put16(out.data() + 10, Get16(out.data() + 10) + 1u);
  return size + bytes.size();
}

void TsigSigner::Sign(Bytes& message, uint64_t now) {
  TsigRecord record = RecordOf(*key_, message, now);
  bool timers_only = !first_;
  record.mac = Mac(*key_, SignedBytes(prior_, {}, message, record, timers_only));
  first_ = false;
  prior_ = record.mac;
  Append(message, RecordBytes(record));
  Put16(message.data() + 10, Get16(message.data() + 10) + 1u);
}

std::expected<void, std::string> TsigVerifier::Check(ByteView message, uint64_t now) {
  TsigRecord record;
  switch (ReadTsig(message, record)) {
    case TsigForm::kBroken:
      return std::unexpected("the message or its TSIG is malformed");
    case TsigForm::kAbsent:
      if (first_) return std::unexpected("the response is not signed");
      if (++unsigned_ > kUnsignedMax) return std::unexpected("too many messages without a TSIG");
      Append(pending_, message);
      return {};
    case TsigForm::kPresent:
      break;
  }
  ByteView algorithm = AlgorithmName(key_->algorithm).wire();
  if (!std::ranges::equal(record.key_name, key_->name.wire()) ||
      !std::ranges::equal(record.algorithm, algorithm)) {
    return std::unexpected("the response is signed with another key");
  }
  if (record.error != 0 && record.mac.empty()) {
    return std::unexpected("the server refuses the key: TSIG error " +
                           std::to_string(record.error));
  }
  Bytes made = Mac(
      *key_, SignedBytes(prior_, pending_, WithoutTsig(message, record.offset), record, !first_));
  if (!SameMac(made, record.mac)) return std::unexpected("the signature is wrong");
  if (!IsInTime(record, now)) return std::unexpected("the signature's time is not ours");
  if (record.error != 0) {
    return std::unexpected("the server says TSIG error " + std::to_string(record.error));
  }
  prior_ = record.mac;
  pending_.clear();
  unsigned_ = 0;
  first_ = false;
  return {};
}

bool TsigReplays::IsFresh(const TsigCheck& request, uint64_t now) {
  std::erase_if(entries_, [&](const Entry& entry) { return entry.expires < now; });
  const TsigRecord& record = request.record;
  if (record.time <= forgotten_until_) return false;
  bool seen = std::ranges::any_of(entries_, [&](const Entry& e) { return e.mac == record.mac; });
  if (seen) return false;
  if (entries_.size() == kEntriesMax) {
    auto soonest = std::ranges::min_element(entries_, {}, &Entry::expires);
    forgotten_until_ = std::max(forgotten_until_, soonest->expires - kTsigFudge);
    entries_.erase(soonest);
  }
  entries_.push_back({record.time + kTsigFudge, record.mac});
  return true;
}

}  // namespace dns
