#include "dns/admin/ctl_server.h"

#include <algorithm>
#include <utility>

#include "dns/admin/ctl_commands.h"
#include "net/ctl/ctl_table.h"

namespace dns {
namespace {

// Replies without their newline.
std::string Line(const net::CtlReply& reply) {
  std::string line = net::CtlReplyLine(reply);
  line.pop_back();
  return line;
}

net::CtlReply Error(const std::string& why, net::CtlExit exit = net::CtlExit::kRefused) {
  return {.exit = exit, .message = why};
}

net::CtlReply Report(const std::string& json) { return {.object = json}; }

// What an order answers: "" as error is done.
net::CtlReply Result(const std::string& error, net::CtlExit exit = net::CtlExit::kRefused) {
  return error.empty() ? net::CtlReply() : Error(error, exit);
}

net::CtlReply DoCommand(Control& control, const net::CtlValues& request) {
  const std::string_view command = request.command->name;
  if (command == "states") return Report(control.StatesJson());
  if (command == "status") return Report(control.StatusJson());
  if (command == "keys") return Report(control.KeysJson());
  if (command == "stats") return Report(control.StatsJson());
  if (command == "describe") return Report(net::CtlDescription(CtlCommands()));
  if (command == "explain") {
    auto explained = control.ExplainJson(request.Text("name"), request.Text("if-down"));
    return explained ? Report(*explained) : Error(explained.error(), net::CtlExit::kNotFound);
  }
  if (command == "up" || command == "down" || command == "drain" || command == "auto") {
    Override value = command == "up"      ? Override::kUp
                     : command == "down"  ? Override::kDown
                     : command == "drain" ? Override::kDrain
                                          : Override::kNone;
    return Result(control.SetOverride(request.Text("pool"), request.Text("balancer"), value,
                                      request.Text("by")),
                  net::CtlExit::kNotFound);
  }
  if (command == "refresh" || command == "retransfer") {
    return Result(control.RefreshZone(request.Text("zone"), command == "retransfer"),
                  net::CtlExit::kNotFound);
  }
  if (command == "acme list") return Report(control.AcmeJson());
  if (command == "acme clear") {
    return Result(control.ClearAcme(request.Text("name"), request.Text("token")),
                  net::CtlExit::kNotFound);
  }
  if (command == "acme set") {
    const auto seconds = static_cast<uint32_t>(request.Number("seconds").value_or(600));
    return Result(control.SetAcme(request.Text("name"), request.Text("token"), seconds));
  }
  return Error("the command is not known: " + std::string(command), net::CtlExit::kUsage);
}

// Does it here, then at all peers; the answer says what each said.
void DoOnAll(Control& control, const net::CtlValues& request, std::string_view line,
             const std::shared_ptr<net::CtlServer::Answer>& done) {
  const net::CtlReply reply = DoCommand(control, request);
  const bool done_here = reply.exit == net::CtlExit::kDone;
  std::string error = control.OrderPeers(
      std::string(line),
      [done, done_here, own = Line(reply)](const std::vector<Control::PeerAnswer>& answers) {
        std::string object = "{\"nodes\":[{\"name\":\"this one\",\"answer\":" + own + "}";
        std::string failed = done_here ? "" : "this one";
        for (const Control::PeerAnswer& answer : answers) {
          if (answer.reply.find("\"ok\":true") == std::string::npos) {
            failed += (failed.empty() ? "" : "; ") + answer.name + ": " +
                      (answer.error.empty() ? answer.reply : answer.error);
          }
          object += ",{\"name\":\"" + answer.name + "\",\"answer\":" +
                    (answer.reply.empty() ? Line(Error(answer.error)) : answer.reply) + "}";
        }
        object += "]}";
        if (failed.empty()) return done->Finish(Report(object));
        done->Finish({.exit = net::CtlExit::kRefused,
                      .message = "not done everywhere: " + failed,
                      .object = object});
      });
  if (!error.empty()) done->Finish(Error(error));
}

}  // namespace

std::string DoFleetOrder(Control& control, const std::string& text) {
  const auto request = net::ParseCtlValues(CtlCommands(), text);
  if (!request) return Line(Error(request.error(), net::CtlExit::kUsage));
  const bool for_all = std::ranges::any_of(
      request->command->args, [](const net::CtlArg& arg) { return arg.name == "all"; });
  if (!for_all) return Line(Error("not an order for all nodes", net::CtlExit::kUsage));
  return Line(DoCommand(control, *request));
}

std::unique_ptr<net::CtlServer> MakeCtlServer(net::EventLoop& loop, Control& control,
                                              net::UniqueFd listener, UpgradeOrder upgrade) {
  auto handle = [&control, upgrade = std::move(upgrade)](
                    const net::CtlValues& request, std::string_view line,
                    const std::shared_ptr<net::CtlServer::Answer>& answer) {
    const std::string_view command = request.command->name;
    const auto finish = [answer](const std::string& error) { answer->Finish(Result(error)); };
    if (command == "upgrade") {
      upgrade(request.Text("binary"), finish);
    } else if (command == "reload") {
      control.Reload(finish);
    } else if (request.Flag("all")) {
      DoOnAll(control, request, line, answer);
    } else {
      answer->Finish(DoCommand(control, request));
    }
  };
  return std::make_unique<net::CtlServer>(loop, std::move(listener), CtlCommands(),
                                          std::move(handle));
}

}  // namespace dns
