// How many logins a worker may begin: as many as it can pay for with its share of the processor, by
// what logins have cost it lately. The others wait in line, and what is there already goes on.
//
// The cost is measured: of all that is done for clients that are not authenticated yet, on the
// worker and beside it, per login that was begun. A moving mean of it is what the next one pays.
//
// Pure; one thread, its worker's.
#pragma once

#include <algorithm>
#include <cstdint>
#include <utility>

#include "net/base/clock.h"

namespace server {

class LoginAdmission {
 public:
  // Of one processor; above 0.
  explicit LoginAdmission(double share) : share_(share) {}

  // One may begin now, and is paid for.
  bool TryBegin(net::Time now) {
    PayOff(now);
    if (debt_ >= kBurst) return false;
    debt_ += cost_;
    ++begun_;
    return true;
  }
  // Until the next may begin.
  net::Duration Wait(net::Time now) {
    PayOff(now);
    if (debt_ < kBurst) return net::Duration(0);
    const auto over = static_cast<double>((debt_ - kBurst).count()) / share_;
    return net::Duration(static_cast<int64_t>(over)) + std::chrono::milliseconds(1);
  }
  void Spent(net::Duration cpu) { spent_ += cpu; }
  // Once a second or so: what they cost since.
  void Measure() {
    if (begun_ == 0) return;
    const net::Duration each = std::clamp(spent_ / begun_, kCheapest, kDearest);
    cost_ = (cost_ * 3 + each) / 4;
    spent_ = net::Duration(0);
    begun_ = 0;
  }
  net::Duration cost() const { return cost_; }

 private:
  // Begun at once, whatever they cost.
  static constexpr net::Duration kBurst = std::chrono::milliseconds(250);
  static constexpr net::Duration kCheapest = std::chrono::microseconds(20);
  static constexpr net::Duration kDearest = std::chrono::milliseconds(200);

  void PayOff(net::Time now) {
    const net::Duration passed = now - std::exchange(last_, now);
    debt_ -= net::Duration(static_cast<int64_t>(static_cast<double>(passed.count()) * share_));
    debt_ = std::max(debt_, net::Duration(0));
  }

  const double share_;
  net::Duration cost_ = std::chrono::microseconds(200);  // until it is known
  net::Duration debt_{0};
  net::Duration spent_{0};
  int64_t begun_ = 0;
  net::Time last_{};
};

}  // namespace server
