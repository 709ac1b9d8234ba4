// Transfers of a primary, whole and as differences: no read out of bounds, no zone above its bound,
// and what is taken is a zone without mistakes. The input: a byte that says whether there is a zone
// already, then messages, each behind its size.
#include <cstdint>
#include <vector>

#include "dns/zone/transfer_reader.h"

namespace {

constexpr size_t kSizeMax = 64 << 10;

std::shared_ptr<const dns::Zone> Known(const dns::Name& apex) {
  auto zone = dns::MakeZone(apex);
  dns::Bytes soa(22);
  dns::SetSoaSerial(soa, 5);
  for (const auto& [type, rdata] :
       {std::pair{dns::Type::kSoa, soa}, std::pair{dns::Type::kNs, dns::Bytes(1)},
        std::pair{dns::Type::kA, dns::Bytes{192, 0, 2, 1}}}) {
    if (!dns::AddRecord(*zone, {apex, type, 60, rdata})) __builtin_trap();
  }
  return zone;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  dns::Name apex = *dns::Name::FromText("example.org.");
  dns::TransferReader reader(apex, 0, (data[0] & 1) != 0 ? Known(apex) : nullptr, kSizeMax);
  for (size_t at = 1; size - at >= 2;) {
    size_t length = dns::Get16(data + at);
    at += 2;
    if (size - at < length) return 0;
    std::vector<uint8_t> message(data + at, data + at + length);  // asan sees reads behind its end
    at += length;
    auto step = reader.Take(message);
    if (!step) return 0;
    if (*step == dns::TransferReader::Step::kMore) continue;
    auto zone = reader.Finish();
    if (!zone || *zone == nullptr) return 0;
    size_t bytes = 0;
    for (const auto& [name, sets] : (*zone)->names) {
      if (!name.IsWithin(apex)) __builtin_trap();
      for (const auto& [type, set] : sets) {
        for (const dns::Bytes& rdata : set.rdatas) bytes += name.size() + rdata.size();
      }
    }
    if (bytes > kSizeMax || !dns::FindMistakes(**zone).empty()) __builtin_trap();
    return 0;
  }
  return 0;
}
