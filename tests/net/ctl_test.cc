// The command line and the requests of every program's ctl, by a table.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "net/ctl/ctl_client.h"
#include "net/ctl/ctl_line.h"
#include "net/ctl/ctl_table.h"

namespace net {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::StartsWith;

constexpr CtlArg kDrainArgs[] = {
    {"node", CtlArgKind::kText, true, true, "its name"},
    {"rate", CtlArgKind::kRate, false, false, "that many"},
    {"deadline", CtlArgKind::kDuration, false, false, "after that time"},
    {"wait", CtlArgKind::kFlag, false, false, "until it is done"},
};
constexpr CtlArg kWeightArgs[] = {
    {.name = "weight",
     .kind = CtlArgKind::kNumber,
     .positional = true,
     .help = "how much",
     .max = 1000,
     .or_default = true},
};
constexpr CtlCommand kTable[] = {
    {"list", "shows all", false, {}},
    {"drain", "takes a node out", true, kDrainArgs},
    {"weight", "tells or sets", true, kWeightArgs},
    {"acme set", "publishes", true, {}},
    {.name = "top", .help = "a live table", .local = true},
};

std::expected<CtlLine, std::string> Parse(const std::vector<std::string_view>& words) {
  return ParseCtlLine(kTable, words);
}
std::string Why(const std::vector<std::string_view>& words) {
  auto line = Parse(words);
  return line ? "" : line.error();
}

TEST(CtlLineTest, OptionsStandBeforeAndBehindTheCommand) {
  auto line = Parse(
      {"--socket=/run/x", "drain", "n1", "--rate", "50/s", "--deadline=10m", "--json", "--wait"});
  ASSERT_TRUE(line) << line.error();
  EXPECT_EQ(line->socket, "/run/x");
  EXPECT_TRUE(line->json);
  EXPECT_EQ(line->values.Text("node"), "n1");
  EXPECT_EQ(line->values.Number("rate"), 50);
  EXPECT_EQ(line->values.Number("deadline"), 600);
  EXPECT_TRUE(line->values.Flag("wait"));
  EXPECT_EQ(CtlRequestLine(line->values),
            "{\"v\":1,\"command\":\"drain\",\"node\":\"n1\",\"rate\":50,\"deadline\":600,"
            "\"wait\":true}\n");
}

TEST(CtlLineTest, WhatTheClientSendsTheServerReadsAsItWasTyped) {
  auto line = Parse({"drain", "n1", "--rate", "0.5/s", "--deadline", "1500ms"});
  ASSERT_TRUE(line);
  auto request = ParseCtlValues(kTable, CtlRequestLine(line->values));
  ASSERT_TRUE(request) << request.error();
  EXPECT_EQ(request->Number("rate"), 0.5);
  EXPECT_EQ(request->Number("deadline"), 1.5);
  EXPECT_EQ(CtlValuesText(*request), CtlValuesText(line->values));
  for (const char* weight : {"default", "7"}) {
    auto typed = Parse({"weight", weight});
    ASSERT_TRUE(typed);
    auto read = ParseCtlValues(kTable, CtlRequestLine(typed->values));
    ASSERT_TRUE(read) << read.error();
    EXPECT_EQ(read->Default("weight"), std::string(weight) == "default");
  }
}

TEST(CtlLineTest, UnknownCommandsAndOptionsNameTheNearest) {
  EXPECT_THAT(Why({"lsit"}), AllOf(HasSubstr("'lsit'"), HasSubstr("did you mean 'list'?")));
  EXPECT_THAT(Why({"drain", "n1", "--dedline", "5s"}), HasSubstr("did you mean '--deadline'?"));
  EXPECT_THAT(Why({"--jsn", "list"}), HasSubstr("did you mean '--json'?"));
  EXPECT_THAT(Why({"acme", "sett"}), HasSubstr("did you mean 'acme set'?"));
  EXPECT_THAT(Why({"banana"}), HasSubstr("there are: list, drain"));
}

TEST(CtlLineTest, WrongValuesSayTheirForm) {
  EXPECT_THAT(Why({"drain", "n1", "--deadline", "30"}),
              AllOf(HasSubstr("'30' is not a length of time"), HasSubstr("as in 30s, 10m or 2h")));
  EXPECT_THAT(Why({"drain", "n1", "--rate", "fast"}), HasSubstr("as in 50/s"));
  EXPECT_THAT(Why({"weight", "1001"}), HasSubstr("0 to 1000, or default"));
  EXPECT_THAT(Why({"drain", "n1", "--rate"}), HasSubstr("--rate needs a value"));
  EXPECT_THAT(Why({"drain"}), HasSubstr("drain needs node: its name; usage: drain NODE"));
  EXPECT_THAT(Why({"drain", "n1", "n2"}), HasSubstr("'n2' is one word too many"));
  EXPECT_THAT(Why({}), HasSubstr("--help"));
  EXPECT_EQ(Why({"acme", "set"}), "");
}

TEST(CtlLineTest, HelpTellsEveryFormAndEveryExitStatus) {
  const std::string all = CtlHelp("prog", "/run/s", kTable, nullptr);
  for (const CtlCommand& command : kTable) EXPECT_THAT(all, HasSubstr(std::string(command.name)));
  for (size_t i = 0; i < kCtlExits; ++i) {
    EXPECT_THAT(all, HasSubstr(std::to_string(i) + "  " +
                               std::string(CtlExitText(static_cast<CtlExit>(i)))));
  }
  EXPECT_THAT(CtlHelp("prog", "/run/s", kTable, &kTable[1]),
              AllOf(StartsWith("prog ctl drain NODE [--rate N/s] [--deadline TIME] [--wait]\n"),
                    HasSubstr("TIME is a number and a unit")));
}

TEST(CtlTableTest, TheServerDoesNotKnowTheClientsOwnCommands) {
  EXPECT_FALSE(ParseCtlValues(kTable, R"({"command":"top"})"));
  EXPECT_TRUE(ParseCtlValues(kTable, R"({"command":"acme_set"})"));
}

struct Ran {
  int status;
  std::string out;
  std::string err;
};

Ran RunClient(std::vector<const char*> words) {
  words.insert(words.begin(), "ctl");
  const CtlProgram program{.name = "prog",
                           .socket = "/nowhere/nobody.sock",
                           .commands = kTable,
                           .text = [](std::string_view, std::string_view reply, const TextStyle&) {
                             return std::string(reply);
                           }};
  testing::internal::CaptureStdout();
  testing::internal::CaptureStderr();
  const int status = RunCtl(program, static_cast<int>(words.size()), words.data());
  return {status, testing::internal::GetCapturedStdout(), testing::internal::GetCapturedStderr()};
}

TEST(CtlClientTest, WithJsonEveryErrorIsJsonToo) {
  const Ran usage = RunClient({"--json", "lsit"});
  EXPECT_EQ(usage.status, 2);
  EXPECT_THAT(usage.out, AllOf(StartsWith("{\"v\":1,\"ok\":false,\"exit\":2,\"error\":\""),
                               HasSubstr("did you mean 'list'?")));
  const Ran value = RunClient({"drain", "n1", "--deadline", "30", "--json"});
  EXPECT_EQ(value.status, 2);
  EXPECT_THAT(value.out, StartsWith("{\"v\":1,\"ok\":false,\"exit\":2,"));
  const Ran nobody = RunClient({"list", "--json"});
  EXPECT_EQ(nobody.status, 3);
  EXPECT_THAT(nobody.out, AllOf(StartsWith("{\"v\":1,\"ok\":false,\"exit\":3,"),
                                HasSubstr("prog at /nowhere/nobody.sock")));
  EXPECT_THAT(nobody.err, HasSubstr("prog ctl: cannot reach prog"));
  EXPECT_EQ(RunClient({"list"}).out, "");
}

}  // namespace
}  // namespace net
