// What operators may ask for, and how they are answered.
#pragma once

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

struct DrainOrder {
  double rate = 0;  // connections to end a second; 0 = leave them be until the deadline
  net::Duration deadline{};
  bool force = false;
};

}  // namespace lb
