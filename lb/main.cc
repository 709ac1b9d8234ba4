// mongooselb: check a configuration, run it, or talk to a running balancer.

#include <netinet/in.h>
#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cstdio>
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
#include "net/service/hand_over.h"
#include "net/service/line_channel.h"
#include "net/service/operator_socket.h"
#include "net/service/privileges.h"
#include "net/service/service_manager.h"
#include "net/service/signals.h"
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

// Exit codes of check and run.
constexpr int kExitFailed = 1;
constexpr int kExitUsage = 2;

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
  return kExitFailed;
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
  // `inherit_fd`: of the process that started this one as its successor; -1 without.
  Process(net::SuccessorProgram program, std::string config_path, int inherit_fd)
      : program_(std::move(program)),
        config_path_(std::move(config_path)),
        predecessor_(inherit_fd) {}

  int Run() {
    auto config = LoadConfig(config_path_);
    if (!config) return Refuse(Joined(config.error()));
    net::ConfigureLog({.level = config->log.level, .format = config->log.format});
    if (auto error = net::SetLogTarget(config->log.target, "mongooselb"); !error.empty()) {
      return Refuse(config_path_ + ": log.target: " + error);
    }
    RaiseDescriptorLimit();
    auto loop = net::EventLoop::Create({}, clock_);
    if (!loop) return Refuse("mongooselb: " + loop.error());
    loop_ = std::move(*loop);
    const int result = Serve(std::move(*config));
    hand_over_.reset();
    from_predecessor_.reset();
    loop_->CancelTimer(counts_);
    to_successor_.reset();
    own_ctl_.reset();
    service_.reset();
    signals_.reset();
    ctl_.reset();
    admin_.reset();
    control_.reset();
    if (auto drained = loop_->Drain(std::chrono::seconds(2)); !drained) {
      net::Log(net::LogLevel::kWarn, "lb", "ended while operations were under way",
               {{"waited_for", drained.error()}});
    }
    return result;
  }

 private:
  // Says why, also to the process that waits for us to take over.
  int Refuse(const std::string& why) {
    std::cerr << why << '\n';
    if (predecessor_) net::TellFailed(predecessor_.get(), why);
    return kExitFailed;
  }

  int Serve(Config config) {
    net::Inheritance inheritance;
    const bool inherits = static_cast<bool>(predecessor_);
    if (inherits) {
      auto taken = net::TakeOver(predecessor_.get());
      if (!taken) return Refuse("mongooselb: cannot take over: " + taken.error());
      inheritance = std::move(*taken);
    }
    // Operators' sockets first: a second balancer with the same file must fail before it binds.
    if (auto errors = OpenOperatorSockets(config, inheritance); !errors.empty()) {
      return Refuse(Joined(errors));
    }
    control_ = std::make_unique<Control>(*loop_, config_path_);
    control_->SetOnRunning([this] { OnRunning(); });
    control_->SetOnPace([this](const std::string& node, const DrainOrder& order) {
      Forward(DrainLine(node, order));
    });
    const ProcessConfig process = config.process;
    if (auto started = control_->Start(std::move(config), inherits ? &inheritance : nullptr);
        !started) {
      return Refuse(Joined(started.error()));
    }
    inheritance = {};  // what no listener took must not go on listening
    if (auto dropped = net::DropPrivileges(process.user, process.group); !dropped) {
      return Refuse(config_path_ + ": process.user: " + dropped.error());
    }
    ServeOperators();
    signals_ = std::make_unique<net::SignalWatcher>(
        *loop_, std::initializer_list<int>{SIGTERM, SIGINT, SIGHUP, SIGUSR1},
        [this](int signal) { OnSignal(signal); });
    service_ =
        std::make_unique<net::ServiceManager>(*loop_, [this] { return StatusLine(); }, !inherits);
    loop_->Run();
    net::Log(net::LogLevel::kInfo, "lb", "ended", {{"connections_cut", cut_}});
    return 0;
  }

  void OnRunning() {
    if (predecessor_) {
      net::TellReady(predecessor_.get());
      from_predecessor_ = std::make_unique<net::LineChannel>(
          *loop_, std::move(predecessor_), [this](std::string_view line) { OnPredecessor(line); },
          // One that does not know the word ends without it; and no connection outlives its
          // process.
          [this] {
            service_->BecomeMain();
            control_->SetElsewhere("{}");
          });
    }
    service_->Ready();
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
        *loop_, *control_, ctl_fd_.Duplicate(),
        CtlHooks{.reload = [this] { return Reload(); },
                 .upgrade = [this](CtlHooks::Answer answer) { Upgrade(std::move(answer)); },
                 .carried_out = [this](std::string_view line) { Forward(line); }});
    if (admin_fd_) admin_ = std::make_unique<AdminServer>(*loop_, *control_, admin_fd_.Duplicate());
  }

  std::expected<std::string, std::vector<net::ConfigError>> Reload() {
    service_->Reloading();
    auto result = control_->Reload();
    service_->Ready();
    return result;
  }

  // `answer` comes when the new process serves, or has failed; until then this one goes on.
  void Upgrade(CtlHooks::Answer answer) {
    if (handed_over_ || control_->state() != ProcessState::kRunning) {
      return answer(std::unexpected(Refusal{"this process is " +
                                            std::string(ProcessStateName(control_->state())) +
                                            " and has nothing to hand over"}));
    }
    if (hand_over_ && !hand_over_->ended()) {
      return answer(
          std::unexpected(Refusal{"another upgrade is under way, or its process has not ended yet; "
                                  "try again in a moment"}));
    }
    net::Inheritance inheritance;
    inheritance.sockets = control_->DuplicateSockets();
    ctl_fd_.LeaveTo(inheritance);
    admin_fd_.LeaveTo(inheritance);
    inheritance.state = control_->SaveState(true);
    hand_over_ = std::make_unique<net::HandOver>(
        *loop_, program_, std::move(inheritance),
        [this, answer = std::move(answer)](auto successor) mutable {
          if (!successor) {
            net::Log(net::LogLevel::kError, "lb", "upgrade failed; this process goes on",
                     {{"reason", successor.error()}});
            return answer(std::unexpected(Refusal{successor.error() + "\nthis process goes on"}));
          }
          answer(OnSuccessor(std::move(*successor)));
        });
  }

  Done OnSuccessor(net::HandOver::Successor successor) {
    service_->HandOver(successor.pid);
    // Only now may the new one speak to the service manager: before, it was not the main process.
    to_successor_ = std::make_unique<net::LineChannel>(
        *loop_, std::move(successor.channel),
        [this](std::string_view line) {
          if (line.starts_with(kOrderLine)) {
            RunForwardedRequest(*control_, line.substr(kOrderLine.size()));
            Forward(line.substr(kOrderLine.size()));
          }
        },
        [] {});
    to_successor_->Send("main");
    TellCounts();
    handed_over_ = true;
    net::Log(net::LogLevel::kInfo, "lb", "a new process took over", {{"pid", successor.pid}});
    // The answer to the operator still has to go out from here.
    loop_->Post([this] { LeaveOperators(); });
    BeginDrain();
    return "process " + std::to_string(successor.pid) +
           " took over; this one finishes its connections, and is asked at " + ctl_path_ + "." +
           std::to_string(getpid());
  }

  void OnPredecessor(std::string_view line) {
    if (line == "main") service_->BecomeMain();
    if (line.starts_with(kCountsLine)) {
      control_->SetElsewhere(std::string(line.substr(kCountsLine.size())));
    }
  }

  // To the process before, which may have connections of the same nodes.
  void Forward(std::string_view line) {
    if (from_predecessor_) from_predecessor_->Send(std::string(kOrderLine) + std::string(line));
  }

  // What this process still carries weighs in the new one's choices.
  void TellCounts() {
    to_successor_->Send(std::string(kCountsLine) + control_->CountsElsewhere());
    counts_ = loop_->After(kCountsEvery, [this] { TellCounts(); });
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
      own_ctl_ = std::make_unique<CtlServer>(*loop_, *control_, std::move(fd), CtlHooks{});
      net::Log(net::LogLevel::kInfo, "lb", "this process is asked at", {{"socket", path}});
    }
    if (net::UniqueFd fd = open(path + ".http")) {
      admin_ = std::make_unique<AdminServer>(*loop_, *control_, std::move(fd));
    }
  }

  void OnSignal(int signal) {
    switch (signal) {
      case SIGHUP:
        static_cast<void>(Reload().has_value());
        break;
      case SIGUSR1:
        control_->ReopenLogs();
        break;
      default:
        if (control_->state() == ProcessState::kDraining) {
          control_->EndNow();
        } else {
          service_->Stopping();
          BeginDrain();
        }
    }
  }

  void BeginDrain() {
    control_->BeginDrain(control_->config().process.drain_deadline, [this](uint64_t cut) {
      cut_ = cut;
      if (!handed_over_) unlink(ctl_path_.c_str());
      for (const std::string& path : own_paths_) unlink(path.c_str());
      loop_->Stop();
    });
  }

  std::string StatusLine() const {
    const ProcessView view = control_->Process();
    return std::to_string(view.connections) + " connections, " + std::to_string(view.nodes_up) +
           "/" + std::to_string(view.nodes_total) + " nodes up" + (view.split ? ", NETSPLIT" : "") +
           ", " + std::string(ProcessStateName(view.state));
  }

  const net::SuccessorProgram program_;
  const std::string config_path_;
  net::UniqueFd predecessor_;  // while it waits for us
  net::SystemClock clock_;
  std::unique_ptr<net::EventLoop> loop_;
  net::OperatorSocket ctl_fd_;
  net::OperatorSocket admin_fd_;
  std::string ctl_path_;
  std::unique_ptr<Control> control_;
  std::unique_ptr<AdminServer> admin_;
  std::unique_ptr<CtlServer> ctl_;
  std::unique_ptr<net::SignalWatcher> signals_;
  std::unique_ptr<net::ServiceManager> service_;
  std::unique_ptr<net::HandOver> hand_over_;
  std::unique_ptr<net::LineChannel> from_predecessor_;
  std::unique_ptr<net::LineChannel> to_successor_;
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
    return kExitUsage;
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
    signal(SIGPIPE, SIG_IGN);
    net::BlockSignals({SIGTERM, SIGINT, SIGHUP, SIGUSR1});
    const std::string file(words[1]);
    return Process({.path = net::ProgramPath(argv[0]), .name = argv[0], .arguments = {"run", file}},
                   file, inherits ? std::atoi(argv[4]) : -1)
        .Run();
  }
  std::cerr << "mongooselb: what is '" << words[0] << "'?\n\n" << kUsage;
  return kExitUsage;
}

}  // namespace
}  // namespace lb

int main(int argc, char** argv) {
  net::InstallWipingAllocator();
  return lb::Main(argc, argv);
}
