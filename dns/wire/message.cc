#include "dns/wire/message.h"

namespace dns {

std::optional<Name> ReadName(ByteView message, size_t& at) {
  Bytes wire;
  size_t i = at;
  size_t limit = message.size();  // what a pointer must stay below
  bool jumped = false;
  for (int pointers = 0; i < message.size();) {
    uint8_t length = message[i];
    if (length >= 0xc0) {
      if (message.size() - i < 2 || ++pointers > kPointersMax) return std::nullopt;
      size_t target = Get16(message.data() + i) & 0x3fffu;
      if (!jumped) at = i + 2;
      limit = jumped ? limit : i;
      if (target < kHeaderBytes || target >= limit) return std::nullopt;
      jumped = true;
      limit = target;
      i = target;
      continue;
    }
    if (length > kLabelBytesMax || message.size() - i - 1 < length) return std::nullopt;
    if (wire.size() + 1u + length > kNameBytesMax) return std::nullopt;
    wire.push_back(length);
    for (size_t k = 1; k <= length; ++k) {
      uint8_t c = message[i + k];
      wire.push_back(c >= 'A' && c <= 'Z' ? static_cast<uint8_t>(c | 0x20) : c);
    }
    i += 1u + length;
    if (length != 0) continue;
    if (!jumped) at = i;
    return Name::FromWire(wire);
  }
  return std::nullopt;
}

std::optional<MessageRecord> ReadMessageRecord(ByteView message, size_t& at) {
  MessageRecord record;
  auto owner = ReadName(message, at);
  if (!owner || message.size() - at < kRecordHeadBytes) return std::nullopt;
  const uint8_t* head = message.data() + at;
  record.owner = std::move(*owner);
  record.type = static_cast<Type>(Get16(head));
  record.rclass = Get16(head + 2);
  record.ttl = Get32(head + 4);
  record.rdata_size = Get16(head + 8);
  record.rdata_at = at + kRecordHeadBytes;
  if (message.size() - record.rdata_at < record.rdata_size) return std::nullopt;
  at = record.rdata_at + record.rdata_size;
  return record;
}

}  // namespace dns
