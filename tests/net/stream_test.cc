#include "net/io/stream.h"

#include <gtest/gtest.h>
#include <sys/un.h>

#include <filesystem>
#include <string>
#include <thread>

#include "tests/net/loopback.h"

namespace net {
namespace {

using test::BoundAddress;
using test::Dial;
using test::ListenLoopback;
using test::Plain;
using test::RunUntil;

class StreamRecorder final : public StreamHandler {
 public:
  void OnConnected() override { connected = true; }
  void OnData(std::span<const uint8_t> data) override {
    received.append(reinterpret_cast<const char*>(data.data()), data.size());
  }
  void OnEnd() override { ended = true; }
  void OnDrained() override { ++drained; }
  void OnClosed(std::string_view why) override {
    ++closed;
    reason = why;
  }
  bool connected = false, ended = false;
  int closed = 0, drained = 0;
  std::string received, reason;
};

class StreamTest : public testing::Test {
 protected:
  void SetUp() override {
    auto loop = EventLoop::Create({}, clock_);
    ASSERT_TRUE(loop.has_value()) << loop.error();
    loop_ = std::move(*loop);
  }
  void TearDown() override { EXPECT_TRUE(loop_->Drain(std::chrono::seconds(5))); }

  SystemClock clock_;
  std::unique_ptr<EventLoop> loop_;
  StreamRecorder near_, far_;
};

TEST_F(StreamTest, CarriesBytesBothWaysAndTellsTheEndOnce) {
  UniqueFd listener = ListenLoopback();
  sockaddr_in address = BoundAddress(listener.get());
  std::shared_ptr<Stream> accepted;
  Acceptor acceptor(*loop_, std::move(listener),
                    [&](Slot slot) { accepted = Stream::Accepted(*loop_, slot, &far_); });
  auto stream = Stream::Connect(*loop_, Plain(address), sizeof address, &near_);
  stream->Write("early, ");  // before it is connected
  ASSERT_TRUE(RunUntil(*loop_, [&] { return near_.connected && accepted; }));
  stream->Write("late");
  ASSERT_TRUE(RunUntil(*loop_, [&] { return far_.received == "early, late"; }));
  accepted->Write(std::string(1'000'000, 'x'));
  ASSERT_TRUE(RunUntil(*loop_, [&] { return near_.received.size() == 1'000'000; }));
  accepted->CloseWhenSent();
  ASSERT_TRUE(RunUntil(*loop_, [&] { return near_.ended; }));
  EXPECT_EQ(far_.closed, 0);  // the peer has not ended its side yet
  stream->Abort();
  ASSERT_TRUE(RunUntil(*loop_, [&] { return far_.closed == 1; }));
  EXPECT_EQ(far_.reason, "");
  EXPECT_EQ(near_.closed, 0);
}

TEST_F(StreamTest, AnAnswerToAPeerThatIsStillSendingIsNotTakenAwayByAReset) {
  UniqueFd listener = ListenLoopback();
  sockaddr_in address = BoundAddress(listener.get());
  std::shared_ptr<Stream> accepted;
  Acceptor acceptor(*loop_, std::move(listener),
                    [&](Slot slot) { accepted = Stream::Accepted(*loop_, slot, &far_); });
  UniqueFd peer = Dial(address);
  ASSERT_TRUE(RunUntil(*loop_, [&] { return accepted != nullptr; }));
  accepted->PauseReading();
  const std::string request(100'000, 'x');
  ASSERT_EQ(send(peer.get(), request.data(), request.size(), MSG_NOSIGNAL),
            static_cast<ssize_t>(request.size()));
  accepted->Write("too long");
  accepted->CloseWhenSent();
  // The peer keeps its side open: a linger that has run out must not reset either.
  ASSERT_TRUE(RunUntil(*loop_, [&] { return far_.closed == 1; }));
  char answer[64];
  ASSERT_EQ(recv(peer.get(), answer, sizeof answer, 0), 8);
  EXPECT_EQ(std::string(answer, 8), "too long");
  EXPECT_EQ(recv(peer.get(), answer, sizeof answer, 0), 0);
}

TEST_F(StreamTest, ARefusedConnectClosesWithTheReason) {
  sockaddr_in nobody{};
  {
    UniqueFd listener = ListenLoopback();
    nobody = BoundAddress(listener.get());
  }
  auto stream = Stream::Connect(*loop_, Plain(nobody), sizeof nobody, &near_);
  ASSERT_TRUE(RunUntil(*loop_, [&] { return near_.closed == 1; }));
  EXPECT_EQ(near_.reason, "Connection refused");
  EXPECT_FALSE(near_.connected);
}

TEST_F(StreamTest, MayBeDroppedAndAbortedWhileOperationsAreInFlight) {
  UniqueFd listener = ListenLoopback();
  sockaddr_in address = BoundAddress(listener.get());
  auto stream = Stream::Connect(*loop_, Plain(address), sizeof address, &near_);
  std::weak_ptr<Stream> weak = stream;
  stream->Abort();
  stream.reset();
  EXPECT_FALSE(weak.expired());  // the kernel still has its address
  ASSERT_TRUE(RunUntil(*loop_, [&] { return weak.expired(); }));
  EXPECT_EQ(near_.closed, 0);
}

TEST_F(StreamTest, RefusesAndClosesWhenThePeerNeverReads) {
  UniqueFd listener = ListenLoopback();
  sockaddr_in address = BoundAddress(listener.get());
  auto stream = Stream::Connect(*loop_, Plain(address), sizeof address, &near_);
  ASSERT_TRUE(RunUntil(*loop_, [&] { return near_.connected; }));
  std::string chunk(1U << 20U, 'x');
  bool refused = false;
  for (int i = 0; i < 64 && !refused; ++i) {
    refused = !stream->Write(chunk);
    loop_->RunOnce(Duration::zero());
  }
  EXPECT_TRUE(refused);
  EXPECT_EQ(near_.closed, 1);
  EXPECT_EQ(near_.reason, "the peer reads too slowly");
}

TEST_F(StreamTest, PausedReadingLeavesTheBytesWithTheKernel) {
  UniqueFd listener = ListenLoopback();
  sockaddr_in address = BoundAddress(listener.get());
  std::shared_ptr<Stream> accepted;
  Acceptor acceptor(*loop_, std::move(listener), [&](Slot slot) {
    accepted = Stream::Accepted(*loop_, slot, &far_);
    accepted->PauseReading();
  });
  UniqueFd client = Dial(address);
  std::string text(100'000, 'y');
  ASSERT_EQ(write(client.get(), text.data(), text.size()), 100'000);
  ASSERT_TRUE(RunUntil(*loop_, [&] { return accepted && !far_.received.empty(); }));
  EXPECT_LE(far_.received.size(), 4096U);  // the receive that was already under way
  accepted->ResumeReading();
  ASSERT_TRUE(RunUntil(*loop_, [&] { return far_.received.size() == text.size(); }));
  accepted->Abort();
}

TEST_F(StreamTest, AnAcceptorThatEndedAcceptsNoMore) {
  UniqueFd listener = ListenLoopback();
  sockaddr_in address = BoundAddress(listener.get());
  int accepted = 0;
  auto acceptor = std::make_unique<Acceptor>(*loop_, std::move(listener), [&](Slot slot) {
    ++accepted;
    loop_->ring().Close(slot);
  });
  UniqueFd first = Dial(address);
  ASSERT_TRUE(RunUntil(*loop_, [&] { return accepted == 1; }));
  acceptor.reset();
  ASSERT_TRUE(loop_->Drain(std::chrono::seconds(5)));
  UniqueFd second(socket(AF_INET, SOCK_STREAM, 0));
  EXPECT_NE(connect(second.get(), Plain(address), sizeof address), 0);
}

TEST_F(StreamTest, AStaleUnixSocketIsReplacedAndALiveOneIsNot) {
  const std::string path = testing::TempDir() + "stream_test_" + std::to_string(getpid()) + ".sock";
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::strncpy(address.sun_path, path.c_str(), sizeof address.sun_path - 1);
  const auto* plain = reinterpret_cast<const sockaddr*>(&address);
  {
    auto first = Listen(plain, sizeof address, {});
    ASSERT_TRUE(first.has_value()) << first.error();
    EXPECT_EQ(std::filesystem::status(path).permissions(),
              std::filesystem::perms::owner_read | std::filesystem::perms::owner_write);
    auto second = Listen(plain, sizeof address, {});
    ASSERT_FALSE(second.has_value());
    EXPECT_NE(second.error().find("another program listens there"), std::string::npos);
  }
  auto third = Listen(plain, sizeof address, {});
  EXPECT_TRUE(third.has_value()) << third.error();
  std::filesystem::remove(path);
}

TEST(EventLoop, RunsTimersInOrderAndPostedTasksFromOtherThreads) {
  SystemClock clock;
  auto loop = EventLoop::Create({}, clock);
  ASSERT_TRUE(loop.has_value()) << loop.error();
  std::string order;
  (*loop)->After(std::chrono::milliseconds(20), [&] { order += "b"; });
  (*loop)->After(std::chrono::milliseconds(10), [&] { order += "a"; });
  auto cancelled = (*loop)->After(std::chrono::milliseconds(15), [&] { order += "x"; });
  (*loop)->CancelTimer(cancelled);
  ASSERT_TRUE(RunUntil(**loop, [&] { return order == "ab"; })) << order;
  int sum = 0;
  std::jthread other([&] {
    for (int i = 0; i < 1000; ++i) (*loop)->Post([&sum] { ++sum; });
  });
  EXPECT_TRUE(RunUntil(**loop, [&] { return sum == 1000; }));
}

TEST_F(StreamTest, QueuedCountsWhatWaitsBehindASendInFlight) {
  UniqueFd listener = ListenLoopback();
  sockaddr_in address = BoundAddress(listener.get());
  std::shared_ptr<Stream> accepted;
  Acceptor acceptor(*loop_, std::move(listener),
                    [&](Slot slot) { accepted = Stream::Accepted(*loop_, slot, &far_); });
  auto stream = Stream::Connect(*loop_, Plain(address), sizeof address, &near_);
  ASSERT_TRUE(RunUntil(*loop_, [&] { return near_.connected && accepted; }));
  std::string part(100'000, 'x');
  for (size_t i = 1; i <= 5; ++i) {  // the first is with the ring, the others wait
    stream->Write(part);
    EXPECT_EQ(stream->queued(), i * part.size());
  }
  ASSERT_TRUE(RunUntil(*loop_, [&] { return far_.received.size() == 5 * part.size(); }));
  EXPECT_TRUE(RunUntil(*loop_, [&] { return near_.drained > 0; }));
  EXPECT_EQ(stream->queued(), 0u);
  stream->Abort();
  accepted->Abort();
}

}  // namespace
}  // namespace net
