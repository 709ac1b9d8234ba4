#include "bench/load/report.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>

namespace bench {
namespace {

using testing::HasSubstr;

class ReportTest : public testing::Test {
 protected:
  std::string Write(const std::string& text) {
    path_ = std::filesystem::temp_directory_path() /
            ("bench_report_test." + std::to_string(getpid()) + ".json");
    std::ofstream(path_) << text;
    return path_;
  }
  void TearDown() override { std::filesystem::remove(path_); }

  static Result Good() {
    Result result;
    result.mode = "echo";
    result.target = "127.0.0.1:1";
    result.offered = result.started = result.completed = 100;
    result.opened = 10;
    result.window.wall_ns = 1'000'000'000;
    result.window.watched_ns = {2'000'000};
    result.watched = {42};
    for (int i = 0; i < 100; ++i) result.total.Record(1'000'000);
    return result;
  }

 private:
  std::filesystem::path path_;
};

TEST_F(ReportTest, WhatIsWrittenCanBeReadAndComparedWithItself) {
  Result result = Good();
  JudgeResult(result);
  ASSERT_THAT(result.invalid, testing::IsEmpty());
  const auto measures = ReadMeasures(Write(ToJson(result)));
  ASSERT_TRUE(measures.has_value()) << measures.error();
  EXPECT_FALSE(HasRegression(Compare(*measures, *measures, 0)));
  const auto cpu = std::find_if(measures->begin(), measures->end(),
                                [](const Measure& m) { return m.name == "server_cpu_us_per_op"; });
  ASSERT_NE(cpu, measures->end());
  EXPECT_DOUBLE_EQ(cpu->value, 20);
}

TEST_F(ReportTest, PhasesOfOneModeAreReportedComparedAndMerged) {
  Result result = Good();
  for (int i = 0; i < 10; ++i) {
    result.phases.push_back({i == 0 ? "sasl" : "phase" + std::to_string(i), {}});
    result.phases.back().histogram.Record(2'000'000);
  }
  result.deliveries = 7;
  JudgeResult(result);
  const std::string path = Write(ToJson(result));
  const auto measures = ReadMeasures(path);
  ASSERT_TRUE(measures.has_value()) << measures.error();
  EXPECT_TRUE(std::any_of(measures->begin(), measures->end(),
                          [](const Measure& m) { return m.name == "sasl_p99_us"; }));
  const auto sum = Merge({path, path});
  ASSERT_TRUE(sum.has_value()) << sum.error();
  ASSERT_EQ(sum->phases.size(), 10U);
  EXPECT_EQ(sum->deliveries, 14U);
  for (const NamedHistogram& phase : sum->phases) EXPECT_EQ(phase.histogram.Count(), 2U);
}

TEST_F(ReportTest, ACopyThatDidNotComeAsItShouldMakesARunInvalid) {
  for (const CopyFaults& faults :
       {CopyFaults{.lost = 1}, CopyFaults{.doubled = 1}, CopyFaults{.swapped = 1}}) {
    Result result = Good();
    result.deliveries = 100'000;
    result.copies = faults;
    JudgeResult(result);
    EXPECT_THAT(result.invalid, testing::Contains(testing::StartsWith("copies: ")));
    EXPECT_THAT(ToText(result), HasSubstr("deliveries 100000.0/s"));
    const std::string path = Write(ToJson(result));
    EXPECT_EQ(Merge({path, path})->copies,
              (CopyFaults{2 * faults.lost, 2 * faults.doubled, 2 * faults.swapped}));
  }
}

TEST_F(ReportTest, CpuIsTakenForAnOperationAndForADelivery) {
  Result result = Good();
  result.deliveries = 1000;
  EXPECT_THAT(ToText(result), HasSubstr("20.00 us an operation, 2.00 us a delivery"));
  EXPECT_THAT(ToJson(result), HasSubstr("\"per_delivery_us\":2.0"));
}

TEST_F(ReportTest, SessionsThatWereNotResumedMakeARunInvalid) {
  Result result = Good();
  result.resumptions = 100;
  JudgeResult(result);
  EXPECT_THAT(result.invalid, testing::IsEmpty());
  result.resumptions_refused = 1;
  JudgeResult(result);
  EXPECT_THAT(result.invalid, testing::Contains(HasSubstr("1 of 100 sessions")));
}

TEST_F(ReportTest, MergedGeneratorsHaveSummedCountsAndTheQuantilesOfTheUnion) {
  Result result = Good();
  for (int i = 0; i < 3; ++i) result.total.Record(50'000'000);
  JudgeResult(result);
  const std::string path = Write(ToJson(result));
  const auto sum = Merge({path, path});
  ASSERT_TRUE(sum.has_value()) << sum.error();
  EXPECT_EQ(sum->completed, 200U);
  EXPECT_EQ(sum->total.Count(), 206U);
  for (const double q : {0.5, 0.97, 0.98}) {
    EXPECT_NEAR(static_cast<double>(sum->total.Quantile(q)),
                static_cast<double>(result.total.Quantile(q)), 1e6)
        << q;
  }
  EXPECT_THAT(sum->invalid, testing::IsEmpty());
}

TEST_F(ReportTest, AMergeIsInvalidWhenOneOfItsPartsIs) {
  Result result = Good();
  result.shed = 1;
  JudgeResult(result);
  const auto sum = Merge({Write(ToJson(result))});
  ASSERT_TRUE(sum.has_value());
  EXPECT_THAT(sum->invalid, testing::ElementsAre(HasSubstr("shed")));
}

TEST_F(ReportTest, AMergeRefusesBucketsThatDoNotExist) {
  std::string text = ToJson(Good());
  const std::size_t at = text.find("\"buckets\":[[");
  ASSERT_NE(at, std::string::npos);
  text.insert(at + 12, "9");  // the index grows by a leading digit
  EXPECT_THAT(Merge({Write(text)}).error(), HasSubstr("no result of mongoosebench"));
}

TEST_F(ReportTest, AnInvalidRunIsNotComparable) {
  Result result = Good();
  result.failed[0] = 50;
  JudgeResult(result);
  EXPECT_THAT(ReadMeasures(Write(ToJson(result))).error(), HasSubstr("INVALID"));
}

TEST_F(ReportTest, TheComparisonsOwnFormGivesTheMeasuresOfOurs) {
  const auto measures = ReadMeasures(Write(
      R"({"area":"lb","machine":"m","metrics":[
          {"name":"connections_per_s","unit":"1/s","better":"higher","runs":3,
           "results":{"ours":9,"haproxy":3}},
          {"name":"x","unit":"us","better":"lower","runs":1,"results":{"haproxy":3}}]})"));
  ASSERT_TRUE(measures.has_value()) << measures.error();
  ASSERT_EQ(measures->size(), 1U);
  EXPECT_EQ(measures->front().better, Better::kHigher);
  EXPECT_DOUBLE_EQ(measures->front().value, 9);
}

TEST_F(ReportTest, OtherFilesAreRefusedByName) {
  EXPECT_THAT(ReadMeasures("/nonexistent.json").error(), HasSubstr("cannot be read"));
  EXPECT_THAT(ReadMeasures(Write("[1,")).error(), HasSubstr("is no JSON object"));
  EXPECT_THAT(ReadMeasures(Write("{}")).error(), HasSubstr("neither a result"));
}

}  // namespace
}  // namespace bench
