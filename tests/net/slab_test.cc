#include "net/base/slab.h"

#include <gtest/gtest.h>

#include <set>
#include <vector>

namespace net {
namespace {

struct Object {
  explicit Object(int v) : value(v) {}
  int value;
  char more[1020] = {};
};

TEST(Slab, GivesDistinctIndicesAndKeepsValues) {
  Slab<Object, 4> slab(10);
  std::set<uint32_t> seen;
  for (int i = 0; i < 10; ++i) {
    uint32_t index = slab.Allocate(i);
    ASSERT_NE(index, kNoIndex);
    EXPECT_TRUE(seen.insert(index).second);
    EXPECT_EQ((Slab<Object, 4>::IndexOf(slab[index])), index);
  }
  int expected = 0;
  for (uint32_t index : seen) EXPECT_EQ(slab[index].value, expected++);
}

TEST(Slab, RefusesMoreThanItsMaximumAndReusesWhatWasFreed) {
  Slab<Object, 4> slab(3);
  uint32_t a = slab.Allocate(1);
  slab.Allocate(2);
  slab.Allocate(3);
  EXPECT_EQ(slab.Allocate(4), kNoIndex);
  slab.Free(a);
  EXPECT_FALSE(slab.Live(a));
  EXPECT_EQ(slab.Allocate(5), a);
  EXPECT_EQ(slab[a].value, 5);
  EXPECT_EQ(slab.size(), 3U);
}

TEST(Slab, ForEachVisitsLiveObjectsOnlyAndMayFreeThem) {
  Slab<Object, 64> slab(200);
  std::vector<uint32_t> indices;
  for (int i = 0; i < 130; ++i) indices.push_back(slab.Allocate(i));
  for (size_t i = 0; i < 130; i += 2) slab.Free(indices[i]);
  int visited = 0;
  slab.ForEach([&](uint32_t index, Object& object) {
    EXPECT_EQ(object.value % 2, 1);
    ++visited;
    slab.Free(index);
  });
  EXPECT_EQ(visited, 65);
  EXPECT_EQ(slab.size(), 0U);
}

}  // namespace
}  // namespace net
