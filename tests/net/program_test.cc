#include "net/service/program.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <string>
#include <vector>

#include "tests/net/loopback.h"

namespace net {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr std::initializer_list<int> kSignals = {SIGTERM, SIGINT, SIGHUP, SIGUSR1};

// Does nothing but write down what it is told.
class ProgramTest : public ::testing::Test {
 protected:
  void SetUp() override {
    ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends_.data()), 0);
    old_ = UniqueFd(ends_[0]);
    Program::Prepare(kSignals);
  }
  void TearDown() override {
    sigset_t set;
    sigemptyset(&set);
    for (const int signal : kSignals) sigaddset(&set, signal);
    pthread_sigmask(SIG_UNBLOCK, &set, nullptr);
  }

  void Serve(Program& program) {
    ASSERT_TRUE(program.MakeLoop().has_value());
    const auto note = [this](std::string what) {
      return [this, what = std::move(what)] { seen_.push_back(what); };
    };
    program.Serve(kSignals,
                  {.reload = note("reload"),
                   .stop = note("stop"),
                   .stop_now = note("stop now"),
                   .other = [this](int) { seen_.emplace_back("other"); },
                   .status = [] { return std::string("well"); },
                   .from_predecessor = [this](std::string_view line) { seen_.emplace_back(line); },
                   .predecessor_left = note("left")});
  }
  bool Sees(Program& program, size_t count) {
    return test::RunUntil(program.loop(), [&] { return seen_.size() >= count; });
  }
  std::string FromProgram() const {
    std::array<char, 1024> bytes{};
    const ssize_t got = recv(old_.get(), bytes.data(), bytes.size(), 0);
    return {bytes.data(), got > 0 ? static_cast<size_t>(got) : 0};
  }

  std::array<int, 2> ends_{-1, -1};
  UniqueFd old_;  // the end of the process before
  std::vector<std::string> seen_;
};

TEST_F(ProgramTest, ASecondWordToStopIsAnotherOneThanTheFirst) {
  close(ends_[1]);
  Program program({}, {.name = "test", .part = "test"}, -1);
  Serve(program);
  EXPECT_FALSE(program.inherits());
  size_t count = 0;
  for (const int signal : {SIGHUP, SIGUSR1, SIGTERM, SIGHUP, SIGINT, SIGTERM}) {
    ASSERT_EQ(kill(getpid(), signal), 0);
    ASSERT_TRUE(Sees(program, ++count));
  }
  EXPECT_THAT(seen_, ElementsAre("reload", "other", "stop", "reload", "stop now", "stop now"));
  program.Silence();
  program.Drain();
}

TEST_F(ProgramTest, WhoWaitsForItIsToldWhyItDoesNotRun) {
  Program program({}, {.name = "test", .part = "test"}, ends_[1]);
  EXPECT_EQ(program.Refuse("lb.toml:3: pool: is missing"), Program::kFailed);
  EXPECT_THAT(FromProgram(), HasSubstr(R"({"failed":"lb.toml:3: pool: is missing"})"));
}

TEST_F(ProgramTest, LinesOfTheProcessBeforeComeUntilItIsGone) {
  Program program({}, {.name = "test", .part = "test"}, ends_[1]);
  Serve(program);
  EXPECT_TRUE(program.inherits());
  program.Running();
  EXPECT_FALSE(program.inherits());
  EXPECT_EQ(FromProgram(), "ready\n");
  const std::string lines = "main\ncounts 3\n";
  ASSERT_EQ(write(old_.get(), lines.data(), lines.size()), static_cast<ssize_t>(lines.size()));
  ASSERT_TRUE(Sees(program, 1));
  program.TellPredecessor("order x");
  ASSERT_TRUE(Sees(program, 1));
  EXPECT_EQ(FromProgram(), "order x\n");
  old_.Reset();
  ASSERT_TRUE(Sees(program, 2));
  EXPECT_THAT(seen_, ElementsAre("counts 3", "left")) << "that it is the main one is not told on";
  program.LeaveOthers();
  program.Silence();
  program.Drain();
}

}  // namespace
}  // namespace net
