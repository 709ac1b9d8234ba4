#include "net/ctl/ctl_table.h"

#include <cmath>
#include <nlohmann/json.hpp>
#include <vector>

#include "net/base/text.h"
#include "net/base/units.h"
#include "net/config/toml_reader.h"

namespace net {
namespace {

using Json = nlohmann::ordered_json;

std::string_view KindName(CtlArgKind kind) {
  switch (kind) {
    case CtlArgKind::kText:
      return "text";
    case CtlArgKind::kRate:
      return "rate";
    case CtlArgKind::kDuration:
      return "seconds";
    case CtlArgKind::kNumber:
      return "number";
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

// Names of two words travel as they are typed; an underscore between them is as good.
std::string Spaced(std::string_view name) {
  std::string out(name);
  for (char& c : out) {
    if (c == '_') c = ' ';
  }
  return out;
}

std::optional<double> NumberWithin(const Json& value, double max) {
  if (!value.is_number()) return std::nullopt;
  const double number = value.get<double>();
  if (!std::isfinite(number) || number < 0 || number > max) return std::nullopt;
  return number;
}

// Why `value` is wrong for `arg`, or "".
std::string SetNumber(CtlValues::Value& out, const CtlArg& arg, const Json& value) {
  if (arg.or_default && value == "default") {
    out.is_default = true;
    return "";
  }
  if (value.is_number_unsigned() && value.get<uint64_t>() <= arg.max) {
    out.number = value.get<double>();
    return "";
  }
  return "must be a whole number from 0 to " + std::to_string(arg.max) +
         (arg.or_default ? ", or \"default\"" : "");
}

std::string SetArg(CtlValues::Value& out, const CtlArg& arg, const Json& value) {
  auto number = [&out](std::optional<double> given, const char* why) -> std::string {
    if (!given) return why;
    out.number = *given;
    return "";
  };
  switch (arg.kind) {
    case CtlArgKind::kText:
      if (!value.is_string() || value.get_ref<const std::string&>().empty()) {
        return "must be a text that is not empty";
      }
      out.text = value.get<std::string>();
      return "";
    case CtlArgKind::kNumber:
      return SetNumber(out, arg, value);
    case CtlArgKind::kRate:
      return number(NumberWithin(value, kCtlRateMax),
                    "must be a number of events a second, from 0 to 1000000000");
    case CtlArgKind::kDuration:
      return number(NumberWithin(value, kCtlSecondsMax),
                    "must be a number of seconds, from 0 to 31536000");
    case CtlArgKind::kFlag:
      if (!value.is_boolean()) return "must be true or false";
      out.flag = value.get<bool>();
      return "";
  }
  return "is of an unknown kind";
}

std::string WrongVersion(const Json& object) {
  auto version = object.find("v");
  if (version == object.end()) return "";  // the present one is meant
  if (*version == kCtlVersion) return "";
  return "the control protocol spoken here has version " + std::to_string(kCtlVersion) +
         "; set \"v\":" + std::to_string(kCtlVersion);
}

std::string ReadArgs(CtlValues& request, const Json& object) {
  const std::span<const CtlArg> args = request.command->args;
  for (const auto& [key, value] : object.items()) {
    if (key == "v" || key == "command") continue;
    const CtlArg* arg = nullptr;
    for (const CtlArg& one : args) {
      if (one.name == key) arg = &one;
    }
    if (arg == nullptr) {
      return std::string(request.command->name) + " has no argument " + Quoted(key) +
             " (there are: " + NamesOf(args) + ")";
    }
    if (std::string why = SetArg(request.values[key], *arg, value); !why.empty()) {
      return key + " " + why;
    }
  }
  for (const CtlArg& arg : args) {
    if (arg.required && !object.contains(std::string(arg.name))) {
      return std::string(request.command->name) + " needs " + std::string(arg.name) + ": " +
             std::string(arg.help);
    }
  }
  return "";
}

std::string ValueText(const CtlArg& arg, const CtlValues::Value& value) {
  switch (arg.kind) {
    case CtlArgKind::kText:
      return value.text;
    case CtlArgKind::kRate:
      return RateText(value.number);
    case CtlArgKind::kDuration:
      return DurationText(
          std::chrono::milliseconds(static_cast<int64_t>(std::llround(value.number * 1000))));
    case CtlArgKind::kNumber:
      return value.is_default ? "default" : std::to_string(static_cast<uint64_t>(value.number));
    case CtlArgKind::kFlag:
      break;
  }
  return "";
}

}  // namespace

std::string_view CtlExitText(CtlExit exit) {
  switch (exit) {
    case CtlExit::kDone:
      return "done";
    case CtlExit::kRefused:
      return "refused, with the reason";
    case CtlExit::kUsage:
      return "wrong usage: no such command or argument";
    case CtlExit::kNotFound:
      return "what was named does not exist, or nobody answers on the socket";
    case CtlExit::kDeadline:
      return "the deadline came before it was done";
  }
  return "unknown";
}

const CtlCommand* FindCtlCommand(std::span<const CtlCommand> table, std::string_view name) {
  for (const CtlCommand& command : table) {
    if (command.name == name) return &command;
  }
  return nullptr;
}

std::string UnknownCtlCommand(std::span<const CtlCommand> table, std::string_view name) {
  std::vector<std::string_view> known;
  for (const CtlCommand& command : table) known.push_back(command.name);
  const std::string_view near = Nearest(name, known);
  return "there is no command " + Quoted(name) +
         (near.empty() ? "" : "; did you mean '" + std::string(near) + "'?") +
         " (there are: " + NamesOf(table) + ")";
}

std::string CtlValues::Text(std::string_view name) const {
  auto found = values.find(name);
  return found == values.end() ? "" : found->second.text;
}

std::optional<double> CtlValues::Number(std::string_view name) const {
  auto found = values.find(name);
  if (found == values.end() || found->second.is_default) return std::nullopt;
  return found->second.number;
}

bool CtlValues::Default(std::string_view name) const {
  auto found = values.find(name);
  return found != values.end() && found->second.is_default;
}

bool CtlValues::Flag(std::string_view name) const {
  auto found = values.find(name);
  return found != values.end() && found->second.flag;
}

std::expected<CtlValues, std::string> ParseCtlValues(std::span<const CtlCommand> table,
                                                     std::string_view line) {
  if (line.size() > kCtlLineMax) return std::unexpected("the request is too long");
  // Deep nesting is no request, and would only cost stack.
  auto too_deep = [](int depth, Json::parse_event_t, Json&) { return depth <= 2; };
  const Json object = Json::parse(line, too_deep, false);
  if (object.is_discarded() || !object.is_object()) {
    return std::unexpected(
        "a request is one JSON object in a line, such as {\"v\":1,\"command\":" +
        std::string(table.empty() ? "\"\"" : "\"" + std::string(table[0].name) + "\"") + "}");
  }
  if (std::string why = WrongVersion(object); !why.empty()) return std::unexpected(why);
  auto name = object.find("command");
  if (name == object.end() || !name->is_string()) {
    return std::unexpected("a request names its \"command\" (there are: " + NamesOf(table) + ")");
  }
  CtlValues request;
  const std::string spaced = Spaced(name->get_ref<const std::string&>());
  request.command = FindCtlCommand(table, spaced);
  if (request.command == nullptr || request.command->local) {
    return std::unexpected(UnknownCtlCommand(table, spaced));
  }
  if (std::string why = ReadArgs(request, object); !why.empty()) return std::unexpected(why);
  return request;
}

std::string CtlValuesText(const CtlValues& values) {
  std::string text(values.command->name);
  for (const CtlArg& arg : values.command->args) {
    auto found = values.values.find(arg.name);
    if (found == values.values.end()) continue;
    if (arg.kind == CtlArgKind::kFlag && !found->second.flag) continue;
    text += ' ';
    if (!arg.positional) text += arg.name;
    if (!arg.positional && arg.kind != CtlArgKind::kFlag) text += '=';
    text += ValueText(arg, found->second);
  }
  return text;
}

std::string CtlReplyLine(const CtlReply& reply) {
  const bool ok = reply.exit == CtlExit::kDone;
  std::string line = "{\"v\":" + std::to_string(kCtlVersion) +
                     ",\"ok\":" + (ok ? "true" : "false") +
                     ",\"exit\":" + std::to_string(static_cast<int>(reply.exit));
  if (!reply.message.empty()) {
    line += ok ? ",\"message\":" : ",\"error\":";
    AppendJsonString(line, reply.message);
  }
  if (reply.object.size() > 2) {  // more than "{}"
    line += ',';
    line.append(reply.object, 1);
  } else {
    line += '}';
  }
  return line + '\n';
}

std::string CtlDescription(std::span<const CtlCommand> table) {
  Json commands = Json::array();
  for (const CtlCommand& command : table) {
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
                        {"local", command.local},
                        {"args", std::move(args)}});
  }
  Json exits = Json::object();
  for (size_t i = 0; i < kCtlExits; ++i) {
    exits[std::to_string(i)] = CtlExitText(static_cast<CtlExit>(i));
  }
  return Json({{"commands", std::move(commands)}, {"exits", std::move(exits)}}).dump();
}

}  // namespace net
