#include "net/report/log.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <limits>
#include <nlohmann/json.hpp>
#include <thread>
#include <vector>

#include "net/report/log_target.h"

namespace net {
namespace {

using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::MatchesRegex;
using ::testing::Not;

class LogTest : public ::testing::Test {
 protected:
  void SetUp() override { Capture(LogLevel::kInfo, LogFormat::kText); }
  void TearDown() override { ConfigureLog({}); }
  void Capture(LogLevel level, LogFormat format) {
    ConfigureLog({.level = level, .format = format, .sink = [this](std::string_view line) {
                    lines_.emplace_back(line);
                  }});
  }
  std::vector<std::string> lines_;
};

TEST_F(LogTest, ALineHasTimeLevelComponentMessageAndFields) {
  Log(LogLevel::kWarn, "health", "node is down",
      {{"node", "n1"}, {"reason", "connection refused"}, {"fails", 3}, {"up", false}});
  ASSERT_EQ(lines_.size(), 1U);
  EXPECT_THAT(lines_[0], MatchesRegex("(<4>)?[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:]{8}\\.[0-9]{3}Z WARN "
                                      "health: node is down node=n1 reason=\"connection refused\" "
                                      "fails=3 up=false"));
}

TEST_F(LogTest, LinesBelowTheLevelAreNotWritten) {
  EXPECT_FALSE(LogEnabled(LogLevel::kDebug));
  EXPECT_TRUE(LogEnabled(LogLevel::kInfo));
  Log(LogLevel::kDebug, "x", "hidden");
  EXPECT_TRUE(lines_.empty());
  Capture(LogLevel::kError, LogFormat::kText);
  Log(LogLevel::kWarn, "x", "hidden");
  EXPECT_TRUE(lines_.empty());
  Log(LogLevel::kError, "x", "shown");
  EXPECT_EQ(lines_.size(), 1U);
}

TEST_F(LogTest, APeerCannotForgeALineOrAField) {
  Log(LogLevel::kInfo, "x", "bad\nname", {{"peer", "a\nb"}, {"sni", "x\" level=\"error"}});
  ASSERT_EQ(lines_.size(), 1U);
  EXPECT_THAT(lines_[0], Not(HasSubstr("\n")));
  EXPECT_THAT(lines_[0], EndsWith(R"(x: bad\nname peer="a\nb" sni="x\" level=\"error")"));
}

TEST_F(LogTest, EmptyValuesAndTimesReadWell) {
  Log(LogLevel::kInfo, "x", "m",
      {{"empty", ""},
       {"a", std::chrono::milliseconds(1500)},
       {"b", std::chrono::microseconds(250)},
       {"c", std::chrono::nanoseconds(7)},
       {"d", std::chrono::milliseconds(80)},
       {"e", 0.25},
       {"f", uint64_t{18446744073709551615U}}});
  ASSERT_EQ(lines_.size(), 1U);
  EXPECT_THAT(lines_[0],
              EndsWith("m empty=\"\" a=1.5s b=250us c=7ns d=80ms e=0.25 f=18446744073709551615"));
}

TEST_F(LogTest, JsonLinesAreJson) {
  Capture(LogLevel::kInfo, LogFormat::kJson);
  Log(LogLevel::kError, "tls", "bad \"cert\"",
      {{"file", "a\xff.pem"},
       {"n", -1},
       {"t", std::chrono::milliseconds(1500)},
       {"ok", true},
       {"x", std::numeric_limits<double>::infinity()}});
  ASSERT_EQ(lines_.size(), 1U);
  auto json = nlohmann::json::parse(lines_[0]);
  EXPECT_EQ(json["level"], "error");
  EXPECT_EQ(json["component"], "tls");
  EXPECT_EQ(json["message"], "bad \"cert\"");
  EXPECT_EQ(json["file"], "a\xef\xbf\xbd.pem");
  EXPECT_EQ(json["n"], -1);
  EXPECT_DOUBLE_EQ(json["t"].get<double>(), 1.5);
  EXPECT_EQ(json["ok"], true);
  EXPECT_TRUE(json["x"].is_null());
  EXPECT_THAT(json["time"].get<std::string>(), EndsWith("Z"));
}

TEST_F(LogTest, LongValuesAreCut) {
  Log(LogLevel::kInfo, "x", std::string(1 << 20, 'm'), {{"v", std::string(1 << 20, 'v')}});
  ASSERT_EQ(lines_.size(), 1U);
  EXPECT_LT(lines_[0].size(), 2000U);
}

TEST_F(LogTest, AFloodFromOnePlaceIsOneLineAndTheNextSaysHowManyWereHeldBack) {
  ManualClock clock;
  LogLimiter limiter(std::chrono::seconds(10));
  EXPECT_EQ(limiter.Pass(clock.Now()), 0U);
  for (int i = 0; i < 41; ++i) EXPECT_FALSE(limiter.Pass(clock.Now()));
  clock.Advance(std::chrono::milliseconds(9'999));
  EXPECT_FALSE(limiter.Pass(clock.Now()));
  clock.Advance(std::chrono::milliseconds(1));
  EXPECT_EQ(limiter.Pass(clock.Now()), 42U);
  clock.Advance(std::chrono::seconds(10));
  EXPECT_EQ(limiter.Pass(clock.Now()), 0U);
}

TEST_F(LogTest, LogEveryWritesOncePerPlaceAndEvaluatesNothingElse) {
  int evaluated = 0;
  auto dear = [&evaluated] { return ++evaluated; };
  for (int i = 0; i < 100; ++i) {
    LOG_EVERY(std::chrono::hours(1), LogLevel::kWarn, "x", "flood", {{"n", dear()}, {"m", 1}});
    LOG_EVERY(std::chrono::hours(1), LogLevel::kDebug, "x", "below the level", {{"n", dear()}});
  }
  ASSERT_EQ(lines_.size(), 1U);
  EXPECT_THAT(lines_[0], EndsWith("flood n=1 m=1"));
  EXPECT_EQ(evaluated, 1);
}

TEST_F(LogTest, LogEveryTellsTheSuppressedCount) {
  log_internal::LogPassed(7, LogLevel::kWarn, "x", "flood", {{"n", 1}});
  ASSERT_EQ(lines_.size(), 1U);
  EXPECT_THAT(lines_[0], EndsWith("flood n=1 suppressed=7"));
}

TEST_F(LogTest, LinesOfManyThreadsStayWhole) {
  std::vector<std::jthread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([] {
      for (int i = 0; i < 200; ++i) Log(LogLevel::kInfo, "x", "m", {{"i", i}});
    });
  }
  threads.clear();
  ASSERT_EQ(lines_.size(), 800U);
  for (const auto& line : lines_) EXPECT_THAT(line, HasSubstr(" INFO x: m i="));
}

TEST(LogStderr, OffATerminalALineHasItsSyslogPriority) {
  ::testing::internal::CaptureStderr();
  ConfigureLog({});
  Log(LogLevel::kError, "x", "to stderr", {{"a", 1}});
  ConfigureLog({.format = LogFormat::kJson});
  Log(LogLevel::kError, "x", "as json");
  std::string text = ::testing::internal::GetCapturedStderr();
  ConfigureLog({});
  EXPECT_THAT(text, MatchesRegex("<3>[^ ]*Z ERROR x: to stderr a=1\n\\{\"time\":.*\\}\n"));
}

TEST(LogStderr, UnderTheJournalTheTimeIsLeftToIt) {
  ::testing::internal::CaptureStderr();
  struct stat info{};
  ASSERT_EQ(fstat(2, &info), 0);
  std::string stream = std::to_string(info.st_dev) + ":" + std::to_string(info.st_ino);
  setenv("JOURNAL_STREAM", stream.c_str(), 1);
  ConfigureLog({});
  Log(LogLevel::kWarn, "x", "to the journal");
  unsetenv("JOURNAL_STREAM");
  std::string text = ::testing::internal::GetCapturedStderr();
  ConfigureLog({});
  EXPECT_EQ(text, "<4>x: to the journal\n");
}

// A journal as journald is one to who writes: a datagram socket at a path.
class LogJournal : public ::testing::Test {
 protected:
  void SetUp() override {
    path_ = ::testing::TempDir() + "journal." + std::to_string(getpid());
    unlink(path_.c_str());
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    path_.copy(address.sun_path, sizeof address.sun_path - 1);
    fd_ = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    ASSERT_EQ(bind(fd_, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
    ConfigureLog({.sink = [this](std::string_view line) { lines_.emplace_back(line); }});
    ASSERT_EQ(SetLogTarget(LogTarget::kJournal, "mongooselb", path_), "");
  }
  void TearDown() override {
    EXPECT_EQ(SetLogTarget(LogTarget::kStderr, ""), "");
    ConfigureLog({});
    close(fd_);
    unlink(path_.c_str());
  }
  std::string Entry() const {
    std::array<char, 4096> bytes{};
    const ssize_t got = recv(fd_, bytes.data(), bytes.size(), MSG_DONTWAIT);
    return got < 0 ? "" : std::string(bytes.data(), static_cast<size_t>(got));
  }
  std::string path_;
  int fd_ = -1;
  std::vector<std::string> lines_;
};

TEST_F(LogJournal, EachFieldIsAFieldOfTheEntry) {
  Log(LogLevel::kWarn, "lb", "node is down", {{"node", "n1"}, {"why", "a \"b\""}, {"fails", 3}});
  EXPECT_EQ(Entry(),
            "PRIORITY=4\nSYSLOG_IDENTIFIER=mongooselb\nMONGOOSELB_COMPONENT=lb\n"
            "MESSAGE=lb: node is down node=n1 why=\"a \\\"b\\\"\" fails=3\n"
            "MONGOOSELB_NODE=n1\nMONGOOSELB_WHY=a \\\"b\\\"\nMONGOOSELB_FAILS=3\n");
  EXPECT_TRUE(lines_.empty());
}

TEST_F(LogJournal, APeerCannotForgeAField) {
  Log(LogLevel::kInfo, "lb", "x\nPRIORITY=0", {{"sni", "a\nMONGOOSELB_NODE=n1"}});
  const std::string entry = Entry();
  EXPECT_EQ(std::ranges::count(entry, '\n'), 5) << entry;
  EXPECT_THAT(entry, Not(HasSubstr("\nMONGOOSELB_NODE=")));
  EXPECT_THAT(entry, Not(HasSubstr("\nPRIORITY=0")));
}

TEST_F(LogJournal, WhatTheJournalDoesNotTakeIsNotLost) {
  unlink(path_.c_str());
  Log(LogLevel::kError, "lb", "the journal is away");
  ASSERT_EQ(lines_.size(), 1U);
  EXPECT_THAT(lines_[0], HasSubstr("ERROR lb: the journal is away"));
}

TEST_F(LogJournal, APathThatIsNoneChangesNothing) {
  EXPECT_NE(SetLogTarget(LogTarget::kJournal, "mongooselb", std::string(200, 'x')), "");
  Log(LogLevel::kInfo, "lb", "as before");
  EXPECT_THAT(Entry(), HasSubstr("MESSAGE=lb: as before\n"));
}

}  // namespace
}  // namespace net
