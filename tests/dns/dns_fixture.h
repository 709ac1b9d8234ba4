// What the DNS tests share: building queries, reading responses (with ldns, our oracle, and with a
// small reader of our own for whole-message checks), and a world of zones and pools.
#pragma once

#include <gtest/gtest.h>

#include <array>
#include <memory>
#include <ostream>
#include <string>
#include <string_view>
#include <vector>

#include "dns/answer/compile.h"
#include "dns/answer/responder.h"
#include "dns/zone/dnssec.h"
#include "dns/zone/zone.h"
#include "dns/zone/zone_text.h"

namespace dns {

// So that failures show names.
inline void PrintTo(const Name& name, std::ostream* out) { *out << name.ToString(); }

}  // namespace dns

namespace dns::test {

inline Name N(std::string_view text) {
  auto name = Name::FromText(text);
  EXPECT_TRUE(name.has_value()) << text;
  return name.value_or(Name());
}

// A new key of example.org.
inline std::shared_ptr<const SigningKey> KeyOfExample(Algorithm algorithm = Algorithm::kEd25519) {
  return std::make_shared<const SigningKey>(SigningKey::Generate(N("example.org."), algorithm));
}

inline net::Address Ip(std::string_view text) { return net::Address::FromIp(text, 0).value(); }

struct Option {
  uint16_t code;
  Bytes data;
};

// Builds a query packet byte by byte, so that every mistake can be made on purpose.
struct QueryBuilder {
  std::string name = "www.example.org.";
  uint16_t type = 1;
  uint16_t qclass = 1;
  uint16_t id = 0x1234;
  uint16_t flags = 0x0100;
  bool edns = false;
  bool dnssec_ok = false;
  bool compact_ok = false;
  uint8_t version = 0;
  uint16_t udp_bytes = 1232;
  std::vector<Option> options = {};

  Bytes Build() const;
};

struct RecordView {
  Name owner;
  Type type;
  uint32_t ttl;
  Bytes rdata;
  size_t section;  // 1 answer, 2 authority, 3 additional
};

// A response, read strictly: any byte out of place is a test failure.
struct Response {
  uint16_t id = 0;
  uint16_t flags = 0;
  uint16_t rcode = 0;  // with the OPT's upper bits
  size_t question_size = 0;
  std::vector<RecordView> records;
  bool has_opt = false;
  uint16_t udp_bytes = 0;
  bool dnssec_ok = false;
  std::vector<Option> options;

  bool aa() const { return (flags & 0x0400) != 0; }
  bool tc() const { return (flags & 0x0200) != 0; }
  std::vector<RecordView> Section(size_t section) const;
  std::vector<RecordView> Answers(Type type) const;
  const Option* Find(uint16_t code) const;
};
Response ReadResponse(ByteView packet);

// Zones, pools, a compiler and a responder around them.
class World {
 public:
  // Zone files as text; the apex is the name given.
  void AddZone(std::string_view apex, std::string_view text,
               std::shared_ptr<const SigningKey> key = nullptr);
  void AddZone(std::string_view apex, std::string_view text, std::shared_ptr<const ZoneKeys> keys);
  size_t AddPool(PoolConfig pool);  // before the zones that use it
  void UsePool(size_t pool, std::string_view addresses_at, std::vector<ServiceUse> services = {},
               std::string_view services_at = "example.org.",
               std::vector<BindingUse> bindings = {});
  void Build();
  void SetLive(size_t pool, std::vector<BalancerLive> live);

  Bytes Ask(const Bytes& packet, Transport transport = Transport::kUdp,
            std::string_view client = "192.0.2.99");
  Response AskFor(const QueryBuilder& query, Transport transport = Transport::kUdp);
  Response AskFor(std::string_view name, Type type);

  ResponderConfig config;
  Now now{1'700'000'000, 1'000'000};
  std::shared_ptr<const Generation> generation;
  std::unique_ptr<Responder> responder;
  std::unique_ptr<Compiler> compiler;
  SignatureStore signatures{14 * 86400, 3 * 86400};
  std::vector<PoolView> views;
  std::vector<PoolConfig> pools;
  const ImageZone* transfer = nullptr;

 private:
  struct Source {
    std::shared_ptr<Zone> zone;
    std::shared_ptr<const ZoneKeys> keys;
  };
  std::vector<Source> sources_;
};

// "lb1", "lb2", … with 198.51.100.1, .2, … and, where told, 2001:db8::1, ….
PoolConfig MakePool(size_t balancers, bool v6 = false);

inline constexpr std::string_view kZoneText = R"(
@ 3600 IN SOA ns1 hostmaster 7 3600 600 86400 300
@ 3600 IN NS ns1
@ 3600 IN NS ns2
ns1 3600 IN A 192.0.2.53
ns2 3600 IN A 192.0.2.54
www 60 IN A 192.0.2.1
www 60 IN A 192.0.2.2
www 60 IN A 192.0.2.3
one 60 IN A 192.0.2.9
@ 600 IN MX 10 mail
mail 600 IN A 192.0.2.25
txt 60 IN TXT "hello" "world"
alias 60 IN CNAME www
chain 60 IN CNAME alias
out 60 IN CNAME www.example.com.
dangling 60 IN CNAME nowhere
deep.a.b 60 IN A 192.0.2.10
*.wild 60 IN A 192.0.2.66
*.wild 60 IN TXT "wild"
there.wild 60 IN A 192.0.2.67
*.wildcname 60 IN CNAME www
sub 3600 IN NS ns1.sub
sub 3600 IN NS ns.other.example.
ns1.sub 3600 IN A 192.0.2.77
srv 60 IN SRV 0 5 5222 one
tlsa 60 IN TLSA 3 1 1 0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef
caa 60 IN CAA 0 issue "ca.example.net"
https 60 IN HTTPS 1 . alpn=h2
ptr 60 IN PTR www
)";

}  // namespace dns::test
