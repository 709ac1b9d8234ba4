#include "net/base/siphash.h"

#include <gtest/gtest.h>

#include <vector>

namespace net {
namespace {

// The key 00 01 .. 0f.
constexpr SipKey kKey{0x0706050403020100U, 0x0f0e0d0c0b0a0908U};

std::vector<uint8_t> Counting(uint8_t size) {
  std::vector<uint8_t> bytes;
  for (uint8_t i = 0; i < size; ++i) bytes.push_back(i);
  return bytes;
}

// From the appendix of the paper, and from the reference implementation's vectors.
TEST(SipHash, TwoAndFourRoundsGiveTheReferenceVectors) {
  EXPECT_EQ((SipHash<2, 4>(kKey, Counting(15))), 0xa129ca6149be45e5U);
  EXPECT_EQ((SipHash<2, 4>(kKey, Counting(0))), 0x726fdb47dd0e0e31U);
  EXPECT_EQ((SipHash<2, 4>(kKey, Counting(8))), 0x93f5f5799a932462U);
}

TEST(SipHash, OneAndThreeRoundsGiveTheReferenceVectors) {
  EXPECT_EQ((SipHash<1, 3>(kKey, Counting(0))), 0xabac0158050fc4dcU);
  EXPECT_EQ((SipHash<1, 3>(kKey, Counting(1))), 0xc9f49bf37d57ca93U);
}

TEST(SipHash, EachByteOfTheKeyCounts) {
  const auto text = Counting(20);
  EXPECT_NE((SipHash<1, 3>(kKey, text)), (SipHash<1, 3>({kKey.k0, kKey.k1 ^ 1}, text)));
  EXPECT_NE((SipHash<1, 3>(kKey, text)), (SipHash<1, 3>({kKey.k0 ^ 1, kKey.k1}, text)));
}

}  // namespace
}  // namespace net
