#include "lb/admin/ctl_server.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <future>
#include <mutex>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "lb/admin/ctl_client.h"
#include "net/base/address.h"
#include "net/ctl/ctl_connection.h"
#include "net/report/log.h"
#include "tests/lb/control_fixture.h"

namespace lb {
namespace {

using Json = nlohmann::json;
using ::testing::AllOf;
using ::testing::Contains;
using ::testing::HasSubstr;

class CtlServerTest : public test::ControlTest {
 protected:
  void SetUp() override {
    net::ConfigureLog({.sink = [this](std::string_view line) {
      const std::scoped_lock lock(log_mutex_);
      log_.emplace_back(line);
    }});
    ControlTest::SetUp();
    if (HasFatalFailure()) return;
    Serve({}, {});
  }

  void TearDown() override {
    server_.reset();
    ControlTest::TearDown();
    net::ConfigureLog({});
  }

  std::string socket_path() const { return folder_ / "ctl.sock"; }

  void Serve(CtlHooks hooks, CtlServerOptions options) {
    server_.reset();
    std::filesystem::remove(socket_path());
    const net::SocketName name = net::SocketName::Unix(socket_path());
    auto listener = net::Listen(name.get(), name.size(), {});
    ASSERT_TRUE(listener.has_value()) << listener.error();
    server_.emplace(*loop_, *control_, std::move(*listener), std::move(hooks), options);
  }

  // Runs blocking client code on a thread of its own while the loop turns.
  template <typename Work>
  auto Meanwhile(Work work) {
    auto result = std::async(std::launch::async, std::move(work));
    EXPECT_TRUE(net::test::RunUntil(*loop_, [&] {
      return result.wait_for(std::chrono::seconds(0)) == std::future_status::ready;
    }));
    return result.get();
  }

  // All lines of the answer to one request; the last is the one with "ok".
  std::vector<Json> AskAll(const std::string& request) {
    return Meanwhile([path = socket_path(), request] {
      std::vector<Json> lines;
      auto connection = net::CtlConnection::Open("mongooselb", path);
      EXPECT_TRUE(connection.has_value()) << connection.error();
      if (!connection || !connection->Send(request + "\n")) return lines;
      while (lines.empty() || !lines.back().contains("ok")) {
        auto line = connection->ReadLine();
        if (!line) break;
        lines.push_back(Json::parse(*line));
      }
      return lines;
    });
  }
  Json Ask(const std::string& request) {
    auto lines = AskAll(request);
    EXPECT_FALSE(lines.empty());
    return lines.empty() ? Json::object() : lines.back();
  }

  struct Finished {
    int status = 0;
    std::string out;
    std::string err;
  };
  Finished Ctl(std::vector<std::string> words) {
    words.insert(words.begin(), {"ctl", "--socket", socket_path()});
    std::vector<const char*> argv;
    for (const std::string& word : words) argv.push_back(word.c_str());
    testing::internal::CaptureStdout();
    testing::internal::CaptureStderr();
    Finished finished;
    finished.status = Meanwhile([&] { return RunCtl(static_cast<int>(argv.size()), argv.data()); });
    finished.out = testing::internal::GetCapturedStdout();
    finished.err = testing::internal::GetCapturedStderr();
    return finished;
  }

  std::vector<std::string> LogLines() {
    const std::scoped_lock lock(log_mutex_);
    return log_;
  }

  std::optional<CtlServer> server_;
  std::mutex log_mutex_;
  std::vector<std::string> log_;
};

TEST_F(CtlServerTest, ListTellsProcessListenersAndNodes) {
  const Json reply = Ask(R"({"v":1,"command":"list"})");
  EXPECT_EQ(reply["ok"], true);
  EXPECT_EQ(reply["exit"], 0);
  EXPECT_EQ(reply["state"], "running");
  EXPECT_EQ(reply["listeners"][0]["name"], "c2s");
  EXPECT_EQ(reply["pools"][0]["nodes"][1]["name"], "n2");
}

TEST_F(CtlServerTest, OrdersAreCarriedOutAndLoggedWithWhoGaveThem) {
  EXPECT_EQ(Ask(R"({"v":1,"command":"maint","node":"n1"})")["ok"], true);
  EXPECT_EQ(NodeNamed("n1").admin, "maint");
  EXPECT_EQ(Ask(R"({"v":1,"command":"ready","node":"xmpp/n1"})")["ok"], true);
  EXPECT_EQ(NodeNamed("n1").admin, "ready");
  EXPECT_EQ(Ask(R"({"v":1,"command":"weight","node":"n2","weight":7})")["ok"], true);
  EXPECT_EQ(NodeNamed("n2").weight, 7U);
  EXPECT_EQ(Ask(R"({"v":1,"command":"weight","node":"n2","weight":"default"})")["ok"], true);
  EXPECT_EQ(NodeNamed("n2").weight, 100U);
  EXPECT_THAT(Ask(R"({"v":1,"command":"weight","node":"n2"})")["message"].get<std::string>(),
              HasSubstr("weight 100"));
  EXPECT_THAT(LogLines(), Contains(AllOf(HasSubstr("order=\"maint n1\""),
                                         HasSubstr("pid=" + std::to_string(getpid())),
                                         HasSubstr("uid=" + std::to_string(getuid())))));
}

TEST_F(CtlServerTest, AnUnknownNodeOrCommandFailsAndSaysWhatThereIs) {
  Json reply = Ask(R"({"v":1,"command":"drain","node":"n9"})");
  EXPECT_EQ(reply["exit"], 3);
  EXPECT_THAT(reply["error"].get<std::string>(), AllOf(HasSubstr("n9"), HasSubstr("xmpp/n2")));
  reply = Ask(R"({"v":1,"command":"explain","pool":"nope"})");
  EXPECT_EQ(reply["exit"], 3);
  EXPECT_THAT(reply["error"].get<std::string>(), HasSubstr("xmpp"));
  reply = Ask(R"({"v":1,"command":"explode"})");
  EXPECT_EQ(reply["exit"], 2);
  EXPECT_THAT(reply["error"].get<std::string>(), AllOf(HasSubstr("explode"), HasSubstr("list")));
}

TEST_F(CtlServerTest, ADrainWithWaitReportsUntilTheLastConnectionHasGone) {
  Serve({},
        {.wait = {.look = std::chrono::milliseconds(10), .report = std::chrono::milliseconds(50)}});
  Hold(20);
  const auto lines =
      AskAll(R"({"v":1,"command":"drain","node":"n1","rate":50,"deadline":20,"wait":true})");
  ASSERT_GE(lines.size(), 2U);
  EXPECT_EQ(lines.front()["remaining"], 10);
  EXPECT_FALSE(lines.front()["eta_s"].is_null());
  EXPECT_EQ(lines.back()["ok"], true);
  EXPECT_EQ(lines.back()["remaining"], 0);
  EXPECT_EQ(NodeNamed("n1").active, 0U);
  EXPECT_EQ(NodeNamed("n2").active, 10U);
}

TEST_F(CtlServerTest, AWaitEndsWhenAnotherOrderTakesTheNodeBack) {
  Serve({},
        {.wait = {.look = std::chrono::milliseconds(10), .report = std::chrono::milliseconds(20)}});
  Hold(4);
  auto waiting = std::async(std::launch::async, [path = socket_path()] {
    auto connection = net::CtlConnection::Open("mongooselb", path);
    EXPECT_TRUE(connection.has_value());
    EXPECT_TRUE(
        connection->Send("{\"v\":1,\"command\":\"drain\",\"node\":\"n1\",\"wait\":true}\n"));
    Json line;
    while (!line.contains("ok")) line = Json::parse(connection->ReadLine().value());
    return line;
  });
  ASSERT_TRUE(net::test::RunUntil(*loop_, [&] { return NodeNamed("n1").admin == "drain"; }));
  ASSERT_TRUE(control_->Ready("n1").has_value());
  ASSERT_TRUE(net::test::RunUntil(*loop_, [&] {
    return waiting.wait_for(std::chrono::seconds(0)) == std::future_status::ready;
  }));
  const Json reply = waiting.get();
  EXPECT_EQ(reply["exit"], 1);
  EXPECT_THAT(reply["error"].get<std::string>(), HasSubstr("n1"));
}

TEST_F(CtlServerTest, AClientThatLeavesWhileItWaitsDoesNotStopTheDrain) {
  Hold(4);
  {
    auto connection = net::CtlConnection::Open("mongooselb", socket_path());
    ASSERT_TRUE(connection.has_value());
    ASSERT_TRUE(connection->Send("{\"command\":\"drain\",\"node\":\"n1\",\"wait\":true}\n"));
    ASSERT_TRUE(net::test::RunUntil(*loop_, [&] { return NodeNamed("n1").admin == "drain"; }));
  }
  ASSERT_TRUE(net::test::RunUntil(*loop_, [&] { return server_->sessions() == 0; }));
  EXPECT_EQ(NodeNamed("n1").admin, "drain");
}

TEST_F(CtlServerTest, AReloadThatIsRefusedTellsEachMistakeWithItsLine) {
  WriteConfig("balence = \"p2c\"\nconnect_timeout = 5");
  const Finished done = Ctl({"reload"});
  EXPECT_EQ(done.status, 1);
  EXPECT_EQ(done.out, "");
  EXPECT_THAT(done.err, testing::ContainsRegex("lb.toml:[0-9]+: pool.xmpp.balence: .*balance"));
  EXPECT_THAT(done.err, testing::ContainsRegex("lb.toml:[0-9]+: pool.xmpp.connect_timeout: "));
  WriteConfig("retries = 2");
  EXPECT_EQ(Ctl({"reload"}).status, 0);
  EXPECT_EQ(control_->Process().reloads, 1U);
}

TEST_F(CtlServerTest, HooksStandInForReloadAndUpgrade) {
  EXPECT_EQ(Ask(R"({"command":"upgrade"})")["exit"], 1);
  int reloads = 0;
  CtlHooks::Answer upgraded;
  Serve({.reload = [&] { return ++reloads, std::string("reloaded by the hook"); },
         .upgrade =
             [&](CtlHooks::Answer answer) {
               // Later, as a new process takes its time; others are answered meanwhile.
               upgraded = std::move(answer);
               loop_->After(std::chrono::milliseconds(20), [&] { upgraded(Done("handed over")); });
             }},
        {});
  EXPECT_EQ(Ask(R"({"command":"reload"})")["message"], "reloaded by the hook");
  EXPECT_EQ(reloads, 1);
  EXPECT_EQ(Ask(R"({"command":"upgrade"})")["message"], "handed over");
}

TEST_F(CtlServerTest, SessionsAreBoundedAndALineTooLongIsRefused) {
  Serve({}, {.server = {.sessions_max = 2}});
  std::vector<net::CtlConnection> idle;
  for (int i = 0; i < 2; ++i)
    idle.push_back(net::CtlConnection::Open("mongooselb", socket_path()).value());
  ASSERT_TRUE(net::test::RunUntil(*loop_, [&] { return server_->sessions() == 2; }));
  EXPECT_THAT(Ask(R"({"command":"list"})")["error"].get<std::string>(),
              HasSubstr("2 control sessions"));
  idle.clear();
  ASSERT_TRUE(net::test::RunUntil(*loop_, [&] { return server_->sessions() == 0; }));
  EXPECT_THAT(Ask(std::string(70'000, 'x'))["error"].get<std::string>(), HasSubstr("65536"));
}

TEST_F(CtlServerTest, SeveralRequestsOnOneConnectionAreAnsweredInOrder) {
  const auto answers = Meanwhile([path = socket_path()] {
    std::vector<Json> lines;
    auto connection = net::CtlConnection::Open("mongooselb", path).value();
    EXPECT_TRUE(connection.Send(
        "{\"command\":\"stats\"}\n\n{\"command\":\"why\",\"address\":\"127.0.0.1\"}\n"
        "{\"command\":\"describe\"}\n"));
    for (int i = 0; i < 3; ++i) lines.push_back(Json::parse(connection.ReadLine().value()));
    return lines;
  });
  EXPECT_TRUE(answers[0].contains("counters"));
  EXPECT_EQ(answers[1]["address"], "127.0.0.1");
  EXPECT_TRUE(answers[2].contains("commands"));
}

TEST_F(CtlServerTest, EachCommandAnswersPeopleAndAsJson) {
  Hold(2);
  for (const std::vector<std::string>& words : {std::vector<std::string>{"list"},
                                                {"explain"},
                                                {"explain", "xmpp"},
                                                {"stats"},
                                                {"why", "127.0.0.1"},
                                                {"why", "::1"},
                                                {"describe"},
                                                {"weight", "n1"},
                                                {"prewarm"}}) {
    const Finished people = Ctl(words);
    EXPECT_EQ(people.status, 0) << words[0] << people.err;
    EXPECT_NE(people.out, "") << words[0];
    auto after = words;
    after.push_back("--json");
    const Finished json = Ctl(after);
    EXPECT_EQ(json.status, 0) << words[0];
    EXPECT_TRUE(Json::parse(json.out).is_object()) << words[0];
  }
  EXPECT_THAT(Ctl({"list"}).out, testing::ContainsRegex("xmpp +n1 +up +1 "));
  EXPECT_THAT(Ctl({"why", "127.0.0.1"}).out, HasSubstr("2 connections open"));
  EXPECT_THAT(Ctl({"top"}).out, AllOf(HasSubstr("2/2 nodes up"), Not(HasSubstr("\x1b"))));
}

TEST_F(CtlServerTest, TheClientReadsRatesAndTimesAndRefusesOthers) {
  EXPECT_EQ(Ctl({"shut", "n1", "--rate", "100/s"}).status, 0);
  EXPECT_EQ(Ctl({"drain", "n1", "--deadline", "30"}).status, 2);
  EXPECT_EQ(Ctl({"drain", "n1", "--rate", "fast"}).status, 2);
  EXPECT_EQ(Ctl({"weight", "n1", "1001"}).status, 2);
  EXPECT_EQ(Ctl({"drain"}).status, 2);
  EXPECT_EQ(Ctl({"explode"}).status, 2);
  EXPECT_THAT(Ctl({"drian", "n1"}).err, HasSubstr("did you mean 'drain'?"));
  EXPECT_EQ(Ctl({}).status, 2);
  EXPECT_EQ(Ctl({"drain", "n9"}).status, 3);
  EXPECT_EQ(Ctl({"why", "nobody"}).status, 2);
  EXPECT_EQ(Ctl({"drain", "--help"}).status, 0);
}

TEST(CtlClientTest, ABalancerThatIsNotThereIsNamedWithTheRemedy) {
  const char* argv[] = {"ctl", "--socket", "/nowhere/nobody.sock", "list"};
  testing::internal::CaptureStderr();
  EXPECT_EQ(RunCtl(4, argv), 3);
  EXPECT_THAT(testing::internal::GetCapturedStderr(),
              AllOf(HasSubstr("/nowhere/nobody.sock"), HasSubstr("--socket")));
}

}  // namespace
}  // namespace lb
