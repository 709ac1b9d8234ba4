#include "server/xmpp/jid.h"

#include <gtest/gtest.h>

#include <string>

namespace server {
namespace {

std::string Text(std::string_view jid) {
  const auto parsed = Jid::Parse(jid);
  return parsed ? parsed->full() : "refused";
}

TEST(Jid, PartsAreTakenApart) {
  const auto jid = Jid::Parse("Romeo@Montague.Example./orchard/of@roses").value();
  EXPECT_EQ(jid.local(), "romeo");
  EXPECT_EQ(jid.domain(), "montague.example");
  EXPECT_EQ(jid.resource(), "orchard/of@roses");
  EXPECT_EQ(jid.bare(), "romeo@montague.example");
  EXPECT_EQ(jid.full(), "romeo@montague.example/orchard/of@roses");
  EXPECT_EQ(jid.Bare(), Jid::Parse("romeo@montague.example"));
  EXPECT_TRUE(jid.Bare().is_bare());
  EXPECT_FALSE(jid.is_bare());
  const auto domain = Jid::Parse("example.org").value();
  EXPECT_TRUE(domain.is_domain());
  EXPECT_EQ(domain.local(), "");
  EXPECT_EQ(domain.resource(), "");
  const auto anonymous = Jid::Parse("example.org/a@b").value();
  EXPECT_EQ(anonymous.domain(), "example.org");
  EXPECT_EQ(anonymous.resource(), "a@b");
  EXPECT_EQ(domain.With("a@b"), anonymous);
}

TEST(Jid, EqualAddressesAreEqualBytes) {
  EXPECT_EQ(Text("JULIET@EXAMPLE.COM/Balcony"), "juliet@example.com/Balcony");
  EXPECT_EQ(Text("\xc3\x89lo\xc3\xafse@example.org"), "\xc3\xa9lo\xc3\xafse@example.org");
  EXPECT_EQ(Text("stra\xc3\x9f"
                 "e@example.org"),
            "strasse@example.org");
  // A composed letter and the same in two code points.
  EXPECT_EQ(Text("e\xcc\x81@example.org"), Text("\xc3\xa9@example.org"));
  EXPECT_EQ(Text("a@B\xc3\x9c"
                 "CHER.example"),
            "a@b\xc3\xbc"
            "cher.example");
  EXPECT_EQ(Text("a@[::FFFF]"), "a@[::ffff]");
}

TEST(Jid, WhatIsNoAddressIsRefused) {
  for (const std::string_view text : {"",
                                      "@",
                                      "@example.org",
                                      "a@",
                                      "a@/r",
                                      "/r",
                                      "a@example.org/",
                                      "a b@example.org",
                                      "a@b@example.org",
                                      "a\"@example.org",
                                      "a@exa mple.org",
                                      "a@.example.org",
                                      "a@example..org",
                                      "a@-example.org",
                                      "a<b@example.org",
                                      "a@example.org/a\x07",
                                      "a@ex\\ample.org",
                                      "\xe2\x80\xae@example.org",
                                      "a@example.org/\xc3",
                                      "\xc3(@example.org",
                                      "a@[zz]"}) {
    EXPECT_EQ(Text(text), "refused") << text;
  }
  EXPECT_EQ(Text(std::string("a\0b@example.org", 15)), "refused");
  EXPECT_EQ(Text(std::string("\xc3\xa9\0b@example.org", 16)), "refused");
}

TEST(Jid, EachPartHasItsBound) {
  const std::string most(Jid::kPartBytesMax, 'a');
  EXPECT_EQ(Text(most + "@example.org"), most + "@example.org");
  EXPECT_EQ(Text(most + "a@example.org"), "refused");
  EXPECT_EQ(Text("a@example.org/" + most), "a@example.org/" + most);
  EXPECT_EQ(Text("a@example.org/" + most + "a"), "refused");
  EXPECT_EQ(Text("a@" + std::string(64, 'a') + ".org"), "refused");
  // Bytes count, also of what is folded or would be cut inside a letter.
  std::string letters;
  for (int i = 0; i < 511; ++i) letters += "\xc3\xa9";
  EXPECT_EQ(Text(letters + "@example.org"), letters + "@example.org");
  EXPECT_EQ(Text(letters + "\xc3\xa9@example.org"), "refused");
}

TEST(Jid, PasswordsAreSaslPrepared) {
  EXPECT_EQ(PreparePassword("I\xc2\xadX"), "IX");  // RFC 4013 section 3
  EXPECT_EQ(PreparePassword("USER"), "USER");
  EXPECT_EQ(PreparePassword("\xc2\xaa"), "a");
  EXPECT_EQ(PreparePassword("\x07"), std::nullopt);
  EXPECT_EQ(PreparePassword("\xd8\xa7\x31"), std::nullopt);
  EXPECT_EQ(PreparePassword(""), std::nullopt);
}

}  // namespace
}  // namespace server
