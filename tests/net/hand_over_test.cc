// A hand-over with /bin/sh as the new program: what it says, how it fails, how it is ended.

#include "net/service/hand_over.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <memory>
#include <optional>
#include <string>

#include "tests/net/loopback.h"

namespace net {
namespace {

using std::chrono::milliseconds;
using testing::HasSubstr;
using Result = std::expected<HandOver::Successor, std::string>;

class HandOverTest : public testing::Test {
 protected:
  void SetUp() override {
    auto loop = EventLoop::Create({}, clock_);
    ASSERT_TRUE(loop.has_value()) << loop.error();
    loop_ = std::move(*loop);
    folder_ = std::filesystem::temp_directory_path() / ("hand_over_" + std::to_string(getpid()));
    std::filesystem::create_directories(folder_);
  }
  void TearDown() override {
    hand_over_.reset();
    EXPECT_TRUE(loop_->Drain(std::chrono::seconds(5)));
    std::filesystem::remove_all(folder_);
  }

  void Begin(const std::string& script, Inheritance inheritance = {},
             HandOverOptions options = {}) {
    hand_over_ = std::make_unique<HandOver>(
        *loop_, SuccessorProgram{.path = "/bin/sh", .name = "sh", .arguments = {"-c", script}},
        std::move(inheritance), [this](Result result) { result_.emplace(std::move(result)); },
        options);
    EXPECT_FALSE(result_.has_value()) << "never from the constructor";
  }

  // What the program that runs `script` is answered with.
  const Result& Answer() {
    EXPECT_TRUE(test::RunUntil(*loop_, [&] { return result_.has_value(); }));
    return *result_;
  }

  // Lets go of the channel, whose end is the program's.
  void ReapSuccessor() {
    const pid_t pid = (*result_)->pid;
    result_.reset();
    EXPECT_TRUE(test::RunUntil(*loop_, [&] { return waitpid(pid, nullptr, WNOHANG) == pid; }));
  }

  std::string FileOf(const std::string& name) {
    std::ifstream file(folder_ / name);
    return {std::istreambuf_iterator<char>(file), {}};
  }

  SystemClock clock_;
  std::unique_ptr<EventLoop> loop_;
  std::filesystem::path folder_;
  std::unique_ptr<HandOver> hand_over_;
  std::optional<Result> result_;
};

TEST_F(HandOverTest, OneThatSaysReadyTakesOverAndTheLinesGoOnBothWays) {
  Begin("read header <&3; echo ready >&3; read word <&3; echo \"got $word\" >&3");
  ASSERT_TRUE(Answer().has_value()) << Answer().error();
  EXPECT_GT(result_->value().pid, 0);
  EXPECT_TRUE(hand_over_->ended());
  std::string line;
  bool ended = false;
  LineChannel channel(
      *loop_, std::move((*result_)->channel), [&](std::string_view text) { line = text; },
      [&] { ended = true; });
  channel.Send("main");
  EXPECT_TRUE(test::RunUntil(*loop_, [&] { return ended; }));
  EXPECT_EQ(line, "got main");
  waitpid((*result_)->pid, nullptr, 0);
}

TEST_F(HandOverTest, ItsOwnErrorIsTheAnswerAtOnceAndSoIsHowItEnded) {
  const Time begun = clock_.Now();
  Begin("echo '{\"failed\":\"lb.toml:3: pool.xmpp.balence: unknown key\"}' >&3; exit 1");
  ASSERT_FALSE(Answer().has_value());
  EXPECT_EQ(Answer().error(), "lb.toml:3: pool.xmpp.balence: unknown key");
  result_.reset();
  Begin("exit 7");
  ASSERT_FALSE(Answer().has_value());
  EXPECT_THAT(Answer().error(), HasSubstr("ended with status 7"));
  result_.reset();
  Begin("kill -SEGV $$");
  ASSERT_FALSE(Answer().has_value());
  EXPECT_THAT(Answer().error(), HasSubstr("Segmentation"));
  EXPECT_LT(clock_.Now() - begun, std::chrono::seconds(5));
  EXPECT_TRUE(test::RunUntil(*loop_, [&] { return hand_over_->ended(); }));
}

TEST_F(HandOverTest, AProgramThatIsNotThereIsNamed) {
  hand_over_ = std::make_unique<HandOver>(
      *loop_, SuccessorProgram{.path = folder_ / "gone", .name = "gone", .arguments = {}},
      Inheritance{}, [this](Result result) { result_.emplace(std::move(result)); });
  EXPECT_FALSE(result_.has_value());
  ASSERT_FALSE(Answer().has_value());
  EXPECT_THAT(Answer().error(), HasSubstr("gone: No such file"));
  EXPECT_TRUE(hand_over_->ended());
}

// The loop turns all the while: nothing here waits for the child.
TEST_F(HandOverTest, OneThatNeitherServesNorEndsIsToldToEndAndThenKilled) {
  int turns = 0;
  EventLoop::TimerId next{};
  std::function<void()> turn = [&] {
    ++turns;
    next = loop_->After(milliseconds(10), [&] { turn(); });
  };
  turn();
  Begin("trap '' TERM; echo $$ > " + (folder_ / "pid").string() + "; while :; do sleep 1; done", {},
        {.ready_within = milliseconds(500), .grace = milliseconds(300)});
  ASSERT_FALSE(Answer().has_value());
  EXPECT_THAT(Answer().error(), HasSubstr("did not serve within"));
  EXPECT_FALSE(hand_over_->ended()) << "the answer does not wait for its end";
  const int turns_then = turns;
  EXPECT_TRUE(test::RunUntil(*loop_, [&] { return hand_over_->ended(); }));
  EXPECT_GT(turns - turns_then, 5);
  EXPECT_GT(turns_then, 10);
  const pid_t pid = std::stoi(FileOf("pid"));
  EXPECT_EQ(kill(pid, 0), -1) << "killed and reaped";
  loop_->CancelTimer(next);  // the loop turns on when this function has gone
}

TEST_F(HandOverTest, WhatItInheritsNamesNeitherOurWatchdogNorOurProgram) {
  setenv("WATCHDOG_PID", "1", 1);
  setenv("WATCHDOG_USEC", "30000000", 1);
  Begin("echo \"${WATCHDOG_PID-none} ${WATCHDOG_USEC-none} $1 $2\" > " +
        (folder_ / "seen").string() + "; echo ready >&3; read word <&3");
  unsetenv("WATCHDOG_PID");
  unsetenv("WATCHDOG_USEC");
  ASSERT_TRUE(Answer().has_value()) << Answer().error();
  EXPECT_EQ(FileOf("seen"), "none 30000000 3 \n") << "sh takes --inherit for its own name";
  ReapSuccessor();
}

// A state of megabytes and a thousand sockets, to one that reads late: more than the queue takes.
TEST_F(HandOverTest, MuchIsHandedOverWithoutBlockingAndArrivesWhole) {
  Inheritance inheritance;
  inheritance.state = std::string(4 << 20, 'x');
  for (int i = 0; i < 450; ++i) {
    inheritance.sockets.push_back(
        {"socket " + std::to_string(i), UniqueFd(fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3))});
  }
  // The new process is this program: see Child().
  const std::string self = std::filesystem::read_symlink("/proc/self/exe");
  setenv("HAND_OVER_TEST_CHILD", (folder_ / "taken").c_str(), 1);
  hand_over_ = std::make_unique<HandOver>(
      *loop_, SuccessorProgram{.path = self, .name = "child", .arguments = {}},
      std::move(inheritance), [this](Result result) { result_.emplace(std::move(result)); });
  unsetenv("HAND_OVER_TEST_CHILD");
  ASSERT_TRUE(Answer().has_value()) << Answer().error();
  EXPECT_EQ(FileOf("taken"), "450 4194304 socket 449");
  ReapSuccessor();
}

TEST(ProgramPathTest, IsThePathThatWasAskedForNotTheFileBehindIt) {
  const auto folder =
      std::filesystem::temp_directory_path() / ("program_path_" + std::to_string(getpid()));
  std::filesystem::create_directories(folder);
  std::filesystem::create_symlink("/bin/sh", folder / "current");
  EXPECT_EQ(ProgramPath((folder / "current").c_str()), (folder / "current").string());
  const std::string path = std::getenv("PATH");
  setenv("PATH", (folder.string() + ":" + path).c_str(), 1);
  EXPECT_EQ(ProgramPath("current"), (folder / "current").string());
  setenv("PATH", path.c_str(), 1);
  const std::string self = std::filesystem::read_symlink("/proc/self/exe");
  for (const char* name : {"/proc/self/exe", "no-such-program", "", "./nowhere/at/all"}) {
    EXPECT_EQ(ProgramPath(name), self) << name;
  }
  std::filesystem::remove_all(folder);
}

// What the test program is as a new process: takes all over late, and says what it got.
int Child(const char* file) {
  usleep(100'000);  // the old process must not need us to read at once
  auto taken = TakeOver(kInheritFd);
  if (!taken) {
    TellFailed(kInheritFd, taken.error());
    return 1;
  }
  std::ofstream(file) << taken->sockets.size() << ' ' << taken->state.size() << ' '
                      << taken->sockets.back().name;
  TellReady(kInheritFd);
  char byte = 0;
  return static_cast<int>(recv(kInheritFd, &byte, 1, 0));
}

}  // namespace
}  // namespace net

int main(int argc, char** argv) {
  const char* child = std::getenv("HAND_OVER_TEST_CHILD");
  if (child != nullptr) return net::Child(child);
  testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}
