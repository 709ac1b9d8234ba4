#include "dns/wire/name.h"

#include <gtest/gtest.h>

#include <array>
#include <random>
#include <string>
#include <vector>

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

// The order as RFC 4034 §6.1 has it, label by label.
std::strong_ordering OrderOf(const Name& a, const Name& b) {
  auto labels = [](const Name& name) {
    std::vector<Bytes> found;
    for (size_t at = 0; name.wire()[at] != 0; at += name.wire()[at] + 1u) {
      ByteView label = name.wire().subspan(at + 1, name.wire()[at]);
      found.emplace(found.begin(), label.begin(), label.end());
    }
    return found;
  };
  return labels(a) <=> labels(b);
}

TEST(NameTest, AnyTwoNamesAreOrderedByTheirLabels) {
  // Few values of bytes, lengths among them: ends that are alike though their labels are not, whole
  // names at the ends of others, labels that begin alike.
  std::mt19937 random(7);
  auto below = [&](unsigned n) { return static_cast<unsigned>(random() % n); };
  std::vector<Name> names;
  for (int i = 0; i < 600; ++i) {
    Bytes wire;
    for (unsigned labels = below(5); labels > 0; --labels) {
      unsigned size = 1 + below(below(4) == 0 ? 12 : 3);
      wire.push_back(static_cast<uint8_t>(size));
      for (unsigned j = 0; j < size; ++j) {
        constexpr std::array<uint8_t, 6> kBytes = {1, 2, 3, 'a', 'b', 0xff};
        wire.push_back(kBytes[below(kBytes.size())]);
      }
    }
    wire.push_back(0);
    names.push_back(*Name::FromWire(wire));
  }
  for (const Name& a : names) {
    for (const Name& b : names) {
      ASSERT_EQ(a <=> b, OrderOf(a, b)) << a.ToString() << " " << b.ToString();
    }
  }
}

TEST(NameTest, ANameWithoutEscapesIsReadAsOneWithThem) {
  Name origin = N("Example.org.");
  const std::string at_most(63, 'x');
  for (const std::string& text :
       {std::string("a"), std::string("A.b"), std::string("a.b."), std::string("x.y.z"), at_most,
        at_most + ".", at_most + "." + at_most + "." + at_most + "." + at_most,
        at_most + "." + at_most + "." + at_most + "." + std::string(61, 'y') + ".",
        at_most + "." + at_most + "." + at_most + "." + std::string(62, 'y') + ".",
        at_most + "." + at_most + "." + at_most + "." + std::string(49, 'y'),
        at_most + "." + at_most + "." + at_most + "." + std::string(50, 'y'), at_most + "x",
        std::string("a..b"), std::string(".a"), std::string(".."), std::string("a..")}) {
    // The first character written as an escape means the same.
    std::string escaped = text;
    if (text[0] != '.') escaped = "\\" + text;
    auto plain = Name::FromText(text, origin);
    auto other = Name::FromText(escaped, origin);
    ASSERT_EQ(plain.has_value(), other.has_value()) << text;
    if (plain) {
      EXPECT_EQ(*plain, *other) << text;
    } else {
      EXPECT_EQ(plain.error(), other.error()) << text;
    }
  }
}

}  // namespace
}  // namespace dns
