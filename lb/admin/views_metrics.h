// What Control says, for Prometheus. Labels are names from the configuration only: never an address
// of a client, which would make a series of each.
//
// Pure.
#pragma once

#include <string>
#include <vector>

#include "lb/control/control.h"

namespace lb {

std::string MetricsText(const ProcessView& process, const std::vector<CounterView>& counters,
                        const std::vector<PoolView>& pools);

}  // namespace lb
