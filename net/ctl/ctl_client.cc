#include "net/ctl/ctl_client.h"

#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <vector>

#include "net/ctl/ctl_connection.h"

namespace net {
namespace {

using Json = nlohmann::ordered_json;

int Status(CtlExit exit) { return static_cast<int>(exit); }

int Complain(const CtlProgram& program, bool json, CtlExit exit, const std::string& why) {
  if (json) {
    std::fputs(CtlReplyLine({.exit = exit, .message = why}).c_str(), stdout);
    std::fflush(stdout);
  }
  std::fprintf(stderr, "%s ctl: %s\n", program.name.c_str(), ForTerminal(why).c_str());
  return Status(exit);
}

// Each line of the answer but the last goes to `progress`.
std::expected<std::string, std::string> LastLine(
    CtlConnection& connection, const std::function<void(const std::string&)>& progress) {
  while (true) {
    auto text = connection.ReadLine();
    if (!text) return text;
    const Json reply = Json::parse(*text, nullptr, false);
    if (!reply.is_object()) return std::unexpected("the answer is no JSON; who listens there?");
    if (reply.contains("ok")) return text;
    progress(*text);
  }
}

}  // namespace

bool CtlClient::terminal() const { return isatty(STDOUT_FILENO) == 1; }

TextStyle CtlClient::style() const {
  const char* no_color = std::getenv("NO_COLOR");
  return {.colours = terminal() && (no_color == nullptr || *no_color == '\0')};
}

int CtlClient::Fail(CtlExit exit, const std::string& why) const {
  return Complain(program_, line_.json, exit, why);
}

std::expected<std::string, std::string> CtlClient::Ask(const std::string& request_line) const {
  auto connection = CtlConnection::Open(program_.name, line_.socket);
  if (!connection) return std::unexpected(connection.error());
  if (auto sent = connection->Send(request_line); !sent) return std::unexpected(sent.error());
  return LastLine(*connection, [](const std::string&) {});
}

int CtlClient::Finish(const std::string& text) const {
  const Json reply = Json::parse(text, nullptr, false);
  if (!reply.is_object()) return Fail(CtlExit::kNotFound, "the answer is no JSON");
  auto found = reply.find("ok");
  const bool ok = found != reply.end() && found->is_boolean() && found->get<bool>();
  if (line_.json) {
    std::printf("%s\n", text.c_str());
  } else if (ok) {
    std::fputs(program_.text(line_.command->name, text, style()).c_str(), stdout);
  }
  if (!ok) std::fputs(CtlErrorText(text).c_str(), stderr);
  auto exit = reply.find("exit");
  if (exit != reply.end() && exit->is_number_unsigned() && exit->get<uint64_t>() < kCtlExits) {
    return exit->get<int>();
  }
  return Status(ok ? CtlExit::kDone : CtlExit::kRefused);
}

int CtlClient::Converse() const {
  auto connection = CtlConnection::Open(program_.name, line_.socket);
  if (!connection) return Fail(CtlExit::kNotFound, connection.error());
  if (auto sent = connection->Send(CtlRequestLine(line_.values)); !sent) {
    return Fail(CtlExit::kNotFound, sent.error());
  }
  auto reply = LastLine(*connection, [this](const std::string& text) {
    std::fputs(line_.json ? (text + "\n").c_str() : CtlProgressText(text).c_str(), stdout);
    std::fflush(stdout);
  });
  return reply ? Finish(*reply) : Fail(CtlExit::kNotFound, reply.error());
}

int RunCtl(const CtlProgram& program, int argc, const char* const* argv) {
  const std::vector<std::string_view> words(argv + (argc > 0 ? 1 : 0), argv + argc);
  auto line = ParseCtlLine(program.commands, words);
  if (!line) return Complain(program, CtlJsonWanted(words), CtlExit::kUsage, line.error());
  if (line->help) {
    std::fputs(CtlHelp(program.name, program.socket, program.commands, line->command).c_str(),
               stdout);
    return Status(CtlExit::kDone);
  }
  if (line->socket.empty()) line->socket = program.socket;
  if (program.prepare != nullptr) program.prepare(*line);
  CtlClient client(program, *line);
  if (program.special != nullptr) {
    if (auto status = program.special(client)) return *status;
  }
  return client.Converse();
}

}  // namespace net
