#include "dns/zone/zone.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "dns/zone/name_place.h"
#include "dns/zone/zone_text.h"
#include "tests/dns/dns_fixture.h"

namespace dns {
namespace {

using test::N;
using testing::Contains;
using testing::HasSubstr;

Zone Parse(std::string_view lines) {
  Zone zone;
  zone.apex = N("example.org.");
  size_t at = 0;
  while (at < lines.size()) {
    size_t end = lines.find('\n', at);
    auto record = ReadRecord(lines.substr(at, end - at), zone.apex, 60);
    EXPECT_TRUE(record.has_value()) << lines.substr(at, end - at);
    EXPECT_TRUE(record && AddRecord(zone, *record).has_value());
    at = end + 1;
  }
  return zone;
}

constexpr std::string_view kSmallestZone = "@ 60 IN SOA ns h 1 2 3 4 5\n@ 60 IN NS ns\n";

TEST(ZoneTest, AGoodZoneHasNoMistakes) {
  EXPECT_TRUE(FindMistakes(Parse(std::string(kSmallestZone) + "ns 60 IN A 192.0.2.1\n")).empty());
}

TEST(ZoneTest, MistakesAreAllNamed) {
  Zone zone = Parse(
      "a 60 IN CNAME b\na 60 IN A 192.0.2.1\nd 60 IN DNAME e\nx.d 60 IN A 192.0.2.1\n*.w 60 IN NS "
      "n\n");
  auto mistakes = FindMistakes(zone);
  EXPECT_THAT(mistakes, Contains(HasSubstr("no SOA")));
  EXPECT_THAT(mistakes, Contains(HasSubstr("no NS")));
  EXPECT_THAT(mistakes, Contains(HasSubstr("a.example.org. has a CNAME beside")));
  EXPECT_THAT(mistakes, Contains(HasSubstr("x.d.example.org. is below the DNAME")));
  EXPECT_THAT(mistakes, Contains(HasSubstr("wildcard with NS")));
}

TEST(ZoneTest, APoolMayNotStandWhereRecordsStand) {
  Zone zone = Parse(std::string(kSmallestZone) + "xmpp 60 IN A 192.0.2.1\n" +
                    "_xmpp-client._tcp 60 IN SRV 0 0 1 a\n");
  zone.pools.push_back({0, N("xmpp.example.org."), N("example.org."), {{"xmpp-client", 5222}}, {}});
  auto mistakes = FindMistakes(zone);
  EXPECT_THAT(mistakes, Contains(HasSubstr("xmpp.example.org. has addresses of a pool")));
  EXPECT_THAT(mistakes, Contains(HasSubstr("_xmpp-client._tcp.example.org. has a pool's SRV")));
}

TEST(ZoneTest, RecordsOutsideOfTheZoneAndMixedTtlsAreRefused) {
  Zone zone = Parse(kSmallestZone);
  auto outside = ReadRecord("www.example.com. 60 IN A 192.0.2.1", zone.apex, 60);
  EXPECT_THAT(AddRecord(zone, *outside).error(), HasSubstr("outside of the zone"));
  ASSERT_TRUE(AddRecord(zone, *ReadRecord("w 60 IN A 192.0.2.1", zone.apex, 60)).has_value());
  EXPECT_THAT(AddRecord(zone, *ReadRecord("w 61 IN A 192.0.2.2", zone.apex, 60)).error(),
              HasSubstr("one TTL"));
  // The same record twice is once.
  EXPECT_TRUE(AddRecord(zone, *ReadRecord("w 60 IN A 192.0.2.1", zone.apex, 60)).has_value());
  EXPECT_EQ(zone.names[N("w.example.org.")][Type::kA].rdatas.size(), 1u);
}

TEST(ZoneTest, WhatSigningMakesIsRefusedInAZone) {
  EXPECT_FALSE(ReadRecord("x 60 IN NSEC y. A", N("example.org."), 60).has_value());
}

TEST(ZoneTest, TextIsReadBackAsItWasPrinted) {
  for (const char* line :
       {"example.org.\t60\tIN\tMX\t10 mail.example.org.", "x.example.org.\t60\tIN\tTXT\t\"a b\"",
        "x.example.org.\t60\tIN\tAAAA\t2001:db8::1"}) {
    auto record = ReadRecord(line, N("."), 60);
    ASSERT_TRUE(record.has_value()) << line;
    EXPECT_EQ(ToText(*record), line);
  }
}

TEST(NamePlaceTest, WildcardsEmptyNonTerminalsCutsAndDnamesAreTold) {
  Zone zone = Parse(std::string(kSmallestZone) +
                    "ns 60 IN A 192.0.2.1\n*.w 60 IN A 192.0.2.2\na.b.c 60 IN A 192.0.2.3\n"
                    "sub 60 IN NS ns.sub\nns.sub 60 IN A 192.0.2.4\nd 60 IN DNAME elsewhere.\n");
  std::set<Name> more = {N("_xmpp-client._tcp.example.org.")};
  auto place = [&](std::string_view name) { return FindPlace(zone, N(name), more); };
  EXPECT_EQ(place("example.org."), (NamePlace{NameKind::kThere, N("example.org.")}));
  EXPECT_EQ(place("_xmpp-client._tcp.example.org.").kind, NameKind::kThere);
  EXPECT_EQ(place("_tcp.example.org.").kind, NameKind::kEmptyNonTerminal);
  EXPECT_EQ(place("b.c.example.org.").kind, NameKind::kEmptyNonTerminal);
  EXPECT_EQ(place("w.example.org.").kind, NameKind::kEmptyNonTerminal);
  NamePlace wild{NameKind::kFromWildcard, N("*.w.example.org.")};
  EXPECT_EQ(place("x.w.example.org."), wild);
  EXPECT_EQ(place("x.y.w.example.org."), wild);
  EXPECT_EQ(place("x.c.example.org.").kind, NameKind::kAbsent);
  EXPECT_EQ(place("x.example.org.").kind, NameKind::kAbsent);
  NamePlace cut{NameKind::kDelegated, N("sub.example.org.")};
  EXPECT_EQ(place("sub.example.org."), cut);
  EXPECT_EQ(place("x.ns.sub.example.org."), cut);
  EXPECT_EQ(place("d.example.org.").kind, NameKind::kThere);
  EXPECT_EQ(place("x.d.example.org."), (NamePlace{NameKind::kBelowDname, N("d.example.org.")}));
}

}  // namespace
}  // namespace dns
