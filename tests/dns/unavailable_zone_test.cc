// A secondary zone that is not there, or has expired, is SERVFAIL, and nothing else is.
#include <gtest/gtest.h>

#include "tests/dns/dns_fixture.h"

namespace dns {
namespace {

using test::N;

class UnavailableZoneTest : public testing::Test {
 protected:
  uint16_t Ask(std::string_view name, uint16_t type) {
    test::QueryBuilder query;
    query.name = std::string(name);
    query.type = type;
    query.edns = true;
    Bytes packet = query.Build();
    Bytes out(kMessageBytesMax);
    Responder responder(config_, 1);
    Reply reply = responder.Respond(*generation_, {test::Ip("192.0.2.200"), Transport::kTcp},
                                    packet, out, {});
    EXPECT_GE(reply.size, kHeaderBytes);
    EXPECT_EQ(out[2] & 4, 0) << "AA of " << name;
    return out[3] & 15;
  }

  void SetUp() override {
    auto parent = MakeZone(N("example."));
    for (const char* line : {"@ 60 IN SOA ns h 1 2 3 4 5", "@ 60 IN NS ns", "org 60 IN NS ns"}) {
      ASSERT_TRUE(AddRecord(*parent, *ReadRecord(line, parent->apex, 60)).has_value());
    }
    Compiler compiler({{parent, nullptr}, {MakeUnavailableZone(N("org.example.")), nullptr}}, {},
                      1);
    compiler.SetOverlay({{N("_acme-challenge.org.example."), Type::kTxt, 5, {1, 'x'}}});
    generation_ = compiler.Build({}, 1'000'000, signatures_);
  }

  ResponderConfig config_;
  SignatureStore signatures_{86'400, 3600};
  std::shared_ptr<const Generation> generation_;
};

TEST_F(UnavailableZoneTest, AllOfItIsServfailWithoutAuthority) {
  constexpr auto kServFail = static_cast<uint16_t>(Rcode::kServFail);
  for (uint16_t type : std::vector<uint16_t>{1, 2, 6, 16, 48, 255}) {
    EXPECT_EQ(Ask("org.example.", type), kServFail) << type;
    EXPECT_EQ(Ask("a.b.org.example.", type), kServFail) << type;
    EXPECT_EQ(Ask("_acme-challenge.org.example.", type), kServFail) << type;
  }
}

}  // namespace
}  // namespace dns
