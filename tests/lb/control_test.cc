// Attacks on a whole balancer that its Control must withstand: nodes that come and go for days, and
// what its own checks say to nodes.

#include "lb/control/control.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <malloc.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <algorithm>
#include <condition_variable>
#include <iterator>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "net/report/log.h"
#include "tests/lb/control_fixture.h"

namespace lb {
namespace {

using std::chrono::milliseconds;

class ControlAttacks : public test::ControlTest {
 protected:
  void SetUp() override {
    net::ConfigureLog({.sink = [](std::string_view) {}});
    ControlTest::SetUp();
  }
  void TearDown() override {
    ControlTest::TearDown();
    net::ConfigureLog({});
  }

  void ReloadWith(const std::string& pool_extra, const std::string& more = "") {
    WriteConfig(pool_extra, more);
    auto done = control_->Reload();
    ASSERT_TRUE(done.has_value()) << done.error().front().ToString();
    Turn();
  }
};

// Checks that a reload, or the process before, had found good prove nothing of a node that comes
// back from maintenance: a rolling restart waits for theirs.
TEST_F(ControlAttacks, MaintenanceStartsChecksAnewAlsoOfANodeThatWasTakenOverUp) {
  WriteConfig("", "[[pool.xmpp.check]]\ntype = \"tcp\"\ninterval = \"1h\"\n");
  ASSERT_TRUE(control_->Reload().has_value());
  EXPECT_EQ(NodeNamed("n1").state, "up");
  ASSERT_TRUE(control_->Maint("n1").has_value());
  ASSERT_TRUE(control_->Ready("n1").has_value());
  EXPECT_EQ(NodeNamed("n1").state, "checking");
}

// Metrics and --json name a node's state out of one table: none is left without its series.
TEST(NodeStates, EveryConditionIsAmongThem) {
  for (int i = 0; i <= static_cast<int>(NodeCondition::kMaint); ++i) {
    const std::string name(NodeConditionName(static_cast<NodeCondition>(i)));
    EXPECT_TRUE(std::ranges::find(kNodeStates, name) != std::end(kNodeStates)) << name;
  }
}

// attacks.md 18.
TEST_F(ControlAttacks, NodesThatAreDeletedAndComeBackAgainAndAgainLeaveNothingBehind) {
  constexpr size_t kComing = 30;
  std::string coming;
  const std::string port = std::to_string(ntohs(net::test::BoundAddress(nodes_[0].get()).sin_port));
  for (size_t i = 0; i < kComing; ++i) {
    coming += "[[pool.xmpp.node]]\nname = \"coming" + std::to_string(i) +
              "\"\naddress = \"127.0.0.1:" + port + "\"\n";
  }
  size_t before = 0;
  for (int round = 0; round < 101; ++round) {
    ReloadWith("", coming);
    EXPECT_EQ(control_->Pools()[0].nodes.size(), 2 + kComing);
    if (round % 10 == 0) Hold(16);  // some are on nodes that leave
    ReloadWith("", "");
    EXPECT_EQ(control_->Pools()[0].nodes.size(), 2U);
    if (round % 10 == 0) {
      for (net::UniqueFd& held : held_) {
        const linger now{.l_onoff = 1, .l_linger = 0};
        setsockopt(held.get(), SOL_SOCKET, SO_LINGER, &now, sizeof now);
      }
      held_.clear();
      ASSERT_TRUE(
          net::test::RunUntil(*loop_, [&] { return control_->Process().connections == 0; }));
    }
    if (round == 0) before = mallinfo2().uordblks;
  }
  // 3,000 nodes of some 450 bytes; workers may look at each for some seconds more. What threads
  // keep for their next allocations stays.
  const auto left = [&] { return mallinfo2().uordblks < before + 500'000; };
  EXPECT_TRUE(net::test::RunUntil(*loop_, left) || net::test::RunUntil(*loop_, left))
      << mallinfo2().uordblks - before << " bytes";
}

// A node leaves its pool, then the pool leaves the file: who is connected to that node goes on.
TEST_F(ControlAttacks, AConnectionOutlivesItsNodeAndThenItsPool) {
  const std::string spare_pool =
      "[pool.spare]\n[[pool.spare.node]]\nname = \"s\"\naddress = "
      "\"127.0.0.1:1\"\n";
  ReloadWith("", spare_pool);
  Hold(8);
  std::vector<net::UniqueFd> far;
  for (int i = 0; i < 8; ++i) {
    far.emplace_back(
        accept4(nodes_[static_cast<size_t>(i % 2)].get(), nullptr, nullptr, SOCK_CLOEXEC));
  }
  const auto port = std::to_string(ntohs(listen_.sin_port));
  const auto only = [&](const std::string& pool) {
    std::ofstream file(config_path());
    file << "[process]\nworkers = 1\nconnections_max = 1000\n[listener.c2s]\nbind = \"127.0.0.1:" +
                port + "\"\npool = \"" + pool + "\"\n" +
                (pool == "xmpp"
                     ? "[pool.xmpp]\nbalance = \"roundrobin\"\n[pool.xmpp.warmup]\nmode = "
                       "\"off\"\n[[pool.xmpp.node]]\nname = \"other\"\naddress = "
                       "\"127.0.0.1:1\"\n"
                     : "") +
                spare_pool;
  };
  for (const std::string pool : {"xmpp", "spare"}) {
    only(pool);
    auto done = control_->Reload();
    ASSERT_TRUE(done.has_value()) << done.error().front().ToString();
    Turn();
  }
  ASSERT_EQ(control_->Pools().size(), 1U);
  EXPECT_EQ(control_->Process().connections, 8U);
  char byte = 0;
  for (net::UniqueFd& held : held_) ASSERT_EQ(write(held.get(), "x", 1), 1);
  for (net::UniqueFd& end : far) ASSERT_EQ(read(end.get(), &byte, 1), 1);
  held_.clear();
  far.clear();
  EXPECT_TRUE(net::test::RunUntil(*loop_, [&] { return control_->Process().connections == 0; }));
}

// --- What belongs to a node's name --------------------------------------------------------------

class ControlNames : public ControlAttacks {
 protected:
  // Without n1, and with it again.
  void LeaveAndReturn() {
    left_out_ = {0};
    ReloadWith("");
    left_out_.clear();
    ReloadWith("");
  }
  const AbsentNodeView* AbsentNamed(const std::string& name) {
    absent_ = control_->Absent();
    for (const AbsentNodeView& node : absent_) {
      if (node.name == name) return &node;
    }
    return nullptr;
  }
  std::vector<AbsentNodeView> absent_;
};

TEST_F(ControlNames, ANodeThatLeavesAndReturnsCarriesWhatItCarried) {
  Hold(10);
  EXPECT_EQ(NodeNamed("n1").active, 5U);
  LeaveAndReturn();
  EXPECT_EQ(NodeNamed("n1").active, 5U);
  Hold(2);
  EXPECT_EQ(NodeNamed("n1").active + NodeNamed("n2").active, 12U);
}

TEST_F(ControlNames, WhileANodeIsAbsentItsConnectionsAreCountedAndCanBeEnded) {
  Hold(10);
  ASSERT_TRUE(control_->Drain("n1", {}).has_value());
  left_out_ = {0};
  ReloadWith("");
  ASSERT_NE(AbsentNamed("n1"), nullptr);
  EXPECT_EQ(AbsentNamed("n1")->active, 5U);
  EXPECT_EQ(AbsentNamed("n1")->admin, "drain");
  ASSERT_TRUE(control_->DrainOf("n1").has_value());
  EXPECT_EQ(control_->DrainOf("n1")->remaining, 5U) << "a wait does not end with `none left`";
  ASSERT_TRUE(control_->Shut("xmpp/n1", 0).has_value());
  EXPECT_TRUE(net::test::RunUntil(*loop_, [&] { return control_->Process().connections == 5; }));
  EXPECT_EQ(control_->DrainOf("n1")->remaining, 0U);
  EXPECT_EQ(control_->DrainOf("n1")->ended, 5U);
  ASSERT_TRUE(control_->Ready("n1").has_value());
  EXPECT_EQ(AbsentNamed("n1"), nullptr) << "nothing is left to say of it";
}

TEST_F(ControlNames, OrdersOutliveAnotherAddressAbsenceAndTheirPool) {
  Hold(4);
  ASSERT_TRUE(control_->Drain("n1", {}).has_value());
  ASSERT_TRUE(control_->SetWeight("n1", 30).has_value());
  // Its name has another address now; what is connected to the old one lives on.
  const net::UniqueFd old = std::exchange(nodes_[0], net::test::ListenLoopback());
  ReloadWith("");
  EXPECT_EQ(NodeNamed("n1").admin, "drain");
  EXPECT_EQ(NodeNamed("n1").weight, 30U);
  EXPECT_EQ(NodeNamed("n1").active, 2U);
  LeaveAndReturn();
  EXPECT_EQ(NodeNamed("n1").admin, "drain");
  EXPECT_EQ(NodeNamed("n1").weight, 30U);
  ASSERT_TRUE(control_->Ready("n1").has_value());
  ASSERT_TRUE(control_->Maint("n2").has_value());  // so that arrivals have no choice
  Hold(2);
  EXPECT_EQ(NodeNamed("n1").active, 4U) << "at its new address";
}

TEST_F(ControlNames, WhatIsSavedHoldsAbsentNodesToo) {
  ASSERT_TRUE(control_->Maint("n1").has_value());
  left_out_ = {0};
  ReloadWith("");
  EXPECT_THAT(control_->SaveState(false), testing::HasSubstr("\"n1\":{\"admin\":\"maint\"}"));
}

TEST_F(ControlNames, ConnectionsOfTheOldProcessWeighInEveryChoice) {
  ReloadWith("# another policy\n");
  control_->SetElsewhere(R"({"xmpp":{"n1":7,"gone":3},"old":{"x":1}})");
  EXPECT_EQ(NodeNamed("n1").active, 7U);
  EXPECT_EQ(NodeNamed("n1").elsewhere, 7U);
  EXPECT_EQ(control_->Process().connections_elsewhere, 11U);
  ASSERT_NE(AbsentNamed("gone"), nullptr);
  EXPECT_EQ(AbsentNamed("gone")->elsewhere, 3U);
  control_->SetElsewhere(R"({"xmpp":{"n1":2}})");
  EXPECT_EQ(NodeNamed("n1").active, 2U);
  EXPECT_EQ(AbsentNamed("gone"), nullptr);
  control_->SetElsewhere("{}");
  EXPECT_EQ(NodeNamed("n1").active, 0U);
  control_->SetElsewhere("no JSON");
  EXPECT_EQ(control_->Process().connections_elsewhere, 0U);
}

// --- Reload --------------------------------------------------------------------------------------

TEST_F(ControlAttacks, AReloadNamesEachKeyThatItCannotApplyAndChangesNothing) {
  WriteConfig("retries = 1");
  std::ifstream in(config_path());
  std::string text((std::istreambuf_iterator<char>(in)), {});
  text.replace(0, 10, "[process]\nlarge_buffers = 16\nbuffers = 512\n");
  std::ofstream(config_path()) << text;
  auto done = control_->Reload();
  ASSERT_FALSE(done.has_value());
  ASSERT_EQ(done.error().size(), 2U);
  EXPECT_THAT(done.error()[0].ToString(), testing::HasSubstr("lb.toml:3: process.buffers: cannot"));
  EXPECT_THAT(done.error()[1].ToString(),
              testing::HasSubstr("lb.toml:2: process.large_buffers: cannot"));
  EXPECT_EQ(control_->config().pools[0].retries, 3U);
}

TEST_F(ControlAttacks, SocketsThatListenTakeTheirKeepaliveAgain) {
  const auto idle = [&] {
    const auto sockets = control_->DuplicateSockets();
    int seconds = 0;
    socklen_t size = sizeof seconds;
    EXPECT_EQ(getsockopt(sockets.at(0).fd.get(), IPPROTO_TCP, TCP_KEEPIDLE, &seconds, &size), 0);
    return seconds;
  };
  EXPECT_EQ(idle(), 60);
  ReloadWith("keepalive_idle = \"33s\"\n");
  EXPECT_EQ(idle(), 33);
}

// --- Names that are looked up -------------------------------------------------------------------

class ControlLookups : public ControlAttacks {
 protected:
  void TearDown() override {
    Open();
    ControlAttacks::TearDown();
  }
  net::NameLookup::Resolver Resolver() override {
    return [gate = gate_](const std::string& name) -> net::NameLookup::Result {
      std::unique_lock lock(gate->mutex);
      ++gate->asked;
      gate->wake.wait(lock, [&] { return gate->open; });
      if (!gate->address) return std::unexpected("no such name " + name);
      return std::vector{*gate->address};
    };
  }
  struct Gate {
    std::mutex mutex;
    std::condition_variable wake;
    bool open = false;
    int asked = 0;
    std::optional<net::Address> address;
  };
  void Open(std::optional<net::Address> address = std::nullopt) {
    std::lock_guard lock(gate_->mutex);
    gate_->address = address;
    gate_->open = true;
    gate_->wake.notify_all();
  }
  std::string Named() {
    return "[[pool.xmpp.node]]\nname = \"by-name\"\naddress = \"xmpp9.example.org:" +
           std::to_string(ntohs(net::test::BoundAddress(nodes_[0].get()).sin_port)) + "\"\n";
  }
  const std::shared_ptr<Gate> gate_ = std::make_shared<Gate>();
};

TEST_F(ControlLookups, ASilentResolverHoldsNobodyAndTheOtherNodesServe) {
  const net::Time begun = clock_.Now();
  ReloadWith("", Named());
  EXPECT_LT(clock_.Now() - begun, std::chrono::seconds(2));
  EXPECT_EQ(NodeNamed("by-name").state, "checking");
  EXPECT_THAT(NodeNamed("by-name").why, testing::HasSubstr("xmpp9.example.org"));
  Hold(4);
  EXPECT_EQ(NodeNamed("by-name").active, 0U);
  Open(net::Address::FromIp("127.0.0.1", 0));
  EXPECT_TRUE(net::test::RunUntil(*loop_, [&] { return NodeNamed("by-name").state == "up"; }));
  Hold(3);
  EXPECT_EQ(NodeNamed("by-name").active, 1U);
}

TEST_F(ControlLookups, ANameThatCannotBeLookedUpIsANodeThatIsDownAndIsTriedAgain) {
  Open();
  ReloadWith("panic_threshold = 1.0", Named());
  EXPECT_TRUE(net::test::RunUntil(*loop_, [&] { return NodeNamed("by-name").state == "down"; }));
  EXPECT_THAT(NodeNamed("by-name").why, testing::HasSubstr("no such name xmpp9.example.org"));
  Hold(6);
  EXPECT_EQ(NodeNamed("by-name").active, 0U) << "not even in panic: there is nowhere to go";
  Open(net::Address::FromIp("127.0.0.1", 0));
  EXPECT_TRUE(net::test::RunUntil(*loop_, [&] { return NodeNamed("by-name").state == "up"; }));
  // And it stays where it was when its name cannot be looked up at a reload.
  Open();
  ReloadWith("retries = 2", Named());
  EXPECT_TRUE(net::test::RunUntil(*loop_, [&] {
    std::lock_guard lock(gate_->mutex);
    return gate_->asked >= 4;
  }));
  EXPECT_EQ(NodeNamed("by-name").state, "up");
}

TEST_F(ControlAttacks, AProcessThatDrainsReadsNoConfiguration) {
  Hold(1);
  control_->BeginDrain(std::chrono::hours(1), [](uint64_t) {});
  WriteConfig("retries = 2");
  auto done = control_->Reload();
  ASSERT_FALSE(done.has_value());
  EXPECT_THAT(done.error().front().ToString(), testing::HasSubstr("draining"));
  EXPECT_TRUE(net::test::RunUntil(*loop_, [&] {
    const net::UniqueFd one(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    return connect(one.get(), net::test::Plain(listen_), sizeof listen_) != 0;
  })) << "a socket that nobody accepts on listens there";
}

// What the pool's nodes were told first, connection by connection.
class Listeners {
 public:
  explicit Listeners(const std::vector<net::UniqueFd>& listeners) : listeners_(listeners) {}

  // Answers a stream opening as a node does.
  void Turn() {
    for (const net::UniqueFd& listener : listeners_) {
      net::UniqueFd fd(accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
      if (fd) connections_.push_back({.fd = std::move(fd)});
    }
    for (Connection& connection : connections_) {
      char bytes[512];
      const ssize_t count = recv(connection.fd.get(), bytes, sizeof bytes, MSG_DONTWAIT);
      if (count <= 0) continue;
      connection.words.append(bytes, static_cast<size_t>(count));
      if (connection.answered || !connection.words.contains("<stream:stream")) continue;
      connection.answered = true;
      constexpr std::string_view kAnswer =
          "<?xml version='1.0'?><stream:stream xmlns='jabber:client' "
          "xmlns:stream='http://etherx.jabber.org/streams' id='1' from='chat.example' "
          "version='1.0'><stream:features/>";
      send(connection.fd.get(), kAnswer.data(), kAnswer.size(), MSG_NOSIGNAL);
    }
  }
  size_t Count(std::string_view beginning) const {
    size_t count = 0;
    for (const Connection& connection : connections_) {
      if (connection.words.starts_with(beginning)) ++count;
    }
    return count;
  }

 private:
  struct Connection {
    net::UniqueFd fd;
    std::string words;
    bool answered = false;
  };
  const std::vector<net::UniqueFd>& listeners_;
  std::vector<Connection> connections_;
};

// attacks.md 2. A port where clients' connections begin with a header demands one of checks, too;
// it must not speak for a client.
class ControlProxyChecks : public ControlAttacks {
 protected:
  // Three clients come, and checks run; what the nodes' connections began with.
  void Run(const std::string& pool, std::string_view check_begins) {
    for (const net::UniqueFd& node : nodes_) fcntl(node.get(), F_SETFL, O_NONBLOCK);
    ReloadWith(pool);
    Listeners nodes(nodes_);
    for (int i = 0; i < 3; ++i) held_.push_back(net::test::Dial(listen_));
    ASSERT_TRUE(net::test::RunUntil(*loop_,
                                    [&] {
                                      nodes.Turn();
                                      return nodes.Count(kFromClient) == 3 &&
                                             nodes.Count(check_begins) >= 4;
                                    }))
        << nodes.Count(kFromClient) << " clients, " << nodes.Count(check_begins) << " checks";
    EXPECT_EQ(NodeNamed("n1").state, "up");
    EXPECT_EQ(nodes.Count(kFromClient), 3U) << "the clients, and no check";
  }

  static constexpr std::string_view kFromClient{"\r\n\r\n\0\r\nQUIT\n\x21\x11", 14};
  // Without addresses: the connection speaks for itself. With a NOOP (0x04), since ejabberd reads a
  // header of length 0 as "all there is".
  static constexpr std::string_view kLocal{"\r\n\r\n\0\r\nQUIT\n\x20\0\0\3\4\0\0<", 20};
  static constexpr std::string_view kCheck =
      "type = \"xmpp\", to = \"chat.example\", interval = \"1s\", fast_interval = \"100ms\", "
      "start = \"up\"";
};

TEST_F(ControlProxyChecks, SayLocalWhereTheirPoolSendsTheHeader) {
  Run("send_proxy = \"v2\"\ncheck = [{" + std::string(kCheck) + "}]", kLocal);
}

TEST_F(ControlProxyChecks, CarryNoneWhereTheyAreToldNotTo) {
  Run("send_proxy = \"v2\"\ncheck = [{send_proxy = false, " + std::string(kCheck) + "}]", "<");
}

}  // namespace
}  // namespace lb
