#include "net/buffer_pool.h"

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

}  // namespace
}  // namespace net
