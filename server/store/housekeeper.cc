#include "server/store/housekeeper.h"

#include <utility>

#include "net/report/log.h"

namespace server {
namespace {

constexpr int64_t kSecond = 1'000'000;

}  // namespace

Housekeeper::Housekeeper(HousekeeperOptions options, StoreKeeper& keeper, const net::Clock& clock,
                         std::function<int64_t()> unix_us, HousekeeperCounters& counters)
    : options_(options),
      keeper_(keeper),
      clock_(clock),
      unix_us_(std::move(unix_us)),
      counters_(counters),
      due_(clock.Now() + options.every) {}

Housekeeper::~Housekeeper() = default;

// What a pass takes away is decided when it begins: it ends, however much comes meanwhile.
Retention Housekeeper::Bounds() const {
  const int64_t now = unix_us_();
  Retention bounds{.archive_most = options_.archive_most, .now_s = now / kSecond};
  if (options_.archive_age > net::Duration(0)) {
    const auto age = std::chrono::duration_cast<std::chrono::microseconds>(options_.archive_age);
    bounds.archive_before_us = now - age.count();
  }
  return bounds;
}

void Housekeeper::Tick() {
  if (!passing_) {
    if (clock_.Now() < due_) return;
    passing_ = true;
    retention_ = Bounds();
  }
  left_ = kSlicesATick;
  if (!asked_) Slice();
}

void Housekeeper::Slice() {
  --left_;
  asked_ = true;
  keeper_.Retire(retention_, [this, alive = std::weak_ptr<int>(alive_)](
                                 std::expected<Retired, StoreError> retired) {
    if (!alive.expired()) Sliced(std::move(retired));
  });
}

void Housekeeper::Sliced(std::expected<Retired, StoreError> retired) {
  asked_ = false;
  if (retired) {
    counters_.archive += retired->archive;
    counters_.offline += retired->offline;
    if (retired->more) {
      retention_.after_owner = std::move(retired->next_owner);
      if (left_ > 0) Slice();
      return;
    }
    ++counters_.passes;
  } else {
    ++counters_.failed;
    net::Log(net::LogLevel::kWarn, "store", "what is too old was not taken away",
             {{"reason", ToString(retired.error())}});
  }
  passing_ = false;
  due_ = clock_.Now() + options_.every;
}

}  // namespace server
