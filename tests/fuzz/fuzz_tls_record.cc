// The record layer under a peer that holds the right keys and does what it likes. The input is a
// program: each step seals a record of some type, length and padding, may damage it, and says how
// the stream is cut. What is given out must be what was sent.
#include <algorithm>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "net/base/check.h"
#include "net/tls/record/tls_record_layer.h"
#include "tests/fuzz/fuzz_input.h"

namespace {

using Bytes = std::vector<uint8_t>;

net::TlsRecordPool& Pool() {
  static std::unique_ptr<net::TlsRecordPool> pool = std::move(*net::TlsRecordPool::Create());
  return *pool;
}

struct Peer {
  net::TlsRecordState state;
  Bytes wire;
  Bytes sent;         // application data in genuine records
  bool clean = true;  // nothing damaged or out of step so far

  void Seal(int type, const Bytes& content, size_t padding) {
    Bytes record(content.size() + padding + net::kTlsRecordOverhead);
    std::span<const uint8_t> part(content);
    net::TlsInput input(std::span(&part, 1));
    size_t n = net::SealTlsRecord(Pool(), &state, static_cast<net::TlsContentType>(type), &input,
                                  content.size(), padding, record);
    CHECK(n == record.size());
    wire.insert(wire.end(), record.begin(), record.end());
    if (type == 23 && clean) sent.insert(sent.end(), content.begin(), content.end());
  }

  void Step(FuzzInput& input) {
    switch (input.Byte() % 8) {
      case 0:
      case 1:
        return Seal(23, input.Take(input.Byte()), input.Byte() % 32);
      case 2:
        return Seal(23, Bytes(size_t{input.Byte()} * 64, 'd'), 0);
      case 3:
        Seal(22, {24, 0, 0, 1, static_cast<uint8_t>(input.Byte() & 1)}, input.Byte() % 4);
        CHECK(net::NextTlsKey(Pool(), state.suite, &state.tx));
        return;
      case 4:
        return Seal(22, input.Take(input.Byte() % 16), 0);
      case 5:
        // Type 0 is padding: the last byte of the content would be taken for the type.
        return Seal(std::max<int>(1, input.Byte()), input.Take(input.Byte() % 16), 0);
      case 6: {
        Bytes raw = input.Take(input.Byte() % 32);
        wire.insert(wire.end(), raw.begin(), raw.end());
        if (!raw.empty()) clean = false;
        return;
      }
      default:
        if (wire.empty()) return;
        wire[wire.size() - 1 - input.Byte() % wire.size()] ^= 1;
        clean = false;
    }
  }
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 2) return 0;
  FuzzInput input(data, size);
  auto suite = static_cast<net::TlsSuite>(input.Byte() % 3);
  bool client = (input.Byte() & 1) != 0;
  Bytes to(net::TlsSecretBytes(suite), 1);
  Bytes from(net::TlsSecretBytes(suite), 2);
  net::TlsRecordLayer layer;
  Peer peer;
  CHECK(layer.Start(Pool(), suite, client, to, from, 0, 0, net::kTlsMaxPlaintext));
  CHECK(net::StartTlsRecords(Pool(), suite, !client, from, to, &peer.state));
  Bytes got;
  auto feed = [&](std::span<uint8_t> piece) {
    net::TlsPlaintext plain;
    layer.Feed(Pool(), piece, &plain);
    CHECK(plain.count <= net::TlsPlaintext::kMaxSpans);
    size_t bytes = 0;
    for (std::span<uint8_t> span : plain.view()) {
      bytes += span.size();
      got.insert(got.end(), span.begin(), span.end());
    }
    CHECK(bytes == plain.bytes);
    Bytes out(64);
    layer.Flush(Pool(), out);
    CHECK(!layer.wants_output());
  };
  while (!input.empty() && got.size() < (1u << 15)) {
    peer.Step(input);
    size_t piece = size_t{input.Byte()} * 8 + 1;
    while (peer.wire.size() >= piece) {
      Bytes head(peer.wire.begin(), peer.wire.begin() + static_cast<long>(piece));
      peer.wire.erase(peer.wire.begin(), peer.wire.begin() + static_cast<long>(piece));
      feed(head);
    }
  }
  feed(peer.wire);
  // Nothing but genuine data, in order, from the beginning.
  size_t same = std::min(got.size(), peer.sent.size());
  CHECK(got.size() <= peer.sent.size() || !peer.clean);
  CHECK(std::equal(got.begin(), got.begin() + static_cast<long>(same), peer.sent.begin()));
  if (layer.status() == net::TlsRecordStatus::kOpen && peer.clean) CHECK(got == peer.sent);
  layer.End(Pool());
  CHECK(Pool().staging_in_use() == 0);
  return 0;
}
