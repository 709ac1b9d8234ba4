#include "bench/load/xmpp/story_scenario.h"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>

#include "bench/load/xmpp/standing_sessions.h"
#include "bench/load/xmpp/xml_view.h"

extern char** environ;

namespace bench {
namespace {

constexpr std::int64_t kSecondNs = 1'000'000'000;
constexpr std::int64_t kTickNs = 10'000'000;
constexpr std::uint16_t kDoublingsMax = 10;
constexpr std::size_t kUnacknowledgedMax = 1000;  // a client that is not heard sends no more
constexpr std::string_view kAsk = "<r xmlns='urn:xmpp:sm:3'/>";

// "<run>-<number>"; nothing when it is not of this run.
std::optional<std::uint64_t> NumberOf(std::string_view id, std::string_view run) {
  if (!id.starts_with(run)) return std::nullopt;
  id.remove_prefix(run.size());
  std::uint64_t number = 0;
  const auto [end, error] = std::from_chars(id.data(), id.data() + id.size(), number);
  if (error != std::errc() || end != id.data() + id.size()) return std::nullopt;
  return number;
}

}  // namespace

std::expected<Act, std::string> ParseAct(std::string_view text) {
  const size_t colon = text.find(':');
  if (colon == std::string_view::npos || colon + 1 == text.size()) {
    return std::unexpected("\"" + std::string(text) + "\" is no TIME:COMMAND, e.g. 10s:true");
  }
  const auto at = ParseDurationNs(text.substr(0, colon));
  if (!at) return std::unexpected(at.error());
  return Act{.at_ns = *at, .command = std::string(text.substr(colon + 1))};
}

StoryScenario::StoryScenario(StoryOptions options, std::size_t sessions)
    : options_(std::move(options)),
      history_(sessions),
      clients_(sessions),
      random_(options_.seed),
      run_("s" + std::to_string(MonotonicNs() / 1000) + "-") {
  std::ranges::stable_sort(options_.acts, {}, &Act::at_ns);
}

void StoryScenario::OnStart(XmppEngine& engine) { engine.Out().open_loop = true; }

StorySecond& StoryScenario::Second(std::int64_t now_ns) {
  const std::size_t index =
      begun_ns_ == 0 ? 0 : static_cast<std::size_t>((now_ns - begun_ns_) / kSecondNs);
  while (seconds_.size() <= index) {
    if (!seconds_.empty()) {
      seconds_.back().ready = static_cast<std::uint32_t>(ready_);
      seconds_.back().delivery_p99_ns = second_.Quantile(0.99);
      seconds_.back().delivery_max_ns = second_.Max();
      second_.Clear();
      if (options_.on_second && begun_ns_ != 0)
        options_.on_second(seconds_.size(), seconds_.back());
    }
    seconds_.emplace_back();
  }
  return seconds_.back();
}

// ---- coming and coming back --------------------------------------------------------------------

void StoryScenario::Pause(Client& client, std::int64_t now_ns) {
  const auto doublings = std::min(client.attempts, kDoublingsMax);
  const std::int64_t longest = std::min(options_.back_max_ns, options_.back_base_ns << doublings);
  std::uniform_int_distribution<std::int64_t> jitter(longest / 2, longest);
  client.back_at_ns = now_ns + jitter(random_);
  ++client.attempts;
}

void StoryScenario::LookAtClients(XmppEngine& engine, std::int64_t now_ns) {
  if (now_ns < next_look_ns_) return;
  next_look_ns_ = now_ns + kTickNs;
  for (std::size_t i = 0; i < clients_.size(); ++i) {
    Client& client = clients_[i];
    Session& session = engine.Sessions()[i];
    // Nobody answers any more, and no packet says so: a node that is stopped, a cable that is cut.
    if (session.state == SessionState::kReady && client.asked_ns >= 0 &&
        now_ns - client.asked_ns > engine.TimeoutNs()) {
      engine.Cut(session);
      OnFail(engine, session, true);
    }
    // The first time they come as many at one time as a standing set does; after that as they will.
    if (client.back_at_ns > now_ns || (begun_ns_ == 0 && opening_ >= kLoggingInMax)) continue;
    client.back_at_ns = kNever;
    ++opening_;
    engine.Open(session, i, MonotonicNs(), !session.stream.id.empty());
  }
}

void StoryScenario::OnReady(XmppEngine& engine, Session& session) {
  Client& client = clients_[session.index];
  const std::int64_t now = MonotonicNs();
  --opening_;
  ++ready_;
  client.attempts = 0;
  client.unreachable = 0;
  client.asked_ns = -1;
  if (client.lost_ns >= 0) absences_.Record(now - client.lost_ns);
  client.lost_ns = -1;
  StorySecond& second = Second(now);
  ++(session.resumed ? second.resumptions : second.logins);
  if (second.landings.size() <= session.target) second.landings.resize(session.target + 1U);
  ++second.landings[session.target];
  if (session.resumed) return SendAgain(engine, session);
  if (client.had_stream) {
    ++second.refused;
    history_.StreamLost(LaneTo(session), now);
  }
  client.had_stream = true;
  // Of those that the lost stream had not acknowledged nothing is known, unless it was said.
  if (session.stream.taken) Taken(session, *session.stream.taken);
  client.unacknowledged.clear();
}

void StoryScenario::OnFail(XmppEngine& engine, Session& session, bool was_ready) {
  Client& client = clients_[session.index];
  const std::int64_t now = engine.Now();
  if (was_ready) {
    --ready_;
    client.lost_ns = now;
    ++Second(now).broken;
  } else {
    --opening_;
    ++Second(now).failures;
  }
  // RFC 6120 section 3.2.1: where nobody is, the next address is tried, at once.
  if (session.unreachable && ++client.unreachable < engine.TargetCount()) {
    client.back_at_ns = now;
    return;
  }
  client.unreachable = 0;
  Pause(client, now);
}

// XEP-0198 section 5: what the other side had not handled goes again, in its order.
void StoryScenario::SendAgain(XmppEngine& engine, Session& session) {
  const std::uint32_t taken = session.stream.taken.value_or(0);
  Taken(session, taken);
  // What else was under way, answers to pings, is of no use any more: numbers go on from there.
  session.stream.sent = taken;
  std::deque<UnderWay>& queue = clients_[session.index].unacknowledged;
  for (UnderWay& message : queue) Put(engine, session, message);
  if (!queue.empty()) Ask(engine, session);
}

// ---- messages ----------------------------------------------------------------------------------

void StoryScenario::Put(XmppEngine& engine, Session& session, UnderWay& message) {
  message.position = ++session.stream.sent;
  engine.Send(session, message.xml);
}

void StoryScenario::Send(XmppEngine& engine, Session& session) {
  Client& client = clients_[session.index];
  if (client.unacknowledged.size() >= kUnacknowledgedMax) return;
  const std::int64_t now = MonotonicNs();
  const std::uint64_t number = history_.Sent(LaneOf(session), now);
  const Account to = AccountOf(engine.Accounts(), session.index ^ 1U);
  std::string xml = "<message type='chat' to='" + to.user + "@" + to.domain + "' id='" + run_ +
                    std::to_string(number) + "'><body>" + std::string(options_.body_bytes, 'x') +
                    "</body></message>";
  client.unacknowledged.push_back({number, 0, std::move(xml)});
  Put(engine, session, client.unacknowledged.back());
  ++Second(now).sent;
  ++engine.Out().started;
  if (client.asked_ns < 0) Ask(engine, session);
}

void StoryScenario::Ask(XmppEngine& engine, Session& session) {
  clients_[session.index].asked_ns = MonotonicNs();
  engine.Send(session, kAsk);
}

void StoryScenario::Taken(Session& session, std::uint32_t handled) {
  std::deque<UnderWay>& queue = clients_[session.index].unacknowledged;
  // Serial numbers of 32 bits: a difference is the distance.
  while (!queue.empty() && static_cast<std::int32_t>(handled - queue.front().position) >= 0) {
    history_.Counted(LaneOf(session), queue.front().number);
    queue.pop_front();
  }
}

void StoryScenario::OnElement(XmppEngine& engine, Session& session, std::string_view element) {
  if (element.size() < 3) return;
  if (element[1] == 'm') return OnMessage(engine, session, element);
  if (element[1] != 'a' || LocalName(element) != "a") return;
  Client& client = clients_[session.index];
  std::uint32_t handled = 0;
  const std::string_view text = Attribute(element, "h");
  if (std::from_chars(text.data(), text.data() + text.size(), handled).ec != std::errc()) return;
  Taken(session, handled);
  client.asked_ns = -1;
  if (!client.unacknowledged.empty()) Ask(engine, session);
}

void StoryScenario::OnMessage(XmppEngine& engine, Session& session, std::string_view element) {
  const auto number = NumberOf(Attribute(element, "id"), run_);
  if (!number) return;
  const std::int64_t now = MonotonicNs();
  if (Attribute(element, "type") == "error") {
    ++returned_[ErrorReason(element)];
    return history_.Returned(LaneOf(session), *number);
  }
  const std::int64_t sent = history_.Received(LaneTo(session), *number, now);
  if (sent < 0) return;
  ++Second(now).received;
  second_.Record(now - sent);
  ++engine.Out().completed;
  ++engine.Out().deliveries;
  engine.Out().total.Record(now - sent);
}

void StoryScenario::OnAcknowledged(XmppEngine& /*engine*/, Session& session) {
  history_.Acknowledged(LaneTo(session), MonotonicNs());
}

// ---- the story ---------------------------------------------------------------------------------

std::int64_t StoryScenario::RunActs(std::int64_t now_ns) {
  std::int64_t wake = kNever;
  for (Act& act : options_.acts) {
    if (act.begun_ns >= 0) continue;
    if (begun_ns_ + act.at_ns > now_ns) {
      wake = std::min(wake, begun_ns_ + act.at_ns);
      continue;
    }
    act.begun_ns = now_ns - begun_ns_;
    std::string shell = "sh";
    std::string option = "-c";
    char* words[] = {shell.data(), option.data(), act.command.data(), nullptr};
    if (posix_spawn(&act.pid, "/bin/sh", nullptr, nullptr, words, environ) != 0) {
      act.pid = 0;
      act.ended_ns = act.begun_ns;
    }
    if (options_.on_act) options_.on_act(act);
  }
  return wake;
}

void StoryScenario::Reap(std::int64_t now_ns) {
  for (Act& act : options_.acts) {
    int status = 0;
    if (act.pid == 0 || waitpid(act.pid, &status, WNOHANG) != act.pid) continue;
    act.pid = 0;
    act.ended_ns = now_ns - begun_ns_;
    act.status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    if (options_.on_act) options_.on_act(act);
  }
}

bool StoryScenario::ActsRun() const {
  return std::ranges::any_of(options_.acts, [](const Act& act) { return act.pid != 0; });
}

std::int64_t StoryScenario::OnTick(XmppEngine& engine, std::int64_t now_ns) {
  LookAtClients(engine, now_ns);
  std::int64_t wake = next_look_ns_;
  if (begun_ns_ == 0) {
    if (ready_ < clients_.size()) return wake;
    begun_ns_ = now_ns;
    next_send_ns_ = now_ns;
    engine.Out().held = ready_;
    engine.StartWindow();
  }
  Second(now_ns);
  wake = std::min(wake, RunActs(now_ns));
  Reap(now_ns);
  if (settle_until_ns_ == 0) {
    const auto gap = static_cast<std::int64_t>(1e9 / options_.rate);
    for (; next_send_ns_ <= now_ns; next_send_ns_ += gap) {
      ++engine.Out().offered;
      Session& session = engine.Sessions()[turn_++ % clients_.size()];
      if (session.state == SessionState::kReady) Send(engine, session);
    }
    wake = std::min(wake, next_send_ns_);
    if (now_ns - begun_ns_ < options_.duration_ns) return wake;
    settle_until_ns_ = now_ns + options_.settle_ns;
    engine.StopWindow();
  }
  const bool quiet = std::ranges::all_of(
      clients_, [](const Client& client) { return client.unacknowledged.empty(); });
  const bool settled = quiet && ready_ == clients_.size() && history_.Settled() && !ActsRun();
  done_ = settled || now_ns >= settle_until_ns_;
  return wake;
}

}  // namespace bench
