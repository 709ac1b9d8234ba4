#include "net/ctl/ctl_line.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <optional>

#include "net/base/text.h"
#include "net/base/units.h"
#include "net/config/toml_reader.h"

namespace net {
namespace {

constexpr std::string_view kDurationForm =
    "write a number and a unit, as in 30s, 10m or 2h (units: ms, s, m, h, d)";

std::string Upper(std::string_view text) {
  std::string out(text);
  for (char& c : out) {
    if (c >= 'a' && c <= 'z') c = static_cast<char>(c - 32);
  }
  return out;
}

// What stands for a value in help.
std::string Placeholder(const CtlArg& arg) {
  switch (arg.kind) {
    case CtlArgKind::kText:
      return Upper(arg.name);
    case CtlArgKind::kRate:
      return "N/s";
    case CtlArgKind::kDuration:
      return "TIME";
    case CtlArgKind::kNumber:
      return arg.or_default ? "N|default" : "N";
    case CtlArgKind::kFlag:
      break;
  }
  return "";
}

std::string ArgUsage(const CtlArg& arg) {
  std::string text = Placeholder(arg);
  if (!arg.positional) {
    text = "--" + std::string(arg.name) + (text.empty() ? "" : " " + text);
  }
  return arg.required ? text : "[" + text + "]";
}

// What is wrong with `word`, or "".
std::string ReadValue(const CtlArg& arg, std::string_view word, CtlValues::Value& out) {
  out.text = word;
  switch (arg.kind) {
    case CtlArgKind::kText:
      return word.empty() ? "is empty" : "";
    case CtlArgKind::kRate: {
      auto rate = ParseRate(word);
      if (!rate || *rate > kCtlRateMax) {
        return Quoted(word) + " is not a rate; write it as in 50/s (units: /s, /m, /h, /d)";
      }
      out.number = *rate;
      return "";
    }
    case CtlArgKind::kDuration: {
      auto time = ParseDuration(word);
      if (!time || Seconds(*time) > kCtlSecondsMax) {
        return Quoted(word) + " is not a length of time; " + std::string(kDurationForm);
      }
      out.number = Seconds(*time);
      return "";
    }
    case CtlArgKind::kNumber: {
      out.is_default = arg.or_default && word == "default";
      if (out.is_default) return "";
      uint64_t number = 0;
      auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), number);
      if (error != std::errc() || end != word.data() + word.size() || number > arg.max) {
        return Quoted(word) + " is not a whole number from 0 to " + std::to_string(arg.max) +
               (arg.or_default ? ", or default" : "");
      }
      out.number = static_cast<double>(number);
      return "";
    }
    case CtlArgKind::kFlag:
      out.flag = true;
      return "";
  }
  return "is of an unknown kind";
}

class Reader {
 public:
  Reader(std::span<const CtlCommand> table, std::span<const std::string_view> words)
      : table_(table), words_(words) {}

  std::expected<CtlLine, std::string> Read() {
    while (at_ < words_.size()) {
      const std::string_view word = words_[at_++];
      std::string why = word.size() > 1 && word[0] == '-' && !only_words_ ? Option(word)
                        : line_.command == nullptr                        ? Command(word)
                                                                          : Positional(word);
      if (!why.empty()) return std::unexpected(std::move(why));
    }
    if (line_.help) return std::move(line_);
    if (line_.command == nullptr) {
      return std::unexpected("which command? --help lists them");
    }
    for (const CtlArg& arg : line_.command->args) {
      if (!arg.required || line_.values.Has(arg.name)) continue;
      return std::unexpected(std::string(line_.command->name) + " needs " + std::string(arg.name) +
                             ": " + std::string(arg.help) + "; usage: " + CtlUsage(*line_.command));
    }
    return std::move(line_);
  }

 private:
  std::string Command(std::string_view word) {
    const std::string two =
        at_ < words_.size() ? std::string(word) + " " + std::string(words_[at_]) : "";
    line_.command = FindCtlCommand(table_, two);
    if (line_.command != nullptr) {
      ++at_;
    } else {
      line_.command = FindCtlCommand(table_, word);
    }
    line_.values.command = line_.command;
    return line_.command == nullptr ? UnknownCtlCommand(table_, Unknown(word, two)) : "";
  }

  // Both words where the first begins a command of two.
  std::string Unknown(std::string_view word, const std::string& two) const {
    const std::string begin = std::string(word) + " ";
    const bool begins = std::ranges::any_of(
        table_, [&](const CtlCommand& command) { return command.name.starts_with(begin); });
    return begins && !two.empty() ? two : std::string(word);
  }

  std::string Option(std::string_view word) {
    if (word == "--") {
      only_words_ = true;
      return "";
    }
    const size_t equals = word.find('=');
    const std::string_view name = word.substr(0, equals);
    std::optional<std::string_view> value;
    if (equals != std::string_view::npos) value = word.substr(equals + 1);
    if (name == "--json") return Switch(name, value, line_.json);
    if (name == "--help" || name == "-h") return Switch(name, value, line_.help);
    if (name == "--socket") {
      auto path = Value(name, value);
      if (!path) return path.error();
      line_.socket = *path;
      return line_.socket.empty() ? "--socket is empty" : "";
    }
    if (line_.command != nullptr) {
      for (const CtlArg& arg : line_.command->args) {
        if (!arg.positional && name.substr(0, 2) == "--" && name.substr(2) == arg.name) {
          return Set(arg, name, value);
        }
      }
    }
    return UnknownOption(name);
  }

  static std::string Switch(std::string_view name, std::optional<std::string_view> value,
                            bool& on) {
    if (value) return std::string(name) + " takes no value";
    on = true;
    return "";
  }

  std::expected<std::string_view, std::string> Value(std::string_view name,
                                                     std::optional<std::string_view> value) {
    if (value) return *value;
    if (at_ == words_.size()) return std::unexpected(std::string(name) + " needs a value");
    return words_[at_++];
  }

  std::string Set(const CtlArg& arg, std::string_view name, std::optional<std::string_view> value) {
    std::string_view word;
    if (arg.kind == CtlArgKind::kFlag) {
      if (value) return std::string(name) + " takes no value";
    } else {
      auto given = Value(name, value);
      if (!given) return given.error() + ": " + ArgUsage(arg);
      word = *given;
    }
    std::string why = ReadValue(arg, word, line_.values.values[std::string(arg.name)]);
    return why.empty() ? "" : std::string(name) + ": " + why;
  }

  std::string Positional(std::string_view word) {
    for (const CtlArg& arg : line_.command->args) {
      if (!arg.positional || line_.values.Has(arg.name)) continue;
      std::string why = ReadValue(arg, word, line_.values.values[std::string(arg.name)]);
      return why.empty() ? "" : std::string(arg.name) + ": " + why;
    }
    return Quoted(word) + " is one word too many; usage: " + CtlUsage(*line_.command);
  }

  std::string UnknownOption(std::string_view name) const {
    std::vector<std::string> names = {"--json", "--socket", "--help"};
    if (line_.command != nullptr) {
      for (const CtlArg& arg : line_.command->args) {
        if (!arg.positional) names.push_back("--" + std::string(arg.name));
      }
    }
    const std::vector<std::string_view> known(names.begin(), names.end());
    const std::string_view near = Nearest(name, known);
    std::string text = "there is no option " + Quoted(name);
    if (!near.empty()) return text + "; did you mean '" + std::string(near) + "'?";
    return line_.command == nullptr ? text + "; --help lists all"
                                    : text + "; usage: " + CtlUsage(*line_.command);
  }

  const std::span<const CtlCommand> table_;
  const std::span<const std::string_view> words_;
  size_t at_ = 0;
  bool only_words_ = false;  // behind "--"
  CtlLine line_;
};

std::string Padded(std::string text, size_t width) {
  text.resize(std::max(width, text.size()), ' ');
  return text;
}

}  // namespace

std::expected<CtlLine, std::string> ParseCtlLine(std::span<const CtlCommand> table,
                                                 std::span<const std::string_view> words) {
  return Reader(table, words).Read();
}

bool CtlJsonWanted(std::span<const std::string_view> words) {
  return std::ranges::find(words, "--json") != words.end();
}

std::string CtlUsage(const CtlCommand& command) {
  std::string text(command.name);
  for (const CtlArg& arg : command.args) text += " " + ArgUsage(arg);
  return text;
}

std::string CtlHelp(std::string_view program, std::string_view socket,
                    std::span<const CtlCommand> table, const CtlCommand* command) {
  const std::string ctl = std::string(program) + " ctl ";
  std::string text;
  if (command != nullptr) {
    text = ctl + CtlUsage(*command) + "\n\n" + std::string(command->help) + "\n";
    size_t width = 0;
    for (const CtlArg& arg : command->args) width = std::max(width, ArgUsage(arg).size());
    if (width > 0) text += "\n";
    for (const CtlArg& arg : command->args) {
      text += "  " + Padded(ArgUsage(arg), width) + "  " + std::string(arg.help) + "\n";
    }
    text += "\nTIME is a number and a unit: 30s, 10m, 2h; N/s a number by a unit: 50/s, 100/m.\n";
    return text;
  }
  text = ctl + "[--socket PATH] [--json] COMMAND ...\n\n";
  size_t width = 0;
  for (const CtlCommand& one : table) width = std::max(width, one.name.size());
  for (const CtlCommand& one : table) {
    text += "  " + Padded(std::string(one.name), width) + "  " + std::string(one.help) + "\n";
  }
  text += "\n  --socket PATH   the control socket [" + std::string(socket) +
          "]\n  --json          answers, errors too, as one JSON object a line\n\nCOMMAND --help "
          "tells its arguments. Exit status:\n";
  for (size_t i = 0; i < kCtlExits; ++i) {
    text +=
        "  " + std::to_string(i) + "  " + std::string(CtlExitText(static_cast<CtlExit>(i))) + "\n";
  }
  return text;
}

std::string CtlRequestLine(const CtlValues& values) {
  std::string line = "{\"v\":" + std::to_string(kCtlVersion) + ",\"command\":";
  AppendJsonString(line, values.command->name);
  for (const CtlArg& arg : values.command->args) {
    auto found = values.values.find(arg.name);
    if (found == values.values.end()) continue;
    line += ',';
    AppendJsonString(line, arg.name);
    line += ':';
    const CtlValues::Value& value = found->second;
    if (arg.kind == CtlArgKind::kFlag) {
      line += value.flag ? "true" : "false";
    } else if (arg.kind == CtlArgKind::kText || value.is_default) {
      AppendJsonString(line, value.text);
    } else {
      std::array<char, 64> digits{};
      char* end =
          arg.kind == CtlArgKind::kNumber
              ? std::to_chars(digits.data(), digits.data() + digits.size(),
                              static_cast<uint64_t>(value.number))
                    .ptr
              : std::to_chars(digits.data(), digits.data() + digits.size(), value.number).ptr;
      line.append(digits.data(), end);
    }
  }
  return line + "}\n";
}

}  // namespace net
