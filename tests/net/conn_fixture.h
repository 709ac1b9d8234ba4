// Both ends of a connection on one loop, for tests of net/conn.
#pragma once

#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "net/conn/conn_worker.h"
#include "net/io/stream.h"
#include "net/tls/context/tls_context.h"
#include "tests/net/loopback.h"
#include "tests/net/tls_test_certs.h"

namespace net::test {

// A host that writes down what it hears; one connection.
class Ear final : public ConnHost {
 public:
  void OnOpen(Conn& opened, std::unique_ptr<TlsFacts> told) override {
    conn = &opened;
    ++opens;
    facts = std::move(told);
    if (on_open) on_open(opened);
  }
  void OnBytes(Conn& c, std::span<uint8_t> bytes) override {
    EXPECT_EQ(ends, 0) << "bytes behind the end";
    EXPECT_EQ(closes, 0);
    received.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    if (on_bytes) on_bytes(c, bytes);
  }
  void OnEnd(Conn& c, PeerEnd how) override {
    EXPECT_EQ(closes, 0);
    ++ends;
    end = how;
    if (on_end) on_end(c);
  }
  void OnWritable(Conn&) override { ++writable; }
  void OnDue(Conn&) override { ++due; }
  void OnClosed(Conn&, const Ended& how) override {
    ++closes;
    ended = how;
    conn = nullptr;
  }

  Conn* conn = nullptr;
  int opens = 0, ends = 0, closes = 0, writable = 0, due = 0;
  PeerEnd end{};
  Ended ended;
  std::string received;
  std::unique_ptr<TlsFacts> facts;
  std::function<void(Conn&)> on_open;
  std::function<void(Conn&, std::span<uint8_t>)> on_bytes;
  std::function<void(Conn&)> on_end;
};

// Certificates and contexts of both roles.
class TlsPair {
 public:
  TlsPair() {
    chain_ = folder_.Write("chain.pem", certificate_.chain_pem(), 0644);
    const std::string key = folder_.Write("key.pem", certificate_.key_pem());
    TlsServerOptions server_options;
    server_options.sites.push_back({.certificates = {{.chain = chain_, .key = key}}});
    auto made_server = TlsServerContext::Create(server_options);
    EXPECT_TRUE(made_server.has_value());
    server = *made_server;
    auto made_client = TlsClientContext::Create({.ca = chain_, .sessions_max = 0});
    EXPECT_TRUE(made_client.has_value());
    client = *made_client;
  }
  ConnTls Server() const { return {.server = server}; }
  ConnTls Client() const {
    return {.client = client, .peer = {.server_name = "example.org", .verify_name = "example.org"}};
  }

  std::shared_ptr<const TlsServerContext> server;
  std::shared_ptr<const TlsClientContext> client;

 private:
  TestCertificate certificate_{TestCertificateOptions{}};
  TestFolder folder_;
  std::string chain_;
};

class ConnTest : public testing::Test {
 protected:
  void Make(const ConnOptions& options) {
    auto made_loop = EventLoop::Create({}, clock_);
    ASSERT_TRUE(made_loop.has_value()) << made_loop.error();
    loop_ = std::move(*made_loop);
    auto made = ConnWorker::Create(*loop_, options);
    ASSERT_TRUE(made.has_value()) << made.error();
    worker_ = std::move(*made);
    listener_ = ListenLoopback();
    address_ = BoundAddress(listener_.get());
    to_ = Address::V4({127, 0, 0, 1}, ntohs(address_.sin_port)).ToSocketName();
  }
  void SetUp() override { Make({}); }
  void TearDown() override {
    Finish();
    const auto drained = loop_->Drain(std::chrono::seconds(5));
    EXPECT_TRUE(drained.has_value()) << drained.error();
    worker_.reset();
  }
  // Ends all there is. Hosts that a test has for itself must live until then: see Last.
  void Finish() {
    if (worker_ == nullptr) return;
    acceptor_.reset();
    const auto closed = worker_->Close(EndReason::kDrained, std::chrono::seconds(5));
    EXPECT_TRUE(closed.has_value()) << closed.error();
    EXPECT_EQ(worker_->size(), 0U);
    EXPECT_EQ(worker_->output_buffers(), 0U);
    EXPECT_EQ(worker_->outboxes_in_use(), 0U);
    EXPECT_EQ(worker_->buffer_pool().in_use(), 0U);
    EXPECT_EQ(worker_->handshake_places(), 0U);
  }

  // Made last in a test that has hosts of its own, so that all ends before they do.
  struct Last {
    explicit Last(ConnTest& t) : test(t) {}
    ~Last() { test.Finish(); }
    ConnTest& test;
  };

  // Those that come are `host`'s.
  void Serve(ConnHost& host, ConnTls tls = {}) {
    acceptor_ =
        std::make_unique<Acceptor>(*loop_, std::move(listener_), [=, this, &host](Slot slot) {
          EXPECT_NE(worker_->Accept(slot, nullptr, sizeof(sockaddr_in), host, tls), nullptr);
        });
  }
  std::string Dump() {
    std::string text = "\nnear: " + near_.ended.Text() + "; far: " + far_.ended.Text();
    worker_->ForEach([&](Conn& conn) {
      text += "\n" + std::string(ConnStateName(conn.state())) + " with " + conn.Waiting() + ", " +
              std::to_string(conn.held()) + " buffers, " + std::to_string(conn.queued()) +
              " bytes to send" + (conn.paused() ? ", paused" : "");
    });
    return text;
  }
  bool Until(const std::function<bool()>& done) { return RunUntil(*loop_, done); }

  SystemClock clock_;
  std::unique_ptr<EventLoop> loop_;
  std::unique_ptr<ConnWorker> worker_;
  UniqueFd listener_;
  std::unique_ptr<Acceptor> acceptor_;
  sockaddr_in address_{};
  SocketName to_;
  Ear near_, far_;  // near_ connects, far_ is connected to
};

}  // namespace net::test
