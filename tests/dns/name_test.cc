#include "dns/wire/name.h"

#include <gtest/gtest.h>

#include "tests/dns/dns_fixture.h"

namespace dns {
namespace {

using test::N;

TEST(NameTest, ReadsAndPrintsPresentationForm) {
  EXPECT_EQ(N("WWW.Example.org.").ToString(), "www.example.org.");
  EXPECT_EQ(Name::FromText("www", N("example.org."))->ToString(), "www.example.org.");
  EXPECT_EQ(Name::FromText("@", N("example.org."))->ToString(), "example.org.");
  EXPECT_EQ(N(".").size(), 1u);
  EXPECT_EQ(N("*.x.").ToString(), "*.x.");
  EXPECT_EQ(N("a\\.b.c.").label_count(), 2u);
  EXPECT_EQ(N("a\\.b.c.").ToString(), "a\\.b.c.");
  EXPECT_EQ(N("\\000\\255.c.").ToString(), "\\000\\255.c.");
}

TEST(NameTest, WhatIsPrintedNeedsNoEscapingElsewhere) {
  Name name = *Name::FromWire(
      Bytes{12, '<', '"', '&', '\'', '>', '\n', '\\', '{', '}', ' ', 0x7f, 0x80, 0});
  for (char c : name.ToString()) EXPECT_TRUE(c > ' ' && c < 0x7f);
  EXPECT_EQ(Name::FromText(name.ToString()), name);
}

TEST(NameTest, RefusesWhatNoNameMayBe) {
  for (std::string text :
       {std::string(), std::string("a..b."), std::string(".a."), std::string(64, 'x') + ".",
        std::string("a\\"), std::string("\\256."), std::string("\\1."), [] {
          std::string s;
          for (int i = 0; i < 128; ++i) s += "a.";
          return s;
        }()}) {
    EXPECT_FALSE(Name::FromText(text).has_value()) << text;
  }
  EXPECT_FALSE(Name::FromWire(Bytes{}).has_value());
  EXPECT_FALSE(Name::FromWire(Bytes{1, 'a'}).has_value());
  EXPECT_FALSE(Name::FromWire(Bytes{1, 'a', 0, 0}).has_value());
  EXPECT_FALSE(Name::FromWire(Bytes{0xc0, 0}).has_value());
  EXPECT_FALSE(Name::FromWire(Bytes(256, 1)).has_value());
}

TEST(NameTest, IsWithinLooksAtWholeLabels) {
  EXPECT_TRUE(N("a.example.org.").IsWithin(N("example.org.")));
  EXPECT_TRUE(N("example.org.").IsWithin(N("example.org.")));
  EXPECT_TRUE(N("example.org.").IsWithin(N(".")));
  EXPECT_FALSE(N("badexample.org.").IsWithin(N("example.org.")));
  // A label whose bytes look like the ancestor's wire form.
  Name tricky = *Name::FromWire(Bytes{5, 'x', 3, 'o', 'r', 'g', 0});
  EXPECT_FALSE(tricky.IsWithin(N("org.")));
}

TEST(NameTest, CanonicalOrderIsThatOfRfc4034) {
  // The example of §6.1.
  std::vector<std::string> ordered = {"example.",         "a.example.",      "yljkjljk.a.example.",
                                      "z.a.example.",     "zabc.a.example.", "z.example.",
                                      "\\001.z.example.", "*.z.example.",    "\\200.z.example."};
  for (size_t i = 0; i + 1 < ordered.size(); ++i) {
    EXPECT_TRUE((N(ordered[i]) <=> N(ordered[i + 1])) < 0) << ordered[i];
  }
}

}  // namespace
}  // namespace dns
