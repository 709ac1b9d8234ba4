#include "lb/admin/ctl_client.h"

#include "lb/admin/ctl_commands.h"
#include "lb/admin/ctl_text.h"
#include "lb/admin/rolling_restart.h"
#include "net/ctl/ctl_client.h"
#include "net/ctl/ctl_top.h"

namespace lb {
namespace {

// What is printed with --json is what `list` answers, one a line.
int Top(net::CtlClient& client) {
  return net::RunCtlTop(
      client,
      [&](const net::TextStyle& style, bool live) -> std::expected<std::string, std::string> {
        auto reply = client.Ask("{\"v\":1,\"command\":\"list\"}\n");
        if (!reply) return reply;
        if (client.line().json) return *reply + "\n";
        return CtlTopFrame(*reply, style) +
               (live ? "\nq leaves; a * marks weights set by an operator\n" : "");
      });
}

std::optional<int> Special(net::CtlClient& client) {
  if (client.line().command->name == "top") return Top(client);
  if (client.line().command->name == "rolling-restart") return RunRollingRestart(client);
  return std::nullopt;
}

}  // namespace

int RunCtl(int argc, const char* const* argv) {
  const net::CtlProgram program{.name = "mongooselb",
                                .socket = kCtlSocketDefault,
                                .commands = CtlCommands(),
                                .text = CtlAnswerText,
                                .special = Special};
  return net::RunCtl(program, argc, argv);
}

}  // namespace lb
