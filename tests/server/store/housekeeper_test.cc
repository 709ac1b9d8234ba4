// When it is kept house, and for how long: over a keeper in the test's hand, by a clock that stands
// still. (That what is to go goes: store_contract_test.)
#include "server/store/housekeeper.h"

#include <gtest/gtest.h>

#include <deque>
#include <optional>
#include <utility>
#include <vector>

namespace server {
namespace {

using std::chrono::hours;
using std::chrono::minutes;

class KeeperFake final : public StoreKeeper {
 public:
  void Retire(Retention retention, StoreClient::Done<Retired> done) override {
    asked.push_back(retention);
    waiting.push_back(std::move(done));
  }
  void Run(SqlScript, StoreClient::Done<std::monostate>) override { FAIL(); }
  void ShowNode(std::string, StoreClient::Done<std::vector<std::string>>) override { FAIL(); }
  void Answer(std::expected<Retired, StoreError> retired) {
    auto done = std::move(waiting.front());
    waiting.pop_front();
    done(std::move(retired));
  }
  std::vector<Retention> asked;
  std::deque<StoreClient::Done<Retired>> waiting;
};

class HousekeeperTest : public ::testing::Test {
 protected:
  static constexpr int64_t kNowUs = 1'700'000'000'000'000;

  void Make(HousekeeperOptions options) {
    housekeeper.emplace(options, keeper, clock, [this] { return now_us; }, counters);
  }
  KeeperFake keeper;
  net::ManualClock clock;
  int64_t now_us = kNowUs;
  HousekeeperCounters counters;
  std::optional<Housekeeper> housekeeper;
};

TEST_F(HousekeeperTest, APassBeginsWhenItsTimeComesAndGoesOnUntilItIsComplete) {
  Make({.archive_age = hours(24), .archive_most = 7, .every = hours(1)});
  clock.Advance(minutes(59));
  housekeeper->Tick();
  EXPECT_TRUE(keeper.asked.empty()) << "not yet";
  clock.Advance(minutes(1));
  housekeeper->Tick();
  ASSERT_EQ(keeper.asked.size(), 1U);
  EXPECT_EQ(keeper.asked[0].archive_before_us, kNowUs - int64_t{86'400} * 1'000'000);
  EXPECT_EQ(keeper.asked[0].archive_most, 7U);
  EXPECT_EQ(keeper.asked[0].now_s, kNowUs / 1'000'000);
  EXPECT_EQ(keeper.asked[0].after_owner, "");
  housekeeper->Tick();
  EXPECT_EQ(keeper.asked.size(), 1U) << "one slice at a time";
  now_us += 5'000'000;
  keeper.Answer(Retired{.archive = 1'000, .offline = 2, .more = true, .next_owner = "b@x"});
  ASSERT_EQ(keeper.asked.size(), 2U) << "at once";
  EXPECT_EQ(keeper.asked[1].after_owner, "b@x");
  EXPECT_EQ(keeper.asked[1].archive_before_us, keeper.asked[0].archive_before_us);
  keeper.Answer(Retired{.archive = 3});
  EXPECT_EQ(counters.passes, 1U);
  EXPECT_EQ(counters.archive, 1'003U);
  EXPECT_EQ(counters.offline, 2U);
  housekeeper->Tick();
  EXPECT_EQ(keeper.asked.size(), 2U) << "it is clean";
  clock.Advance(hours(1));
  housekeeper->Tick();
  ASSERT_EQ(keeper.asked.size(), 3U);
  EXPECT_EQ(keeper.asked[2].after_owner, "");
}

TEST_F(HousekeeperTest, ATickHasABoundAndTheNextOneGoesOn) {
  Make({.archive_most = 1, .every = hours(1)});
  clock.Advance(hours(1));
  housekeeper->Tick();
  while (!keeper.waiting.empty()) keeper.Answer(Retired{.more = true, .next_owner = "a@x"});
  EXPECT_EQ(keeper.asked.size(), Housekeeper::kSlicesATick);
  housekeeper->Tick();
  EXPECT_EQ(keeper.asked.size(), Housekeeper::kSlicesATick + 1);
  EXPECT_EQ(keeper.asked.back().after_owner, "a@x");
}

TEST_F(HousekeeperTest, WithoutBoundsExpiredMessagesGoAllTheSame) {
  Make({.every = hours(1)});
  clock.Advance(hours(1));
  housekeeper->Tick();
  ASSERT_EQ(keeper.asked.size(), 1U);
  EXPECT_EQ(keeper.asked[0].archive_before_us, 0);
  EXPECT_EQ(keeper.asked[0].archive_most, 0U);
  EXPECT_EQ(keeper.asked[0].now_s, kNowUs / 1'000'000);
}

TEST_F(HousekeeperTest, AStoreThatFailsIsAskedAgainWhenItsTimeComes) {
  Make({.archive_most = 1, .every = hours(1)});
  clock.Advance(hours(1));
  housekeeper->Tick();
  keeper.Answer(std::unexpected(StoreError::kDown));
  EXPECT_EQ(counters.failed, 1U);
  EXPECT_EQ(counters.passes, 0U);
  housekeeper->Tick();
  EXPECT_EQ(keeper.asked.size(), 1U);
  clock.Advance(hours(1));
  housekeeper->Tick();
  EXPECT_EQ(keeper.asked.size(), 2U);
}

TEST_F(HousekeeperTest, AnAnswerThatComesLateTouchesNothing) {
  Make({.archive_most = 1, .every = hours(1)});
  clock.Advance(hours(1));
  housekeeper->Tick();
  housekeeper.reset();
  keeper.Answer(Retired{.archive = 1, .more = true});
  EXPECT_EQ(counters.archive, 0U);
}

}  // namespace
}  // namespace server
