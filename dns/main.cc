// mongoosedns: check, run, keygen, ctl. The life of a query is told in dns/README.md.
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <csignal>
#include <cstdio>
#include <string_view>

#include "dns/admin/admin.h"
#include "dns/admin/ctl_client.h"
#include "dns/admin/ctl_server.h"
#include "dns/config/config.h"
#include "dns/control/control.h"
#include "dns/zone/zone_text.h"
#include "net/base/clock.h"
#include "net/ctl/ctl_table.h"
#include "net/report/log.h"
#include "net/service/service_manager.h"
#include "net/service/signals.h"

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

int Run(const std::string& file, const std::string& take_over_path) {
  net::BlockSignals(kSignals);
  signal(SIGPIPE, SIG_IGN);
  signal(SIGCHLD, SIG_IGN);  // upgrades are not waited for
  auto config = LoadConfig(file);
  if (!config) {
    PrintErrors(config.error());
    return kExitRefused;
  }
  net::ConfigureLog(config->log);
  for (const std::string& warning : config->warnings) {
    net::Log(net::LogLevel::kWarn, "zone", warning);
  }
  InheritedSockets inherited;
  std::optional<TakeOver> take_over;
  if (!take_over_path.empty()) {
    auto begun = TakeOver::Begin(take_over_path);
    if (!begun) return Fail("cannot take over: " + begun.error());
    inherited = std::move(begun->sockets);
    take_over = std::move(*begun);
  }
  net::SystemClock clock;
  auto loop = net::EventLoop::Create({}, clock);
  if (!loop) return Fail(loop.error());
  std::string ctl_path = config->ctl_socket;
  std::string admin_listen = config->admin_listen;
  auto control = Control::Create(**loop, std::move(*config), std::move(inherited));
  if (!control) return Fail(control.error());
  if (take_over) (*control)->Restore(take_over->state);
  AdminServer admin(**loop, **control);
  if (!admin_listen.empty()) {
    if (std::string error = admin.Listen(admin_listen); !error.empty()) return Fail(error);
  }
  if (std::string error = (*control)->Start(); !error.empty()) return Fail(error);
  if (take_over) {
    // We serve already: from here on both do, until the old one has left.
    if (std::string error = take_over->Finish(); !error.empty()) return Fail(error);
  }
  net::ServiceManager service(**loop, [&] { return (*control)->StatusLine(); });
  auto end = [&](bool handed_over) {
    net::Log(net::LogLevel::kInfo, "server", "stopping", {{"handed_over", handed_over}});
    if (!handed_over) service.Stopping();
    (*control)->Stop(handed_over, [&] { (*loop)->Stop(); });
  };
  bool told_to_stop = false;
  std::optional<net::SignalWatcher> signals;
  signals.emplace(**loop, kSignals, [&](int number) {
    if (number == SIGHUP) {
      service.Reloading();
      (*control)->Reload();
      service.Ready();
    } else if (told_to_stop) {
      _exit(1);
    } else {
      told_to_stop = true;
      end(false);
    }
  });
  CtlServer ctl(**loop, **control, ctl_path, [&] { end(true); });
  if (!ctl_path.empty()) {
    if (std::string error = ctl.Start(); !error.empty()) return Fail(error);
  }
  net::Log(net::LogLevel::kInfo, "server", "serving",
           {{"version", MONGOOSE_VERSION}, {"file", file}, {"taken_over", take_over.has_value()}});
  service.MainPid(getpid());
  service.Ready();
  (*loop)->Run();
  ctl.Stop();
  signals.reset();
  if (auto drained = (*loop)->Drain(std::chrono::seconds(2)); !drained) {
    net::Log(net::LogLevel::kWarn, "server", "ended while operations were under way",
             {{"waited_for", drained.error()}});
  }
  net::Log(net::LogLevel::kInfo, "server", "stopped");
  return kExitDone;
}

int Keygen(const std::string& zone_text, const std::string& algorithm_text,
           const std::string& directory) {
  auto zone = Name::FromText(zone_text, Name());
  if (!zone) return Fail("'" + zone_text + "' is not a domain name: it " + zone.error());
  Algorithm algorithm =
      algorithm_text == "ed25519" ? Algorithm::kEd25519 : Algorithm::kEcdsaP256Sha256;
  SigningKey key = SigningKey::Generate(*zone, algorithm);
  auto path = key.Write(directory);
  if (!path) return Fail(path.error());
  std::printf("; key %s\n; give this to the parent zone:\n%s\n", path->c_str(),
              ToText({key.zone(), Type::kDs, kDnskeyTtl, key.Ds()}).c_str());
  return kExitDone;
}

int Main(int argc, char** argv) {
  // By a table of its own (ctl_commands.h).
  if (argc > 1 && std::string_view(argv[1]) == "ctl") return RunCtl(argc - 1, argv + 1);
  CLI::App app("Authoritative DNS for XMPP balancers: shuffled, healthy, explained.");
  app.set_version_flag("--version", MONGOOSE_VERSION);
  app.require_subcommand(1);
  std::string file;
  std::string take_over;
  std::string zone;
  std::string algorithm = "ecdsa-p256";
  std::string directory = ".";
  CLI::App* check = app.add_subcommand("check", "judge a configuration file without starting");
  check->add_option("file", file)->required();
  CLI::App* run = app.add_subcommand("run", "serve");
  run->add_option("file", file)->required();
  run->add_option("--takeover", take_over,
                  "take the sockets over from the server at this ctl socket");
  CLI::App* keygen = app.add_subcommand("keygen", "make a DNSSEC key for a zone");
  keygen->add_option("zone", zone)->required();
  keygen->add_option("--algorithm", algorithm)
      ->check(CLI::IsMember({"ecdsa-p256", "ed25519"}))
      ->capture_default_str();
  keygen->add_option("--directory", directory)->capture_default_str();
  app.add_subcommand("ctl", "ask or order a running server (ctl --help lists all)");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? kExitDone : kExitUsage;
  }
  if (check->parsed()) return Check(file);
  if (run->parsed()) return Run(file, take_over);
  if (keygen->parsed()) return Keygen(zone, algorithm, directory);
  return kExitUsage;
}

}  // namespace
}  // namespace dns

int main(int argc, char** argv) { return dns::Main(argc, argv); }
