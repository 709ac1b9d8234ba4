#include "lb/admin/admin.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <optional>
#include <regex>
#include <set>
#include <sstream>
#include <string>

#include "lb/admin/views_json.h"
#include "lb/admin/views_metrics.h"
#include "tests/lb/control_fixture.h"

namespace lb {
namespace {

using Json = nlohmann::json;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::StartsWith;

ProcessView SomeProcess() {
  return {.state = ProcessState::kRunning,
          .version = "0.1.0",
          .pid = 42,
          .uptime_s = 1.5,
          .workers = 2,
          .connections = 41,
          .connections_max = 1000,
          .accepts_per_s = 1.0 / 3,
          .nodes_up = 1,
          .nodes_total = 2};
}

std::vector<PoolView> SomePools() {
  NodeView up{.name = "n1",
              .address = "192.0.2.1:5222",
              .state = "up",
              .admin = "ready",
              .weight = 100,
              .active = 41,
              .passed_warmup = 3};
  NodeView down{.name = "n\"2",
                .address = "192.0.2.2:5222",
                .state = "down",
                .why = "bad \xff\x1b\"quote",
                .admin = "ready"};
  down.checks.push_back({"xmpp", "failed", "no features"});
  return {{.name = "xmpp", .balance = "p2c", .nodes_up = 1, .nodes = {up, down}}};
}

// --- JSON -------------------------------------------------------------------------------------

TEST(ViewsJsonTest, StatusHasWhatOthersReadFromIt) {
  const Json status = Json::parse(
      StatusJson(SomeProcess(), {{.name = "c2s", .binds = {"0.0.0.0:5222"}}}, SomePools()));
  EXPECT_EQ(status["state"], "running");
  EXPECT_EQ(status["warmup"], 1);
  EXPECT_EQ(status["nodes_up"], 1);
  EXPECT_EQ(status["nodes_total"], 2);
  EXPECT_EQ(status["connections"], 41);
  EXPECT_EQ(status["accepts_per_s"], 0.333333);
  EXPECT_EQ(status["listeners"][0]["binds"][0], "0.0.0.0:5222");
  EXPECT_EQ(status["pools"][0]["nodes"][0]["active"], 41);
  EXPECT_EQ(status["pools"][0]["nodes"][1]["checks"][0]["why"], "no features");
}

TEST(ViewsJsonTest, PeersTextsAreEscapedAndOnOneLine) {
  const std::string text = PoolsJson(SomePools());
  EXPECT_EQ(text.find('\n'), std::string::npos);
  EXPECT_THAT(text, HasSubstr("bad \xef\xbf\xbd\\u001b\\\"quote"));
}

TEST(ViewsJsonTest, FiguresThatAreNoNumbersDoNotBreakIt) {
  ProcessView process = SomeProcess();
  process.accepts_per_s = std::numeric_limits<double>::quiet_NaN();
  process.uptime_s = std::numeric_limits<double>::infinity();
  EXPECT_EQ(Json::parse(StatusJson(process, {}, {}))["uptime_s"], 0);
}

TEST(ViewsJsonTest, WhyAndCountersAndErrorsAreObjects) {
  WhyView why{.address = "192.0.2.9",
              .pools = {{"xmpp", {"c2s"}, "n1: fewest"}},
              .connections = {{.client = "192.0.2.9:1", .node = "n1", .age_ms = 5}},
              .connections_total = 1};
  EXPECT_EQ(Json::parse(WhyJson(why))["connections"][0]["age_ms"], 5);
  EXPECT_EQ(Json::parse(CountersJson({{"a_total", "help", true, {{{{"l", "v"}}, 2}}}})),
            Json::parse(R"({"counters":[{"name":"a_total","help":"help","type":"counter",
                            "series":[{"labels":{"l":"v"},"value":2}]}]})"));
  EXPECT_EQ(Json::parse(ConfigErrorsJson({{.file = "f", .line = 3, .key = "k", .what = "is bad"}})),
            Json::parse(R"({"errors":[{"file":"f","line":3,"key":"k","what":"is bad","remedy":"",
                            "text":"f:3: k: is bad"}]})"));
}

// --- Metrics ----------------------------------------------------------------------------------

void ExpectWellFormed(const std::string& text) {
  static const std::regex kSeries(
      R"(([a-z_:][a-z0-9_:]*)(\{([a-z_]+="([^"\\]|\\.)*",?)*\})? (\S+))");
  std::set<std::string> typed;
  std::set<std::string> seen;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with("# HELP ")) continue;
    if (line.starts_with("# TYPE ")) {
      EXPECT_TRUE(typed.insert(line.substr(7, line.rfind(' ') - 7)).second) << line;
      continue;
    }
    std::smatch match;
    ASSERT_TRUE(std::regex_match(line, match, kSeries)) << line;
    EXPECT_TRUE(typed.contains(match[1])) << line;
    EXPECT_TRUE(seen.insert(line.substr(0, line.rfind(' '))).second) << line;
  }
  EXPECT_GT(seen.size(), 20U);
}

TEST(ViewsMetricsTest, AreWellFormedWithOneStateHoldingForEachNode) {
  const std::string text =
      MetricsText(SomeProcess(),
                  {{"mongooselb_connections_active", "Open.", false, {{{}, 41}}},
                   {"mongooselb_ended_total", "Ended.", true, {{{{"reason", "shut"}}, 2}}}},
                  SomePools());
  ExpectWellFormed(text);
  EXPECT_THAT(text, HasSubstr("mongooselb_build_info{version=\"0.1.0\"} 1\n"));
  EXPECT_THAT(text, HasSubstr("mongooselb_connections_active 41\n"));
  EXPECT_THAT(text, HasSubstr("mongooselb_ended_total{reason=\"shut\"} 2\n"));
  EXPECT_THAT(text, HasSubstr("mongooselb_node_state{pool=\"xmpp\",node=\"n1\",state=\"up\"} 1\n"));
  EXPECT_THAT(text,
              HasSubstr("mongooselb_node_state{pool=\"xmpp\",node=\"n\\\"2\",state=\"up\"} 0\n"));
  EXPECT_THAT(text, HasSubstr("{pool=\"xmpp\",node=\"n1\",reason=\"warmup\"} 3\n"));
  EXPECT_THAT(text, Not(HasSubstr("192.0.2.")));
}

// --- Pages ------------------------------------------------------------------------------------

TEST(AdminPagesTest, ReadinessFollowsTheStateAndSaysWhy) {
  ProcessView process = SomeProcess();
  EXPECT_EQ(ReadyPage(process, {}, false).status, 200);
  for (ProcessState state :
       {ProcessState::kStarting, ProcessState::kDraining, ProcessState::kStopping}) {
    process.state = state;
    const net::HttpResponse page = ReadyPage(process, {}, false);
    EXPECT_EQ(page.status, 503);
    EXPECT_THAT(page.body, HasSubstr(std::string(ProcessStateName(state))));
  }
  EXPECT_THAT(ReadyPage(process, SomePools(), true).body, HasSubstr("pool xmpp: 1 of 2 nodes up"));
}

TEST(AdminPagesTest, ReadyNeedsANodeThatIsUp) {
  const ProcessView process = SomeProcess();
  std::vector<PoolView> pools = SomePools();
  pools.push_back({.name = "other"});
  EXPECT_EQ(ReadyPage(process, pools, false).status, 200);
  EXPECT_EQ(ReadyPage(process, pools, false, {"xmpp"}).status, 200);
  const net::HttpResponse other = ReadyPage(process, pools, false, {"xmpp", "other"});
  EXPECT_EQ(other.status, 503);
  EXPECT_EQ(other.body, "not ready: no node of pool other is up\n");
  pools[0].nodes_up = 0;
  const net::HttpResponse none = ReadyPage(process, pools, false);
  EXPECT_EQ(none.status, 503);
  EXPECT_EQ(none.body, "not ready: no node is up\n");
}

TEST(AdminPagesTest, TheIndexShowsNodesAndEscapesPeersTexts) {
  std::vector<PoolView> pools = SomePools();
  pools[0].nodes[1].why = "<script>alert(1)</script>";
  const std::string body = IndexPage(SomeProcess(), {{.name = "c2s"}}, pools).body;
  EXPECT_THAT(body, AllOf(HasSubstr("<td>n1</td>"), HasSubstr("&lt;script&gt;"),
                          Not(HasSubstr("<script"))));
}

class AdminServerTest : public test::ControlTest {
 protected:
  void SetUp() override {
    ControlTest::SetUp();
    if (HasFatalFailure()) return;
    net::UniqueFd listener = net::test::ListenLoopback();
    address_ = net::test::BoundAddress(listener.get());
    admin_.emplace(*loop_, *control_, std::move(listener));
  }
  void TearDown() override {
    admin_.reset();
    ControlTest::TearDown();
  }

  std::string Request(const std::string& method, const std::string& target) {
    const net::UniqueFd fd = net::test::Dial(address_);
    const std::string request =
        method + " " + target + " HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    EXPECT_EQ(send(fd.get(), request.data(), request.size(), 0),
              static_cast<ssize_t>(request.size()));
    std::string text;
    EXPECT_TRUE(net::test::RunUntil(*loop_, [&] {
      char buffer[16'384];
      ssize_t n = 0;
      while ((n = recv(fd.get(), buffer, sizeof buffer, MSG_DONTWAIT)) > 0) {
        text.append(buffer, static_cast<size_t>(n));
      }
      return n == 0;
    }));
    return text;
  }
  static std::string BodyOf(const std::string& response) {
    return response.substr(response.find("\r\n\r\n") + 4);
  }

  sockaddr_in address_{};
  std::optional<AdminServer> admin_;
};

TEST_F(AdminServerTest, PagesOfARunningBalancer) {
  Hold(3);
  EXPECT_THAT(Request("GET", "/livez"), StartsWith("HTTP/1.1 200 "));
  EXPECT_THAT(Request("GET", "/readyz"), StartsWith("HTTP/1.1 200 "));
  EXPECT_THAT(Request("GET", "/readyz?verbose"), HasSubstr("pool xmpp: 2 of 2 nodes up"));
  EXPECT_THAT(Request("GET", "/"), HasSubstr("text/html"));
  const Json status = Json::parse(BodyOf(Request("GET", "/status")));
  EXPECT_EQ(status["connections"], 3);
  EXPECT_EQ(status["nodes_up"], 2);
  const std::string metrics = BodyOf(Request("GET", "/metrics"));
  ExpectWellFormed(metrics);
  EXPECT_THAT(metrics, HasSubstr("mongooselb_connections_active 3\n"));
  EXPECT_THAT(metrics, Not(HasSubstr("127.0.0.1")));
}

TEST_F(AdminServerTest, UnknownPathsAndMethodsAreRefused) {
  EXPECT_THAT(Request("GET", "/nothing"), StartsWith("HTTP/1.1 404 "));
  EXPECT_THAT(Request("POST", "/status"),
              AllOf(StartsWith("HTTP/1.1 405 "), HasSubstr("Allow: GET, HEAD")));
  EXPECT_THAT(Request("DELETE", "/nothing"), StartsWith("HTTP/1.1 404 "));
  EXPECT_EQ(BodyOf(Request("HEAD", "/metrics")), "");
}

TEST_F(AdminServerTest, IsNotReadyWhileItDrainsAndStillAlive) {
  Hold(1);
  control_->BeginDrain(std::chrono::seconds(60), [](uint64_t) {});
  EXPECT_THAT(Request("GET", "/readyz"), AllOf(StartsWith("HTTP/1.1 503 "), HasSubstr("draining")));
  EXPECT_THAT(Request("GET", "/livez"), StartsWith("HTTP/1.1 200 "));
  EXPECT_EQ(Json::parse(BodyOf(Request("GET", "/status")))["state"], "draining");
}

}  // namespace
}  // namespace lb
