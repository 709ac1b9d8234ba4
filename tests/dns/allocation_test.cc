// Answering does not allocate. Its own binary, since it replaces operator new.
#include <gtest/gtest.h>

#include <atomic>
#include <cstdlib>
#include <new>

#include "tests/dns/dns_fixture.h"

namespace {
std::atomic<uint64_t> allocations{0};
}  // namespace

void* operator new(size_t size) {
  allocations.fetch_add(1, std::memory_order_relaxed);
  void* memory = std::malloc(size == 0 ? 1 : size);
  if (memory == nullptr) throw std::bad_alloc();
  return memory;
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, size_t) noexcept { std::free(memory); }

namespace dns {
namespace {

using test::QueryBuilder;
using test::World;

TEST(AllocationTest, TheCounterCounts) {
  uint64_t before = allocations.load();
  auto* sink = new std::vector<int>(100);
  EXPECT_GT(allocations.load(), before);
  delete sink;
}

void ExpectNoAllocation(World& world, const std::vector<QueryBuilder>& queries) {
  std::vector<Bytes> packets;
  for (const QueryBuilder& query : queries) packets.push_back(query.Build());
  Bytes malformed = packets[0];
  malformed.push_back(0);
  packets.push_back(malformed);
  packets.push_back(Bytes(5));
  std::vector<uint8_t> out(kMessageBytesMax);
  Client udp{test::Ip("192.0.2.1"), Transport::kUdp};
  Client tcp{test::Ip("192.0.2.1"), Transport::kTcp};
  uint64_t before = allocations.load();
  size_t bytes = 0;
  for (int round = 0; round < 100; ++round) {
    for (const Bytes& packet : packets) {
      bytes += world.responder->Respond(*world.generation, udp, packet, out, world.now).size;
      bytes += world.responder->Respond(*world.generation, tcp, packet, out, world.now).size;
    }
  }
  EXPECT_EQ(allocations.load() - before, 0u);
  EXPECT_GT(bytes, 100u * packets.size() * 20);
}

std::vector<QueryBuilder> Mix(bool dnssec) {
  std::vector<QueryBuilder> queries;
  for (const char* name : {"xmpp.example.org.", "www.example.org.", "chain.example.org.",
                           "example.org.", "sub.example.org.", "txt.example.org."}) {
    for (uint16_t type :
         std::initializer_list<uint16_t>{1, 28, 33, 15, 6, 2, 16, 255, 65535, 128}) {
      queries.push_back({.name = name,
                         .type = type,
                         .edns = true,
                         .dnssec_ok = dnssec,
                         .options = {{10, Bytes(8, 1)}, {3, {}}}});
      queries.push_back({.name = name, .type = type});
    }
  }
  queries.push_back({.name = "_xmpp-client._tcp.example.org.", .type = 33, .edns = true});
  queries.push_back({.name = "version.bind.", .type = 16, .qclass = 3});
  queries.push_back({.name = "www.example.com."});
  queries.push_back({.name = "example.org.", .type = 252});
  return queries;
}

void Fill(World& world, std::shared_ptr<const SigningKey> key) {
  world.config.rate_limit.per_second = 1000;
  world.config.cookie_secrets = {{1}};
  world.config.nsid = "n";
  world.config.version = "v";
  world.AddPool(test::MakePool(20, true));
  world.AddZone("example.org.", test::kZoneText, std::move(key));
  world.UsePool(0, "xmpp.example.org.", {{"xmpp-client", 5222}});
  world.Build();
}

TEST(AllocationTest, AnswersInUnsignedZonesNeverAllocate) {
  World world;
  Fill(world, nullptr);
  auto queries = Mix(true);
  for (const char* name : {"nowhere.example.org.", "a.b.wild.example.org.", "x.sub.example.org.",
                           "q.wildcname.example.org."}) {
    queries.push_back({.name = name, .edns = true, .dnssec_ok = true});
  }
  ExpectNoAllocation(world, queries);
}

TEST(AllocationTest, SignedAnswersForNamesThatExistNeverAllocate) {
  World world;
  Fill(world, std::make_shared<const SigningKey>(
                  SigningKey::Generate(test::N("example.org."), Algorithm::kEd25519)));
  ExpectNoAllocation(world, Mix(true));
}

TEST(AllocationTest, RateLimitedAnswersNeverAllocate) {
  World world;
  Fill(world, nullptr);
  ExpectNoAllocation(world, Mix(false));
  std::vector<uint8_t> out(kUdpBytesMax);
  Bytes packet = QueryBuilder{}.Build();
  Client client{test::Ip("192.0.2.1"), Transport::kUdp};
  uint64_t before = allocations.load();
  for (int i = 0; i < 5000; ++i) {
    world.responder->Respond(*world.generation, client, packet, out, world.now);
  }
  EXPECT_EQ(allocations.load() - before, 0u);
  EXPECT_GT(world.responder->counters().rrl_dropped.Get(), 1000u);
}

}  // namespace
}  // namespace dns
