// Keeps house in a store: every so often a pass over all archives and offline messages takes away
// what is too old, too much, or expired; slice by slice, so that others' writes get in between.
//
// Of the nodes that share a store each may have one: what is gone already costs a look.
//
// One thread: the keeper's loop. Destroyed before the keeper.
#pragma once

#include <atomic>
#include <cstdint>
#include <expected>
#include <functional>
#include <memory>

#include "net/base/clock.h"
#include "server/store/backend.h"

namespace server {

struct HousekeeperOptions {
  net::Duration archive_age{0};  // 0: no bound
  uint64_t archive_most = 0;     // newest entries of each owner; 0: no bound
  net::Duration every = std::chrono::hours(1);
};

// Written by the housekeeper's thread alone.
struct HousekeeperCounters {
  std::atomic<uint64_t> passes{0};  // complete
  std::atomic<uint64_t> archive{0};
  std::atomic<uint64_t> offline{0};
  std::atomic<uint64_t> failed{0};  // slices; the pass begins anew when its time comes
};

class Housekeeper {
 public:
  // `unix_us` is the time of day. `counters` outlives this.
  Housekeeper(HousekeeperOptions options, StoreKeeper& keeper, const net::Clock& clock,
              std::function<int64_t()> unix_us, HousekeeperCounters& counters);
  ~Housekeeper();
  Housekeeper(const Housekeeper&) = delete;
  Housekeeper& operator=(const Housekeeper&) = delete;

  // Once a second or so.
  void Tick();

  // Of one Tick(): so many slices, one behind the other.
  static constexpr uint32_t kSlicesATick = 20;

 private:
  void Slice();
  void Sliced(std::expected<Retired, StoreError> retired);
  Retention Bounds() const;

  const HousekeeperOptions options_;
  StoreKeeper& keeper_;
  const net::Clock& clock_;
  const std::function<int64_t()> unix_us_;
  HousekeeperCounters& counters_;
  net::Time due_;
  Retention retention_;
  bool passing_ = false;  // a pass has begun and is not complete
  bool asked_ = false;    // a slice is on its way
  uint32_t left_ = 0;     // slices of this tick
  std::shared_ptr<int> alive_ = std::make_shared<int>(0);
};

}  // namespace server
