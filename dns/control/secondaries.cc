#include "dns/control/secondaries.h"

#include <algorithm>

#include "net/report/log.h"

namespace dns {
namespace {

RefreshTimes TimesOf(const Zone& zone) {
  return RefreshTimesOf(zone.names.at(zone.apex).at(Type::kSoa).rdatas[0]);
}

uint32_t SerialIn(const Zone& zone) {
  return SoaSerial(zone.names.at(zone.apex).at(Type::kSoa).rdatas[0]);
}

}  // namespace

Secondaries::Secondaries(net::EventLoop& loop, std::function<void()> changed)
    : loop_(loop), changed_(std::move(changed)) {}

Secondaries::~Secondaries() { *alive_ = false; }

void Secondaries::Configure(const Config& config) {
  std::map<Name, Entry> next;
  for (const ZoneConfig& zone : config.zones) {
    if (!zone.from) continue;
    const Name& apex = zone.zone->apex;
    auto old = entries_.extract(apex);
    if (!old.empty() && old.mapped().config.SamePrimary(*zone.from)) {
      Entry& entry = next.emplace(apex, std::move(old.mapped())).first->second;
      entry.config = *zone.from;
      entry.keys = config.tsig_keys;
      // What is served now was read from the copy, which is at least as new as what was served.
      entry.changed = entry.changed || entry.served == zone.zone->unavailable;
      continue;
    }
    RefreshTimer timer(loop_.now());
    if (zone.from->data) {
      timer.Loaded(TimesOf(*zone.from->data), zone.from->age, loop_.now());
    }
    next.emplace(apex, Entry{.config = *zone.from,
                             .keys = config.tsig_keys,
                             .timer = timer,
                             .data = zone.from->data,
                             .content = zone.from->data ? zone.from->content : 0,
                             .served = !zone.zone->unavailable,
                             .life = ++lives_,
                             .report = {}});
  }
  entries_ = std::move(next);
  if (puller_) Look();
}

void Secondaries::Start() {
  puller_ = std::make_unique<Puller>(loop_);
  Look();
}

void Secondaries::Stop() {
  puller_.reset();
  if (armed_) loop_.CancelTimer(timer_);
  armed_ = false;
}

Rcode Secondaries::Notified(const Name& apex, const net::Address& client, const Name* signed_with) {
  ++notified_;
  auto at = entries_.find(apex);
  if (at == entries_.end()) {
    ++notify_refused_;
    return Rcode::kNotAuth;
  }
  Entry& entry = at->second;
  if (!entry.config.MayNotify(client, signed_with)) {
    ++notify_refused_;
    return Rcode::kRefused;
  }
  entry.timer.Hurry(loop_.now());
  if (puller_) Look();
  return Rcode::kNoError;
}

std::string Secondaries::Refresh(const std::string& zone, bool whole) {
  auto apex = Name::FromText(zone, Name());
  auto at = apex ? entries_.find(*apex) : entries_.end();
  if (at == entries_.end()) return "'" + zone + "' is not a zone that is had from a primary";
  at->second.whole = at->second.whole || whole;
  at->second.timer.Hurry(loop_.now());
  if (puller_) Look();
  return "";
}

// Asks for what is due, and lets expire what is too old.
void Secondaries::Look() {
  net::Time now = loop_.now();
  bool changes = false;
  for (auto& [apex, entry] : entries_) {
    if (entry.served && entry.timer.IsExpired(now)) {
      entry.served = false;
      entry.changed = changes = true;
      net::Log(net::LogLevel::kError, "secondary", "the zone has expired, and is SERVFAIL now",
               {{"zone", apex.ToString()}, {"why", entry.report.last_error}});
    }
    // What was brought is taken first: the copy and what is served must not part.
    if (entry.timer.IsDue(now) && !entry.asking && !entry.changed && !puller_->full()) {
      Ask(apex, entry);
    }
  }
  Arm();
  if (changes) changed_();
}

void Secondaries::Arm() {
  if (armed_) loop_.CancelTimer(timer_);
  armed_ = false;
  std::optional<net::Time> soonest;
  auto add = [&](net::Time at) { soonest = soonest ? std::min(*soonest, at) : at; };
  for (const auto& [apex, entry] : entries_) {
    // A pull that ends, or a change that is taken, looks again by itself.
    if (!entry.asking && !entry.changed && !puller_->full()) add(entry.timer.due());
    if (entry.served) add(entry.timer.expires());
  }
  if (!soonest) return;
  armed_ = true;
  net::Duration wait =
      std::max<net::Duration>(*soonest - loop_.now(), std::chrono::milliseconds(1));
  timer_ = loop_.After(wait, [this, alive = alive_] {
    if (!*alive) return;
    armed_ = false;
    if (puller_) Look();
  });
}

void Secondaries::Ask(const Name& apex, Entry& entry) {
  entry.asking = true;
  entry.timer.Asked(loop_.now());
  PullRequest request;
  request.apex = apex;
  request.primaries = entry.config.addresses;
  request.source = entry.config.source;
  request.keys = entry.keys;
  request.key = entry.config.key;
  request.known = std::exchange(entry.whole, false) ? nullptr : entry.data;
  request.size_max = entry.config.size_max;
  request.copy = entry.config.copy;
  puller_->Start(std::move(request),
                 [this, apex, life = entry.life, alive = alive_](PullResult result) {
                   if (*alive) Take(apex, life, std::move(result));
                 });
}

void Secondaries::Take(const Name& apex, uint64_t life, PullResult result) {
  auto at = entries_.find(apex);
  if (at == entries_.end() || at->second.life != life) {
    if (puller_) Look();
    return;
  }
  Entry& entry = at->second;
  SecondaryReport& report = entry.report;
  net::Time now = loop_.now();
  entry.asking = false;
  for (const std::string& error : result.errors) {
    report.last_error = error;
    net::Log(net::LogLevel::kWarn, "secondary", "a primary does not give the zone",
             {{"zone", apex.ToString()}, {"why", error}});
  }
  if (!result.copy_error.empty()) {
    net::Log(net::LogLevel::kError, "secondary", "the zone's copy cannot be written",
             {{"zone", apex.ToString()}, {"why", result.copy_error}});
  }
  if (!result.done) {
    ++report.failures;
    entry.timer.Failed(now);
  } else {
    report.primary = result.primary;
    report.last_error.clear();
    if (result.zone != nullptr) {
      net::Log(net::LogLevel::kInfo, "secondary", "the zone was transferred",
               {{"zone", apex.ToString()},
                {"from", result.primary},
                {"serial", SerialIn(*result.zone)},
                {"bytes", result.bytes},
                {"incremental", result.incremental}});
      ++report.transfers;
      report.incremental += result.incremental ? 1u : 0u;
      entry.data = std::move(result.zone);
      entry.content = result.content;
      entry.changed = true;
    } else {
      ++report.confirmed;
    }
    entry.timer.Succeeded(TimesOf(*entry.data), now);
    entry.changed = entry.changed || !entry.served;
    entry.served = true;
  }
  bool changed = entry.changed;
  if (puller_) Look();
  if (changed) changed_();
}

bool Secondaries::has_changes() const {
  return std::ranges::any_of(entries_, [](const auto& e) { return e.second.changed; });
}

std::vector<Secondaries::Change> Secondaries::TakeChanges() {
  std::vector<Change> changes;
  for (auto& [apex, entry] : entries_) {
    if (!std::exchange(entry.changed, false)) continue;
    changes.push_back({apex, entry.served ? entry.data : MakeUnavailableZone(apex),
                       entry.served ? entry.content : 0});
  }
  if (puller_) Look();
  return changes;
}

std::optional<SecondaryReport> Secondaries::Report(const Name& apex) const {
  auto at = entries_.find(apex);
  if (at == entries_.end()) return std::nullopt;
  const Entry& entry = at->second;
  SecondaryReport report = entry.report;
  report.state = entry.served ? "fresh" : entry.data != nullptr ? "expired" : "loading";
  report.asking = entry.asking;
  if (entry.timer.confirmed()) {
    report.confirmed_seconds_ago = net::Seconds(loop_.now() - *entry.timer.confirmed());
    report.expires_in_seconds = net::Seconds(entry.timer.expires() - loop_.now());
  }
  return report;
}

}  // namespace dns
