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
#include "net/service/operator_socket.h"
#include "net/service/privileges.h"
#include "net/service/program.h"
#include "net/tls/wiping_allocator.h"

namespace dns {
namespace {

// Exit codes, as those of ctl.
constexpr int kExitDone = static_cast<int>(net::CtlExit::kDone);
constexpr int kExitRefused = static_cast<int>(net::CtlExit::kRefused);
constexpr int kExitUsage = static_cast<int>(net::CtlExit::kUsage);

// SIGTERM and SIGINT stop, a second one ends at once; SIGHUP reloads.
constexpr std::initializer_list<int> kSignals = {SIGTERM, SIGINT, SIGHUP};

std::string Joined(const std::vector<std::string>& errors) {
  std::string text;
  for (const std::string& error : errors) text += (text.empty() ? "" : "\n") + error;
  return text;
}

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
  // `inherit_fd`: as net::Program's.
  Process(net::SuccessorProgram self, std::string file, int inherit_fd)
      : program_(std::move(self), {.name = "mongoosedns", .part = "server"}, inherit_fd),
        file_(std::move(file)) {}

  int Run() {
    auto config = LoadConfig(file_);
    if (!config) return program_.Refuse(Joined(config.error()));
    net::ConfigureLog(config->log);
    if (auto error = net::SetLogTarget(config->log_target, "mongoosedns"); !error.empty()) {
      return program_.Refuse(file_ + ": log.target: " + error);
    }
    for (const std::string& warning : config->warnings) {
      net::Log(net::LogLevel::kWarn, "zone", warning);
    }
    if (auto made = program_.MakeLoop(); !made) return program_.Refuse(made.error());
    int result = Serve(std::move(*config));
    program_.LeaveOthers();
    AnswerLastOrders();
    program_.Silence();
    ctl_.reset();
    admin_.reset();
    program_.Drain();
    control_.reset();
    net::Log(net::LogLevel::kInfo, "server", "stopped");
    return result;
  }

 private:
  // What was done is worth telling, also at the end.
  void AnswerLastOrders() {
    if (!ctl_) return;
    ctl_->Stop("the server is stopping");
    const net::Clock& clock = program_.clock();
    const net::Time end = clock.Now() + kLastAnswersWithin;
    while (ctl_->sessions() > 0 && clock.Now() < end) {
      program_.loop().RunOnce(std::chrono::milliseconds(50));
    }
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
    const bool inherits = program_.inherits();
    auto inheritance = program_.Inherit();
    if (!inheritance) return program_.Refuse(inheritance.error());
    const std::string user = config.user;
    const std::string group = config.group;
    auto control = Control::Create(program_.loop(), std::move(config), TakeSockets(*inheritance));
    if (!control) return program_.Refuse("mongoosedns: " + control.error());
    control_ = std::move(*control);
    // After the sockets that serve: a second server is told that its addresses are taken.
    if (std::string error = OpenOperatorSockets(control_->config(), *inheritance); !error.empty()) {
      return program_.Refuse("mongoosedns: " + error);
    }
    if (inherits) control_->Restore(inheritance->state);
    *inheritance = {};  // what nobody took must not go on listening
    // Before any other thread is there, since the rights are a thread's.
    if (auto dropped = net::DropPrivileges(user, group); !dropped) {
      return program_.Refuse(file_ + ": server.user: " + dropped.error());
    }
    if (std::string error = control_->Start(); !error.empty()) {
      return program_.Refuse("mongoosedns: " + error);
    }
    if (admin_fd_) {
      admin_ = std::make_unique<AdminServer>(program_.loop(), *control_, admin_fd_.Duplicate());
    }
    if (ctl_fd_) {
      ctl_ = MakeCtlServer(program_.loop(), *control_, ctl_fd_.Duplicate(),
                           [this](const std::string& binary, UpgradeAnswer answer) {
                             Upgrade(binary, std::move(answer));
                           });
    }
    program_.Serve(kSignals, {.reload = [this] { Reload(); },
                              // Of one that has handed over, the end has begun.
                              .stop =
                                  [this] {
                                    if (!handed_over_) End(false);
                                  },
                              .stop_now = [] { _exit(1); },
                              .status = [this] { return control_->StatusLine(); }});
    program_.Running();
    net::Log(net::LogLevel::kInfo, "server", "serving",
             {{"version", MONGOOSE_VERSION}, {"file", file_}, {"taken_over", inherits}});
    program_.loop().Run();
    return kExitDone;
  }

  void Reload() {
    program_.Reloading();
    // It logs what became of it.
    control_->Reload([this](const std::string&) { program_.Reloaded(); });
  }

  void End(bool handed_over) {
    net::Log(net::LogLevel::kInfo, "server", "stopping", {{"handed_over", handed_over}});
    if (!handed_over) {
      program_.Stopping();
      if (!ctl_path_.empty()) unlink(ctl_path_.c_str());
    }
    control_->Stop(handed_over, [this] { program_.loop().Stop(); });
  }

  // `answer` comes when the new process serves, or has failed; until then this one goes on.
  void Upgrade(const std::string& binary, UpgradeAnswer answer) {
    if (!control_->ready()) return answer("this process is not running any more");
    if (program_.upgrading()) return answer(std::string(net::Program::kUpgrading));
    net::Inheritance inheritance = control_->Inheritance();
    ctl_fd_.LeaveTo(inheritance);
    admin_fd_.LeaveTo(inheritance);
    program_.Upgrade(binary, std::move(inheritance),
                     [this, answer = std::move(answer)](const auto& successor) {
                       if (!successor) return answer(successor.error());
                       OnSuccessor(answer);
                     });
  }

  void OnSuccessor(const UpgradeAnswer& answer) {
    handed_over_ = true;
    if (ctl_) ctl_->StopAccepting();
    // The answer to the operator still has to go out from here, when nothing here takes queries
    // from the shared sockets any more: what the operator orders next would not be in their
    // answers.
    program_.loop().Post([this, answer] {
      admin_.reset();
      End(true);
      answer("");
    });
  }

  static constexpr net::Duration kLastAnswersWithin = std::chrono::seconds(2);

  net::Program program_;
  const std::string file_;
  std::unique_ptr<Control> control_;
  std::string ctl_path_;
  net::OperatorSocket ctl_fd_;
  net::OperatorSocket admin_fd_;
  std::unique_ptr<AdminServer> admin_;
  std::unique_ptr<net::CtlServer> ctl_;
  bool handed_over_ = false;
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
    net::Program::Prepare(kSignals);
    return Process(net::Program::Self(argv[0], {"run", file}), file, inherit_fd).Run();
  }
  if (keygen->parsed()) return Keygen(keygen_order);
  return kExitUsage;
}

}  // namespace
}  // namespace dns

int main(int argc, char** argv) { return dns::Main(argc, argv); }
