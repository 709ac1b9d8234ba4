// The serial of a zone never goes back, whatever ends the process.
#include "dns/control/serials.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "dns/zone/digest.h"
#include "tests/dns/dns_fixture.h"

namespace dns {
namespace {

using Result = std::pair<uint32_t, bool>;

TEST(SerialsTest, AnotherContentGetsAHigherSerialAndTheSameContentKeepsIts) {
  Serials serials;
  EXPECT_EQ(serials.For("a.", 7, 1), Result(7, true));
  EXPECT_EQ(serials.For("a.", 7, 1), Result(7, false));
  EXPECT_EQ(serials.For("a.", 7, 2), Result(8, true));
  EXPECT_EQ(serials.For("a.", 7, 1), Result(9, true));
  EXPECT_EQ(serials.For("b.", 3, 1), Result(3, true));  // each zone its own
}

TEST(SerialsTest, AnEditedFileNeverTakesTheSerialBackOrRepeatsIt) {
  Serials serials;
  serials.For("a.", 7, 1);
  for (uint64_t content = 2; content < 12; ++content) serials.For("a.", 7, content);
  EXPECT_EQ(serials.Current("a.", 7), 17u);
  EXPECT_EQ(serials.For("a.", 8, 50), Result(18, true));     // the operator counted up by one
  EXPECT_EQ(serials.For("a.", 17, 51), Result(19, true));    // to one that was there
  EXPECT_EQ(serials.For("a.", 100, 52), Result(100, true));  // beyond
  EXPECT_EQ(serials.For("a.", 5, 52), Result(100, false));   // back, with nothing else changed
  EXPECT_EQ(serials.For("a.", 5, 53), Result(101, true));
}

TEST(SerialsTest, CountsOnOverTheEndOfTheNumbers) {
  Serials serials;
  serials.For("a.", 0xffffffff, 1);
  EXPECT_EQ(serials.For("a.", 0xffffffff, 2), Result(0, true));
  EXPECT_EQ(serials.For("a.", 0xffffffff, 3), Result(1, true));
  EXPECT_EQ(serials.For("a.", 0x80000001, 4), Result(2, true));  // not newer than 1
}

TEST(SerialsTest, GoesOnAfterTheProcessWasKilled) {
  Serials serials;
  serials.For("a.", 7, 1);
  serials.For("a.", 7, 2);
  Serials next;
  next.Restore(serials.all(), true);
  EXPECT_EQ(next.For("a.", 7, 2), Result(8, false));
  EXPECT_EQ(next.For("a.", 7, 3), Result(9, true));
}

TEST(SerialsTest, GoesOnAboveTheReserveAfterTheMachineWentDown) {
  Serials serials;
  serials.For("a.", 7, 1);
  ASSERT_TRUE(serials.NeedsDurable());
  serials.Reserve();
  auto durable = serials.all();  // what the disk has
  uint32_t last = 0;
  for (uint64_t content = 2; content < 2 + Serials::kReserve - 1; ++content) {
    last = serials.For("a.", 7, content).first;
    ASSERT_FALSE(serials.NeedsDurable()) << content;
  }
  Serials next;
  next.Restore(durable, false);
  auto [serial, fresh] = next.For("a.", 7, 12345);
  EXPECT_TRUE(SerialIsNewer(serial, last));
  EXPECT_TRUE(fresh);
  while (!serials.NeedsDurable()) serials.For("a.", 7, ++last);
}

TEST(SerialsTest, BeginsWithTheClockWhereNothingIsRemembered) {
  Serials serials;
  serials.SetFloor(1'700'000'000);
  EXPECT_EQ(serials.For("a.", 7, 1), Result(1'700'000'000, true));
  EXPECT_EQ(serials.For("b.", 2'026'112'701, 1), Result(2'026'112'701, true));
}

TEST(ContentDigestTest, HoldsAllButTheSerial) {
  Zone zone;
  zone.apex = test::N("example.org.");
  auto add = [](Zone& to, const char* text) {
    auto record = ReadRecord(text, test::N("example.org."), 60);
    ASSERT_TRUE(record.has_value()) << record.error();
    ASSERT_TRUE(AddRecord(to, *record).has_value());
  };
  add(zone, "@ 60 IN SOA ns h 1 2 3 4 5");
  add(zone, "www 60 IN A 192.0.2.1");
  uint64_t digest = ContentDigest(zone);
  Zone other = zone;
  SetSoaSerial(other.names[zone.apex][Type::kSoa].rdatas[0], 99);
  EXPECT_EQ(ContentDigest(other), digest);
  add(other, "www 60 IN A 192.0.2.2");
  EXPECT_NE(ContentDigest(other), digest);
  Zone ttl = zone;
  ttl.names[test::N("www.example.org.")][Type::kA].ttl = 61;
  EXPECT_NE(ContentDigest(ttl), digest);
}

}  // namespace
}  // namespace dns
