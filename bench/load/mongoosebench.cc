// mongoosebench: load for anything that speaks TCP or TLS, and the sink to stand behind it.
// Exit status: 0 the run may be believed (or: no regression); 1 it is INVALID (or: a regression);
// 2 it could not be made: wrong usage, or the machine cannot carry it.
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <atomic>
#include <cstdio>
#include <fstream>
#include <iostream>

#include "bench/load/preflight.h"
#include "bench/load/report.h"
#include "bench/load/scenarios.h"
#include "bench/load/sink.h"

namespace bench {
namespace {

constexpr int kExitInvalid = 1;
constexpr int kExitUsage = 2;

std::atomic<bool> g_stop{false};

void OnSignal(int /*signal*/) {
  g_stop.store(true, std::memory_order_relaxed);
  Engine::RequestStop();
}

struct Arguments {
  std::vector<std::string> targets;
  std::vector<std::string> sources;
  std::size_t connections = 0;
  std::string duration = "5s";
  std::string warmup = "500ms";
  std::string timeout = "10s";
  std::uint64_t count = UINT64_MAX;
  std::string rate;
  std::string profile;
  std::string arrivals = "constant";
  std::uint64_t seed = 1;
  std::size_t payload = 0;
  std::string send;
  std::string reply = "echo";
  double gigabytes = 1;
  std::string hold;
  std::size_t retries = 0;
  bool no_exchange = false;
  TlsOptions tls;
  std::vector<int> watched;
  std::string json;
  bool quiet = false;
  // sink, compare
  int backlog = 4096;
  std::string before;
  std::string after;
  double tolerance = 0.05;
};

int Complain(const std::string& what) {
  std::cerr << "mongoosebench: " << what << "\n";
  return kExitUsage;
}

std::expected<std::optional<Arrivals>, std::string> MakeArrivals(const Arguments& args) {
  std::string profile = args.profile;
  if (!args.rate.empty()) {
    if (!profile.empty()) return std::unexpected("give --rate or --profile, not both");
    // A little longer than the window, so that the end is the window's.
    const auto duration = ParseDurationNs(args.duration);
    const auto warmup = ParseDurationNs(args.warmup);
    if (!duration) return std::unexpected("--duration: " + duration.error());
    if (!warmup) return std::unexpected("--warmup: " + warmup.error());
    const std::string rate = args.rate.ends_with("/s") ? args.rate : args.rate + "/s";
    profile = rate + ":" + std::to_string((*duration + *warmup) / 1'000'000 + 1000) + "ms";
  }
  if (profile.empty()) return std::nullopt;
  auto steps = ParseProfile(profile);
  if (!steps) return std::unexpected(steps.error());
  const ArrivalKind kind =
      args.arrivals == "poisson" ? ArrivalKind::kPoisson : ArrivalKind::kConstant;
  return Arrivals(std::move(*steps), kind, args.seed);
}

std::expected<Timing, std::string> MakeTiming(const Arguments& args,
                                              const std::optional<Arrivals>& arrivals) {
  Timing timing;
  const auto warmup = ParseDurationNs(args.warmup);
  if (!warmup) return std::unexpected("--warmup: " + warmup.error());
  const auto duration = ParseDurationNs(args.duration);
  if (!duration) return std::unexpected("--duration: " + duration.error());
  timing.warmup_ns = *warmup;
  timing.duration_ns = *duration;
  timing.count_max = args.count;
  if (!args.profile.empty() && arrivals) {
    // A profile has its own length.
    timing.duration_ns = std::max<std::int64_t>(arrivals->DurationNs() - *warmup, 1);
  }
  return timing;
}

Payload MakePayload(const Arguments& args, std::size_t default_bytes) {
  Payload payload;
  payload.request = args.send;
  if (payload.request.empty()) {
    const std::size_t size = args.payload == 0 ? default_bytes : args.payload;
    for (std::size_t i = 0; i + 1 < size; ++i) {
      payload.request.push_back(static_cast<char>('a' + (i * 7) % 26));
    }
    payload.request.push_back('\n');
  }
  payload.verify = args.reply == "echo";
  payload.reply_bytes = payload.verify ? payload.request.size() : 0;
  return payload;
}

std::expected<EngineOptions, std::string> MakeEngineOptions(const Arguments& args) {
  EngineOptions options;
  for (const std::string& text : args.targets) {
    auto endpoint = ParseEndpoint(text);
    if (!endpoint) return std::unexpected("target " + endpoint.error());
    options.targets.push_back(*endpoint);
  }
  for (const std::string& text : args.sources) {
    auto sources = ParseSources(text);
    if (!sources) return std::unexpected("--source " + sources.error());
    options.sources.insert(options.sources.end(), sources->begin(), sources->end());
  }
  const auto timeout = ParseDurationNs(args.timeout);
  if (!timeout) return std::unexpected("--timeout: " + timeout.error());
  options.timeout_ns = *timeout;
  options.connections = args.connections;
  options.tls = args.tls;
  if (args.tls.resume && !args.tls.enabled) return std::unexpected("--resume needs --tls");
  for (const int pid : args.watched) {
    if (!ProcessCpuNs(pid)) return std::unexpected("--watch: no process " + std::to_string(pid));
    options.watched.push_back(pid);
  }
  options.live = !args.quiet && isatty(STDERR_FILENO) == 1;
  const Needs needs{args.connections, options.targets.size(), options.sources.size()};
  const auto carried = Preflight(needs, Means{RaiseDescriptorLimit(), LocalPortCount()});
  if (!carried) return std::unexpected(carried.error());
  return options;
}

// The exit status: whether the result may be believed.
int Report(const Arguments& args, const Result& result) {
  const std::string document = ToJson(result) + "\n";
  if (args.json == "-") {
    std::cout << document << std::flush;
  } else if (!args.json.empty()) {
    std::ofstream file(args.json);
    if (!(file << document)) return Complain("cannot write " + args.json);
  }
  if (!args.quiet) std::cerr << ToText(result);
  return result.invalid.empty() ? 0 : kExitInvalid;
}

// Runs `scenario` and reports. `longest_ns` bounds the run whatever happens.
int RunScenario(const Arguments& args, const char* mode, const std::string& prime_request,
                Scenario& scenario, std::int64_t longest_ns) {
  auto options = MakeEngineOptions(args);
  if (!options) return Complain(options.error());
  options->prime_request = prime_request;
  auto engine = Engine::Create(std::move(*options));
  if (!engine) return Complain(engine.error());
  Result& result = (*engine)->Out();
  result.mode = mode;
  (*engine)->Run(scenario, MonotonicNs() + longest_ns);
  JudgeResult(result);
  return Report(args, result);
}

constexpr std::int64_t kOpeningLimitNs = 120'000'000'000;

int RunTimed(const Arguments& args, bool echo) {
  auto arrivals = MakeArrivals(args);
  if (!arrivals) return Complain(arrivals.error());
  const auto timing = MakeTiming(args, *arrivals);
  if (!timing) return Complain(timing.error());
  const Payload payload = MakePayload(args, echo ? 300 : 64);
  const std::int64_t longest = timing->warmup_ns + timing->duration_ns + kOpeningLimitNs;
  if (echo) {
    EchoScenario scenario(*timing, payload, std::move(*arrivals));
    return RunScenario(args, "echo", payload.request, scenario, longest);
  }
  ConnectScenario scenario(*timing, payload, std::move(*arrivals));
  return RunScenario(args, "connect", payload.request, scenario, longest);
}

int RunBulk(const Arguments& args) {
  if (args.gigabytes <= 0 || args.gigabytes > 1e6) return Complain("--gigabytes must be positive");
  BulkScenario scenario(static_cast<std::uint64_t>(args.gigabytes * 1e9), args.connections);
  const auto seconds = static_cast<std::int64_t>(60 + args.gigabytes * 60);
  return RunScenario(args, "bulk", "x\n", scenario, seconds * 1'000'000'000);
}

// End of input, or a line, ends the holding.
bool InputSaysStop() {
  pollfd input{STDIN_FILENO, POLLIN, 0};
  return poll(&input, 1, 0) > 0;
}

int RunHold(const Arguments& args, bool storm) {
  auto arrivals = MakeArrivals(args);
  if (!arrivals) return Complain(arrivals.error());
  if (storm && !*arrivals) {
    return Complain("a storm needs --rate or --profile, e.g. --profile 1000/s:10s,4000/s:5s");
  }
  HoldOptions options;
  if (!args.no_exchange) options.payload = MakePayload(args, 64);
  options.retries_max = args.retries;
  options.seed = args.seed;
  std::int64_t longest = kOpeningLimitNs + (*arrivals ? (*arrivals)->DurationNs() : 0);
  if (args.hold == "stdin") {
    options.hold_ns = kNever;
    options.told_to_stop = InputSaysStop;
    longest += 3600'000'000'000;
  } else {
    const auto hold = ParseDurationNs(args.hold);
    if (!hold) return Complain("--hold: " + hold.error() + ", or stdin");
    options.hold_ns = *hold;
    longest += *hold;
  }
  options.on_held = [](Engine& engine) {
    std::cout << "{\"held\":" << engine.OpenCount() << "}\n" << std::flush;
  };
  const std::string prime = MakePayload(args, 64).request;
  HoldScenario scenario(std::move(options), std::move(*arrivals));
  return RunScenario(args, storm ? "storm" : "idle", prime, scenario, longest);
}

int RunSink(const Arguments& args) {
  std::vector<SinkListen> listens;
  for (const std::string& text : args.targets) {
    SinkListen listen;
    const std::size_t equals = text.find('=');
    auto endpoint = ParseEndpoint(text.substr(0, equals));
    if (!endpoint) return Complain("listen address " + endpoint.error());
    listen.at = *endpoint;
    if (equals != std::string::npos) {
      const auto mode = ParseSinkMode(text.substr(equals + 1));
      if (!mode) return Complain(mode.error());
      listen.mode = *mode;
    }
    listens.push_back(listen);
  }
  RaiseDescriptorLimit();
  auto sink = Sink::Create(listens, args.backlog);
  if (!sink) return Complain(sink.error());
  std::cout << "{\"ready\":true}\n" << std::flush;
  (*sink)->Run(g_stop);
  const SinkStats& stats = (*sink)->Stats();
  std::cout << "{\"bytes_in\":" << stats.bytes_in << ",\"bytes_out\":" << stats.bytes_out
            << ",\"open\":" << stats.open << ",\"accept_errors\":" << stats.accept_errors
            << ",\"accepted\":{";
  for (std::size_t i = 0; i < listens.size(); ++i) {
    std::cout << (i == 0 ? "\"" : ",\"") << listens[i].at.ToString() << "\":" << stats.accepted[i];
  }
  std::cout << "}}\n" << std::flush;
  return 0;
}

int RunCompare(const Arguments& args) {
  const auto before = ReadMeasures(args.before);
  if (!before) return Complain(before.error());
  const auto after = ReadMeasures(args.after);
  if (!after) return Complain(after.error());
  const std::vector<Comparison> comparisons = Compare(*before, *after, args.tolerance);
  std::printf("%-28s %14s %14s %8s\n", "", "before", "after", "ratio");
  for (const Comparison& c : comparisons) {
    std::printf("%-28s %14.2f %14.2f %8.3f  %s\n", c.name.c_str(), c.before, c.after, c.ratio,
                ToString(c.change));
  }
  return HasRegression(comparisons) ? kExitInvalid : 0;
}

int RunMerge(const Arguments& args) {
  const auto sum = Merge(args.targets);
  return sum ? Report(args, *sum) : Complain(sum.error());
}

// ---- the command line --------------------------------------------------------------------------

void AddLoadOptions(CLI::App& command, Arguments& args, const char* connections_help) {
  command.add_option("target", args.targets, "ADDRESS:PORT; several take turns")->required();
  command.add_option("-c,--connections", args.connections, connections_help)
      ->check(CLI::Range(std::size_t{1}, std::size_t{1'000'000}))
      ->capture_default_str();
  command.add_option("--source", args.sources,
                     "source address or range (127.0.1.1-127.0.1.8); repeatable");
  command.add_option("--timeout", args.timeout, "an operation's time limit")->capture_default_str();
  command.add_flag("--tls", args.tls.enabled, "TLS from the first byte");
  command.add_flag("--resume", args.tls.resume, "resume one session in every handshake");
  command.add_option("--sni", args.tls.server_name, "server name to send");
  command.add_option("--ca", args.tls.ca_file, "verify the server's certificate by this file")
      ->check(CLI::ExistingFile);
  command.add_option("--tls-version", args.tls.version, "1.2 or 1.3")
      ->check(CLI::IsMember({"1.2", "1.3"}));
  command.add_option("--watch", args.watched, "PID whose CPU time is taken over the window");
  command.add_option("--json", args.json, "write the result to this file, - for standard output");
  command.add_flag("-q,--quiet", args.quiet, "no text on standard error");
}

void AddArrivalOptions(CLI::App& command, Arguments& args) {
  command.add_option("--rate", args.rate, "open loop at this rate, e.g. 500 or 500/s");
  command.add_option("--profile", args.profile,
                     "open loop by steps, e.g. 500/s:10s,2000/s:5s (sets the duration)");
  command.add_option("--arrivals", args.arrivals, "constant or poisson")
      ->check(CLI::IsMember({"constant", "poisson"}))
      ->capture_default_str();
  command.add_option("--seed", args.seed, "of random arrivals")->capture_default_str();
}

void AddTimingOptions(CLI::App& command, Arguments& args) {
  command.add_option("-d,--duration", args.duration, "length of the measuring window")
      ->capture_default_str();
  command.add_option("--warmup", args.warmup, "before the window opens")->capture_default_str();
  command.add_option("--count", args.count, "end the window after so many operations");
}

void AddPayloadOptions(CLI::App& command, Arguments& args) {
  command.add_option("--payload", args.payload, "bytes of a request (connect 64, echo 300)")
      ->check(CLI::Range(std::size_t{1}, std::size_t{1} << 24));
  command.add_option("--send", args.send, "the request itself, instead of --payload");
  command.add_option("--reply", args.reply, "echo: must repeat the request; any: what comes first")
      ->check(CLI::IsMember({"echo", "any"}))
      ->capture_default_str();
}

int Main(int argc, char** argv) {
  Arguments args;
  CLI::App app(
      "Load for anything that speaks TCP or TLS. Offered, achieved and held are shown apart; in\n"
      "open-loop runs latency counts from the intended start; a run that the generator could not\n"
      "keep up with is INVALID.");
  app.set_version_flag("--version", MONGOOSE_VERSION);
  app.require_subcommand(1);
  int status = 0;
  const auto command = [&](const char* name, const char* help, std::size_t connections,
                           std::function<int()> run) {
    CLI::App* sub = app.add_subcommand(name, help);
    sub->parse_complete_callback([&args, connections] {
      if (args.connections == 0) args.connections = connections;
    });
    sub->final_callback([&status, run = std::move(run)] { status = run(); });
    return sub;
  };
  CLI::App* connect = command("connect", "each operation: connect, one request, its reply, close",
                              64, [&] { return RunTimed(args, false); });
  AddLoadOptions(*connect, args, "most at one time [64]");
  CLI::App* echo = command("echo", "standing connections, one request in flight on each", 100,
                           [&] { return RunTimed(args, true); });
  AddLoadOptions(*echo, args, "how many [100]");
  for (CLI::App* sub : {connect, echo}) {
    AddArrivalOptions(*sub, args);
    AddTimingOptions(*sub, args);
    AddPayloadOptions(*sub, args);
  }
  CLI::App* bulk = command("bulk", "fetch many bytes (the target must be a sink)", 4,
                           [&] { return RunBulk(args); });
  AddLoadOptions(*bulk, args, "that share the bytes [4]");
  bulk->add_option("--gigabytes", args.gigabytes, "10^9 bytes in total")->capture_default_str();
  CLI::App* idle =
      command("idle", "open, exchange once, rest", 1000, [&] { return RunHold(args, false); });
  AddLoadOptions(*idle, args, "how many [1000]");
  CLI::App* storm = command("storm", "connections arrive by a profile and stay; failures back off",
                            10000, [&] { return RunHold(args, true); });
  AddLoadOptions(*storm, args, "most in all [10000]");
  for (CLI::App* sub : {idle, storm}) {
    AddArrivalOptions(*sub, args);
    AddPayloadOptions(*sub, args);
    sub->add_option("--hold", args.hold, "how long they rest, or stdin: until its end or a line")
        ->default_val("5s");
    sub->add_option("--retries", args.retries, "of a failed connection, with jittered back-off")
        ->capture_default_str();
    sub->add_flag("--no-exchange", args.no_exchange, "rest without a first request");
  }
  CLI::App* sink = command("sink", "serve: ADDRESS:PORT[=auto|echo|discard|respond]...", 1,
                           [&] { return RunSink(args); });
  sink->add_option("listen", args.targets, "where, and what to do there [auto]")->required();
  sink->add_option("--backlog", args.backlog, "of listening sockets")->capture_default_str();
  CLI::App* compare = command("compare", "two results: exit status 1 if B regressed", 1,
                              [&] { return RunCompare(args); });
  compare->add_option("before", args.before, "A.json")->required();
  compare->add_option("after", args.after, "B.json")->required();
  compare->add_option("--tolerance", args.tolerance, "share that may be lost")
      ->check(CLI::Range(0.0, 10.0))
      ->capture_default_str();
  CLI::App* merge = command("merge", "results of generators that ran side by side, as one", 1,
                            [&] { return RunMerge(args); });
  merge->add_option("result", args.targets, "A.json B.json ...")->required();
  merge->add_option("--json", args.json, "write the result to this file, - for standard output");
  merge->add_flag("-q,--quiet", args.quiet, "no text on standard error");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : kExitUsage;
  }
  return status;
}

}  // namespace
}  // namespace bench

int main(int argc, char** argv) {
  struct sigaction action{};
  action.sa_handler = bench::OnSignal;
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
  signal(SIGPIPE, SIG_IGN);
  // The default slack of 50 us would show as pacing lag.
  prctl(PR_SET_TIMERSLACK, 1UL, 0UL, 0UL, 0UL);
  return bench::Main(argc, argv);
}
