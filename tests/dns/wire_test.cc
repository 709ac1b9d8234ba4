#include "dns/wire/wire.h"

#include <gtest/gtest.h>

#include "tests/dns/dns_fixture.h"

namespace dns {
namespace {

using test::QueryBuilder;

TEST(WireTest, ReadsNameTypeClassAndFlags) {
  Bytes packet = QueryBuilder{.name = "WWW.Example.ORG.", .type = 28, .id = 7}.Build();
  Query query;
  ASSERT_EQ(ParseQuery(packet, query), ParseResult::kOk);
  EXPECT_EQ(NameToText(query.lower_name()), "www.example.org.");
  EXPECT_EQ(query.type, 28);
  EXPECT_EQ(query.qclass, 1);
  EXPECT_EQ(query.id, 7);
  EXPECT_TRUE(query.recursion_desired());
  EXPECT_EQ(query.hash, HashName(test::N("www.example.org.").wire()));
}

TEST(WireTest, LowersLettersAndNothingElse) {
  // All bytes in labels; length bytes below 64 keep their value although '@' + 1 is 'A'.
  for (int first = 0; first < 256; first += 32) {
    Bytes packet = {0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 32};
    for (int b = first; b < first + 32; ++b) packet.push_back(static_cast<uint8_t>(b));
    Append(packet, Bytes{0, 0, 1, 0, 1});
    Query query;
    ASSERT_EQ(ParseQuery(packet, query), ParseResult::kOk);
    for (int b = first; b < first + 32; ++b) {
      int expected = b >= 'A' && b <= 'Z' ? b + 32 : b;
      EXPECT_EQ(query.name[static_cast<size_t>(b - first + 1)], expected);
    }
  }
}

TEST(WireTest, NamesUpTo255BytesAreReadAndLongerOnesNot) {
  for (size_t last : {61u, 62u}) {
    Bytes packet = {0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0};
    for (size_t label : {size_t{63}, size_t{63}, size_t{63}, last}) {
      packet.push_back(static_cast<uint8_t>(label));
      packet.insert(packet.end(), label, 'x');
    }
    Append(packet, Bytes{0, 0, 1, 0, 1});
    Query query;
    bool fits = last == 61;
    EXPECT_EQ(ParseQuery(packet, query) == ParseResult::kOk, fits);
    if (fits) {
      EXPECT_EQ(query.name_size, 255);
    }
  }
}

TEST(WireTest, PointersAndUnknownLabelTypesInTheQuestionAreRefused) {
  for (uint8_t label : std::initializer_list<uint8_t>{0x40, 0x80, 0xc0, 0xff}) {
    Bytes packet = {0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, label, 12, 0, 1, 0, 1};
    Query query;
    EXPECT_EQ(ParseQuery(packet, query), ParseResult::kFormErr);
    EXPECT_EQ(query.name_size, 0);
  }
}

TEST(WireTest, AnswersAuthoritiesAndUnknownAdditionalRecordsAreRefused) {
  for (size_t count_at : {7u, 9u, 11u}) {
    Bytes packet = QueryBuilder{}.Build();
    packet[count_at] = 1;
    Append(packet, Bytes{0, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4, 1, 2, 3, 4});  // ". A 1.2.3.4"
    Query query;
    EXPECT_EQ(ParseQuery(packet, query), ParseResult::kFormErr) << count_at;
    EXPECT_NE(query.name_size, 0);
  }
}

TEST(WireTest, OneOptOnlyAndWithTheRootAsOwner) {
  Bytes opt = {0, 0, 41, 4, 0, 0, 0, 0, 0, 0, 0};
  Bytes packet = QueryBuilder{}.Build();
  packet[11] = 2;
  Append(packet, opt);
  Append(packet, opt);
  Query query;
  EXPECT_EQ(ParseQuery(packet, query), ParseResult::kFormErr);
  packet = QueryBuilder{}.Build();
  packet[11] = 1;
  Append(packet, Bytes{1, 'x', 0, 0, 41, 4, 0, 0, 0, 0, 0, 0, 0});
  EXPECT_EQ(ParseQuery(packet, query), ParseResult::kFormErr);
}

TEST(WireTest, IxfrMayCarryTheAskersSoa) {
  Bytes packet = QueryBuilder{.name = "example.org.", .type = 251}.Build();
  packet[9] = 1;
  Append(packet, Bytes{0xc0, 12, 0, 6, 0, 1, 0, 0, 0, 0, 0, 22, 0, 0, 0, 0, 0, 1});
  packet.resize(packet.size() + 16);
  Query query;
  EXPECT_EQ(ParseQuery(packet, query), ParseResult::kOk);
  packet.push_back(0);
  EXPECT_EQ(ParseQuery(packet, query), ParseResult::kFormErr);
}

TEST(WireTest, HashOfASuffixIsTheHashOfThatName) {
  Query query;
  ASSERT_EQ(ParseQuery(QueryBuilder{.name = "a.bc.def.example.org."}.Build(), query),
            ParseResult::kOk);
  EXPECT_EQ(HashName(query.name.data() + 5, query.name_size - 5u),
            HashName(test::N("def.example.org.").wire()));
}

}  // namespace
}  // namespace dns
