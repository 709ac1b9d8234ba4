#include "bench/load/xmpp/login_scenarios.h"

#include <algorithm>

namespace bench {
namespace {

// Registrations and priming logins that may fail before the run is given up.
constexpr std::size_t kFailuresMax = 1000;

std::vector<std::uint32_t> AllSessions(XmppEngine& engine) {
  std::vector<std::uint32_t> list;
  for (const Session& session : engine.Sessions()) list.push_back(session.index);
  std::reverse(list.begin(), list.end());
  return list;
}

Session& TakeFree(XmppEngine& engine, std::vector<std::uint32_t>& free) {
  Session& session = engine.Sessions()[free.back()];
  free.pop_back();
  return session;
}

}  // namespace

// ---- register ----------------------------------------------------------------------------------

void RegisterScenario::OnStart(XmppEngine& engine) {
  free_ = AllSessions(engine);
  engine.StartWindow();
}

void RegisterScenario::OnReady(XmppEngine& engine, Session& session) {
  ++engine.Out().completed;
  engine.Out().total.Record(MonotonicNs() - session.intended_ns);
  engine.Leave(session);
}

void RegisterScenario::OnClosed(XmppEngine& /*engine*/, Session& session) {
  ++ended_;
  free_.push_back(session.index);
}

void RegisterScenario::OnFail(XmppEngine& engine, Session& session, bool /*was_ready*/) {
  OnClosed(engine, session);
}

std::int64_t RegisterScenario::OnTick(XmppEngine& engine, std::int64_t now_ns) {
  const std::size_t count = engine.Accounts().count;
  while (!free_.empty() && next_ < count && engine.Out().Failures() < kFailuresMax) {
    engine.Open(TakeFree(engine, free_), next_++, now_ns);
  }
  done_ = ended_ >= count || (engine.OpenCount() == 0 && engine.Out().Failures() >= kFailuresMax);
  if (done_) engine.Out().offered = engine.Out().started;
  return kNever;
}

// ---- login -------------------------------------------------------------------------------------

LoginScenario::LoginScenario(LoginOptions options, std::optional<Arrivals> arrivals)
    : options_(options), window_(options.timing), loop_(std::move(arrivals)) {}

void LoginScenario::OnStart(XmppEngine& engine) {
  engine.Out().open_loop = loop_.Active();
  free_ = AllSessions(engine);
  // What is to be resumed must be there first: a session each; else an account each.
  if (options_.resume) {
    to_prime_ = free_.size();
  } else if (options_.prime) {
    to_prime_ = engine.Accounts().count;
  }
}

// True once it is over.
bool LoginScenario::Prime(XmppEngine& engine) {
  if (running_) return true;
  while (!free_.empty() && prime_next_ < to_prime_) {
    // With resume, a session stays with the account of its number.
    Session& session = TakeFree(engine, free_);
    engine.Open(session, options_.resume ? session.index : prime_next_, engine.Now());
    ++prime_next_;
  }
  if (primed_ < to_prime_ || engine.OpenCount() != 0) return false;
  running_ = true;
  window_.Start(engine.Now());
  if (loop_.Active()) loop_.Start(engine.Now());
  return true;
}

void LoginScenario::Begin(XmppEngine& engine, std::int64_t intended_ns) {
  Session& session = TakeFree(engine, free_);
  engine.Open(session, options_.resume ? session.index : next_account_++, intended_ns,
              options_.resume);
}

void LoginScenario::OpenDue(XmppEngine& engine) {
  while (const auto intended = loop_.Take(engine)) {
    if (waiting_.size() >= kQueuedLoginsMax) {
      ++engine.Out().shed;
    } else {
      waiting_.push_back(*intended);
    }
  }
  while (!waiting_.empty() && !free_.empty()) {
    const std::int64_t intended = waiting_.front();
    waiting_.pop_front();
    Begin(engine, intended);
  }
}

std::int64_t LoginScenario::OnTick(XmppEngine& engine, std::int64_t now_ns) {
  if (engine.Out().Failures() > kFailuresMax && !running_) done_ = true;
  if (!Prime(engine)) return kNever;
  if (window_.Update(engine, now_ns)) {
    if (!loop_.Active()) engine.Out().offered = engine.Out().started;
    done_ = true;
    return now_ns;
  }
  const std::int64_t wake = window_.NextEdgeNs();
  if (loop_.Active()) {
    OpenDue(engine);
    return std::min(wake, loop_.NextNs());
  }
  if (now_ns < pause_until_ns_) return std::min(wake, pause_until_ns_);
  while (!free_.empty() && now_ns >= pause_until_ns_) Begin(engine, MonotonicNs());
  return free_.empty() ? wake : std::min(wake, pause_until_ns_);
}

void LoginScenario::OnReady(XmppEngine& engine, Session& session) {
  if (engine.Measuring()) {
    ++engine.Out().completed;
    engine.Out().total.Record(MonotonicNs() - session.intended_ns);
  }
  if (!options_.resume) return engine.Leave(session);
  engine.Cut(session);
  Free(session);
}

void LoginScenario::Free(Session& session) {
  if (!running_) ++primed_;
  free_.push_back(session.index);
}

void LoginScenario::OnClosed(XmppEngine& /*engine*/, Session& session) { Free(session); }

void LoginScenario::OnFail(XmppEngine& engine, Session& session, bool /*was_ready*/) {
  Free(session);
  pause_until_ns_ = engine.Now() + kFailurePauseNs;
}

}  // namespace bench
