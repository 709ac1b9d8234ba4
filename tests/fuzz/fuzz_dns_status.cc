// Any bytes as a balancer's status and as a state file: read or refused, never more.
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "dns/control/state_file.h"
#include "dns/pool/health.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::string_view text(reinterpret_cast<const char*>(data), size);
  auto status = dns::ReadStatus(text);
  if (status && !(status->warm_up >= 0.0 && status->warm_up <= 1.0)) std::abort();
  auto state = dns::ReadState(text);
  if (state && !dns::ReadState(dns::WriteState(*state))) std::abort();
  return 0;
}
