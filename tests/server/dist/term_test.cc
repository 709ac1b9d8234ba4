#include "server/dist/term.h"

#include <gmock/gmock.h>

#include "net/base/byte_reader.h"
#include "server/dist/term_writer.h"

namespace server {
namespace {

using ::testing::ElementsAre;

std::vector<uint8_t> FromHex(std::string_view hex) {
  std::vector<uint8_t> bytes;
  for (size_t i = 0; i + 1 < hex.size(); i += 2) {
    bytes.push_back(static_cast<uint8_t>(std::stoul(std::string(hex.substr(i, 2)), nullptr, 16)));
  }
  return bytes;
}

std::string Shown(const std::vector<uint8_t>& bytes) {
  auto view = TermView::Decode(bytes);
  return view ? view->ToText() : "error: " + std::string(ToString(view.error()));
}

std::expected<TermView, TermError> Decoded(const std::vector<uint8_t>& bytes) {
  return TermView::Decode(bytes);
}

// Bytes that `erl` of Debian 12 wrote (term_to_binary), and what it prints for them.
TEST(TermTest, WhatErlWritesIsReadAndShownAsErlShowsIt) {
  EXPECT_EQ(Shown(FromHex("836400026F6B")), "ok");
  EXPECT_EQ(Shown(FromHex("836800")), "{}");
  EXPECT_EQ(Shown(FromHex("836A")), "[]");
  EXPECT_EQ(Shown(FromHex("836B0003616263")), "\"abc\"");
  EXPECT_EQ(Shown(FromHex("836D0000000362696E")), "<<\"bin\">>");
  EXPECT_EQ(Shown(FromHex("836C0000000262000003E862000007D06A")), "[1000,2000]");
  EXPECT_EQ(Shown(FromHex("83680564000161610162FFFFFFFF620000012C6E06000000000000"
                          "01")),
            "{a,1,-1,300,1099511627776}");
  EXPECT_EQ(Shown(FromHex("83463FF8000000000000")), "1.500000");
  EXPECT_EQ(Shown(FromHex("83640003E5E4F6")), "'\xc3\xa5\xc3\xa4\xc3\xb6'");
  EXPECT_EQ(Shown(FromHex("83740000000164000161"
                          "6101")),
            "#{a => 1}");
}

TEST(TermTest, WhatIsBuiltReadsBack) {
  const std::vector<std::pair<Term, Term>> pairs = {{Term::Atom("k"), Term::Integer(1)}};
  const Term term = Term::Tuple(
      {Term::Atom("mongooseim@my-host"), Term::Integer(INT64_MIN), Term::Integer(INT64_MAX),
       Term::Integer(-1), Term::Integer(255), Term::Integer(256), Term::Binary("\x00\x01"),
       Term::String("text"), Term::String("\xe4\xb8\xad"), Term(), Term::Map(pairs),
       Term::List({Term::Atom("a"), Term::Float(0.5)}), Term::Boolean(true)});
  auto elements = term.view().AsTuple();
  ASSERT_TRUE(elements.has_value());
  ASSERT_EQ(elements->size(), 13U);
  const auto& e = *elements;
  EXPECT_TRUE(e[0].IsAtom("mongooseim@my-host"));
  EXPECT_EQ(e[1].AsInteger(), INT64_MIN);
  EXPECT_EQ(e[2].AsInteger(), INT64_MAX);
  EXPECT_EQ(e[3].AsInteger(), -1);
  EXPECT_EQ(e[4].AsInteger(), 255);
  EXPECT_EQ(e[5].AsInteger(), 256);
  EXPECT_EQ(e[6].AsBinary()->size(), 0U) << "a literal ends at its NUL";
  EXPECT_EQ(e[7].AsText(), "text");
  EXPECT_EQ(e[8].AsText(), "\xe4\xb8\xad");
  EXPECT_EQ(e[9].AsList()->size(), 0U);
  EXPECT_EQ(e[10].AsMap()->at(0).second.AsInteger(), 1);
  EXPECT_EQ(e[11].AsList()->at(1).AsFloat(), 0.5);
  EXPECT_TRUE(e[12].IsAtom("true"));
  auto again = TermView::DecodeBare(term.bytes());
  ASSERT_TRUE(again.has_value());
  EXPECT_EQ(*again, term.view());
}

TEST(TermTest, PidsAndReferencesNameTheirNode) {
  TermBuffer out;
  PutPid(&out, "a@h", {7, 1}, 99);
  EXPECT_EQ(TermView::DecodeBare(out)->Node(), "a@h");
  EXPECT_EQ(TermView::DecodeBare(out)->kind(), TermKind::kPid);
  out.clear();
  PutReference(&out, "b@h", {1, 2, 3}, 99);
  EXPECT_EQ(TermView::DecodeBare(out)->Node(), "b@h");
  EXPECT_EQ(TermView::DecodeBare(out)->kind(), TermKind::kReference);
  EXPECT_EQ(TermView().Node(), std::nullopt);
}

TEST(TermTest, AnAtomIsComparedByItsCharactersInBothEncodings) {
  auto latin = FromHex("83640003E5E4F6");
  EXPECT_TRUE(Decoded(latin)->IsAtom("\xc3\xa5\xc3\xa4\xc3\xb6"));
  EXPECT_FALSE(Decoded(latin)->IsAtom("\xe5\xe4\xf6"));
  EXPECT_FALSE(Decoded(FromHex("836400026F6B"))->IsAtom("o"));
  EXPECT_FALSE(TermView().IsAtom(""));
}

TEST(TermTest, ABombOfDepthEndsAtTheLimit) {
  // Four million tuples of one, each in the last.
  std::vector<uint8_t> bomb = {kTermVersion};
  for (int i = 0; i < 4'000'000; ++i) {
    bomb.push_back(104);
    bomb.push_back(1);
  }
  bomb.push_back(106);
  EXPECT_EQ(Decoded(bomb).error(), TermError::kDepth);

  std::vector<uint8_t> edge = {kTermVersion};
  for (int i = 0; i < 127; ++i) {
    edge.push_back(104);
    edge.push_back(1);
  }
  edge.push_back(106);
  EXPECT_TRUE(Decoded(edge).has_value());
  edge.insert(edge.begin() + 1, {104, 1});
  EXPECT_EQ(Decoded(edge).error(), TermError::kDepth);
  EXPECT_TRUE(TermView::Decode(edge, {.depth = 129}).has_value());
  EXPECT_EQ(TermView::Decode(bomb, {.depth = 65'535}).error(), TermError::kDepth);
}

TEST(TermTest, LengthsBeyondTheBytesAreRefused) {
  for (std::string_view hex :
       {"836C7FFFFFFF", "83697FFFFFFF", "836D7FFFFFFF00", "83747FFFFFFF", "83747FFFFFFF6A6A",
        "836BFFFF00", "836E FF", "836F7FFFFFFF00", "8364FFFF", "83770A61", "835A0005", "83706A",
        "8370FFFFFFFF", "834D0000000908", "836CFFFFFFFF6A6A", "83", "8361", "8362000000"}) {
    std::string compact(hex);
    std::erase(compact, ' ');
    EXPECT_EQ(Decoded(FromHex(compact)).error(), TermError::kTruncated) << hex;
  }
}

TEST(TermTest, WhatIsAgainstTheFormatIsRefused) {
  EXPECT_EQ(Decoded(FromHex("826A")).error(), TermError::kVersion);
  EXPECT_EQ(Decoded({}).error(), TermError::kVersion);
  EXPECT_EQ(Decoded(FromHex("836A6A")).error(), TermError::kTrailing);
  EXPECT_EQ(Decoded(FromHex("8350000000")).error(), TermError::kTag) << "compressed";
  EXPECT_EQ(Decoded(FromHex("835200")).error(), TermError::kTag) << "atom cache";
  EXPECT_EQ(Decoded(FromHex("8377"
                            "02"
                            "C3"
                            "28"))
                .error(),
            TermError::kAtom);
  EXPECT_EQ(Decoded(FromHex("8377"
                            "02"
                            "C080"))
                .error(),
            TermError::kAtom)
      << "overlong";
  EXPECT_EQ(Decoded(FromHex("8377"
                            "03"
                            "EDA080"))
                .error(),
            TermError::kAtom)
      << "a surrogate";
  EXPECT_EQ(Decoded(FromHex("8358"
                            "6101"
                            "000000000000000000000000"))
                .error(),
            TermError::kMalformed)
      << "a pid whose node is a number";
  EXPECT_EQ(Decoded(FromHex("834D"
                            "00000001"
                            "09"
                            "00"))
                .error(),
            TermError::kMalformed);
  EXPECT_EQ(Decoded(FromHex("835A"
                            "0006"
                            "7701"
                            "61"
                            "00000000"))
                .error(),
            TermError::kMalformed)
      << "six words";
}

TEST(TermTest, AtomsAreBoundedByCharacters) {
  auto atom = [](size_t characters) {
    std::vector<uint8_t> bytes = {kTermVersion, 118, static_cast<uint8_t>(characters * 2 >> 8),
                                  static_cast<uint8_t>(characters * 2)};
    for (size_t i = 0; i < characters; ++i) {
      bytes.push_back(0xc3);
      bytes.push_back(0xa5);
    }
    return bytes;
  };
  EXPECT_TRUE(Decoded(atom(255)).has_value());
  EXPECT_EQ(Decoded(atom(256)).error(), TermError::kAtom);
  // What we write is cut, so it can be read again.
  EXPECT_EQ(Term::Atom(std::string(1000, 'a')).view().AsAtom()->size(), 255U);
}

TEST(TermTest, ListsThatAreNoneGiveNoElements) {
  // [x|y]
  auto improper = FromHex(
      "836C0000000164000178640001"
      "79");
  ASSERT_TRUE(Decoded(improper).has_value());
  EXPECT_EQ(Decoded(improper)->AsList(), std::nullopt);
  EXPECT_EQ(Term::Atom("x").view().AsList(), std::nullopt);
  EXPECT_EQ(Term::Atom("x").view().AsTuple(), std::nullopt);
  auto text = FromHex("836B0003616263");
  auto elements = Decoded(text)->AsList();
  ASSERT_EQ(elements->size(), 3U);
  EXPECT_EQ(elements->at(2).AsInteger(), 'c');
}

TEST(TermTest, BigIntegersFitOrDoNot) {
  EXPECT_EQ(Decoded(FromHex("836E0801"
                            "0000000000000080"))
                ->AsInteger(),
            INT64_MIN);
  EXPECT_EQ(Decoded(FromHex("836E0800"
                            "0000000000000080"))
                ->AsInteger(),
            std::nullopt);
  EXPECT_EQ(Decoded(FromHex("836E0900"
                            "010000000000000000"))
                ->AsInteger(),
            1);
  EXPECT_EQ(Decoded(FromHex("836E0000"))->AsInteger(), 0);
}

TEST(TermTest, WhatIsShownIsBoundedAndPrintable) {
  const Term text = Term::Binary(std::string(10'000, 'x'));
  EXPECT_LT(text.ToText(100).size(), 200U);
  EXPECT_EQ(Term::Binary("\x1b[2J").ToText(), "<<27,91,50,74>>");
  EXPECT_EQ(Term::Atom("a\nb").ToText(), "'a\\nb'");
  EXPECT_EQ(Term::Binary(std::string(100'000, 'x')).ToText(), "#binary<100005 bytes>");
}

}  // namespace
}  // namespace server
