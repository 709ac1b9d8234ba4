#include "server/dist/link_hello.h"

#include <gmock/gmock.h>

namespace server {
namespace {

using ::testing::HasSubstr;

TEST(LinkHelloTest, WhatIsSaidIsRead) {
  const LinkHello said{.wire = 7, .wire_oldest = 5, .features = 0b101, .version = "1.2.3"};
  const Term term = LinkHelloTerm(said);
  auto read = ReadLinkHello(term.view());
  ASSERT_TRUE(read.has_value());
  EXPECT_EQ(read->wire, 7U);
  EXPECT_EQ(read->wire_oldest, 5U);
  EXPECT_EQ(read->features, 0b101U);
  EXPECT_EQ(read->version, "1.2.3");
  EXPECT_EQ(ReadLinkRefusal(term.view()), std::nullopt);
  EXPECT_EQ(ReadLinkRefusal(LinkRefusalTerm("because").view()), "because");
  EXPECT_FALSE(ReadLinkHello(LinkRefusalTerm("because").view()).has_value());
}

TEST(LinkHelloTest, ALaterHelloWithMoreInItIsRead) {
  const Term term = Term::Tuple({Term::Atom("hello"), Term::Integer(9), Term::Integer(1),
                                 Term::Integer(0), Term::Binary("9"), Term::Atom("more")});
  EXPECT_TRUE(ReadLinkHello(term.view()).has_value());
}

TEST(LinkHelloTest, WhatIsNoHelloIsNone) {
  for (const Term& term :
       {Term(), Term::Atom("hello"), Term::Tuple({Term::Atom("hello"), Term::Integer(1)}),
        Term::Tuple({Term::Atom("hello"), Term::Integer(-1), Term::Integer(1), Term::Integer(0),
                     Term::Binary("9")}),
        Term::Tuple({Term::Atom("hello"), Term::Integer(1), Term::Integer(1), Term::Integer(-1),
                     Term::Binary("9")})}) {
    EXPECT_FALSE(ReadLinkHello(term.view()).has_value()) << term.ToText();
  }
}

TEST(LinkHelloTest, VersionsThatMeetShareTheFeaturesOfBoth) {
  const LinkHello old{.wire = 2, .wire_oldest = 1, .features = 0b011, .version = "1"};
  const LinkHello fresh{.wire = 3, .wire_oldest = 2, .features = 0b110, .version = "2"};
  EXPECT_EQ(JudgeHello(old, fresh), 0b010U);
  EXPECT_EQ(JudgeHello(fresh, old), 0b010U);
}

TEST(LinkHelloTest, VersionsThatDoNotMeetAreRefusedInWordsOnBothSides) {
  const LinkHello old{.wire = 1, .wire_oldest = 1, .features = 0, .version = "1.0"};
  const LinkHello fresh{.wire = 3, .wire_oldest = 2, .features = 0, .version = "2.0"};
  auto here = JudgeHello(old, fresh);
  ASSERT_FALSE(here.has_value());
  EXPECT_THAT(here.error(), HasSubstr("2..3 (version 2.0) there, 1..1 (version 1.0) here"));
  EXPECT_THAT(here.error(), HasSubstr("upgrade in smaller steps"));
  EXPECT_FALSE(JudgeHello(fresh, old).has_value());
}

TEST(LinkHelloTest, WordsOfAPeerAreBoundedAndPrintable) {
  EXPECT_LE(ReadLinkRefusal(LinkRefusalTerm(std::string(10'000, 'x')).view())->size(), 600U);
  EXPECT_EQ(ReadLinkRefusal(LinkRefusalTerm("a\nb").view()), "a\\nb");
}

}  // namespace
}  // namespace server
