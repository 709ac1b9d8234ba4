// mongoosebench: load for anything that speaks TCP, TLS or XMPP, and the sink to stand behind it.
// The command line; what the commands do is in commands.cc and xmpp/xmpp_command.cc.
#include <signal.h>
#include <sys/prctl.h>

#include <CLI/CLI.hpp>

#include "bench/load/commands.h"
#include "bench/load/xmpp/xmpp_command.h"

namespace bench {
namespace {

// ---- the command line --------------------------------------------------------------------------

// What every generator of load has.
void AddCommonOptions(CLI::App& command, Arguments& args) {
  command.add_option("target", args.targets, "ADDRESS:PORT; several take turns")->required();
  command.add_option("--source", args.sources,
                     "source address or range (127.0.1.1-127.0.1.8); repeatable");
  command.add_option("--timeout", args.timeout, "an operation's time limit")->capture_default_str();
  command.add_option("--sni", args.tls.server_name, "server name to send");
  command.add_option("--ca", args.tls.ca_file, "verify the server's certificate by this file")
      ->check(CLI::ExistingFile);
  command.add_option("--tls-version", args.tls.version, "1.2 or 1.3")
      ->check(CLI::IsMember({"1.2", "1.3"}));
  command.add_option("--watch", args.watched, "PID whose CPU time is taken over the window");
  command.add_option("--json", args.json, "write the result to this file, - for standard output");
  command.add_flag("-q,--quiet", args.quiet, "no text on standard error");
}

void AddLoadOptions(CLI::App& command, Arguments& args, const char* connections_help) {
  AddCommonOptions(command, args);
  command.add_option("-c,--connections", args.connections, connections_help)
      ->check(CLI::Range(std::size_t{1}, std::size_t{1'000'000}))
      ->capture_default_str();
  command.add_flag("--tls", args.tls.enabled, "TLS from the first byte");
  command.add_flag("--resume", args.tls.resume, "resume one session in every handshake");
}

void AddArrivalOptions(CLI::App& command, Arguments& args) {
  command.add_option("--rate", args.rate, "open loop at this rate, e.g. 500 or 500/s");
  command.add_option("--profile", args.profile,
                     "open loop by steps, e.g. 500/s:10s,2000/s:5s (sets the duration)");
  command.add_option("--arrivals", args.arrivals, "constant, poisson or jittered")
      ->check(CLI::IsMember({"constant", "poisson", "jittered"}))
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

void AddHoldOptions(CLI::App& command, Arguments& args) {
  command.add_option("--hold", args.hold, "how long they rest, or stdin: until its end or a line")
      ->capture_default_str();
  command.add_option("--retries", args.retries, "of a failed connection, with jittered back-off")
      ->capture_default_str();
}

// ---- xmpp --------------------------------------------------------------------------------------

void AddXmppOptions(CLI::App& command, XmppArguments& args) {
  AddCommonOptions(command, args.common);
  command.add_option("--users", args.users, "accounts, with %d for their number: user%d@domain")
      ->required();
  command.add_option("--password", args.password, "of all, with or without a %d")->required();
  command.add_option("--first", args.first, "number of the first account")->capture_default_str();
  command.add_option("--accounts", args.accounts, "how many there are [one a session]")
      ->check(CLI::Range(std::size_t{1}, std::size_t{100'000'000}));
  command.add_option("--security", args.security, "starttls, tls (from the first byte) or plain")
      ->check(CLI::IsMember({"starttls", "tls", "plain"}))
      ->capture_default_str();
  command.add_option("--mechanism", args.mechanism, "scram-sha-1, scram-sha-256 or plain")
      ->check(CLI::IsMember({"scram-sha-1", "scram-sha-256", "plain"}))
      ->capture_default_str();
  command.add_flag("--no-sm", args.no_stream_management, "without stream management (XEP-0198)");
  command.add_flag("--no-carbons", args.no_carbons, "without carbons (XEP-0280)");
  command.add_flag("--no-roster", args.no_roster, "without asking for the roster");
  command.add_flag("--no-presence", args.no_presence, "sessions stay unavailable");
  command.add_flag("--cut", args.cut, "end by cutting the connections, without goodbyes");
}

void AddXmppCommands(CLI::App& app, XmppArguments& args, int& status) {
  CLI::App* xmpp = app.add_subcommand("xmpp", "sessions of real clients: login, message, ...");
  xmpp->require_subcommand(1);
  const auto command = [&](const char* name, const char* help, std::size_t sessions,
                           std::function<int()> run) {
    CLI::App* sub = xmpp->add_subcommand(name, help);
    sub->parse_complete_callback([&args, sessions] {
      if (args.common.connections == 0) args.common.connections = sessions;
    });
    sub->final_callback([&status, run = std::move(run)] { status = run(); });
    AddXmppOptions(*sub, args);
    return sub;
  };
  const auto count_option = [&args](CLI::App& sub, const char* help) {
    sub.add_option("-c,--connections", args.common.connections, help)
        ->check(CLI::Range(std::size_t{1}, std::size_t{1'000'000}));
  };
  CLI::App* registration = command("register", "make the accounts (XEP-0077)", 32,
                                   [&] { return RunXmppRegister(args); });
  count_option(*registration, "most at one time [32]");
  CLI::App* login = command("login", "each operation: connect, log in, say goodbye", 64,
                            [&] { return RunXmppLogin(args); });
  count_option(*login, "most at one time [64]");
  login->add_flag("--no-prime", args.no_prime, "salt passwords within the run");
  CLI::App* message = command("message", "pairs of sessions, the first sends to the second", 1,
                              [&] { return RunXmppMessage(args); });
  message->add_option("--pairs", args.pairs, "how many")
      ->check(CLI::Range(std::size_t{1}, std::size_t{100'000}))
      ->capture_default_str();
  message->add_option("--window", args.window, "messages under way a pair [4], without --rate");
  message->add_option("--body", args.body, "bytes of a body")->capture_default_str();
  message->add_option("--ack-every", args.ack_every,
                      "ask for an acknowledgement after so many messages [0: never]");
  CLI::App* presence =
      command("presence", "changes of presence, each to all of a session's contacts", 210,
              [&] { return RunXmppPresence(args); });
  count_option(*presence, "sessions [210]");
  presence->add_option("--contacts", args.contacts, "of each session, all of them here")
      ->check(CLI::Range(std::size_t{1}, std::size_t{100'000}))
      ->capture_default_str();
  presence->add_option("--window", args.window, "presences under way [16], without --rate");
  CLI::App* muc = command("muc", "one room: some of its occupants speak, all listen", 100,
                          [&] { return RunXmppMuc(args); });
  count_option(*muc, "occupants [100]");
  muc->add_option("--speakers", args.speakers, "how many of them speak")
      ->check(CLI::Range(std::size_t{1}, std::size_t{1000}))
      ->capture_default_str();
  muc->add_option("--room", args.room, "name@service [a new one at conference.domain]");
  muc->add_option("--window", args.window, "messages under way a speaker [4], without --rate");
  muc->add_option("--body", args.body, "bytes of a body")->capture_default_str();
  CLI::App* archive = command("archive", "sessions that read their archives, newest first", 1,
                              [&] { return RunXmppArchive(args); });
  count_option(*archive, "sessions [1]");
  archive->add_option("--page", args.page, "messages a page")->capture_default_str();
  CLI::App* idle =
      command("idle", "sessions that log in and rest", 1000, [&] { return RunXmppIdle(args); });
  CLI::App* storm = command("storm", "sessions arrive by a profile and stay; failures back off",
                            10000, [&] { return RunXmppStorm(args); });
  count_option(*idle, "how many [1000]");
  count_option(*storm, "how many [10000]");
  for (CLI::App* sub : {login, message, presence, muc, archive, storm, idle}) {
    AddArrivalOptions(*sub, args.common);
    AddTimingOptions(*sub, args.common);
  }
  for (CLI::App* sub : {login, storm}) {
    sub->add_flag("--resume", args.resume, "cut connections and resume their streams");
  }
  for (CLI::App* sub : {idle, storm}) AddHoldOptions(*sub, args.common);
}

void AddStoryCommand(CLI::App& app, XmppArguments& args, int& status) {
  CLI::App* story = app.add_subcommand(
      "scenario",
      "sessions that chat through kills, drains and cuts, and a judge of what they got");
  story->parse_complete_callback([&args, story] {
    if (args.common.connections == 0) args.common.connections = 100;
    if (story->count("--duration") == 0) args.common.duration = "30s";
  });
  story->final_callback([&args, &status] { status = RunStory(args); });
  AddXmppOptions(*story, args);
  story->add_option("-c,--connections", args.common.connections, "sessions, in pairs [100]")
      ->check(CLI::Range(std::size_t{2}, std::size_t{100'000}));
  story->add_option("-d,--duration", args.common.duration, "of the sending [30s]");
  story->add_option("--rate", args.common.rate, "messages of all sessions, e.g. 500/s [100/s]");
  story->add_option("--body", args.body, "bytes of a body")->capture_default_str();
  story->add_option("--do", args.acts,
                    "TIME:COMMAND of a shell, e.g. '10s:kill -9 123'; repeatable");
  story->add_option("--settle", args.settle, "at most so long what was counted may take to come")
      ->capture_default_str();
  story->add_flag("--may-repeat", args.may_repeat,
                  "nodes die in it: what was under way may come twice or late; it is shown, and no "
                  "fault");
  story->add_option("--html", args.html, "write a page with plots to this file");
  story->add_option("--seed", args.common.seed, "of the pauses before coming back")
      ->capture_default_str();
}

int Main(int argc, char** argv) {
  Arguments args;
  CLI::App app(
      "Load for anything that speaks TCP, TLS or XMPP. Offered, achieved and held are shown apart; "
      "in\n"
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
                              64, [&] { return RunConnect(args); });
  AddLoadOptions(*connect, args, "most at one time [64]");
  CLI::App* echo = command("echo", "standing connections, one request in flight on each", 100,
                           [&] { return RunEcho(args); });
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
      command("idle", "open, exchange once, rest", 1000, [&] { return RunIdle(args); });
  AddLoadOptions(*idle, args, "how many [1000]");
  CLI::App* storm = command("storm", "connections arrive by a profile and stay; failures back off",
                            10000, [&] { return RunStorm(args); });
  AddLoadOptions(*storm, args, "most in all [10000]");
  for (CLI::App* sub : {idle, storm}) {
    AddArrivalOptions(*sub, args);
    AddPayloadOptions(*sub, args);
    AddHoldOptions(*sub, args);
    sub->add_flag("--no-exchange", args.no_exchange, "rest without a first request");
  }
  XmppArguments xmpp;
  AddXmppCommands(app, xmpp, status);
  AddStoryCommand(app, xmpp, status);
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
  action.sa_handler = [](int /*signal*/) { bench::StopRuns(); };
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
  signal(SIGPIPE, SIG_IGN);
  // The default slack of 50 us would show as pacing lag.
  prctl(PR_SET_TIMERSLACK, 1UL, 0UL, 0UL, 0UL);
  return bench::Main(argc, argv);
}
