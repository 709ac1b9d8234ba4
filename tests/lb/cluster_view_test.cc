#include "lb/health/cluster_view.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "net/probe/json_path.h"

namespace lb {
namespace {

using Kind = ClusterStatusError::Kind;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr std::string_view kGood = R"({"node":"mongooseim@a","incarnation":"17-3","state":"running",
  "members":["mongooseim@b","mongooseim@a"],"running":["mongooseim@a"],"stopped":["mongooseim@b"],
  "sessions":12,"max_sessions":1000,"load":0.25,"extra":{"ignored":[1]}})";

TEST(ClusterStatusTest, ReadsTheContract) {
  auto status = ParseClusterStatus(kGood);
  ASSERT_TRUE(status.has_value()) << status.error().ToString();
  EXPECT_EQ(status->node, "mongooseim@a");
  EXPECT_EQ(status->incarnation, "17-3");
  EXPECT_EQ(status->state, ClusterState::kRunning);
  EXPECT_THAT(status->members, ElementsAre("mongooseim@a", "mongooseim@b"));
  EXPECT_THAT(status->running, ElementsAre("mongooseim@a"));
  EXPECT_THAT(status->stopped, ElementsAre("mongooseim@b"));
  EXPECT_EQ(status->sessions, 12u);
  EXPECT_EQ(status->max_sessions, 1000u);
  EXPECT_DOUBLE_EQ(status->load, 0.25);
}

TEST(ClusterStatusTest, EveryStateIsKnownAndOnlyRunningIsChoosable) {
  for (const char* name : {"starting", "running", "joining", "draining", "isolated", "stopping"}) {
    std::string body = R"({"node":"a","incarnation":7,"state":")" + std::string(name) +
                       R"(","members":[],"running":[]})";
    auto status = ParseClusterStatus(body);
    ASSERT_TRUE(status.has_value()) << name;
    EXPECT_EQ(ClusterStateName(status->state), name);
    EXPECT_EQ(Choosable(status->state), std::string_view(name) == "running");
    EXPECT_EQ(status->incarnation, "7");
  }
}

TEST(ClusterStatusTest, GarbageIsANamedError) {
  struct Case {
    std::string body;
    Kind kind;
    std::string key;
  };
  const std::string head = R"({"node":"a","incarnation":1,)";
  std::string many = head + R"("state":"running","running":[],"members":["x")";
  for (int i = 0; i < 256; ++i) many += ",\"n" + std::to_string(i) + "\"";
  many += "]}";
  std::vector<Case> cases = {
      {"", Kind::kNotJson, ""},
      {"<html>", Kind::kNotJson, ""},
      {"[]", Kind::kNotJson, ""},
      {"null", Kind::kNotJson, ""},
      {"{\"node\":\"a\"", Kind::kNotJson, ""},
      {"{}", Kind::kMissingKey, "node"},
      {R"({"node":7})", Kind::kWrongType, "node"},
      {R"({"node":""})", Kind::kBadValue, "node"},
      {R"({"node":"a\nb"})", Kind::kBadValue, "node"},
      {R"({"node":")" + std::string(256, 'a') + R"("})", Kind::kBadValue, "node"},
      {R"({"node":"a"})", Kind::kMissingKey, "incarnation"},
      {R"({"node":"a","incarnation":1.5})", Kind::kWrongType, "incarnation"},
      {head + R"("state":"fine"})", Kind::kBadValue, "state"},
      {head + R"("state":"running"})", Kind::kMissingKey, "members"},
      {head + R"("state":"running","members":"a","running":[]})", Kind::kWrongType, "members"},
      {head + R"("state":"running","members":[1],"running":[]})", Kind::kWrongType, "members"},
      {head + R"("state":"running","members":[""],"running":[]})", Kind::kBadValue, "members"},
      {head + R"("state":"running","members":[]})", Kind::kMissingKey, "running"},
      {head + R"("state":"running","members":[],"running":[],"sessions":-1})", Kind::kWrongType,
       "sessions"},
      {head + R"("state":"running","members":[],"running":[],"load":"high"})", Kind::kWrongType,
       "load"},
      {many, Kind::kTooMany, "members"},
      {std::string(kClusterStatusMax + 1, ' '), Kind::kTooLarge, ""},
      {std::string(kClusterStatusMax, '['), Kind::kNotJson, ""},
  };
  for (const Case& c : cases) {
    auto status = ParseClusterStatus(c.body);
    ASSERT_FALSE(status.has_value()) << c.body.substr(0, 80);
    EXPECT_EQ(status.error().kind, c.kind) << c.body.substr(0, 80);
    EXPECT_EQ(status.error().key, c.key) << c.body.substr(0, 80);
    EXPECT_FALSE(status.error().ToString().empty());
  }
}

const std::vector<std::string> kMembers = {"a", "b", "c", "d", "e"};

ClusterReport Report(const std::string& node, std::vector<std::string> running,
                     ClusterState state = ClusterState::kRunning) {
  ClusterStatus status;
  status.node = node;
  status.incarnation = "1";
  status.state = state;
  status.members = kMembers;
  status.running = std::move(running);
  return {node, status, ""};
}

ClusterReport Unreachable(const std::string& node) {
  return {node, std::nullopt, "connection refused"};
}

std::string Verdicts(const SplitDecision& decision) {
  std::string text;
  for (const auto& node : decision.nodes) {
    text += node.verdict == SplitVerdict::kIn    ? '+'
            : node.verdict == SplitVerdict::kOut ? '-'
                                                 : '?';
  }
  return text;
}

TEST(NetsplitTest, AgreeingViewsAreNoSplit) {
  std::vector<ClusterReport> reports = {Report("a", {"a", "b", "c"}), Report("b", {"a", "b", "c"}),
                                        Report("c", {"a", "b", "c"})};
  SplitDecision decision = DecideNetsplit(reports);
  EXPECT_FALSE(decision.split);
  EXPECT_EQ(Verdicts(decision), "+++");
}

TEST(NetsplitTest, TheMajoritySideStaysIn) {
  std::vector<ClusterReport> reports = {Report("a", {"a", "b"}), Report("b", {"a", "b"}),
                                        Report("c", {"c", "d", "e"}), Report("d", {"c", "d", "e"}),
                                        Report("e", {"c", "d", "e"})};
  SplitDecision decision = DecideNetsplit(reports);
  EXPECT_TRUE(decision.split);
  EXPECT_EQ(Verdicts(decision), "--+++");
  EXPECT_EQ(decision.nodes[0].why, "netsplit: its side has 2, the larger one 3 nodes");
  EXPECT_EQ(decision.summary, "netsplit: c d e | a b; the first side stays in");
}

TEST(NetsplitTest, OfEqualHalvesTheLowestNameStaysIn) {
  std::vector<ClusterReport> reports = {Report("d", {"b", "d"}), Report("c", {"a", "c"}),
                                        Report("b", {"b", "d"}), Report("a", {"a", "c"})};
  SplitDecision decision = DecideNetsplit(reports);
  EXPECT_EQ(Verdicts(decision), "-+-+");
  EXPECT_THAT(decision.nodes[0].why, HasSubstr("equal halves of 2"));
  EXPECT_THAT(decision.nodes[0].why, HasSubstr("the lowest name, a"));
}

TEST(NetsplitTest, EveryBalancerDecidesAlikeWhateverTheOrder) {
  std::vector<ClusterReport> reports = {Report("a", {"a", "b"}), Report("b", {"a", "b", "c"}),
                                        Report("c", {"b", "c"}), Report("d", {"d", "e"}),
                                        Report("e", {"d", "e"})};
  std::sort(reports.begin(), reports.end(),
            [](const auto& x, const auto& y) { return x.name < y.name; });
  std::string first;
  do {
    SplitDecision decision = DecideNetsplit(reports);
    std::string in;
    for (size_t i = 0; i < reports.size(); ++i) {
      if (decision.nodes[i].verdict == SplitVerdict::kIn) in += reports[i].name;
    }
    std::sort(in.begin(), in.end());
    if (first.empty()) first = in;
    ASSERT_EQ(in, first);
  } while (std::next_permutation(reports.begin(), reports.end(),
                                 [](const auto& x, const auto& y) { return x.name < y.name; }));
  EXPECT_EQ(first, "ab");
}

TEST(NetsplitTest, UnreachableNodesCountForTheSideThatSeesThem) {
  // d and e cannot be reached from here, but c sees them: a and b are the minority.
  std::vector<ClusterReport> reports = {Report("a", {"a", "b"}), Report("b", {"a", "b"}),
                                        Report("c", {"c", "d", "e"}), Unreachable("d"),
                                        Unreachable("e")};
  SplitDecision decision = DecideNetsplit(reports);
  EXPECT_EQ(Verdicts(decision), "--+??");
  EXPECT_EQ(decision.nodes[3].why, "not reachable: connection refused");
}

TEST(NetsplitTest, TheLastReachableSideIsNeverTakenOut) {
  // Three of five are gone for everybody that answers: better two nodes than none.
  std::vector<ClusterReport> reports = {Report("a", {"a", "b"}), Report("b", {"a", "b"}),
                                        Unreachable("c"), Unreachable("d"), Unreachable("e")};
  EXPECT_EQ(Verdicts(DecideNetsplit(reports)), "++???");
}

TEST(NetsplitTest, AStaleViewAfterACrashIsNoSplit) {
  std::vector<ClusterReport> reports = {Report("a", {"a", "b"}), Report("b", {"a", "b", "c"}),
                                        Unreachable("c")};
  SplitDecision decision = DecideNetsplit(reports);
  EXPECT_FALSE(decision.split);
  EXPECT_EQ(Verdicts(decision), "++?");
}

TEST(NetsplitTest, SeeingOneWayIsNotSeeing) {
  std::vector<ClusterReport> reports = {Report("a", {"a", "b", "c"}), Report("b", {"a", "b", "c"}),
                                        Report("c", {"c"})};
  EXPECT_EQ(Verdicts(DecideNetsplit(reports)), "++-");
}

TEST(NetsplitTest, APartitionThatIsNotCleanKeepsAGroupThatSeesEachOther) {
  // c sees only b, b sees all.
  std::vector<ClusterReport> reports = {Report("a", {"a", "b", "d"}),
                                        Report("b", {"a", "b", "c", "d"}), Report("c", {"b", "c"}),
                                        Report("d", {"a", "b", "d"})};
  EXPECT_EQ(Verdicts(DecideNetsplit(reports)), "++-+");
}

TEST(NetsplitTest, IsolatedNodesAreOutByTheirOwnWordAndStartingOnesHaveNoSay) {
  std::vector<ClusterReport> reports = {Report("a", {"a"}, ClusterState::kIsolated),
                                        Report("b", {"b", "c"}), Report("c", {"b", "c"}),
                                        Report("d", {"d"}, ClusterState::kStarting)};
  SplitDecision decision = DecideNetsplit(reports);
  EXPECT_FALSE(decision.split);
  EXPECT_EQ(Verdicts(decision), "-+++");
  EXPECT_EQ(decision.nodes[0].why, "says that it is isolated");
}

TEST(NetsplitTest, ANodeOfAnotherClusterIsOutAndTold) {
  std::vector<ClusterReport> reports = {Report("a", {"a", "b"}), Report("b", {"a", "b"}),
                                        Report("z", {"z"})};
  reports[2].status->members = {"z"};
  SplitDecision decision = DecideNetsplit(reports);
  EXPECT_EQ(Verdicts(decision), "++-");
  EXPECT_EQ(decision.nodes[2].why, "belongs to another cluster: a is not among its members");
}

TEST(NetsplitTest, NobodyAnsweringDecidesNothing) {
  std::vector<ClusterReport> reports = {Unreachable("a"), Unreachable("b")};
  SplitDecision decision = DecideNetsplit(reports);
  EXPECT_FALSE(decision.split);
  EXPECT_EQ(Verdicts(decision), "??");
  EXPECT_TRUE(DecideNetsplit({}).nodes.empty());
}

TEST(SplitFilterTest, ASplitMustLastAndItsEndIsTakenAtOnce) {
  SplitFilter filter(3);
  std::vector<ClusterReport> split = {Report("a", {"a"}), Report("b", {"b", "c"}),
                                      Report("c", {"b", "c"})};
  std::vector<ClusterReport> whole = {Report("a", {"a", "b", "c"}), Report("b", {"a", "b", "c"}),
                                      Report("c", {"a", "b", "c"})};
  EXPECT_EQ(Verdicts(filter.Apply(DecideNetsplit(split))), "+++");
  EXPECT_EQ(Verdicts(filter.Apply(DecideNetsplit(split))), "+++");
  EXPECT_EQ(Verdicts(filter.Apply(DecideNetsplit(whole))), "+++");
  EXPECT_EQ(Verdicts(filter.Apply(DecideNetsplit(split))), "+++");
  EXPECT_EQ(Verdicts(filter.Apply(DecideNetsplit(split))), "+++");
  EXPECT_EQ(Verdicts(filter.Apply(DecideNetsplit(split))), "-++");
  EXPECT_EQ(Verdicts(filter.Apply(DecideNetsplit(split))), "-++");
  EXPECT_EQ(Verdicts(filter.Apply(DecideNetsplit(whole))), "+++");
}

TEST(JsonPathTest, FindsMongooseImsStatus) {
  const char* body =
      R"({"data":{"server":{"status":{"statusCode":"RUNNING","message":"up"},"n":[5,{"x":true}]}}})";
  EXPECT_EQ(net::JsonValueAt(body, "data.server.status.statusCode"), "RUNNING");
  EXPECT_EQ(net::JsonValueAt(body, "data.server.n.0"), "5");
  EXPECT_EQ(net::JsonValueAt(body, "data.server.n.1.x"), "true");
}

TEST(JsonPathTest, SaysWhatStoodInTheWay) {
  EXPECT_EQ(net::JsonValueAt("<html>", "a").error(), "the answer is not JSON");
  EXPECT_EQ(net::JsonValueAt("{}", "a.b").error(), "no 'a' in the answer");
  EXPECT_EQ(net::JsonValueAt(R"({"a":{}})", "a.b.c").error(), "no 'b' in 'a'");
  EXPECT_EQ(net::JsonValueAt(R"({"a":[1]})", "a.1").error(), "no '1' in 'a'");
  EXPECT_EQ(net::JsonValueAt(R"({"a":[1]})", "a").error(), "'a' is no plain value");
  EXPECT_EQ(net::JsonValueAt(R"({"a":[1]})", "a..b").error(), "no '' in 'a'");
  EXPECT_EQ(net::JsonValueAt(std::string(33, '['), "a").error(), "the answer nests too deeply");
  EXPECT_EQ(net::JsonValueAt(R"(["\"]", "[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[["])", "1"),
            "[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[");
  EXPECT_EQ(net::JsonValueAt(std::string(net::kJsonPathBodyMax + 1, ' '), "a").error(),
            "the answer is too large");
}

}  // namespace
}  // namespace lb
