#include "net/conn/conn_listener.h"

#include <gtest/gtest.h>

#include <atomic>
#include <set>
#include <thread>

#include "net/conn/worker_threads.h"
#include "net/proxy_protocol/proxy_protocol.h"
#include "tests/net/conn_fixture.h"

namespace net::test {
namespace {

// Sessions that echo, each with its place.
class Sessions final : public ConnAcceptor {
 public:
  struct Session final : ConnHost {
    explicit Session(Sessions& o, Admission a) : owner(o), admission(std::move(a)) {}
    void OnOpen(Conn& conn, std::unique_ptr<TlsFacts> facts) override {
      owner.peers.push_back(conn.peer().ToString());
      if (facts != nullptr) ++owner.secured;
    }
    void OnBytes(Conn& conn, std::span<uint8_t> bytes) override { conn.Send(bytes); }
    void OnEnd(Conn& conn, PeerEnd) override { conn.Shutdown(); }
    void OnClosed(Conn&, const Ended&) override {
      ++owner.closed;
      delete this;
    }
    Sessions& owner;
    const Admission admission;
  };
  ConnHost* OnAccepted(Conn&, Admission admission) override {
    if (refuse) return nullptr;
    ++accepted;
    return new Session(*this, std::move(admission));
  }
  std::vector<std::string> peers;
  uint32_t accepted = 0, secured = 0, closed = 0;
  bool refuse = false;
};

class ConnListenerTest : public ConnTest {
 protected:
  void Listen(ConnListenerOptions options) {
    gate_ = std::make_unique<ConnListener>(*worker_, std::move(listener_), std::move(options),
                                           counts_, sessions_);
  }
  void TearDown() override {
    gate_.reset();
    ConnTest::TearDown();
    EXPECT_EQ(counts_->active.load(), 0U) << "every place comes back";
    EXPECT_EQ(sessions_.accepted, sessions_.closed);
  }
  static std::string V2Header(const Address& source) {
    std::array<uint8_t, 200> out{};
    const auto size =
        EncodeProxyV2(ProxyEndpoint::FromAddress(source),
                      ProxyEndpoint::FromAddress(Address::V4({10, 0, 0, 1}, 5222)), {}, out);
    EXPECT_TRUE(size.has_value());
    return {reinterpret_cast<const char*>(out.data()), *size};
  }

  std::shared_ptr<ListenerCounts> counts_ = std::make_shared<ListenerCounts>();
  Sessions sessions_;
  std::unique_ptr<ConnListener> gate_;
};

TEST_F(ConnListenerTest, HandsConnectionsToSessionsAndClosesThoseAboveItsLimit) {
  Listen({.connections_max = 3});
  std::vector<Ear> ears(8);
  const Last last(*this);
  for (Ear& ear : ears) {
    ear.on_open = [](Conn& conn) { conn.Send("word"); };
    ear.on_end = [](Conn& conn) { conn.Shutdown(); };
    ASSERT_NE(worker_->Connect(to_, ear), nullptr);
  }
  auto heard = [&] {
    return std::ranges::count_if(ears, [](auto& e) { return e.received == "word"; });
  };
  auto gone = [&] { return std::ranges::count_if(ears, [](auto& e) { return e.closes == 1; }); };
  ASSERT_TRUE(Until([&] { return heard() == 3 && gone() == 5; }));
  EXPECT_EQ(counts_->refused_limit.load(), 5U);
  EXPECT_EQ(counts_->active.load(), 3U);
  // A place that is given back is another's.
  std::ranges::find_if(ears, [](auto& e) { return e.conn != nullptr; })->conn->Shutdown();
  ASSERT_TRUE(Until([&] { return counts_->active == 2; }));
  ASSERT_NE(worker_->Connect(to_, near_), nullptr);
  worker_->ForEach([&](Conn& conn) { conn.Send("again"); });
  ASSERT_TRUE(Until([&] { return near_.received.ends_with("again"); }));
}

TEST_F(ConnListenerTest, ASourceHasItsOwnLimit) {
  counts_->source_limits =
      std::make_shared<SourceLimits>(SourceTableConfig{.connections_max = 2}, HashKey{1, 2});
  Listen({});
  std::vector<Ear> ears(5);
  const Last last(*this);
  for (Ear& ear : ears) ASSERT_NE(worker_->Connect(to_, ear), nullptr);
  ASSERT_TRUE(Until([&] { return counts_->refused_source == 3; }));
  ASSERT_TRUE(Until([&] { return counts_->active == 2; }));
  EXPECT_EQ(sessions_.accepted, 2U);
}

TEST_F(ConnListenerTest, TheBalancerInFrontSaysWhoItIsAndWhatStandsBehindIsTheSessions) {
  Listen({.accept_proxy = true});
  const std::string header = V2Header(Address::V4({203, 0, 113, 7}, 4711));
  near_.on_open = [&](Conn& conn) {
    conn.Send(std::string_view(header).substr(0, 5));
    conn.Send(header.substr(5) + "words");
  };
  ASSERT_NE(worker_->Connect(to_, near_), nullptr);
  ASSERT_TRUE(Until([&] { return near_.received == "words"; }));
  EXPECT_EQ(sessions_.peers, std::vector<std::string>{"203.0.113.7:4711"});
}

TEST_F(ConnListenerTest, TlsBeginsBehindTheHeaderOfABalancer) {
  const TlsPair tls;
  Listen({.tls = tls.Server(), .accept_proxy = true});
  const std::string header = V2Header(Address::V4({203, 0, 113, 8}, 4712));
  int opens = 0;
  near_.on_open = [&](Conn& conn) {
    if (++opens == 1) {
      conn.Send(header);
      conn.StartTls(tls.Client());
    } else {
      conn.Send("over TLS");
    }
  };
  ASSERT_NE(worker_->Connect(to_, near_), nullptr);
  ASSERT_TRUE(Until([&] { return near_.received == "over TLS"; }));
  EXPECT_EQ(sessions_.peers, std::vector<std::string>{"203.0.113.8:4712"});
  EXPECT_EQ(sessions_.secured, 1U);
}

TEST_F(ConnListenerTest, HeadersThatAreBadLateOrFromStrangersLetNobodyIn) {
  Listen({.accept_proxy = true, .proxy_header_timeout = std::chrono::milliseconds(60)});
  Ear bad, late;
  const Last last(*this);
  bad.on_open = [](Conn& conn) { conn.Send("GET / HTTP/1.1\r\n\r\n"); };
  ASSERT_NE(worker_->Connect(to_, bad), nullptr);
  ASSERT_NE(worker_->Connect(to_, late), nullptr);
  ASSERT_TRUE(Until([&] { return counts_->refused_header == 2; }));
  ASSERT_TRUE(Until([&] { return counts_->active == 0; }));
  EXPECT_EQ(sessions_.accepted, 0U);
}

TEST_F(ConnListenerTest, AStrangersHeaderIsNotRead) {
  Listen({.accept_proxy = true, .proxy_trusted = {*Cidr::Parse("192.0.2.0/24")}});
  near_.on_open = [](Conn& conn) { conn.Send(V2Header(Address::V4({203, 0, 113, 9}, 1))); };
  ASSERT_NE(worker_->Connect(to_, near_), nullptr);
  ASSERT_TRUE(Until([&] { return counts_->refused_header == 1; }));
  EXPECT_EQ(sessions_.accepted, 0U);
}

TEST_F(ConnListenerTest, ItsEndClosesWhoIsAtTheDoorAndLeavesWhoIsIn) {
  Listen({.accept_proxy = true});
  Ear waiting;
  const Last last(*this);
  const std::string header = V2Header(Address::V4({203, 0, 113, 7}, 4711));
  near_.on_open = [&](Conn& conn) { conn.Send(header + "in"); };
  ASSERT_NE(worker_->Connect(to_, near_), nullptr);
  ASSERT_NE(worker_->Connect(to_, waiting), nullptr);
  ASSERT_TRUE(Until([&] { return near_.received == "in" && counts_->active == 2; }));
  gate_.reset();
  ASSERT_TRUE(Until([&] { return counts_->active == 1 && waiting.ends + waiting.closes > 0; }));
  near_.conn->Send(" still");
  ASSERT_TRUE(Until([&] { return near_.received == "in still"; }));
}

TEST_F(ConnListenerTest, AFullWorkerLeavesThemInTheListenQueue) {
  worker_.reset();
  Make({.conns_max = 4});
  Listen({});
  const Last last(*this);
  std::vector<UniqueFd> peers;
  for (int i = 0; i < 6; ++i) peers.push_back(Dial(address_));
  ASSERT_TRUE(Until([&] { return worker_->full(); }));
  for (int i = 0; i < 5; ++i) loop_->RunOnce(std::chrono::milliseconds(5));
  // What the kernel had accepted by then is served; nobody else is let in.
  const uint32_t before = sessions_.accepted;
  EXPECT_GE(before, 4U);
  for (int i = 0; i < 3; ++i) peers.push_back(Dial(address_));
  for (int i = 0; i < 5; ++i) loop_->RunOnce(std::chrono::milliseconds(5));
  EXPECT_EQ(sessions_.accepted, before);
  EXPECT_EQ(sessions_.closed, 0U);
  peers.erase(peers.begin(), peers.begin() + 6);
  ASSERT_TRUE(Until([&] { return sessions_.accepted == 9; }));
}

// --- Threads ------------------------------------------------------------------------------------

// What lives on each thread of a small server.
struct Served {
  std::unique_ptr<ConnWorker> worker;
  Sessions sessions;
  std::unique_ptr<ConnListener> listener;
};

TEST(WorkerThreadsTest, AServerOnTwoThreadsAnswersAndEndsInOrder) {
  const SystemClock clock;
  auto counts = std::make_shared<ListenerCounts>();
  sockaddr_in address = Loopback();
  std::vector<UniqueFd> sockets;
  for (int i = 0; i < 2; ++i) {
    auto socket = Listen(Plain(address), sizeof address, {.reuse_port = true});
    ASSERT_TRUE(socket.has_value()) << socket.error();
    address = BoundAddress(socket->get());
    sockets.push_back(std::move(*socket));
  }
  auto threads = WorkerThreads<Served>::Start(
      {.workers = 2, .name = "serve"}, clock,
      [&](EventLoop& loop, size_t index) -> std::expected<std::unique_ptr<Served>, std::string> {
        auto served = std::make_unique<Served>();
        auto worker = ConnWorker::Create(loop, {});
        if (!worker) return std::unexpected(worker.error());
        served->worker = std::move(*worker);
        served->listener =
            std::make_unique<ConnListener>(*served->worker, std::move(sockets[index]),
                                           ConnListenerOptions{}, counts, served->sessions);
        return served;
      },
      [](Served& served) {
        EventLoop& loop = served.worker->event_loop();
        served.listener.reset();
        return served.worker->Close(EndReason::kDrained, std::chrono::seconds(5)).has_value() &&
               loop.Drain(std::chrono::seconds(5)).has_value();
      });
  ASSERT_TRUE(threads.has_value()) << threads.error();
  std::vector<UniqueFd> peers;
  for (int i = 0; i < 40; ++i) {
    peers.push_back(Dial(address));
    ASSERT_EQ(send(peers.back().get(), "word", 4, MSG_NOSIGNAL), 4);
    char word[4];
    ASSERT_EQ(recv(peers.back().get(), word, 4, MSG_WAITALL), 4);
  }
  uint32_t accepted = 0;
  std::set<std::thread::id> ids;
  (*threads)->AskAll([&](Served& served) {
    accepted += served.sessions.accepted;
    ids.insert(std::this_thread::get_id());
  });
  EXPECT_EQ(accepted, 40U);
  EXPECT_EQ(ids.size(), 2U);
  EXPECT_EQ(ids.count(std::this_thread::get_id()), 0U);
  (*threads)->Stop();
  EXPECT_EQ(counts->active.load(), 0U);
  char byte = 0;
  EXPECT_LE(recv(peers.front().get(), &byte, 1, 0), 0) << "it was told";
}

TEST(WorkerThreadsTest, OneThatCannotStartSaysWhichAndTheOthersEnd) {
  const SystemClock clock;
  int ended = 0;
  auto threads = WorkerThreads<int>::Start(
      {.workers = 3, .name = "serve"}, clock,
      [](EventLoop&, size_t index) -> std::expected<std::unique_ptr<int>, std::string> {
        if (index == 1) return std::unexpected("no room");
        return std::make_unique<int>(7);
      },
      [&](int& one) {
        ++ended;
        return one == 7;
      });
  ASSERT_FALSE(threads.has_value());
  EXPECT_EQ(threads.error(), "serve 2: no room");
  EXPECT_EQ(ended, 1);
}

}  // namespace
}  // namespace net::test
