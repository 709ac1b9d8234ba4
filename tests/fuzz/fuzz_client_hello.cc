// ClientHello from the network: never reads past the input, and says the same however it is cut.
// The first byte chooses the cut.
#include <cstdint>
#include <span>
#include <string_view>

#include "net/base/check.h"
#include "net/tls/client_hello.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  size_t piece = size_t{data[0]} + 1;
  std::span<const uint8_t> input(data + 1, size - 1);
  net::ClientHelloParser whole;
  net::ClientHelloStatus status = whole.Feed(input);
  net::ClientHelloParser cut;
  for (size_t at = 0; at < input.size(); at += piece) {
    cut.Feed(input.subspan(at, piece < input.size() - at ? piece : input.size() - at));
  }
  CHECK(cut.status() == status);
  CHECK(cut.server_name() == whole.server_name());
  CHECK(cut.alpn() == whole.alpn());
  CHECK(whole.server_name().size() <= 253);
  CHECK(whole.server_name().find('\0') == std::string_view::npos);
  CHECK(whole.alpn().size() <= net::ClientHelloParser::kAlpnMax);
  if (status != net::ClientHelloStatus::kOk) CHECK(whole.server_name().empty());
  return 0;
}
