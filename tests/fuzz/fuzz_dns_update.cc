// UPDATE messages: no read out of bounds, and nothing but challenges is ever changed.
#include <cstdint>
#include <vector>

#include "dns/update/update.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::vector<uint8_t> message(data, data + size);  // so that asan sees reads behind its end
  auto update = dns::ParseUpdate(message);
  if (!update) return 0;
  if (update->changes.size() + update->prerequisites.size() > dns::kUpdateRecordsMax) {
    __builtin_trap();
  }
  auto changes = dns::JudgeUpdate(*update, [](const dns::Name& name) {
    return name.label_count() % 2 == 0 ? std::vector<std::string>{"token"}
                                       : std::vector<std::string>{};
  });
  if (!changes) return 0;
  for (const dns::ChallengeChange& change : *changes) {
    if (!change.owner.IsWithin(update->zone)) __builtin_trap();
    if (!change.owner.ToString().starts_with("_acme-challenge.")) __builtin_trap();
    if (change.token.size() > 255) __builtin_trap();
  }
  return 0;
}
