// When tests with a clock of their own begin: some time after the clock's own start, as in life.
#pragma once

#include "net/base/clock.h"

namespace lb {

inline constexpr net::Time kStart{std::chrono::seconds(1'000)};

}  // namespace lb
