// Nodes with their cluster, over the real distribution on loopback and a real epmd on a port of its
// own: what the pure core's tests cannot see.
#include "server/node/cluster_host.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <chrono>
#include <condition_variable>
#include <filesystem>
#include <fstream>
#include <future>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "net/report/log.h"
#include "server/node/node_rpc.h"
#include "server/node/pages.h"
#include "tests/test_folder.h"

namespace server {
namespace {

using namespace std::chrono_literals;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::UnorderedElementsAre;

constexpr auto kDeadline = 60s;

uint16_t FreePort() {
  const net::UniqueFd fd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  EXPECT_EQ(bind(fd.get(), reinterpret_cast<sockaddr*>(&address), size), 0);
  EXPECT_EQ(getsockname(fd.get(), reinterpret_cast<sockaddr*>(&address), &size), 0);
  return ntohs(address.sin_port);
}

// One node: its thread is the distribution's.
class TestNode {
 public:
  TestNode(const std::string& name, uint16_t epmd_port, const std::string& folder,
           const ClusterTiming& timing)
      : name_(name) {
    DistOptions options;
    options.node = name;
    options.cookie = "a cookie of the test";
    options.interface = *net::Address::FromIp("127.0.0.1", 0);
    options.epmd.port = epmd_port;
    auto node = DistNode::Create(options);
    EXPECT_TRUE(node.has_value());
    node_ = std::move(*node);
    auto host = ClusterHost::Create(*node_, folder + "/" + name + ".members",
                                    {{.id = 1, .name = "session", .unique = true}}, clock_, timing);
    EXPECT_TRUE(host.has_value()) << host.error();
    host_ = std::move(*host);
    AnswerNodeRpc(*node_, *host_,
                  {.version = "0.1.0",
                   .commit = "",
                   .directory = folder,
                   .load = [] { return NodeLoad{.sessions = 7}; },
                   .stop = [this] { stop_asked_.set_value(); }});
  }
  ~TestNode() { Kill(); }

  void Start() {
    auto started = node_->Start();
    ASSERT_TRUE(started.has_value()) << started.error().what << "; " << started.error().remedy;
    up_ = true;
    node_->Post([this] { host_->Start(); });
  }
  // The links break; nobody is told.
  void Kill() {
    if (std::exchange(up_, false)) node_->Stop();
  }
  // Runs on the node's thread, and waits for it.
  template <typename Work>
  auto On(Work work) {
    std::promise<decltype(work())> promise;
    auto result = promise.get_future();
    node_->Post([&] {
      if constexpr (std::is_void_v<decltype(work())>) {
        work();
        promise.set_value();
      } else {
        promise.set_value(work());
      }
    });
    return result.get();
  }
  void StopInOrder() {
    On([this] { host_->Stop(); });
    Kill();
  }
  ClusterStatus Status() {
    return On([this] { return host_->Status(); });
  }
  ClusterHost::OrderEnd Join(const std::string& target) {
    std::promise<ClusterHost::OrderEnd> promise;
    auto result = promise.get_future();
    On([&] { host_->Join(target, [&](const auto& end) { promise.set_value(end); }); });
    EXPECT_EQ(result.wait_for(kDeadline), std::future_status::ready);
    return result.get();
  }
  Term Call(const std::string& to, const char* module, const char* function,
            std::vector<Term> args) {
    std::promise<RpcResult> promise;
    auto result = promise.get_future();
    node_->Call(to, module, function, args, 30s,
                [&](RpcResult value) { promise.set_value(std::move(value)); });
    RpcResult value = result.get();
    return value ? *value : Term::Atom("failed: " + value.error().ToText());
  }

  const std::string& name() const { return name_; }
  DistNode& node() { return *node_; }
  ClusterHost& host() { return *host_; }
  std::promise<void>& stop_asked() { return stop_asked_; }

 private:
  const std::string name_;
  BootClock clock_;
  std::promise<void> stop_asked_;
  std::unique_ptr<DistNode> node_;
  std::unique_ptr<ClusterHost> host_;
  bool up_ = false;
};

class ClusterHostTest : public ::testing::Test {
 protected:
  void SetUp() override {
    // An epmd of the test's own; it ends with its last node (-relaxed_command_check lets us say
    // so).
    epmd_port_ = FreePort();
    const std::string command = "epmd -daemon -address 127.0.0.1 -relaxed_command_check -port " +
                                std::to_string(epmd_port_);
    ASSERT_EQ(std::system(command.c_str()), 0);
  }
  void TearDown() override {
    nodes_.clear();
    const std::string command =
        "epmd -port " + std::to_string(epmd_port_) + " -kill >/dev/null 2>&1";
    EXPECT_EQ(std::system(command.c_str()), 0);
  }

  TestNode& Make(const std::string& alive, const ClusterTiming& timing = {}) {
    nodes_.push_back(std::make_unique<TestNode>(alive + "@localhost", epmd_port_, folder_, timing));
    nodes_.back()->Start();
    return *nodes_.back();
  }

  // The condition, asked again until it holds: another thread makes it true.
  template <typename Condition>
  bool Until(Condition condition) {
    const auto deadline = std::chrono::steady_clock::now() + kDeadline;
    std::mutex mutex;
    std::condition_variable pause;
    while (!condition()) {
      if (std::chrono::steady_clock::now() > deadline) return false;
      std::unique_lock lock(mutex);
      pause.wait_for(lock, 20ms);
    }
    return true;
  }

  const net::TestFolder scratch_;
  const std::string folder_ = scratch_.path();
  uint16_t epmd_port_ = 0;
  std::vector<std::unique_ptr<TestNode>> nodes_;
};

TEST_F(ClusterHostTest, ThreeNodesJoinAndADeathIsKnownToTheOthers) {
  TestNode& a = Make("a");
  TestNode& b = Make("b");
  TestNode& c = Make("c");
  EXPECT_EQ(b.Join("a@localhost").outcome, Outcome::kDone);
  EXPECT_EQ(c.Join("b@localhost").outcome, Outcome::kDone);
  for (TestNode* node : {&a, &b, &c}) {
    EXPECT_TRUE(Until([&] {
      const ClusterStatus status = node->Status();
      return status.ready && status.running.size() == 3;
    })) << node->name();
    EXPECT_THAT(node->Status().running, ElementsAre("a@localhost", "b@localhost", "c@localhost"));
  }
  c.Kill();
  for (TestNode* node : {&a, &b}) {
    EXPECT_TRUE(Until([&] { return node->Status().stopped.size() == 1; })) << node->name();
    EXPECT_THAT(node->Status().stopped, ElementsAre("c@localhost"));
    EXPECT_EQ(node->Status().state, NodeState::kRunning);
  }
}

TEST_F(ClusterHostTest, AJoinToNobodyEndsAndChangesNothing) {
  // Long before the time for an order is over: epmd has said that nobody is there.
  TestNode& a = Make("a", {.operation = 10 * kDeadline});
  EXPECT_EQ(a.Join("nobody@localhost").outcome, Outcome::kUnreachable);
  EXPECT_THAT(a.Status().members, ElementsAre("a@localhost"));
  EXPECT_EQ(a.Join("a@localhost").outcome, Outcome::kAlreadyJoined);
}

TEST_F(ClusterHostTest, ANodeIsKnownToBeAbsentOrNotKnownToBe) {
  const auto dial = [&](TestNode& from, const std::string& to) {
    std::promise<std::expected<void, ConnectError>> promise;
    auto result = promise.get_future();
    from.node().Connect(to, [&](auto ended) { promise.set_value(std::move(ended)); });
    return result.get();
  };
  TestNode& a = Make("a");
  const auto nobody = dial(a, "nobody@localhost");
  ASSERT_FALSE(nobody.has_value());
  EXPECT_TRUE(nobody.error().absent) << nobody.error().what;
  EXPECT_THAT(nobody.error().what, HasSubstr("knows no node nobody"));
  const auto nowhere = dial(a, "a@no-such-host.invalid");
  ASSERT_FALSE(nowhere.has_value());
  EXPECT_FALSE(nowhere.error().absent) << nowhere.error().what;
}

TEST_F(ClusterHostTest, ARecordIsOnAllNodesAndGoesWithItsOwner) {
  TestNode& a = Make("a");
  TestNode& b = Make("b");
  ASSERT_EQ(b.Join("a@localhost").outcome, Outcome::kDone);
  ASSERT_TRUE(Until([&] { return a.Status().running.size() == 2 && b.Status().ready; }));
  EXPECT_TRUE(b.On([&] { return b.host().cluster().table(1)->Put("user@host/x", 9, "v", 1); }));
  const auto held = [&] {
    size_t count = 0;
    a.On([&] {
      a.host().cluster().table(1)->ForEachInGroup("user@host", [&](const RecordView& record) {
        EXPECT_EQ(record.owner, "b@localhost");
        ++count;
      });
    });
    return count;
  };
  EXPECT_TRUE(Until([&] { return held() == 1; }));
  b.StopInOrder();
  EXPECT_TRUE(Until([&] { return held() == 0; }));
}

TEST_F(ClusterHostTest, UpstreamsCallsAreAnsweredInItsForms) {
  TestNode& a = Make("a");
  TestNode& b = Make("b");
  EXPECT_EQ(a.Call("b@localhost", "mongoose_cluster", "join", {Term::Atom("a@localhost")}),
            Term::Atom("ok"));
  EXPECT_EQ(
      a.Call("b@localhost", "mongoose_server_api", "join_cluster", {Term::String("a@localhost")}),
      Term::Tuple({Term::Atom("already_joined"),
                   Term::String("The node a@localhost has already joined the cluster")}));
  EXPECT_TRUE(Until([&] { return a.Status().running.size() == 2; }));
  EXPECT_EQ(b.Call("a@localhost", "mnesia", "system_info", {Term::Atom("running_db_nodes")}),
            Term::List({Term::Atom("a@localhost"), Term::Atom("b@localhost")}));
  EXPECT_EQ(b.Call("a@localhost", "mnesia", "system_info", {Term::Atom("is_running")}),
            Term::Atom("yes"));
  EXPECT_EQ(b.Call("a@localhost", "ejabberd_sm", "get_total_sessions_number", {}),
            Term::Integer(7));
  EXPECT_EQ(b.Call("a@localhost", "mnesia", "info", {}), Term::Atom("failed: undef"));
  EXPECT_EQ(b.Call("a@localhost", "mongoose_server_api", "leave_cluster", {}),
            Term::Tuple({Term::Atom("ok"),
                         Term::String("You have successfully left the node a@localhost from the "
                                      "cluster.")}));
  EXPECT_EQ(b.Call("a@localhost", "init", "stop", {}), Term::Atom("ok"));
  EXPECT_EQ(a.stop_asked().get_future().wait_for(kDeadline), std::future_status::ready);
}

TEST_F(ClusterHostTest, PagesTellWhetherTheNodeIsReady) {
  TestNode& a = Make("a");
  NodeLoad load{.sessions = 3, .max_sessions = 10};
  std::unique_ptr<Pages> pages;
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  a.On([&] {
    auto listener = net::Listen(reinterpret_cast<sockaddr*>(&address), sizeof address, {});
    ASSERT_TRUE(listener.has_value());
    pages = std::make_unique<Pages>(
        a.node(), a.host(), [&] { return load; },
        [](net::MetricsWriter& out) { out.Gauge("of_clients", "More.").Add({}, 7); },
        Pages::Drain{}, std::move(*listener));
  });
  const auto get = [&](std::string method, std::string path) {
    return a.On([&] {
      net::HttpRequest request;
      request.method = std::move(method);
      request.path = std::move(path);
      return pages->Answer(request);
    });
  };
  EXPECT_EQ(get("GET", "/livez").status, 200);
  EXPECT_TRUE(Until([&] { return get("GET", "/readyz").status == 200; }));
  a.On([&] { load.draining = true; });
  EXPECT_EQ(get("GET", "/readyz").status, 503);
  EXPECT_EQ(get("GET", "/readyz").body, "not ready: the node drains\n");
  EXPECT_THAT(get("GET", "/api/cluster/status").body, HasSubstr("\"members\":[\"a@localhost\"]"));
  EXPECT_THAT(get("GET", "/metrics").body, HasSubstr("mongooseim_cluster_members 1\n"));
  EXPECT_THAT(get("GET", "/metrics").body, HasSubstr("of_clients 7\n"));
  EXPECT_EQ(get("POST", "/metrics").status, 405);
  EXPECT_EQ(get("GET", "/elsewhere").status, 404);
  EXPECT_GE(get("POST", "/api/drain").status, 400);  // nobody may
  a.On([&] { pages.reset(); });
}

// One decision, whoever orders: here the others can carry what goes at 10 a second.
TEST_F(ClusterHostTest, ADrainThatTheOthersCannotCarryIsRefusedWithItsForecastButForForce) {
  TestNode& a = Make("a");
  std::unique_ptr<Pages> pages;
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  std::vector<double> begun;
  const auto begin = [&](const Pages::DrainOrder& order) {
    const bool goes = order.force || order.per_s <= 10;
    if (goes) begun.push_back(order.per_s);
    return std::optional<Pages::DrainAnswer>(
        {.begun = goes, .connections = 40, .forecast = "{\"peak_per_s\":40}"});
  };
  a.On([&] {
    auto listener = net::Listen(reinterpret_cast<sockaddr*>(&address), sizeof address, {});
    ASSERT_TRUE(listener.has_value());
    pages = std::make_unique<Pages>(
        a.node(), a.host(), [] { return NodeLoad{}; }, [](net::MetricsWriter&) {},
        Pages::Drain{.credentials = "b:s", .begin = begin, .end = nullptr}, std::move(*listener));
  });
  const auto post = [&](std::string query) {
    return a.On([&] {
      net::HttpRequest request;
      request.method = "POST";
      request.path = "/api/drain";
      request.query = std::move(query);
      request.headers.push_back({"Authorization", net::BasicAuthorization("b", "s")});
      return pages->Answer(request);
    });
  };
  const auto refused = post("rate=50");
  EXPECT_EQ(refused.status, 409);
  EXPECT_EQ(refused.body,
            "{\"draining\":false,\"connections\":40,\"forecast\":{\"peak_per_s\":40}}\n");
  EXPECT_EQ(post("rate=50&force=false").status, 409);
  EXPECT_EQ(post("rate=50&force=yes").status, 400);
  EXPECT_TRUE(begun.empty());
  const auto forced = post("rate=50&force=true");
  EXPECT_EQ(forced.status, 200);
  EXPECT_EQ(forced.body,
            "{\"draining\":true,\"connections\":40,\"revocable\":true,"
            "\"forecast\":{\"peak_per_s\":40}}\n");
  EXPECT_EQ(post("rate=10").status, 200);
  EXPECT_EQ(begun, (std::vector<double>{50, 10}));
  a.On([&] { pages.reset(); });
}

// The heartbeat's timer may be due while the last operations come back.
TEST_F(ClusterHostTest, WhoIsCalledWhileTheNodeEndsFindsItsLoop) {
  TestNode& a = Make("a");
  TestNode& b = Make("b");
  std::atomic<int> calls{0};
  std::function<void()> again = [&] {
    ++calls;
    a.node().Connect("nobody@localhost", [](auto&&...) {});
    static_cast<void>(a.node().Send("b@localhost", "nobody", {}));
    a.node().loop().After(std::chrono::milliseconds(1), [&] { again(); });
  };
  a.On([&] { again(); });
  a.Kill();
  b.Kill();
  EXPECT_GE(calls, 1);
}

}  // namespace
}  // namespace server
