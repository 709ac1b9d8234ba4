#include "net/http/http_server.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>

#include <optional>
#include <string>
#include <vector>

#include "tests/net/loopback.h"

namespace net {
namespace {

using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::StartsWith;

class HttpServerTest : public testing::Test {
 protected:
  void SetUp() override {
    auto loop = EventLoop::Create({}, clock_);
    ASSERT_TRUE(loop.has_value()) << loop.error();
    loop_ = std::move(*loop);
  }
  void TearDown() override {
    server_.reset();
    EXPECT_TRUE(loop_->Drain(std::chrono::seconds(5)));
  }

  void Serve(HttpServerOptions options = {}) {
    UniqueFd listener = test::ListenLoopback();
    address_ = test::BoundAddress(listener.get());
    server_.emplace(
        *loop_, std::move(listener),
        [this](const HttpRequest& request) {
          seen_.push_back(request.method + " " + request.target);
          return HttpResponse{.body = request.path == "/big" ? std::string(300'000, 'b')
                                                             : "you asked for " + request.path};
        },
        options);
  }

  UniqueFd Client(std::string_view send_first = "") {
    UniqueFd fd = test::Dial(address_);
    Send(fd, send_first);
    return fd;
  }
  static void Send(const UniqueFd& fd, std::string_view bytes) {
    ASSERT_EQ(send(fd.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL),
              static_cast<ssize_t>(bytes.size()));
  }
  // Turns the loop until the text contains `until`, or, with "", until the server has closed.
  std::string Read(const UniqueFd& fd, std::string_view until) {
    std::string text;
    bool ended = false;
    EXPECT_TRUE(test::RunUntil(*loop_, [&] {
      char buffer[65'536];
      ssize_t n = 0;
      while ((n = recv(fd.get(), buffer, sizeof buffer, MSG_DONTWAIT)) > 0) {
        text.append(buffer, static_cast<size_t>(n));
      }
      ended = n == 0 || (n < 0 && errno != EAGAIN);
      return ended || (!until.empty() && text.find(until) != std::string::npos);
    })) << text;
    EXPECT_TRUE(ended || !until.empty());
    return text;
  }

  SystemClock clock_;
  std::unique_ptr<EventLoop> loop_;
  sockaddr_in address_{};
  std::optional<HttpServer> server_;
  std::vector<std::string> seen_;
};

TEST_F(HttpServerTest, AnswersRequestsOneAfterTheOtherOnOneConnection) {
  Serve();
  UniqueFd fd = Client("GET /a HTTP/1.1\r\nHost: x\r\n\r\nGET /b HTTP/1.1\r\nHost: x\r\n\r\n");
  std::string text = Read(fd, "for /b");
  EXPECT_THAT(text, StartsWith("HTTP/1.1 200 OK\r\n"));
  EXPECT_LT(text.find("for /a"), text.find("for /b"));
  Send(fd, "GET /c HTTP/1.1\r\nHost: x\r\n\r\n");
  EXPECT_THAT(Read(fd, "for /c"), HasSubstr("for /c"));
  EXPECT_EQ(server_->stats().connections, 1U);
  EXPECT_EQ(server_->stats().requests, 3U);
}

TEST_F(HttpServerTest, HeadHasNoBodyAndCloseCloses) {
  Serve();
  UniqueFd fd = Client("HEAD /a HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
  std::string text = Read(fd, "");
  EXPECT_THAT(text, HasSubstr("Content-Length: 16\r\n"));
  EXPECT_THAT(text, EndsWith("\r\n\r\n"));
  fd.Reset();
  EXPECT_TRUE(test::RunUntil(*loop_, [&] { return server_->open() == 0; }));
}

TEST_F(HttpServerTest, ALargeAnswerArrivesWholeThoughTheClientSaidGoodbye) {
  Serve();
  UniqueFd fd = Client("GET /big HTTP/1.1\r\nHost: x\r\n\r\n");
  shutdown(fd.get(), SHUT_WR);
  std::string text = Read(fd, "");
  EXPECT_EQ(std::ranges::count(text, 'b'), 300'000);
}

TEST_F(HttpServerTest, GarbageIsAnsweredAndClosed) {
  Serve();
  UniqueFd fd = Client("\x16\x03\x01 this is TLS\r\n\r\n");
  EXPECT_THAT(Read(fd, ""), StartsWith("HTTP/1.1 400 "));
  EXPECT_EQ(server_->stats().bad_requests, 1U);
  EXPECT_TRUE(seen_.empty());
}

TEST_F(HttpServerTest, HeadersWithoutEndAreRefusedAtTheLimit) {
  Serve();
  UniqueFd fd = Client("GET / HTTP/1.1\r\nHost: x\r\n");
  Send(fd, "A: " + std::string(9'000, 'a'));
  EXPECT_THAT(Read(fd, ""), StartsWith("HTTP/1.1 431 "));
}

TEST_F(HttpServerTest, ARequestThatTricklesInIsCutOffAndARestingConnectionToo) {
  Serve({.request_timeout = std::chrono::milliseconds(100),
         .idle_timeout = std::chrono::milliseconds(200)});
  UniqueFd slow = Client("GET / HTTP/1.1\r\nX-Slow: ");
  UniqueFd resting = Client();
  Read(slow, "");
  Read(resting, "");
  EXPECT_EQ(server_->stats().timeouts, 2U);
  EXPECT_EQ(server_->open(), 0U);
}

TEST_F(HttpServerTest, ClientsThatHoldAllConnectionsKeepNobodyOut) {
  Serve({.connections_max = 4});
  std::vector<UniqueFd> slow;
  for (int i = 0; i < 12; ++i) slow.push_back(Client("GET / HTTP/1.1\r\n"));
  ASSERT_TRUE(test::RunUntil(*loop_, [&] { return server_->stats().connections == 12; }));
  EXPECT_EQ(server_->open(), 4U);
  UniqueFd fd = Client("GET /me HTTP/1.1\r\nHost: x\r\n\r\n");
  EXPECT_THAT(Read(fd, "for /me"), HasSubstr("200 OK"));
  EXPECT_EQ(server_->stats().displaced, 9U);
}

TEST_F(HttpServerTest, AClientThatPipelinesAndDoesNotReadCostsOneAnswerAtATime) {
  Serve({.limits = {.header_bytes_max = 64 * 1024}});
  std::string many;
  for (int i = 0; i < 200; ++i) many += "GET /big HTTP/1.1\r\nHost: x\r\n\r\n";
  UniqueFd fd = Client(many);
  ASSERT_TRUE(test::RunUntil(*loop_, [&] { return !seen_.empty(); }));
  // The kernel's buffers take some; the others are not even made.
  for (int i = 0; i < 20; ++i) loop_->RunOnce(std::chrono::milliseconds(5));
  EXPECT_LT(seen_.size(), 100U);
}

TEST_F(HttpServerTest, MayEndWithRequestsUnderWay) {
  Serve();
  UniqueFd half = Client("GET / HTT");
  UniqueFd big = Client("GET /big HTTP/1.1\r\nHost: x\r\n\r\n");
  ASSERT_TRUE(test::RunUntil(*loop_, [&] { return !seen_.empty() && server_->open() == 2; }));
  server_.reset();
  EXPECT_THAT(Read(half, ""), testing::IsEmpty());
}

}  // namespace
}  // namespace net
