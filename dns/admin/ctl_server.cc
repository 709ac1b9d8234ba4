#include "dns/admin/ctl_server.h"

#include <poll.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <future>
#include <nlohmann/json.hpp>

#include "dns/admin/ctl_commands.h"
#include "net/base/check.h"
#include "net/ctl/ctl_table.h"
#include "net/report/log.h"

extern char** environ;

namespace dns {
namespace {

using Json = nlohmann::json;

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

std::string Text(const Json& request, const char* key) {
  auto it = request.find(key);
  return it != request.end() && it->is_string() ? it->get<std::string>() : std::string();
}

// Replies may be long: the states of many balancers.
constexpr size_t kReplyBytesMax = 16 << 20;

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

std::expected<net::UniqueFd, std::string> ConnectUnix(const std::string& path) {
  net::UniqueFd fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (path.size() > net::kUnixPathMax) return std::unexpected(path + ": is too long");
  net::SocketName name = net::SocketName::Unix(path);
  if (!fd || connect(fd.get(), name.get(), name.size()) != 0) {
    return std::unexpected(path + ": " + std::strerror(errno) +
                           "; is mongoosedns running, and is this its ctl_socket?");
  }
  SetTimeouts(fd.get(), 30);
  return fd;
}

// Starts the new program, which takes over by itself.
std::string StartUpgrade(const Control& control, std::string binary) {
  if (binary.empty()) binary = "/proc/self/exe";
  std::string file = control.config().path;
  std::string socket = control.config().ctl_socket;
  std::string run = "run";
  std::string flag = "--takeover";
  char* arguments[] = {binary.data(), run.data(), file.data(), flag.data(), socket.data(), nullptr};
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  sigset_t none;
  sigemptyset(&none);
  posix_spawnattr_setsigmask(&attributes, &none);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK);
  pid_t pid = 0;
  int error = posix_spawn(&pid, binary.c_str(), nullptr, &attributes, arguments, environ);
  posix_spawnattr_destroy(&attributes);
  return error == 0 ? "" : binary + ": " + std::strerror(error);
}

}  // namespace

std::string DoCommand(Control& control, const std::string& text) {
  auto request = net::ParseCtlValues(CtlCommands(), text);
  if (!request) return Error(request.error(), net::CtlExit::kUsage);
  const std::string_view command = request->command->name;
  if (command == "states") return Report(control.StatesJson());
  if (command == "status") return Report(control.StatusJson());
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
  if (command == "reload") return Result(control.Reload());
  if (command == "upgrade") return Result(StartUpgrade(control, request->Text("binary")));
  if (command == "acme set") {
    const auto seconds = static_cast<uint32_t>(request->Number("seconds").value_or(600));
    return Result(control.SetAcme(request->Text("name"), request->Text("token"), seconds));
  }
  return Error("the command is not known: " + std::string(command), net::CtlExit::kUsage);
}

CtlServer::CtlServer(net::EventLoop& loop, Control& control, std::string path,
                     net::Task handed_over)
    : loop_(loop),
      control_(control),
      path_(std::move(path)),
      handed_over_(std::move(handed_over)) {}

CtlServer::~CtlServer() { Stop(); }

std::string CtlServer::Start() {
  net::SocketName name = net::SocketName::Unix(path_);
  auto fd = net::Listen(name.get(), name.size(), {.backlog = 16, .unix_mode = 0600});
  if (!fd) return fd.error();
  listener_ = std::move(*fd);
  thread_ = std::thread([this] { Run(); });
  return "";
}

void CtlServer::Stop() {
  bool owned = static_cast<bool>(listener_);
  stop_ = true;
  if (thread_.joinable()) thread_.join();
  if (owned && listener_) {
    listener_.Reset();
    unlink(path_.c_str());
  }
}

void CtlServer::Run() {
  while (!stop_) {
    pollfd waiting{listener_.get(), POLLIN, 0};
    if (poll(&waiting, 1, kPollMs) <= 0) continue;
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

std::string CtlServer::OnLoop(std::move_only_function<std::string()> task) {
  auto done = std::make_shared<std::promise<std::string>>();
  std::future<std::string> result = done->get_future();
  loop_.Post([done, task = std::move(task)]() mutable { done->set_value(task()); });
  while (!stop_) {
    if (result.wait_for(std::chrono::milliseconds(kPollMs)) == std::future_status::ready) {
      return result.get();
    }
  }
  return Error("the server is stopping");
}

bool CtlServer::Answer(int fd, const std::string& line) {
  Json request = Json::parse(line, nullptr, false);
  std::string command = request.is_object() ? Text(request, "command") : std::string();
  if (command == "takeover") {
    HandOver(fd);
    return true;
  }
  if (command == "taken") {
    // The path is the new process's to bind from here on.
    listener_.Reset();
    unlink(path_.c_str());
    SendAll(fd, "{\"ok\":true}\n");
    stop_ = true;
    loop_.Post([this] { handed_over_(); });
    return false;
  }
  std::string reply = OnLoop([this, line] { return DoCommand(control_, line); });
  return SendAll(fd, reply + "\n");
}

void CtlServer::HandOver(int fd) {
  // Shared with the task, which may run after we have given up waiting.
  struct Handed {
    InheritedSockets sockets;
    std::string state;
  };
  auto handed = std::make_shared<Handed>();
  std::string why = OnLoop([this, handed] {
    handed->sockets = control_.ShareSockets();
    handed->state = control_.HandOverJson();
    return std::string();
  });
  const InheritedSockets& shared = handed->sockets;
  const std::string& state = handed->state;
  size_t count = shared.udp.size() + shared.tcp.size();
  if (!why.empty() || count > kTakeOverSocketsMax) {
    SendAll(fd, (why.empty() ? Error("too many sockets to hand over") : why) + "\n");
    return;
  }
  Json sockets = Json::array();
  std::vector<int> fds;
  for (const auto& udp : shared.udp) {
    sockets.push_back({{"kind", "udp"}, {"address", udp.local.ToString()}});
    fds.push_back(udp.fd.get());
  }
  for (const auto& tcp : shared.tcp) {
    sockets.push_back({{"kind", tcp.tls ? "tls" : "tcp"}, {"address", tcp.local.ToString()}});
    fds.push_back(tcp.fd.get());
  }
  // The descriptors travel with the first byte of the reply.
  std::string reply = Json{{"ok", true}, {"sockets", sockets}, {"state", state}}.dump() + "\n";
  std::vector<uint8_t> control(CMSG_SPACE(fds.size() * sizeof(int)));
  iovec first{reply.data(), 1};
  msghdr message{};
  message.msg_iov = &first;
  message.msg_iovlen = 1;
  message.msg_control = control.data();
  message.msg_controllen = control.size();
  cmsghdr* header = CMSG_FIRSTHDR(&message);
  header->cmsg_level = SOL_SOCKET;
  header->cmsg_type = SCM_RIGHTS;
  header->cmsg_len = CMSG_LEN(fds.size() * sizeof(int));
  std::memcpy(CMSG_DATA(header), fds.data(), fds.size() * sizeof(int));
  if (sendmsg(fd, &message, MSG_NOSIGNAL) == 1) {
    SendAll(fd, std::string_view(reply).substr(1));
  }
}

std::expected<TakeOver, std::string> TakeOver::Begin(const std::string& path) {
  auto fd = ConnectUnix(path);
  if (!fd) return std::unexpected(fd.error());
  TakeOver result;
  result.fd_ = std::move(*fd);
  if (!SendAll(result.fd_.get(), "{\"command\":\"takeover\"}\n")) {
    return std::unexpected("the running server does not listen");
  }
  char first = 0;
  iovec vector{&first, 1};
  alignas(cmsghdr) std::array<uint8_t, CMSG_SPACE(kTakeOverSocketsMax * sizeof(int))> control;
  msghdr message{};
  message.msg_iov = &vector;
  message.msg_iovlen = 1;
  message.msg_control = control.data();
  message.msg_controllen = control.size();
  if (recvmsg(result.fd_.get(), &message, MSG_CMSG_CLOEXEC) != 1) {
    return std::unexpected("the running server does not answer");
  }
  std::vector<net::UniqueFd> fds;
  for (cmsghdr* header = CMSG_FIRSTHDR(&message); header != nullptr;
       header = CMSG_NXTHDR(&message, header)) {
    if (header->cmsg_type != SCM_RIGHTS) continue;
    size_t count = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (size_t i = 0; i < count; ++i) {
      int received;
      std::memcpy(&received, CMSG_DATA(header) + i * sizeof(int), sizeof received);
      fds.emplace_back(received);
    }
  }
  auto rest = ReadLine(result.fd_.get(), kReplyBytesMax);
  Json reply = Json::parse(first + rest.value_or(""), nullptr, false);
  if (!reply.is_object() || !reply.value("ok", false)) {
    return std::unexpected("the running server refuses: " + (rest ? first + *rest : "no reply"));
  }
  const Json sockets = reply.value("sockets", Json::array());
  if (sockets.size() != fds.size()) return std::unexpected("descriptors are missing in the reply");
  for (size_t i = 0; i < fds.size(); ++i) {
    auto address = net::Address::Parse(Text(sockets[i], "address"));
    if (!address) return std::unexpected("an address in the reply cannot be read");
    std::string kind = Text(sockets[i], "kind");
    if (kind == "udp") {
      result.sockets.udp.push_back({std::move(fds[i]), *address});
    } else {
      result.sockets.tcp.push_back({std::move(fds[i]), *address, kind == "tls"});
    }
  }
  result.state = Text(reply, "state");
  return result;
}

std::string TakeOver::Finish() {
  if (!SendAll(fd_.get(), "{\"command\":\"taken\"}\n")) return "the old process is gone";
  return ReadLine(fd_.get()) ? "" : "the old process does not confirm";
}

}  // namespace dns
