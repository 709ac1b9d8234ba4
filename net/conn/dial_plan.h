// In which order and when the addresses of a name are tried: the pure part of Dialer.
//
//   OrderServices   SRV records by priority, and by weight within one (RFC 2782)
//   Interleave      addresses of both families in turns, IPv6 first (RFC 8305 section 4)
//   DialRace        who is tried when: the next one after a moment without an answer, or at once
//                   when one has failed (RFC 8305 section 5), within one time limit for all
//   Backoff         how long until it is tried again: longer each time, and never at one time with
//                   all others
//
// Time and chance are passed in.
#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <vector>

#include "net/base/address.h"
#include "net/base/clock.h"
#include "net/base/random.h"
#include "net/dns/dns_message.h"

namespace net {

// Addresses of one name that are tried; further ones are not.
inline constexpr size_t kDialAddressesMax = 16;
// Targets of one service that are tried.
inline constexpr size_t kDialTargetsMax = 16;

std::vector<DnsService> OrderServices(std::vector<DnsService> services, FastRandom* random);
std::vector<Address> Interleave(const std::vector<Address>& addresses);

class DialRace {
 public:
  struct Options {
    // Until the next one is tried beside those that have not answered: RFC 8305's own value.
    Duration attempt_delay = std::chrono::milliseconds(250);
    Duration timeout = std::chrono::seconds(15);  // for all
    size_t at_once_max = 4;
  };

  DialRace(const Options& options, Time now)
      : options_(options), end_(now + options.timeout), next_(now) {}

  // More to try, behind those that are left.
  void Add(const std::vector<Address>& addresses);
  // The one to try now, if there is one; it runs from then on.
  std::optional<Address> Begin(Time now);
  // One that ran has failed: the next may begin at once.
  void Failed(Time now);
  // When Begin() or over() has something new to say.
  Time wake() const;
  // Nobody runs, and nobody is left.
  bool exhausted() const { return running_ == 0 && left_.empty(); }
  bool over(Time now) const { return now >= end_; }
  size_t running() const { return running_; }

 private:
  const Options options_;
  const Time end_;
  Time next_;
  std::deque<Address> left_;
  size_t running_ = 0;
};

class Backoff {
 public:
  struct Options {
    Duration first = std::chrono::milliseconds(500);
    Duration most = std::chrono::seconds(60);
  };
  explicit Backoff(const Options& options) : options_(options), bound_(options.first) {}

  // Until the next try: between a half of the bound and all of it. The bound doubles.
  Duration Next(FastRandom* random);
  // It went well.
  void Reset() { bound_ = options_.first; }

 private:
  const Options options_;
  Duration bound_;
};

}  // namespace net
