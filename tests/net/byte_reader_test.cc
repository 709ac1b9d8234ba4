#include "net/base/byte_reader.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <vector>

namespace net {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

TEST(ByteReader, FieldsComeInTheirOrderAndNumbersAreBigEndian) {
  const std::vector<uint8_t> bytes = {1, 2, 3, 0, 2, 8, 9, 7};
  ByteReader reader(bytes);
  EXPECT_EQ(reader.Number(1), 1u);
  EXPECT_EQ(reader.Number(2), 0x0203u);
  EXPECT_THAT(reader.Vector(2), ElementsAre(8, 9));
  EXPECT_FALSE(reader.done()) << "a byte is left";
  EXPECT_THAT(reader.Take(1), ElementsAre(7));
  EXPECT_TRUE(reader.done());
  EXPECT_EQ(reader.Number(0), 0u);
  EXPECT_THAT(reader.Take(0), IsEmpty());
  EXPECT_TRUE(reader.done()) << "nothing may be read at the end";
}

TEST(ByteReader, TheLargestNumberFits) {
  const std::vector<uint8_t> bytes(8, 0xff);
  ByteReader reader(bytes);
  EXPECT_EQ(reader.Number(8), SIZE_MAX);
  EXPECT_TRUE(reader.done());
}

TEST(ByteReader, AFieldThatDoesNotFitEndsTheReading) {
  const std::vector<uint8_t> bytes = {0, 3, 8, 9};
  ByteReader reader(bytes);
  EXPECT_THAT(reader.Vector(2), IsEmpty());
  EXPECT_FALSE(reader.ok());
  EXPECT_TRUE(reader.empty()) << "a loop over fields ends";
  EXPECT_FALSE(reader.done());
  EXPECT_EQ(reader.Number(1), 0u);
  EXPECT_THAT(reader.Take(0), IsEmpty());
  EXPECT_FALSE(reader.ok()) << "and it stays so";
}

TEST(ByteReader, ANumberThatIsCutIsNone) {
  const std::vector<uint8_t> bytes = {5};
  ByteReader reader(bytes);
  EXPECT_EQ(reader.Number(2), 0u);
  EXPECT_FALSE(reader.ok());
}

TEST(ByteReader, LengthsUpToTheLargestReadNothingBeyond) {
  for (size_t size = 0; size <= 8; ++size) {
    const std::unique_ptr<uint8_t[]> exact(new uint8_t[size]);  // so that ASan sees the end
    std::fill_n(exact.get(), size, uint8_t{0xff});
    ByteReader reader({exact.get(), size});
    EXPECT_THAT(reader.Vector(8), IsEmpty());
    EXPECT_FALSE(reader.ok());
  }
}

TEST(ByteReader, NothingIsReadOutOfNothing) {
  ByteReader reader({});
  EXPECT_TRUE(reader.done());
  EXPECT_TRUE(reader.empty());
  EXPECT_EQ(reader.Number(1), 0u);
  EXPECT_FALSE(reader.ok());
}

}  // namespace
}  // namespace net
