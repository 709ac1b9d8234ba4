#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <set>
#include <string>

#include "lb/admin/ctl_commands.h"
#include "lb/admin/ctl_text.h"
#include "net/ctl/ctl_text.h"
#include "net/service/drain_wait.h"

namespace lb {
namespace {

using net::CtlErrorText;
using net::CtlProgressText;
using net::TextTable;

using Json = nlohmann::json;
using std::chrono::milliseconds;
using std::chrono::seconds;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::StartsWith;

std::string Why(std::string_view line) {
  auto request = ParseCtlRequest(line);
  return request ? "" : request.error();
}

// --- Requests ---------------------------------------------------------------------------------

TEST(CtlRequestTest, ReadsACommandWithItsArguments) {
  const std::string_view line =
      R"({"v":1,"command":"drain","node":"xmpp/n2","rate":50,"deadline":600,"wait":true})";
  auto request = ParseCtlRequest(line);
  ASSERT_TRUE(request.has_value()) << request.error();
  EXPECT_EQ(request->command->name, "drain");
  EXPECT_EQ(request->node, "xmpp/n2");
  EXPECT_EQ(request->rate, 50);
  EXPECT_EQ(request->deadline_s, 600);
  EXPECT_TRUE(request->wait);
  EXPECT_FALSE(request->force);
  EXPECT_EQ(net::CtlValuesText(net::ParseCtlValues(CtlCommands(), line).value()),
            "drain xmpp/n2 rate=50/s deadline=10m wait");
}

TEST(CtlRequestTest, TheVersionMayBeLeftOutButNotBeAnother) {
  EXPECT_EQ(Why(R"({"command":"list"})"), "");
  EXPECT_THAT(Why(R"({"v":2,"command":"list"})"), HasSubstr("version 1"));
  EXPECT_THAT(Why(R"({"v":"1","command":"list"})"), HasSubstr("version 1"));
}

TEST(CtlRequestTest, WhatIsWrongIsNamedWithWhatThereIs) {
  EXPECT_THAT(Why("list"), HasSubstr("JSON object"));
  EXPECT_THAT(Why("[1]"), HasSubstr("JSON object"));
  EXPECT_THAT(Why("{}"), HasSubstr("command"));
  EXPECT_THAT(Why(R"({"command":7})"), HasSubstr("command"));
  EXPECT_THAT(Why(R"({"command":"drian","node":"n1"})"), HasSubstr("did you mean 'drain'?"));
  EXPECT_THAT(Why(R"({"command":"drain"})"), HasSubstr("needs node"));
  EXPECT_THAT(Why(R"({"command":"drain","node":""})"), HasSubstr("node must be"));
  EXPECT_THAT(Why(R"({"command":"ready","node":"n1","rate":5})"),
              AllOf(HasSubstr("'rate'"), HasSubstr("(there are: node)")));
  EXPECT_THAT(Why(R"({"command":"drain","node":"n1","rate":"50/s"})"), HasSubstr("rate must be"));
  EXPECT_THAT(Why(R"({"command":"drain","node":"n1","rate":-1})"), HasSubstr("rate must be"));
  EXPECT_THAT(Why(R"({"command":"drain","node":"n1","deadline":1e300})"),
              HasSubstr("deadline must be"));
  EXPECT_THAT(Why(R"({"command":"drain","node":"n1","wait":1})"), HasSubstr("true or false"));
  EXPECT_THAT(Why(R"({"command":"weight","node":"n1","weight":1001})"), HasSubstr("0 to 1000"));
  EXPECT_THAT(Why(std::string(kCtlLineMax + 1, ' ')), HasSubstr("too long"));
}

TEST(CtlRequestTest, ErrorsCarryNoControlCharactersOfTheRequest) {
  EXPECT_THAT(Why("{\"command\":\"\\u001b[2J\\n\"}"), Not(HasSubstr("\x1b")));
}

TEST(CtlRequestTest, TheDescriptionNamesEachCommandAndItsArguments) {
  const Json description = Json::parse(CtlDescription());
  std::set<std::string> names;
  for (const Json& command : description["commands"]) names.insert(command["name"]);
  EXPECT_EQ(names.size(), CtlCommands().size());
  EXPECT_TRUE(names.contains("drain"));
  for (const char* exit : {"0", "1", "2", "3", "4"}) {
    EXPECT_TRUE(description["exits"].contains(exit)) << exit;
  }
}

// --- Waiting for a drain ----------------------------------------------------------------------

const net::Time kStart{seconds(1000)};
using State = net::DrainWaitStep::State;

TEST(DrainWaitTest, IsDoneWhenNobodyIsLeft) {
  const net::DrainWait wait(100, 50, seconds(30), seconds(2), kStart);
  EXPECT_EQ(wait.Look(99, kStart).state, State::kWaiting);
  EXPECT_EQ(wait.Look(0, kStart + seconds(2)).state, State::kEmpty);
  EXPECT_EQ(wait.Look(0, kStart + seconds(40)).state, State::kEmpty);
}

TEST(DrainWaitTest, TheRestTimeFollowsTheRateAndEndsAtTheDeadline) {
  const net::DrainWait wait(1000, 50, seconds(15), seconds(2), kStart);
  EXPECT_EQ(wait.Look(500, kStart).eta_s, 10);
  EXPECT_EQ(wait.Look(1000, kStart).eta_s, 15);
  EXPECT_EQ(wait.Look(500, kStart + seconds(10)).eta_s, 5);
}

TEST(DrainWaitTest, WithoutARateTheRestTimeIsWhatWasSeenSoFar) {
  const net::DrainWait wait(100, 0, seconds(0), seconds(2), kStart);
  EXPECT_EQ(wait.Look(100, kStart + seconds(5)).eta_s, std::nullopt);
  EXPECT_EQ(wait.Look(75, kStart + seconds(10)).eta_s, 30);
}

TEST(DrainWaitTest, ConnectionsCutOffAtTheDeadlineAreNoSuccess) {
  const net::DrainWait wait(10'000, 50, seconds(30), seconds(2), kStart);
  EXPECT_EQ(wait.Look(8'500, kStart + seconds(29)).state, State::kWaiting);
  const net::DrainWaitStep step = wait.Look(8'500, kStart + seconds(30));
  EXPECT_EQ(step.state, State::kDeadline);
  EXPECT_EQ(step.remaining, 8'500U);
}

TEST(DrainWaitTest, TheLastOnesOfAnEvenPaceMayCloseJustAfterTheDeadline) {
  const net::DrainWait wait(10'000, 0, seconds(30), seconds(2), kStart);
  EXPECT_EQ(wait.Look(33, kStart + seconds(30)).state, State::kWaiting);
  EXPECT_EQ(wait.Look(0, kStart + milliseconds(30'100)).state, State::kEmpty);
  EXPECT_EQ(wait.Look(1, kStart + seconds(32)).state, State::kDeadline);
}

// --- Text -------------------------------------------------------------------------------------

TEST(CtlTextTest, ColumnsAreAlignedAndLinesHaveNoSpaceAtTheirEnd) {
  TextTable table({{"NAME"}, {"N", TextTable::Colour::kNone, true}, {"WHY"}});
  table.Add({{"long-name"}, {"7", TextTable::Colour::kNone, true}, {""}});
  table.Add({{"ü"}, {"1234", TextTable::Colour::kNone, true}, {"slow"}});
  EXPECT_EQ(table.Text({}),
            "NAME          N  WHY\n"
            "long-name     7\n"
            "ü          1234  slow\n");
}

TEST(CtlTextTest, ANarrowScreenCutsLinesByWholeCharacters) {
  TextTable table({{"A"}, {"B"}});
  table.Add({{"äöü"}, {"wide"}});
  EXPECT_EQ(table.Text({.width = 7}), "A    B\näöü  wi\n");
  EXPECT_EQ(table.Text({.width = 2}).substr(0, 3), "A  ");
}

constexpr std::string_view kList = R"({"v":1,"ok":true,"exit":0,"state":"running",
  "version":"0.1.0","pid":42,"uptime_s":3725,"nodes_up":1,"nodes_total":2,"connections":41,
  "connections_max":1000,"accepts_per_s":12.4,"accept_rate":0,"split":false,
  "listeners":[{"name":"c2s","binds":["0.0.0.0:5222"],"mode":"tcp","pool":"xmpp","active":41,
    "connections_max":0,"accepted":100,"refused_limit":1,"refused_source":2}],
  "pools":[{"name":"xmpp","summary":"","nodes":[
    {"name":"n1","address":"192.0.2.1:5222","state":"up","why":"","weight":100,"active":41,
     "share_expected":1,"arrivals_per_s":12.4,"arrivals":100,"warmup":1},
    {"name":"n2","address":"192.0.2.2:5222","state":"down","why":"connect: \u001b[31mrefused",
     "weight":5,"weight_overridden":true,"active":0,"share_expected":0,"warmup":1}]}]})";

TEST(CtlTextTest, ListIsATableWithABannerInWords) {
  EXPECT_EQ(
      CtlAnswerText("list", kList, {}),
      "DEGRADED  1/2 nodes up, 41 of 1000 connections, 12 arrivals/s  (mongooselb 0.1.0, pid 42, "
      "up 1h 2m)\n\n"
      "LISTENER  MODE  POOL  OPEN  MAX  ACCEPTED  REFUSED  BIND\n"
      "c2s       tcp   xmpp    41    -       100        3  0.0.0.0:5222\n\n"
      "POOL  NODE  STATE  OPEN  MAX  WEIGHT   SHARE  ARRIVALS/S  ARRIVED  FAILED  ADDRESS"
      "         WHY\n"
      "xmpp  n1    up       41    -     100  100.0%        12.4      100       0  "
      "192.0.2.1:5222\n"
      "xmpp  n2    down      0    -      5*    0.0%         0.0        0       0  "
      "192.0.2.2:5222  connect: \\x1b[31mrefused\n");
}

TEST(CtlTextTest, ColoursAreThereOnlyWhenAskedFor) {
  EXPECT_THAT(CtlAnswerText("list", kList, {.colours = true}), HasSubstr("\x1b[31mdown\x1b[0m"));
  EXPECT_THAT(CtlAnswerText("list", kList, {}), Not(HasSubstr("\x1b")));
}

TEST(CtlTextTest, AnOrderAnswersWithItsMessage) {
  EXPECT_EQ(CtlAnswerText("maint", R"({"ok":true,"message":"n1 is in maintenance"})", {}),
            "n1 is in maintenance\n");
}

TEST(CtlTextTest, ErrorsOfAConfigurationStandOneALine) {
  EXPECT_EQ(CtlErrorText(R"({"ok":false,"error":"nothing was changed","errors":[
      {"text":"lb.toml:7: pool.x: write it as \"5s\""},{"text":"lb.toml:9: b"}]})"),
            "lb.toml:7: pool.x: write it as \"5s\"\nlb.toml:9: b\nnothing was changed\n");
}

TEST(CtlTextTest, ProgressTellsWhatIsLeftAndForHowLong) {
  EXPECT_EQ(CtlProgressText(R"({"remaining":300,"eta_s":75})"),
            "300 connections left, about 1m 15s\n");
  EXPECT_EQ(CtlProgressText(R"({"remaining":1,"eta_s":null})"), "1 connection left\n");
  EXPECT_EQ(CtlProgressText("{\"message\":\"n2 \\u001b drains\"}").find('\x1b'), std::string::npos);
  EXPECT_THAT(CtlProgressText(R"({"message":"node n2 drains 3 connections"})"),
              StartsWith("node n2 drains 3 connections"));
}

TEST(CtlTextTest, AnswersOfAnotherVersionDoNotBreakIt) {
  for (const char* command : {"list", "explain", "why", "stats", "describe", "ready"}) {
    for (const char* reply : {"", "{}", "[]", R"({"pools":7,"listeners":[1,null]})",
                              R"({"pools":[{"nodes":[{}]}],"counters":[{"series":[{}]}]})"}) {
      EXPECT_NE(CtlAnswerText(command, reply, {}), "?") << command << reply;
    }
  }
}

}  // namespace
}  // namespace lb
