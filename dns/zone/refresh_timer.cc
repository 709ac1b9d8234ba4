#include "dns/zone/refresh_timer.h"

#include "dns/zone/zone.h"

namespace dns {

RefreshTimes RefreshTimesOf(ByteView soa_rdata) {
  auto within = [](uint32_t seconds, uint32_t least, uint32_t most) {
    return net::Duration(std::chrono::seconds(std::clamp(seconds, least, most)));
  };
  constexpr uint32_t kFourWeeks = 4 * 7 * 86'400;
  RefreshTimes times;
  times.refresh = within(SoaRefresh(soa_rdata), 1, kFourWeeks);
  times.retry = within(SoaRetry(soa_rdata), 1, kFourWeeks);
  times.expire = within(SoaExpire(soa_rdata), 1, 4 * kFourWeeks);
  return times;
}

void RefreshTimer::Loaded(const RefreshTimes& times, net::Duration age, net::Time now) {
  times_ = times;
  confirmed_ = now - age;
  due_ = now;  // whatever happened meanwhile
}

void RefreshTimer::Succeeded(const RefreshTimes& times, net::Time now) {
  times_ = times;
  confirmed_ = now;
  failures_ = 0;
  due_ = now + times.refresh;
}

void RefreshTimer::Failed(net::Time now) {
  net::Duration wait =
      std::min<net::Duration>(kRetryMax, std::chrono::seconds(1 << std::min(failures_, 9)));
  ++failures_;
  // With data, at the pace that their SOA says, but faster at first: most failures are short.
  if (confirmed_) wait = std::min(wait, times_.retry);
  due_ = now + wait;
}

void RefreshTimer::Hurry(net::Time now) {
  net::Time soonest = asked_ ? std::max(now, *asked_ + kPace) : now;
  due_ = std::min(due_, soonest);
}

}  // namespace dns
