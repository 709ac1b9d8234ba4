#include "dns/admin/ctl_client.h"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <thread>

#include "dns/admin/ctl_commands.h"
#include "dns/admin/ctl_text.h"
#include "net/ctl/ctl_client.h"
#include "net/ctl/ctl_top.h"

namespace dns {
namespace {

using std::chrono::steady_clock;

constexpr const char* kStatus = "{\"v\":1,\"command\":\"status\"}\n";
constexpr const char* kStats = "{\"v\":1,\"command\":\"stats\"}\n";
constexpr const char* kStates = "{\"v\":1,\"command\":\"states\"}\n";
// An upgrade is done when another process answers.
constexpr int kUpgradeLooks = 100;
constexpr auto kUpgradeLookEvery = std::chrono::milliseconds(100);

// A live view: rates since the round before, and the states. With --json one object a line.
int Top(net::CtlClient& client) {
  double before = -1;
  auto at = steady_clock::now();
  return net::RunCtlTop(
      client,
      [&](const net::TextStyle& style, bool live) -> std::expected<std::string, std::string> {
        auto stats = client.Ask(kStats);
        if (!stats) return stats;
        auto states = client.Ask(kStates);
        if (!states) return states;
        const double all = QueriesOf(*stats);
        const auto now = steady_clock::now();
        const double seconds = std::chrono::duration<double>(now - at).count();
        const double rate = before < 0 ? 0 : (all - before) / std::max(seconds, 1e-3);
        before = all;
        at = now;
        if (client.line().json) return CtlTopJson(*stats, *states, rate) + "\n";
        return CtlTopFrame(*stats, *states, rate, style) + (live ? "\nq leaves\n" : "");
      });
}

int Upgrade(net::CtlClient& client) {
  auto before = client.Ask(kStatus);
  if (!before) return client.Fail(net::CtlExit::kNotFound, before.error());
  const double old_pid = ProcessOf(*before).pid;
  auto begun = client.Ask(net::CtlRequestLine(client.line().values));
  if (!begun) return client.Fail(net::CtlExit::kNotFound, begun.error());
  if (begun->find("\"ok\":true") == std::string::npos) return client.Finish(*begun);
  for (int look = 0; look < kUpgradeLooks; ++look) {
    std::this_thread::sleep_for(kUpgradeLookEvery);
    auto status = client.Ask(kStatus);
    if (!status) continue;
    const ProcessSeen seen = ProcessOf(*status);
    if (seen.pid == old_pid || !seen.running) continue;
    if (client.line().json) {
      std::printf("%s\n", status->c_str());
    } else {
      std::printf("taken over by process %.0f\n", seen.pid);
    }
    return static_cast<int>(net::CtlExit::kDone);
  }
  return client.Fail(net::CtlExit::kDeadline,
                     "the new process did not take over within 10 s; see its log");
}

std::optional<int> Special(net::CtlClient& client) {
  const std::string_view command = client.line().command->name;
  if (command == "top") return Top(client);
  if (command == "upgrade") return Upgrade(client);
  return std::nullopt;
}

// Who asks, for the server's log.
void Prepare(net::CtlLine& line) {
  const auto args = line.command->args;
  const bool asks = std::ranges::any_of(args, [](const auto& arg) { return arg.name == "by"; });
  if (!asks || line.values.Has("by")) return;
  const char* user = std::getenv("SUDO_USER");
  if (user == nullptr) user = std::getenv("USER");
  if (user != nullptr && *user != '\0') line.values.values["by"].text = user;
}

}  // namespace

int RunCtl(int argc, const char* const* argv) {
  const net::CtlProgram program{.name = "mongoosedns",
                                .socket = kCtlSocketDefault,
                                .commands = CtlCommands(),
                                .text = CtlAnswerText,
                                .prepare = Prepare,
                                .special = Special};
  return net::RunCtl(program, argc, argv);
}

}  // namespace dns
