// What one answer costs, without sockets.
#include <benchmark/benchmark.h>

#include <memory>
#include <string>

#include "dns/answer/compile.h"
#include "dns/answer/responder.h"
#include "dns/pool/pool_sets.h"
#include "dns/zone/zone_text.h"

namespace {

using namespace dns;  // NOLINT: a program of its own

struct World {
  ResponderConfig config;
  SignatureStore signatures{14 * 86400, 3 * 86400};
  std::unique_ptr<Compiler> compiler;
  std::vector<PoolView> views;
  std::vector<PoolConfig> pools;
  std::shared_ptr<const Generation> generation;
  std::unique_ptr<Responder> responder;

  World(size_t balancers, bool sign) {
    config.cookie_secrets = {{1}};
    PoolConfig pool;
    pool.name = "p";
    for (size_t i = 1; i <= balancers; ++i) {
      pool.balancers.push_back(
          {"lb" + std::to_string(i), {net::Address::V4({10, 0, 0, static_cast<uint8_t>(i)}, 0)}});
    }
    pools.push_back(pool);
    auto zone = std::make_shared<Zone>();
    zone->apex = *Name::FromText("bench.test.");
    for (const char* line : {"@ 60 IN SOA ns h 1 2 3 4 5", "@ 60 IN NS ns", "ns 60 IN A 192.0.2.1",
                             "*.w 60 IN A 192.0.2.2"}) {
      static_cast<void>(AddRecord(*zone, *ReadRecord(line, zone->apex, 60)));
    }
    PoolUse use{0, *zone->apex.Child("www8"), zone->apex, {{"xmpp-client", 5222}}, {}};
    for (const auto& balancer : pool.balancers) {
      use.hosts.push_back(*use.addresses_at.Child(balancer.name));
    }
    zone->pools.push_back(use);
    AddHosts(*zone, pools);
    std::shared_ptr<const ZoneKeys> keys;
    if (sign) {
      keys = std::make_shared<const ZoneKeys>(std::make_shared<const SigningKey>(
          SigningKey::Generate(zone->apex, Algorithm::kEcdsaP256Sha256)));
    }
    std::vector<BalancerLive> live(balancers);
    views.push_back(MakeView(pool, live, {}));
    compiler = std::make_unique<Compiler>(std::vector<ZoneInput>{{zone, keys}}, pools, 1);
    generation = compiler->Build(views, 1'700'000'000, signatures);
    config.rate_limit.per_second = 0;
    responder = std::make_unique<Responder>(config, 1);
  }
};

Bytes MakeQuery(std::string_view name, uint16_t type, bool dnssec) {
  Bytes out = {0, 1, 1, 0, 0, 1, 0, 0, 0, 0, 0, static_cast<uint8_t>(dnssec ? 1 : 0)};
  Append(out, Name::FromText(name)->wire());
  Append16(out, type);
  Append16(out, 1);
  if (dnssec) Append(out, Bytes{0, 0, 41, 4, 208, 0, 0, 0x80, 0, 0, 0});
  return out;
}

void Answer(benchmark::State& state, size_t balancers, bool sign, const char* name, uint16_t type) {
  World world(balancers, sign);
  Bytes query = MakeQuery(name, type, sign);
  std::vector<uint8_t> out(kUdpBytesMax);
  Client client{net::Address::V4({192, 0, 2, 1}, 0), Transport::kUdp};
  Now now{1'700'000'000, 1000};
  for (auto _ : state) {
    Reply reply = world.responder->Respond(*world.generation, client, query, out, now);
    benchmark::DoNotOptimize(reply.size);
  }
}

BENCHMARK_CAPTURE(Answer, eight_a, 8, false, "www8.bench.test.", 1);
BENCHMARK_CAPTURE(Answer, eight_of_32_a, 32, false, "www8.bench.test.", 1);
BENCHMARK_CAPTURE(Answer, eight_a_signed, 8, true, "www8.bench.test.", 1);
BENCHMARK_CAPTURE(Answer, srv_with_addresses, 8, false, "_xmpp-client._tcp.bench.test.", 33);
BENCHMARK_CAPTURE(Answer, nxdomain, 8, false, "not.there.bench.test.", 1);
BENCHMARK_CAPTURE(Answer, nodata, 8, false, "www8.bench.test.", 16);
BENCHMARK_CAPTURE(Answer, wildcard, 8, false, "a.b.w.bench.test.", 1);
BENCHMARK_CAPTURE(Answer, refused, 8, false, "www.elsewhere.test.", 1);
BENCHMARK_CAPTURE(Answer, nxdomain_signed_again, 8, true, "not.there.bench.test.", 1);

void ParseHostile(benchmark::State& state, Bytes packet) {
  Query query;
  for (auto _ : state) {
    benchmark::DoNotOptimize(ParseQuery(packet, query));
  }
}

Bytes PointerChain() {
  Bytes packet = {0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0};
  while (packet.size() < 65'000) Append16(packet, 0xc000u | ((packet.size() - 2) & 0x3fff));
  return packet;
}

Bytes ManyOptions() {
  Bytes packet = MakeQuery("www8.bench.test.", 1, true);
  packet.resize(packet.size() - 2);
  Append16(packet, 65'000);
  for (int i = 0; i < 16'250; ++i) Append(packet, Bytes{0, 3, 0, 0});
  return packet;
}

Bytes ManyRecords() {
  Bytes packet = MakeQuery("www8.bench.test.", 1, false);
  Put16(packet.data() + 10, 4000);
  for (int i = 0; i < 4000; ++i) {
    Append(packet, Bytes{0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4, 1, 2, 3, 4});
  }
  return packet;
}

BENCHMARK_CAPTURE(ParseHostile, pointer_chain_64k, PointerChain());
BENCHMARK_CAPTURE(ParseHostile, options_64k, ManyOptions());
BENCHMARK_CAPTURE(ParseHostile, records_64k, ManyRecords());

// A health change: the sets of one pool compiled anew, and signed.
void HealthChange(benchmark::State& state, bool sign) {
  World world(8, sign);
  std::vector<BalancerLive> live(8);
  uint32_t turn = 0;
  for (auto _ : state) {
    live[0].standing = ++turn % 2 == 0 ? Standing::kUp : Standing::kDown;
    // Another TTL each time, so that every set is new to the signature store.
    live[1].next_change = std::chrono::seconds(10 + turn % 50);
    world.views[0] = MakeView(world.pools[0], live, world.views[0]);
    world.generation =
        world.compiler->Update(world.views, 1, 1'700'000'000 + turn * 1'000'000, world.signatures);
  }
}
BENCHMARK_CAPTURE(HealthChange, plain, false);
BENCHMARK_CAPTURE(HealthChange, signing, true);

}  // namespace

BENCHMARK_MAIN();
