// Whatever a node answers to a check: no crash, bounded, and the same reply however it is cut.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "net/base/check.h"
#include "net/http/http.h"

namespace {

constexpr size_t kBytesMax = 2048;

struct Outcome {
  bool complete = false;
  net::HttpReply reply;
};

Outcome Run(std::string_view bytes, size_t piece_max, bool head) {
  Outcome out;
  net::HttpResponseParser parser(kBytesMax, head);
  size_t piece = 0;
  while (!bytes.empty() && !out.complete) {
    piece = piece % piece_max + 1;
    std::string_view now = bytes.substr(0, piece);
    bytes.remove_prefix(now.size());
    auto fed = parser.Feed(now);
    if (!fed) {
      CHECK(!parser.Feed("x") && !parser.Eof());  // final
      return out;
    }
    out.complete = *fed;
  }
  if (!out.complete) out.complete = parser.Eof().has_value();
  if (out.complete) out.reply = parser.reply();
  return out;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  // Above the limit the answer depends on how much comes at once.
  if (size == 0 || size > kBytesMax) return 0;
  bool head = (data[0] & 1) != 0;
  std::string_view bytes(reinterpret_cast<const char*>(data) + 1, size - 1);
  Outcome a = Run(bytes, 3, head);
  Outcome b = Run(bytes, 50, head);
  CHECK(a.complete == b.complete);
  if (a.complete) {
    CHECK(a.reply.status >= 200 && a.reply.status <= 999);
    CHECK(a.reply.status == b.reply.status && a.reply.body == b.reply.body);
    CHECK(a.reply.headers.size() == b.reply.headers.size());
    CHECK(a.reply.body.size() <= kBytesMax);
    a.reply.Header("content-type");
  }
  return 0;
}
