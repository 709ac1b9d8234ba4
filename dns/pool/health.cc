#include "dns/pool/health.h"

#include <algorithm>
#include <cmath>
#include <expected>
#include <nlohmann/json.hpp>

#include "net/base/text.h"

namespace dns {

std::string_view ToString(CheckType type) {
  switch (type) {
    case CheckType::kStatus:
      return "status";
    case CheckType::kTcp:
      return "tcp";
    case CheckType::kXmpp:
      return "xmpp";
    case CheckType::kHttp:
      return "http";
    case CheckType::kHttps:
      return "https";
  }
  return "?";
}

std::string_view ToString(BalancerStatus::State state) {
  switch (state) {
    case BalancerStatus::State::kRunning:
      return "running";
    case BalancerStatus::State::kDraining:
      return "draining";
    case BalancerStatus::State::kStarting:
      return "starting";
    case BalancerStatus::State::kStopping:
      return "stopping";
  }
  return "?";
}

std::string_view ToString(CheckState::Verdict verdict) {
  switch (verdict) {
    case CheckState::Verdict::kUnknown:
      return "unknown";
    case CheckState::Verdict::kUp:
      return "up";
    case CheckState::Verdict::kDown:
      return "down";
  }
  return "?";
}

std::string_view ToString(Override value) {
  switch (value) {
    case Override::kNone:
      return "none";
    case Override::kUp:
      return "up";
    case Override::kDown:
      return "down";
    case Override::kDrain:
      return "drain";
  }
  return "?";
}

std::string CheckConfig::Describe() const {
  std::string text(ToString(type));
  text += " :" + std::to_string(port);
  if (type != CheckType::kTcp && type != CheckType::kXmpp) text += path;
  if (type == CheckType::kXmpp && tls) text += " (tls)";
  return text;
}

std::expected<BalancerStatus, std::string> ReadStatus(std::string_view text) {
  // No exceptions, and no nesting that a status has no use for.
  auto shallow = [](int depth, nlohmann::json::parse_event_t, nlohmann::json&) {
    return depth <= 8;
  };
  auto json = nlohmann::json::parse(text, shallow, false);
  if (!json.is_object()) return std::unexpected("the status is not a JSON object");
  BalancerStatus status;
  auto state = json.find("state");
  if (state == json.end() || !state->is_string()) {
    return std::unexpected("the status has no \"state\"");
  }
  const auto& name = state->get_ref<const std::string&>();
  if (name == "running") {
    status.state = BalancerStatus::State::kRunning;
  } else if (name == "draining") {
    status.state = BalancerStatus::State::kDraining;
  } else if (name == "starting") {
    status.state = BalancerStatus::State::kStarting;
  } else if (name == "stopping") {
    status.state = BalancerStatus::State::kStopping;
  } else {
    return std::unexpected("the status has an unknown state " + net::Quoted(name, 32));
  }
  auto number = [&](const char* key, double fallback) {
    auto it = json.find(key);
    return it != json.end() && it->is_number() ? it->get<double>() : fallback;
  };
  status.warm_up = std::clamp(number("warmup", 1.0), 0.0, 1.0);
  status.nodes_up = static_cast<uint32_t>(std::clamp(number("nodes_up", 1), 0.0, 1e6));
  status.nodes_total = static_cast<uint32_t>(std::clamp(number("nodes_total", 1), 0.0, 1e6));
  status.connections = static_cast<uint64_t>(std::clamp(number("connections", 0), 0.0, 1e12));
  return status;
}

bool CheckState::Apply(const CheckConfig& config, CheckResult result) {
  in_a_row_ = in_a_row_ != 0 && last_.ok == result.ok ? in_a_row_ + 1 : 1;
  last_ = std::move(result);
  Verdict next = last_.ok ? Verdict::kUp : Verdict::kDown;
  uint32_t needed = verdict_ == Verdict::kUnknown && last_.ok ? 1
                    : last_.ok                                ? config.rise
                                                              : config.fall;
  if (next == verdict_ || in_a_row_ < needed) return false;
  verdict_ = next;
  return true;
}

bool CheckState::changing() const {
  if (in_a_row_ == 0) return true;
  return verdict_ != (last_.ok ? Verdict::kUp : Verdict::kDown);
}

uint32_t CheckState::ResultsToChange(const CheckConfig& config) const {
  uint32_t needed = verdict_ == Verdict::kDown ? config.rise : config.fall;
  return changing() && in_a_row_ > 0 && in_a_row_ < needed ? needed - in_a_row_ : needed;
}

bool BalancerHealth::OnResult(size_t check, CheckResult result, net::Time now, size_t address) {
  if (check >= configs_->size() || address >= addresses_.size()) return false;
  if (result.not_made) return false;
  bool changed =
      checks_[check * addresses_.size() + address].Apply((*configs_)[check], std::move(result));
  const BalancerStatus* status = Status();
  bool draining = status != nullptr && (status->state == BalancerStatus::State::kDraining ||
                                        status->state == BalancerStatus::State::kStopping);
  if (override_ != Override::kDrain && status != nullptr) {
    if (draining && !draining_at_) draining_at_ = now;
    if (!draining) draining_at_.reset();
  }
  return changed;
}

void BalancerHealth::SetOverride(Override value, net::Time now, std::string by) {
  if (value == Override::kDrain && override_ != Override::kDrain && !draining_at_) {
    draining_at_ = now;
  }
  if (value != Override::kDrain) draining_at_.reset();
  override_ = value;
  override_by_ = std::move(by);
}

std::string BalancerHealth::KeyOf(size_t check, size_t address) const {
  return (*configs_)[check].Describe() + " " + addresses_[address];
}

void BalancerHealth::TakeFrom(const BalancerHealth& old) {
  std::map<std::string, const CheckState*> known;
  for (size_t c = 0; c < old.configs_->size(); ++c) {
    for (size_t a = 0; a < old.addresses_.size(); ++a) {
      known[old.KeyOf(c, a)] = &old.check(c, a);
    }
  }
  for (size_t c = 0; c < configs_->size(); ++c) {
    for (size_t a = 0; a < addresses_.size(); ++a) {
      auto it = known.find(KeyOf(c, a));
      if (it != known.end()) checks_[c * addresses_.size() + a] = *it->second;
    }
  }
  override_ = old.override_;
  override_by_ = old.override_by_;
  votes_up_ = old.votes_up_;
  votes_down_ = old.votes_down_;
  was_down_ = old.was_down_;
  returned_at_ = old.returned_at_;
  // A drain that the balancer's own status began ends with the check that told of it.
  if (override_ == Override::kDrain || Status() != nullptr) draining_at_ = old.draining_at_;
}

SavedHealth BalancerHealth::Save(net::Time now, int64_t unix_ms) const {
  SavedHealth saved;
  saved.override_value = override_;
  saved.by = override_by_;
  saved.was_down = was_down_;
  auto began = [&](net::Time at) {
    return unix_ms - std::chrono::duration_cast<std::chrono::milliseconds>(now - at).count();
  };
  if (draining_at_) saved.draining_since_ms = began(*draining_at_);
  if (returned_at_) saved.warming_since_ms = began(*returned_at_);
  for (size_t c = 0; c < configs_->size(); ++c) {
    for (size_t a = 0; a < addresses_.size(); ++a) {
      CheckState::Verdict verdict = check(c, a).verdict();
      if (verdict != CheckState::Verdict::kUnknown) saved.verdicts[KeyOf(c, a)] = verdict;
    }
  }
  return saved;
}

void BalancerHealth::Restore(const SavedHealth& saved, net::Time now, int64_t unix_ms) {
  override_ = saved.override_value;
  override_by_ = saved.by;
  was_down_ = saved.was_down;
  // A clock that went back must not put a beginning into the future.
  auto at = [&](int64_t since_ms) {
    return now - std::chrono::milliseconds(std::clamp<int64_t>(unix_ms - since_ms, 0, 86'400'000));
  };
  bool may_tell = std::ranges::any_of(
      *configs_, [](const auto& config) { return config.type == CheckType::kStatus; });
  if (saved.draining_since_ms && (override_ == Override::kDrain || may_tell)) {
    draining_at_ = at(*saved.draining_since_ms);
  }
  if (saved.warming_since_ms) returned_at_ = at(*saved.warming_since_ms);
  for (size_t c = 0; c < configs_->size(); ++c) {
    for (size_t a = 0; a < addresses_.size(); ++a) {
      CheckState& state = checks_[c * addresses_.size() + a];
      auto it = saved.verdicts.find(KeyOf(c, a));
      if (it != saved.verdicts.end()) state.Restore(it->second);
      // A state of an older version tells no single verdicts.
      if (saved.verdicts.empty() && saved.was_down) state.Restore(CheckState::Verdict::kDown);
    }
  }
}

const BalancerStatus* BalancerHealth::Status() const {
  for (size_t i = 0; i < checks_.size(); ++i) {
    if ((*configs_)[i / addresses_.size()].type == CheckType::kStatus && checks_[i].last().status) {
      return &*checks_[i].last().status;
    }
  }
  return nullptr;
}

// What the checks of the whole balancer say of one address.
BalancerHealth::Opinion BalancerHealth::OfAddress(size_t address) const {
  bool unknown = false;
  std::string why = "no check is configured";
  for (size_t i = 0; i < configs_->size(); ++i) {
    if ((*configs_)[i].services != 0) continue;
    const CheckState& state = check(i, address);
    std::string text = (*configs_)[i].Describe() + ": " + state.last().reason;
    if (state.verdict() == CheckState::Verdict::kDown) {
      bool restored = state.in_a_row() == 0;
      return {
          Standing::kDown,
          restored ? (*configs_)[i].Describe() + ": down before the start, not checked yet" : text};
    }
    if (state.verdict() == CheckState::Verdict::kUnknown) {
      unknown = true;
      why = (*configs_)[i].Describe() + ": " +
            (state.in_a_row() == 0 ? "not checked yet" : "no verdict yet: " + state.last().reason);
    } else if (!unknown) {
      why = text;
    }
  }
  return {unknown ? Standing::kChecking : Standing::kUp, why};
}

BalancerHealth::Opinion BalancerHealth::Own() const {
  if (addresses_.size() == 1) return OfAddress(0);
  std::optional<Opinion> best;  // up before unknown before down
  std::string down;
  for (size_t a = 0; a < addresses_.size(); ++a) {
    Opinion opinion = OfAddress(a);
    if (opinion.standing == Standing::kDown) {
      down += (down.empty() ? "" : "; ") + addresses_[a] + " is out: " + opinion.reason;
    }
    auto rank = [](Standing s) {
      return s == Standing::kUp ? 0 : s == Standing::kChecking ? 1 : 2;
    };
    if (!best || rank(opinion.standing) < rank(best->standing)) best = std::move(opinion);
  }
  if (!down.empty()) {
    best->reason = best->standing == Standing::kDown ? down : best->reason + "; " + down;
  }
  return *best;
}

// Bit i for the address i. Where only services are checked, an address is down when all of its
// checks are.
uint32_t BalancerHealth::AddressesDown() const {
  uint32_t down = 0;
  bool whole = std::ranges::any_of(*configs_, [](const auto& c) { return c.services == 0; });
  for (size_t a = 0; a < addresses_.size(); ++a) {
    bool is_down = whole && OfAddress(a).standing == Standing::kDown;
    if (!whole && !configs_->empty()) {
      is_down = true;
      for (size_t c = 0; c < configs_->size(); ++c) {
        if (check(c, a).verdict() != CheckState::Verdict::kDown) is_down = false;
      }
    }
    if (is_down) down |= 1u << a;
  }
  // Who gives the balancer out all the same (votes, the pool's rule) means all of it.
  return down == (1u << addresses_.size()) - 1 ? 0 : down;
}

bool BalancerHealth::OwnDown() const { return Own().standing == Standing::kDown; }

void BalancerHealth::WithVotes(Opinion& opinion) const {
  if (votes_up_ + votes_down_ == 0) return;
  bool own_down = opinion.standing == Standing::kDown;
  bool down = DownByMajority(own_down, votes_up_, votes_down_);
  if (down == own_down) return;
  uint32_t nodes = votes_up_ + votes_down_ + 1;
  uint32_t see_down = votes_down_ + (own_down ? 1 : 0);
  opinion.reason = std::to_string(see_down) + " of " + std::to_string(nodes) +
                   " DNS nodes see it down; here: " + opinion.reason;
  opinion.standing = down ? Standing::kDown : Standing::kUp;
}

double BalancerHealth::Ramp(net::Time since, net::Duration over, net::Time now) const {
  if (over <= net::Duration::zero()) return 1.0;
  double done = std::clamp(net::Seconds(now - since) / net::Seconds(over), 0.0, 1.0);
  return std::floor(done * policy_->steps) / policy_->steps;
}

net::Duration BalancerHealth::NextChange() const {
  net::Duration soonest = std::chrono::hours(1);
  for (size_t i = 0; i < checks_.size(); ++i) {
    const CheckConfig& config = (*configs_)[i / addresses_.size()];
    net::Duration interval = checks_[i].changing() ? config.fast_interval : config.interval;
    soonest = std::min(soonest, interval * checks_[i].ResultsToChange(config));
  }
  return soonest;
}

BalancerLive BalancerHealth::Live(net::Time now) {
  BalancerLive live;
  live.next_change = NextChange();
  for (size_t i = 0; i < configs_->size(); ++i) {
    bool down = true;  // everywhere
    for (size_t a = 0; a < addresses_.size(); ++a) {
      down = down && check(i, a).verdict() == CheckState::Verdict::kDown;
    }
    if (down) live.services_down |= (*configs_)[i].services;
  }
  live.addresses_down = AddressesDown();
  if (override_ == Override::kUp || override_ == Override::kDown) {
    live.standing = override_ == Override::kUp ? Standing::kForcedUp : Standing::kForcedDown;
    live.reason = "set by the operator";
    if (override_ == Override::kUp) live.addresses_down = 0;
    live.next_change = std::chrono::hours(1);
    return live;
  }
  Opinion opinion = Own();
  WithVotes(opinion);
  live.standing = opinion.standing;
  live.reason = opinion.reason;
  bool down = opinion.standing == Standing::kDown;
  if (was_down_ && !down) returned_at_ = now;
  was_down_ = down;
  if (down) return live;
  const BalancerStatus* status = Status();
  if (draining_at_) {
    live.factor = 1.0 - Ramp(*draining_at_, policy_->drain, now);
    live.standing = live.factor > 0 ? Standing::kDraining : Standing::kDrained;
    live.reason =
        override_ == Override::kDrain ? "drained by the operator" : "it says that it is draining";
    live.next_change = policy_->drain / std::max(1u, policy_->steps);
    return live;
  }
  double own_ramp = 1.0;
  if (returned_at_) {
    // The first step gives weight at once, or a ramp would begin with nothing.
    own_ramp = std::max(1.0 / policy_->steps, Ramp(*returned_at_, policy_->warm_up, now));
    if (policy_->warm_up <= net::Duration::zero()) own_ramp = 1.0;
    if (own_ramp >= 1.0) returned_at_.reset();
  }
  double told = status == nullptr ? 1.0 : std::max(status->warm_up, 1.0 / policy_->steps);
  live.factor = std::min(own_ramp, told);
  if (live.factor < 1.0) {
    live.standing = Standing::kWarming;
    live.reason = "warming up: " + opinion.reason;
    live.next_change = std::chrono::seconds(1);
  }
  return live;
}

std::optional<net::Time> BalancerHealth::NextStep(net::Time now) const {
  auto next = [&](net::Time since, net::Duration over) -> std::optional<net::Time> {
    if (over <= net::Duration::zero() || now >= since + over) return std::nullopt;
    net::Duration step = over / std::max(1u, policy_->steps);
    if (step <= net::Duration::zero()) return since + over;
    auto done = (now - since) / step;
    return since + step * (done + 1);
  };
  if (draining_at_) return next(*draining_at_, policy_->drain);
  if (returned_at_) return next(*returned_at_, policy_->warm_up);
  return std::nullopt;
}

}  // namespace dns
