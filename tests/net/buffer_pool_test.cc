#include "net/io/buffer_pool.h"

#include <gtest/gtest.h>

namespace net {
namespace {

TEST(BufferPool, GrowsWhenItRunsLowAndStopsAtItsMaximum) {
  auto ring = Ring::Create({});
  ASSERT_TRUE(ring.has_value()) << ring.error();
  auto pool = BufferPool::Create(**ring, {.buffer_bytes = 64, .initial = 8, .maximum = 32});
  ASSERT_TRUE(pool.has_value()) << pool.error();
  EXPECT_EQ((*pool)->provided(), 8U);
  for (uint16_t id = 0; id < 8; ++id) (*pool)->Took(id, 10);
  (*pool)->Publish();
  EXPECT_EQ((*pool)->provided(), 16U);
  for (uint16_t id = 8; id < 16; ++id) (*pool)->Took(id, 10);
  (*pool)->Publish();
  EXPECT_EQ((*pool)->provided(), 32U);
  for (uint16_t id = 16; id < 32; ++id) (*pool)->Took(id, 10);
  (*pool)->Publish();
  EXPECT_EQ((*pool)->provided(), 32U);
  EXPECT_EQ((*pool)->free(), 0U);
  (*pool)->Give(3);
  EXPECT_EQ((*pool)->free(), 1U);
  EXPECT_EQ((*pool)->in_use(), 31U);
}

TEST(BufferPool, ChainsBuffersById) {
  auto ring = Ring::Create({});
  ASSERT_TRUE(ring.has_value()) << ring.error();
  auto pool = BufferPool::Create(**ring, {.buffer_bytes = 64, .initial = 8, .maximum = 8});
  ASSERT_TRUE(pool.has_value()) << pool.error();
  (*pool)->Took(2, 5);
  (*pool)->Took(6, 64);
  (*pool)->SetNext(2, 6);
  EXPECT_EQ((*pool)->Next(2), 6);
  EXPECT_EQ((*pool)->Next(6), kNoBuffer);
  EXPECT_EQ((*pool)->Bytes(2).size(), 5U);
  EXPECT_EQ((*pool)->Bytes(6).size(), 64U);
}

TEST(BufferPool, LargeBuffersStandBesideTheSmallOnes) {
  auto ring = Ring::Create({});
  ASSERT_TRUE(ring.has_value()) << ring.error();
  auto made = BufferPool::Create(
      **ring, {.buffer_bytes = 64, .initial = 8, .maximum = 8, .large_bytes = 1000, .large = 4});
  ASSERT_TRUE(made.has_value()) << made.error();
  BufferPool& pool = **made;
  EXPECT_EQ(pool.large(), 4U);
  EXPECT_NE(pool.large_group(), pool.group());
  const uint16_t first = 8;
  pool.Took(first, 900);
  pool.Took(first + 3, 1000);
  pool.Took(7, 64);
  pool.SetNext(7, first);
  EXPECT_EQ(pool.large_in_use(), 2U);
  EXPECT_EQ(pool.in_use(), 1U);
  EXPECT_EQ(pool.Next(7), first);
  // Nobody's bytes are another's.
  std::ranges::fill(pool.Bytes(7), uint8_t{1});
  std::ranges::fill(pool.Bytes(first), uint8_t{2});
  std::ranges::fill(pool.Bytes(first + 3), uint8_t{3});
  EXPECT_EQ(pool.Bytes(7).back(), 1);
  EXPECT_EQ(pool.Bytes(first).front(), 2);
  EXPECT_EQ(pool.Bytes(first).back(), 2);
  EXPECT_TRUE(pool.Extend(first, std::vector<uint8_t>(100, 4)));
  EXPECT_FALSE(pool.Extend(first, std::vector<uint8_t>(1, 4)));
  pool.Give(first);
  pool.Give(first + 3);
  EXPECT_EQ(pool.large_in_use(), 0U);
  EXPECT_EQ(pool.in_use(), 1U);
}

}  // namespace
}  // namespace net
