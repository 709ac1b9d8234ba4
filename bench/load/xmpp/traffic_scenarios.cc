#include "bench/load/xmpp/traffic_scenarios.h"

#include <algorithm>
#include <charconv>

#include "bench/load/xmpp/xml_view.h"

namespace bench {
namespace {

constexpr std::int64_t kExpiryNs = 1'000'000'000;

}  // namespace

std::optional<std::uint64_t> NumberOf(std::string_view text, char letter) {
  if (!text.starts_with(letter)) return std::nullopt;
  std::uint64_t number = 0;
  const auto [end, error] = std::from_chars(text.data() + 1, text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return number;
}

std::uint64_t FirstNumber() { return static_cast<std::uint64_t>(MonotonicNs() / 1000); }

// ---- the common part ---------------------------------------------------------------------------

TrafficScenario::TrafficScenario(TrafficOptions options, std::optional<Arrivals> arrivals)
    : options_(options), window_(options.timing), loop_(std::move(arrivals)) {}

void TrafficScenario::OnStart(XmppEngine& engine) {
  engine.Out().open_loop = loop_.Active();
  set_.Start(engine);
}

void TrafficScenario::OnReady(XmppEngine& engine, Session& /*session*/) {
  set_.Ready();
  engine.Out().held = set_.ReadyCount();
}

void TrafficScenario::OnFail(XmppEngine& engine, Session& session, bool was_ready) {
  set_.Failed(engine, session, was_ready);
  // What was under way for it would be counted as lost: such a run proves nothing.
  if (preparing_ || running_) GiveUp(engine);
  if (set_.Hopeless()) done_ = true;
}

void TrafficScenario::GiveUp(XmppEngine& engine) {
  engine.Out().interrupted = true;
  done_ = true;
}

void TrafficScenario::Completed(XmppEngine& engine, std::int64_t intended_ns) {
  if (!engine.Measuring()) return;
  ++engine.Out().completed;
  engine.Out().total.Record(MonotonicNs() - intended_ns);
}

std::int64_t TrafficScenario::OnTick(XmppEngine& engine, std::int64_t now_ns) {
  if (!running_) {
    if (done_ || !set_.Fill(engine)) return set_.NextNs();
    preparing_ = true;
    if (!Prepare(engine, now_ns)) return set_.NextNs();
    preparing_ = false;
    running_ = true;
    window_.Start(now_ns);
    if (loop_.Active()) loop_.Start(now_ns);
    if (Closed()) StartAll(engine);
  }
  if (window_.Update(engine, now_ns)) return Drain(engine, now_ns);
  if (now_ns >= next_expiry_ns_) {
    Expire(engine, now_ns - engine.TimeoutNs());
    next_expiry_ns_ = now_ns + kExpiryNs;
  }
  std::int64_t wake = std::min(window_.NextEdgeNs(), next_expiry_ns_);
  if (loop_.Active()) {
    while (const auto intended = loop_.Take(engine)) Start(engine, *intended);
    wake = std::min(wake, loop_.NextNs());
  }
  return wake;
}

// What is under way comes in, or is lost: then it is counted as a failure.
std::int64_t TrafficScenario::Drain(XmppEngine& engine, std::int64_t now_ns) {
  if (!draining_) {
    draining_ = true;
    drain_until_ns_ = now_ns + engine.TimeoutNs();
    if (Closed()) engine.Out().offered = engine.Out().started;
  }
  const bool late = now_ns >= drain_until_ns_;
  done_ = done_ || Expire(engine, late ? kNever : INT64_MIN) == 0;
  return std::min(drain_until_ns_, now_ns + 10'000'000);
}

// ---- message -----------------------------------------------------------------------------------

void MessageScenario::StartAll(XmppEngine& engine) {
  for (std::size_t i = 0; i < options_.window; ++i) {
    for (std::size_t pair = 0; pair < engine.Sessions().size() / 2; ++pair) {
      SendOn(engine, pair, MonotonicNs());
    }
  }
}

void MessageScenario::Start(XmppEngine& engine, std::int64_t intended_ns) {
  SendOn(engine, turn_++ % (engine.Sessions().size() / 2), intended_ns);
}

void MessageScenario::SendOn(XmppEngine& engine, std::size_t index, std::int64_t intended_ns) {
  if (pairs_.empty()) {
    pairs_.resize(engine.Sessions().size() / 2);
    for (Pair& pair : pairs_) pair.next = FirstNumber();
    tail_ = "'><body>" + std::string(options_.body_bytes, 'x') + "</body></message>";
  }
  Pair& pair = pairs_[index];
  if (pair.head.empty()) {
    const Account to = AccountOf(engine.Accounts(), 2 * index + 1);
    pair.head = "<message type='chat' to='" + to.user + "@" + to.domain + "' id='m";
  }
  if (engine.Measuring()) ++engine.Out().started;
  pair.messages.push_back({pair.next, intended_ns});
  std::string out = pair.head + std::to_string(pair.next++) + tail_;
  if (options_.ack_every != 0 && ++pair.since_asked >= options_.ack_every) {
    pair.since_asked = 0;
    out += "<r xmlns='urn:xmpp:sm:3'/>";
    pair.asked_ns.push_back(MonotonicNs());
  }
  engine.Send(engine.Sessions()[2 * index], out);
}

void MessageScenario::OnElement(XmppEngine& engine, Session& session, std::string_view element) {
  const std::size_t index = session.index / 2;
  if (index >= pairs_.size() || element.size() < 3) return;
  if (element[1] == 'm') return OnMessage(engine, index, element);
  Pair& pair = pairs_[index];
  if (session.index % 2 != 0 || LocalName(element) != "a" || pair.asked_ns.empty()) return;
  if (engine.Measuring()) {
    engine.Phase("sm_ack").Record(MonotonicNs() - pair.asked_ns.front());
  }
  pair.asked_ns.pop_front();
}

void MessageScenario::OnMessage(XmppEngine& engine, std::size_t index, std::string_view element) {
  const auto number = NumberOf(Attribute(element, "id"), 'm');
  if (!number) return;
  if (Attribute(element, "type") == "error") {
    return engine.CountFailure(FailReason::kRefused, element);
  }
  Pair& pair = pairs_[index];
  // Those before it were lost, since a stream keeps its order.
  while (!pair.messages.empty() && pair.messages.front().number < *number) {
    engine.CountFailure(FailReason::kMismatch);
    pair.messages.pop_front();
  }
  if (pair.messages.empty() || pair.messages.front().number != *number) {
    return engine.CountFailure(FailReason::kMismatch);  // doubled, late, or never sent
  }
  if (engine.Measuring()) ++engine.Out().deliveries;
  Completed(engine, pair.messages.front().intended_ns);
  pair.messages.pop_front();
  if (Going()) SendOn(engine, index, MonotonicNs());
}

std::size_t MessageScenario::Expire(XmppEngine& engine, std::int64_t older_than_ns) {
  std::size_t left = 0;
  for (std::size_t i = 0; i < pairs_.size(); ++i) {
    std::deque<UnderWay>& messages = pairs_[i].messages;
    std::size_t expired = 0;
    while (!messages.empty() && messages.front().intended_ns < older_than_ns) {
      engine.CountFailure(FailReason::kTimeout);
      messages.pop_front();
      ++expired;
    }
    left += messages.size();
    if (!Going()) continue;
    for (; expired > 0; --expired) SendOn(engine, i, MonotonicNs());
  }
  return left;
}

// ---- presence ----------------------------------------------------------------------------------

void PresenceScenario::StartAll(XmppEngine& engine) {
  for (std::size_t i = 0; i < options_.window; ++i) Start(engine, MonotonicNs());
}

void PresenceScenario::Start(XmppEngine& engine, std::int64_t intended_ns) {
  if (first_ == 0) first_ = FirstNumber();
  Session& sender = engine.Sessions()[turn_++ % engine.Sessions().size()];
  if (engine.Measuring()) ++engine.Out().started;
  const std::uint64_t number = first_ + broadcasts_.size();
  broadcasts_.push_back({sender.index, options_.contacts, intended_ns});
  engine.Send(sender, "<presence><status>p" + std::to_string(number) + "</status></presence>");
}

void PresenceScenario::OnElement(XmppEngine& engine, Session& session, std::string_view element) {
  if (element.size() < 3 || element[1] != 'p') return;
  const auto number = NumberOf(ChildText(element, "status"), 'p');
  if (!number || *number < first_ || *number - first_ >= broadcasts_.size()) return;
  Broadcast& broadcast = broadcasts_[static_cast<std::size_t>(*number - first_)];
  // Its own server reflects it to the sender, too (RFC 6121 section 4.2.2).
  if (broadcast.sender == session.index || broadcast.missing == 0) return;
  if (engine.Measuring()) ++engine.Out().deliveries;
  if (--broadcast.missing > 0) return;
  Completed(engine, broadcast.intended_ns);
  while (!broadcasts_.empty() && broadcasts_.front().missing == 0) {
    broadcasts_.pop_front();
    ++first_;
  }
  if (Going()) Start(engine, MonotonicNs());
}

std::size_t PresenceScenario::Expire(XmppEngine& engine, std::int64_t older_than_ns) {
  while (!broadcasts_.empty() &&
         (broadcasts_.front().missing == 0 || broadcasts_.front().intended_ns < older_than_ns)) {
    const bool lost = broadcasts_.front().missing != 0;
    broadcasts_.pop_front();
    ++first_;
    if (!lost) continue;
    engine.CountFailure(FailReason::kTimeout);
    if (Going()) Start(engine, MonotonicNs());
  }
  return broadcasts_.size();
}

}  // namespace bench
