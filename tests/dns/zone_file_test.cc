#include "dns/zone/zone_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "tests/dns/dns_fixture.h"

namespace dns {
namespace {

using test::N;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

class ZoneFileTest : public testing::Test {
 protected:
  void SetUp() override {
    directory_ = testing::TempDir() + "/zone-file-" + std::to_string(getpid());
    std::filesystem::create_directory(directory_);
    zone_.apex = N("example.org.");
  }
  void TearDown() override { std::filesystem::remove_all(directory_); }

  std::string Write(const std::string& name, std::string_view text) {
    std::string path = directory_ + "/" + name;
    std::ofstream(path) << text;
    return path;
  }
  ZoneFileReport Load(std::string_view text) {
    return LoadZoneFile(Write("zone", text), 300, zone_);
  }
  const Rrset& Set(std::string_view owner, Type type) {
    static const Rrset kNone;
    auto name = zone_.names.find(N(owner));
    if (name == zone_.names.end() || !name->second.contains(type)) return kNone;
    return name->second.at(type);
  }

  std::string directory_;
  Zone zone_;
};

TEST_F(ZoneFileTest, WhatKnotNsdAndBindReadIsRead) {
  Write("more", "inc IN A 192.0.2.30\n@ IN TXT \"of the include\"\n");
  ZoneFileReport report = Load(R"($ttl 1h
@   IN SOA ns1 hostmaster ( 7 ; serial
        1h 10m 1w   ; times
        5m )
    IN NS ns1
ns1 IN 60 A 192.0.2.1        ; class before TTL
ns1 60 IN A 192.0.2.2        ; TTL before class
ns2 120 A 192.0.2.3
    A 192.0.2.4
$Origin low.example.org.
www IN AAAA 2001:db8::1
@   in txt ( "a b" c;d
  "e\"f" )
$ORIGIN example.org.
$INCLUDE more inner.example.org.
    IN TXT "owner of before the include"
dname IN DNAME example.net.
gen TYPE65280 \# 4 01020304
gen2 A \# 4 c0000263
esc\.aped\032x IN A 192.0.2.5
)");
  EXPECT_THAT(report.mistakes, IsEmpty());
  EXPECT_THAT(report.warnings,
              ElementsAre(HasSubstr("zone:9: ns2.example.org. A has the TTL 3600")));
  EXPECT_EQ(Set("example.org.", Type::kSoa).ttl, 3600u);
  EXPECT_EQ(SoaMinimum(Set("example.org.", Type::kSoa).rdatas[0]), 300u);
  EXPECT_EQ(Set("ns1.example.org.", Type::kA).rdatas.size(), 2u);
  EXPECT_EQ(Set("ns1.example.org.", Type::kA).ttl, 60u);
  EXPECT_EQ(Set("ns2.example.org.", Type::kA).ttl, 120u);
  EXPECT_EQ(Set("www.low.example.org.", Type::kAaaa).ttl, 3600u);
  EXPECT_EQ(Set("low.example.org.", Type::kTxt).rdatas[0],
            (Bytes{3, 'a', ' ', 'b', 1, 'c', 3, 'e', '"', 'f'}));
  EXPECT_EQ(Set("inc.inner.example.org.", Type::kA).rdatas.size(), 1u);
  EXPECT_EQ(Set("low.example.org.", Type::kTxt).rdatas.size(), 2u);
  EXPECT_EQ(Set("dname.example.org.", Type::kDname).rdatas.size(), 1u);
  EXPECT_EQ(Set("gen.example.org.", static_cast<Type>(65280)).rdatas[0], (Bytes{1, 2, 3, 4}));
  EXPECT_EQ(Set("gen2.example.org.", Type::kA).rdatas[0], (Bytes{192, 0, 2, 99}));
  EXPECT_EQ(zone_.names.count(N("esc\\.aped\\032x.example.org.")), 1u);
}

TEST_F(ZoneFileTest, EveryMistakeIsToldWithItsOwnFileAndLine) {
  std::string more = Write("more", "\n\nbad IN A 1.2.3\n");
  ZoneFileReport report = Load(R"($TTL foo
@ 60 IN SOA ns h 1 2 3 4 5
@ 60 IN NS ns
a 60 IN CNAME b
a 60 IN A 192.0.2.1
q 60 IN TXT "not closed
c 60 CH TXT "chaos"
d 60 IN NOTYPE 1
*.w 60 IN NS ns
e 60 IN CNAME x
e 60 IN CNAME y
$GENERATE 1-2 a A 1.1.1.1
$INCLUDE more
$INCLUDE missing
s 60 IN SOA ns h 1 2 3 4 5
x) 60 IN A 192.0.2.1
big 99999999999 IN A 192.0.2.1
n 60 IN NSEC a. A
last 60 IN A ( 192.0.2.1
)");
  auto at = [&](int line) { return HasSubstr("/zone:" + std::to_string(line) + ": "); };
  EXPECT_THAT(report.mistakes,
              ElementsAre(at(1), at(5), at(6), at(7), at(8), at(9), at(11), at(12),
                          HasSubstr(more + ":3: "), HasSubstr("missing: cannot be opened"), at(15),
                          at(16), at(17), at(18), at(19)));
}

TEST_F(ZoneFileTest, RecordsOutsideOfTheZoneAreWarnedOfAndLeftOut) {
  ZoneFileReport report = Load(
      "@ 60 IN SOA ns h 1 2 3 4 5\n@ 60 IN NS ns.other.net.\nns.other.net. 60 IN A 192.0.2.1\n");
  EXPECT_THAT(report.mistakes, IsEmpty());
  EXPECT_THAT(report.warnings, ElementsAre(HasSubstr("zone:3: ns.other.net. A is outside")));
  EXPECT_EQ(zone_.names.size(), 1u);
}

TEST_F(ZoneFileTest, LargeSetsAreReadAndTooLargeOnesAreRefusedAtTheirLine) {
  std::string text;
  for (int i = 0; i < 3000; ++i) {
    text += "a 60 IN A 10.0." + std::to_string(i / 256) + "." + std::to_string(i % 256) + "\n";
  }
  EXPECT_THAT(Load(text).mistakes, IsEmpty());
  EXPECT_EQ(Set("a.example.org.", Type::kA).rdatas.size(), 3000u);
  for (int i = 0; i < 501; ++i) {
    text += "a 60 IN A 10.1." + std::to_string(i / 256) + "." + std::to_string(i % 256) + "\n";
  }
  zone_.names.clear();
  EXPECT_THAT(Load(text).mistakes, ElementsAre(HasSubstr("zone:3501: ")));
}

TEST_F(ZoneFileTest, FilesThatIncludeThemselvesEnd) {
  ZoneFileReport report = Load("$INCLUDE zone\n");
  EXPECT_THAT(report.mistakes, ElementsAre(HasSubstr("goes deeper")));
}

TEST(ReadTtlTest, UnitsAndLimits) {
  EXPECT_EQ(ReadTtl("0"), 0u);
  EXPECT_EQ(ReadTtl("1h30m"), 5400u);
  EXPECT_EQ(ReadTtl("2W"), 1'209'600u);
  EXPECT_EQ(ReadTtl("2147483647"), 2147483647u);
  for (const char* bad :
       {"", "foo", "h", "1x", "2147483648", "99999999999999999999", "1hh", "-1"}) {
    EXPECT_FALSE(ReadTtl(bad).has_value()) << bad;
  }
}

}  // namespace
}  // namespace dns
