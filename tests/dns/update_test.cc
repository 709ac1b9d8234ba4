// Dynamic updates (RFC 2136), as far as challenges go.
#include "dns/update/update.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/dns/dns_fixture.h"

namespace dns {
namespace {

using test::N;
using Kind = ChallengeChange::Kind;

class UpdateMessage {
 public:
  UpdateMessage() { bytes_.resize(kHeaderBytes); }
  UpdateMessage& Zone(const char* name, uint16_t type = 6, uint16_t rclass = kClassIn) {
    Append(bytes_, N(name).wire());
    Append16(bytes_, type);
    Append16(bytes_, rclass);
    return Count(4);
  }
  UpdateMessage& Record(size_t section, const char* owner, uint16_t type, uint16_t rclass,
                        uint32_t ttl, const Bytes& rdata) {
    Append(bytes_, N(owner).wire());
    Append16(bytes_, type);
    Append16(bytes_, rclass);
    Append32(bytes_, ttl);
    Append16(bytes_, rdata.size());
    Append(bytes_, rdata);
    return Count(4 + 2 * section);
  }
  UpdateMessage& Need(const char* owner, uint16_t type, uint16_t rclass, const Bytes& rdata = {}) {
    return Record(1, owner, type, rclass, 0, rdata);
  }
  UpdateMessage& Add(const char* owner, const Bytes& rdata, uint16_t type = 16) {
    return Record(2, owner, type, kClassIn, 120, rdata);
  }
  UpdateMessage& Remove(const char* owner, uint16_t type, uint16_t rclass,
                        const Bytes& rdata = {}) {
    return Record(2, owner, type, rclass, 0, rdata);
  }
  const Bytes& bytes() const { return bytes_; }

 private:
  UpdateMessage& Count(size_t at) {
    Put16(bytes_.data() + at, Get16(bytes_.data() + at) + 1u);
    return *this;
  }
  Bytes bytes_;
};

const Bytes kToken = {3, 'a', 'b', 'c'};
constexpr const char* kOwner = "_acme-challenge.www.example.org.";

std::expected<std::vector<ChallengeChange>, UpdateRcode> Judge(
    const UpdateMessage& message, std::vector<std::string> tokens = {}) {
  auto update = ParseUpdate(message.bytes());
  if (!update) return std::unexpected(update.error());
  return JudgeUpdate(*update, [&](const Name& name) {
    return name == N(kOwner) ? tokens : std::vector<std::string>();
  });
}

TEST(UpdateTest, WhatClientsOfAcmeSendIsDone) {
  // lego: the set away, then the record; certbot: the record alone; both: the record away.
  auto lego =
      Judge(UpdateMessage().Zone("example.org.").Remove(kOwner, 16, kClassAny).Add(kOwner, kToken));
  ASSERT_TRUE(lego.has_value());
  EXPECT_EQ(*lego, (std::vector<ChallengeChange>{{Kind::kRemoveAll, N(kOwner), ""},
                                                 {Kind::kAdd, N(kOwner), "abc"}}));
  auto away = Judge(UpdateMessage().Zone("example.org.").Remove(kOwner, 16, kClassNone, kToken));
  ASSERT_TRUE(away.has_value());
  EXPECT_EQ(*away, (std::vector<ChallengeChange>{{Kind::kRemoveOne, N(kOwner), "abc"}}));
  auto all = Judge(UpdateMessage().Zone("example.org.").Remove(kOwner, 255, kClassAny));
  ASSERT_TRUE(all.has_value());
}

TEST(UpdateTest, EverythingElseIsRefused) {
  struct Case {
    UpdateMessage message;
    UpdateRcode rcode;
  };
  const Bytes address = {192, 0, 2, 1};
  for (const Case& c : {
           Case{UpdateMessage().Zone("example.org.").Add("www.example.org.", kToken),
                UpdateRcode::kRefused},
           Case{UpdateMessage().Zone("example.org.").Add("x_acme-challenge.example.org.", kToken),
                UpdateRcode::kRefused},
           Case{UpdateMessage().Zone("example.org.").Add(kOwner, address, 1),
                UpdateRcode::kRefused},
           Case{UpdateMessage().Zone("example.org.").Remove("www.example.org.", 255, kClassAny),
                UpdateRcode::kRefused},
           Case{UpdateMessage().Zone("example.org.").Remove("example.org.", 255, kClassAny),
                UpdateRcode::kRefused},
           Case{UpdateMessage().Zone("example.org.").Add("_acme-challenge.example.com.", kToken),
                UpdateRcode::kNotZone},
           Case{UpdateMessage().Zone("example.org.").Add(kOwner, {}), UpdateRcode::kFormErr},
           Case{UpdateMessage().Zone("example.org.").Add(kOwner, {9, 'a'}), UpdateRcode::kRefused},
           Case{UpdateMessage().Zone("example.org.").Add(kOwner, {1, 'a', 1, 'b'}),
                UpdateRcode::kRefused},
           Case{UpdateMessage().Zone("example.org.").Remove(kOwner, 16, 77, kToken),
                UpdateRcode::kFormErr},
           Case{UpdateMessage().Zone("example.org.").Remove(kOwner, 16, kClassAny, kToken),
                UpdateRcode::kFormErr},
           Case{UpdateMessage().Zone("example.org.").Remove(kOwner, 255, kClassNone, kToken),
                UpdateRcode::kFormErr},
           Case{UpdateMessage().Zone("example.org.", 1), UpdateRcode::kFormErr},
           Case{UpdateMessage().Zone("example.org.", 6, 255), UpdateRcode::kNotAuth},
           Case{UpdateMessage().Zone("example.org.").Zone("example.com."), UpdateRcode::kFormErr},
           Case{UpdateMessage(), UpdateRcode::kFormErr},
       }) {
    auto judged = Judge(c.message);
    ASSERT_FALSE(judged.has_value());
    EXPECT_EQ(static_cast<int>(judged.error()), static_cast<int>(c.rcode));
  }
}

TEST(UpdateTest, PrerequisitesOfChallengesAreChecked) {
  auto judged = [](const UpdateMessage& message, std::vector<std::string> tokens) {
    auto result = Judge(message, std::move(tokens));
    return result ? UpdateRcode::kNoError : result.error();
  };
  auto with = [](uint16_t type, uint16_t rclass, const Bytes& rdata = {}) {
    return UpdateMessage()
        .Zone("example.org.")
        .Need(kOwner, type, rclass, rdata)
        .Add(kOwner, kToken);
  };
  EXPECT_EQ(judged(with(255, kClassAny), {}), UpdateRcode::kNxDomain);
  EXPECT_EQ(judged(with(255, kClassAny), {"x"}), UpdateRcode::kNoError);
  EXPECT_EQ(judged(with(16, kClassAny), {}), UpdateRcode::kNxRrset);
  EXPECT_EQ(judged(with(255, kClassNone), {"x"}), UpdateRcode::kYxDomain);
  EXPECT_EQ(judged(with(16, kClassNone), {"x"}), UpdateRcode::kYxRrset);
  EXPECT_EQ(judged(with(16, kClassNone), {}), UpdateRcode::kNoError);
  EXPECT_EQ(judged(with(16, kClassIn, kToken), {"abc"}), UpdateRcode::kNoError);
  EXPECT_EQ(judged(with(16, kClassIn, kToken), {"abc", "def"}), UpdateRcode::kNxRrset);
  EXPECT_EQ(judged(with(16, kClassIn, {}), {"abc"}), UpdateRcode::kFormErr);
  // Nobody asks here what else is there.
  EXPECT_EQ(
      judged(UpdateMessage().Zone("example.org.").Need("www.example.org.", 255, kClassAny), {}),
      UpdateRcode::kRefused);
}

TEST(UpdateTest, IsBoundedAndReadsPointersBackwardsOnly) {
  UpdateMessage many;
  many.Zone("example.org.");
  for (size_t i = 0; i <= kUpdateRecordsMax; ++i) many.Add(kOwner, kToken);
  EXPECT_EQ(ParseUpdate(many.bytes()).error(), UpdateRcode::kFormErr);
  const Bytes good = UpdateMessage().Zone("example.org.").Add(kOwner, kToken).bytes();
  for (size_t size = 0; size < good.size(); ++size) {
    EXPECT_FALSE(ParseUpdate(ByteView(good).first(size)).has_value()) << size;
  }
  Bytes behind = good;
  behind.push_back(0);
  EXPECT_FALSE(ParseUpdate(behind).has_value());
  // The owner as clients write it: a label and a pointer to the zone's name.
  for (uint8_t target : std::initializer_list<uint8_t>{12, 0, 28, 29, 40, 0xff}) {
    Bytes packet = UpdateMessage().Zone("example.org.").bytes();
    Put16(packet.data() + 8, 1);
    Append(packet, Bytes{15});
    for (char c : std::string("_acme-challenge")) packet.push_back(static_cast<uint8_t>(c));
    Append(packet, Bytes{0xc0, target, 0, 16, 0, 1, 0, 0, 0, 60, 0, 4, 3, 'a', 'b', 'c'});
    auto update = ParseUpdate(packet);
    ASSERT_EQ(update.has_value(), target == 12) << int{target};
    if (target == 12) {
      EXPECT_EQ(update->changes[0].owner, N("_acme-challenge.example.org."));
    }
  }
}

}  // namespace
}  // namespace dns
