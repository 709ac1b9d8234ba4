#include "net/conn/conn.h"

#include <gtest/gtest.h>

#include <set>
#include <string>

#include "net/conn/admission.h"
#include "net/conn/conn_metrics.h"
#include "net/report/metrics.h"
#include "tests/net/conn_fixture.h"
#include "tests/net/echo_server.h"

namespace net::test {
namespace {

using State = Conn::State;

std::string Pattern(size_t size) {
  std::string text(size, '\0');
  for (size_t i = 0; i < size; ++i) text[i] = static_cast<char>('a' + i * 7 % 26 + i / 4096 % 3);
  return text;
}

// --- What an end is called ----------------------------------------------------------------------

TEST(EndReasonTest, EachHasItsOwnNameAndTextAndSaysWhoseDoingItWas) {
  std::set<std::string_view> names, texts;
  for (size_t i = 0; i < kEndReasons; ++i) {
    const auto reason = static_cast<EndReason>(i);
    EXPECT_FALSE(EndReasonName(reason).empty());
    EXPECT_TRUE(names.insert(EndReasonName(reason)).second) << EndReasonName(reason);
    EXPECT_TRUE(texts.insert(EndReasonText(reason)).second) << EndReasonText(reason);
  }
  EXPECT_EQ(EndedBy(EndReason::kPeerReset), EndBy::kPeer);
  EXPECT_EQ(EndedBy(EndReason::kShut), EndBy::kUs);
  EXPECT_EQ(EndedBy(EndReason::kNoResources), EndBy::kLack);
  EXPECT_EQ(
      (Ended{.reason = EndReason::kPeerReset, .when = EndWhen::kOpen, .error = ECONNRESET}).Text(),
      "the peer's socket failed while open (ECONNRESET)");
}

TEST(ConnStateTest, EveryStateCanEndAndNothingComesAfterTheEnd) {
  for (size_t from = 0; from < Conn::kStates; ++from) {
    const auto state = static_cast<State>(from);
    EXPECT_EQ(Conn::MayEnter(state, State::kClosing), state < State::kClosing)
        << ConnStateName(state);
    EXPECT_FALSE(Conn::MayEnter(State::kGone, state));
    EXPECT_EQ(Conn::MayEnter(state, State::kGone), state == State::kClosing);
    // Who has said his last word never speaks again.
    for (const State ended : {State::kPeerDone, State::kSelfDone, State::kLastWords}) {
      EXPECT_FALSE(Conn::MayEnter(ended, State::kOpen));
      EXPECT_FALSE(Conn::MayEnter(ended, State::kHandshake));
    }
  }
}

// --- Bytes --------------------------------------------------------------------------------------

TEST_F(ConnTest, EchoesInTheClear) {
  EchoServer server(*worker_, std::move(listener_), sizeof(sockaddr_in));
  const Last last(*this);
  const std::string all = Pattern(3'000'000);
  // Before it is open, and more than the high water at once.
  ASSERT_NE(worker_->Connect(to_, near_), nullptr);
  worker_->ForEach([&](Conn& conn) {
    EXPECT_EQ(conn.Send(std::string_view(all).substr(0, 10)), Conn::Sent::kQueued);
    EXPECT_EQ(conn.Send(std::string_view(all).substr(10)), Conn::Sent::kFull);
  });
  ASSERT_TRUE(Until([&] { return near_.received.size() == all.size(); }))
      << near_.received.size() << Dump();
  EXPECT_TRUE(near_.received == all);
  EXPECT_EQ(near_.writable, 1);
  near_.conn->Shutdown();
  ASSERT_TRUE(Until([&] { return near_.closes == 1 && worker_->size() == 0; }));
  EXPECT_EQ(near_.ended.reason, EndReason::kClosed);
  EXPECT_EQ(near_.ended.when, EndWhen::kEnding);
  EXPECT_EQ(near_.end, PeerEnd::kGraceful);
  EXPECT_EQ(server.closed[EndReason::kPeerClosed], 1U);
}

TEST_F(ConnTest, EchoesOverTls) {
  const TlsPair tls;
  EchoServer server(*worker_, std::move(listener_), sizeof(sockaddr_in), tls.Server());
  const Last last(*this);
  const std::string all = Pattern(3'000'000);
  ASSERT_NE(worker_->Connect(to_, near_, tls.Client()), nullptr);
  worker_->ForEach([&](Conn& conn) { conn.Send(all); });
  ASSERT_TRUE(Until([&] { return near_.received.size() == all.size(); }))
      << near_.received.size() << Dump();
  EXPECT_TRUE(near_.received == all);
  ASSERT_NE(near_.facts, nullptr);
  EXPECT_TRUE(near_.facts->peer->verified);
  EXPECT_EQ(server.secured, 1U);
  near_.conn->Shutdown();
  ASSERT_TRUE(Until([&] { return near_.closes == 1 && worker_->size() == 0; }));
  EXPECT_EQ(near_.ended.reason, EndReason::kClosed);
  EXPECT_EQ(near_.end, PeerEnd::kGraceful);
  EXPECT_EQ(server.closed[EndReason::kPeerClosed], 1U);
  EXPECT_EQ(server.truncated, 0U);
}

TEST_F(ConnTest, AnEndOfTheWireIsNoGoodByeOverTls) {
  const TlsPair tls;
  EchoServer server(*worker_, std::move(listener_), sizeof(sockaddr_in), tls.Server());
  ASSERT_NE(worker_->Connect(to_, near_, tls.Client()), nullptr);
  const Last last(*this);
  ASSERT_TRUE(Until([&] { return server.secured == 1 && near_.opens == 1; }));
  near_.conn->Send("words");
  ASSERT_TRUE(Until([&] { return near_.received == "words"; }));
  near_.conn->End(EndReason::kShut);
  ASSERT_TRUE(Until([&] { return worker_->size() == 0; }));
  EXPECT_EQ(near_.ended.reason, EndReason::kShut);
  EXPECT_EQ(server.truncated, 1U);
  EXPECT_EQ(server.closed[EndReason::kPeerTruncated], 1U);
}

TEST_F(ConnTest, SharedBytesGoToAllAndAreCountedBack) {
  std::vector<Conn*> all;
  far_.on_open = [&](Conn& conn) { all.push_back(&conn); };
  Serve(far_);
  std::array<Ear, 20> ears;
  const Last last(*this);
  for (Ear& ear : ears) ASSERT_NE(worker_->Connect(to_, ear), nullptr);
  ASSERT_TRUE(Until([&] { return all.size() == ears.size(); }));
  const SharedBytes long_one(Pattern(10'000));
  const SharedBytes short_one(std::string_view("<presence/>"));
  for (Conn* conn : all) {
    EXPECT_EQ(conn->Send(long_one), Conn::Sent::kQueued);
    conn->Send("between");
    EXPECT_EQ(conn->Send(short_one), Conn::Sent::kQueued);
  }
  EXPECT_EQ(long_one.holders(), 1 + ears.size()) << "nothing was copied";
  EXPECT_EQ(short_one.holders(), 1U) << "it is shorter than what holding it costs";
  const std::string expected = Pattern(10'000) + "between<presence/>";
  for (const Ear& ear : ears) ASSERT_TRUE(Until([&] { return ear.received == expected; }));
  ASSERT_TRUE(Until([&] { return long_one.holders() == 1; }));
  EXPECT_EQ(worker_->outboxes_in_use(), 0U);
  EXPECT_EQ(worker_->output_buffers(), 0U);
}

TEST_F(ConnTest, WhatIsSentInATurnTakesOneCallOfTheKernel) {
  Serve(far_);
  ASSERT_NE(worker_->Connect(to_, near_), nullptr);
  ASSERT_TRUE(Until([&] { return far_.opens == 1 && near_.opens == 1; }));
  loop_->RunOnce(std::chrono::milliseconds(1));
  const uint64_t before = loop_->ring().stats().completions;
  const SharedBytes shared(Pattern(1'000));
  for (int i = 0; i < 5; ++i) {
    near_.conn->Send("x");
    near_.conn->Send(shared);
  }
  ASSERT_TRUE(Until([&] { return far_.received.size() == 5'005; }));
  EXPECT_LE(loop_->ring().stats().completions - before, 3U) << "one send, one or two receives";
}

TEST_F(ConnTest, ThePeerThatDoesNotReadIsToldFromOneThatReadsSlowly) {
  worker_.reset();
  Make({.send_queue_bytes_high = 100'000,
        .send_queue_bytes_low = 10'000,
        .send_queue_bytes_max = 4'000'000});
  Serve(far_);
  far_.on_open = [](Conn& conn) { conn.Pause(); };
  ASSERT_NE(worker_->Connect(to_, near_), nullptr);
  ASSERT_TRUE(Until([&] { return far_.opens == 1 && near_.opens == 1; }));
  const std::string piece = Pattern(50'000);
  // Until the kernel's buffers are full, and ours above the high water.
  size_t sent = 0;
  while (near_.conn->queued() < 1'000'000) {
    near_.conn->Send(piece);
    sent += piece.size();
    loop_->RunOnce(std::chrono::milliseconds(1));
  }
  EXPECT_EQ(near_.writable, 0);
  EXPECT_TRUE(far_.received.empty());
  far_.conn->Resume();
  ASSERT_TRUE(Until([&] { return near_.writable == 1; }));
  ASSERT_TRUE(Until([&] { return far_.received.size() == sent; }));
  far_.conn->Pause();
  for (int i = 0; i < 4'000 && near_.closes == 0 && near_.conn != nullptr; ++i) {
    if (near_.conn->Send(piece) == Conn::Sent::kClosed) break;
  }
  ASSERT_TRUE(Until([&] { return near_.closes == 1; }));
  EXPECT_EQ(near_.ended.reason, EndReason::kPeerSlow);
}

TEST_F(ConnTest, PausedItHandsOutNothingAndResumedAll) {
  Serve(far_);
  far_.on_open = [](Conn& conn) { conn.Pause(); };
  ASSERT_NE(worker_->Connect(to_, near_), nullptr);
  ASSERT_TRUE(Until([&] { return far_.opens == 1 && near_.opens == 1; }));
  near_.conn->Send("words behind a pause");
  near_.conn->Shutdown();
  ASSERT_TRUE(Until([&] { return near_.conn->state() == State::kSelfDone; }));
  for (int i = 0; i < 5; ++i) loop_->RunOnce(std::chrono::milliseconds(5));
  EXPECT_EQ(far_.received, "");
  EXPECT_EQ(far_.ends, 0);
  far_.conn->Resume();
  ASSERT_TRUE(Until([&] { return far_.ends == 1; }));
  EXPECT_EQ(far_.received, "words behind a pause");
  far_.conn->Shutdown();
  ASSERT_TRUE(Until([&] { return worker_->size() == 0; }));
}

// --- Ends ---------------------------------------------------------------------------------------

TEST_F(ConnTest, AResetIsCalledOneAndKeepsItsErrno) {
  Serve(far_);
  UniqueFd peer = Dial(address_);
  ASSERT_TRUE(Until([&] { return far_.opens == 1; }));
  EXPECT_EQ(far_.conn->peer().IpToString(), "127.0.0.1");
  const linger now{.l_onoff = 1, .l_linger = 0};
  ASSERT_EQ(setsockopt(peer.get(), SOL_SOCKET, SO_LINGER, &now, sizeof now), 0);
  peer.Reset();
  ASSERT_TRUE(Until([&] { return far_.closes == 1; }));
  EXPECT_EQ(far_.ended.reason, EndReason::kPeerReset);
  EXPECT_EQ(far_.ended.error, ECONNRESET);
  EXPECT_EQ(far_.ended.when, EndWhen::kOpen);
  EXPECT_EQ(far_.ends, 0);
  const auto& counted = worker_->conn_stats().ended[static_cast<size_t>(EndReason::kPeerReset)];
  EXPECT_EQ(counted[static_cast<size_t>(EndWhen::kOpen)].load(), 1U);
  EXPECT_EQ(worker_->conn_stats().errnos[ECONNRESET].load(), 1U);
  // Of two workers the sum is written.
  const ConnStats* const workers[] = {&worker_->conn_stats(), &worker_->conn_stats()};
  MetricsWriter out;
  WriteConnMetrics("mongooseim_c2s", workers, out);
  WriteListenerMetrics("mongooseim_c2s", ListenerCounts(), out);
  const std::string text = std::move(out).Take();
  for (const char* line :
       {"mongooseim_c2s_ended_total{reason=\"peer_reset\",by=\"peer\",when=\"open\"} 2\n",
        "mongooseim_c2s_socket_errors_total{errno=\"ECONNRESET\"} 2\n",
        "mongooseim_c2s_tls_handshakes_total{result=\"failed\"} 0\n",
        "mongooseim_c2s_listener_refused_total{limit=\"source\"} 0\n"}) {
    EXPECT_NE(text.find(line), std::string::npos) << line << text;
  }
}

TEST_F(ConnTest, AConnectThatIsRefusedSaysSo) {
  listener_.Reset();
  ASSERT_NE(worker_->Connect(to_, near_), nullptr);
  ASSERT_TRUE(Until([&] { return near_.closes == 1; }));
  EXPECT_EQ(near_.opens, 0);
  EXPECT_EQ(near_.ended.reason, EndReason::kConnectFailed);
  EXPECT_EQ(near_.ended.when, EndWhen::kConnecting);
  EXPECT_EQ(near_.ended.error, ECONNREFUSED);
}

TEST_F(ConnTest, AnEndFromWithinACallIsToldOnceAndBehindIt) {
  bool inside = false;
  far_.on_bytes = [&](Conn& conn, std::span<uint8_t>) {
    inside = true;
    conn.End(EndReason::kRefused);
    EXPECT_EQ(far_.closes, 0);
    EXPECT_EQ(conn.Send("more"), Conn::Sent::kClosed);
    inside = false;
  };
  Serve(far_);
  ASSERT_NE(worker_->Connect(to_, near_), nullptr);
  worker_->ForEach([&](Conn& conn) { conn.Send("words"); });
  ASSERT_TRUE(Until([&] { return far_.closes == 1 && near_.ends + near_.closes > 0; }));
  EXPECT_EQ(far_.ended.reason, EndReason::kRefused);
}

TEST_F(ConnTest, NothingEntersAfterTheEnd) {
  Serve(far_);
  ASSERT_TRUE(worker_->Close(EndReason::kDrained, std::chrono::seconds(5)).has_value());
  EXPECT_EQ(worker_->Connect(to_, near_), nullptr);
  const Address peer = Address::V4({127, 0, 0, 1}, 1);
  EXPECT_EQ(worker_->Accept(0, &peer, 0, far_), nullptr);
}

TEST_F(ConnTest, WakesAtTheTimeThatWasAskedFor) {
  Serve(far_);
  ASSERT_NE(worker_->Connect(to_, near_), nullptr);
  ASSERT_TRUE(Until([&] { return near_.opens == 1; }));
  const Time asked = loop_->now();
  near_.conn->WakeIn(std::chrono::milliseconds(120));
  ASSERT_TRUE(Until([&] { return near_.due == 1; }));
  EXPECT_GE(loop_->now() - asked, std::chrono::milliseconds(100));
}

// --- TLS ----------------------------------------------------------------------------------------

TEST_F(ConnTest, TlsBeginsOnAnOpenConnectionBehindWhatWasQueuedInTheClear) {
  const TlsPair tls;
  far_.on_bytes = [&](Conn& conn, std::span<uint8_t>) {
    if (conn.secure() || far_.received != "<starttls/>") return;
    conn.Send("<proceed/>");
    conn.StartTls(tls.Server());
    conn.Send("over TLS, ");  // waits for it
  };
  near_.on_bytes = [&](Conn& conn, std::span<uint8_t>) {
    if (near_.received == "<proceed/>") conn.StartTls(tls.Client());
  };
  Serve(far_);
  ASSERT_NE(worker_->Connect(to_, near_), nullptr);
  worker_->ForEach([&](Conn& conn) { conn.Send("<starttls/>"); });
  ASSERT_TRUE(Until([&] { return near_.opens == 2 && far_.opens == 2; }));
  EXPECT_TRUE(near_.conn->secure() && far_.conn->secure());
  near_.conn->Send("<stream>");
  far_.conn->Send("and again");
  ASSERT_TRUE(Until([&] { return near_.received == "<proceed/>over TLS, and again"; }));
  ASSERT_TRUE(Until([&] { return far_.received == "<starttls/><stream>"; }));
}

TEST_F(ConnTest, WhoSpeaksSomethingElseIsToldInTlsAndEndsAsAFailedHandshake) {
  const TlsPair tls;
  Serve(far_, tls.Server());
  ASSERT_NE(worker_->Connect(to_, near_), nullptr);
  worker_->ForEach([&](Conn& conn) { conn.Send("<stream:stream to='example.org'>"); });
  near_.on_end = [](Conn& conn) { conn.Shutdown(); };
  ASSERT_TRUE(Until([&] { return far_.closes == 1 && near_.closes == 1; }));
  EXPECT_EQ(far_.opens, 0);
  EXPECT_EQ(far_.ended.reason, EndReason::kPeerTlsFailed);
  ASSERT_GE(near_.received.size(), 2U);
  EXPECT_EQ(near_.received[0], 21) << "an alert";
}

TEST_F(ConnTest, ACrowdShakesHandsThroughFewPlaces) {
  worker_.reset();
  Make({.handshakes = {.places_max = 2}});
  const TlsPair tls;
  EchoServer server(*worker_, std::move(listener_), sizeof(sockaddr_in), tls.Server());
  std::vector<Ear> ears(40);
  const Last last(*this);
  for (Ear& ear : ears) ASSERT_NE(worker_->Connect(to_, ear, tls.Client()), nullptr);
  ASSERT_TRUE(Until([&] { return server.secured == ears.size(); }));
  for (Ear& ear : ears) ASSERT_TRUE(Until([&] { return ear.opens == 1; }));
  EXPECT_GT(worker_->conn_stats().handshakes_waited.load(), 0U);
  EXPECT_EQ(worker_->handshake_places(), 0U);
}

TEST_F(ConnTest, MoreThanMayWaitForAHandshakeAreRefusedForOurLack) {
  worker_.reset();
  Make({.handshakes = {.places_max = 1, .waiting_max = 0}});
  const TlsPair tls;
  EchoServer server(*worker_, std::move(listener_), sizeof(sockaddr_in), tls.Server());
  std::vector<Ear> ears(20);
  const Last last(*this);
  for (Ear& ear : ears) ASSERT_NE(worker_->Connect(to_, ear, tls.Client()), nullptr);
  ASSERT_TRUE(Until(
      [&] { return server.secured + server.closed[EndReason::kHandshakesFull] == ears.size(); }));
  EXPECT_GT(server.secured, 0U);
  EXPECT_GT(server.closed[EndReason::kHandshakesFull], 0U);
}

// --- What it costs ------------------------------------------------------------------------------

TEST_F(ConnTest, AtRestItHoldsNothingThatIsLent) {
  const TlsPair tls;
  EchoServer server(*worker_, std::move(listener_), sizeof(sockaddr_in), tls.Server());
  const Last last(*this);
  for (int i = 0; i < 2; ++i) {
    near_.received.clear();
    near_.conn = nullptr;
    ASSERT_NE(worker_->Connect(to_, near_, tls.Client()), nullptr);
    ASSERT_TRUE(Until([&] { return near_.conn != nullptr; }));
    near_.conn->Send(Pattern(100'000));
    ASSERT_TRUE(Until([&] { return near_.received.size() == 100'000; }));
  }
  for (int i = 0; i < 3; ++i) loop_->RunOnce(std::chrono::milliseconds(2));
  worker_->ForEach([](Conn& conn) {
    EXPECT_EQ(conn.held(), 0U);
    EXPECT_FALSE(conn.has_outbox());
    EXPECT_EQ(conn.queued(), 0U);
  });
  EXPECT_EQ(worker_->buffer_pool().in_use(), 0U);
  EXPECT_EQ(worker_->output_buffers(), 0U);
  EXPECT_EQ(worker_->outboxes_in_use(), 0U);
}

}  // namespace
}  // namespace net::test
