#include "lb/admin/ctl_client.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "lb/admin/ctl_commands.h"
#include "lb/admin/ctl_connection.h"
#include "lb/admin/ctl_text.h"
#include "lb/admin/ctl_top.h"
#include "net/base/units.h"

namespace lb {
namespace {

using Json = nlohmann::ordered_json;

constexpr const char* kExitHelp =
    "Exit status: 0 done; 1 refused, with the reason on stderr; 2 wrong usage; 3 no such node or "
    "pool,\nor no balancer that answers; 4 the deadline came with connections left.";

int Exit(CtlExit exit) { return static_cast<int>(exit); }

// What was typed for one command, by argument.
struct Typed {
  CLI::App* app = nullptr;
  const CtlCommand* command = nullptr;
  std::map<std::string_view, std::string> words;
  std::map<std::string_view, bool> flags;
};

struct CommandLine {
  CLI::App app{"Asks and orders a running mongooselb.", "mongooselb ctl"};
  std::string socket = kCtlSocketDefault;
  bool json = false;
  bool once = false;
  CLI::App* top = nullptr;
  std::vector<std::unique_ptr<Typed>> commands;
};

// The checks speak of what was typed; the balancer judges again.
std::string CheckRate(const std::string& text) {
  return net::ParseRate(text) ? "" : "'" + text + "' is not a rate; write it as in 50/s";
}
std::string CheckDuration(const std::string& text) {
  return net::ParseDuration(text) ? ""
                                  : "'" + text + "' is not a length of time; write it as in 30s";
}
std::string CheckWeight(const std::string& text) {
  const bool number = !text.empty() && text.size() <= 4 &&
                      text.find_first_not_of("0123456789") == std::string::npos;
  if (text == "default" || (number && std::stoul(text) <= kCtlWeightMax)) return "";
  return "'" + text + "' is no weight; write a number from 0 to 1000, or default";
}

void AddArg(Typed& typed, const CtlArg& arg) {
  const std::string name(arg.name);
  const std::string help(arg.help);
  if (arg.kind == CtlArgKind::kFlag) {
    typed.app->add_flag("--" + name, typed.flags[arg.name], help);
    return;
  }
  CLI::Option* option =
      typed.app->add_option(arg.positional ? name : "--" + name, typed.words[arg.name], help);
  option->required(arg.required);
  switch (arg.kind) {
    case CtlArgKind::kRate:
      option->type_name("N/s")->check(CLI::Validator(CheckRate, ""));
      break;
    case CtlArgKind::kDuration:
      option->type_name("TIME")->check(CLI::Validator(CheckDuration, ""));
      break;
    case CtlArgKind::kWeight:
      option->type_name("N|default")->check(CLI::Validator(CheckWeight, ""));
      break;
    default:
      option->type_name("");
      break;
  }
}

void Define(CommandLine& line) {
  CLI::App& app = line.app;
  app.fallthrough();  // --json and --socket may also stand behind the command
  app.add_option("--socket", line.socket, "the balancer's control socket")
      ->type_name("PATH")
      ->capture_default_str();
  app.add_flag("--json", line.json, "answers as the balancer sends them, one JSON object a line");
  app.require_subcommand(1);
  app.footer(kExitHelp);
  for (const CtlCommand& command : CtlCommands()) {
    auto typed = std::make_unique<Typed>();
    typed->command = &command;
    typed->app = app.add_subcommand(std::string(command.name), std::string(command.help));
    for (const CtlArg& arg : command.args) AddArg(*typed, arg);
    line.commands.push_back(std::move(typed));
  }
  line.top = app.add_subcommand("top", "the nodes as a live table; q or Ctrl-C leaves");
  line.top->add_flag("--once", line.once, "one frame, then leave");
}

Json RequestOf(const Typed& typed) {
  Json request = {{"v", kCtlVersion}, {"command", typed.command->name}};
  for (const CtlArg& arg : typed.command->args) {
    const std::string name(arg.name);
    if (arg.kind == CtlArgKind::kFlag) {
      if (typed.flags.at(arg.name)) request[name] = true;
      continue;
    }
    const std::string& word = typed.words.at(arg.name);
    if (word.empty()) continue;
    switch (arg.kind) {
      case CtlArgKind::kRate:
        request[name] = net::ParseRate(word).value_or(0);
        break;
      case CtlArgKind::kDuration:
        request[name] = net::Seconds(net::ParseDuration(word).value_or(net::Duration(0)));
        break;
      case CtlArgKind::kWeight:
        request[name] = word == "default" ? Json(word) : Json(std::stoul(word));
        break;
      default:
        request[name] = word;
        break;
    }
  }
  return request;
}

TextStyle StyleOfStdout() {
  const bool terminal = isatty(STDOUT_FILENO) == 1;
  const char* no_color = std::getenv("NO_COLOR");
  return {.colours = terminal && (no_color == nullptr || *no_color == '\0')};
}

int Fail(const std::string& why) {
  std::fprintf(stderr, "mongooselb ctl: %s\n", ForTerminal(why).c_str());
  return Exit(CtlExit::kNotFound);
}

// Prints the last line of the answer; returns the exit status that it tells.
int Finish(const Typed& typed, const Json& reply, const std::string& text, bool json) {
  const bool ok = reply.value("ok", false);
  if (json) {
    std::printf("%s\n", text.c_str());
  } else if (ok) {
    std::fputs(CtlAnswerText(typed.command->name, text, StyleOfStdout()).c_str(), stdout);
  }
  if (!ok) std::fputs(CtlErrorText(text).c_str(), stderr);
  return reply.value("exit", ok ? 0 : Exit(CtlExit::kRefused));
}

int Converse(CtlConnection& connection, const Typed& typed, bool json) {
  const Json request = RequestOf(typed);
  const std::string line = request.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
  if (auto sent = connection.Send(line); !sent) return Fail(sent.error());
  while (true) {
    auto text = connection.ReadLine();
    if (!text) return Fail(text.error());
    const Json reply = Json::parse(*text, nullptr, false);
    if (!reply.is_object()) return Fail("the answer is no JSON; is this a mongooselb?");
    if (reply.contains("ok")) return Finish(typed, reply, *text, json);
    std::fputs(json ? (*text + "\n").c_str() : CtlProgressText(*text).c_str(), stdout);
    std::fflush(stdout);
  }
}

int Run(const CommandLine& line) {
  auto connection = CtlConnection::Open(line.socket);
  if (!connection) return Fail(connection.error());
  if (line.top->parsed()) {
    const bool live = isatty(STDOUT_FILENO) == 1 && !line.once;
    return RunCtlTop(*connection, !live, StyleOfStdout().colours);
  }
  for (const auto& typed : line.commands) {
    if (typed->app->parsed()) return Converse(*connection, *typed, line.json);
  }
  return Exit(CtlExit::kUsage);
}

// The first word that is no option, where it names no command: the parser would only say that a
// command is required.
std::string_view UnknownWord(int argc, const char* const* argv) {
  for (int i = 1; i < argc; ++i) {
    const std::string_view word = argv[i];
    if (word == "--socket") {
      ++i;
    } else if (!word.starts_with('-')) {
      return word == "top" || FindCtlCommand(word) != nullptr ? "" : word;
    }
  }
  return "";
}

}  // namespace

int RunCtl(int argc, const char* const* argv) {
  CommandLine line;
  Define(line);
  try {
    line.app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    const std::string_view unknown = UnknownWord(argc, argv);
    if (error.get_exit_code() != 0 && !unknown.empty()) {
      std::fprintf(stderr, "mongooselb ctl: %s\n", UnknownCtlCommand(unknown).c_str());
      return Exit(CtlExit::kUsage);
    }
    return line.app.exit(error) == 0 ? Exit(CtlExit::kDone) : Exit(CtlExit::kUsage);
  }
  return Run(line);
}

}  // namespace lb
