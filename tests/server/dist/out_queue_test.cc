#include "server/dist/out_queue.h"

#include <gmock/gmock.h>

#include <thread>

namespace server {
namespace {

using Result = OutQueue::Result;

OutQueue::Result PutByte(OutQueue& queue, uint8_t byte) {
  return queue.Put(1, [byte](TermBuffer* out) { out->push_back(byte); });
}

TEST(OutQueueTest, OneWakesAndTheOthersRideAlong) {
  OutQueue queue(100);
  EXPECT_EQ(PutByte(queue, 1), Result::kWake);
  EXPECT_EQ(PutByte(queue, 2), Result::kQueued);
  TermBuffer piece;
  ASSERT_TRUE(queue.Take(&piece));
  EXPECT_EQ(piece, (TermBuffer{1, 2}));
  EXPECT_EQ(PutByte(queue, 3), Result::kQueued) << "whoever sent the piece comes again";
  piece.clear();
  ASSERT_TRUE(queue.Take(&piece));
  piece.clear();
  EXPECT_FALSE(queue.Take(&piece));
  EXPECT_EQ(PutByte(queue, 4), Result::kWake);
}

TEST(OutQueueTest, WhatTheKernelHasCountsAgainstTheBound) {
  OutQueue queue(4);
  for (uint8_t i = 0; i < 4; ++i) EXPECT_NE(PutByte(queue, i), Result::kFull);
  EXPECT_EQ(PutByte(queue, 9), Result::kFull);
  TermBuffer piece;
  ASSERT_TRUE(queue.Take(&piece));
  EXPECT_EQ(PutByte(queue, 9), Result::kFull) << "it is not sent yet";
  EXPECT_FALSE(queue.ClearRefused());
  piece.clear();
  EXPECT_FALSE(queue.Take(&piece));
  EXPECT_TRUE(queue.ClearRefused());
  EXPECT_FALSE(queue.ClearRefused()) << "once";
  EXPECT_EQ(PutByte(queue, 9), Result::kWake);
}

TEST(OutQueueTest, AnswersHaveAsMuchRoomAgain) {
  OutQueue queue(2);
  auto put = [&] { return queue.PutUrgent(1, [](TermBuffer* out) { out->push_back(0); }); };
  for (int i = 0; i < 4; ++i) EXPECT_NE(put(), Result::kFull);
  EXPECT_EQ(put(), Result::kFull);
}

TEST(OutQueueTest, AClosedOneTakesNothing) {
  OutQueue queue(2);
  PutByte(queue, 1);
  queue.Close();
  EXPECT_EQ(PutByte(queue, 1), Result::kClosed);
  EXPECT_EQ(queue.bytes(), 0U);
}

TEST(OutQueueTest, EachThreadsOrderIsKept) {
  OutQueue queue(1U << 20U);
  constexpr int kEach = 20'000;
  auto producer = [&](uint8_t who) {
    for (int i = 0; i < kEach; ++i) {
      queue.Put(4, [&](TermBuffer* out) {
        out->insert(out->end(), {who, static_cast<uint8_t>(i >> 16), static_cast<uint8_t>(i >> 8),
                                 static_cast<uint8_t>(i)});
      });
    }
  };
  std::thread one(producer, 0);
  std::thread two(producer, 1);
  int next[2] = {0, 0};
  TermBuffer piece;
  while (next[0] < kEach || next[1] < kEach) {
    piece.clear();
    if (!queue.Take(&piece)) continue;
    ASSERT_EQ(piece.size() % 4, 0U);
    for (size_t at = 0; at < piece.size(); at += 4) {
      ASSERT_EQ(next[piece[at]]++, piece[at + 1] << 16 | piece[at + 2] << 8 | piece[at + 3]);
    }
  }
  one.join();
  two.join();
}

}  // namespace
}  // namespace server
