// When a secondary asks its primary again, and when what it has is too old to be served (RFC 1034
// §4.3.5, RFC 1996 §4.4). Pure: the time comes in with each call. One thread.
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>
#include <span>

#include "net/base/clock.h"

namespace dns {

// The times of the zone's SOA.
struct RefreshTimes {
  net::Duration refresh{};
  net::Duration retry{};
  net::Duration expire{};
};
// Of a SOA's data, held within what makes sense: a primary that says 0 is not asked all the time.
RefreshTimes RefreshTimesOf(std::span<const uint8_t> soa_rdata);

class RefreshTimer {
 public:
  // A zone is asked for at most so often, whatever NOTIFYs come.
  static constexpr net::Duration kPace = std::chrono::seconds(1);
  // Without a zone: after 1, 2, 4, … s, up to this.
  static constexpr net::Duration kRetryMax = std::chrono::minutes(5);

  // With nothing: it is due at once.
  explicit RefreshTimer(net::Time now) : due_(now) {}

  // There are data that were confirmed `age` ago.
  void Loaded(const RefreshTimes& times, net::Duration age, net::Time now);
  // The primary has sent data, or said that ours are the newest.
  void Succeeded(const RefreshTimes& times, net::Time now);
  void Failed(net::Time now);
  // Asked to look at once: by a NOTIFY, or the operator.
  void Hurry(net::Time now);
  // The primary is being asked.
  void Asked(net::Time now) { asked_ = now; }

  bool IsDue(net::Time now) const { return now >= due_; }
  net::Time due() const { return due_; }
  bool IsExpired(net::Time now) const { return !confirmed_ || now >= expires(); }
  // Only where there are data.
  net::Time expires() const { return *confirmed_ + times_.expire; }
  const std::optional<net::Time>& confirmed() const { return confirmed_; }

 private:
  RefreshTimes times_;
  std::optional<net::Time> confirmed_;
  std::optional<net::Time> asked_;
  net::Time due_;
  int failures_ = 0;
};

}  // namespace dns
