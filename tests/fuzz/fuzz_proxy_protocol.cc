// The PROXY header decoder: never reads outside, gives the same answer whatever pieces come, and
// what it understood encodes to something it understands alike.
#include <cstddef>
#include <cstdint>
#include <vector>

#include "net/base/check.h"
#include "net/proxy_protocol/proxy_protocol.h"

using Status = net::ProxyDecoded::Status;

namespace {

void CheckPieces(std::span<const uint8_t> bytes, const net::ProxyDecoded& whole) {
  net::ProxyHeader header;
  size_t step = bytes.size() / 64 + 1;
  for (size_t n = 0; n < bytes.size(); n += step) {
    // A copy of its own, so that the sanitizer sees a read behind the piece.
    std::vector<uint8_t> piece(bytes.begin(), bytes.begin() + static_cast<ptrdiff_t>(n));
    net::ProxyDecoded part = net::DecodeProxyHeader(piece, header);
    if (part.status == Status::kReject) CHECK(whole.status == Status::kReject);
    if (part.status == Status::kHeader) {
      CHECK(whole.status == Status::kHeader && whole.size == part.size);
    }
    if (whole.status == Status::kHeader && n < whole.size) CHECK(part.status == Status::kNeedMore);
  }
}

void CheckRoundTrip(const net::ProxyHeader& header) {
  if (header.local) return;
  std::vector<uint8_t> out(8'192);
  net::ProxyTlvsOut tlvs;
  tlvs.more = {header.tlvs.data(), header.tlv_count};
  auto size = net::EncodeProxyV2(header.source, header.destination, tlvs, out);
  CHECK(size.has_value());
  net::ProxyHeader again;
  // A checksum that was copied over stands in another place or header: only then may it differ.
  auto decoded = net::DecodeProxyHeader({out.data(), *size}, again, {.header_max = 8'192});
  if (header.checksummed) return;
  CHECK(decoded.status == Status::kHeader && decoded.size == *size);
  CHECK(again.source == header.source && again.destination == header.destination);
  CHECK(again.tlv_count == header.tlv_count && again.authority == header.authority);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::span<const uint8_t> bytes(data, size);
  net::ProxyHeader header;
  net::ProxyDecoded decoded = net::DecodeProxyHeader(bytes, header);
  CheckPieces(bytes, decoded);
  if (decoded.status == Status::kHeader) {
    CHECK(decoded.size <= size && decoded.size <= net::kProxyHeaderMax);
    CheckRoundTrip(header);
  }
  return 0;
}
