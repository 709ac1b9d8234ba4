// The server's own handshake under arbitrary bytes in arbitrary pieces. The first byte of the input
// says how the rest is cut. However it is, the outcome is the same; what is declined is whole and
// unchanged, and nothing has been said about it.
#include <algorithm>
#include <cstdint>
#include <span>

#include "net/base/check.h"
#include "tests/fuzz/tls_handshake_target.h"

namespace {

using net::Bytes;
using net::TlsHandshakeStep;

net::TlsHandshakeTarget& Target() {
  static net::TlsHandshakeTarget target;
  return target;
}

struct Run {
  net::TlsHandshake handshake{Target().plan()};
  TlsHandshakeStep step = TlsHandshakeStep::kNeedMore;
  Bytes said;
  Bytes given;  // all that was fed

  // Until the bytes are used up or the handshake has ended.
  void Feed(std::span<const uint8_t> bytes, size_t piece) {
    while (!bytes.empty() && !over()) {
      const size_t size = std::min(piece, bytes.size());
      Bytes copy(bytes.begin(), bytes.begin() + static_cast<long>(size));  // no byte behind it
      bytes = bytes.subspan(size);
      given.insert(given.end(), copy.begin(), copy.end());
      std::span<uint8_t> in(copy);
      const size_t before = said.size();
      const TlsHandshakeStep next = handshake.Feed(Target().handshaker(), &in, &said);
      Check(next, in, before);
      step = next;
    }
  }
  bool over() const {
    return step == TlsHandshakeStep::kDeclined || step == TlsHandshakeStep::kFailed;
  }

 private:
  void Check(TlsHandshakeStep next, std::span<const uint8_t> in, size_t before) {
    switch (next) {
      case TlsHandshakeStep::kNeedMore:
        CHECK(in.empty() && said.size() == before);
        break;
      case TlsHandshakeStep::kDeclined: {
        CHECK(said.empty());
        Bytes all = handshake.received();
        all.insert(all.end(), in.begin(), in.end());
        CHECK(all == given);
        break;
      }
      case TlsHandshakeStep::kAnswered:
        CHECK(before == 0 && in.empty() && handshake.received().empty());
        CheckAnswer();
        break;
      case TlsHandshakeStep::kDone:
        CHECK(false);  // nobody here has the keys
        break;
      case TlsHandshakeStep::kFailed:
        CHECK(!handshake.error().empty());
        if (before == 0) CHECK(said == (Bytes{21, 3, 3, 0, 2, 2, 51}));  // a forged binder
        break;
    }
  }
  // What was chosen had been offered.
  void CheckAnswer() const {
    const auto hello = net::ParseTlsHello(std::span(given).subspan(net::kTlsHeaderBytes));
    CHECK(hello.has_value());
    const auto answer = net::ReadServerHello(said);
    CHECK(answer.has_value() && answer->group == 29 && answer->share.size() == 32);
    CHECK(net::TlsHello::Has(hello->suites, static_cast<uint16_t>(answer->suite)));
    CHECK(!answer->psk.has_value() || !hello->identities.empty());
    const auto echo = std::span(answer->message).subspan(4 + 2 + 32);
    CHECK(echo[0] == hello->session_id.size());
    CHECK(std::ranges::equal(echo.subspan(1, echo[0]), hello->session_id));
  }
};

void CheckOver(Run& run, std::span<const uint8_t> bytes) {
  if (!run.over()) return;
  const size_t before = run.said.size();
  Bytes more(bytes.begin(), bytes.end());
  std::span<uint8_t> in(more);
  CHECK(run.handshake.Feed(Target().handshaker(), &in, &run.said) == TlsHandshakeStep::kFailed);
  CHECK(run.said.size() == before);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 2) return 0;
  const size_t piece = size_t{data[0]} * 4 + 1;
  const std::span<const uint8_t> bytes(data + 1, size - 1);
  // Up to the end of the first record: what lies behind it counts only if it comes with it.
  size_t first = bytes.size();
  if (first > net::kTlsHeaderBytes) {
    first = std::min<size_t>(first, net::kTlsHeaderBytes + (size_t{bytes[3]} << 8 | bytes[4]));
  }
  Run at_once;
  at_once.Feed(bytes.first(first), SIZE_MAX);
  Run cut;
  cut.Feed(bytes.first(first), piece);
  CHECK(cut.step == at_once.step);
  CHECK(cut.handshake.declined() == at_once.handshake.declined());
  CHECK(cut.said.empty() == at_once.said.empty());
  if (first < bytes.size()) {
    Run together;
    together.Feed(bytes, SIZE_MAX);
    CHECK(together.step == TlsHandshakeStep::kDeclined);
    at_once.Feed(bytes.subspan(first), SIZE_MAX);
    cut.Feed(bytes.subspan(first), piece);
    CHECK(cut.over() == at_once.over());
    CHECK(cut.handshake.error() == at_once.handshake.error());
  }
  CheckOver(at_once, bytes);
  CheckOver(cut, bytes);
  Target().handshaker().EndTurn();
  return 0;
}
