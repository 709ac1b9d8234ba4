// What goes between threads: Mailbox, Gate, BlockingPool; and descriptors of others.

#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <functional>
#include <future>
#include <latch>
#include <thread>

#include "net/base/address.h"
#include "net/base/deadline_queue.h"
#include "net/io/blocking_pool.h"
#include "net/io/fd_ready.h"
#include "net/io/gate.h"
#include "net/io/mailbox.h"
#include "net/io/socket.h"
#include "tests/net/loopback.h"
#include "tests/test_folder.h"

namespace net {
namespace {

using test::RunUntil;

class LoopTest : public testing::Test {
 protected:
  void SetUp() override {
    auto loop = EventLoop::Create({}, clock_);
    ASSERT_TRUE(loop.has_value()) << loop.error();
    loop_ = std::move(*loop);
  }
  void TearDown() override { EXPECT_TRUE(loop_->Drain(std::chrono::seconds(5))); }
  SystemClock clock_;
  std::unique_ptr<EventLoop> loop_;
};

// --- Post ---------------------------------------------------------------------------------------

// A loop that is never at rest runs a task while the call that posted it is still under way: the
// thread sanitizer sees that call in a loop that is gone.
TEST(EventLoopPost, ATaskThatEndsItsLoopDoesNotTakeItFromWhoPostedIt) {
  const SystemClock clock;
  for (int round = 0; round < 300; ++round) {
    std::promise<EventLoop*> made;
    auto loop = made.get_future();
    const std::jthread thread([&] {
      auto own = EventLoop::Create({.submission_entries = 8, .completion_entries = 16}, clock);
      if (!own) return made.set_value(nullptr);
      std::function<void()> turn = [&turn, busy = own->get()] { busy->Post(turn); };
      (*own)->Post(turn);
      made.set_value(own->get());
      (*own)->Run();  // and is destroyed
    });
    EventLoop* const posted = loop.get();
    ASSERT_NE(posted, nullptr);
    posted->Post([posted] { posted->Stop(); });
  }
}

// --- Mailbox ------------------------------------------------------------------------------------

using MailboxTest = LoopTest;

TEST_F(MailboxTest, AllOfATurnComesInOneBatchAndInOrder) {
  std::vector<std::vector<int>> batches;
  Mailbox<int> mailbox(*loop_, 100, [&](std::vector<int>& batch) { batches.push_back(batch); });
  const auto slot = mailbox.slot();
  std::jthread([&] {
    for (int i = 0; i < 50; ++i) EXPECT_EQ(slot.Add(i), Mailbox<int>::Put::kTaken);
  }).join();
  loop_->RunOnce(std::chrono::seconds(1));
  ASSERT_EQ(batches.size(), 1U);
  ASSERT_EQ(batches[0].size(), 50U);
  for (int i = 0; i < 50; ++i) EXPECT_EQ(batches[0][static_cast<size_t>(i)], i);
}

TEST_F(MailboxTest, IsBoundedAndRefusesAfterItsEnd) {
  size_t taken = 0;
  auto mailbox = std::make_unique<Mailbox<int>>(
      *loop_, 3, [&](std::vector<int>& batch) { taken += batch.size(); });
  const auto slot = mailbox->slot();
  std::vector<int> two = {1, 2};
  EXPECT_EQ(slot.AddAll(&two), Mailbox<int>::Put::kTaken);
  EXPECT_TRUE(two.empty());
  two = {3, 4};
  EXPECT_EQ(slot.AddAll(&two), Mailbox<int>::Put::kFull);
  EXPECT_EQ(two.size(), 2U) << "all or none";
  EXPECT_EQ(slot.Add(3), Mailbox<int>::Put::kTaken);
  EXPECT_EQ(slot.Add(4), Mailbox<int>::Put::kFull);
  EXPECT_EQ(slot.AddAlways(4), Mailbox<int>::Put::kTaken) << "for who cannot come again";
  EXPECT_EQ(slot.AddAlways(5), Mailbox<int>::Put::kTaken);
  EXPECT_EQ(slot.AddAll(&two), Mailbox<int>::Put::kFull);
  loop_->RunOnce(std::chrono::seconds(1));
  EXPECT_EQ(taken, 5U);
  EXPECT_EQ(slot.Add(5), Mailbox<int>::Put::kTaken);
  mailbox.reset();
  EXPECT_EQ(slot.Add(6), Mailbox<int>::Put::kClosed);
  EXPECT_EQ(slot.AddAlways(6), Mailbox<int>::Put::kClosed);
  loop_->RunOnce(std::chrono::milliseconds(10));
  EXPECT_EQ(taken, 5U) << "nothing is delivered behind the end";
}

TEST_F(MailboxTest, ManyThreadsLoseNothingWhileTheLoopRuns) {
  constexpr int kThreads = 4;
  constexpr int kEach = 20'000;
  std::vector<int> last(kThreads, -1);
  size_t taken = 0, batches = 0;
  Mailbox<std::pair<int, int>> mailbox(*loop_, SIZE_MAX, [&](auto& batch) {
    ++batches;
    for (const auto& [thread, number] : batch) {
      EXPECT_EQ(number, ++last[static_cast<size_t>(thread)]);
      ++taken;
    }
  });
  std::vector<std::jthread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([slot = mailbox.slot(), t] {
      for (int i = 0; i < kEach; ++i) slot.Add({t, i});
    });
  }
  EXPECT_TRUE(RunUntil(*loop_, [&] { return taken == size_t{kThreads} * kEach; }));
  EXPECT_LT(batches, taken);
}

TEST_F(MailboxTest, ThreadsMayPutWhileItEndsAndTheLoopWithIt) {
  std::atomic<bool> stop = false;
  std::vector<std::jthread> threads;
  {
    SystemClock clock;
    auto loop = EventLoop::Create({}, clock);
    ASSERT_TRUE(loop.has_value());
    Mailbox<int> mailbox(**loop, 1'000, [](std::vector<int>&) {});
    std::latch begun(3);
    for (int t = 0; t < 3; ++t) {
      threads.emplace_back([&, slot = mailbox.slot()] {
        begun.count_down();
        while (!stop) slot.Add(1);
      });
    }
    begun.wait();
    for (int i = 0; i < 20; ++i) (*loop)->RunOnce(std::chrono::milliseconds(1));
    mailbox.Close();
    loop->reset();  // and they go on
  }
  stop = true;
}

// --- Gate ---------------------------------------------------------------------------------------

TEST(GateTest, NobodyEntersBehindTheEndAndTheLastOneTellsIt) {
  Gate gate;
  int emptied = 0;
  Gate::Pass first = gate.Enter();
  Gate::Pass second = gate.Enter();
  EXPECT_TRUE(first && second);
  gate.Close([&] { ++emptied; });
  EXPECT_FALSE(gate.Enter());
  EXPECT_EQ(gate.inside(), 2U);
  first = {};
  EXPECT_EQ(emptied, 0);
  Gate::Pass moved = std::move(second);
  EXPECT_EQ(gate.inside(), 1U);
  moved = Gate::Pass();
  EXPECT_EQ(emptied, 1);
  gate.Wait();
  Gate empty;
  empty.Close([&] { ++emptied; });
  EXPECT_EQ(emptied, 2);
}

TEST(GateTest, ThreadsThatComeAndGoAreAllOutBehindTheWait) {
  for (int round = 0; round < 50; ++round) {
    std::atomic<int> working = 0;
    std::atomic<bool> over = false;
    std::vector<std::jthread> threads;
    {
      Gate gate;
      std::latch begun(3);
      std::latch left(3);
      for (int t = 0; t < 3; ++t) {
        threads.emplace_back([&] {
          begun.count_down();
          while (const Gate::Pass pass = gate.Enter()) {
            ++working;
            EXPECT_FALSE(over);
            --working;
          }
          left.count_down();
        });
      }
      begun.wait();
      gate.Close();
      gate.Wait();
      over = true;
      EXPECT_EQ(working, 0);
      left.wait();  // (they still ask it)
    }
  }
}

// --- BlockingPool -------------------------------------------------------------------------------

using BlockingPoolTest = LoopTest;

TEST_F(BlockingPoolTest, WorkRunsElsewhereAndItsAnswerHere) {
  BlockingPool pool({.threads = 2});
  BlockingPool::Client client(pool, *loop_);
  const auto here = std::this_thread::get_id();
  std::string answer;
  bool nothing = false;
  ASSERT_TRUE(client.Run(
      [here] {
        EXPECT_NE(std::this_thread::get_id(), here);
        return std::string("rows");
      },
      [&](std::string rows) {
        EXPECT_EQ(std::this_thread::get_id(), here);
        answer = std::move(rows);
      }));
  ASSERT_TRUE(client.Run([] {}, [&] { nothing = true; }));
  EXPECT_TRUE(RunUntil(*loop_, [&] { return answer == "rows" && nothing; }));
}

TEST_F(BlockingPoolTest, OneThreadKeepsTheOrderAndMoreThanMayWaitAreRefused) {
  BlockingPool pool({.threads = 1, .waiting_max = 10});
  BlockingPool::Client client(pool, *loop_);
  std::latch go(1), begun(1);
  std::vector<int> order;
  ASSERT_TRUE(client.Run([&] { begun.count_down(), go.wait(); }, [] {}));
  begun.wait();
  for (int i = 0; i < 10; ++i) {
    ASSERT_TRUE(client.Run([i] { return i; }, [&](int n) { order.push_back(n); }));
  }
  EXPECT_FALSE(client.Run([] {}, [] { ADD_FAILURE() << "it was refused"; }));
  EXPECT_EQ(pool.waiting(), 10U);
  go.count_down();
  ASSERT_TRUE(RunUntil(*loop_, [&] { return order.size() == 10; }));
  EXPECT_TRUE(std::ranges::is_sorted(order));
}

TEST_F(BlockingPoolTest, WhoHasGoneHearsNothingAndHisJobsAreNotBegun) {
  BlockingPool pool({.threads = 1});
  std::latch go(1), begun(1);
  std::atomic<bool> ran = false;
  bool answered = false;
  {
    BlockingPool::Client client(pool, *loop_);
    ASSERT_TRUE(client.Run([&] { begun.count_down(), go.wait(); }, [&] { answered = true; }));
    ASSERT_TRUE(client.Run([&] { ran = true; }, [&] { answered = true; }));
    begun.wait();
  }
  go.count_down();
  BlockingPool::Client later(pool, *loop_);
  bool last = false;
  ASSERT_TRUE(later.Run([] {}, [&] { last = true; }));
  ASSERT_TRUE(RunUntil(*loop_, [&] { return last; }));
  EXPECT_FALSE(ran);
  EXPECT_FALSE(answered);
}

// --- FdReady ------------------------------------------------------------------------------------

using FdReadyTest = LoopTest;

TEST_F(FdReadyTest, TellsOnceForEachQuestionAndFollowsItsOwnersWishes) {
  int pair[2];
  ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
  UniqueFd near(pair[0]), far(pair[1]);
  std::vector<uint32_t> told;
  FdReady ready(*loop_, [&](uint32_t events) { told.push_back(events); });
  ready.Await(near.get(), POLLIN);
  loop_->RunOnce(std::chrono::milliseconds(5));
  EXPECT_TRUE(told.empty());
  // It wants to write instead, and may at once.
  ready.Await(near.get(), POLLOUT);
  ASSERT_TRUE(RunUntil(*loop_, [&] { return told.size() == 1; }));
  EXPECT_EQ(told[0], uint32_t{POLLOUT});
  ASSERT_EQ(write(far.get(), "x", 1), 1);
  loop_->RunOnce(std::chrono::milliseconds(5));
  EXPECT_EQ(told.size(), 1U) << "nobody asked";
  ready.Await(near.get(), POLLIN);
  ASSERT_TRUE(RunUntil(*loop_, [&] { return told.size() == 2; }));
  EXPECT_EQ(told[1] & POLLIN, uint32_t{POLLIN});
  // The descriptor is closed, and its number another file's.
  char byte = 0;
  ASSERT_EQ(read(near.get(), &byte, 1), 1);
  ready.Await(near.get(), POLLIN);
  loop_->RunOnce(std::chrono::milliseconds(2));
  ready.Stop();
  far.Reset();
  for (int i = 0; i < 5; ++i) loop_->RunOnce(std::chrono::milliseconds(2));
  EXPECT_EQ(told.size(), 2U);
  ready.Await(near.get(), POLLIN);
  ASSERT_TRUE(RunUntil(*loop_, [&] { return told.size() == 3; }));
  EXPECT_NE(told[2] & POLLHUP, 0U);
}

// --- DeadlineQueue ------------------------------------------------------------------------------

TEST(DeadlineQueueTest, WhoCameFirstIsDueFirstAndNobodyBefore) {
  DeadlineQueue<int> queue(std::chrono::seconds(2));
  const Time start{std::chrono::seconds(100)};
  EXPECT_EQ(queue.next(), Time::max());
  queue.Push(1, start);
  queue.Push(2, start + std::chrono::seconds(1));
  EXPECT_EQ(queue.next(), start + std::chrono::seconds(2));
  EXPECT_FALSE(queue.PopDue(start + std::chrono::milliseconds(1'999)));
  EXPECT_EQ(queue.PopDue(start + std::chrono::seconds(2))->key, 1);
  EXPECT_FALSE(queue.PopDue(start + std::chrono::seconds(2)));
  EXPECT_EQ(queue.PopDue(start + std::chrono::seconds(9))->since, start + std::chrono::seconds(1));
  EXPECT_TRUE(queue.empty());
}

// --- Unix sockets ------------------------------------------------------------------------------

TEST(UnixSocketTest, OneThatAnswersIsInUseAndOneThatEndsWithinThePatienceIsReplaced) {
  const TestFolder folder;
  const SocketName name = SocketName::Unix(folder.path() + "/s");
  auto first = Listen(name.get(), name.size(), {});
  ASSERT_TRUE(first.has_value()) << first.error();
  auto second = Listen(name.get(), name.size(), {});
  ASSERT_FALSE(second.has_value());
  EXPECT_NE(second.error().find("in use"), std::string::npos);
  // As the ring of a process that was killed: it answers once more, and is then gone.
  std::thread ending([&first] {
    for (int asked = 0; asked < 2; ++asked) {
      UniqueFd probe(accept(first->get(), nullptr, nullptr));
      EXPECT_TRUE(probe);
    }
    first->Reset();
  });
  auto third = Listen(name.get(), name.size(), {.unix_patience = std::chrono::seconds(30)});
  ending.join();
  EXPECT_TRUE(third.has_value()) << third.error();
}

}  // namespace
}  // namespace net
