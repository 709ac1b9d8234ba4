// What a drain does to the nodes that take its clients, before it begins.
//
// Pure.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "net/base/clock.h"

namespace server {

struct DrainPlan {
  uint64_t connections = 0;
  double per_s = 0;
  net::Duration deadline{0};  // behind it all that are left go at once; 0: none
  size_t members = 1;         // of the cluster, this node included
  size_t others = 0;          // that are there
  double logins_per_s = 0;    // that each of them can take, as this node's cost
};

struct DrainForecast {
  double peak_per_s = 0;    // logins at its worst
  double budget_per_s = 0;  // that the others can take
  std::string why;          // they cannot carry it; "": they can
  // Then they could carry this; 0: nobody is there, or the deadline may stay.
  uint64_t rate = 0;
  uint64_t deadline_s = 0;

  bool carried() const { return why.empty(); }
  // For who may drain by `mongooseimctl`: why, with the options that would do.
  std::string ForOperators() const;
  // {"peak_per_s":…,"budget_per_s":…}, and where it is not carried {…,"refused":…,"rate":…,
  // "deadline":…}, each as POST /api/drain takes it.
  std::string Json() const;
};
DrainForecast ForecastDrain(const DrainPlan& plan);

double MeanOf(std::span<const uint64_t> counts);  // of one at least
// How many sessions a node has above (1 + epsilon) of the mean. `counts` are of all nodes, its own
// first; `detached` of those have no connection, as those have that go elsewhere already.
uint64_t Surplus(std::span<const uint64_t> counts, uint64_t detached, double epsilon);

}  // namespace server
