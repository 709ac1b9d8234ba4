// Operations that are a connection each:
//   register  every account of the pattern once (XEP-0077)
//   login     connect, log in, say goodbye; or, with resume, cut the connection and resume
//
// login runs closed (as many at one time as there are sessions) or open (an arrival profile);
// latencies of open runs count from the intended start, the wait for a free session included.
#pragma once

#include <deque>

#include "bench/load/pacing.h"
#include "bench/load/xmpp/xmpp_engine.h"

namespace bench {

// Logins that wait in the generator for a session; beyond it they are shed and counted.
inline constexpr std::size_t kQueuedLoginsMax = 200'000;

class RegisterScenario final : public XmppScenario {
 public:
  void OnStart(XmppEngine& engine) override;
  void OnReady(XmppEngine& engine, Session& session) override;
  void OnElement(XmppEngine&, Session&, std::string_view) override {}
  void OnClosed(XmppEngine& engine, Session& session) override;
  void OnFail(XmppEngine& engine, Session& session, bool was_ready) override;
  std::int64_t OnTick(XmppEngine& engine, std::int64_t now_ns) override;
  bool Done() const override { return done_; }

 private:
  std::vector<std::uint32_t> free_;
  std::size_t next_ = 0;
  std::size_t ended_ = 0;
  bool done_ = false;
};

struct LoginOptions {
  Timing timing;
  // Each account logs in once before the window, so that its password is salted by then.
  bool prime = true;
  bool resume = false;
};

class LoginScenario final : public XmppScenario {
 public:
  LoginScenario(LoginOptions options, std::optional<Arrivals> arrivals);
  void OnStart(XmppEngine& engine) override;
  void OnReady(XmppEngine& engine, Session& session) override;
  void OnElement(XmppEngine&, Session&, std::string_view) override {}
  void OnClosed(XmppEngine& engine, Session& session) override;
  void OnFail(XmppEngine& engine, Session& session, bool was_ready) override;
  std::int64_t OnTick(XmppEngine& engine, std::int64_t now_ns) override;
  bool Done() const override { return done_; }

 private:
  bool Prime(XmppEngine& engine);
  void Free(Session& session);
  void Begin(XmppEngine& engine, std::int64_t intended_ns);
  void OpenDue(XmppEngine& engine);

  LoginOptions options_;
  Window window_;
  OpenLoop loop_;
  std::vector<std::uint32_t> free_;
  std::deque<std::int64_t> waiting_;  // intended starts without a session
  std::size_t to_prime_ = 0;
  std::size_t primed_ = 0;
  std::size_t prime_next_ = 0;
  std::size_t next_account_ = 0;
  std::int64_t pause_until_ns_ = 0;  // after a failure that came at once
  bool running_ = false;
  bool done_ = false;
};

}  // namespace bench
