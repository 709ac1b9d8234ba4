// mongooselb: check a configuration, run it, or talk to a running balancer.

#include <netinet/in.h>
#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cstdlib>
#include <iostream>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "lb/admin/admin.h"
#include "lb/admin/ctl_client.h"
#include "lb/admin/ctl_orders.h"
#include "lb/admin/ctl_server.h"
#include "lb/config/check_file.h"
#include "lb/config/config.h"
#include "lb/control/control.h"
#include "net/io/event_loop.h"
#include "net/io/socket.h"
#include "net/report/log.h"
#include "net/service/operator_socket.h"
#include "net/service/privileges.h"
#include "net/service/program.h"
#include "net/tls/wiping_allocator.h"

namespace lb {
namespace {

constexpr const char* kUsage =
    "mongooselb, a load balancer for XMPP\n"
    "\n"
    "  mongooselb check FILE            judge a configuration: every mistake, with its remedy\n"
    "  mongooselb run FILE              run it; SIGHUP reloads, SIGTERM drains, twice ends at "
    "once\n"
    "  mongooselb ctl [--socket PATH] [--json] COMMAND ...\n"
    "                                   ask or order a running balancer (ctl --help lists all)\n"
    "  mongooselb --version | --help\n"
    "\n"
    "Every key of FILE is explained in conf/mongooselb.toml.\n";

// SIGTERM and SIGINT drain, a second one ends at once; SIGHUP reloads, SIGUSR1 reopens the access
// log.
constexpr std::initializer_list<int> kSignals = {SIGTERM, SIGINT, SIGHUP, SIGUSR1};

// Names under which the sockets of operators travel to a successor, beside those of the listeners.
std::string CtlSocketName(const std::string& path) { return "@ctl " + path; }
// What the two processes tell each other after the hand-over, a line each.
constexpr std::string_view kCountsLine = "counts ";  // old to new: saved_state.h
constexpr std::string_view kOrderLine = "order ";    // new to old: a request of the control socket
constexpr net::Duration kCountsEvery = std::chrono::milliseconds(500);

std::string AdminSocketName(const net::Endpoint& endpoint) {
  return "@admin " + endpoint.ToString();
}

std::string Joined(const std::vector<net::ConfigError>& errors) {
  std::string text;
  for (const net::ConfigError& error : errors)
    text += (text.empty() ? "" : "\n") + error.ToString();
  return text;
}

int PrintErrors(const std::vector<net::ConfigError>& errors) {
  std::cerr << Joined(errors) << '\n';
  return net::Program::kFailed;
}

int Check(const std::string& path) {
  auto config = CheckFile(path);
  if (!config) return PrintErrors(config.error());
  const size_t listeners = config->listeners.size();
  const size_t pools = config->pools.size();
  std::cout << path << ": good; " << listeners << (listeners == 1 ? " listener, " : " listeners, ")
            << pools << (pools == 1 ? " pool" : " pools") << '\n';
  return 0;
}

// Descriptors are few (sockets live in the rings), but each ring's table is bounded by the limit.
void RaiseDescriptorLimit() {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur == limit.rlim_max) return;
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
}

// One running balancer: the control thread's loop and all that hangs on it.
class Process {
 public:
  // `inherit_fd`: as net::Program's.
  Process(net::SuccessorProgram self, std::string config_path, int inherit_fd)
      : program_(std::move(self), {.name = "mongooselb", .part = "lb"}, inherit_fd),
        config_path_(std::move(config_path)) {}

  int Run() {
    auto config = LoadConfig(config_path_);
    if (!config) return program_.Refuse(Joined(config.error()));
    net::ConfigureLog({.level = config->log.level, .format = config->log.format});
    if (auto error = net::SetLogTarget(config->log.target, "mongooselb"); !error.empty()) {
      return program_.Refuse(config_path_ + ": log.target: " + error);
    }
    RaiseDescriptorLimit();
    if (auto made = program_.MakeLoop(); !made) return program_.Refuse(made.error());
    const int result = Serve(std::move(*config));
    program_.LeaveOthers();
    program_.loop().CancelTimer(counts_);
    own_ctl_.reset();
    program_.Silence();
    ctl_.reset();
    admin_.reset();
    control_.reset();
    program_.Drain();
    return result;
  }

 private:
  int Serve(Config config) {
    const bool inherits = program_.inherits();
    auto inheritance = program_.Inherit();
    if (!inheritance) return program_.Refuse(inheritance.error());
    // Operators' sockets first: a second balancer with the same file must fail before it binds.
    if (auto errors = OpenOperatorSockets(config, *inheritance); !errors.empty()) {
      return program_.Refuse(Joined(errors));
    }
    control_ = std::make_unique<Control>(program_.loop(), config_path_);
    control_->SetOnRunning([this] { OnRunning(); });
    control_->SetOnPace([this](const std::string& node, const DrainOrder& order) {
      Forward(DrainLine(node, order));
    });
    const ProcessConfig process = config.process;
    if (auto started = control_->Start(std::move(config), inherits ? &*inheritance : nullptr);
        !started) {
      return program_.Refuse(Joined(started.error()));
    }
    *inheritance = {};  // what no listener took must not go on listening
    if (auto dropped = net::DropPrivileges(process.user, process.group); !dropped) {
      return program_.Refuse(config_path_ + ": process.user: " + dropped.error());
    }
    ServeOperators();
    program_.Serve(kSignals,
                   {.reload = [this] { static_cast<void>(Reload().has_value()); },
                    .stop = [this] { Stop(); },
                    .stop_now = [this] { Stop(); },
                    .other = [this](int) { control_->ReopenLogs(); },
                    .status = [this] { return StatusLine(); },
                    .from_predecessor = [this](std::string_view line) { OnPredecessor(line); },
                    .from_successor = [this](std::string_view line) { OnSuccessorLine(line); },
                    // No connection outlives its process.
                    .predecessor_left = [this] { control_->SetElsewhere("{}"); }});
    program_.loop().Run();
    net::Log(net::LogLevel::kInfo, "lb", "ended", {{"connections_cut", cut_}});
    return 0;
  }

  void OnRunning() {
    program_.Running();
    const ProcessView view = control_->Process();
    net::Log(net::LogLevel::kInfo, "lb", "running",
             {{"version", view.version},
              {"workers", view.workers},
              {"nodes_up", view.nodes_up},
              {"nodes", view.nodes_total},
              {"file", config_path_}});
  }

  std::vector<net::ConfigError> OpenOperatorSockets(const Config& config,
                                                    net::Inheritance& inheritance) {
    std::vector<net::ConfigError> errors;
    const ProcessConfig& process = config.process;
    const auto keep = [&errors](std::expected<net::OperatorSocket, std::string> opened,
                                net::OperatorSocket& place, const ConfigOrigin& origin) {
      if (opened) {
        place = std::move(*opened);
      } else {
        errors.push_back(origin.Error(opened.error()));
      }
    };
    ctl_path_ = process.ctl_socket;
    keep(
        net::OperatorSocket::OpenAt(ctl_path_, process.user, CtlSocketName(ctl_path_), inheritance),
        ctl_fd_, process.ctl_socket_origin);
    if (process.admin_listen) {
      keep(net::OperatorSocket::Open(AdminSocketName(*process.admin_listen), inheritance,
                                     process.admin_listen->ToSocketName()),
           admin_fd_, process.admin_listen_origin);
    }
    return errors;
  }

  void ServeOperators() {
    ctl_ = std::make_unique<CtlServer>(
        program_.loop(), *control_, ctl_fd_.Duplicate(),
        CtlHooks{.reload = [this] { return Reload(); },
                 .upgrade = [this](CtlHooks::Answer answer) { Upgrade(std::move(answer)); },
                 .carried_out = [this](std::string_view line) { Forward(line); }});
    if (admin_fd_) {
      admin_ = std::make_unique<AdminServer>(program_.loop(), *control_, admin_fd_.Duplicate());
    }
  }

  std::expected<std::string, std::vector<net::ConfigError>> Reload() {
    program_.Reloading();
    auto result = control_->Reload();
    program_.Reloaded();
    return result;
  }

  // `answer` comes when the new process serves, or has failed; until then this one goes on.
  void Upgrade(CtlHooks::Answer answer) {
    if (handed_over_ || control_->state() != ProcessState::kRunning) {
      return answer(std::unexpected(Refusal{"this process is " +
                                            std::string(ProcessStateName(control_->state())) +
                                            " and has nothing to hand over"}));
    }
    if (program_.upgrading()) {
      return answer(std::unexpected(Refusal{std::string(net::Program::kUpgrading)}));
    }
    net::Inheritance inheritance;
    inheritance.sockets = control_->DuplicateSockets();
    ctl_fd_.LeaveTo(inheritance);
    admin_fd_.LeaveTo(inheritance);
    inheritance.state = control_->SaveState(true);
    program_.Upgrade("", std::move(inheritance),
                     [this, answer = std::move(answer)](auto successor) mutable {
                       answer(successor ? OnSuccessor(*successor)
                                        : Done(std::unexpected(Refusal{successor.error()})));
                     });
  }

  Done OnSuccessor(pid_t pid) {
    TellCounts();
    control_->HandedOver();
    handed_over_ = true;
    net::Log(net::LogLevel::kInfo, "lb", "a new process took over", {{"pid", pid}});
    // The answer to the operator still has to go out from here.
    program_.loop().Post([this] { LeaveOperators(); });
    BeginDrain();
    return "process " + std::to_string(pid) +
           " took over; this one finishes its connections, and is asked at " + ctl_path_ + "." +
           std::to_string(getpid());
  }

  void OnSuccessorLine(std::string_view line) {
    if (!line.starts_with(kOrderLine)) return;
    RunForwardedRequest(*control_, line.substr(kOrderLine.size()));
    Forward(line.substr(kOrderLine.size()));
  }

  void OnPredecessor(std::string_view line) {
    if (line.starts_with(kCountsLine)) {
      control_->SetElsewhere(std::string(line.substr(kCountsLine.size())));
    }
  }

  // To the process before, which may have connections of the same nodes.
  void Forward(std::string_view line) {
    program_.TellPredecessor(std::string(kOrderLine) + std::string(line));
  }

  // What this process still carries weighs in the new one's choices.
  void TellCounts() {
    program_.TellSuccessor(std::string(kCountsLine) + control_->CountsElsewhere());
    counts_ = program_.loop().After(kCountsEvery, [this] { TellCounts(); });
  }

  // The new process answers operators from now on; who is connected here is served to the end. This
  // one is asked at sockets of its own: PATH.PID for `ctl`, PATH.PID.http for the admin pages.
  void LeaveOperators() {
    ctl_->StopAccepting();
    admin_.reset();
    ctl_fd_.Reset();
    admin_fd_.Reset();
    const std::string path = ctl_path_ + "." + std::to_string(getpid());
    const auto open = [&](const std::string& name) {
      if (name.size() > net::kUnixPathMax) return net::UniqueFd();
      const net::SocketName address = net::SocketName::Unix(name);
      auto fd = net::Listen(address.get(), address.size(), {.backlog = 16, .unix_mode = 0600});
      if (!fd) {
        net::Log(net::LogLevel::kWarn, "lb", "this process cannot be asked any more",
                 {{"reason", fd.error()}});
        return net::UniqueFd();
      }
      own_paths_.push_back(name);
      return std::move(*fd);
    };
    if (net::UniqueFd fd = open(path)) {
      own_ctl_ = std::make_unique<CtlServer>(program_.loop(), *control_, std::move(fd), CtlHooks{});
      net::Log(net::LogLevel::kInfo, "lb", "this process is asked at", {{"socket", path}});
    }
    if (net::UniqueFd fd = open(path + ".http")) {
      admin_ = std::make_unique<AdminServer>(program_.loop(), *control_, std::move(fd));
    }
  }

  // Also of one that drains for another reason: then at once.
  void Stop() {
    if (control_->state() == ProcessState::kDraining) {
      control_->EndNow();
    } else {
      program_.Stopping();
      BeginDrain();
    }
  }

  void BeginDrain() {
    control_->BeginDrain(control_->config().process.drain_deadline, [this](uint64_t cut) {
      cut_ = cut;
      if (!handed_over_) unlink(ctl_path_.c_str());
      for (const std::string& path : own_paths_) unlink(path.c_str());
      program_.loop().Stop();
    });
  }

  std::string StatusLine() const {
    const ProcessView view = control_->Process();
    return std::to_string(view.connections) + " connections, " + std::to_string(view.nodes_up) +
           "/" + std::to_string(view.nodes_total) + " nodes up" + (view.split ? ", NETSPLIT" : "") +
           ", " + std::string(ProcessStateName(view.state));
  }

  net::Program program_;
  const std::string config_path_;
  net::OperatorSocket ctl_fd_;
  net::OperatorSocket admin_fd_;
  std::string ctl_path_;
  std::unique_ptr<Control> control_;
  std::unique_ptr<AdminServer> admin_;
  std::unique_ptr<CtlServer> ctl_;
  net::EventLoop::TimerId counts_{};
  std::unique_ptr<CtlServer> own_ctl_;  // after the hand-over
  std::vector<std::string> own_paths_;
  bool handed_over_ = false;
  uint64_t cut_ = 0;
};

int Main(int argc, char** argv) {
  const std::vector<std::string_view> words(argv + 1, argv + argc);
  if (words.empty()) {
    std::cerr << kUsage;
    return net::Program::kUsage;
  }
  if (words[0] == "--help" || words[0] == "-h") {
    std::cout << kUsage;
    return 0;
  }
  if (words[0] == "--version") {
    std::cout << "mongooselb " << MONGOOSE_VERSION << '\n';
    return 0;
  }
  if (words[0] == "ctl") return RunCtl(argc - 1, argv + 1);
  if (words[0] == "check" && words.size() == 2) return Check(std::string(words[1]));
  const bool inherits = words.size() == 4 && words[2] == "--inherit";
  if (words[0] == "run" && (words.size() == 2 || inherits)) {
    net::Program::Prepare(kSignals);
    const std::string file(words[1]);
    return Process(net::Program::Self(argv[0], {"run", file}), file,
                   inherits ? std::atoi(argv[4]) : -1)
        .Run();
  }
  std::cerr << "mongooselb: what is '" << words[0] << "'?\n\n" << kUsage;
  return net::Program::kUsage;
}

}  // namespace
}  // namespace lb

int main(int argc, char** argv) {
  net::InstallWipingAllocator();
  return lb::Main(argc, argv);
}
