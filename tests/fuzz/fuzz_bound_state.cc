// A session that another node sends, whatever is in it: no crash, bounded memory, and what is taken
// is written back as it is read.
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "net/base/check.h"
#include "server/c2s/bound_state.h"
#include "server/im/letters.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto number_of = [](const std::string& name) -> std::optional<uint16_t> {
    if (name == "gone") return std::nullopt;
    return static_cast<uint16_t>(name.size() % 3);
  };
  const auto name_of = [](uint16_t node) { return std::string(node, 'n'); };
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  const auto state = server::BoundState::Parse(bytes, number_of);
  if (!state) return 0;
  const std::string once = state->ToBytes(name_of, server::kLettersVersion);
  const auto again = server::BoundState::Parse(once, number_of);
  CHECK(again.has_value());
  CHECK(again->ToBytes(name_of, server::kLettersVersion) == once);
  return 0;
}
