// The TCP server over loopback: who has a place, and who gets it next.
#include "dns/serve/tcp_server.h"

#include <gtest/gtest.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <chrono>
#include <functional>
#include <thread>

#include "dns/serve/places.h"
#include "tests/dns/dns_fixture.h"

namespace dns {
namespace {

using test::Ip;
using test::QueryBuilder;

// True as soon as the condition holds; false at the deadline.
bool Eventually(const std::function<bool()>& condition) {
  auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(10);
  while (!condition()) {
    if (std::chrono::steady_clock::now() > deadline) return false;
    std::this_thread::yield();
  }
  return true;
}

class TcpServerTest : public testing::Test {
 protected:
  void Start(TcpConfig config) {
    world_.config.rate_limit.per_second = 0;
    world_.AddZone("example.org.", test::kZoneText);
    world_.Build();
    publisher_ = std::make_unique<Publisher>(world_.generation);
    log_ = std::make_unique<QueryLog>(0);
    net::Address any = net::Address::V4({127, 0, 0, 1}, 0);
    net::SocketName name = any.ToSocketName();
    auto fd = net::Listen(name.get(), name.size(), {.backlog = 16, .reuse_port = false});
    ASSERT_TRUE(fd.has_value()) << fd.error();
    sockaddr_in bound{};
    socklen_t size = sizeof bound;
    ASSERT_EQ(getsockname(fd->get(), reinterpret_cast<sockaddr*>(&bound), &size), 0);
    bound_ = bound;
    std::vector<TcpListenerFd> listeners;
    listeners.push_back({std::move(*fd), any, false});
    server_ = std::make_unique<TcpServer>(std::move(listeners), config, nullptr, world_.config,
                                          publisher_->AddReader(), log_.get(), &transfers_);
    ASSERT_EQ(server_->Start(), "");
  }
  void TearDown() override {
    server_->Stop(net::Duration::zero());
    server_->Join();
  }

  net::UniqueFd Connect() {
    net::UniqueFd fd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    EXPECT_EQ(connect(fd.get(), reinterpret_cast<const sockaddr*>(&bound_), sizeof bound_), 0);
    return fd;
  }
  // Does the server answer on this connection? False when it closed it.
  static bool Answers(const net::UniqueFd& fd) {
    Bytes packet = QueryBuilder{}.Build();
    Bytes framed(2);
    Put16(framed.data(), packet.size());
    Append(framed, packet);
    if (send(fd.get(), framed.data(), framed.size(), MSG_NOSIGNAL) < 0) return false;
    pollfd wait{fd.get(), POLLIN, 0};
    if (poll(&wait, 1, 10'000) != 1) return false;
    std::array<uint8_t, 512> answer;
    return recv(fd.get(), answer.data(), answer.size(), 0) > 2;
  }

  test::World world_;
  TransferSource transfers_;
  std::unique_ptr<Publisher> publisher_;
  std::unique_ptr<QueryLog> log_;
  sockaddr_in bound_{};
  std::unique_ptr<TcpServer> server_;
};

TEST_F(TcpServerTest, WhoMakesRoomForAClientOfItsOwnAddressLeavesNoTrace) {
  Start({.clients_max = 1, .clients_per_address_max = 2});
  net::UniqueFd a = Connect();
  ASSERT_TRUE(Answers(a));
  net::UniqueFd b = Connect();
  ASSERT_TRUE(Answers(b));  // the first one made room
  net::UniqueFd c = Connect();
  ASSERT_TRUE(Answers(c));
  EXPECT_EQ(server_->tcp_counters().evicted.load(), 2u);
  c = net::UniqueFd();
  ASSERT_TRUE(Eventually([&] { return server_->tcp_counters().clients.load() == 0; }));
  for (int i = 0; i < 4; ++i) {
    net::UniqueFd next = Connect();
    EXPECT_TRUE(Answers(next)) << i;
  }
  EXPECT_EQ(server_->tcp_counters().refused_address.load(), 0u);
}

TEST_F(TcpServerTest, AnAddressMayHaveSoManyClientsAndMoreWhenSomeHaveLeft) {
  Start({.clients_max = 10, .clients_per_address_max = 2});
  net::UniqueFd a = Connect();
  net::UniqueFd b = Connect();
  ASSERT_TRUE(Answers(a));
  ASSERT_TRUE(Answers(b));
  net::UniqueFd c = Connect();
  EXPECT_FALSE(Answers(c));
  EXPECT_EQ(server_->tcp_counters().refused_address.load(), 1u);
  a = net::UniqueFd();
  ASSERT_TRUE(Eventually([&] { return server_->tcp_counters().clients.load() == 1; }));
  net::UniqueFd d = Connect();
  EXPECT_TRUE(Answers(d));
}

TEST(PlacesTest, APlaceEndsWithItsObjectAndAnAddressWithItsLastPlace) {
  AddressPlaces places(2);
  {
    auto a = places.Take(Ip("192.0.2.1"));
    auto b = places.Take(Ip("192.0.2.1"));
    EXPECT_TRUE(a && b);
    EXPECT_FALSE(places.Take(Ip("192.0.2.1")));
    EXPECT_TRUE(places.Take(Ip("192.0.2.2")));  // ends at once
    EXPECT_EQ(places.addresses(), 1u);
    b = {};
    auto moved = std::move(a);
    EXPECT_TRUE(places.Take(Ip("192.0.2.1")));
  }
  EXPECT_EQ(places.addresses(), 0u);
  Places few(1);
  auto one = few.Take();
  EXPECT_FALSE(few.Take());
  one.Release();
  EXPECT_EQ(few.taken(), 0u);
  EXPECT_TRUE(few.Take());
}

}  // namespace
}  // namespace dns
