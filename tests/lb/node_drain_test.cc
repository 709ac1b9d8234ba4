#include "lb/control/node_drain.h"

#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "lb/admin/ctl_orders.h"
#include "lb/control/saved_state.h"
#include "net/http/http_server.h"
#include "tests/lb/control_fixture.h"

namespace lb {
namespace {

using std::chrono::seconds;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

TEST(NodeDrainTest, AsksByTheQuery) {
  EXPECT_EQ(NodeDrainTarget("/api/drain", 50, seconds(540), false),
            "/api/drain?rate=50&deadline=540");
  EXPECT_EQ(NodeDrainTarget("/api/drain", 0.5, {}, false), "/api/drain?rate=0.5");
  EXPECT_EQ(NodeDrainTarget("/api/drain", 5, {}, true), "/api/drain?rate=5&force=true");
  EXPECT_EQ(NodeDrainTarget("/drain?node=x", 0, std::chrono::milliseconds(1500), false),
            "/drain?node=x&deadline=1.5");
}

TEST(NodeDrainTest, ReadsTheAnswerStrictly) {
  const auto answer = ReadNodeDrainAnswer(R"({"draining":true,"connections":41,"more":1})");
  ASSERT_TRUE(answer.has_value()) << answer.error();
  EXPECT_EQ(answer->connections, 41U);
  for (const char* wrong :
       {"", "yes", "[]", R"({"draining":true})", R"({"connections":4})",
        R"({"draining":false,"connections":4})", R"({"draining":true,"connections":-4})",
        R"({"draining":true,"connections":"many"})"}) {
    EXPECT_FALSE(ReadNodeDrainAnswer(wrong).has_value()) << wrong;
  }
}

// A balancer whose nodes have an admin API: one server, which is asked for both.
class NodeDrainOrders : public test::ControlTest {
 protected:
  void SetUp() override {
    ControlTest::SetUp();
    if (HasFatalFailure()) return;
    net::UniqueFd listener = net::test::ListenLoopback();
    const auto port = ntohs(net::test::BoundAddress(listener.get()).sin_port);
    api_.emplace(*loop_, std::move(listener),
                 [this](const net::HttpRequest& request) { return Answer(request); });
    std::ofstream(folder_ / "password") << "s3cret\n";
    std::filesystem::permissions(folder_ / "password", std::filesystem::perms::owner_read);
    WriteConfig("", "[pool.xmpp.status]\nport = " + std::to_string(port) +
                        "\ninterval = \"100ms\"\nnetsplit = false\ndrain = \"/api/drain\"\n"
                        "user = \"lb\"\npassword_file = \"" +
                        (folder_ / "password").string() + "\"\n");
    const auto reloaded = control_->Reload();
    ASSERT_TRUE(reloaded.has_value()) << reloaded.error().front().ToString();
    ASSERT_TRUE(net::test::RunUntil(*loop_, [&] {
      return NodeNamed("n1").incarnation == "1" && NodeNamed("n2").incarnation == "1";
    }));
  }
  void TearDown() override {
    api_.reset();
    ControlTest::TearDown();
  }

  net::HttpResponse Answer(const net::HttpRequest& request) {
    if (request.method == "GET") {
      return {.body = R"({"node":"a@b","incarnation":)" + std::to_string(incarnation_) +
                      R"(,"state":"running","members":[],"running":["a@b"]})"};
    }
    asked_.push_back(request);
    return request.method == "DELETE" ? back_answer_ : drain_answer_;
  }

  CtlReply Order(const std::string& line) {
    auto request = ParseCtlRequest(line);
    EXPECT_TRUE(request.has_value()) << request.error();
    std::optional<CtlReply> reply =
        RunCtlRequest(*control_, {}, *request, [&](CtlReply late) { late_ = std::move(late); });
    if (reply) return *reply;
    EXPECT_TRUE(net::test::RunUntil(*loop_, [&] { return late_.has_value(); }));
    return late_.value_or(CtlReply{});
  }

  std::optional<net::HttpServer> api_;
  // One that takes its drain back when it is asked to, and drains now.
  void DrainRevocably(
      const std::string& order = R"({"command":"drain","node":"n1","rate":5,"deadline":1000})") {
    drain_answer_.body = R"({"draining":true,"connections":7,"revocable":true})";
    const CtlReply reply = Order(order);
    EXPECT_THAT(reply.object, HasSubstr("\"node_drain_revocable\":true"));
    asked_.clear();
    late_.reset();
  }
  // Given, not waited for.
  void Begin(const std::string& line) {
    auto request = ParseCtlRequest(line);
    ASSERT_TRUE(request.has_value());
    ASSERT_FALSE(RunCtlRequest(*control_, {}, *request, [&](CtlReply late) {
                   late_ = std::move(late);
                 }).has_value());
  }

  int incarnation_ = 1;
  net::HttpResponse drain_answer_{.body = R"({"draining":true,"connections":7})"};
  net::HttpResponse back_answer_{.body = R"({"draining":false})"};
  std::vector<net::HttpRequest> asked_;
  std::optional<CtlReply> late_;
};

TEST_F(NodeDrainOrders, TheNodeIsAskedAndTheAnswerTold) {
  Hold(10);
  const CtlReply reply = Order(R"({"command":"drain","node":"n1","rate":5,"deadline":1000})");
  EXPECT_EQ(reply.exit, CtlExit::kDone);
  EXPECT_THAT(reply.message,
              AllOf(HasSubstr("node n1 drains 5 connections"),
                    HasSubstr("asked to drain at 5/s within 900s and answered that it does, with 7 "
                              "connections in all")));
  EXPECT_THAT(reply.object, HasSubstr("\"node_drains\":true"));
  ASSERT_THAT(asked_, SizeIs(1));
  EXPECT_EQ(asked_[0].method, "POST");
  EXPECT_EQ(asked_[0].target, "/api/drain?rate=5&deadline=900");
  EXPECT_EQ(asked_[0].Header("Authorization"), net::BasicAuthorization("lb", "s3cret"));
  // Whom the node ends, nobody ends here beside it.
  EXPECT_EQ(NodeNamed("n1").admin, "drain");
  EXPECT_EQ(NodeNamed("n1").drain_rate, 0);
  EXPECT_EQ(NodeNamed("n1").active, 5U);
}

TEST_F(NodeDrainOrders, WhoIsLeftOfItsTimeIsEndedHereUntilTheDeadline) {
  Hold(10);
  const net::Time begun = clock_.Now();
  Order(R"({"command":"drain","node":"n1","deadline":2})");
  ASSERT_TRUE(net::test::RunUntil(*loop_, [&] { return NodeNamed("n1").active < 5; }));
  EXPECT_GE(clock_.Now() - begun, std::chrono::milliseconds(1800));
  ASSERT_TRUE(net::test::RunUntil(*loop_, [&] { return NodeNamed("n1").active == 0; }));
  // The next drain, which ends nobody from here, does not count them as its own.
  ASSERT_TRUE(control_->Ready("n1").has_value());
  EXPECT_EQ(control_->DrainOf("n1")->ended, 5U);
  Order(R"({"command":"drain","node":"n1","rate":5})");
  EXPECT_EQ(control_->DrainOf("n1")->ended, 0U);
  ASSERT_TRUE(control_->Ready("n1").has_value());
  EXPECT_EQ(Order(R"({"command":"drain","node":"n1"})").exit, CtlExit::kDone);
  EXPECT_EQ(control_->DrainOf("n1")->ended, 0U);
}

TEST_F(NodeDrainOrders, ANodeThatRefusesIsDrainedFromHereAndThatIsSaid) {
  Hold(10);
  drain_answer_ = {.status = 401, .body = "no"};
  const CtlReply reply = Order(R"({"command":"drain","node":"n1","rate":1,"deadline":1000})");
  EXPECT_EQ(reply.exit, CtlExit::kDone);
  EXPECT_THAT(reply.message, AllOf(HasSubstr("in vain: status 401"),
                                   HasSubstr("ended from here, at the pace of the order")));
  EXPECT_THAT(reply.object, HasSubstr("\"node_drains\":false"));
  EXPECT_EQ(NodeNamed("n1").drain_rate, 1);
}

TEST_F(NodeDrainOrders, AnOrderThatEndsNobodyAsksNobody) {
  EXPECT_EQ(Order(R"({"command":"drain","node":"n1"})").exit, CtlExit::kDone);
  EXPECT_EQ(Order(R"({"command":"drain","node":"n1","rate":5,"dry-run":true,"force":true})").exit,
            CtlExit::kDone);
  EXPECT_EQ(NodeNamed("n1").drain_active, false);
  RunForwardedRequest(*control_, R"({"command":"drain","node":"n1","rate":5})");
  for (int i = 0; i < 20; ++i) Turn();
  EXPECT_THAT(asked_, IsEmpty());
  EXPECT_EQ(NodeNamed("n1").drain_rate, 5) << "the old process ends its own";
}

TEST_F(NodeDrainOrders, TakenBackMeanwhileNothingIsEnded) {
  Hold(10);
  auto request = ParseCtlRequest(R"({"command":"drain","node":"n1","rate":1000})");
  ASSERT_TRUE(request.has_value());
  drain_answer_ = {.status = 503};
  ASSERT_FALSE(RunCtlRequest(*control_, {}, *request, [&](CtlReply late) {
                 late_ = std::move(late);
               }).has_value());
  ASSERT_TRUE(control_->Ready("n1").has_value());
  ASSERT_TRUE(net::test::RunUntil(*loop_, [&] { return late_.has_value(); }));
  EXPECT_FALSE(NodeNamed("n1").drain_active);
  EXPECT_EQ(NodeNamed("n1").active, 5U);
}

TEST_F(NodeDrainOrders, ReadyAsksTheNodeToTakeClientsAgain) {
  DrainRevocably();
  const CtlReply reply = Order(R"({"command":"ready","node":"n1"})");
  EXPECT_EQ(reply.exit, CtlExit::kDone);
  EXPECT_THAT(reply.message, HasSubstr("asked to take clients again, and does"));
  EXPECT_THAT(reply.object, HasSubstr("\"node_drains\":false"));
  ASSERT_THAT(asked_, SizeIs(1));
  EXPECT_EQ(asked_[0].method, "DELETE");
  EXPECT_EQ(asked_[0].target, "/api/drain");
  EXPECT_EQ(asked_[0].Header("Authorization"), net::BasicAuthorization("lb", "s3cret"));
  EXPECT_EQ(Order(R"({"command":"ready","node":"n1"})").exit, CtlExit::kDone);
  EXPECT_THAT(asked_, SizeIs(1)) << "once";
}

TEST_F(NodeDrainOrders, ReadyOfANodeThatDrainsOnSaysThatOnlyARestartHelps) {
  DrainRevocably();
  back_answer_ = {.status = 409, .body = "the node stops"};
  const CtlReply reply = Order(R"({"command":"ready","node":"n1"})");
  EXPECT_EQ(reply.exit, CtlExit::kRefused);
  EXPECT_THAT(reply.message, AllOf(HasSubstr("in vain: status 409"),
                                   HasSubstr("no connections until it was restarted")));
  EXPECT_EQ(NodeNamed("n1").admin, "ready");
  // Said again, it is asked again.
  back_answer_ = {.body = R"({"draining":false})"};
  late_.reset();
  EXPECT_EQ(Order(R"({"command":"ready","node":"n1"})").exit, CtlExit::kDone);
}

TEST_F(NodeDrainOrders, ANodeThatCannotTakeItsDrainBackIsNotSaidToBeBack) {
  Order(R"({"command":"drain","node":"n1","rate":5})");
  asked_.clear();
  const CtlReply reply = Order(R"({"command":"ready","node":"n1"})");
  EXPECT_EQ(reply.exit, CtlExit::kRefused);
  EXPECT_THAT(reply.message, AllOf(HasSubstr("drains by itself and cannot take that back"),
                                   HasSubstr("until it was restarted")));
  EXPECT_THAT(asked_, IsEmpty());
  // A restart is seen, and then nothing is left to say.
  incarnation_ = 2;
  ASSERT_TRUE(net::test::RunUntil(*loop_, [&] { return NodeNamed("n1").incarnation == "2"; }));
  EXPECT_EQ(Order(R"({"command":"ready","node":"n1"})").exit, CtlExit::kDone);
}

// Nobody looks at a node in maintenance: it may have been restarted, and may not answer yet.
TEST_F(NodeDrainOrders, OutOfMaintenanceItIsSaidThatTheDrainMayNotBeOver) {
  DrainRevocably();
  ASSERT_TRUE(control_->Maint("n1").has_value());
  back_answer_ = {.status = 503};
  CtlReply reply = Order(R"({"command":"ready","node":"n1"})");
  EXPECT_EQ(reply.exit, CtlExit::kDone);
  EXPECT_THAT(reply.message, HasSubstr("unless it was restarted meanwhile"));
  drain_answer_.body = R"({"draining":true,"connections":7})";
  late_.reset();
  Order(R"({"command":"drain","node":"n1","rate":5})");
  ASSERT_TRUE(control_->Maint("n1").has_value());
  reply = Order(R"({"command":"ready","node":"n1"})");
  EXPECT_EQ(reply.exit, CtlExit::kDone);
  EXPECT_THAT(reply.message, HasSubstr("unless it was restarted meanwhile"));
}

TEST_F(NodeDrainOrders, MadeReadyWhileItIsAskedTheNodeIsAskedBackBehindThat) {
  drain_answer_.body = R"({"draining":true,"connections":7,"revocable":true})";
  Begin(R"({"command":"drain","node":"n1","rate":5})");
  ASSERT_TRUE(control_->Ready("n1").has_value());
  ASSERT_TRUE(net::test::RunUntil(*loop_, [&] { return asked_.size() == 2; }));
  EXPECT_EQ(asked_[1].method, "DELETE");
  EXPECT_THAT(late_->message, HasSubstr("made ready meanwhile"));
}

// Its admin API hears all that it is asked, and of an order to drain the answer never comes back.
class LostAnswers : public test::ControlTest {
 protected:
  void SetUp() override {
    ControlTest::SetUp();
    if (HasFatalFailure()) return;
    WriteConfig("", "[pool.xmpp.status]\nport = " +
                        std::to_string(ntohs(net::test::BoundAddress(listener_.get()).sin_port)) +
                        "\ninterval = \"100ms\"\nnetsplit = false\ndrain = \"/api/drain\"\n");
    ASSERT_TRUE(control_->Reload().has_value());
    ASSERT_TRUE(net::test::RunUntil(*loop_, [&] {
      return NodeNamed("n1").incarnation == "1" && NodeNamed("n2").incarnation == "1";
    }));
  }
  void TearDown() override {
    ControlTest::TearDown();
    shutdown(listener_.get(), SHUT_RDWR);
  }

  void Serve() {
    while (true) {
      const net::UniqueFd peer(accept(listener_.get(), nullptr, nullptr));
      if (!peer) return;
      std::string request(4096, ' ');
      const ssize_t size = read(peer.get(), request.data(), request.size());
      request.resize(size > 0 ? static_cast<size_t>(size) : 0);
      const std::string method = request.substr(0, request.find(' '));
      std::string body = R"({"node":"a@b","incarnation":1,"state":"running","members":[],)"
                         R"("running":["a@b"]})";
      if (method != "GET") {
        const std::lock_guard lock(mutex_);
        heard_.push_back(method);
        if (method == "POST") continue;
        body = R"({"draining":false})";
      }
      const std::string answer =
          "HTTP/1.1 200 OK\r\nContent-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body;
      EXPECT_EQ(write(peer.get(), answer.data(), answer.size()),
                static_cast<ssize_t>(answer.size()));
    }
  }
  std::vector<std::string> Heard() {
    const std::lock_guard lock(mutex_);
    return heard_;
  }
  void Begin(const std::string& line) {
    late_.reset();
    auto request = ParseCtlRequest(line);
    ASSERT_TRUE(request.has_value());
    reply_ =
        RunCtlRequest(*control_, {}, *request, [&](CtlReply late) { late_ = std::move(late); });
  }
  CtlReply Order(const std::string& line) {
    Begin(line);
    if (reply_) return *reply_;
    EXPECT_TRUE(net::test::RunUntil(*loop_, [&] { return late_.has_value(); }));
    return late_.value_or(CtlReply{});
  }

  net::UniqueFd listener_ = net::test::ListenLoopback();
  std::optional<CtlReply> reply_;
  std::optional<CtlReply> late_;
  std::mutex mutex_;
  std::vector<std::string> heard_;
  std::jthread server_{[this] { Serve(); }};
};

TEST_F(LostAnswers, WhoMayHaveHeardTheOrderIsAskedBack) {
  Hold(10);
  const CtlReply reply = Order(R"({"command":"drain","node":"n1","rate":1,"deadline":1000})");
  EXPECT_EQ(reply.exit, CtlExit::kDone);
  EXPECT_THAT(reply.message, AllOf(HasSubstr("in vain"), HasSubstr("ended from here"),
                                   HasSubstr("may have heard")));
  EXPECT_THAT(reply.object, HasSubstr("\"node_drains\":false"));
  EXPECT_EQ(NodeNamed("n1").drain_rate, 1) << "it may not have heard: drained from here";
  const CtlReply back = Order(R"({"command":"ready","node":"n1"})");
  EXPECT_EQ(back.exit, CtlExit::kDone);
  EXPECT_THAT(back.message, HasSubstr("asked to take clients again, and does"));
  EXPECT_THAT(Heard(), ::testing::ElementsAre("POST", "DELETE"));
  EXPECT_EQ(Order(R"({"command":"ready","node":"n1"})").exit, CtlExit::kDone);
  EXPECT_THAT(Heard(), SizeIs(2)) << "once";
}

TEST_F(LostAnswers, MadeReadyBeforeTheAnswerWasLostItIsAskedBackBehindThat) {
  Begin(R"({"command":"drain","node":"n1","rate":1})");
  ASSERT_TRUE(control_->Ready("n1").has_value());
  ASSERT_TRUE(net::test::RunUntil(*loop_, [&] { return Heard().size() == 2; }));
  EXPECT_EQ(Heard()[1], "DELETE");
}

TEST_F(LostAnswers, ThatItMayHaveHeardOutlivesTheProcessFromTheOrderOn) {
  const auto saved = [&] {
    const auto state = SavedStateFromJson(control_->SaveState(true));
    return state ? state->pools.at("xmpp").front().self_drain : std::nullopt;
  };
  Begin(R"({"command":"drain","node":"n1","rate":1})");
  ASSERT_TRUE(saved().has_value()) << "whoever goes on hears no answer";
  EXPECT_TRUE(saved()->revocable);
  EXPECT_TRUE(saved()->maybe_over);
  ASSERT_TRUE(net::test::RunUntil(*loop_, [&] { return late_.has_value(); }));
  ASSERT_TRUE(saved().has_value());
  EXPECT_EQ(saved()->incarnation, "1");
  Order(R"({"command":"ready","node":"n1"})");
  EXPECT_FALSE(saved().has_value());
}

// An answer that is cut short, here for being too long, is a lost one.
TEST_F(NodeDrainOrders, OfANodeThatIsKnownToDrainALostAnswerSaysNothingNew) {
  Order(R"({"command":"drain","node":"n1","rate":5})");
  ASSERT_TRUE(control_->DrainsForGood("n1"));
  drain_answer_.body = std::string(20'000, ' ');
  late_.reset();
  EXPECT_THAT(Order(R"({"command":"drain","node":"n1","rate":5})").message,
              HasSubstr("may have heard"));
  EXPECT_TRUE(control_->DrainsForGood("n1"));
}

TEST_F(NodeDrainOrders, WhoAnsweredThatItDoesNotIsNotAskedBack) {
  drain_answer_ = {.status = 503};
  Order(R"({"command":"drain","node":"n1","rate":5})");
  asked_.clear();
  EXPECT_EQ(Order(R"({"command":"ready","node":"n1"})").exit, CtlExit::kDone);
  EXPECT_THAT(asked_, IsEmpty());
}

TEST_F(NodeDrainOrders, ThatANodeDrainsByItselfOutlivesTheProcess) {
  DrainRevocably();
  for (const bool warm : {false, true}) {
    const auto state = SavedStateFromJson(control_->SaveState(warm));
    ASSERT_TRUE(state.has_value());
    const PoolControl::SavedNode& n1 = state->pools.at("xmpp").front();
    ASSERT_EQ(n1.name, "n1");
    ASSERT_TRUE(n1.self_drain.has_value());
    EXPECT_TRUE(n1.self_drain->revocable);
    EXPECT_EQ(n1.self_drain->incarnation, "1");
  }
}

TEST_F(NodeDrainOrders, OfTwoOrdersTheLastSetsThePaceWhoeverIsAnsweredFirst) {
  Hold(10);
  drain_answer_ = {.status = 503};
  Begin(R"({"command":"drain","node":"n1","rate":1000})");
  Begin(R"({"command":"drain","node":"n1","rate":0.5})");
  ASSERT_TRUE(net::test::RunUntil(*loop_, [&] { return NodeNamed("n1").drain_rate > 0; }));
  EXPECT_EQ(NodeNamed("n1").drain_rate, 0.5);
  EXPECT_EQ(NodeNamed("n1").active, 5U);
  // A `shut` behind it is an order of that kind, too.
  Begin(R"({"command":"drain","node":"n1","rate":1000})");
  ASSERT_TRUE(control_->Shut("n1", 0.25).has_value());
  late_.reset();
  ASSERT_TRUE(net::test::RunUntil(*loop_, [&] { return late_.has_value(); }));
  EXPECT_EQ(NodeNamed("n1").drain_rate, 0.25);
}

TEST_F(NodeDrainOrders, ANodeThatLeftItsPoolBeforeItsAnswerIsDrainedAllTheSame) {
  Hold(10);
  drain_answer_ = {.status = 503};
  Begin(R"({"command":"drain","node":"n1","rate":1000})");
  left_out_ = {0};
  WriteConfig("");
  ASSERT_TRUE(control_->Reload().has_value());
  ASSERT_EQ(control_->Absent().size(), 1U);
  EXPECT_TRUE(net::test::RunUntil(*loop_, [&] { return control_->Absent()[0].active == 0; }));
}

// What the old process after an upgrade is told: while the node ends its own, nobody does beside
// it.
class NodeDrainForwarded : public NodeDrainOrders {
 protected:
  void SetUp() override {
    NodeDrainOrders::SetUp();
    control_->SetOnPace([this](const std::string& node, const DrainOrder& order) {
      paced_.push_back(DrainLine(node, order));
    });
  }
  static std::vector<std::string> Forwarded(const std::string& line) {
    return LinesForward(*ParseCtlRequest(line), line, std::nullopt);
  }
  std::vector<std::string> paced_;
};

TEST_F(NodeDrainForwarded, AnAskedNodeIsNotPacedByTheOldProcessBesideIt) {
  Hold(10);
  const std::string order = R"({"command":"drain","node":"n1","rate":1000})";
  ASSERT_TRUE(control_->Drain("n1", {.rate = 0.5, .force = true}).has_value());
  for (const std::string& line : Forwarded(order)) RunForwardedRequest(*control_, line);
  EXPECT_EQ(NodeNamed("n1").admin, "drain");
  EXPECT_FALSE(NodeNamed("n1").drain_active) << "the pace of an order before ends as well";
  Order(order);
  EXPECT_THAT(paced_, IsEmpty());
  // One that refuses is drained from wherever its connections are.
  drain_answer_ = {.status = 503};
  late_.reset();
  Order(order);
  ASSERT_THAT(paced_, SizeIs(1));
  RunForwardedRequest(*control_, paced_[0]);
  EXPECT_EQ(NodeNamed("n1").drain_rate, 1000);
}

TEST_F(NodeDrainForwarded, InTheRestOfTheDeadlineTheOldProcessEndsItsOwn) {
  Order(R"({"command":"drain","node":"n1","deadline":1})");
  ASSERT_TRUE(net::test::RunUntil(*loop_, [&] { return !paced_.empty(); }));
  EXPECT_THAT(paced_[0], AllOf(HasSubstr("\"node\":\"xmpp/n1\""), HasSubstr("\"deadline\":0.1")));
  paced_.clear();
  late_.reset();
  Order(R"({"command":"drain","node":"n1","deadline":0.5})");
  ASSERT_TRUE(control_->Ready("n1").has_value());
  late_.reset();
  Order(R"({"command":"drain","node":"n1","deadline":2})");
  const net::Time begun = clock_.Now();
  ASSERT_TRUE(net::test::RunUntil(*loop_, [&] { return !paced_.empty(); }));
  EXPECT_GE(clock_.Now() - begun, seconds(1)) << "an order that was taken back does nothing";
}

TEST_F(NodeDrainOrders, MaintenanceEndsNoConnectionAlsoOfADrainBefore) {
  Hold(10);
  ASSERT_TRUE(control_->Drain("n1", {.rate = 0.5, .force = true}).has_value());
  ASSERT_TRUE(NodeNamed("n1").drain_active);
  const Done done = control_->Maint("n1");
  ASSERT_TRUE(done.has_value());
  EXPECT_THAT(*done, HasSubstr("5 connections stay"));
  EXPECT_FALSE(NodeNamed("n1").drain_active);
}

// The status section is changed by a reload: who serves does so on, until the API says otherwise.
TEST_F(NodeDrainOrders, AReloadOfHowTheStatusIsAskedTakesNobodyOut) {
  const net::UniqueFd silent = net::test::ListenLoopback();
  WriteConfig("", "[pool.xmpp.status]\nport = " +
                      std::to_string(ntohs(net::test::BoundAddress(silent.get()).sin_port)) +
                      "\ninterval = \"100ms\"\ntimeout = \"50ms\"\nfall = 3\nnetsplit = false\n");
  ASSERT_TRUE(control_->Reload().has_value());
  EXPECT_EQ(NodeNamed("n1").state, "up");
  EXPECT_EQ(NodeNamed("n2").state, "up");
  ASSERT_TRUE(net::test::RunUntil(*loop_, [&] { return NodeNamed("n1").state == "down"; }));
}

// Two nodes that see themselves alone.
class SplitStatus : public test::ControlTest {
 protected:
  void SetUp() override {
    ControlTest::SetUp();
    if (HasFatalFailure()) return;
    // Each asks its own address for its status, at one port.
    net::UniqueFd first = net::test::ListenLoopback();
    sockaddr_in other = net::test::BoundAddress(first.get());
    other.sin_addr.s_addr = inet_addr("127.0.0.2");
    auto second = net::Listen(net::test::Plain(other), sizeof other, {});
    ASSERT_TRUE(second.has_value()) << second.error();
    port_ = std::to_string(ntohs(other.sin_port));
    apis_.push_back(Api(std::move(first), "a@x"));
    apis_.push_back(Api(std::move(*second), "b@x"));
    left_out_ = {1};
  }
  std::unique_ptr<net::HttpServer> Api(net::UniqueFd listener, const std::string& self) {
    return std::make_unique<net::HttpServer>(
        *loop_, std::move(listener), [self](const net::HttpRequest&) {
          return net::HttpResponse{.body = R"({"node":")" + self +
                                           R"(","incarnation":1,"state":"running",)"
                                           R"("members":["a@x","b@x"],"running":[")" +
                                           self + R"("]})"};
        });
  }
  bool Reload(const std::string& netsplit) {
    WriteConfig("",
                "[[pool.xmpp.node]]\nname = \"n2\"\naddress = \"127.0.0.2:1\"\n"
                "[pool.xmpp.status]\nport = " +
                    port_ + "\ninterval = \"100ms\"\nnetsplit = " + netsplit + "\n");
    return control_->Reload().has_value();
  }
  void TearDown() override {
    apis_.clear();
    ControlTest::TearDown();
  }
  std::string port_;
  std::vector<std::unique_ptr<net::HttpServer>> apis_;
};

TEST_F(SplitStatus, ASplitIsNotToldOnWhereNobodyLooksForOneAnyMore) {
  ASSERT_TRUE(Reload("true"));
  ASSERT_TRUE(net::test::RunUntil(*loop_, [&] { return control_->Process().split; }));
  ASSERT_TRUE(Reload("false"));
  EXPECT_FALSE(control_->Process().split);
}

TEST_F(NodeDrainOrders, DryRunSaysWhatWouldBeAndDoesNothing) {
  const CtlReply would = Order(R"({"command":"drain","node":"n1","deadline":9,"dry-run":true})");
  EXPECT_EQ(would.exit, CtlExit::kDone);
  EXPECT_THAT(would.message, AllOf(HasSubstr("would drain"), HasSubstr("nothing was done")));
  EXPECT_EQ(NodeNamed("n1").admin, "ready");
  ASSERT_TRUE(control_->Drain("n2", {}).has_value());
  EXPECT_EQ(Order(R"({"command":"drain","node":"n1","dry-run":true})").exit, CtlExit::kRefused);
  EXPECT_EQ(NodeNamed("n1").admin, "ready");
}

}  // namespace
}  // namespace lb
