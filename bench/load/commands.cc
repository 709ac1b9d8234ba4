#include "bench/load/commands.h"

#include <poll.h>
#include <unistd.h>

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

std::atomic<bool> g_stop{false};

}  // namespace

void StopRuns() {
  g_stop.store(true, std::memory_order_relaxed);
  Meter::RequestStop();
}

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
  ArrivalKind kind = ArrivalKind::kConstant;
  if (args.arrivals == "poisson") kind = ArrivalKind::kPoisson;
  if (args.arrivals == "jittered") kind = ArrivalKind::kJittered;
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

namespace {

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

}  // namespace

std::expected<std::vector<Endpoint>, std::string> MakeTargets(const Arguments& args) {
  std::vector<Endpoint> targets;
  for (const std::string& text : args.targets) {
    auto endpoint = ParseEndpoint(text);
    if (!endpoint) return std::unexpected("target " + endpoint.error());
    targets.push_back(*endpoint);
  }
  return targets;
}

std::expected<std::vector<Endpoint>, std::string> MakeSources(const Arguments& args) {
  std::vector<Endpoint> all;
  for (const std::string& text : args.sources) {
    auto sources = ParseSources(text);
    if (!sources) return std::unexpected("--source " + sources.error());
    all.insert(all.end(), sources->begin(), sources->end());
  }
  return all;
}

std::expected<std::vector<pid_t>, std::string> MakeWatched(const Arguments& args) {
  for (const int pid : args.watched) {
    if (!ProcessCpuNs(pid)) return std::unexpected("--watch: no process " + std::to_string(pid));
  }
  return args.watched;
}

std::expected<void, std::string> CheckMeans(const Arguments& args, std::size_t connections) {
  const auto sources = MakeSources(args);
  if (!sources) return std::unexpected(sources.error());
  return Preflight(Needs{connections, args.targets.size(), sources->size()},
                   Means{RaiseDescriptorLimit(), LocalPortCount()});
}

bool WantsLive(const Arguments& args) { return !args.quiet && isatty(STDERR_FILENO) == 1; }

namespace {

std::expected<EngineOptions, std::string> MakeEngineOptions(const Arguments& args) {
  EngineOptions options;
  auto targets = MakeTargets(args);
  if (!targets) return std::unexpected(targets.error());
  options.targets = std::move(*targets);
  auto sources = MakeSources(args);
  if (!sources) return std::unexpected(sources.error());
  options.sources = std::move(*sources);
  const auto timeout = ParseDurationNs(args.timeout);
  if (!timeout) return std::unexpected("--timeout: " + timeout.error());
  options.timeout_ns = *timeout;
  options.connections = args.connections;
  options.tls = args.tls;
  if (args.tls.resume && !args.tls.enabled) return std::unexpected("--resume needs --tls");
  auto watched = MakeWatched(args);
  if (!watched) return std::unexpected(watched.error());
  options.watched = std::move(*watched);
  options.live = WantsLive(args);
  const auto carried = CheckMeans(args, args.connections);
  if (!carried) return std::unexpected(carried.error());
  return options;
}

}  // namespace

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

namespace {

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

// Bounds of runs whatever happens: opening, and holding until told.
constexpr std::int64_t kConnectsLimitNs = 120'000'000'000;

int RunTimed(const Arguments& args, bool echo) {
  auto arrivals = MakeArrivals(args);
  if (!arrivals) return Complain(arrivals.error());
  const auto timing = MakeTiming(args, *arrivals);
  if (!timing) return Complain(timing.error());
  const Payload payload = MakePayload(args, echo ? 300 : 64);
  const std::int64_t longest = timing->warmup_ns + timing->duration_ns + kConnectsLimitNs;
  if (echo) {
    EchoScenario scenario(*timing, payload, std::move(*arrivals));
    return RunScenario(args, "echo", payload.request, scenario, longest);
  }
  ConnectScenario scenario(*timing, payload, std::move(*arrivals));
  return RunScenario(args, "connect", payload.request, scenario, longest);
}

}  // namespace

int RunBulk(const Arguments& args) {
  if (args.gigabytes <= 0 || args.gigabytes > 1e6) return Complain("--gigabytes must be positive");
  BulkScenario scenario(static_cast<std::uint64_t>(args.gigabytes * 1e9), args.connections);
  const auto seconds = static_cast<std::int64_t>(60 + args.gigabytes * 60);
  return RunScenario(args, "bulk", "x\n", scenario, seconds * 1'000'000'000);
}

std::expected<HoldTime, std::string> MakeHold(const Arguments& args) {
  if (args.hold == "stdin") return HoldTime{kNever, true};
  const auto hold = ParseDurationNs(args.hold);
  if (!hold) return std::unexpected("--hold: " + hold.error() + ", or stdin");
  return HoldTime{*hold, false};
}

bool InputSaysStop() {
  pollfd input{STDIN_FILENO, POLLIN, 0};
  return poll(&input, 1, 0) > 0;
}

namespace {

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
  std::int64_t longest = kConnectsLimitNs + (*arrivals ? (*arrivals)->DurationNs() : 0);
  const auto hold = MakeHold(args);
  if (!hold) return Complain(hold.error());
  options.hold_ns = hold->ns;
  if (hold->until_told) options.told_to_stop = InputSaysStop;
  longest += hold->until_told ? kHoldLongestNs : hold->ns;
  options.on_held = [](Engine& engine) {
    std::cout << "{\"held\":" << engine.OpenCount() << "}\n" << std::flush;
  };
  const std::string prime = MakePayload(args, 64).request;
  HoldScenario scenario(std::move(options), std::move(*arrivals));
  return RunScenario(args, storm ? "storm" : "idle", prime, scenario, longest);
}

}  // namespace

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

int RunConnect(const Arguments& args) { return RunTimed(args, false); }
int RunEcho(const Arguments& args) { return RunTimed(args, true); }
int RunIdle(const Arguments& args) { return RunHold(args, false); }
int RunStorm(const Arguments& args) { return RunHold(args, true); }

}  // namespace bench
