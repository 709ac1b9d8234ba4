// Attacks on a whole balancer that its Control must withstand: nodes that come and go for days, and
// what its own checks say to nodes.

#include "lb/control/control.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <malloc.h>
#include <sys/socket.h>

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
  // Without addresses: the connection speaks for itself.
  static constexpr std::string_view kLocal{"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0<", 17};
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
