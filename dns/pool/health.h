// From results of checks to a verdict on each balancer: rise and fall, what its own status says,
// drain and warm-up steps, the operator's word, and the other DNS nodes' votes.
//
// Pure: time comes in with each call; probe.h makes the checks, control.h asks for the verdicts.
// One thread.
#pragma once

#include <cstdint>
#include <expected>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "dns/pool/pool.h"
#include "net/base/clock.h"

namespace dns {

enum class CheckType { kStatus, kTcp, kXmpp, kHttp, kHttps };
std::string_view ToString(CheckType type);

struct CheckConfig {
  CheckType type = CheckType::kTcp;
  uint16_t port = 0;
  std::string path = "/status";  // status, http, https
  std::string host;              // Host header and SNI; empty: the balancer's address
  std::string to;                // xmpp: the domain of the stream
  std::string xmlns = "jabber:client";
  bool tls = false;           // xmpp: direct TLS (XEP-0368)
  int expect_status = 200;    // http, https
  uint32_t nodes_up_min = 1;  // status: fewer nodes behind the balancer are a failure
  net::Duration interval = std::chrono::seconds(5);
  net::Duration fast_interval = std::chrono::seconds(1);  // while a verdict is changing
  net::Duration timeout = std::chrono::seconds(2);
  uint32_t rise = 2;
  uint32_t fall = 3;
  // Services (bits as kServices) that this check alone decides; 0: the whole balancer.
  uint32_t services = 0;

  std::string Describe() const;  // "xmpp :5222"
};

struct HealthPolicy {
  net::Duration warm_up{0};  // a returning balancer's weight grows over this; 0: at once
  net::Duration drain{std::chrono::seconds(60)};  // a draining one's shrinks over this
  uint32_t steps = 10;                            // in so many steps each
};

// What a balancer said of itself (its /status).
struct BalancerStatus {
  enum class State { kRunning, kDraining, kStarting, kStopping };
  State state = State::kRunning;
  double warm_up = 1.0;
  uint32_t nodes_up = 0;
  uint32_t nodes_total = 0;
  uint64_t connections = 0;
};
std::string_view ToString(BalancerStatus::State state);

struct CheckResult {
  bool ok = false;
  std::string reason;                    // in words: "connected in 1 ms", "connection refused"
  std::optional<BalancerStatus> status;  // of a status check that could be read
  // The check was not made, for want of something of ours (a socket, a route): nothing is judged.
  bool not_made = false;
};

// The text of a status answer; the error says what is wrong with it.
std::expected<BalancerStatus, std::string> ReadStatus(std::string_view json);

// One check of one balancer: so many failures in a row turn it down, so many successes up.
class CheckState {
 public:
  enum class Verdict { kUnknown, kUp, kDown };

  // True when the verdict changed. The first result counts at once, so that a start is not slow.
  bool Apply(const CheckConfig& config, CheckResult result);

  Verdict verdict() const { return verdict_; }
  const CheckResult& last() const { return last_; }
  uint32_t in_a_row() const { return in_a_row_; }
  bool changing() const;  // the last results speak against the verdict
  // How many more results in a row would change the verdict at the earliest.
  uint32_t ResultsToChange(const CheckConfig& config) const;
  void Restore(Verdict verdict) { verdict_ = verdict; }

 private:
  Verdict verdict_ = Verdict::kUnknown;
  CheckResult last_;
  uint32_t in_a_row_ = 0;  // results that agree with each other
};
std::string_view ToString(CheckState::Verdict verdict);

enum class Override { kNone, kUp, kDown, kDrain };
std::string_view ToString(Override value);

// What outlives the process: the operator's word, when a drain or a warm-up began (milliseconds
// since 1970), and the verdicts, each under its check and address in words, so that a changed
// configuration takes what still fits.
struct SavedHealth {
  Override override_value = Override::kNone;
  std::string by;  // who set it
  bool was_down = false;
  std::optional<int64_t> draining_since_ms;
  std::optional<int64_t> warming_since_ms;
  std::map<std::string, CheckState::Verdict> verdicts;

  bool operator==(const SavedHealth&) const = default;
};

// One balancer. Each check is made of each of its addresses, and each address is judged apart: the
// balancer is down when all of them are; one that is down leaves the answers alone.
class BalancerHealth {
 public:
  // `addresses` in words, at least one.
  BalancerHealth(const HealthPolicy& policy, const std::vector<CheckConfig>& checks,
                 std::vector<std::string> addresses = {""})
      : policy_(&policy),
        configs_(&checks),
        addresses_(std::move(addresses)),
        checks_(checks.size() * addresses_.size()) {}

  // True when the verdict of the check changed.
  bool OnResult(size_t check, CheckResult result, net::Time now, size_t address = 0);
  void SetOverride(Override value, net::Time now, std::string by = "");
  // What the other nodes see: for each that reports, whether it is down there.
  void SetPeerVotes(uint32_t up, uint32_t down) { votes_up_ = up, votes_down_ = down; }

  // What this node alone sees; what peers are told.
  bool OwnDown() const;
  BalancerLive Live(net::Time now);
  // When Live() would change without new results (the next step of a ramp).
  std::optional<net::Time> NextStep(net::Time now) const;

  size_t check_count() const { return configs_->size(); }
  size_t address_count() const { return addresses_.size(); }
  const CheckState& check(size_t check, size_t address) const {
    return checks_[check * addresses_.size() + address];
  }
  Override override_value() const { return override_; }
  const std::string& override_by() const { return override_by_; }

  // What is known goes on after a reload: by check and address, in words.
  void TakeFrom(const BalancerHealth& old);
  // `unix_ms`: the same moment as `now`.
  SavedHealth Save(net::Time now, int64_t unix_ms) const;
  void Restore(const SavedHealth& saved, net::Time now, int64_t unix_ms);

 private:
  struct Opinion {
    Standing standing;
    std::string reason;
  };
  Opinion OfAddress(size_t address) const;
  Opinion Own() const;
  uint32_t AddressesDown() const;
  std::string KeyOf(size_t check, size_t address) const;
  void WithVotes(Opinion& opinion) const;
  const BalancerStatus* Status() const;
  double Ramp(net::Time since, net::Duration over, net::Time now) const;
  net::Duration NextChange() const;

  const HealthPolicy* policy_;
  const std::vector<CheckConfig>* configs_;
  std::vector<std::string> addresses_;
  std::vector<CheckState> checks_;  // a check, an address
  Override override_ = Override::kNone;
  std::string override_by_;
  uint32_t votes_up_ = 0;
  uint32_t votes_down_ = 0;
  bool was_down_ = false;
  std::optional<net::Time> returned_at_;  // warm-up runs from here
  std::optional<net::Time> draining_at_;
};

// Is it down by majority? Own opinion and peers' count alike; a tie leaves it up, since taking out
// a good balancer costs more than a few failed connects.
constexpr bool DownByMajority(bool own_down, uint32_t peers_up, uint32_t peers_down) {
  uint32_t down = peers_down + (own_down ? 1u : 0u);
  return 2 * down > peers_up + peers_down + 1;
}

}  // namespace dns
