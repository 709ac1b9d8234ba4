#include "tests/dns/dns_fixture.h"

#include <cstdio>
#include <fstream>

#include "dns/pool/pool_sets.h"
#include "dns/zone/zone_file.h"

namespace dns::test {

Bytes QueryBuilder::Build() const {
  Bytes out;
  Append16(out, id);
  Append16(out, flags);
  Append16(out, 1);
  Append16(out, 0);
  Append16(out, 0);
  Append16(out, edns ? 1 : 0);
  // As written, upper-case letters too.
  for (size_t at = 0; name != "." && at < name.size();) {
    size_t dot = name.find('.', at);
    out.push_back(static_cast<uint8_t>(dot - at));
    out.insert(out.end(), name.begin() + static_cast<std::ptrdiff_t>(at),
               name.begin() + static_cast<std::ptrdiff_t>(dot));
    at = dot + 1;
  }
  out.push_back(0);
  Append16(out, type);
  Append16(out, qclass);
  if (!edns) return out;
  out.push_back(0);
  Append16(out, 41);
  Append16(out, udp_bytes);
  out.push_back(0);
  out.push_back(version);
  Append16(out, (dnssec_ok ? 0x8000u : 0u) | (compact_ok ? 0x4000u : 0u));
  Bytes rdata;
  for (const Option& option : options) {
    Append16(rdata, option.code);
    Append16(rdata, option.data.size());
    Append(rdata, option.data);
  }
  Append16(out, rdata.size());
  Append(out, rdata);
  return out;
}

namespace {

// Reads a name, following pointers backwards only; moves `at` behind it.
Name ReadName(ByteView packet, size_t& at) {
  Bytes wire;
  size_t i = at;
  bool jumped = false;
  size_t limit = packet.size();
  while (true) {
    if (i >= packet.size()) {
      ADD_FAILURE() << "name runs out of the packet";
      return {};
    }
    uint8_t length = packet[i];
    if (length >= 0xc0) {
      size_t target = (Get16(packet.data() + i) & 0x3fffu);
      if (!jumped) at = i + 2;
      jumped = true;
      EXPECT_LT(target, limit) << "pointer does not go back";
      if (target >= limit) return {};
      limit = target;
      i = target;
      continue;
    }
    wire.insert(wire.end(), packet.begin() + static_cast<std::ptrdiff_t>(i),
                packet.begin() + static_cast<std::ptrdiff_t>(i + length + 1u));
    i += length + 1u;
    if (length == 0) break;
  }
  if (!jumped) at = i;
  auto name = Name::FromWire(wire);
  EXPECT_TRUE(name.has_value());
  return name.value_or(Name());
}

// RDATA with its names in full, so that tests compare it with a zone's.
Bytes ReadRdata(ByteView packet, size_t at, size_t size, Type type) {
  Bytes out;
  size_t end = at + size;
  size_t before = type == Type::kMx ? 2 : 0;
  int names = type == Type::kSoa ? 2
              : type == Type::kMx || type == Type::kNs || type == Type::kCname || type == Type::kPtr
                  ? 1
                  : 0;
  Append(out, packet.subspan(at, before));
  at += before;
  for (; names > 0; --names) Append(out, ReadName(packet, at).wire());
  EXPECT_LE(at, end);
  Append(out, packet.subspan(at, end - at));
  return out;
}

void ReadOpt(ByteView rdata, Response& response) {
  while (!rdata.empty()) {
    ASSERT_GE(rdata.size(), 4u);
    size_t size = Get16(rdata.data() + 2);
    ASSERT_GE(rdata.size() - 4, size);
    response.options.push_back(
        {Get16(rdata.data()),
         Bytes(rdata.begin() + 4, rdata.begin() + 4 + static_cast<int>(size))});
    rdata = rdata.subspan(4 + size);
  }
}

}  // namespace

Response ReadResponse(ByteView packet) {
  Response response;
  if (packet.size() < 12) {
    ADD_FAILURE() << "no header in " << packet.size() << " bytes";
    return response;
  }
  response.id = Get16(packet.data());
  response.flags = Get16(packet.data() + 2);
  response.rcode = response.flags & 0xf;
  EXPECT_NE(response.flags & 0x8000, 0) << "QR is not set";
  size_t at = 12;
  size_t questions = Get16(packet.data() + 4);
  EXPECT_LE(questions, 1u);
  if (questions == 1) {
    ReadName(packet, at);
    at += 4;
    response.question_size = at - 12;
  }
  for (size_t section = 1; section <= 3; ++section) {
    size_t count = Get16(packet.data() + 4 + 2 * section);
    for (size_t i = 0; i < count; ++i) {
      Name owner = ReadName(packet, at);
      if (at + 10 > packet.size()) {
        ADD_FAILURE() << "record runs out of the packet";
        return response;
      }
      const uint8_t* fixed = packet.data() + at;
      auto type = static_cast<Type>(Get16(fixed));
      size_t size = Get16(fixed + 8);
      if (at + 10 + size > packet.size()) {
        ADD_FAILURE() << "RDATA runs out of the packet";
        return response;
      }
      if (type == Type::kOpt) {
        EXPECT_FALSE(response.has_opt);
        response.has_opt = true;
        response.udp_bytes = Get16(fixed + 2);
        response.rcode = static_cast<uint16_t>(response.rcode | fixed[4] << 4);
        response.dnssec_ok = (fixed[6] & 0x80) != 0;
        ReadOpt(packet.subspan(at + 10, size), response);
      } else {
        response.records.push_back(
            {owner, type, Get32(fixed + 4), ReadRdata(packet, at + 10, size, type), section});
      }
      at += 10 + size;
    }
  }
  EXPECT_EQ(at, packet.size()) << "bytes behind the last record";
  return response;
}

std::vector<RecordView> Response::Section(size_t section) const {
  std::vector<RecordView> out;
  for (const RecordView& record : records) {
    if (record.section == section) out.push_back(record);
  }
  return out;
}

std::vector<RecordView> Response::Answers(Type type) const {
  std::vector<RecordView> out;
  for (const RecordView& record : records) {
    if (record.section == 1 && record.type == type) out.push_back(record);
  }
  return out;
}

const Option* Response::Find(uint16_t code) const {
  for (const Option& option : options) {
    if (option.code == code) return &option;
  }
  return nullptr;
}

void World::AddZone(std::string_view apex, std::string_view text,
                    std::shared_ptr<const SigningKey> key) {
  AddZone(apex, text, key ? std::make_shared<const ZoneKeys>(std::move(key)) : nullptr);
}

void World::AddZone(std::string_view apex, std::string_view text,
                    std::shared_ptr<const ZoneKeys> keys) {
  auto zone = std::make_shared<Zone>();
  zone->apex = N(apex);
  std::string path = testing::TempDir() + "/zone-" + std::to_string(getpid());
  std::ofstream(path) << text;
  ZoneFileReport report = LoadZoneFile(path, 60, *zone);
  std::remove(path.c_str());
  ASSERT_TRUE(report.mistakes.empty()) << report.mistakes[0];
  sources_.push_back({zone, std::move(keys)});
}

size_t World::AddPool(PoolConfig pool) {
  pools.push_back(std::move(pool));
  std::vector<BalancerLive> live(pools.back().balancers.size());
  views.push_back(MakeView(pools.back(), live, {}));
  return pools.size() - 1;
}

void World::UsePool(size_t pool, std::string_view addresses_at, std::vector<ServiceUse> services,
                    std::string_view services_at, std::vector<BindingUse> bindings) {
  PoolUse use{pool, N(addresses_at), N(services_at), std::move(services), {}, std::move(bindings)};
  for (const BalancerConfig& balancer : pools[pool].balancers) {
    use.hosts.push_back(use.addresses_at.Child(balancer.name).value());
  }
  sources_.back().zone->pools.push_back(std::move(use));
}

void World::Build() {
  std::vector<ZoneInput> inputs;
  for (const Source& source : sources_) {
    auto mistakes = FindMistakes(*source.zone);
    ASSERT_TRUE(mistakes.empty()) << mistakes[0];
    AddHosts(*source.zone, pools);
    inputs.push_back({source.zone, source.keys});
  }
  compiler = std::make_unique<Compiler>(inputs, pools, 1);
  generation = compiler->Build(views, now.unix_seconds, signatures);
  if (!responder) responder = std::make_unique<Responder>(config, 42);
}

void World::SetLive(size_t pool, std::vector<BalancerLive> live) {
  views[pool] = MakeView(pools[pool], live, views[pool]);
  generation = compiler->Update(views, uint64_t{1} << pool, now.unix_seconds, signatures);
}

Bytes World::Ask(const Bytes& packet, Transport transport, std::string_view client) {
  std::vector<uint8_t> out(transport == Transport::kUdp ? kUdpBytesMax : kMessageBytesMax);
  Reply reply = responder->Respond(*generation, {Ip(client), transport}, packet, out, now);
  transfer = reply.transfer;
  out.resize(reply.size);
  return out;
}

Response World::AskFor(const QueryBuilder& query, Transport transport) {
  return ReadResponse(Ask(query.Build(), transport));
}

Response World::AskFor(std::string_view name, Type type) {
  QueryBuilder query;
  query.name = name;
  query.type = static_cast<uint16_t>(type);
  return AskFor(query);
}

PoolConfig MakePool(size_t balancers, bool v6) {
  PoolConfig pool;
  pool.name = "xmpp";
  for (size_t i = 1; i <= balancers; ++i) {
    BalancerConfig balancer;
    balancer.name = "lb" + std::to_string(i);
    balancer.addresses.push_back(Ip("198.51.100." + std::to_string(i)));
    if (v6) balancer.addresses.push_back(Ip("2001:db8::" + std::to_string(i)));
    pool.balancers.push_back(balancer);
  }
  return pool;
}

}  // namespace dns::test
