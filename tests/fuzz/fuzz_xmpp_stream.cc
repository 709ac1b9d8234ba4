// A client's stream: however it is cut, and whether or not the parser rests between stanzas, the
// same is told; and what was read is written so that it reads the same. The first byte chooses the
// cut.
#include <cstdint>
#include <string>
#include <string_view>

#include "net/base/check.h"
#include "server/xmpp/stream_reader.h"

namespace {

using server::kClientSpace;

class Told final : public server::StreamHost {
 public:
  std::string words;

  bool OnOpening(const server::StreamOpening& opening) override {
    words += std::string("opening ") + std::string(opening.to) + '\n';
    return true;
  }
  bool OnStanza(server::Stanza& stanza) override {
    std::string once;
    stanza.root().AppendTo(once, kClientSpace);
    const auto again = server::ParseStanza(once, kClientSpace);
    CHECK(again.has_value());
    std::string twice;
    again->root().AppendTo(twice, kClientSpace);
    CHECK(once == twice);
    words += once + '\n';
    return true;
  }
  void OnStreamEnd() override { words += "end\n"; }
};

std::string Read(std::string_view input, size_t piece, bool rests) {
  const server::StreamLimits limits{.opening_bytes = 512, .stanza_bytes = 2'048, .depth = 12};
  Told told;
  server::StreamReader reader(&told, &limits);
  for (size_t at = 0; at < input.size(); at += piece) {
    const auto fed = reader.Feed(input.substr(at, piece));
    if (fed.error != net::StreamError::kNone || fed.stopped) break;
    if (rests) reader.Rest();
  }
  return told.words;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0 || size > 512) return 0;  // below the limits, which depend on the cut
  const std::string_view input(reinterpret_cast<const char*>(data) + 1, size - 1);
  const size_t piece = (data[0] & 63U) + 1;
  const std::string whole = Read(input, input.size() + 1, false);
  CHECK(Read(input, piece, false) == whole);
  CHECK(Read(input, piece, true) == whole);
  return 0;
}
