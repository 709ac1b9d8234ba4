#include "net/conn/dial_plan.h"

#include <algorithm>
#include <utility>

#include "net/base/check.h"

namespace net {

std::vector<DnsService> OrderServices(std::vector<DnsService> services, FastRandom* random) {
  // Those without weight first within a priority, so that they have their small chance.
  std::ranges::sort(services, [](const DnsService& a, const DnsService& b) {
    return std::pair(a.priority, a.weight) < std::pair(b.priority, b.weight);
  });
  std::vector<DnsService> ordered;
  while (!services.empty() && ordered.size() < kDialTargetsMax) {
    const uint16_t priority = services.front().priority;
    uint32_t sum = 0;
    for (const DnsService& one : services) sum += one.priority == priority ? one.weight : 0;
    const uint32_t mark = random->Below(sum + 1);
    uint32_t running = 0;
    size_t chosen = 0;
    while (running + services[chosen].weight < mark) running += services[chosen++].weight;
    ordered.push_back(std::move(services[chosen]));
    services.erase(services.begin() + static_cast<ptrdiff_t>(chosen));
  }
  return ordered;
}

std::vector<Address> Interleave(const std::vector<Address>& addresses) {
  std::deque<Address> six, four;
  for (const Address& address : addresses) {
    (address.family() == AddressFamily::kIpv6 ? six : four).push_back(address);
  }
  std::vector<Address> mixed;
  bool take_six = true;
  while ((!six.empty() || !four.empty()) && mixed.size() < kDialAddressesMax) {
    std::deque<Address>& from = four.empty() || (take_six && !six.empty()) ? six : four;
    mixed.push_back(from.front());
    from.pop_front();
    take_six = !take_six;
  }
  return mixed;
}

void DialRace::Add(const std::vector<Address>& addresses) {
  left_.insert(left_.end(), addresses.begin(), addresses.end());
}

std::optional<Address> DialRace::Begin(Time now) {
  if (left_.empty() || now < next_ || over(now) || running_ >= options_.at_once_max) {
    return std::nullopt;
  }
  const Address address = left_.front();
  left_.pop_front();
  ++running_;
  next_ = now + options_.attempt_delay;
  return address;
}

void DialRace::Failed(Time now) {
  CHECK(running_ > 0);
  --running_;
  next_ = now;
}

Time DialRace::wake() const {
  const bool may_begin = !left_.empty() && running_ < options_.at_once_max;
  return may_begin ? std::min(next_, end_) : end_;
}

Duration Backoff::Next(FastRandom* random) {
  const Duration bound = bound_;
  bound_ = std::min(options_.most, bound_ * 2);
  const double part = 0.5 + random->Unit() / 2;
  return std::chrono::duration_cast<Duration>(std::chrono::duration<double>(Seconds(bound) * part));
}

}  // namespace net
