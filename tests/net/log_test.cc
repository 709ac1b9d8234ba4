#include "net/report/log.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <fstream>
#include <iterator>
#include <limits>
#include <nlohmann/json.hpp>
#include <thread>
#include <vector>

#include "net/report/line_out.h"
#include "net/report/log_output.h"
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

// Neither the journal nor stderr is read by anybody: who logs goes on at once.
TEST_F(LogJournal, WhereNobodyReadsLinesAreDroppedAndCountedAndToldOfOnceAMinute) {
  ConfigureLog({});  // lines go to stderr itself
  Time now{std::chrono::hours(1)};
  SetLogClock([&] { return now; });
  std::array<int, 2> pipe_ends{};
  ASSERT_EQ(pipe(pipe_ends.data()), 0);
  const int stderr_before = dup(STDERR_FILENO);
  ASSERT_EQ(dup2(pipe_ends[1], STDERR_FILENO), STDERR_FILENO);
  const uint64_t before = LogLinesDropped();
  const std::string text(1000, 'x');
  for (int i = 0; i < 2'000; ++i) Log(LogLevel::kInfo, "lb", text);
  dup2(stderr_before, STDERR_FILENO);
  close(stderr_before);
  const uint64_t dropped = LogLinesDropped() - before;
  EXPECT_GT(dropped, 1'000U);
  EXPECT_LT(dropped, 2'000U);
  // In the pipe stand whole lines.
  std::string piped(1U << 20U, ' ');
  const ssize_t size = read(pipe_ends[0], piped.data(), piped.size());
  ASSERT_GT(size, 0);
  EXPECT_EQ(piped[static_cast<size_t>(size) - 1], '\n');
  close(pipe_ends[0]);
  close(pipe_ends[1]);

  const auto drain = [this] {
    std::vector<std::string> entries;
    for (std::string entry = Entry(); !entry.empty(); entry = Entry()) entries.push_back(entry);
    return entries;
  };
  drain();
  Log(LogLevel::kInfo, "lb", "read again");
  EXPECT_THAT(drain(), ::testing::ElementsAre(
                           HasSubstr("MESSAGE=lb: read again"),
                           HasSubstr("\nMONGOOSELB_DROPPED=" + std::to_string(dropped) + "\n")));
  Log(LogLevel::kInfo, "lb", "once");
  EXPECT_THAT(drain(), ::testing::SizeIs(1));
  SetLogClock(nullptr);
}

// As where stderr is a socket of the journal, or of another program.
TEST(LineOutTest, NobodyWaitsForWhoDoesNotRead) {
  std::array<int, 2> ends{};
  ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()), 0);
  LineOut out(ends[1]);
  const std::string line(5'000, 'x');
  size_t taken = 0;
  while (out.Write(line)) ++taken;
  EXPECT_GT(taken, 3U);
  EXPECT_FALSE(out.Write(line));
  std::string all;
  std::array<char, 65536> bytes{};
  const auto read_all = [&] {
    for (ssize_t got = 1; got > 0;) {
      got = recv(ends[0], bytes.data(), bytes.size(), MSG_DONTWAIT);
      if (got > 0) all.append(bytes.data(), static_cast<size_t>(got));
    }
  };
  read_all();
  EXPECT_TRUE(out.Write("behind"));
  read_all();
  EXPECT_THAT(all, EndsWith("\nbehind\n")) << "a line of its own, whatever was cut before it";
  close(ends[0]);
  close(ends[1]);
}

TEST(LogFileTest, AFileIsReopenedAtItsPathAndOneThatIsNoneChangesNothing) {
  const std::string path = ::testing::TempDir() + "log_file." + std::to_string(getpid());
  unlink(path.c_str());
  ConfigureLog({});
  ASSERT_EQ(SetLogFile(path, false), "");
  Log(LogLevel::kInfo, "node", "one");
  EXPECT_THAT(SetLogFile("/nowhere/at/all", false), HasSubstr("/nowhere/at/all: cannot be opened"));
  ASSERT_EQ(rename(path.c_str(), (path + ".1").c_str()), 0);
  Log(LogLevel::kInfo, "node", "two");
  ReopenLogFile();
  Log(LogLevel::kWarn, "node", "three");
  EXPECT_EQ(SetLogTarget(LogTarget::kStderr, ""), "");
  const auto text = [](const std::string& file) {
    std::ifstream in(file);
    return std::string(std::istreambuf_iterator<char>(in), {});
  };
  EXPECT_THAT(text(path + ".1"), MatchesRegex("[^<].*Z INFO node: one\n.*Z INFO node: two\n"));
  EXPECT_THAT(text(path), MatchesRegex("[^<].*Z WARN node: three\n"));
  unlink(path.c_str());
  unlink((path + ".1").c_str());
}

TEST_F(LogJournal, APathThatIsNoneChangesNothing) {
  EXPECT_NE(SetLogTarget(LogTarget::kJournal, "mongooselb", std::string(200, 'x')), "");
  Log(LogLevel::kInfo, "lb", "as before");
  EXPECT_THAT(Entry(), HasSubstr("MESSAGE=lb: as before\n"));
}

}  // namespace
}  // namespace net
