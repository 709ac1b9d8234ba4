// Sessions that are opened and stay: idle (built up as fast as the server takes them), or a storm
// that comes by a profile; of full logins, or of sessions that were there, lost their connections
// all at once and resume. Failures back off with jitter, as clients do.
#pragma once

#include <functional>
#include <random>

#include "bench/load/pacing.h"
#include "bench/load/xmpp/standing_sessions.h"

namespace bench {

struct XmppHoldOptions {
  bool resume = false;
  std::int64_t hold_ns = 0;  // after all have been opened; kNever: until told
  std::size_t retries_max = 0;
  std::int64_t retry_base_ns = 500'000'000;  // doubled at each retry, the upper half random
  std::uint64_t seed = 1;
  std::function<void(XmppEngine&)> on_held;  // all opened (or given up)
  std::function<bool()> told_to_stop;        // asked four times a second while holding
};

class XmppHoldScenario final : public XmppScenario {
 public:
  XmppHoldScenario(XmppHoldOptions options, std::optional<Arrivals> arrivals);
  void OnStart(XmppEngine& engine) override;
  void OnReady(XmppEngine& engine, Session& session) override;
  void OnElement(XmppEngine&, Session&, std::string_view) override {}
  void OnClosed(XmppEngine&, Session&) override {}
  void OnFail(XmppEngine& engine, Session& session, bool was_ready) override;
  std::int64_t OnTick(XmppEngine& engine, std::int64_t now_ns) override;
  bool Done() const override { return done_; }

 private:
  struct Retry {
    std::int64_t due_ns;
    std::uint32_t index;
  };
  void BeginStorm(XmppEngine& engine);
  std::int64_t OpenMore(XmppEngine& engine, std::int64_t now_ns);
  void OpenOne(XmppEngine& engine, std::uint32_t index, std::int64_t intended_ns);

  XmppHoldOptions options_;
  OpenLoop loop_;
  StandingSessions before_;  // those that will resume
  std::mt19937_64 random_;
  std::vector<std::uint32_t> unopened_;
  std::vector<Retry> retries_;
  std::size_t opening_ = 0;
  std::int64_t held_since_ns_ = 0;
  bool storm_ = false;  // the arrivals have begun
  bool held_ = false;
  bool done_ = false;
};

}  // namespace bench
