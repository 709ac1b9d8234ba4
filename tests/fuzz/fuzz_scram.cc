// Both messages of a SCRAM client, parted by the first NUL. Nobody gets in who does not know the
// keys.
#include <cstdint>
#include <string>
#include <string_view>

#include "net/base/check.h"
#include "server/sasl/scram.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const std::string_view input(reinterpret_cast<const char*>(data) + 1, size - 1);
  const size_t cut = input.find('\0');
  const server::ChannelBindings bindings{.exporter = "exporter", .server_end_point = "end point"};
  server::ScramServer scram({.hash = static_cast<server::ScramHash>(data[0] % server::kScramHashes),
                             .plus = (data[0] & 64) != 0,
                             .plus_was_offered = (data[0] & 128) != 0,
                             .nonce = "nonce"},
                            &bindings);
  const auto first = scram.ReadFirst(input.substr(0, cut));
  if (!first) return 0;
  CHECK(!first->name.empty());
  const server::ScramKeys keys{
      .salt = "salt",
      .iterations = 4'096,
      .stored_key = std::string(
          server::ScramDigestBytes(static_cast<server::ScramHash>(data[0] % server::kScramHashes)),
          'k'),
      .server_key = "s"};
  scram.Challenge(keys, true);
  if (cut != std::string_view::npos) CHECK(!scram.ReadFinal(input.substr(cut + 1)));
  return 0;
}
