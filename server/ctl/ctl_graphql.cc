// CATEGORY COMMAND --arg VALUE, and GraphQL's envelope for the answer.
#include <algorithm>
#include <array>
#include <charconv>
#include <map>
#include <utility>

#include "server/ctl/ctl.h"
#include "server/ctl/ctl_answer.h"
#include "server/ctl/ctl_document.h"
#include "server/ctl/ctl_json.h"
#include "server/dist/node_name.h"

namespace server {
namespace {

using Arguments = CtlArguments;
using Fault = CtlFault;
using Answer = CtlAnswer;

// --- arguments
// -------------------------------------------------------------------------------------

struct ArgumentSpec {
  std::string name;
  std::string type;  // without the '!'
  bool mandatory = false;
};

std::vector<ArgumentSpec> SpecsOf(std::string_view text) {
  std::vector<ArgumentSpec> specs;
  while (!text.empty()) {
    const size_t end = std::min(text.find(' '), text.size());
    const std::string_view item = text.substr(0, end);
    const size_t colon = item.find(':');
    std::string type(item.substr(colon + 1));
    const bool mandatory = type.ends_with('!');
    if (mandatory) type.pop_back();
    specs.push_back({std::string(item.substr(0, colon)), std::move(type), mandatory});
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return specs;
}

// ["a","b"]: what lists of names are written as. Nothing for anything else.
std::optional<std::vector<std::string>> ListOf(std::string_view text) {
  const auto list = CtlJson::Parse(text);
  if (!list || !list->list()) return std::nullopt;
  std::vector<std::string> out;
  for (const auto& [key, value] : list->values()) {
    if (!value.text()) return std::nullopt;
    out.push_back(value.Plain());
  }
  return out;
}

constexpr std::array<std::string_view, 10> kLevels = {
    "NONE", "EMERGENCY", "ALERT", "CRITICAL", "ERROR", "WARNING", "NOTICE", "INFO", "DEBUG", "ALL"};

bool Fits(std::string_view type, std::string_view value) {
  if (type == "PosInt" || type == "NonNegInt" || type == "Int") {
    int64_t number = 0;
    const char* end = value.data() + value.size();
    const auto [at, error] = std::from_chars(value.data(), end, number);
    if (error != std::errc() || at != end) return false;
    return type == "Int" || number > 0 || (type == "NonNegInt" && number == 0);
  }
  if (type == "LogLevel") return std::find(kLevels.begin(), kLevels.end(), value) != kLevels.end();
  if (type.starts_with("[String")) return ListOf(value).has_value();
  if (type.starts_with('[') || type.ends_with("Input")) {
    const auto json = CtlJson::Parse(value);
    return json && !json->scalar() && json->list() == type.starts_with('[');
  }
  return type == "String" || !value.empty();
}

// --- the commands that nodes have
// ------------------------------------------------------------------

Answer Text(std::string_view text) { return {.data = CtlJson::Text(text)}; }

Answer Order(NodeApi& node, OrderKind kind, const std::string& target) {
  const OrderResult result = node.Order(kind, target, false);
  const std::string self = QuotedNodeName(node.Name());
  const std::string other = QuotedNodeName(target);
  const auto fault = [&](std::string message, std::string_view code) {
    Fault out{std::move(message), {}};
    out.extensions.emplace_back("node", kind == OrderKind::kLeave ? node.Name() : target);
    out.extensions.emplace_back("code", code);
    return Answer{.data = CtlJson::Null(), .faults = {std::move(out)}};
  };
  switch (result.outcome) {
    case Outcome::kDone:
      if (kind == OrderKind::kJoin) {
        return Text("You have successfully added the MongooseIM node " + self +
                    " to the cluster with node member " + other + ".");
      }
      if (kind == OrderKind::kLeave) {
        return Text("The MongooseIM node " + self + " has successfully left the cluster");
      }
      return Text("The MongooseIM node " + other + " has been removed from the cluster");
    case Outcome::kDoneDead:
      return Text("The dead MongooseIM node " + other + " has been removed from the cluster");
    case Outcome::kAlreadyJoined:
      return fault("The MongooseIM node " + target + " has already joined the cluster.",
                   "already_joined");
    case Outcome::kUnreachable:
      return fault("Timeout while attempting to connect to a MongooseIM node " + target, "pang");
    case Outcome::kNotInCluster:
      return fault("The MongooseIM node " + self + " is not in the cluster", "not_in_cluster");
    case Outcome::kUnknownNode:
    case Outcome::kPeersDown:
    case Outcome::kFailed:
      break;
  }
  return fault(AnswerOf(kind, result.outcome, node.Name(), target, result.detail).text, "error");
}

Answer ServerStatus(NodeApi& node, const Arguments&) {
  const NodeFacts facts = node.Facts();
  CtlJson status = CtlJson::Object();
  status.Set("version", CtlJson::Text(facts.version));
  status.Set("statusCode", CtlJson::Text(facts.status == "started" ? "RUNNING" : "NOT_RUNNING"));
  status.Set("message", CtlJson::Text("The node " + QuotedNodeName(node.Name()) +
                                      " is started. Status: " + facts.status + ". MongooseIM " +
                                      facts.version + " is running in that node."));
  status.Set("commitHash", CtlJson::Text(facts.commit));
  return {.data = std::move(status)};
}

Answer MnesiaSystemInfo(NodeApi& node, const Arguments& arguments) {
  std::vector<std::string> keys;
  if (const auto it = arguments.find("keys"); it != arguments.end()) {
    keys = *ListOf(it->second);
  } else {
    for (std::string_view key : MnesiaKeys()) keys.emplace_back(key);
  }
  Answer answer{.data = CtlJson::List()};
  for (const std::string& key : keys) {
    const auto value = MnesiaKey(node, key);
    if (!value) {
      answer.faults.push_back(
          {"Key \"" + key + "\" does not exist", {{"key", key}, {"code", "bad_key_error"}}});
      answer.data.Add(CtlJson::Null());
      continue;
    }
    CtlJson item = CtlJson::Object();
    item.Set("result",
             value->list ? CtlJson::Texts(value->values) : CtlJson::Text(value->values[0]));
    item.Set("key", CtlJson::Text(key));
    answer.data.Add(std::move(item));
  }
  return answer;
}

Answer CetsSystemInfo(NodeApi& node, const Arguments&) {
  const NodeCluster cluster = node.ClusterView();
  CtlJson info = CtlJson::Object();
  info.Set("availableNodes", CtlJson::Texts(cluster.running));
  info.Set("unavailableNodes", CtlJson::Texts(cluster.stopped));
  info.Set("joinedNodes", CtlJson::Texts(cluster.running));
  info.Set("discoveredNodes",
           CtlJson::Texts(cluster.discovered.empty() ? cluster.members : cluster.discovered));
  for (const char* none :
       {"remoteNodesWithoutDisco", "remoteNodesWithUnknownTables", "remoteUnknownTables",
        "remoteNodesWithMissingTables", "remoteMissingTables"}) {
    info.Set(none, CtlJson::List());
  }
  info.Set("conflictNodes", CtlJson::Texts(cluster.conflict_nodes));
  info.Set("conflictTables", CtlJson::Texts(cluster.conflict_tables));
  info.Set("discoveryWorks", CtlJson::Bool(cluster.discovery_works));
  return {.data = std::move(info)};
}

Answer CetsTableInfo(NodeApi& node, const Arguments&) {
  const std::vector<std::string> running = node.ClusterView().running;
  CtlJson list = CtlJson::List();
  for (const NodeTable& table : node.Tables()) {
    CtlJson item = CtlJson::Object();
    item.Set("tableName", CtlJson::Text("cets_" + table.name));
    item.Set("size", CtlJson::Count(table.size));
    item.Set("nodes", CtlJson::Texts(running));
    item.Set("memory", CtlJson::Count(table.memory_bytes));
    list.Add(std::move(item));
  }
  return {.data = std::move(list)};
}

Answer GlobalStats(NodeApi& node, const Arguments&) {
  const NodeStats stats = node.Stats();
  CtlJson out = CtlJson::Object();
  out.Set("uptimeSeconds", CtlJson::Number(stats.uptime_s));
  out.Set("registeredUsers", CtlJson::Count(stats.registered_users));
  out.Set("onlineUsersNode", CtlJson::Count(stats.online_users_node));
  out.Set("onlineUsers", CtlJson::Count(stats.online_users));
  out.Set("incomingS2S", CtlJson::Count(stats.incoming_s2s));
  out.Set("outgoingS2S", CtlJson::Count(stats.outgoing_s2s));
  return {.data = std::move(out)};
}

// Those whose name begins with what `name` says.
std::vector<NodeMetric> Chosen(std::vector<NodeMetric> metrics, const Arguments& arguments) {
  const auto it = arguments.find("name");
  if (it == arguments.end()) return metrics;
  const std::vector<std::string> prefix = *ListOf(it->second);
  std::erase_if(metrics, [&](const NodeMetric& metric) {
    return metric.name.size() < prefix.size() ||
           !std::equal(prefix.begin(), prefix.end(), metric.name.begin());
  });
  return metrics;
}

Answer GetMetrics(NodeApi& node, const Arguments& arguments) {
  CtlJson list = CtlJson::List();
  for (const NodeMetric& metric : Chosen(node.Metrics(), arguments)) {
    CtlJson item = CtlJson::Object();
    item.Set("value", CtlJson::Number(metric.value));
    item.Set("type", CtlJson::Text("gauge"));
    item.Set("name", CtlJson::Texts(metric.name));
    list.Add(std::move(item));
  }
  return {.data = std::move(list)};
}

CtlJson DictsOf(const std::vector<NodeMetric>& metrics, const Arguments& arguments) {
  const auto keys = arguments.find("keys");
  const auto wanted = keys == arguments.end() ? std::nullopt : ListOf(keys->second);
  CtlJson list = CtlJson::List();
  for (const NodeMetric& metric : metrics) {
    CtlJson dict = CtlJson::List();
    if (!wanted || std::ranges::find(*wanted, "value") != wanted->end()) {
      CtlJson entry = CtlJson::Object();
      entry.Set("value", CtlJson::Number(metric.value));
      entry.Set("key", CtlJson::Text("value"));
      dict.Add(std::move(entry));
    }
    CtlJson item = CtlJson::Object();
    item.Set("name", CtlJson::Texts(metric.name));
    item.Set("dict", std::move(dict));
    list.Add(std::move(item));
  }
  return list;
}

Answer GetMetricsAsDicts(NodeApi& node, const Arguments& arguments) {
  return {.data = DictsOf(Chosen(node.Metrics(), arguments), arguments)};
}

// A node that does not tell is a fault beside what the others said.
Answer GetClusterMetrics(NodeApi& node, const Arguments& arguments) {
  const auto nodes = arguments.find("nodes");
  Answer answer{.data = CtlJson::List()};
  for (NodeMetrics& one : node.ClusterMetrics(nodes == arguments.end() ? std::vector<std::string>()
                                                                       : *ListOf(nodes->second))) {
    if (!one.error.empty()) {
      answer.faults.push_back({"The node " + one.node + " did not answer: " + one.error,
                               {{"node", one.node}, {"code", "node_not_answering"}}});
      continue;
    }
    CtlJson item = CtlJson::Object();
    item.Set("node", CtlJson::Text(one.node));
    item.Set("result", DictsOf(Chosen(std::move(one.metrics), arguments), arguments));
    answer.data.Add(std::move(item));
  }
  return answer;
}

Answer Account(NodeApi& node, const AccountRequest& request) {
  const AccountResult result = node.Account(request);
  const AccountAnswer said = AnswerOf(request, result, node.Name());
  const bool checks =
      request.action == AccountAction::kCheck || request.action == AccountAction::kCheckPassword;
  // That it is not so is an answer, too.
  const bool no = checks && (result.outcome == AccountOutcome::kWrong ||
                             result.outcome == AccountOutcome::kAbsent);
  if (!said.code.empty() && !no) {
    Fault fault{said.text, {}};
    fault.extensions.emplace_back("jid", request.user);
    fault.extensions.emplace_back("code", said.code);
    return {.data = CtlJson::Null(), .faults = {std::move(fault)}};
  }
  if (request.action == AccountAction::kList) return {.data = CtlJson::Texts(result.names)};
  if (request.action == AccountAction::kCount) return {.data = CtlJson::Count(result.count)};
  CtlJson out = CtlJson::Object();
  out.Set("message", CtlJson::Text(said.text));
  if (request.action == AccountAction::kCheckPassword) out.Set("correct", CtlJson::Bool(!no));
  if (request.action == AccountAction::kCheck) out.Set("exist", CtlJson::Bool(!no));
  if (!checks) out.Set("jid", CtlJson::Text(request.user));
  return {.data = std::move(out)};
}

uint64_t NumberOf(const Arguments& arguments, std::string_view name) {
  const auto it = arguments.find(name);
  uint64_t number = 0;
  if (it != arguments.end()) {
    std::from_chars(it->second.data(), it->second.data() + it->second.size(), number);
  }
  return number;
}

Answer RegisterUser(NodeApi& node, const Arguments& a) {
  const auto name = a.find("username");
  if (name == a.end()) {
    return {.data = CtlJson::Null(),
            .faults = {{"Give the account a name, by --username", {{"code", "no_username"}}}}};
  }
  return Account(node, {.action = AccountAction::kRegister,
                        .user = name->second + "@" + a.at("domain"),
                        .password = a.at("password")});
}

struct Served {
  std::string_view category;
  std::string_view command;
  Answer (*run)(NodeApi&, const Arguments&);
};

constexpr std::array<Served, 23> kServed = {{
    {"server", "status", ServerStatus},
    {"server", "joinCluster",
     [](NodeApi& n, const Arguments& a) { return Order(n, OrderKind::kJoin, a.at("node")); }},
    {"server", "leaveCluster",
     [](NodeApi& n, const Arguments&) { return Order(n, OrderKind::kLeave, ""); }},
    {"server", "removeFromCluster",
     [](NodeApi& n, const Arguments& a) { return Order(n, OrderKind::kRemove, a.at("node")); }},
    {"server", "stop",
     [](NodeApi& n, const Arguments&) { return n.Stop(), Text("Stop scheduled"); }},
    {"server", "restart",
     [](NodeApi& n, const Arguments&) { return n.Restart(), Text("Restart scheduled"); }},
    {"server", "getCookie", [](NodeApi& n, const Arguments&) { return Text(n.Cookie()); }},
    {"server", "getLoglevel", [](NodeApi& n, const Arguments&) { return Text(n.LogLevel()); }},
    {"server", "setLoglevel",
     [](NodeApi& n, const Arguments& a) {
       return n.SetLogLevel(a.at("level")), Text("Log level successfully set.");
     }},
    {"mnesia", "systemInfo", MnesiaSystemInfo},
    {"cets", "systemInfo", CetsSystemInfo},
    {"cets", "tableInfo", CetsTableInfo},
    {"stat", "globalStats", GlobalStats},
    {"metric", "getMetrics", GetMetrics},
    {"metric", "getMetricsAsDicts", GetMetricsAsDicts},
    {"metric", "getClusterMetricsAsDicts", GetClusterMetrics},
    {"account", "registerUser", RegisterUser},
    {"account", "removeUser",
     [](NodeApi& n, const Arguments& a) {
       return Account(n, {.action = AccountAction::kRemove, .user = a.at("user")});
     }},
    {"account", "changeUserPassword",
     [](NodeApi& n, const Arguments& a) {
       return Account(n, {.action = AccountAction::kSetPassword,
                          .user = a.at("user"),
                          .password = a.at("newPassword")});
     }},
    {"account", "checkPassword",
     [](NodeApi& n, const Arguments& a) {
       return Account(n, {.action = AccountAction::kCheckPassword,
                          .user = a.at("user"),
                          .password = a.at("password")});
     }},
    {"account", "checkUser",
     [](NodeApi& n, const Arguments& a) {
       return Account(n, {.action = AccountAction::kCheck, .user = a.at("user")});
     }},
    {"account", "listUsers",
     [](NodeApi& n, const Arguments& a) {
       return Account(n, {.action = AccountAction::kList,
                          .user = a.at("domain"),
                          .limit = NumberOf(a, "limit"),
                          .index = NumberOf(a, "index")});
     }},
    {"account", "countUsers",
     [](NodeApi& n, const Arguments& a) {
       return Account(n, {.action = AccountAction::kCount, .user = a.at("domain")});
     }},
}};

// --- the envelope
// ----------------------------------------------------------------------------------

// The faults of a command, for the list of errors.
void AddErrors(CtlJson& errors, std::string_view category, std::string_view command,
               const std::vector<Fault>& faults) {
  for (const Fault& fault : faults) {
    CtlJson item = CtlJson::Object();
    item.Set("path", CtlJson::Texts({std::string(category), std::string(command)}));
    item.Set("message", CtlJson::Text(fault.message));
    CtlJson extensions = CtlJson::Object();
    for (const auto& [key, value] : fault.extensions) extensions.Set(key, CtlJson::Text(value));
    item.Set("extensions", std::move(extensions));
    errors.Add(std::move(item));
  }
}

int PrintEnvelope(CtlJson errors, CtlJson data, Terminal& terminal) {
  const bool failed = !errors.values().empty();
  CtlJson envelope = CtlJson::Object();
  if (failed) envelope.Set("errors", std::move(errors));
  envelope.Set("data", std::move(data));
  terminal.Print(envelope.Pretty());
  return failed ? 1 : 0;
}

int PrintEnvelope(const CtlCommandSpec& spec, Answer answer, Terminal& terminal) {
  CtlJson errors = CtlJson::List();
  AddErrors(errors, spec.category, spec.command, answer.faults);
  CtlJson command = CtlJson::Object();
  command.Set(spec.command, std::move(answer.data));
  CtlJson category = CtlJson::Object();
  category.Set(spec.category, std::move(command));
  return PrintEnvelope(std::move(errors), std::move(category), terminal);
}

Answer RunServed(const CtlCommandSpec& spec, NodeApi& node, const Arguments& arguments) {
  for (const Served& served : kServed) {
    if (served.category == spec.category && served.command == spec.command) {
      return served.run(node, arguments);
    }
  }
  if (IsXmppCommand(spec.category, spec.command)) {
    return node.Xmpp(spec.category, spec.command, arguments);
  }
  return {.data = CtlJson::Null(),
          .faults = {{"The command " + std::string(spec.category) + ' ' +
                          std::string(spec.command) + " is not there yet",
                      {{"code", "not_implemented"}}}}};
}

void PrintCategory(std::string_view category, Terminal& terminal) {
  terminal.Print("Usage: mongooseimctl " + std::string(category) + " [COMMAND] [ARGUMENT]...");
  terminal.Print("");
  for (const CtlCommandSpec& spec : CtlCommandSpecs()) {
    if (spec.category == category) terminal.Print("  " + std::string(spec.command));
  }
}

void PrintCommand(const CtlCommandSpec& spec, Terminal& terminal) {
  std::string usage =
      "Usage: mongooseimctl " + std::string(spec.category) + ' ' + std::string(spec.command);
  for (const ArgumentSpec& argument : SpecsOf(spec.arguments)) {
    const std::string text = "--" + argument.name + ' ' + argument.type;
    usage += argument.mandatory ? ' ' + text : " [" + text + ']';
  }
  terminal.Print(usage);
}

// The first fault of the arguments, or nothing.
std::string Take(const CtlCommandSpec& spec, std::span<const std::string> args,
                 Arguments& arguments) {
  const std::vector<ArgumentSpec> specs = SpecsOf(spec.arguments);
  const std::string command(spec.command);
  for (size_t i = 0; i < args.size(); i += 2) {
    const std::string name = args[i].starts_with("--") ? args[i].substr(2) : args[i];
    const auto it = std::find_if(specs.begin(), specs.end(),
                                 [&](const ArgumentSpec& s) { return s.name == name; });
    if (it == specs.end() || !args[i].starts_with("--")) {
      return "Unknown argument '" + name + "' for command '" + command + "'";
    }
    const std::string value = i + 1 < args.size() ? args[i + 1] : "";
    if (i + 1 == args.size() || !Fits(it->type, value)) {
      return "Invalid value '" + value + "' of argument '" + name + "' for command '" + command +
             "'";
    }
    arguments[name] = value;
  }
  std::string missing;
  for (const ArgumentSpec& argument : specs) {
    if (argument.mandatory && !arguments.contains(argument.name)) {
      missing += (missing.empty() ? "'" : ", '") + argument.name + "'";
    }
  }
  if (missing.empty()) return "";
  return "Missing mandatory arguments for command '" + command + "': " + missing;
}

}  // namespace

int RunCategory(std::span<const std::string> args, NodeApi& node, Terminal& terminal) {
  const auto help = [](const std::string& arg) { return arg == "--help"; };
  if (args.size() == 1 || help(args[1])) {
    PrintCategory(args[0], terminal);
    return args.size() == 1 ? 1 : 0;
  }
  const CtlCommandSpec* spec = nullptr;
  for (const CtlCommandSpec& known : CtlCommandSpecs()) {
    if (known.category == args[0] && known.command == args[1]) spec = &known;
  }
  if (spec == nullptr) {
    terminal.Print("Unknown command '" + args[1] + "'");
    terminal.Print("");
    PrintCategory(args[0], terminal);
    return 1;
  }
  if (std::any_of(args.begin() + 2, args.end(), help)) {
    PrintCommand(*spec, terminal);
    return 0;
  }
  Arguments arguments;
  if (const std::string fault = Take(*spec, args.subspan(2), arguments); !fault.empty()) {
    terminal.Print(fault);
    terminal.Print("");
    PrintCommand(*spec, terminal);
    return 1;
  }
  return PrintEnvelope(*spec, RunServed(*spec, node, arguments), terminal);
}

namespace {

Answer Refused(std::string message, std::string_view code) {
  Fault fault{std::move(message), {}};
  fault.extensions.emplace_back("code", code);
  return {.data = CtlJson::Null(), .faults = {std::move(fault)}};
}

// One field below a category.
Answer RunField(char kind, std::string_view category, const DocumentField& field, NodeApi& node) {
  const auto specs = CtlCommandSpecs();
  const auto spec = std::ranges::find_if(specs, [&](const CtlCommandSpec& s) {
    return s.kind == kind && s.category == category && s.command == field.name;
  });
  if (spec == specs.end()) {
    return Refused("Cannot query field '" + field.name + "' of '" + std::string(category) + "'",
                   "unknown_field");
  }
  std::vector<std::string> words;
  for (const auto& [name, value] : field.arguments) {
    words.push_back("--" + name);
    words.push_back(value);
  }
  Arguments arguments;
  if (std::string fault = Take(*spec, words, arguments); !fault.empty()) {
    return Refused(std::move(fault), "bad_argument");
  }
  Answer answer = RunServed(*spec, node, arguments);
  auto chosen = Choose(answer.data, field.fields);
  if (!chosen) {
    return Refused("Cannot query field '" + chosen.error() + "' of '" + field.name + "'",
                   "unknown_field");
  }
  answer.data = std::move(*chosen);
  return answer;
}

}  // namespace

int RunDocument(const std::string& text, NodeApi& node, Terminal& terminal) {
  CtlJson errors = CtlJson::List();
  const auto document = ParseDocument(text);
  if (!document) {
    CtlJson item = CtlJson::Object();
    item.Set("message", CtlJson::Text(document.error()));
    item.Set("extensions", CtlJson::Object().Set("code", CtlJson::Text("parser_error")));
    errors.Add(std::move(item));
    return PrintEnvelope(std::move(errors), CtlJson::Null(), terminal);
  }
  CtlJson data = CtlJson::Object();
  for (const DocumentField& category : document->fields) {
    CtlJson commands = CtlJson::Object();
    for (const DocumentField& field : category.fields) {
      Answer answer = RunField(document->kind, category.name, field, node);
      AddErrors(errors, category.name, field.name, answer.faults);
      commands.Set(field.name, std::move(answer.data));
    }
    if (category.fields.empty() || !IsCtlCategory(category.name)) {
      AddErrors(errors, category.name, "",
                Refused("Cannot query field '" + category.name + "', or it has no selection",
                        "unknown_field")
                    .faults);
    }
    data.Set(category.name, std::move(commands));
  }
  return PrintEnvelope(std::move(errors), std::move(data), terminal);
}

}  // namespace server
