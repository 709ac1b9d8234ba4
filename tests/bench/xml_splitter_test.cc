#include "bench/load/xmpp/xml_splitter.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "bench/load/xmpp/xml_view.h"

namespace bench {
namespace {

using testing::ElementsAre;

// All items of `text`, fed `step` bytes at a time, as a socket would give them.
std::vector<std::string> SplitBy(std::string_view text, std::size_t step) {
  XmlSplitter splitter;
  std::vector<std::string> items;
  std::string rest;
  while (!text.empty()) {
    rest += text.substr(0, step);
    text.remove_prefix(std::min(step, text.size()));
    std::string_view data = rest;
    while (true) {
      const XmlItem item = splitter.Next(data);
      const std::string shown = std::string(ToString(item.kind)) + " " + std::string(item.text);
      data.remove_prefix(splitter.Used());
      if (item.kind == XmlKind::kNeedMore) break;
      items.push_back(shown);
      if (item.kind == XmlKind::kError) return items;
    }
    rest = std::string(data);
  }
  return items;
}

TEST(XmlSplitter, CutsAStreamWhateverThePiecesAre) {
  const std::string_view stream =
      "<?xml version='1.0'?> <stream:stream to='a>b' version=\"1.0\">"
      "<stream:features><bind xmlns='x'/><a><b/></a></stream:features>\n \n"
      "<message id='1'><body>hi &lt; ho</body></message><r xmlns='urn:xmpp:sm:3'/>"
      "<message><![CDATA[</message>]]><x/></message> </stream:stream>";
  for (std::size_t step = 1; step <= stream.size(); ++step) {
    EXPECT_THAT(
        SplitBy(stream, step),
        ElementsAre("open <stream:stream to='a>b' version=\"1.0\">",
                    "element <stream:features><bind xmlns='x'/><a><b/></a></stream:features>",
                    "element <message id='1'><body>hi &lt; ho</body></message>",
                    "element <r xmlns='urn:xmpp:sm:3'/>",
                    "element <message><![CDATA[</message>]]><x/></message>",
                    "close </stream:stream>"))
        << step;
  }
}

TEST(XmlSplitter, KeepsNoWhiteSpaceBetweenElements) {
  XmlSplitter splitter;
  splitter.Next("<stream:stream>");
  EXPECT_EQ(splitter.Next("   \n").kind, XmlKind::kNeedMore);
  EXPECT_EQ(splitter.Used(), 4U);
}

TEST(XmlSplitter, BeginsAnewAfterAReset) {
  XmlSplitter splitter;
  EXPECT_EQ(splitter.Next("<stream:stream>").kind, XmlKind::kOpen);
  splitter.Reset();
  EXPECT_EQ(splitter.Next("<?xml version='1.0'?><stream:stream>").kind, XmlKind::kOpen);
}

TEST(XmlSplitter, WhatXmppForbidsIsAnError) {
  EXPECT_THAT(SplitBy("<s><!-- no comment --></s>", 1), ElementsAre("open <s>", "error "));
  EXPECT_THAT(SplitBy("</stream>", 1), ElementsAre("error </stream>"));
}

TEST(XmlView, FindsNamesAttributesAndTexts) {
  const std::string_view element =
      "<iq type='result'  id=\"b>1\" \n from = 'a@b'><bind xmlns='x'><jid>u@d/r</jid></bind></iq>";
  EXPECT_EQ(LocalName(element), "iq");
  EXPECT_EQ(LocalName("<stream:features/>"), "features");
  EXPECT_EQ(Attribute(element, "type"), "result");
  EXPECT_EQ(Attribute(element, "id"), "b>1");
  EXPECT_EQ(Attribute(element, "from"), "a@b");
  EXPECT_EQ(Attribute(element, "xmlns"), "") << "it is the child's";
  EXPECT_EQ(ChildText(element, "jid"), "u@d/r");
  EXPECT_EQ(ChildText(element, "ji"), "");
  EXPECT_EQ(OwnText("<challenge xmlns='x'>abc=</challenge>"), "abc=");
  EXPECT_EQ(OwnText("<success xmlns='x'/>"), "");
}

TEST(XmlView, AnErrorSaysItsConditionAndItsText) {
  EXPECT_EQ(ErrorReason("<message type='error'><body>x</body><error type='wait'><a:busy xmlns='u'/>"
                        "<text xmlns='u'>later</text></error></message>"),
            "busy: later");
  EXPECT_EQ(ErrorReason("<message type='error'><error><item-not-found/></error></message>"),
            "item-not-found");
  EXPECT_EQ(ErrorReason("<message type='error'><body>x</body></message>"), "no reason");
}

TEST(XmlView, AMechanismIsFoundByItsWholeName) {
  const std::string_view features =
      "<features><mechanisms><mechanism>SCRAM-SHA-1-PLUS</mechanism>"
      "<mechanism>PLAIN</mechanism></mechanisms></features>";
  EXPECT_TRUE(HasChildWithText(features, "mechanism", "PLAIN"));
  EXPECT_FALSE(HasChildWithText(features, "mechanism", "SCRAM-SHA-1"));
}

TEST(XmlView, EscapesWhatXmlReserves) {
  EXPECT_EQ(Escaped("a<'&\">"), "a&lt;&apos;&amp;&quot;&gt;");
}

}  // namespace
}  // namespace bench
