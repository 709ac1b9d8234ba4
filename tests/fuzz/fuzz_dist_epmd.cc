// What comes back from whatever listens at epmd's port. The first byte chooses the question.
#include <cstdint>
#include <span>

#include "net/base/check.h"
#include "server/dist/epmd.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  std::span<const uint8_t> answer(data + 1, size - 1);
  if (data[0] % 3 == 0) {
    auto whole = server::ReadEpmdRegistered(answer);
    if (whole) CHECK(answer.size() >= 4);
  } else if (data[0] % 3 == 1) {
    auto port = server::ReadEpmdPort(answer);
    if (port) CHECK(port->port != 0);
  } else {
    auto names = server::ReadEpmdNames(answer);
    if (names) CHECK(names->size() <= answer.size());
  }
  return 0;
}
