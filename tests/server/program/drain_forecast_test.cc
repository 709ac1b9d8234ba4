#include "server/program/drain_forecast.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <vector>

namespace server {
namespace {

using std::chrono::seconds;
using ::testing::HasSubstr;

std::string Refusal(const DrainPlan& plan) {
  const DrainForecast forecast = ForecastDrain(plan);
  return forecast.carried() ? "" : forecast.ForOperators();
}

TEST(DrainForecast, WhatTheOthersCanCarryIsNotRefused) {
  EXPECT_EQ(Refusal({.connections = 5000,
                     .per_s = 100,
                     .deadline = seconds(60),
                     .members = 3,
                     .others = 2,
                     .logins_per_s = 1000}),
            "");
  EXPECT_EQ(Refusal({.connections = 0, .per_s = 1e6, .members = 3, .others = 0}), "");
  EXPECT_EQ(Refusal({.connections = 10, .per_s = 1e6, .members = 1}), "")
      << "a node that stands alone never had others";
}

TEST(DrainForecast, ARefusalTellsThePeakTheBudgetAndWhatWouldDo) {
  EXPECT_EQ(
      Refusal(
          {.connections = 8400, .per_s = 3100, .members = 3, .others = 2, .logins_per_s = 1000}),
      "the drain peaks at 3,100 logins/s, the budget of the 2 others is 2,000/s: suggest "
      "--rate 1000, or --force");
  // At the deadline all that are left go at once.
  EXPECT_EQ(Refusal({.connections = 8400,
                     .per_s = 50,
                     .deadline = seconds(60),
                     .members = 3,
                     .others = 2,
                     .logins_per_s = 1000}),
            "the drain peaks at 5,400 logins/s, the budget of the 2 others is 2,000/s: suggest "
            "--rate 140, or --force");
  EXPECT_EQ(Refusal({.connections = 8400,
                     .per_s = 50,
                     .deadline = seconds(60),
                     .members = 2,
                     .others = 1,
                     .logins_per_s = 100}),
            "the drain peaks at 5,400 logins/s, the budget of the other node is 100/s: suggest "
            "--rate 50 --deadline 168, or --force");
}

TEST(DrainForecast, WithNobodyLeftItIsRefused) {
  EXPECT_THAT(Refusal({.connections = 7, .per_s = 1, .members = 3, .others = 0}),
              HasSubstr("no other node is there to take 7 connections; --force closes them"));
}

// For who asks by HTTP: numbers, and what the same page would take.
TEST(DrainForecast, IsToldAsJson) {
  DrainPlan plan{.connections = 8400,
                 .per_s = 50,
                 .deadline = seconds(60),
                 .members = 2,
                 .others = 1,
                 .logins_per_s = 100};
  EXPECT_EQ(
      ForecastDrain(plan).Json(),
      R"({"peak_per_s":5400,"budget_per_s":100,"refused":"the drain peaks at 5,400 logins/s, )"
      R"(the budget of the other node is 100/s","rate":50,"deadline":168})");
  plan.connections = 20;
  EXPECT_EQ(ForecastDrain(plan).Json(), R"({"peak_per_s":20,"budget_per_s":100})");
  plan.others = 0;
  EXPECT_EQ(ForecastDrain(plan).Json(),
            R"({"peak_per_s":20,"budget_per_s":0,"refused":"no other node is there to take 20 )"
            R"(connections"})");
}

TEST(DrainForecast, ASurplusIsWhatIsAboveTheMeanAndHasNotLeftYet) {
  const std::vector<uint64_t> uneven = {100, 0};
  EXPECT_EQ(Surplus(uneven, 0, 0.05), 47U);
  EXPECT_EQ(Surplus(uneven, 10, 0.05), 37U);
  // Asked again, before those 47 are resumed on the other node.
  EXPECT_EQ(Surplus(uneven, 47, 0.05), 0U);
  EXPECT_EQ(Surplus(uneven, 200, 0.05), 0U);
  EXPECT_EQ(Surplus(std::vector<uint64_t>{50, 50}, 0, 0.05), 0U);
  EXPECT_EQ(Surplus(std::vector<uint64_t>{7}, 0, 0), 0U);
  EXPECT_EQ(Surplus(std::vector<uint64_t>{0, 9}, 0, 0), 0U);
}

}  // namespace
}  // namespace server
