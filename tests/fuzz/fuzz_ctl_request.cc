// Whatever comes over the control socket: no crash, and what is accepted is within its bounds.
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "lb/admin/ctl_commands.h"
#include "lb/admin/ctl_text.h"
#include "net/base/check.h"
#include "net/ctl/ctl_line.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view line(reinterpret_cast<const char*>(data), size);
  auto request = lb::ParseCtlRequest(line);
  if (request) {
    CHECK(size <= lb::kCtlLineMax);
    CHECK(lb::FindCtlCommand(request->command->name) == request->command);
    CHECK(!request->rate || (*request->rate >= 0 && *request->rate <= lb::kCtlRateMax));
    CHECK(!request->deadline_s ||
          (*request->deadline_s >= 0 && *request->deadline_s <= lb::kCtlSecondsMax));
    CHECK(!request->weight || *request->weight <= lb::kCtlWeightMax);
    CHECK(!net::CtlValuesText(*net::ParseCtlValues(lb::CtlCommands(), line)).empty());
  } else {
    CHECK(!request.error().empty());
    // Errors go to terminals and logs.
    for (char c : request.error()) CHECK(static_cast<unsigned char>(c) >= 0x20);
  }
  // The client shows answers of balancers of any version.
  for (std::string_view command : {"list", "explain", "why", "stats", "describe"}) {
    const std::string text = lb::CtlAnswerText(command, line, {});
    for (char c : text) CHECK(c == '\n' || static_cast<unsigned char>(c) >= 0x20);
  }
  net::CtlErrorText(line);
  net::CtlProgressText(line);
  return 0;
}
