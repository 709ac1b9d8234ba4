#include "net/conn/send_queue.h"

#include <gtest/gtest.h>

#include <random>
#include <string>

namespace net {
namespace {

std::string Front(const SendQueue& queue, size_t parts) {
  std::vector<std::span<const uint8_t>> spans(parts);
  const size_t count = queue.Front(spans);
  std::string text;
  for (size_t i = 0; i < count; ++i) text.append(spans[i].begin(), spans[i].end());
  return text;
}

std::span<const uint8_t> Bytes(std::string_view text) {
  return {reinterpret_cast<const uint8_t*>(text.data()), text.size()};
}

TEST(SharedBytesTest, LivesUntilTheLastHolderHasLetGo) {
  SharedBytes kept;
  EXPECT_TRUE(kept.empty());
  {
    const SharedBytes made(3,
                           [](std::span<uint8_t> bytes) { bytes[0] = bytes[1] = bytes[2] = 'x'; });
    kept = made;
    EXPECT_EQ(kept.holders(), 2U);
  }
  EXPECT_EQ(kept.holders(), 1U);
  EXPECT_EQ(std::string(kept.bytes().begin(), kept.bytes().end()), "xxx");
  SharedBytes moved = std::move(kept);
  EXPECT_EQ(moved.holders(), 1U);
  EXPECT_TRUE(SharedBytes(std::string_view()).empty());
}

TEST(SendQueueTest, KeepsOrderWhateverIsMixedAndGivesAllBack) {
  OutputPool buffers;
  std::string expected;
  std::vector<SharedBytes> shared;
  {
    PartPool pool(buffers);
    SendQueue queue;
    std::mt19937 random(7);
    std::string taken;
    for (int i = 0; i < 3'000; ++i) {
      const size_t size = 1 + random() % (random() % 20 == 0 ? 60'000 : 900);
      const std::string text(size, static_cast<char>('a' + i % 26));
      expected += text;
      if (random() % 2 == 0) {
        queue.Add(pool, Bytes(text));
      } else {
        shared.emplace_back(text);
        queue.Add(pool, shared.back());
      }
      while (random() % 3 != 0 && !queue.empty()) {
        const std::string front = Front(queue, 1 + random() % 5);
        const size_t take = 1 + random() % front.size();
        taken += front.substr(0, take);
        queue.Consume(pool, take);
      }
      ASSERT_EQ(queue.bytes(), expected.size() - taken.size());
    }
    taken += Front(queue, 100'000);
    EXPECT_EQ(taken, expected);
    queue.Clear(pool);
    EXPECT_TRUE(queue.empty());
  }
  EXPECT_EQ(buffers.out(), 0U);
  for (const SharedBytes& one : shared) EXPECT_EQ(one.holders(), 1U);
}

TEST(SendQueueTest, ShortPiecesShareABuffer) {
  OutputPool buffers;
  PartPool pool(buffers);
  SendQueue queue;
  for (int i = 0; i < 100; ++i) queue.Add(pool, Bytes("0123456789"));
  EXPECT_EQ(buffers.out(), 1U);
  std::array<std::span<const uint8_t>, 4> spans;
  EXPECT_EQ(queue.Front(spans), 1U);
  // A shared one goes by itself where nothing stands before it: one part either way.
  SendQueue alone;
  const SharedBytes shared(std::string_view("short"));
  alone.Add(pool, shared);
  EXPECT_EQ(shared.holders(), 2U);
  EXPECT_EQ(buffers.out(), 1U);
  alone.Clear(pool);
  queue.Clear(pool);
}

}  // namespace
}  // namespace net
