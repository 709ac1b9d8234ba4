#include "server/dist/epmd.h"

#include <gmock/gmock.h>

#include "net/base/byte_reader.h"

namespace server {
namespace {

std::vector<uint8_t> Bytes(std::initializer_list<int> values) {
  std::vector<uint8_t> bytes;
  for (int value : values) bytes.push_back(static_cast<uint8_t>(value));
  return bytes;
}

TEST(EpmdTest, TheQuestionsAreAsPublished) {
  TermBuffer out;
  PutEpmdRegister(&out, "mim", 9100, false);
  EXPECT_EQ(out, Bytes({0, 16, 120, 0x23, 0x8c, 'H', 0, 0, 6, 0, 6, 0, 3, 'm', 'i', 'm', 0, 0}));
  out.clear();
  PutEpmdPortQuestion(&out, "mim");
  EXPECT_EQ(out, Bytes({0, 4, 122, 'm', 'i', 'm'}));
  out.clear();
  PutEpmdNamesQuestion(&out);
  EXPECT_EQ(out, Bytes({0, 1, 110}));
}

TEST(EpmdTest, RegisteringGivesACreationOfEitherSize) {
  EXPECT_EQ(ReadEpmdRegistered(Bytes({118, 0, 0x65, 0x43, 0x21, 0x00})), 0x65432100U);
  EXPECT_EQ(ReadEpmdRegistered(Bytes({121, 0, 0, 3})), 3U);
  EXPECT_EQ(ReadEpmdRegistered(Bytes({121, 1, 0, 99})).error(), EpmdError::kTaken);
  EXPECT_EQ(ReadEpmdRegistered(Bytes({118, 0, 1, 2, 3})).error(), EpmdError::kMore);
  EXPECT_EQ(ReadEpmdRegistered({}).error(), EpmdError::kMore);
  EXPECT_EQ(ReadEpmdRegistered(net::BytesOf("HTTP/1.1 400")).error(), EpmdError::kMalformed);
}

TEST(EpmdTest, APortIsReadAsSoonAsItIsThere) {
  auto whole = Bytes({119, 0, 0x23, 0x8c, 'M', 0, 0, 6, 0, 5, 0, 3, 'm', 'i', 'm', 0, 0});
  auto port = ReadEpmdPort(whole);
  ASSERT_TRUE(port.has_value());
  EXPECT_EQ(port->port, 9100);
  EXPECT_FALSE(port->hidden);
  EXPECT_EQ(ReadEpmdPort(std::span(whole).first(4)).error(), EpmdError::kMore);
  EXPECT_EQ(ReadEpmdPort(Bytes({119, 1})).error(), EpmdError::kUnknown);
  EXPECT_EQ(ReadEpmdPort(Bytes({119, 0, 0, 0, 'M'})).error(), EpmdError::kMalformed);
  EXPECT_EQ(ReadEpmdPort(Bytes({0})).error(), EpmdError::kMalformed);
}

TEST(EpmdTest, NamesAreListed) {
  auto names = ReadEpmdNames(
      net::BytesOf(std::string_view("\0\0\x11\x11name a at port 1\nname b at port 65535\n", 41)));
  ASSERT_TRUE(names.has_value());
  ASSERT_EQ(names->size(), 2U);
  EXPECT_EQ((*names)[0].name, "a");
  EXPECT_EQ((*names)[1].port, 65535);
  EXPECT_EQ(ReadEpmdNames(net::BytesOf("abcdname a at port 65536\n")).error(),
            EpmdError::kMalformed);
  EXPECT_EQ(ReadEpmdNames(net::BytesOf("abcd at port 1\n")).error(), EpmdError::kMalformed);
  EXPECT_EQ(ReadEpmdNames(net::BytesOf("abc")).error(), EpmdError::kMalformed);
  EXPECT_TRUE(ReadEpmdNames(net::BytesOf("abcd"))->empty());
}

}  // namespace
}  // namespace server
