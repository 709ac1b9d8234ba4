#include "server/dist/term_writer.h"

#include <bit>

#include "net/base/byte_reader.h"
#include "net/base/byte_writer.h"
#include "server/dist/term_format.h"

namespace server {
namespace {

using net::AppendBytes;
using net::AppendNumber;
namespace tf = term_format;

constexpr size_t kSmall = 256;  // what one byte counts to

bool Continues(char byte) { return (static_cast<uint8_t>(byte) & 0xc0U) == 0x80; }

// The first kAtomCharactersMax characters.
std::string_view CutAtom(std::string_view text) {
  if (text.size() <= kAtomCharactersMax) return text;
  size_t characters = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    if (!Continues(text[i]) && ++characters > kAtomCharactersMax) return text.substr(0, i);
  }
  return text;
}

void PutTag(TermBuffer* out, tf::Tag tag) { out->push_back(tag); }

}  // namespace

void PutVersion(TermBuffer* out) { out->push_back(kTermVersion); }

void PutAtom(TermBuffer* out, std::string_view text) {
  text = CutAtom(text);
  if (text.size() < kSmall) {
    PutTag(out, tf::kSmallAtomUtf8);
    AppendNumber(out, text.size(), 1);
  } else {
    PutTag(out, tf::kAtomUtf8);
    AppendNumber(out, text.size(), 2);
  }
  AppendBytes(out, net::BytesOf(text));
}

void PutInteger(TermBuffer* out, int64_t value) {
  if (value >= 0 && value < static_cast<int64_t>(kSmall)) {
    PutTag(out, tf::kSmallInteger);
    out->push_back(static_cast<uint8_t>(value));
  } else if (value >= INT32_MIN && value <= INT32_MAX) {
    PutTag(out, tf::kInteger);
    AppendNumber(out, static_cast<uint32_t>(static_cast<int32_t>(value)), 4);
  } else {
    uint64_t magnitude = static_cast<uint64_t>(value);
    if (value < 0) magnitude = uint64_t{0} - magnitude;
    PutTag(out, tf::kSmallBig);
    out->push_back(8);
    out->push_back(value < 0 ? 1 : 0);
    for (int i = 0; i < 8; ++i) out->push_back(static_cast<uint8_t>(magnitude >> (8 * i)));
  }
}

void PutUnsigned(TermBuffer* out, uint64_t value) {
  if (value <= INT64_MAX) return PutInteger(out, static_cast<int64_t>(value));
  PutTag(out, tf::kSmallBig);
  out->push_back(8);
  out->push_back(0);
  for (int i = 0; i < 8; ++i) out->push_back(static_cast<uint8_t>(value >> (8 * i)));
}

void PutFloat(TermBuffer* out, double value) {
  PutTag(out, tf::kNewFloat);
  AppendNumber(out, std::bit_cast<uint64_t>(value), 8);
}

void PutBinary(TermBuffer* out, std::span<const uint8_t> bytes) {
  PutTag(out, tf::kBinary);
  AppendNumber(out, bytes.size(), 4);
  AppendBytes(out, bytes);
}

void PutTuple(TermBuffer* out, uint32_t arity) {
  if (arity < kSmall) {
    PutTag(out, tf::kSmallTuple);
    AppendNumber(out, arity, 1);
  } else {
    PutTag(out, tf::kLargeTuple);
    AppendNumber(out, arity, 4);
  }
}

void PutNil(TermBuffer* out) { PutTag(out, tf::kNil); }

void PutList(TermBuffer* out, uint32_t elements) {
  if (elements == 0) return PutNil(out);
  PutTag(out, tf::kList);
  AppendNumber(out, elements, 4);
}

void PutMap(TermBuffer* out, uint32_t pairs) {
  PutTag(out, tf::kMap);
  AppendNumber(out, pairs, 4);
}

void PutString(TermBuffer* out, std::string_view utf8) {
  if (utf8.empty()) return PutNil(out);
  std::vector<int64_t> characters;
  bool bytes_only = utf8.size() <= UINT16_MAX;
  for (size_t i = 0; i < utf8.size();) {
    const auto lead = static_cast<uint8_t>(utf8[i]);
    size_t size = 1;
    while (size < 4 && i + size < utf8.size() && Continues(utf8[i + size])) ++size;
    int64_t code = size == 1 ? lead : lead & (0x7fU >> size);
    for (size_t k = 1; k < size; ++k) code = code << 6 | (static_cast<uint8_t>(utf8[i + k]) & 0x3f);
    bytes_only = bytes_only && code < static_cast<int64_t>(kSmall);
    characters.push_back(code);
    i += size;
  }
  if (bytes_only) {
    PutTag(out, tf::kString);
    AppendNumber(out, characters.size(), 2);
    for (int64_t code : characters) out->push_back(static_cast<uint8_t>(code));
    return;
  }
  PutList(out, static_cast<uint32_t>(characters.size()));
  for (int64_t code : characters) PutInteger(out, code);
  PutNil(out);
}

void PutRaw(TermBuffer* out, std::span<const uint8_t> term) { AppendBytes(out, term); }

void PutPid(TermBuffer* out, std::string_view node, Pid pid, uint32_t creation) {
  PutTag(out, tf::kNewPid);
  PutAtom(out, node);
  AppendNumber(out, pid.id, 4);
  AppendNumber(out, pid.serial, 4);
  AppendNumber(out, creation, 4);
}

void PutReference(TermBuffer* out, std::string_view node, const Reference& reference,
                  uint32_t creation) {
  PutTag(out, tf::kNewerReference);
  AppendNumber(out, reference.size(), 2);
  PutAtom(out, node);
  AppendNumber(out, creation, 4);
  for (uint32_t word : reference) AppendNumber(out, word, 4);
}

}  // namespace server
