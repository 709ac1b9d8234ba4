// Any bytes as a query: the responder must give a well-formed response or none, and stay inside of
// its buffers. The first byte chooses the transport.
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <vector>

#include "dns/answer/compile.h"
#include "dns/answer/responder.h"
#include "dns/zone/zone_text.h"

namespace {

using namespace dns;  // NOLINT: a program of its own

void Require(bool holds) {
  if (!holds) std::abort();
}

struct World {
  ResponderConfig config;
  SignatureStore signatures{14 * 86400, 3 * 86400};
  std::shared_ptr<const Generation> generation;
  std::unique_ptr<Responder> responder;

  World() {
    config.nsid = "fuzz";
    config.version = "v";
    config.id = "i";
    config.cookie_secrets = {{1}};
    config.rate_limit.per_second = 1000;
    PoolConfig pool;
    pool.name = "p";
    for (int i = 1; i <= 12; ++i) {
      pool.balancers.push_back(
          {"lb" + std::to_string(i), {net::Address::V4({10, 0, 0, static_cast<uint8_t>(i)}, 0)}});
    }
    std::vector<ZoneInput> zones;
    for (const char* apex : {"example.org.", "signed.org."}) {
      auto zone = std::make_shared<Zone>();
      zone->apex = *Name::FromText(apex);
      for (const char* line :
           {"@ 60 IN SOA ns h 1 2 3 4 5", "@ 60 IN NS ns", "ns 60 IN A 192.0.2.1",
            "*.w 60 IN A 192.0.2.2", "c 60 IN CNAME p", "*.cw 60 IN CNAME p", "s 60 IN NS ns.s",
            "ns.s 60 IN A 192.0.2.3", "t 60 IN TXT x"}) {
        Require(AddRecord(*zone, *ReadRecord(line, zone->apex, 60)).has_value());
      }
      PoolUse use{0, *zone->apex.Child("p"), zone->apex, {{"xmpp-client", 5222}}, {}};
      for (const auto& balancer : pool.balancers) {
        use.hosts.push_back(*use.addresses_at.Child(balancer.name));
      }
      zone->pools.push_back(use);
      std::shared_ptr<const ZoneKeys> keys;
      if (zones.size() == 1) {
        keys = std::make_shared<const ZoneKeys>(std::make_shared<const SigningKey>(
            SigningKey::Generate(zone->apex, Algorithm::kEd25519)));
      }
      zones.push_back({zone, keys});
    }
    std::vector<BalancerLive> live(pool.balancers.size());
    std::vector<PoolView> views = {MakeView(pool, live, {})};
    Compiler compiler(zones, {pool}, 1);
    generation = compiler.Build(views, 1'700'000'000, signatures);
    responder = std::make_unique<Responder>(config, 1);
  }
};

// Walks the whole message: counts, names, pointers that go back, no byte left over.
void CheckResponse(ByteView packet) {
  Require(packet.size() >= kHeaderBytes);
  Require((packet[2] & 0x80) != 0);
  size_t at = kHeaderBytes;
  auto skip_name = [&] {
    while (true) {
      Require(at < packet.size());
      uint8_t length = packet[at];
      if (length >= 0xc0) {
        Require(at + 1 < packet.size());
        Require((Get16(packet.data() + at) & 0x3fffu) < at);
        at += 2;
        return;
      }
      Require(length < 64);
      at += length + 1u;
      if (length == 0) return;
    }
  };
  if (Get16(packet.data() + 4) == 1) {
    skip_name();
    at += 4;
  }
  unsigned records =
      0u + Get16(packet.data() + 6) + Get16(packet.data() + 8) + Get16(packet.data() + 10);
  for (; records > 0; --records) {
    skip_name();
    Require(at + 10 <= packet.size());
    at += 10u + Get16(packet.data() + at + 8);
  }
  Require(at == packet.size());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static World world;
  static uint64_t ms = 0;
  if (size == 0) return 0;
  auto transport = static_cast<Transport>(data[0] % kTransports);
  size_t room = transport == Transport::kUdp ? kUdpBytesMax : kMessageBytesMax;
  std::vector<uint8_t> out(room);
  std::vector<uint8_t> packet(data + 1, data + size);  // so that asan sees reads behind its end
  Client client{net::Address::V4({192, 0, 2, data[0]}, 0), transport};
  Reply reply =
      world.responder->Respond(*world.generation, client, packet, out, {1'700'000'000, ms += 5});
  Require(reply.size <= room);
  if (reply.size == 0) return 0;
  if (transport == Transport::kUdp) Require(reply.size <= 1232);
  CheckResponse(ByteView(out).first(reply.size));
  return 0;
}
