#include "bench/load/scenarios.h"

#include <algorithm>

namespace bench {
namespace {

void FillFree(Engine& engine, std::vector<std::uint32_t>& list) {
  list.clear();
  for (const Conn& conn : engine.Conns()) list.push_back(conn.index);
  std::reverse(list.begin(), list.end());
}

}  // namespace

// ---- connect -----------------------------------------------------------------------------------

ConnectScenario::ConnectScenario(Timing timing, Payload payload, std::optional<Arrivals> arrivals)
    : window_(timing), payload_(std::move(payload)), loop_(std::move(arrivals)) {}

void ConnectScenario::OnStart(Engine& engine) {
  engine.Out().open_loop = loop_.Active();
  FillFree(engine, free_);
  window_.Start(engine.Now());
  if (loop_.Active()) loop_.Start(engine.Now());
}

void ConnectScenario::OpenDue(Engine& engine) {
  while (const auto intended = loop_.Take(engine)) {
    if (waiting_.size() >= kQueuedStartsMax) {
      ++engine.Out().shed;
    } else {
      waiting_.push_back(*intended);
    }
  }
  while (!waiting_.empty() && !free_.empty()) {
    Conn& conn = engine.Conns()[free_.back()];
    free_.pop_back();
    const std::int64_t intended = waiting_.front();
    waiting_.pop_front();
    engine.Open(conn, intended);
  }
}

std::int64_t ConnectScenario::OnTick(Engine& engine, std::int64_t now_ns) {
  if (window_.Update(engine, now_ns)) {
    if (!loop_.Active()) engine.Out().offered = engine.Out().started;
    done_ = true;
    return now_ns;
  }
  std::int64_t wake = window_.NextEdgeNs();
  if (loop_.Active()) {
    OpenDue(engine);
    return std::min(wake, loop_.NextNs());
  }
  if (now_ns < pause_until_ns_) return std::min(wake, pause_until_ns_);
  while (!free_.empty() && now_ns >= pause_until_ns_) {
    Conn& conn = engine.Conns()[free_.back()];
    free_.pop_back();
    engine.Open(conn, MonotonicNs());
  }
  return free_.empty() ? wake : std::min(wake, pause_until_ns_);
}

void ConnectScenario::OnOpen(Engine& engine, Conn& conn) {
  engine.Request(conn, payload_.request, payload_.reply_bytes, payload_.verify);
}

void ConnectScenario::OnReply(Engine& engine, Conn& conn) {
  engine.Close(conn);
  if (engine.Measuring()) {
    ++engine.Out().completed;
    engine.Out().total.Record(MonotonicNs() - conn.intended_ns);
  }
  free_.push_back(conn.index);
}

void ConnectScenario::OnFail(Engine& engine, Conn& conn, FailReason /*reason*/, bool /*was_idle*/) {
  free_.push_back(conn.index);
  pause_until_ns_ = engine.Now() + kFailurePauseNs;
}

// ---- standing connections ----------------------------------------------------------------------

void StandingSet::Start(Engine& engine) { FillFree(engine, to_open_); }

void StandingSet::Failed(const Conn& conn, bool was_idle) {
  to_open_.push_back(conn.index);
  ++failures_;
  if (was_idle) {
    --ready_;
  } else {
    --opening_;
  }
}

bool StandingSet::Fill(Engine& engine, std::int64_t now_ns) {
  const std::size_t failures_before = failures_;
  while (!to_open_.empty() && opening_ < kOpeningMax && now_ns >= pause_until_ns_ && !Hopeless()) {
    Conn& conn = engine.Conns()[to_open_.back()];
    to_open_.pop_back();
    ++opening_;
    engine.Open(conn, MonotonicNs());
    if (failures_ != failures_before) pause_until_ns_ = now_ns + kFailurePauseNs;
  }
  return to_open_.empty() && opening_ == 0;
}

// ---- echo --------------------------------------------------------------------------------------

EchoScenario::EchoScenario(Timing timing, Payload payload, std::optional<Arrivals> arrivals)
    : window_(timing), payload_(std::move(payload)), loop_(std::move(arrivals)) {}

void EchoScenario::OnStart(Engine& engine) {
  engine.Out().open_loop = loop_.Active();
  waiting_.resize(engine.Conns().size());
  set_.Start(engine);
}

void EchoScenario::Begin(Engine& engine, Conn& conn, std::int64_t intended_ns) {
  conn.intended_ns = intended_ns;
  if (engine.Measuring()) ++engine.Out().started;
  engine.Request(conn, payload_.request, payload_.reply_bytes, payload_.verify);
}

void EchoScenario::TakeDue(Engine& engine) {
  while (const auto intended = loop_.Take(engine)) {
    Conn& conn = engine.Conns()[turn_];
    std::deque<std::int64_t>& queue = waiting_[turn_];
    turn_ = (turn_ + 1) % engine.Conns().size();
    if (conn.state == ConnState::kIdle && queue.empty()) {
      Begin(engine, conn, *intended);
    } else if (waiting_count_ >= kQueuedStartsMax) {
      ++engine.Out().shed;
    } else {
      queue.push_back(*intended);
      ++waiting_count_;
    }
  }
}

std::int64_t EchoScenario::OnTick(Engine& engine, std::int64_t now_ns) {
  if (!running_) {
    if (set_.Hopeless()) done_ = true;
    if (!set_.Fill(engine, now_ns)) return now_ns + kFailurePauseNs;
    running_ = true;
    engine.Out().held = set_.Ready();
    window_.Start(now_ns);
    if (loop_.Active()) loop_.Start(now_ns);
    for (Conn& conn : engine.Conns()) {
      if (!loop_.Active()) Begin(engine, conn, MonotonicNs());
    }
  }
  if (window_.Update(engine, now_ns)) {
    if (!loop_.Active()) engine.Out().offered = engine.Out().started;
    done_ = true;
    return now_ns;
  }
  if (loop_.Active()) TakeDue(engine);
  return std::min(window_.NextEdgeNs(), loop_.Active() ? loop_.NextNs() : kNever);
}

void EchoScenario::OnOpen(Engine& /*engine*/, Conn& /*conn*/) { set_.Opened(); }

void EchoScenario::OnReply(Engine& engine, Conn& conn) {
  const std::int64_t now = MonotonicNs();
  if (engine.Measuring()) {
    ++engine.Out().completed;
    engine.Out().total.Record(now - conn.intended_ns);
  }
  if (!loop_.Active()) return Begin(engine, conn, now);
  std::deque<std::int64_t>& queue = waiting_[conn.index];
  if (queue.empty()) return;
  const std::int64_t intended = queue.front();
  queue.pop_front();
  --waiting_count_;
  Begin(engine, conn, intended);
}

void EchoScenario::OnFail(Engine& engine, Conn& conn, FailReason /*reason*/, bool was_idle) {
  // A connection lost in the run stays lost: its operations show as failed or as not started.
  if (!running_) return set_.Failed(conn, was_idle);
  waiting_count_ -= waiting_[conn.index].size();
  waiting_[conn.index].clear();
  if (engine.OpenCount() == 0) done_ = true;
}

// ---- bulk --------------------------------------------------------------------------------------

BulkScenario::BulkScenario(std::uint64_t total_bytes, std::size_t connections)
    : bytes_each_(std::max<std::uint64_t>(total_bytes / connections, 1)), left_(connections) {
  request_ = "GET " + std::to_string(bytes_each_) + "\n";
}

void BulkScenario::OnOpen(Engine& /*engine*/, Conn& /*conn*/) { set_.Opened(); }

std::int64_t BulkScenario::OnTick(Engine& engine, std::int64_t now_ns) {
  if (running_ || done_) return kNever;
  if (set_.Hopeless()) done_ = true;
  if (!set_.Fill(engine, now_ns)) return now_ns + kFailurePauseNs;
  running_ = true;
  engine.Out().held = set_.Ready();
  engine.StartWindow();
  for (Conn& conn : engine.Conns()) {
    conn.intended_ns = MonotonicNs();
    ++engine.Out().started;
    ++engine.Out().offered;
    engine.Request(conn, request_, bytes_each_, false);
  }
  return kNever;
}

void BulkScenario::OnReply(Engine& engine, Conn& conn) {
  ++engine.Out().completed;
  engine.Out().total.Record(MonotonicNs() - conn.intended_ns);
  if (--left_ == 0) {
    engine.StopWindow();
    done_ = true;
  }
}

void BulkScenario::OnFail(Engine& /*engine*/, Conn& conn, FailReason /*reason*/, bool was_idle) {
  if (!running_) return set_.Failed(conn, was_idle);
  if (!was_idle && --left_ == 0) done_ = true;
}

// ---- hold: idle and storm ----------------------------------------------------------------------

HoldScenario::HoldScenario(HoldOptions options, std::optional<Arrivals> arrivals)
    : options_(std::move(options)), loop_(std::move(arrivals)), random_(options_.seed) {}

void HoldScenario::OnStart(Engine& engine) {
  engine.Out().open_loop = loop_.Active();
  FillFree(engine, unopened_);
  wanted_ = unopened_.size();
  engine.StartWindow();
  if (loop_.Active()) loop_.Start(engine.Now());
}

std::int64_t HoldScenario::OpenMore(Engine& engine, std::int64_t now_ns) {
  const auto open_next = [&](std::int64_t intended) {
    Conn& conn = engine.Conns()[unopened_.back()];
    unopened_.pop_back();
    ++opening_;
    if (!loop_.Active()) ++engine.Out().offered;
    engine.Open(conn, intended);
  };
  std::int64_t wake = kNever;
  if (!loop_.Active()) {
    while (!unopened_.empty() && opening_ < kOpeningMax) open_next(MonotonicNs());
  } else {
    while (!unopened_.empty()) {
      const auto intended = loop_.Take(engine);
      if (!intended) break;
      open_next(*intended);
    }
    // The profile ended before the table was full: the rest is not wanted.
    if (loop_.Exhausted()) {
      wanted_ -= unopened_.size();
      unopened_.clear();
    } else if (!unopened_.empty()) {
      wake = loop_.NextNs();
    }
  }
  for (std::size_t i = 0; i < retries_.size();) {
    if (retries_[i].due_ns > now_ns) {
      wake = std::min(wake, retries_[i].due_ns);
      ++i;
      continue;
    }
    Conn& conn = engine.Conns()[retries_[i].index];
    retries_[i] = retries_.back();
    retries_.pop_back();
    ++opening_;
    ++engine.Out().retries;
    engine.Open(conn, conn.intended_ns);
  }
  return wake;
}

std::int64_t HoldScenario::OnTick(Engine& engine, std::int64_t now_ns) {
  if (!held_) {
    const std::int64_t wake = OpenMore(engine, now_ns);
    if (outcome_ < wanted_) return std::min(wake, now_ns + kHoldPollNs);
    held_ = true;
    held_since_ns_ = now_ns;
    engine.Out().held = engine.OpenCount();
    engine.StopWindow();
    if (options_.on_held) options_.on_held(engine);
  }
  const bool told = options_.told_to_stop && options_.told_to_stop();
  const bool over = options_.hold_ns != kNever && now_ns >= held_since_ns_ + options_.hold_ns;
  if (told || over) {
    done_ = true;
    return now_ns;
  }
  return now_ns + kHoldPollNs;
}

void HoldScenario::OnOpen(Engine& engine, Conn& conn) {
  if (options_.payload.request.empty()) return Settled(engine, conn);
  engine.Request(conn, options_.payload.request, options_.payload.reply_bytes,
                 options_.payload.verify);
}

void HoldScenario::OnReply(Engine& engine, Conn& conn) { Settled(engine, conn); }

void HoldScenario::Settled(Engine& engine, Conn& conn) {
  --opening_;
  ++outcome_;
  ++engine.Out().completed;
  if (engine.Measuring()) engine.Out().total.Record(MonotonicNs() - conn.intended_ns);
}

void HoldScenario::OnFail(Engine& engine, Conn& conn, FailReason /*reason*/, bool was_idle) {
  if (was_idle) return;  // counted as lost by the engine
  --opening_;
  if (conn.attempts >= options_.retries_max) {
    ++outcome_;
    return;
  }
  const std::int64_t ceiling = options_.retry_base_ns << std::min<int>(conn.attempts, 6);
  ++conn.attempts;
  std::uniform_int_distribution<std::int64_t> jitter(ceiling / 2, ceiling);
  retries_.push_back({engine.Now() + jitter(random_), conn.index});
}

}  // namespace bench
