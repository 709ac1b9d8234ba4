#include "lb/balance/node_state.h"

namespace lb {

bool NodeState::CountIn() {
  uint32_t max = Load(connections_max_);
  uint32_t before = active_.fetch_add(1, std::memory_order_relaxed);
  if (max != 0 && before >= max) {
    active_.fetch_sub(1, std::memory_order_relaxed);
    return false;
  }
  return true;
}

ReserveResult NodeState::TryReserve(net::Time now) {
  if (!CountIn()) return ReserveResult::kFull;
  if (admission_.Take(now, kAdmissionBurst, 1) == 0) {
    Release();
    return ReserveResult::kNoToken;
  }
  Bump(arrivals_);
  return ReserveResult::kOk;
}

bool NodeState::ForceReserve(net::Time now) {
  if (!CountIn()) return false;
  admission_.Owe(now);
  Bump(arrivals_);
  Bump(forced_);
  return true;
}

}  // namespace lb
