// Whatever a client sends: no crash, and the same requests however the network cuts the bytes.
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

#include "net/base/check.h"
#include "net/http/http.h"

namespace {

// Cuts the input into pieces of 1, 2, ... `piece_max` bytes, again and again.
std::vector<net::HttpRequest> Run(std::string_view bytes, size_t piece_max) {
  std::vector<net::HttpRequest> out;
  net::HttpRequestParser parser({.header_bytes_max = 512, .body_bytes_max = 512});
  size_t piece = 0;
  while (!bytes.empty()) {
    piece = piece % piece_max + 1;
    std::string_view now = bytes.substr(0, piece_max > 64 ? bytes.size() : piece);
    bytes.remove_prefix(now.size());
    if (!parser.Feed(now)) return out;
    while (true) {
      auto next = parser.Next();
      if (!next) {
        CHECK(net::StatusOf(next.error()) >= 400);
        CHECK(!parser.Next());  // final
        return out;
      }
      if (!*next) break;
      CHECK((*next)->body.size() <= 512);
      out.push_back(std::move(**next));
    }
    parser.TakeContinue();
  }
  return out;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size > 16'384) return 0;
  std::string_view bytes(reinterpret_cast<const char*>(data), size);
  auto whole = Run(bytes, 65);
  auto pieces = Run(bytes, 7);
  // One may see a mistake while the other still waits for the end of its line; what was accepted
  // before it is the same.
  CHECK(whole.size() == pieces.size());
  for (size_t i = 0; i < whole.size(); ++i) {
    const net::HttpRequest& a = whole[i];
    const net::HttpRequest& b = pieces[i];
    CHECK(a.method == b.method && a.target == b.target && a.body == b.body);
    CHECK(a.headers.size() == b.headers.size() && a.keep_alive == b.keep_alive);
    CHECK(a.path == "*" || a.path.starts_with('/'));
    CHECK(a.path.find("/../") == std::string::npos);
    a.QueryValue("key");
    net::HttpResponse response;
    response.headers.push_back({"X-Echo", a.target});
    std::string text = net::SerializeResponse(response, a);
    CHECK(text.find("\r\n\r\n") == text.size() - 4);
  }
  return 0;
}
