#include "net/base/text.h"

#include <gtest/gtest.h>

namespace net {
namespace {

TEST(Text, PlainTextAndUtf8StayAsTheyAre) {
  EXPECT_EQ(Printable("node-1 is up"), "node-1 is up");
  EXPECT_EQ(Printable("zürich \xf0\x9f\x9a\x80"), "zürich \xf0\x9f\x9a\x80");
  EXPECT_EQ(Quoted("a"), "'a'");
}

TEST(Text, ControlCharactersNeverComeOut) {
  EXPECT_EQ(Printable("a\nb\r\t\x1b[31m\x7f"), "a\\nb\\r\\t\\x1b[31m\\x7f");
  EXPECT_EQ(Printable(std::string_view("\0x", 2)), "\\x00x");
  EXPECT_EQ(Printable("\xc2\x9b"), "\\x9b");  // CSI among the C1 controls
  EXPECT_EQ(Printable("\xe2\x80\xae"
                      "abc"),
            "\\u202eabc");  // right-to-left override
}

TEST(Text, BytesThatAreNoUtf8AreEscapedOneByOne) {
  EXPECT_EQ(Printable("\xff\xc3"), "\\xff\\xc3");
  EXPECT_EQ(Printable("\xc0\xaf"), "\\xc0\\xaf");                    // overlong slash
  EXPECT_EQ(Printable("\xe0\x80\xaf"), "\\xe0\\x80\\xaf");           // overlong too
  EXPECT_EQ(Printable("\xed\xa0\x80"), "\\xed\\xa0\\x80");           // a surrogate
  EXPECT_EQ(Printable("\xf4\x90\x80\x80"), "\\xf4\\x90\\x80\\x80");  // above U+10FFFF
  EXPECT_EQ(Printable("\xe2\x82"), "\\xe2\\x82");                    // cut off
}

TEST(Text, QuotesAndBackslashesAreEscaped) { EXPECT_EQ(Printable(R"(a"b\c)"), R"(a\"b\\c)"); }

TEST(Text, LongTextIsCut) {
  EXPECT_EQ(Printable("abcdef", 3), "abc...");
  EXPECT_EQ(Printable("abc", 3), "abc");
  EXPECT_EQ(Printable("ab\xc3\xbc"
                      "d",
                      3),
            "ab\xc3\xbc...");  // never inside a character
}

TEST(Text, JsonStringsAreValidJson) {
  std::string out;
  AppendJsonString(out, "a\"\\\n\xff\xc3\xbc\x1b");
  EXPECT_EQ(out, "\"a\\\"\\\\\\u000a\\ufffd\xc3\xbc\\u001b\"");
  out.clear();
  AppendJsonString(out, "abcdef", 2);
  EXPECT_EQ(out, "\"ab...\"");
}

TEST(Text, WhatMeansSomethingInXmlAndHtmlIsAnEntity) {
  EXPECT_EQ(EscapeMarkup("a<b>&'c'\"d\""), "a&lt;b&gt;&amp;&apos;c&apos;&quot;d&quot;");
  EXPECT_EQ(EscapeMarkup("plain \xc3\xa9"), "plain \xc3\xa9");
  EXPECT_EQ(EscapeMarkup(""), "");
}

}  // namespace
}  // namespace net
