#include "bench/load/xmpp/xmpp_command.h"

#include <algorithm>
#include <fstream>
#include <iostream>

#include "bench/load/report.h"
#include "bench/load/xmpp/archive_scenario.h"
#include "bench/load/xmpp/hold_scenario.h"
#include "bench/load/xmpp/login_scenarios.h"
#include "bench/load/xmpp/muc_scenario.h"
#include "bench/load/xmpp/story_report.h"
#include "bench/load/xmpp/traffic_scenarios.h"

namespace bench {
namespace {

// Bounds of runs whatever happens. Building up a standing set takes servers minutes.
constexpr std::int64_t kLoginsLimitNs = 600'000'000'000;

// Under way at one time in closed loops: messages a pair, presences in all.
constexpr std::size_t kMessageWindow = 4;
constexpr std::size_t kPresenceWindow = 16;

LoginPlan MakePlan(const XmppArguments& args) {
  LoginPlan plan;
  if (args.security == "plain") plan.security = Security::kPlain;
  if (args.security == "tls") plan.security = Security::kDirectTls;
  if (args.mechanism == "scram-sha-256") plan.mechanism = Mechanism::kScramSha256;
  if (args.mechanism == "plain") plan.mechanism = Mechanism::kPlain;
  plan.stream_management = !args.no_stream_management;
  plan.carbons = !args.no_carbons;
  plan.roster = !args.no_roster;
  plan.presence = !args.no_presence;
  return plan;
}

std::expected<XmppOptions, std::string> MakeOptions(const XmppArguments& args,
                                                    std::size_t sessions) {
  XmppOptions options;
  auto targets = MakeTargets(args.common);
  if (!targets) return std::unexpected(targets.error());
  options.targets = std::move(*targets);
  auto sources = MakeSources(args.common);
  if (!sources) return std::unexpected(sources.error());
  options.sources = std::move(*sources);
  const auto timeout = ParseDurationNs(args.common.timeout);
  if (!timeout) return std::unexpected("--timeout: " + timeout.error());
  options.timeout_ns = *timeout;
  const std::size_t accounts = args.accounts == 0 ? sessions : args.accounts;
  auto pattern = ParseAccounts(args.users, args.password, args.first, accounts);
  if (!pattern) return std::unexpected("--users " + pattern.error());
  options.accounts = std::move(*pattern);
  auto watched = MakeWatched(args.common);
  if (!watched) return std::unexpected(watched.error());
  options.watched = std::move(*watched);
  const auto carried = CheckMeans(args.common, sessions);
  if (!carried) return std::unexpected(carried.error());
  options.sessions = sessions;
  options.tls = args.common.tls;
  options.live = WantsLive(args.common);
  options.plan = MakePlan(args);
  options.farewell = !args.cut;
  return options;
}

// Name resolution is the system's and blocks: its time is taken here, once a target, and not within
// the logins.
void MeasureNames(const Arguments& args, XmppEngine& engine) {
  for (const std::string& text : args.targets) {
    const std::string host = text.substr(0, text.rfind(':'));
    if (host.find_first_not_of("0123456789.:[]abcdefABCDEF") == std::string::npos) continue;
    const std::int64_t start = MonotonicNs();
    if (ParseEndpoint(text)) engine.Phase("dns").Record(MonotonicNs() - start);
  }
}

int RunScenario(const XmppArguments& args, const char* mode, XmppOptions options,
                XmppScenario& scenario, std::int64_t longest_ns) {
  const bool registers = options.plan.registration;
  auto engine = XmppEngine::Create(std::move(options));
  if (!engine) return Complain(engine.error());
  Result& result = (*engine)->Out();
  result.mode = std::string("xmpp ") + mode;
  MeasureNames(args.common, **engine);
  (*engine)->Run(scenario, MonotonicNs() + longest_ns);
  JudgeResult(result);
  // The load of a registration is nobody's measure.
  if (registers && result.Failures() == 0 && !result.interrupted) result.invalid.clear();
  return Report(args.common, result);
}

struct Course {
  std::optional<Arrivals> arrivals;
  Timing timing;
};

std::expected<Course, std::string> MakeCourse(const Arguments& args) {
  auto arrivals = MakeArrivals(args);
  if (!arrivals) return std::unexpected(arrivals.error());
  const auto timing = MakeTiming(args, *arrivals);
  if (!timing) return std::unexpected(timing.error());
  return Course{std::move(*arrivals), *timing};
}

std::int64_t LongestNs(const Timing& timing) {
  return timing.warmup_ns + timing.duration_ns + kLoginsLimitNs;
}

template <typename Scenario>
int RunTraffic(const XmppArguments& args, const char* mode, std::size_t sessions,
               std::size_t default_window, bool confirm) {
  auto course = MakeCourse(args.common);
  if (!course) return Complain(course.error());
  auto options = MakeOptions(args, sessions);
  if (!options) return Complain(options.error());
  options->plan.confirm = confirm;
  options->target_by_account = true;  // who is a neighbour of whom is known
  TrafficOptions traffic;
  traffic.timing = course->timing;
  traffic.window = args.window == 0 ? default_window : args.window;
  traffic.body_bytes = args.body;
  traffic.ack_every = args.ack_every;
  traffic.contacts = args.contacts;
  traffic.page = args.page;
  traffic.room = args.room;
  traffic.speakers = args.speakers;
  Scenario scenario(traffic, std::move(course->arrivals));
  return RunScenario(args, mode, std::move(*options), scenario, LongestNs(course->timing));
}

int RunHold(const XmppArguments& args, bool storm) {
  auto arrivals = MakeArrivals(args.common);
  if (!arrivals) return Complain(arrivals.error());
  if (storm && !*arrivals) {
    return Complain("a storm needs --rate or --profile, e.g. --profile 1000/s:10s,4000/s:5s");
  }
  if (args.resume && args.no_stream_management) return Complain("--resume is without --no-sm");
  auto options = MakeOptions(args, args.common.connections);
  if (!options) return Complain(options.error());
  options->plan.confirm = !storm && options->plan.presence;
  XmppHoldOptions hold;
  const auto time = MakeHold(args.common);
  if (!time) return Complain(time.error());
  hold.hold_ns = time->ns;
  if (time->until_told) hold.told_to_stop = InputSaysStop;
  hold.resume = args.resume;
  hold.retries_max = args.common.retries;
  hold.seed = args.common.seed;
  hold.on_held = [](XmppEngine& engine) {
    std::cout << "{\"held\":" << engine.OpenCount() << "}\n" << std::flush;
  };
  std::int64_t longest = kLoginsLimitNs + (*arrivals ? (*arrivals)->DurationNs() : 0);
  longest += time->until_told ? kHoldLongestNs : time->ns;
  XmppHoldScenario scenario(std::move(hold), std::move(*arrivals));
  return RunScenario(args, storm ? "storm" : "idle", std::move(*options), scenario, longest);
}

}  // namespace

int RunXmppRegister(const XmppArguments& args) {
  XmppArguments used = args;
  if (used.accounts == 0) return Complain("how many? give --accounts");
  used.common.connections = std::min(used.common.connections, used.accounts);
  auto options = MakeOptions(used, used.common.connections);
  if (!options) return Complain(options.error());
  options->plan.registration = true;
  RegisterScenario scenario;
  return RunScenario(used, "register", std::move(*options), scenario, kHoldLongestNs);
}

int RunXmppLogin(const XmppArguments& args) {
  if (args.resume && args.no_stream_management) return Complain("--resume is without --no-sm");
  auto course = MakeCourse(args.common);
  if (!course) return Complain(course.error());
  auto options = MakeOptions(args, args.common.connections);
  if (!options) return Complain(options.error());
  LoginScenario scenario({course->timing, !args.no_prime, args.resume},
                         std::move(course->arrivals));
  return RunScenario(args, "login", std::move(*options), scenario, LongestNs(course->timing));
}

int RunXmppMessage(const XmppArguments& args) {
  if (args.ack_every != 0 && args.no_stream_management) {
    return Complain("--ack-every is without --no-sm");
  }
  return RunTraffic<MessageScenario>(args, "message", 2 * args.pairs, kMessageWindow, true);
}

int RunXmppPresence(const XmppArguments& args) {
  if (args.no_presence) return Complain("presence is without --no-presence");
  return RunTraffic<PresenceScenario>(args, "presence", args.common.connections, kPresenceWindow,
                                      true);
}

int RunXmppMuc(const XmppArguments& args) {
  if (args.no_presence) return Complain("muc is without --no-presence");
  if (args.speakers > args.common.connections) {
    return Complain("--speakers are some of the occupants: see --connections");
  }
  XmppArguments used = args;
  if (used.room.empty()) {
    // What an earlier run has left has another name.
    used.room = "bench-" + std::to_string(FirstNumber()) + "@conference." +
                args.users.substr(args.users.find('@') + 1);
  } else if (used.room.find('@') == std::string::npos ||
             used.room.find_first_of("/'<&") != std::string::npos) {
    return Complain("--room \"" + used.room + "\" is no room: write name@conference.domain");
  }
  return RunTraffic<MucScenario>(used, "muc", args.common.connections, kMessageWindow, true);
}

int RunXmppArchive(const XmppArguments& args) {
  return RunTraffic<ArchiveScenario>(args, "archive", args.common.connections, 1, false);
}

int RunXmppIdle(const XmppArguments& args) { return RunHold(args, false); }
int RunXmppStorm(const XmppArguments& args) { return RunHold(args, true); }

namespace {

std::expected<StoryOptions, std::string> MakeStory(const XmppArguments& args) {
  StoryOptions story;
  const auto duration = ParseDurationNs(args.common.duration);
  if (!duration) return std::unexpected("--duration: " + duration.error());
  const auto settle = ParseDurationNs(args.settle);
  if (!settle) return std::unexpected("--settle: " + settle.error());
  story.duration_ns = *duration;
  story.settle_ns = *settle;
  story.body_bytes = args.body;
  story.seed = args.common.seed;
  if (!args.common.rate.empty()) {
    const auto steps =
        ParseProfile(args.common.rate + (args.common.rate.ends_with("/s") ? ":1s" : "/s:1s"));
    if (!steps) return std::unexpected("--rate: " + steps.error());
    story.rate = steps->front().per_second;
  }
  for (const std::string& text : args.acts) {
    auto act = ParseAct(text);
    if (!act) return std::unexpected("--do " + act.error());
    if (act->at_ns > story.duration_ns) {
      return std::unexpected("--do " + text + " is behind the end: see --duration");
    }
    story.acts.push_back(std::move(*act));
  }
  return story;
}

// False, and a word about it: it cannot be written.
bool WriteTo(const std::string& path, const std::string& text) {
  if (path.empty()) return true;
  if (path == "-") {
    std::cout << text << std::flush;
    return true;
  }
  std::ofstream file(path);
  file << text << std::flush;
  if (!file) Complain(path + " cannot be written");
  return file.good();
}

}  // namespace

int RunStory(const XmppArguments& args) {
  auto story_options = MakeStory(args);
  if (!story_options) return Complain(story_options.error());
  const std::size_t sessions = args.common.connections;
  if (sessions % 2 != 0) return Complain("--connections: sessions pair up, give an even number");
  auto options = MakeOptions(args, sessions);
  if (!options) return Complain(options.error());
  options->live = false;
  const std::int64_t longest =
      story_options->duration_ns + story_options->settle_ns + kLoginsLimitNs;
  std::vector<std::string> targets;
  for (const Endpoint& target : options->targets) targets.push_back(target.ToString());
  auto engine = XmppEngine::Create(std::move(*options));
  if (!engine) return Complain(engine.error());
  if (!args.common.quiet) {
    story_options->on_second = [](std::size_t number, const StorySecond& second) {
      std::cerr << SecondLine(number, second);
    };
    story_options->on_act = [](const Act& act) { std::cerr << ActLine(act); };
  }
  StoryScenario scenario(std::move(*story_options), sessions);
  (*engine)->Run(scenario, MonotonicNs() + longest);
  Result& result = (*engine)->Out();
  Story story{.target = result.target,
              .targets = std::move(targets),
              .sessions = sessions,
              .ready = scenario.ready(),
              .interrupted = result.interrupted,
              .may_repeat = args.may_repeat,
              .verdict = scenario.history().Judge(),
              .returned = scenario.returned(),
              .acts = scenario.acts(),
              .seconds = scenario.seconds(),
              .absence_p50_ns = scenario.absences().Quantile(0.5),
              .absence_max_ns = scenario.absences().Max(),
              .delivery_p50_ns = result.total.Quantile(0.5),
              .delivery_p99_ns = result.total.Quantile(0.99),
              .examples = result.examples,
              .invalid = {}};
  JudgeStory(story);
  if (!args.common.quiet) std::cerr << StoryText(story);
  if (!WriteTo(args.common.json, StoryJson(story)) || !WriteTo(args.html, StoryPage(story))) {
    return kExitUsage;
  }
  return IsGood(story) ? 0 : kExitInvalid;
}

}  // namespace bench
