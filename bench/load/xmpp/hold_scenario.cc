#include "bench/load/xmpp/hold_scenario.h"

#include <algorithm>

namespace bench {
namespace {

constexpr std::uint16_t kBackoffDoublingsMax = 6;

}  // namespace

XmppHoldScenario::XmppHoldScenario(XmppHoldOptions options, std::optional<Arrivals> arrivals)
    : options_(std::move(options)), loop_(std::move(arrivals)), random_(options_.seed) {}

void XmppHoldScenario::OnStart(XmppEngine& engine) {
  engine.Out().open_loop = loop_.Active();
  if (options_.resume) {
    before_.Start(engine);
  } else {
    BeginStorm(engine);
  }
}

void XmppHoldScenario::BeginStorm(XmppEngine& engine) {
  for (Session& session : engine.Sessions()) {
    if (session.state == SessionState::kReady) engine.Cut(session);
    unopened_.push_back(session.index);
  }
  std::reverse(unopened_.begin(), unopened_.end());
  storm_ = true;
  engine.StartWindow();
  if (loop_.Active()) loop_.Start(MonotonicNs());
}

void XmppHoldScenario::OpenOne(XmppEngine& engine, std::uint32_t index, std::int64_t intended_ns) {
  ++opening_;
  engine.Open(engine.Sessions()[index], index, intended_ns, options_.resume);
}

std::int64_t XmppHoldScenario::OpenMore(XmppEngine& engine, std::int64_t now_ns) {
  std::int64_t wake = kNever;
  for (std::size_t i = 0; i < retries_.size();) {
    if (retries_[i].due_ns > now_ns) {
      wake = std::min(wake, retries_[i++].due_ns);
      continue;
    }
    const Retry retry = retries_[i];
    retries_[i] = retries_.back();
    retries_.pop_back();
    OpenOne(engine, retry.index, retry.due_ns);
  }
  if (!loop_.Active()) {
    while (!unopened_.empty() && opening_ < kLoggingInMax) {
      const std::uint32_t index = unopened_.back();
      unopened_.pop_back();
      OpenOne(engine, index, MonotonicNs());
    }
    return wake;
  }
  while (!unopened_.empty()) {
    const auto intended = loop_.Take(engine);
    if (!intended) break;
    const std::uint32_t index = unopened_.back();
    unopened_.pop_back();
    OpenOne(engine, index, *intended);
  }
  return unopened_.empty() ? wake : std::min(wake, loop_.NextNs());
}

std::int64_t XmppHoldScenario::OnTick(XmppEngine& engine, std::int64_t now_ns) {
  if (!storm_) {
    if (before_.Hopeless()) done_ = true;
    if (done_ || !before_.Fill(engine)) return before_.NextNs();
    BeginStorm(engine);
    now_ns = MonotonicNs();
  }
  if (!held_) {
    const std::int64_t wake = OpenMore(engine, now_ns);
    const bool all_came = unopened_.empty() || (loop_.Active() && loop_.Exhausted());
    if (!all_came || opening_ > 0 || !retries_.empty()) return wake;
    held_ = true;
    held_since_ns_ = now_ns;
    engine.StopWindow();
    if (!loop_.Active()) engine.Out().offered = engine.Out().started;
    engine.Out().held = engine.OpenCount();
    if (options_.on_held) options_.on_held(engine);
  }
  const bool told = options_.told_to_stop && options_.told_to_stop();
  const bool over = options_.hold_ns != kNever && now_ns >= held_since_ns_ + options_.hold_ns;
  done_ = told || over;
  return now_ns + kHoldPollNs;
}

void XmppHoldScenario::OnReady(XmppEngine& engine, Session& session) {
  if (!storm_) return before_.Ready();
  --opening_;
  session.attempts = 0;
  if (!engine.Measuring()) return;
  ++engine.Out().completed;
  engine.Out().total.Record(MonotonicNs() - session.intended_ns);
}

void XmppHoldScenario::OnFail(XmppEngine& engine, Session& session, bool was_ready) {
  if (!storm_) return before_.Failed(engine, session, was_ready);
  if (was_ready) return;  // lost: counted by the engine, and not opened again
  --opening_;
  if (session.attempts >= options_.retries_max) return;
  const auto doublings = std::min(session.attempts, kBackoffDoublingsMax);
  const std::int64_t longest = options_.retry_base_ns << doublings;
  std::uniform_int_distribution<std::int64_t> jitter(longest / 2, longest);
  retries_.push_back({MonotonicNs() + jitter(random_), session.index});
  ++session.attempts;
  ++engine.Out().retries;
}

}  // namespace bench
