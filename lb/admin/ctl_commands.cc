#include "lb/admin/ctl_commands.h"

#include <array>
#include <cmath>
#include <nlohmann/json.hpp>
#include <vector>

#include "net/base/text.h"
#include "net/base/units.h"
#include "net/config/toml_reader.h"

namespace lb {
namespace {

using Json = nlohmann::ordered_json;

constexpr CtlArg kNode{"node", CtlArgKind::kText, true, true,
                       "its name; POOL/NODE where several pools have one of that name"};
constexpr CtlArg kListArgs[] = {
    {"connections", CtlArgKind::kFlag, false, false, "the open connections, 500 at a time"},
    {"node", CtlArgKind::kText, false, false, "only those of this node"},
    {"after", CtlArgKind::kText, false, false, "those that follow this connection"},
};
constexpr CtlArg kExplainArgs[] = {
    {"pool", CtlArgKind::kText, true, false, "only this pool"},
};
constexpr CtlArg kWhyArgs[] = {
    {"address", CtlArgKind::kText, true, true, "a client's IP address"},
};
constexpr CtlArg kNodeArgs[] = {kNode};
constexpr CtlArg kDrainArgs[] = {
    kNode,
    {"rate", CtlArgKind::kRate, false, false, "end that many of its connections, as in 50/s"},
    {"deadline", CtlArgKind::kDuration, false, false,
     "end what is left after that time; without a rate, evenly until then"},
    {"wait", CtlArgKind::kFlag, false, false, "until its last connection has gone"},
    {"force", CtlArgKind::kFlag, false, false, "even if the other nodes cannot carry it"},
};
constexpr CtlArg kWeightArgs[] = {
    kNode,
    {"weight", CtlArgKind::kWeight, true, false,
     "0 to 1000, or default for the file's; without it, tells the weight"},
};
constexpr CtlArg kPrewarmArgs[] = {
    {"rate", CtlArgKind::kRate, true, false, "accepts, as in 2000/s; without it, warm at once"},
};
constexpr CtlArg kShutArgs[] = {
    {"node", CtlArgKind::kText, true, false, kNode.help},
    {"connection", CtlArgKind::kText, false, false, "this one alone, by its ID in a list"},
    {"rate", CtlArgKind::kRate, false, false, "that many, as in 100/s; without it, all at once"},
};

constexpr CtlCommand kCommands[] = {
    {"list", "listeners, pools and nodes with their states; or the open connections", false,
     kListArgs},
    {"explain", "why each node gets the share of new connections that it gets", false,
     kExplainArgs},
    {"why", "where a client's next connection would go and why, and what it has open", false,
     kWhyArgs},
    {"stats", "all counters", false, {}},
    {"drain", "no new connections to a node; with a rate or deadline, ends those it has", true,
     kDrainArgs},
    {"ready", "takes a node back from drain or maint", true, kNodeArgs},
    {"maint", "takes a node out: no new connections and no checks", true, kNodeArgs},
    {"weight", "sets or tells a node's weight", true, kWeightArgs},
    {"shut", "ends a node's connections at a pace; it still takes new ones", true, kShutArgs},
    {"prewarm", "lifts the balancer's own warm-up before a crowd comes", true, kPrewarmArgs},
    {"reload", "reads the configuration again: applied whole or not at all", true, {}},
    {"upgrade", "hands over to a new process without losing a connection", true, {}},
    {"describe", "these commands and their arguments", false, {}},
};

std::string_view KindName(CtlArgKind kind) {
  switch (kind) {
    case CtlArgKind::kText:
      return "text";
    case CtlArgKind::kRate:
      return "rate";
    case CtlArgKind::kDuration:
      return "seconds";
    case CtlArgKind::kWeight:
      return "weight";
    case CtlArgKind::kFlag:
      return "flag";
  }
  return "unknown";
}

template <typename T>
std::string NamesOf(std::span<const T> all) {
  std::string names;
  for (const T& one : all) names += (names.empty() ? "" : ", ") + std::string(one.name);
  return names.empty() ? "none" : names;
}

std::optional<double> NumberWithin(const Json& value, double max) {
  if (!value.is_number()) return std::nullopt;
  const double number = value.get<double>();
  if (!std::isfinite(number) || number < 0 || number > max) return std::nullopt;
  return number;
}

// Why `value` is wrong for `arg`, or "".
std::string SetText(CtlRequest& request, const CtlArg& arg, const Json& value) {
  if (!value.is_string() || value.get_ref<const std::string&>().empty()) {
    return "must be a text that is not empty";
  }
  std::string& field = arg.name == "node"         ? request.node
                       : arg.name == "pool"       ? request.pool
                       : arg.name == "connection" ? request.connection
                       : arg.name == "after"      ? request.after
                                                  : request.address;
  field = value.get<std::string>();
  return "";
}

std::string SetWeight(CtlRequest& request, const Json& value) {
  if (value == "default") {
    request.weight_default = true;
    return "";
  }
  if (!value.is_number_unsigned() || value.get<uint64_t>() > kCtlWeightMax) {
    return "must be a whole number from 0 to 1000, or \"default\"";
  }
  request.weight = value.get<uint32_t>();
  return "";
}

std::string SetArg(CtlRequest& request, const CtlArg& arg, const Json& value) {
  switch (arg.kind) {
    case CtlArgKind::kText:
      return SetText(request, arg, value);
    case CtlArgKind::kWeight:
      return SetWeight(request, value);
    case CtlArgKind::kRate:
      request.rate = NumberWithin(value, kCtlRateMax);
      return request.rate ? "" : "must be a number of events a second, from 0 to 1000000000";
    case CtlArgKind::kDuration:
      request.deadline_s = NumberWithin(value, kCtlSecondsMax);
      return request.deadline_s ? "" : "must be a number of seconds, from 0 to 31536000";
    case CtlArgKind::kFlag:
      if (!value.is_boolean()) return "must be true or false";
      (arg.name == "wait"          ? request.wait
       : arg.name == "connections" ? request.connections
                                   : request.force) = value.get<bool>();
      return "";
  }
  return "is of an unknown kind";
}

std::string WrongVersion(const Json& object) {
  auto version = object.find("v");
  if (version == object.end()) return "";  // the present one is meant
  if (*version == kCtlVersion) return "";
  return "this balancer speaks version " + std::to_string(kCtlVersion) +
         " of the control protocol; set \"v\":" + std::to_string(kCtlVersion);
}

std::string ReadArgs(CtlRequest& request, const Json& object) {
  const std::span<const CtlArg> args = request.command->args;
  for (const auto& [key, value] : object.items()) {
    if (key == "v" || key == "command") continue;
    const CtlArg* arg = nullptr;
    for (const CtlArg& one : args) {
      if (one.name == key) arg = &one;
    }
    if (arg == nullptr) {
      return std::string(request.command->name) + " has no argument " + net::Quoted(key) +
             " (there are: " + NamesOf(args) + ")";
    }
    if (std::string why = SetArg(request, *arg, value); !why.empty()) return key + " " + why;
  }
  for (const CtlArg& arg : args) {
    if (arg.required && !object.contains(std::string(arg.name))) {
      return std::string(request.command->name) + " needs " + std::string(arg.name) + ": " +
             std::string(arg.help);
    }
  }
  return "";
}

}  // namespace

std::span<const CtlCommand> CtlCommands() { return kCommands; }

const CtlCommand* FindCtlCommand(std::string_view name) {
  for (const CtlCommand& command : kCommands) {
    if (command.name == name) return &command;
  }
  return nullptr;
}

std::string UnknownCtlCommand(std::string_view name) {
  std::vector<std::string_view> known;
  for (const CtlCommand& command : kCommands) known.push_back(command.name);
  const std::string_view near = net::Nearest(name, known);
  return "there is no command " + net::Quoted(name) +
         (near.empty() ? "" : "; did you mean '" + std::string(near) + "'?") +
         " (there are: " + NamesOf(std::span<const CtlCommand>(kCommands)) + ")";
}

std::expected<CtlRequest, std::string> ParseCtlRequest(std::string_view line) {
  if (line.size() > kCtlLineMax) return std::unexpected("the request is too long");
  // Deep nesting is no request, and would only cost stack.
  auto too_deep = [](int depth, Json::parse_event_t, Json&) { return depth <= 2; };
  const Json object = Json::parse(line, too_deep, false);
  if (object.is_discarded() || !object.is_object()) {
    return std::unexpected(
        "a request is one JSON object in a line, such as "
        "{\"v\":1,\"command\":\"list\"}");
  }
  if (std::string why = WrongVersion(object); !why.empty()) return std::unexpected(why);
  auto name = object.find("command");
  if (name == object.end() || !name->is_string()) {
    return std::unexpected("a request names its \"command\" (there are: " + NamesOf(CtlCommands()) +
                           ")");
  }
  CtlRequest request;
  request.command = FindCtlCommand(name->get_ref<const std::string&>());
  if (request.command == nullptr) {
    return std::unexpected(UnknownCtlCommand(name->get_ref<const std::string&>()));
  }
  if (std::string why = ReadArgs(request, object); !why.empty()) return std::unexpected(why);
  return request;
}

std::string CtlRequestText(const CtlRequest& request) {
  std::string text(request.command->name);
  for (const std::string* word :
       {&request.node, &request.pool, &request.address, &request.connection}) {
    if (!word->empty()) text += " " + *word;
  }
  if (request.weight) text += " " + std::to_string(*request.weight);
  if (request.weight_default) text += " default";
  if (request.rate) text += " rate=" + net::RateText(*request.rate);
  if (request.deadline_s) {
    text += " deadline=" + net::DurationText(std::chrono::milliseconds(
                               static_cast<int64_t>(*request.deadline_s * 1000)));
  }
  if (request.wait) text += " wait";
  if (request.force) text += " force";
  return text;
}

std::string CtlDescription() {
  Json commands = Json::array();
  for (const CtlCommand& command : kCommands) {
    Json args = Json::array();
    for (const CtlArg& arg : command.args) {
      args.push_back({{"name", arg.name},
                      {"kind", KindName(arg.kind)},
                      {"positional", arg.positional},
                      {"required", arg.required},
                      {"help", arg.help}});
    }
    commands.push_back({{"name", command.name},
                        {"help", command.help},
                        {"order", command.order},
                        {"args", std::move(args)}});
  }
  Json exits = {{"0", "done"},
                {"1", "refused"},
                {"2", "no such command or argument"},
                {"3", "no such node or pool, or no balancer that answers"},
                {"4", "the deadline came before the last connection had gone"}};
  return Json({{"commands", std::move(commands)}, {"exits", std::move(exits)}}).dump();
}

}  // namespace lb
