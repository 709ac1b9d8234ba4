#include "server/ctl/ctl.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <optional>
#include <utility>

#include "server/dist/node_name.h"

namespace server {
namespace {

constexpr int kOk = 0;
constexpr int kFailed = 1;
constexpr int kUsage = 2;
constexpr int kNodeDown = 3;

struct Call {
  std::span<const std::string> args;  // without the command
  NodeApi& node;
  Terminal& terminal;
};

struct FlatCommand {
  std::string_view name;
  std::string_view arguments;
  std::string_view help;
  bool needs_node;
  int (*run)(const Call&);
};

std::span<const FlatCommand> FlatCommands();

int Usage(Terminal& terminal) {
  terminal.Print(
      "Usage: mongooseimctl [COMMAND] [ARGUMENT]... | CATEGORY COMMAND [--ARG VALUE]...");
  terminal.Print("");
  for (const FlatCommand& command : FlatCommands()) {
    std::string line = "  " + std::string(command.name) + ' ' + std::string(command.arguments);
    line.resize(std::max<size_t>(line.size() + 1, 34), ' ');
    terminal.Print(line + std::string(command.help));
  }
  for (const FlatXmppCommand& command : FlatXmppCommands()) {
    std::string line = "  " + std::string(command.name) + ' ' + std::string(command.arguments);
    line.resize(std::max<size_t>(line.size() + 1, 34), ' ');
    terminal.Print(line + std::string(command.help));
  }
  for (const std::string_view line :
       {"  store migrate FROM TO           Copy a store into an empty one, by their URLs",
        "  store backup FILE               Copy the store while the node runs",
        "  store restore FILE              Put such a copy in the store's place",
        "  import prosody|xep0227 PATH     Take over the accounts of another server",
        "  export xep0227 FILE             Write all accounts for another server"}) {
    terminal.Print(line);
  }
  terminal.Print("");
  std::string categories;
  std::string_view last;
  for (const CtlCommandSpec& spec : CtlCommandSpecs()) {
    if (spec.category != last) categories += ' ' + std::string(spec.category);
    last = spec.category;
  }
  terminal.Print("  Categories:" + categories);
  return kUsage;
}

// --- orders
// ----------------------------------------------------------------------------------------

std::string_view Warning(OrderKind kind) {
  return kind == OrderKind::kRemove
             ? "Warning. If the node is alive this will drop all current connections on the remote "
               "node and will discard all persistent data from Mnesia. Do you want to continue? "
               "(yes/no)"
             : "Warning. This will drop all current connections and will discard all persistent "
               "data from Mnesia. Do you want to continue? (yes/no)";
}

std::string_view Progress(OrderKind kind) {
  switch (kind) {
    case OrderKind::kJoin:
      return "Joining the cluster...";
    case OrderKind::kLeave:
      return "Leaving the cluster...";
    case OrderKind::kRemove:
      break;
  }
  return "Removing node from the cluster...";
}

bool Confirmed(OrderKind kind, Terminal& terminal) {
  terminal.Print(Warning(kind));
  while (const auto answer = terminal.ReadLine()) {
    if (*answer == "yes") return true;
    if (*answer == "no") break;
    terminal.Print("Command unknown. Do you want to continue? (yes/no)");
    terminal.Print(Warning(kind));
  }
  terminal.Print("Operation discarded by user");
  return false;
}

int RunOrder(const Call& call, OrderKind kind) {
  bool force = false;
  std::vector<std::string> names;
  for (const std::string& arg : call.args) {
    // As a whole word: mim@my-foo holds "-f" and is a name.
    if (arg == "-f" || arg == "--force") {
      force = true;
    } else {
      names.push_back(arg);
    }
  }
  const size_t wanted = kind == OrderKind::kLeave ? 0 : 1;
  if (names.size() < wanted) {
    call.terminal.Print("This command requires one argument: other node's name");
    return kFailed;
  }
  if (names.size() > wanted) return Usage(call.terminal);
  if (!force && !Confirmed(kind, call.terminal)) return kFailed;
  if (!force) call.terminal.Print(Progress(kind));
  const std::string target = names.empty() ? "" : names[0];
  const OrderResult result = call.node.Order(kind, target, force);
  const OrderAnswer answer =
      AnswerOf(kind, result.outcome, call.node.Name(), target, result.detail);
  call.terminal.Print(answer.text);
  return answer.exit_code;
}

int JoinCluster(const Call& call) { return RunOrder(call, OrderKind::kJoin); }
int LeaveCluster(const Call& call) { return RunOrder(call, OrderKind::kLeave); }
int RemoveFromCluster(const Call& call) { return RunOrder(call, OrderKind::kRemove); }

// --- what is known
// ---------------------------------------------------------------------------------

int Status(const Call& call) {
  if (!call.args.empty()) return Usage(call.terminal);
  const NodeFacts facts = call.node.Facts();
  const int64_t s = facts.uptime_s;
  char uptime[64];
  std::snprintf(uptime, sizeof(uptime), "%lld days %02lld:%02lld:%02lld",
                static_cast<long long>(s / 86'400), static_cast<long long>(s / 3600 % 24),
                static_cast<long long>(s / 60 % 60), static_cast<long long>(s % 60));
  call.terminal.Print(
      "MongooseIM node " + call.node.Name() + ":\n    operating system pid: " +
      std::to_string(facts.os_pid) + "\n    Erlang VM status: " + facts.status +
      " (of: starting | started | stopping)\n    boot script status: " + facts.status +
      "\n    version: " + facts.version + " (as mongooseim)\n    uptime: " + uptime +
      "\n    distribution protocol: " + facts.protocol + "\n    logs:\n        " +
      (facts.log_path.empty() ? "none" : facts.log_path));
  return kOk;
}

int Mnesia(const Call& call) {
  if (call.args.size() != 1) return Usage(call.terminal);
  if (call.args[0] == "info") {
    call.terminal.Print(MnesiaInfo(call.node));
    return kOk;
  }
  const auto value = MnesiaKey(call.node, call.args[0]);
  if (!value) {
    std::string known;
    for (std::string_view key : MnesiaKeys())
      known += (known.empty() ? "" : ", ") + std::string(key);
    call.terminal.Print("Key \"" + call.args[0] + "\" does not exist; there are: info, " + known);
    return kFailed;
  }
  call.terminal.Print(value->list ? NodeList(value->values) : value->values[0]);
  return kOk;
}

int Cluster(const Call& call) {
  if (call.args.size() != 1 || call.args[0] != "digest") return Usage(call.terminal);
  for (const NodeTable& table : call.node.Tables()) {
    call.terminal.Print(table.name + ' ' + table.digest + ' ' + std::to_string(table.size));
  }
  return kOk;
}

int GetCookie(const Call& call) { return call.terminal.Print(call.node.Cookie()), kOk; }
int GetLogLevel(const Call& call) { return call.terminal.Print(call.node.LogLevel()), kOk; }

// --- the program's life
// ----------------------------------------------------------------------------

int WaitFor(const Call& call, bool up) {
  if (!call.args.empty()) return Usage(call.terminal);
  if (call.node.WaitFor(up)) return kOk;
  call.terminal.Print("wait_for_status: timeout");
  return kFailed;
}
int Started(const Call& call) { return WaitFor(call, true); }
int Stopped(const Call& call) { return WaitFor(call, false); }

int Launch(const Call& call, std::string_view how) {
  if (!call.args.empty()) return Usage(call.terminal);
  if (call.node.Up()) {
    call.terminal.Print("Node is already running!");
    return kFailed;
  }
  return call.node.Launch(how);
}
int Start(const Call& call) { return Launch(call, "start"); }
int Live(const Call& call) { return Launch(call, "live"); }
int Foreground(const Call& call) { return Launch(call, "foreground"); }

int Stop(const Call& call) { return call.node.Stop(), kOk; }
int Restart(const Call& call) { return call.node.Restart(), kOk; }

int GraphQl(const Call& call) {
  if (call.args.size() != 1) return Usage(call.terminal);
  return RunDocument(call.args[0], call.node, call.terminal);
}

int Account(const Call& call, AccountAction action, bool password) {
  if (call.args.size() != (password ? 3U : 2U)) return Usage(call.terminal);
  const AccountRequest request{.action = action,
                               .user = call.args[0] + "@" + call.args[1],
                               .password = password ? call.args[2] : ""};
  const AccountAnswer said = AnswerOf(request, call.node.Account(request), call.node.Name());
  call.terminal.Print(said.code.empty() ? said.text : "Error: " + said.text);
  return said.code.empty() ? kOk : kFailed;
}

int RegisteredUsers(const Call& call) {
  if (call.args.size() != 1) return Usage(call.terminal);
  const AccountRequest request{.action = AccountAction::kList, .user = call.args[0]};
  const AccountResult result = call.node.Account(request);
  const AccountAnswer said = AnswerOf(request, result, call.node.Name());
  if (!said.code.empty()) {
    call.terminal.Print("Error: " + said.text);
    return kFailed;
  }
  for (const std::string& name : result.names) call.terminal.Print(name);
  return kOk;
}

// 1 to 999,999,999, in digits alone.
bool IsCount(std::string_view value) {
  return !value.empty() && value.size() < 10 && value != "0" &&
         value.find_first_not_of("0123456789") == value.npos;
}

// drain [--rate N] [--deadline SECONDS] [--wait] [--force]
int Drain(const Call& call) {
  CtlArguments arguments;
  bool wait = false;
  for (size_t i = 0; i < call.args.size(); ++i) {
    const std::string& word = call.args[i];
    if (word == "--wait") {
      wait = true;
      continue;
    }
    if (word == "--force") {
      arguments["force"] = "true";
      continue;
    }
    const bool known = word == "--rate" || word == "--deadline";
    const std::string value = i + 1 < call.args.size() ? call.args[++i] : "";
    const bool number = IsCount(value);
    if (!known || !number) {
      call.terminal.Print(
          "Usage: mongooseimctl drain [--rate PER_SECOND] [--deadline SECONDS] [--wait] [--force]");
      return kUsage;
    }
    arguments[word.substr(2)] = value;
  }
  CtlAnswer answer = call.node.Xmpp("flat", "drain", arguments);
  std::string told;
  while (answer.faults.empty()) {
    const std::string left = answer.data.PlainOf("connections");
    const bool late = answer.data.PlainOf("late") == "true";
    if (left == "0") {
      call.terminal.Print(late ? "Drained; the deadline closed the last ones" : "Drained");
      return late ? kFailed : kOk;
    }
    if (left != told) call.terminal.Print(left + " connections left");
    told = left;
    if (!wait) return kOk;
    answer = call.node.Xmpp("flat", "drainStatus", {});
  }
  call.terminal.Print("Error: " + answer.faults.front().message);
  return kFailed;
}

int Undrain(const Call& call) {
  if (!call.args.empty()) return Usage(call.terminal);
  const CtlAnswer answer = call.node.Xmpp("flat", "undrain", {});
  if (answer.faults.empty()) {
    call.terminal.Print("It takes clients again");
    return kOk;
  }
  call.terminal.Print("Error: " + answer.faults.front().message);
  return kFailed;
}

// "0.05" in thousandths; nothing: it is no share, or not below 10.
std::optional<uint64_t> Permille(const std::string& text) {
  double share = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), share);
  const bool good = error == std::errc() && end == text.data() + text.size();
  if (!good || !(share >= 0 && share < 10)) return std::nullopt;
  return static_cast<uint64_t>(share * 1000 + 0.5);
}

// rebalance [--rate N] [--epsilon E]
int Rebalance(const Call& call) {
  CtlArguments arguments = {{"rate", "50"}, {"permille", "50"}};
  for (size_t i = 0; i < call.args.size(); i += 2) {
    const std::string value = i + 1 < call.args.size() ? call.args[i + 1] : "";
    const bool number = IsCount(value);
    const auto permille = Permille(value);
    if (call.args[i] == "--rate" && number) {
      arguments["rate"] = value;
    } else if (call.args[i] == "--epsilon" && permille) {
      arguments["permille"] = std::to_string(*permille);
    } else {
      call.terminal.Print("Usage: mongooseimctl rebalance [--rate PER_SECOND] [--epsilon SHARE]");
      return kUsage;
    }
  }
  CtlAnswer answer = call.node.Xmpp("flat", "rebalance", arguments);
  const auto told = [&](const char* name) { return answer.data.PlainOf(name); };
  const auto count = [&](const char* name) {
    return std::strtoull(told(name).c_str(), nullptr, 10);
  };
  if (answer.faults.empty()) {
    if (count("surplus") == 0) {
      call.terminal.Print("Nothing to shed: " + told("sessions") + " sessions here, " +
                          told("mean") + " a node");
      return kOk;
    }
    call.terminal.Print("Sheds " + told("surplus") + " of " + told("sessions") + " sessions (" +
                        told("mean") + " a node), " + arguments["rate"] + " a second");
    const uint64_t drained = count("drained"), resumable = count("resumable");
    do {
      answer = call.node.Xmpp("flat", "rebalanceStatus", {});
    } while (answer.faults.empty() && count("left") > 0);
    if (answer.faults.empty()) {
      const uint64_t shed = count("drained") - drained, resume = count("resumable") - resumable;
      call.terminal.Print("Shed " + std::to_string(shed) + ": " + std::to_string(resume) +
                          " may resume elsewhere, " + std::to_string(shed - resume) +
                          " log in anew");
      return kOk;
    }
  }
  call.terminal.Print("Error: " + answer.faults.front().message);
  return kFailed;
}

// stats NAME: one of the numbers of `stat globalStats`.
int Stats(const Call& call) {
  if (call.args.size() != 1) return Usage(call.terminal);
  const NodeStats stats = call.node.Stats();
  const std::string& name = call.args[0];
  const std::pair<std::string_view, uint64_t> known[] = {
      {"uptimeseconds", static_cast<uint64_t>(stats.uptime_s)},
      {"registeredusers", stats.registered_users},
      {"onlineusersnode", stats.online_users_node},
      {"onlineusers", stats.online_users},
      {"incoming_s2s_number", stats.incoming_s2s},
      {"outgoing_s2s_number", stats.outgoing_s2s}};
  for (const auto& [key, value] : known) {
    if (key == name) return call.terminal.Print(std::to_string(value)), kOk;
  }
  call.terminal.Print("Error: there is no statistic '" + name + "'");
  return kFailed;
}

// Commands of releases up to 5 that are not there yet.
constexpr std::array kLater = std::to_array<std::string_view>({"remove_node", "bootstrap"});

constexpr std::array<FlatCommand, 27> kFlatCommands = {{
    {"start", "", "Start the node in the background", false, Start},
    {"live", "", "Start the node with its log on the terminal", false, Live},
    {"foreground", "", "Start the node in the foreground", false, Foreground},
    {"stop", "", "Stop the node in order", true, Stop},
    {"restart", "", "Restart the node", true, Restart},
    {"started", "", "Wait until the node is started, 60 s at most", false, Started},
    {"stopped", "", "Wait until the node is stopped, 60 s at most", false, Stopped},
    {"status", "", "Show the state of the node", true, Status},
    {"join_cluster", "[-f] NODE", "Join the cluster that NODE belongs to", true, JoinCluster},
    {"leave_cluster", "[-f]", "Leave the cluster; -f also with all others down", true,
     LeaveCluster},
    {"remove_from_cluster", "[-f] NODE", "Remove NODE, dead or alive", true, RemoveFromCluster},
    {"mnesia", "info|KEY", "Show the cluster as Mnesia would", true, Mnesia},
    {"cluster", "digest", "Show digests of the tables, equal on all nodes at rest", true, Cluster},
    {"register", "USER HOST PASSWORD", "Register an account", true,
     [](const Call& call) { return Account(call, AccountAction::kRegister, true); }},
    {"unregister", "USER HOST", "Remove an account", true,
     [](const Call& call) { return Account(call, AccountAction::kRemove, false); }},
    {"registered_users", "HOST", "List the accounts of a host", true, RegisteredUsers},
    {"change_password", "USER HOST PASSWORD", "Change the password of an account", true,
     [](const Call& call) { return Account(call, AccountAction::kSetPassword, true); }},
    {"check_account", "USER HOST", "Look whether an account exists", true,
     [](const Call& call) { return Account(call, AccountAction::kCheck, false); }},
    {"check_password", "USER HOST PASSWORD", "Look whether a password is right", true,
     [](const Call& call) { return Account(call, AccountAction::kCheckPassword, true); }},
    {"drain", "[--rate N] [--deadline S] [--wait] [--force]",
     "Take the node out of service: close clients' "
     "connections, so many a second; --force: also where the others cannot carry it",
     true, Drain},
    {"rebalance", "[--rate N] [--epsilon E]",
     "Send what is above (1+E) of a node's mean to the others, so many a second", true, Rebalance},
    {"undrain", "", "Take a node that drains back into service", true, Undrain},
    {"stats", "NAME", "Show a number: registeredusers, onlineusers, …", true, Stats},
    {"get_cookie", "", "Show the cookie", true, GetCookie},
    {"get_loglevel", "", "Show the log level", true, GetLogLevel},
    {"graphql", "'DOC'", "Answer a document of GraphQL", true, GraphQl},
    {"help", "", "Show this", false, [](const Call& call) { return Usage(call.terminal); }},
}};

std::span<const FlatCommand> FlatCommands() { return kFlatCommands; }

}  // namespace

int RunCtl(std::span<const std::string> args, NodeApi& node, Terminal& terminal) {
  if (args.empty()) return Usage(terminal);
  const auto down = [&] {
    terminal.Print("Failed RPC connection to the node " + QuotedNodeName(node.Name()) +
                   ": nodedown");
    return kNodeDown;
  };
  // Of a word that is both ("mnesia"), the newer form is the one that names a command of it.
  const bool newer = IsCtlCategory(args[0]) &&
                     (args.size() == 1 || args[1].starts_with("--") ||
                      std::ranges::any_of(CtlCommandSpecs(), [&](const CtlCommandSpec& spec) {
                        return spec.category == args[0] && spec.command == args[1];
                      }));
  for (const FlatCommand& command : kFlatCommands) {
    if (newer || command.name != args[0]) continue;
    if (command.needs_node && !node.Up()) return down();
    return command.run({args.subspan(1), node, terminal});
  }
  if (IsCtlCategory(args[0])) {
    const bool asks = args.size() > 1 && !args[1].starts_with("--");
    if (asks && !node.Up()) return down();
    return RunCategory(args, node, terminal);
  }
  if (std::ranges::find(FlatXmppCommands(), args[0], &FlatXmppCommand::name) !=
      FlatXmppCommands().end()) {
    return node.Up() ? *RunFlatXmpp(args, node, terminal) : down();
  }
  if (std::ranges::find(kLater, args[0]) != kLater.end()) {
    terminal.Print("Error: the command '" + args[0] + "' is not there yet");
    return kFailed;
  }
  const bool category_form = args.size() > 1 && args[1].find("--") != 0;
  terminal.Print(category_form ? "Unknown category" : "Unknown command '" + args[0] + "'");
  terminal.Print("");
  Usage(terminal);
  return kFailed;
}

}  // namespace server
