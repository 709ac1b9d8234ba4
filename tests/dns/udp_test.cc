// UDP replies: how they are gathered, how they get back, and a worker over loopback.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>

#include <cstring>
#include <string>
#include <vector>

#include "dns/answer/publisher.h"
#include "dns/serve/query_log.h"
#include "dns/serve/reply_batch.h"
#include "dns/serve/udp_return.h"
#include "dns/serve/udp_worker.h"
#include "tests/dns/dns_fixture.h"

namespace dns {
namespace {

using test::QueryBuilder;
using testing::ElementsAre;

// A UDP socket on a loopback address, on a port of its own.
struct Socket {
  net::UniqueFd fd;
  sockaddr_in name{};

  explicit Socket(uint8_t last = 1) : fd(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0)) {
    name.sin_family = AF_INET;
    name.sin_addr.s_addr = htonl(0x7f000000u + last);
    EXPECT_EQ(bind(fd.get(), reinterpret_cast<const sockaddr*>(&name), sizeof name), 0);
    socklen_t size = sizeof name;
    EXPECT_EQ(getsockname(fd.get(), reinterpret_cast<sockaddr*>(&name), &size), 0);
    int bytes = 4 << 20;
    setsockopt(fd.get(), SOL_SOCKET, SO_RCVBUF, &bytes, sizeof bytes);
  }

  // The next datagram; nothing when none comes.
  std::string Receive(int wait_ms = 10'000) const {
    pollfd wait{fd.get(), POLLIN, 0};
    if (poll(&wait, 1, wait_ms) != 1) return "";
    std::array<char, 65'536> bytes;
    ssize_t size = recv(fd.get(), bytes.data(), bytes.size(), MSG_DONTWAIT);
    return size < 0 ? "" : std::string(bytes.data(), static_cast<size_t>(size));
  }

  // A query from there, as a worker has it.
  msghdr AsClient() {
    msghdr from{};
    from.msg_name = &name;
    from.msg_namelen = sizeof name;
    return from;
  }
};

void Write(ReplyBatch& batch, const msghdr& to, const std::string& text) {
  std::memcpy(batch.Room().data(), text.data(), text.size());
  batch.Add(to, text.size());
}

TEST(ReplyBatchTest, RepliesToOneClientAreOneMessageAndArriveApart) {
  Socket server;
  Socket client;
  ReplyBatch batch;
  for (const char* text : {"reply one", "reply two", "reply six", "last"}) {
    Write(batch, client.AsClient(), text);
  }
  EXPECT_EQ(batch.messages(), 1u);
  EXPECT_EQ(batch.Send(server.fd.get()), 0u);
  EXPECT_EQ(batch.messages(), 0u);
  for (const char* text : {"reply one", "reply two", "reply six", "last"}) {
    EXPECT_EQ(client.Receive(), text);
  }
}

TEST(ReplyBatchTest, AnotherClientOrALongerReplyBeginsAMessage) {
  Socket server;
  Socket client;
  Socket other;
  ReplyBatch batch;
  Write(batch, client.AsClient(), "12345");
  Write(batch, other.AsClient(), "54321");  // another port
  Write(batch, client.AsClient(), "abcde");
  Write(batch, client.AsClient(), "abcdef");  // longer
  Write(batch, client.AsClient(), "short");   // ends the message
  Write(batch, client.AsClient(), "again");
  EXPECT_EQ(batch.messages(), 5u);
  EXPECT_EQ(batch.Send(server.fd.get()), 0u);
  EXPECT_EQ(other.Receive(), "54321");
  for (const char* text : {"12345", "abcde", "abcdef", "short", "again"}) {
    EXPECT_EQ(client.Receive(), text);
  }
}

TEST(ReplyBatchTest, AWholeTurnOfTheLargestRepliesFits) {
  Socket server;
  Socket client;
  ReplyBatch batch;
  for (int turn = 0; turn < 2; ++turn) {
    for (int i = 0; i < kUdpBatch; ++i) {
      Write(batch, client.AsClient(), std::string(kUdpBytesMax, static_cast<char>('0' + i)));
    }
    EXPECT_GT(batch.messages(), 1u);  // one would be larger than a datagram may be
    EXPECT_EQ(batch.Send(server.fd.get()), 0u);
    for (int i = 0; i < kUdpBatch; ++i) {
      EXPECT_EQ(client.Receive(), std::string(kUdpBytesMax, static_cast<char>('0' + i)));
    }
  }
}

TEST(ReplyBatchTest, ARunThatTheKernelRefusesGoesOutOneByOne) {
  Socket server;
  Socket client;
  int on = 1;  // without checksums the kernel cuts nothing
  ASSERT_EQ(setsockopt(server.fd.get(), SOL_SOCKET, SO_NO_CHECK, &on, sizeof on), 0);
  ReplyBatch batch;
  for (const char* text : {"reply one", "reply two", "last"}) {
    Write(batch, client.AsClient(), text);
  }
  EXPECT_EQ(batch.messages(), 1u);
  EXPECT_EQ(batch.Send(server.fd.get()), 0u);
  for (const char* text : {"reply one", "reply two", "last"}) EXPECT_EQ(client.Receive(), text);
  // For a while it is not tried again.
  Write(batch, client.AsClient(), "a");
  Write(batch, client.AsClient(), "b");
  EXPECT_EQ(batch.messages(), 2u);
  EXPECT_EQ(batch.Send(server.fd.get()), 0u);
  for (unsigned i = 0; i < ReplyBatch::kPauseTurns; ++i) batch.Send(server.fd.get());
  Write(batch, client.AsClient(), "c");
  Write(batch, client.AsClient(), "d");
  EXPECT_EQ(batch.messages(), 1u);
  batch.Send(server.fd.get());
  for (const char* text : {"a", "b", "c", "d"}) EXPECT_EQ(client.Receive(), text);
}

TEST(ReplyBatchTest, WhatCannotBeSentIsCountedAndHoldsNothingUp) {
  Socket server;
  Socket client;
  Socket nowhere;
  nowhere.name.sin_port = 0;
  ReplyBatch batch;
  Write(batch, client.AsClient(), "first");
  Write(batch, nowhere.AsClient(), "lost1");
  Write(batch, nowhere.AsClient(), "lost2");
  Write(batch, client.AsClient(), "second");
  EXPECT_EQ(batch.Send(server.fd.get()), 2u);
  EXPECT_EQ(client.Receive(), "first");
  EXPECT_EQ(client.Receive(), "second");
  // It says nothing of runs.
  Write(batch, client.AsClient(), "a");
  Write(batch, client.AsClient(), "b");
  EXPECT_EQ(batch.messages(), 1u);
}

// A query's control messages as the kernel gives them.
template <typename Info>
struct Control {
  alignas(cmsghdr) std::array<uint8_t, CMSG_SPACE(sizeof(Info))> bytes{};
  msghdr message{};

  Control(int level, int type, const Info& info) {
    message.msg_control = bytes.data();
    message.msg_controllen = bytes.size();
    cmsghdr* header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = level;
    header->cmsg_type = type;
    header->cmsg_len = CMSG_LEN(sizeof info);
    std::memcpy(CMSG_DATA(header), &info, sizeof info);
  }
  Info Get() const {
    Info info;
    std::memcpy(&info, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof info);
    return info;
  }
};

TEST(UdpReturnTest, TheAddressThatWasAskedStaysAndTheInterfaceGoes) {
  in_pktinfo v4{};
  v4.ipi_ifindex = 7;
  v4.ipi_spec_dst.s_addr = htonl(0xc0000201);
  Control<in_pktinfo> of_v4(IPPROTO_IP, IP_PKTINFO, v4);
  LeaveByRoute(of_v4.message);
  EXPECT_EQ(of_v4.Get().ipi_ifindex, 0);
  EXPECT_EQ(of_v4.Get().ipi_spec_dst.s_addr, v4.ipi_spec_dst.s_addr);

  in6_pktinfo v6{};
  v6.ipi6_ifindex = 7;
  v6.ipi6_addr.s6_addr[0] = 0x20;
  Control<in6_pktinfo> of_v6(IPPROTO_IPV6, IPV6_PKTINFO, v6);
  LeaveByRoute(of_v6.message);
  EXPECT_EQ(of_v6.Get().ipi6_ifindex, 0u);
  EXPECT_EQ(of_v6.Get().ipi6_addr.s6_addr[0], 0x20);

  v6.ipi6_addr.s6_addr[0] = 0xfe;
  v6.ipi6_addr.s6_addr[1] = 0x80;
  Control<in6_pktinfo> link_local(IPPROTO_IPV6, IPV6_PKTINFO, v6);
  LeaveByRoute(link_local.message);
  EXPECT_EQ(link_local.Get().ipi6_ifindex, 7u);

  msghdr none{};
  LeaveByRoute(none);
}

class UdpWorkerTest : public testing::TestWithParam<std::tuple<UdpEngine, bool>> {};

TEST_P(UdpWorkerTest, EachOfManyQueriesOverOnePortGetsItsAnswer) {
  auto [engine, wildcard] = GetParam();
  test::World world;
  world.config.rate_limit.per_second = 0;
  world.AddZone("example.org.", test::kZoneText);
  world.Build();
  Publisher publisher(world.generation);
  QueryLog log(0);
  UdpWorkerOptions options;
  options.engine = engine;
  auto any = net::Address::V4(
      {static_cast<uint8_t>(wildcard ? 0 : 127), 0, 0, static_cast<uint8_t>(wildcard ? 0 : 1)}, 0);
  auto fd = BindUdp(any, options);
  ASSERT_TRUE(fd.has_value()) << fd.error();
  sockaddr_in bound{};
  socklen_t bound_size = sizeof bound;
  ASSERT_EQ(getsockname(fd->get(), reinterpret_cast<sockaddr*>(&bound), &bound_size), 0);
  bound.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  constexpr uint16_t kQueries = 200;
  Socket client;
  // A connected socket hears from the address that was asked, and no other.
  ASSERT_EQ(connect(client.fd.get(), reinterpret_cast<const sockaddr*>(&bound), sizeof bound), 0);
  // Asked before the worker runs: its turns are full, and end within a run.
  for (uint16_t id = 0; id < kQueries; ++id) {
    Bytes packet = QueryBuilder{}.Build();
    Put16(packet.data(), id);
    ASSERT_GT(send(client.fd.get(), packet.data(), packet.size(), 0), 0);
  }
  UdpWorker worker(std::move(*fd), any, options, world.config, publisher.AddReader(), &log);
  worker.Start();
  for (uint16_t id = 0; id < kQueries; ++id) {
    std::string answer = client.Receive();
    ASSERT_GT(answer.size(), kHeaderBytes);
    EXPECT_EQ(Get16(reinterpret_cast<const uint8_t*>(answer.data())), id);
    EXPECT_EQ(answer[3] & 0x0f, 0);
  }
  worker.Stop(true);
  worker.Join();
  EXPECT_EQ(worker.counters().send_errors.Get(), 0u);
}

INSTANTIATE_TEST_SUITE_P(
    Engines, UdpWorkerTest,
    testing::Combine(testing::Values(UdpEngine::kRecvmmsg, UdpEngine::kIoUring), testing::Bool()));

}  // namespace
}  // namespace dns
