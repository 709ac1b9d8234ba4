// Whatever stands in vm.args: no crash, no endless nesting, and errors that can be printed.
#include <cstddef>
#include <cstdint>
#include <string>

#include "net/base/check.h"
#include "server/config/vm_args.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string text(reinterpret_cast<const char*>(data), size);
  const auto [args, errors] = server::ReadVmArgs(
      {"etc/vm.args"}, [&text](const std::string&) { return std::optional(text); });
  CHECK(errors.size() <= server::kVmArgsErrorsMax + 2);
  for (const net::ConfigError& error : errors) {
    for (char c : error.what + error.remedy) CHECK(static_cast<unsigned char>(c) >= 0x20);
  }
  if (errors.empty()) {
    CHECK(!args.name.empty() && !args.cookie.empty());
    CHECK(args.listen_min <= args.listen_max);
    CHECK(server::MaxPortsOf(args, nullptr).has_value());
  }
  return 0;
}
