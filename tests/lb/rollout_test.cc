#include "lb/admin/rollout.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <string>
#include <vector>

namespace lb {
namespace {

using std::chrono::seconds;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using Kind = RolloutOrder::Kind;

// A pool of three nodes that do what they are told, each order answered at once, a second a look.
class RolloutTest : public testing::Test {
 protected:
  RolloutTest() {
    for (const char* name : {"n1", "n2", "n3"}) {
      nodes_.push_back({.name = name,
                        .state = "up",
                        .why = "",
                        .admin = "ready",
                        .active = 10,
                        .warmup = 1,
                        .checks = 1,
                        .incarnation = std::string(name) + "-1"});
    }
  }

  RolloutNode& Node(const std::string& name) {
    for (RolloutNode& node : nodes_) {
      if (node.name == name) return node;
    }
    ADD_FAILURE() << name;
    return nodes_.front();
  }

  static RolloutPlan Plan() {
    return {.pool = "xmpp",
            .nodes = {"n1", "n2", "n3"},
            .drain_deadline = seconds(60),
            .return_within = seconds(30)};
  }

  // How many of the pool serve nobody.
  size_t Out() const {
    size_t out = 0;
    for (const RolloutNode& node : nodes_) {
      out += node.state != "up" && node.state != "warming" ? 1U : 0U;
    }
    return out;
  }

  // What an obedient pool does: a drain ends a connection a second, a hook restarts at once, checks
  // take two seconds and the warm-up four.
  void Obey(Rollout& rollout, const RolloutOrder& order) {
    static const std::map<Kind, std::string> kWords = {{Kind::kDrain, "drain"},
                                                       {Kind::kMaint, "maint"},
                                                       {Kind::kHook, "hook"},
                                                       {Kind::kReady, "ready"},
                                                       {Kind::kEnd, "end"}};
    if (order.kind == Kind::kNone) return;
    said_.push_back(order.kind == Kind::kEnd ? "end" : kWords.at(order.kind) + " " + order.node);
    if (order.kind == Kind::kEnd) return;
    if (order.kind == Kind::kHook) {
      if (hook_error_.empty() && restarts_) Node(order.node).incarnation += "+";
      return rollout.OnHook(hook_error_.empty(), hook_error_, now_);
    }
    if (!refusal_.empty()) return rollout.OnOrder(false, refusal_, now_);
    RolloutNode& node = Node(order.node);
    if (order.kind == Kind::kDrain) node.state = node.admin = "drain";
    if (order.kind == Kind::kMaint) node.state = node.admin = "maint";
    if (order.kind == Kind::kReady) {
      node.admin = "ready";
      node.state = "checking";
      ready_at_ = now_;
    }
    rollout.OnOrder(true, "", now_, order.kind == Kind::kDrain && for_good_);
  }

  void Live() {
    now_ += seconds(1);
    for (RolloutNode& node : nodes_) {
      if (node.admin == "drain" && node.active > 0 && drains_) --node.active;
      if (node.state == "checking" && returns_ && now_ - ready_at_ >= seconds(2)) {
        node.state = "warming";
        node.warmup = 0;
      } else if (node.state == "warming") {
        node.warmup += 0.25;
        if (node.warmup >= 1) node.state = "up";
      }
    }
  }

  // One look, and what follows; the order.
  RolloutOrder Step(Rollout& rollout) {
    const RolloutOrder order = rollout.Look(nodes_, wish_, now_);
    Obey(rollout, order);
    most_out_ = std::max(most_out_, Out());
    Live();
    return order;
  }
  // Until it ends, or stands where `stage` says.
  void RunUntil(Rollout& rollout, RolloutStage stage) {
    for (int i = 0; i < 1000 && rollout.stage() != stage; ++i) {
      if (Step(rollout).kind == Kind::kEnd) return;
    }
    EXPECT_EQ(rollout.stage(), stage);
  }
  void RunToEnd(Rollout& rollout) {
    for (int i = 0; i < 1000; ++i) {
      if (Step(rollout).kind == Kind::kEnd) return;
    }
    ADD_FAILURE() << "it never ends: " << rollout.Text();
  }

  std::vector<RolloutNode> nodes_;
  RolloutWish wish_;
  net::Time now_{seconds(1000)};
  net::Time ready_at_{};
  std::vector<std::string> said_;
  std::string refusal_;     // of the balancer, to each order
  std::string hook_error_;  // "": the hook does
  bool restarts_ = true;    // the hook's node is another instance then
  bool drains_ = true;
  bool for_good_ = false;  // nodes drain by themselves, and only a restart ends that
  bool returns_ = true;
  size_t most_out_ = 0;
};

TEST_F(RolloutTest, OneNodeAfterAnotherIsDrainedRestartedAndWarmBeforeTheNextGoes) {
  Rollout rollout(Plan());
  ASSERT_EQ(rollout.Refusal(nodes_), "");
  RunToEnd(rollout);
  EXPECT_THAT(said_, ElementsAre("drain n1", "maint n1", "hook n1", "ready n1", "drain n2",
                                 "maint n2", "hook n2", "ready n2", "drain n3", "maint n3",
                                 "hook n3", "ready n3", "end"));
  EXPECT_EQ(rollout.exit(), net::CtlExit::kDone) << rollout.message();
  EXPECT_EQ(rollout.done(), 3U);
  EXPECT_EQ(most_out_, 1U);
}

TEST_F(RolloutTest, TheNextNodeIsLeftBeWhileTheOneBeforeWarmsUp) {
  Rollout rollout(Plan());
  RunUntil(rollout, RolloutStage::kWarming);
  Node("n1").warmup = -1e9;  // for ever
  for (int i = 0; i < 500; ++i) Step(rollout);
  EXPECT_EQ(rollout.stage(), RolloutStage::kWarming);
  EXPECT_THAT(said_, ElementsAre("drain n1", "maint n1", "hook n1", "ready n1"));
}

TEST_F(RolloutTest, ItDoesNotBeginWhileAnotherNodeIsOut) {
  const Rollout rollout(Plan());
  Node("n3").state = "down";
  Node("n3").why = "tcp: refused";
  EXPECT_THAT(rollout.Refusal(nodes_),
              AllOf(HasSubstr("n3 is down (tcp: refused)"), HasSubstr("only one node may be out"),
                    HasSubstr("--force")));
  for (const char* state : {"drain", "maint", "split", "not_running", "warming", "checking"}) {
    Node("n3").state = state;
    EXPECT_THAT(rollout.Refusal(nodes_), HasSubstr(std::string("n3 is ") + state));
  }
  RolloutPlan forced = Plan();
  forced.force = true;
  EXPECT_EQ(Rollout(forced).Refusal(nodes_), "");
}

TEST_F(RolloutTest, ItDoesNotBeginWhereNobodyCouldServeOrNobodyLooks) {
  RolloutPlan plan = Plan();
  plan.nodes = {"n9"};
  EXPECT_THAT(Rollout(plan).Refusal(nodes_), HasSubstr("no node n9"));
  plan.nodes = {"n1"};
  Node("n1").checks = 0;
  EXPECT_THAT(Rollout(plan).Refusal(nodes_), HasSubstr("pool.xmpp.check"));
  Node("n1").checks = 1;
  nodes_.resize(1);
  EXPECT_THAT(Rollout(plan).Refusal(nodes_), HasSubstr("nobody would serve"));
}

TEST_F(RolloutTest, ANodeWhoseLoadTheOthersCannotCarryStopsItBeforeAnythingWasDone) {
  Rollout rollout(Plan());
  refusal_ = "the other nodes have room for 3 of n1's 10 connections";
  RunToEnd(rollout);
  EXPECT_EQ(rollout.exit(), net::CtlExit::kRefused);
  EXPECT_THAT(rollout.message(), AllOf(HasSubstr("room for 3"), HasSubstr("--nodes n1,n2,n3")));
  EXPECT_THAT(said_, ElementsAre("drain n1", "end"));
}

TEST_F(RolloutTest, ANodeThatFallsWhileAnotherDrainsEndsTheDrain) {
  Rollout rollout(Plan());
  RunUntil(rollout, RolloutStage::kDraining);
  Node("n2").state = "down";
  RunToEnd(rollout);
  EXPECT_THAT(said_, ElementsAre("drain n1", "ready n1", "end"));
  EXPECT_EQ(rollout.exit(), net::CtlExit::kRefused);
  EXPECT_THAT(rollout.message(), AllOf(HasSubstr("n2 is down"), HasSubstr("n1 is ready again"),
                                       HasSubstr("--nodes n1,n2,n3")));
}

TEST_F(RolloutTest, ANodeThatDrainsByItselfIsNotSaidToServeAgain) {
  Rollout rollout(Plan());
  RunUntil(rollout, RolloutStage::kDraining);
  Node("n2").state = "down";
  Step(rollout);
  Node("n1").state = "not_running";
  Node("n1").why = "the node says that it is draining";
  RunToEnd(rollout);
  EXPECT_THAT(said_, ElementsAre("drain n1", "ready n1", "end"));
  EXPECT_THAT(rollout.message(),
              HasSubstr("but n1 is not_running (the node says that it is draining)"));
}

TEST_F(RolloutTest, ANodeThatFellBetweenTwoIsWaitedForAndThenEndsIt) {
  Rollout rollout(Plan());
  RunUntil(rollout, RolloutStage::kWarming);
  Node("n3").state = "down";
  RunToEnd(rollout);
  EXPECT_THAT(rollout.message(), AllOf(HasSubstr("n3 is down"), HasSubstr("n2 must not go"),
                                       HasSubstr("--nodes n2,n3")));
  EXPECT_THAT(said_, ElementsAre("drain n1", "maint n1", "hook n1", "ready n1", "end"));
}

TEST_F(RolloutTest, OneThatFellBetweenTwoAndCameBackIsNoReasonToEnd) {
  Rollout rollout(Plan());
  RunUntil(rollout, RolloutStage::kWarming);
  Node("n3").state = "down";
  for (int i = 0; i < 20; ++i) Step(rollout);
  Node("n3").state = "up";
  RunToEnd(rollout);
  EXPECT_EQ(rollout.exit(), net::CtlExit::kDone) << rollout.message();
}

TEST_F(RolloutTest, ADrainThatDoesNotEndGivesTheNodeBack) {
  Rollout rollout(Plan());
  drains_ = false;
  RunToEnd(rollout);
  EXPECT_THAT(said_, ElementsAre("drain n1", "ready n1", "end"));
  EXPECT_EQ(rollout.exit(), net::CtlExit::kDeadline);
  EXPECT_THAT(rollout.message(),
              AllOf(HasSubstr("still has 10 connections"), HasSubstr("was not restarted")));
}

TEST_F(RolloutTest, ADrainThatSomebodyEndsEndsItAll) {
  Rollout rollout(Plan());
  RunUntil(rollout, RolloutStage::kDraining);
  Node("n1").admin = "ready";
  Node("n1").state = "up";
  RunToEnd(rollout);
  EXPECT_THAT(said_, ElementsAre("drain n1", "end"));
  EXPECT_THAT(rollout.message(), HasSubstr("was ended by an order"));
}

TEST_F(RolloutTest, AHookThatFailsLeavesTheNodeOutAndSaysWhatToDo) {
  Rollout rollout(Plan());
  hook_error_ = "it exited with 3";
  RunToEnd(rollout);
  EXPECT_THAT(said_, ElementsAre("drain n1", "maint n1", "hook n1", "end"));
  EXPECT_EQ(rollout.exit(), net::CtlExit::kRefused);
  EXPECT_THAT(rollout.message(),
              AllOf(HasSubstr("failed at n1: it exited with 3"), HasSubstr("stays in maint"),
                    HasSubstr("mongooselb ctl ready xmpp/n1"), HasSubstr("--nodes n2,n3")));
}

TEST_F(RolloutTest, ANodeThatDoesNotComeBackStopsItAtOneNodeOut) {
  Rollout rollout(Plan());
  returns_ = false;
  RunToEnd(rollout);
  EXPECT_THAT(said_, ElementsAre("drain n1", "maint n1", "hook n1", "ready n1", "end"));
  EXPECT_EQ(rollout.exit(), net::CtlExit::kDeadline);
  EXPECT_THAT(rollout.message(), AllOf(HasSubstr("n1 did not come back within 30s"),
                                       HasSubstr("checking"), HasSubstr("--nodes n2,n3")));
  EXPECT_EQ(most_out_, 1U);
}

TEST_F(RolloutTest, AHookThatRestartsNothingIsFound) {
  Rollout rollout(Plan());
  restarts_ = false;
  RunToEnd(rollout);
  EXPECT_EQ(rollout.exit(), net::CtlExit::kDeadline);
  EXPECT_THAT(rollout.message(),
              AllOf(HasSubstr("incarnation is still n1-1"), HasSubstr("nothing restarted it"),
                    HasSubstr("--nodes n1,n2,n3")));
}

TEST_F(RolloutTest, ARestartThatTakesEffectAfterTheHookIsWaitedFor) {
  Rollout rollout(Plan());
  restarts_ = false;
  RunUntil(rollout, RolloutStage::kReturning);
  for (int i = 0; i < 10; ++i) Step(rollout);
  EXPECT_EQ(rollout.stage(), RolloutStage::kReturning);
  EXPECT_THAT(rollout.Text(), HasSubstr("not been restarted yet"));
  restarts_ = true;
  Node("n1").incarnation = "n1-2";
  RunToEnd(rollout);
  EXPECT_EQ(rollout.exit(), net::CtlExit::kDone) << rollout.message();
}

TEST_F(RolloutTest, ANodeThatFallsWhileItWarmsUpIsWaitedForAnew) {
  Rollout rollout(Plan());
  RunUntil(rollout, RolloutStage::kWarming);
  Node("n1").state = "down";
  Step(rollout);
  EXPECT_EQ(rollout.stage(), RolloutStage::kReturning);
  for (int i = 0; i < 40; ++i) Step(rollout);
  EXPECT_EQ(rollout.stage(), RolloutStage::kEnded);
  EXPECT_THAT(rollout.message(), HasSubstr("did not come back"));
}

// The time that it is given is for all of its absences: each warm-up that it breaks off would give
// it anew.
TEST_F(RolloutTest, ANodeThatFallsAgainAndAgainWhileItWarmsUpIsNotWaitedForForEver) {
  for (const int down_for : {1, 12}) {
    SCOPED_TRACE(down_for);
    Rollout rollout(Plan());
    RunUntil(rollout, RolloutStage::kWarming);
    int looks = 0;
    for (; looks < 300 && rollout.stage() != RolloutStage::kEnded; ++looks) {
      Node("n1").state = looks % 14 < down_for ? "down" : "warming";
      Node("n1").warmup = 0;
      Step(rollout);
    }
    EXPECT_EQ(rollout.exit(), net::CtlExit::kDeadline);
    EXPECT_THAT(rollout.message(), AllOf(HasSubstr("n1 did not come back to stay: it fell "),
                                         HasSubstr("--nodes n2,n3")));
    EXPECT_GE(looks, 30) << "all of its time";
    Node("n1").state = "up";
    Node("n1").warmup = 1;
    Node("n1").active = 10;
  }
}

TEST_F(RolloutTest, ABlinkOfChecksIsNoReasonToEnd) {
  RolloutPlan plan = Plan();
  plan.nodes = {"n1"};
  Rollout rollout(plan);
  RunUntil(rollout, RolloutStage::kWarming);
  Node("n1").warmup = -25;  // a hundred looks, more than return_within
  for (int i = 0; i < 90; ++i) Step(rollout);
  Node("n1").state = "down";
  Step(rollout);
  Node("n1").state = "warming";
  RunToEnd(rollout);
  EXPECT_EQ(rollout.exit(), net::CtlExit::kDone) << rollout.message();
}

TEST_F(RolloutTest, OneThatFallsBehindALongWarmUpHasTheWholeTimeToReturn) {
  Rollout rollout(Plan());
  RunUntil(rollout, RolloutStage::kWarming);
  Node("n3").state = "warming";
  Node("n3").warmup = -100;
  for (int i = 0; i < 60; ++i) Step(rollout);
  ASSERT_EQ(rollout.stage(), RolloutStage::kBefore);
  Node("n3").state = "down";
  for (int i = 0; i < 20; ++i) Step(rollout);
  EXPECT_EQ(rollout.stage(), RolloutStage::kBefore) << rollout.message();
  Node("n3").state = "up";
  RunToEnd(rollout);
  EXPECT_EQ(rollout.exit(), net::CtlExit::kDone) << rollout.message();
}

TEST_F(RolloutTest, OneThatComesAndGoesBetweenTwoEndsIt) {
  Rollout rollout(Plan());
  RunUntil(rollout, RolloutStage::kWarming);
  int looks = 0;
  for (; looks < 300 && rollout.stage() != RolloutStage::kEnded; ++looks) {
    Node("n3").state = looks % 3 == 0 ? "warming" : "down";
    Node("n3").warmup = 0;
    Step(rollout);
  }
  EXPECT_THAT(rollout.message(), AllOf(HasSubstr("n3 is down"), HasSubstr("--nodes n2,n3")));
}

TEST_F(RolloutTest, ANodeThatDrainsForGoodIsRestartedThoughAnotherFell) {
  Rollout rollout(Plan());
  for_good_ = true;
  RunUntil(rollout, RolloutStage::kDraining);
  Node("n2").state = "down";
  Step(rollout);
  EXPECT_THAT(rollout.Text(), HasSubstr("only its restart brings it back"));
  RunToEnd(rollout);
  EXPECT_THAT(said_, ElementsAre("drain n1", "maint n1", "hook n1", "ready n1", "end"));
  EXPECT_EQ(Node("n1").state, "up");
  EXPECT_THAT(rollout.message(), AllOf(HasSubstr("n2 is down"), HasSubstr("--nodes n2,n3")));
}

TEST_F(RolloutTest, WhyTheBalancerCannotBeAskedIsSaid) {
  Rollout rollout(Plan());
  RunUntil(rollout, RolloutStage::kDraining);
  rollout.LookBlind("there is no pool 'xmpp'; there are web", now_);
  EXPECT_THAT(rollout.Text(), HasSubstr("there is no pool 'xmpp'"));
}

TEST_F(RolloutTest, PausedNothingNewBegins) {
  Rollout rollout(Plan());
  wish_.paused = true;
  for (int i = 0; i < 100; ++i) Step(rollout);
  EXPECT_THAT(said_, IsEmpty());
  EXPECT_THAT(rollout.Text(), HasSubstr("paused before n1"));
  wish_.paused = false;
  RunUntil(rollout, RolloutStage::kDraining);
  wish_.paused = true;
  for (int i = 0; i < 200; ++i) Step(rollout);
  EXPECT_THAT(said_, ElementsAre("drain n1", "maint n1")) << "the drain goes on, no hook begins";
  EXPECT_THAT(rollout.Text(), HasSubstr("paused before its restart"));
  wish_.paused = false;
  EXPECT_EQ(rollout.Look(nodes_, wish_, now_).kind, Kind::kHook);
  EXPECT_EQ(rollout.Text(), "0 of 3 nodes; n1: restarting") << "while the hook runs";
  RunUntil(rollout, RolloutStage::kReturning);
  wish_.paused = true;
  for (int i = 0; i < 100; ++i) Step(rollout);
  EXPECT_EQ(rollout.done(), 1U) << "what was restarted comes back";
  EXPECT_THAT(rollout.Text(), HasSubstr("paused before n2"));
  EXPECT_EQ(Out(), 0U);
  wish_.paused = false;
  RunToEnd(rollout);
  EXPECT_EQ(rollout.exit(), net::CtlExit::kDone) << rollout.message();
}

TEST_F(RolloutTest, AbortedItLeavesNoNodeOut) {
  for (const RolloutStage stage :
       {RolloutStage::kBefore, RolloutStage::kDraining, RolloutStage::kHook,
        RolloutStage::kReturning, RolloutStage::kWarming}) {
    SCOPED_TRACE(RolloutStageName(stage));
    said_.clear();
    for (RolloutNode& node : nodes_) {
      node.state = "up";
      node.admin = "ready";
      node.active = 10;
      node.warmup = 1;
    }
    Rollout rollout(Plan());
    wish_ = {};
    RunUntil(rollout, stage);
    wish_.aborted = true;
    RunToEnd(rollout);
    EXPECT_EQ(rollout.exit(), net::CtlExit::kRefused);
    EXPECT_THAT(rollout.message(), HasSubstr("aborted"));
    for (int i = 0; i < 10; ++i) Live();
    EXPECT_EQ(Out(), 0U);
    const bool restarted = stage == RolloutStage::kReturning || stage == RolloutStage::kWarming;
    EXPECT_THAT(rollout.message(), HasSubstr(restarted ? "--nodes n2,n3" : "--nodes n1,n2,n3"));
    EXPECT_EQ(std::ranges::count(said_, "hook n1"), restarted ? 1 : 0);
  }
}

TEST_F(RolloutTest, WithoutAHookAnOperatorRestartsEachNodeAndSaysSo) {
  RolloutPlan plan = Plan();
  plan.hook = false;
  wish_.resumes = 7;  // of before
  Rollout rollout(plan);
  RunUntil(rollout, RolloutStage::kAsked);
  for (int i = 0; i < 100; ++i) Step(rollout);
  EXPECT_THAT(said_, ElementsAre("drain n1", "maint n1"));
  EXPECT_THAT(rollout.Text(), AllOf(HasSubstr("restart it now"), HasSubstr("rollout resume xmpp")));
  Node("n1").incarnation = "n1-2";
  ++wish_.resumes;
  RunUntil(rollout, RolloutStage::kDraining);
  EXPECT_EQ(rollout.node(), "n2");
  EXPECT_THAT(said_, ElementsAre("drain n1", "maint n1", "ready n1", "drain n2"));
}

TEST_F(RolloutTest, ABalancerThatIsAwayForAMomentIsWaitedFor) {
  Rollout rollout(Plan());
  RunUntil(rollout, RolloutStage::kDraining);
  EXPECT_EQ(rollout.LookBlind("nobody answers", now_).kind, Kind::kNone);
  now_ += Rollout::kBlindMax - seconds(1);
  EXPECT_EQ(rollout.LookBlind("nobody answers", now_).kind, Kind::kNone);
  EXPECT_THAT(rollout.Text(), HasSubstr("does not answer"));
  Step(rollout);
  EXPECT_THAT(rollout.Text(), Not(HasSubstr("does not answer")));
  EXPECT_EQ(rollout.LookBlind("nobody answers", now_).kind, Kind::kNone);
  now_ += Rollout::kBlindMax;
  EXPECT_EQ(rollout.LookBlind("nobody answers", now_).kind, Kind::kEnd);
  EXPECT_EQ(rollout.exit(), net::CtlExit::kNotFound);
  EXPECT_THAT(rollout.message(),
              AllOf(HasSubstr("n1, which may be out"), HasSubstr("--nodes n1,n2,n3")));
}

TEST_F(RolloutTest, AnOrderWhoseAnswerWasLostIsGivenAgain) {
  Rollout rollout(Plan());
  EXPECT_EQ(rollout.Look(nodes_, wish_, now_).kind, Kind::kDrain);
  Node("n1").state = Node("n1").admin = "drain";  // it was heard
  EXPECT_EQ(rollout.LookBlind("closed before it had answered", now_).kind, Kind::kNone);
  EXPECT_EQ(rollout.Look(nodes_, wish_, now_).kind, Kind::kDrain);
  rollout.OnOrder(true, "", now_);
  Node("n2").state = "down";
  EXPECT_EQ(rollout.Look(nodes_, wish_, now_).kind, Kind::kReady);
  EXPECT_EQ(rollout.Look(nodes_, wish_, now_).kind, Kind::kReady) << "the node is not left out";
  rollout.LookBlind("nobody answers", now_);
  now_ += Rollout::kBlindMax;
  EXPECT_EQ(rollout.LookBlind("nobody answers", now_).kind, Kind::kEnd);
  EXPECT_THAT(rollout.message(), HasSubstr("could not be made ready: nobody answers"));
}

TEST_F(RolloutTest, ForcedItGoesOnBesideOthersThatAreDown) {
  RolloutPlan plan = Plan();
  plan.force = true;
  plan.nodes = {"n1", "n2"};
  Node("n3").state = "down";
  Rollout rollout(plan);
  RunToEnd(rollout);
  EXPECT_EQ(rollout.exit(), net::CtlExit::kDone) << rollout.message();
  EXPECT_EQ(rollout.done(), 2U);
}

TEST_F(RolloutTest, OfDiscoveredNodesOneMayBeInNoPoolWhileItIsAway) {
  Rollout rollout(Plan());
  RunUntil(rollout, RolloutStage::kReturning);
  RolloutNode away = Node("n1");
  std::erase_if(nodes_, [](const RolloutNode& node) { return node.name == "n1"; });
  for (int i = 0; i < 5; ++i) Step(rollout);
  EXPECT_THAT(rollout.Text(), HasSubstr("in no pool now"));
  away.state = "up";
  away.admin = "ready";
  nodes_.push_back(away);
  RunToEnd(rollout);
  EXPECT_EQ(rollout.exit(), net::CtlExit::kDone) << rollout.message();
}

}  // namespace
}  // namespace lb
