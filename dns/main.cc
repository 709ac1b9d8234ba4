// mongoosedns: check, run, keygen, ctl. The life of a query is told in dns/README.md.
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <csignal>
#include <cstdio>
#include <ctime>
#include <expected>
#include <string_view>

#include "dns/admin/admin.h"
#include "dns/admin/ctl_client.h"
#include "dns/admin/ctl_server.h"
#include "dns/config/config.h"
#include "dns/control/control.h"
#include "dns/zone/successor.h"
#include "dns/zone/zone_text.h"
#include "net/base/clock.h"
#include "net/ctl/ctl_table.h"
#include "net/report/log.h"
#include "net/service/hand_over.h"
#include "net/service/operator_socket.h"
#include "net/service/privileges.h"
#include "net/service/service_manager.h"
#include "net/service/signals.h"
#include "net/tls/wiping_allocator.h"

namespace dns {
namespace {

// Exit codes, as those of ctl.
constexpr int kExitDone = static_cast<int>(net::CtlExit::kDone);
constexpr int kExitRefused = static_cast<int>(net::CtlExit::kRefused);
constexpr int kExitUsage = static_cast<int>(net::CtlExit::kUsage);

// SIGTERM and SIGINT stop, a second one ends at once; SIGHUP reloads.
constexpr std::initializer_list<int> kSignals = {SIGTERM, SIGINT, SIGHUP};

void PrintErrors(const std::vector<std::string>& errors) {
  for (const std::string& error : errors) std::fprintf(stderr, "%s\n", error.c_str());
}

int Check(const std::string& file) {
  auto config = LoadConfig(file);
  if (!config) {
    PrintErrors(config.error());
    return kExitRefused;
  }
  PrintErrors(config->warnings);
  std::printf("%s: good: %zu zones, %zu pools\n", file.c_str(), config->zones.size(),
              config->pools.size());
  return kExitDone;
}

int Fail(const std::string& why) {
  std::fprintf(stderr, "mongoosedns: %s\n", why.c_str());
  return kExitRefused;
}

// One running server: the control thread's loop and all that hangs on it.
class Process {
 public:
  // `inherit_fd`: of the process that started this one as its successor; -1 without.
  Process(net::SuccessorProgram program, std::string file, int inherit_fd)
      : program_(std::move(program)), file_(std::move(file)), predecessor_(inherit_fd) {}

  int Run() {
    auto config = LoadConfig(file_);
    if (!config) return Refuse(config.error());
    net::ConfigureLog(config->log);
    if (auto error = net::SetLogTarget(config->log_target, "mongoosedns"); !error.empty()) {
      return Refuse({file_ + ": log.target: " + error});
    }
    for (const std::string& warning : config->warnings) {
      net::Log(net::LogLevel::kWarn, "zone", warning);
    }
    auto loop = net::EventLoop::Create({}, clock_);
    if (!loop) return Refuse({"mongoosedns: " + loop.error()});
    loop_ = std::move(*loop);
    int result = Serve(std::move(*config));
    hand_over_.reset();
    to_successor_.reset();
    from_predecessor_.reset();
    AnswerLastOrders();
    signals_.reset();
    service_.reset();
    ctl_.reset();
    admin_.reset();
    if (auto drained = loop_->Drain(std::chrono::seconds(2)); !drained) {
      net::Log(net::LogLevel::kWarn, "server", "ended while operations were under way",
               {{"waited_for", drained.error()}});
    }
    control_.reset();
    net::Log(net::LogLevel::kInfo, "server", "stopped");
    return result;
  }

 private:
  // What was done is worth telling, also at the end.
  void AnswerLastOrders() {
    if (!ctl_) return;
    ctl_->Stop("the server is stopping");
    const net::Time end = clock_.Now() + kLastAnswersWithin;
    while (ctl_->sessions() > 0 && clock_.Now() < end) {
      loop_->RunOnce(std::chrono::milliseconds(50));
    }
  }

  // Says why, also to the process that waits for us to take over.
  int Refuse(const std::vector<std::string>& errors) {
    PrintErrors(errors);
    std::string text;
    for (const std::string& error : errors) text += (text.empty() ? "" : "\n") + error;
    if (predecessor_) net::TellFailed(predecessor_.get(), text);
    return kExitRefused;
  }

  std::string OpenOperatorSockets(const Config& config, net::Inheritance& inheritance) {
    ctl_path_ = config.ctl_socket;
    if (!ctl_path_.empty()) {
      auto opened =
          net::OperatorSocket::OpenAt(ctl_path_, config.user, "ctl " + ctl_path_, inheritance);
      if (!opened) return opened.error();
      ctl_fd_ = std::move(*opened);
    }
    if (config.admin_listen.empty()) return "";
    auto opened = net::OperatorSocket::Open("admin " + config.admin_listen, inheritance, [&config] {
      return AdminServer::Listen(config.admin_listen);
    });
    if (!opened) return opened.error();
    admin_fd_ = std::move(*opened);
    return "";
  }

  int Serve(Config config) {
    net::Inheritance inheritance;
    const bool inherits = static_cast<bool>(predecessor_);
    if (inherits) {
      auto taken = net::TakeOver(predecessor_.get());
      if (!taken) return Refuse({"mongoosedns: cannot take over: " + taken.error()});
      inheritance = std::move(*taken);
    }
    const std::string user = config.user;
    const std::string group = config.group;
    auto control = Control::Create(*loop_, std::move(config), TakeSockets(inheritance));
    if (!control) return Refuse({"mongoosedns: " + control.error()});
    control_ = std::move(*control);
    // After the sockets that serve: a second server is told that its addresses are taken.
    if (std::string error = OpenOperatorSockets(control_->config(), inheritance); !error.empty()) {
      return Refuse({"mongoosedns: " + error});
    }
    if (inherits) control_->Restore(inheritance.state);
    inheritance = {};  // what nobody took must not go on listening
    // Before any other thread is there, since the rights are a thread's.
    if (auto dropped = net::DropPrivileges(user, group); !dropped) {
      return Refuse({file_ + ": server.user: " + dropped.error()});
    }
    if (std::string error = control_->Start(); !error.empty()) {
      return Refuse({"mongoosedns: " + error});
    }
    if (admin_fd_) {
      admin_ = std::make_unique<AdminServer>(*loop_, *control_, admin_fd_.Duplicate());
    }
    if (ctl_fd_) {
      ctl_ = MakeCtlServer(*loop_, *control_, ctl_fd_.Duplicate(),
                           [this](const std::string& binary, UpgradeAnswer answer) {
                             Upgrade(binary, std::move(answer));
                           });
    }
    service_ = std::make_unique<net::ServiceManager>(
        *loop_, [this] { return control_->StatusLine(); }, !inherits);
    signals_ = std::make_unique<net::SignalWatcher>(*loop_, kSignals,
                                                    [this](int number) { OnSignal(number); });
    OnServing(inherits);
    loop_->Run();
    return kExitDone;
  }

  void OnServing(bool inherits) {
    if (inherits) {
      net::TellReady(predecessor_.get());
      from_predecessor_ = std::make_unique<net::LineChannel>(
          *loop_, std::move(predecessor_),
          [this](std::string_view line) {
            if (line == "main") service_->BecomeMain();
          },
          [this] { service_->BecomeMain(); });
    }
    service_->Ready();
    net::Log(net::LogLevel::kInfo, "server", "serving",
             {{"version", MONGOOSE_VERSION}, {"file", file_}, {"taken_over", inherits}});
  }

  void OnSignal(int number) {
    if (number == SIGHUP) {
      service_->Reloading();
      control_->Reload([this](const std::string&) {  // it logs what became of it
        if (service_) service_->Ready();
      });
    } else if (told_to_stop_) {
      _exit(1);
    } else {
      told_to_stop_ = true;
      End(false);
    }
  }

  void End(bool handed_over) {
    net::Log(net::LogLevel::kInfo, "server", "stopping", {{"handed_over", handed_over}});
    if (!handed_over) {
      service_->Stopping();
      if (!ctl_path_.empty()) unlink(ctl_path_.c_str());
    }
    control_->Stop(handed_over, [this] { loop_->Stop(); });
  }

  // `answer` comes when the new process serves, or has failed; until then this one goes on.
  void Upgrade(const std::string& binary, UpgradeAnswer answer) {
    if (!control_->ready()) return answer("this process is not running any more");
    if (hand_over_ && !hand_over_->ended()) {
      return answer(
          "another upgrade is under way, or its process has not ended yet; try again in "
          "a moment");
    }
    net::Inheritance inheritance = control_->Inheritance();
    ctl_fd_.LeaveTo(inheritance);
    admin_fd_.LeaveTo(inheritance);
    net::SuccessorProgram program = program_;
    if (!binary.empty()) program.path = binary;
    hand_over_ = std::make_unique<net::HandOver>(
        *loop_, program, std::move(inheritance),
        [this, answer = std::move(answer)](auto successor) { OnUpgraded(successor, answer); },
        net::HandOverOptions{.ready_within = kReadyWithin});
  }

  // Out of line: g++ 12 warns of the expected's value in the branch that has one.
  [[gnu::noinline]] void OnUpgraded(std::expected<net::HandOver::Successor, std::string>& successor,
                                    const UpgradeAnswer& answer) {
    if (!successor) {
      net::Log(net::LogLevel::kError, "upgrade", "failed; this process goes on",
               {{"reason", successor.error()}});
      answer(successor.error() + "\nthis process goes on");
      return;
    }
    OnSuccessor(*successor, answer);
  }

  void OnSuccessor(net::HandOver::Successor& successor, const UpgradeAnswer& answer) {
    service_->HandOver(successor.pid);
    // Only now may the new one speak to the service manager: before, it was not the main process.
    to_successor_ = std::make_unique<net::LineChannel>(
        *loop_, std::move(successor.channel), [](std::string_view) {}, [] {});
    to_successor_->Send("main");
    if (ctl_) ctl_->StopAccepting();
    // The answer to the operator still has to go out from here, when nothing here takes queries
    // from the shared sockets any more: what the operator orders next would not be in their
    // answers.
    loop_->Post([this, answer] {
      admin_.reset();
      End(true);
      answer("");
    });
  }

  static constexpr net::Duration kReadyWithin = std::chrono::seconds(60);
  static constexpr net::Duration kLastAnswersWithin = std::chrono::seconds(2);

  const net::SuccessorProgram program_;
  const std::string file_;
  net::UniqueFd predecessor_;  // while it waits for us
  net::SystemClock clock_;
  std::unique_ptr<net::EventLoop> loop_;
  std::unique_ptr<Control> control_;
  std::string ctl_path_;
  net::OperatorSocket ctl_fd_;
  net::OperatorSocket admin_fd_;
  std::unique_ptr<AdminServer> admin_;
  std::unique_ptr<net::CtlServer> ctl_;
  std::unique_ptr<net::ServiceManager> service_;
  std::unique_ptr<net::SignalWatcher> signals_;
  std::unique_ptr<net::HandOver> hand_over_;
  std::unique_ptr<net::LineChannel> to_successor_;
  std::unique_ptr<net::LineChannel> from_predecessor_;
  bool told_to_stop_ = false;
};

struct KeygenOrder {
  std::string zone;
  std::string algorithm = "ecdsa-p256";
  std::string directory = ".";
  std::string role = "csk";
  std::string successor;  // of this private key file
  uint32_t dnskey_ttl = kDnskeyTtl;
  uint32_t ds_timeout = kDsTimeout;
};

void PrintKey(const SigningKey& key, const std::string& path) {
  std::printf("; key %s\n", path.c_str());
  if (key.flags() == kFlagsZsk) return;
  std::printf("; give this to the parent zone:\n%s\n",
              ToText({key.zone(), Type::kDs, kDnskeyTtl, key.Ds()}).c_str());
}

int KeygenSuccessor(const KeygenOrder& order, const Name& zone) {
  auto now = static_cast<uint32_t>(time(nullptr));
  auto made = MakeSuccessor(order.successor, zone, now, order.dnskey_ttl, order.ds_timeout);
  if (!made) return Fail(made.error());
  std::printf(
      "; successor of %s; add it to the zone's keys and reload\n"
      "; published at once, signs from %s (UTC) on\n"
      "; the old key leaves at %s (UTC)%s\n",
      order.successor.c_str(), TimeText(*made->plan.successor.activate).c_str(),
      TimeText(*made->plan.predecessor.remove).c_str(),
      made->plan.successor.sync_publish
          ? "; the parent must have the new DS until then, CDS asks for it"
          : "");
  PrintKey(*made->key.key, made->key.path);
  return kExitDone;
}

int Keygen(const KeygenOrder& order) {
  auto zone = Name::FromText(order.zone, Name());
  if (!zone) return Fail("'" + order.zone + "' is not a domain name: it " + zone.error());
  if (!order.successor.empty()) return KeygenSuccessor(order, *zone);
  Algorithm algorithm =
      order.algorithm == "ed25519" ? Algorithm::kEd25519 : Algorithm::kEcdsaP256Sha256;
  SigningKey key =
      SigningKey::Generate(*zone, algorithm, order.role == "zsk" ? kFlagsZsk : kFlagsSep);
  auto path = key.Write(order.directory);
  if (!path) return Fail(path.error());
  PrintKey(key, *path);
  return kExitDone;
}

void AddKeygen(CLI::App& keygen, KeygenOrder& order) {
  keygen.add_option("zone", order.zone)->required();
  keygen.add_option("--algorithm", order.algorithm)
      ->check(CLI::IsMember({"ecdsa-p256", "ed25519"}))
      ->capture_default_str();
  keygen.add_option("--role", order.role, "csk signs all, ksk the keys, zsk the rest")
      ->check(CLI::IsMember({"csk", "ksk", "zsk"}))
      ->capture_default_str();
  keygen.add_option("--directory", order.directory)->capture_default_str();
  keygen.add_option("--successor", order.successor,
                    "make the key that follows this private key file, beside it, with times");
  keygen.add_option("--dnskey-ttl", order.dnskey_ttl, "the zone's dnskey_ttl, in seconds")
      ->capture_default_str();
  keygen
      .add_option("--ds-timeout", order.ds_timeout,
                  "how long the parent may take to follow, with its DS's TTL, in seconds")
      ->capture_default_str();
}

int Main(int argc, char** argv) {
  // Before anything else uses OpenSSL: it refuses another allocator once it has allocated.
  net::InstallWipingAllocator();
  // By a table of its own (ctl_commands.h).
  if (argc > 1 && std::string_view(argv[1]) == "ctl") return RunCtl(argc - 1, argv + 1);
  CLI::App app("Authoritative DNS for XMPP balancers: shuffled, healthy, explained.");
  app.set_version_flag("--version", MONGOOSE_VERSION);
  app.require_subcommand(1);
  std::string file;
  int inherit_fd = -1;
  CLI::App* check = app.add_subcommand("check", "judge a configuration file without starting");
  check->add_option("file", file)->required();
  CLI::App* run = app.add_subcommand("run", "serve");
  run->add_option("file", file)->required();
  run->add_option("--inherit", inherit_fd,
                  "takes over from the process at the other end of this descriptor (ctl upgrade)");
  CLI::App* keygen = app.add_subcommand("keygen", "make a DNSSEC key for a zone");
  KeygenOrder keygen_order;
  AddKeygen(*keygen, keygen_order);
  app.add_subcommand("ctl", "ask or order a running server (ctl --help lists all)");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? kExitDone : kExitUsage;
  }
  if (check->parsed()) return Check(file);
  if (run->parsed()) {
    net::BlockSignals(kSignals);
    signal(SIGPIPE, SIG_IGN);
    // The same words again, for the process that takes over some day.
    net::SuccessorProgram program{net::ProgramPath(argv[0]), argv[0], {"run", file}};
    return Process(std::move(program), file, inherit_fd).Run();
  }
  if (keygen->parsed()) return Keygen(keygen_order);
  return kExitUsage;
}

}  // namespace
}  // namespace dns

int main(int argc, char** argv) { return dns::Main(argc, argv); }
