// What operators may ask for, and how they are answered.
#pragma once

#include <cstdint>
#include <expected>
#include <string>

#include "net/base/clock.h"

namespace lb {

// An operator's request that could not be met: why, and what to do instead.
struct Refusal {
  std::string why;
  bool unknown = false;  // the name does not exist
};
using Done = std::expected<std::string, Refusal>;  // what was done, in words

struct DrainProgress {
  uint64_t remaining = 0;  // connections
  uint64_t ended = 0;      // by the order's pace, so far
  bool drained = false;    // the node is still being drained
};

struct DrainOrder {
  double rate = 0;  // connections to end a second; 0 = leave them be until the deadline
  net::Duration deadline{};
  bool force = false;
  bool dry_run = false;  // says what would be, and does nothing
  // The node is asked to drain itself (Control::AskNodeToDrain), and the pace waits for its answer.
  bool node_is_asked = false;

  bool paced() const { return rate > 0 || deadline > net::Duration::zero(); }
};

}  // namespace lb
