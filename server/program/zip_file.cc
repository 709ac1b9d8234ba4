#include "server/program/zip_file.h"

#include <array>

namespace server {
namespace {

constexpr std::array<uint32_t, 256> MakeTable() {
  std::array<uint32_t, 256> table{};
  for (uint32_t byte = 0; byte < table.size(); ++byte) {
    uint32_t value = byte;
    for (int bit = 0; bit < 8; ++bit) {
      value = (value >> 1U) ^ ((value & 1U) != 0 ? 0xEDB88320U : 0U);
    }
    table[byte] = value;
  }
  return table;
}
constexpr std::array<uint32_t, 256> kTable = MakeTable();

constexpr uint32_t kLocal = 0x04034b50;
constexpr uint32_t kCentral = 0x02014b50;
constexpr uint32_t kEnd = 0x06054b50;
constexpr uint32_t kVersion = 20;
constexpr uint32_t kUtf8Names = 1U << 11U;
constexpr uint32_t kFirstDay = 0x21;  // 1980-01-01: no time is told

// Little-endian.
void Put(std::string& out, uint32_t value, int bytes) {
  for (int i = 0; i < bytes; ++i, value >>= 8U) out += static_cast<char>(value & 0xFFU);
}

// What both headers of a member have, from the version that is needed to the length of its name.
void PutMember(std::string& out, const ZipMember& member, uint32_t crc) {
  const auto size = static_cast<uint32_t>(member.second.size());
  Put(out, kVersion, 2);
  Put(out, kUtf8Names, 2);
  Put(out, 0, 2);  // stored
  Put(out, 0, 2);
  Put(out, kFirstDay, 2);
  Put(out, crc, 4);
  Put(out, size, 4);
  Put(out, size, 4);
  Put(out, static_cast<uint32_t>(member.first.size()), 2);
  Put(out, 0, 2);  // nothing more
}

}  // namespace

uint32_t Crc32(std::string_view bytes) {
  uint32_t crc = ~0U;
  for (const char byte : bytes) {
    crc = kTable[(crc ^ static_cast<unsigned char>(byte)) & 0xFFU] ^ (crc >> 8U);
  }
  return ~crc;
}

std::string ZipOf(const std::vector<ZipMember>& members) {
  std::string out;
  std::string central;
  for (const ZipMember& member : members) {
    const uint32_t crc = Crc32(member.second);
    const auto at = static_cast<uint32_t>(out.size());
    Put(out, kLocal, 4);
    PutMember(out, member, crc);
    (out += member.first) += member.second;
    Put(central, kCentral, 4);
    Put(central, kVersion, 2);
    PutMember(central, member, crc);
    for (const int bytes : {2, 2, 2, 4}) Put(central, 0, bytes);  // no comment, disk, attributes
    Put(central, at, 4);
    central += member.first;
  }
  const auto at = static_cast<uint32_t>(out.size());
  out += central;
  Put(out, kEnd, 4);
  Put(out, 0, 4);  // the only disk
  Put(out, static_cast<uint32_t>(members.size()), 2);
  Put(out, static_cast<uint32_t>(members.size()), 2);
  Put(out, static_cast<uint32_t>(central.size()), 4);
  Put(out, at, 4);
  Put(out, 0, 2);
  return out;
}

}  // namespace server
