#include "dns/admin/ctl_server.h"

#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <future>

#include "dns/admin/ctl_commands.h"
#include "net/base/check.h"
#include "net/ctl/ctl_table.h"
#include "net/report/log.h"

namespace dns {
namespace {

constexpr int kPollMs = 250;

// Replies without their newline: SendAll() adds it.
std::string Line(const net::CtlReply& reply) {
  std::string line = net::CtlReplyLine(reply);
  line.pop_back();
  return line;
}

std::string Error(const std::string& why, net::CtlExit exit = net::CtlExit::kRefused) {
  return Line({.exit = exit, .message = why});
}

std::string Report(const std::string& json) { return Line({.object = json}); }

// What an order answers: "" as error is done.
std::string Result(const std::string& error, net::CtlExit exit = net::CtlExit::kRefused) {
  return error.empty() ? Line({}) : Error(error, exit);
}

// A line of at most `bytes_max`; nothing when the peer ends, errs or is silent for long. Reads no
// byte behind the line.
std::optional<std::string> ReadLine(int fd, size_t bytes_max = kCtlLineBytesMax) {
  std::string line;
  std::array<char, 4096> part;
  while (line.size() < bytes_max) {
    ssize_t seen = recv(fd, part.data(), part.size(), MSG_PEEK);
    if (seen < 0 && errno == EINTR) continue;
    if (seen <= 0) return std::nullopt;
    std::string_view text(part.data(), static_cast<size_t>(seen));
    size_t end = text.find('\n');
    size_t take = end == std::string_view::npos ? text.size() : end + 1;
    if (recv(fd, part.data(), take, 0) != static_cast<ssize_t>(take)) return std::nullopt;
    line.append(part.data(), take);
    if (end == std::string_view::npos) continue;
    line.pop_back();
    return line;
  }
  return std::nullopt;
}

bool SendAll(int fd, std::string_view text) {
  while (!text.empty()) {
    ssize_t sent = send(fd, text.data(), text.size(), MSG_NOSIGNAL);
    if (sent < 0 && errno == EINTR) continue;
    if (sent <= 0) return false;
    text.remove_prefix(static_cast<size_t>(sent));
  }
  return true;
}

void SetTimeouts(int fd, int seconds) {
  timeval limit{seconds, 0};
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
}

}  // namespace

std::string DoCommand(Control& control, const std::string& text) {
  auto request = net::ParseCtlValues(CtlCommands(), text);
  if (!request) return Error(request.error(), net::CtlExit::kUsage);
  const std::string_view command = request->command->name;
  if (command == "states") return Report(control.StatesJson());
  if (command == "status") return Report(control.StatusJson());
  if (command == "keys") return Report(control.KeysJson());
  if (command == "stats") return Report(control.StatsJson());
  if (command == "describe") return Report(net::CtlDescription(CtlCommands()));
  if (command == "explain") {
    auto explained = control.ExplainJson(request->Text("name"), request->Text("if-down"));
    return explained ? Report(*explained) : Error(explained.error(), net::CtlExit::kNotFound);
  }
  if (command == "up" || command == "down" || command == "drain" || command == "auto") {
    Override value = command == "up"      ? Override::kUp
                     : command == "down"  ? Override::kDown
                     : command == "drain" ? Override::kDrain
                                          : Override::kNone;
    return Result(control.SetOverride(request->Text("pool"), request->Text("balancer"), value,
                                      request->Text("by")),
                  net::CtlExit::kNotFound);
  }
  if (command == "refresh" || command == "retransfer") {
    return Result(control.RefreshZone(request->Text("zone"), command == "retransfer"),
                  net::CtlExit::kNotFound);
  }
  if (command == "acme list") return Report(control.AcmeJson());
  if (command == "acme clear") {
    return Result(control.ClearAcme(request->Text("name"), request->Text("token")),
                  net::CtlExit::kNotFound);
  }
  if (command == "acme set") {
    const auto seconds = static_cast<uint32_t>(request->Number("seconds").value_or(600));
    return Result(control.SetAcme(request->Text("name"), request->Text("token"), seconds));
  }
  return Error("the command is not known: " + std::string(command), net::CtlExit::kUsage);
}

std::string DoFleetOrder(Control& control, const std::string& text) {
  auto request = net::ParseCtlValues(CtlCommands(), text);
  bool for_all = request && std::ranges::any_of(request->command->args, [](const net::CtlArg& arg) {
                   return arg.name == "all";
                 });
  if (!for_all) return Error("not an order for all nodes", net::CtlExit::kUsage);
  return DoCommand(control, text);
}

namespace {

// Does it here, then at all peers; the answer says what each said.
void DoOnAll(Control& control, const std::string& line,
             const std::shared_ptr<std::promise<std::string>>& done) {
  std::string own = DoCommand(control, line);
  std::string error =
      control.OrderPeers(line, [done, own](const std::vector<Control::PeerAnswer>& answers) {
        std::string object = "{\"nodes\":[{\"name\":\"this one\",\"answer\":" + own + "}";
        std::string failed;
        if (own.find("\"ok\":true") == std::string::npos) failed = "this one";
        for (const Control::PeerAnswer& answer : answers) {
          bool ok = answer.reply.find("\"ok\":true") != std::string::npos;
          if (!ok) {
            failed += (failed.empty() ? "" : "; ") + answer.name + ": " +
                      (answer.error.empty() ? answer.reply : answer.error);
          }
          object += ",{\"name\":\"" + answer.name +
                    "\",\"answer\":" + (answer.reply.empty() ? Error(answer.error) : answer.reply) +
                    "}";
        }
        object += "]}";
        if (failed.empty()) {
          done->set_value(Report(object));
        } else {
          done->set_value(Line({.exit = net::CtlExit::kRefused,
                                .message = "not done everywhere: " + failed,
                                .object = object}));
        }
      });
  if (!error.empty()) done->set_value(Error(error));
}

}  // namespace

CtlServer::CtlServer(net::EventLoop& loop, Control& control, net::UniqueFd listener,
                     UpgradeOrder upgrade)
    : loop_(loop),
      control_(control),
      upgrade_(std::move(upgrade)),
      listener_(std::move(listener)) {}

CtlServer::~CtlServer() { Stop(); }

void CtlServer::Start() {
  thread_ = std::thread([this] { Run(); });
}

void CtlServer::Leave() { leaving_ = true; }

void CtlServer::Stop() {
  stop_ = true;
  if (thread_.joinable()) thread_.join();
  listener_.Reset();
}

void CtlServer::Run() {
  while (!stop_ && !leaving_) {
    pollfd waiting{listener_.get(), POLLIN, 0};
    if (poll(&waiting, 1, kPollMs) <= 0 || leaving_) continue;
    net::UniqueFd client(accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
    if (!client) continue;
    SetTimeouts(client.get(), 10);
    Serve(client.get());
  }
}

void CtlServer::Serve(int fd) {
  while (!stop_) {
    auto line = ReadLine(fd);
    if (!line || !Answer(fd, *line)) return;
  }
}

std::string CtlServer::Wait(std::future<std::string> result) {
  while (!stop_) {
    if (result.wait_for(std::chrono::milliseconds(kPollMs)) == std::future_status::ready) {
      return result.get();
    }
  }
  // What was done is worth telling, also at the end.
  if (result.wait_for(std::chrono::seconds(0)) == std::future_status::ready) return result.get();
  return Error("the server is stopping");
}

bool CtlServer::Answer(int fd, const std::string& line) {
  auto done = std::make_shared<std::promise<std::string>>();
  std::future<std::string> result = done->get_future();
  auto request = net::ParseCtlValues(CtlCommands(), line);
  if (request && request->command->name == "upgrade") {
    loop_.Post([this, done, binary = request->Text("binary")] {
      upgrade_(binary, [done](const std::string& error) { done->set_value(Result(error)); });
    });
  } else if (request && request->command->name == "reload") {
    loop_.Post([this, done] {
      control_.Reload([done](const std::string& error) { done->set_value(Result(error)); });
    });
  } else if (request && request->Flag("all")) {
    loop_.Post([this, done, line] { DoOnAll(control_, line, done); });
  } else {
    loop_.Post([this, done, line] { done->set_value(DoCommand(control_, line)); });
  }
  return SendAll(fd, Wait(std::move(result)) + "\n");
}

}  // namespace dns
