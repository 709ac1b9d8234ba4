#include "net/io/timer_wheel.h"

#include <gtest/gtest.h>

#include <functional>
#include <map>
#include <random>
#include <vector>

namespace net {
namespace {

class TimerWheelTest : public testing::Test {
 protected:
  TimerWheelTest() : nodes_(1000) {}
  void Insert(uint32_t index, uint64_t due) { wheel_.Insert(index, due, node_of_); }
  std::vector<uint32_t> Advance(uint64_t now) {
    std::vector<uint32_t> out;
    wheel_.Advance(now, node_of_, [&](uint32_t index) { out.push_back(index); });
    return out;
  }

  std::vector<WheelNode> nodes_;
  std::function<WheelNode&(uint32_t)> node_of_ = [this](uint32_t i) -> WheelNode& {
    return nodes_[i];
  };
  TimerWheel<16> wheel_{100};
};

TEST_F(TimerWheelTest, ComesUpAtItsTickAndNotBefore) {
  Insert(1, 105);
  EXPECT_TRUE(Advance(104).empty());
  EXPECT_EQ(Advance(105), std::vector<uint32_t>{1});
  EXPECT_FALSE(nodes_[1].in());
}

TEST_F(TimerWheelTest, ADeadlineInThePastComesUpAtTheNextTick) {
  Insert(1, 7);
  EXPECT_EQ(Advance(101), std::vector<uint32_t>{1});
}

TEST_F(TimerWheelTest, ADeadlineBeyondTheWheelComesUpEarlyToBePutInAgain) {
  Insert(1, 1000);
  EXPECT_TRUE(Advance(114).empty());
  EXPECT_EQ(Advance(115), std::vector<uint32_t>{1});
}

TEST_F(TimerWheelTest, RemovesFromTheMiddleOfABucket) {
  Insert(1, 105);
  Insert(2, 105);
  Insert(3, 105);
  wheel_.Remove(2, node_of_);
  wheel_.Remove(2, node_of_);
  auto due = Advance(105);
  EXPECT_EQ(due.size(), 2U);
  EXPECT_EQ(wheel_.size(), 0U);
}

TEST_F(TimerWheelTest, MayInsertAndRemoveOthersWhileItAdvances) {
  Insert(1, 101);
  Insert(2, 101);
  std::vector<uint32_t> seen;
  wheel_.Advance(101, node_of_, [&](uint32_t index) {
    seen.push_back(index);
    wheel_.Remove(index == 1 ? 2 : 1, node_of_);
    wheel_.Insert(index, 102, node_of_);
  });
  EXPECT_EQ(seen.size(), 1U);
  EXPECT_EQ(Advance(102), seen);
}

TEST_F(TimerWheelTest, AgreesWithASortedMapOverRandomUse) {
  std::mt19937 rng(7);
  std::map<uint32_t, uint64_t> model;
  uint64_t now = 100;
  for (int step = 0; step < 20'000; ++step) {
    uint32_t index = static_cast<uint32_t>(rng() % 1000);
    switch (rng() % 3) {
      case 0:
        if (!model.contains(index)) {
          uint64_t due = now + 1 + rng() % 15;
          Insert(index, due);
          model[index] = due;
        }
        break;
      case 1:
        wheel_.Remove(index, node_of_);
        model.erase(index);
        break;
      default:
        now += rng() % 4;
        for (uint32_t up : Advance(now)) {
          ASSERT_TRUE(model.contains(up));
          EXPECT_LE(model[up], now);
          model.erase(up);
        }
        for (const auto& [left, due] : model) EXPECT_GT(due, now);
    }
  }
}

}  // namespace
}  // namespace net
