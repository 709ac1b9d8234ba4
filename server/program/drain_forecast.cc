#include "server/program/drain_forecast.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace server {
namespace {

std::string Grouped(double number) {
  const std::string digits = std::to_string(static_cast<uint64_t>(std::max(number, 0.0)));
  std::string text;
  for (size_t i = 0; i < digits.size(); ++i) {
    if (i > 0 && (digits.size() - i) % 3 == 0) text += ',';
    text += digits[i];
  }
  return text;
}

}  // namespace

std::string RefuseDrain(const DrainPlan& plan) {
  const auto connections = static_cast<double>(plan.connections);
  if (plan.members <= 1 || plan.connections == 0) return "";
  if (plan.others == 0) {
    std::string why("no other node is there to take ");
    why.append(Grouped(connections)).append(" connections; --force closes them all the same");
    return why;
  }
  const double seconds = net::Seconds(plan.deadline);
  const double at_once = seconds > 0 ? std::max(connections - plan.per_s * seconds, 0.0) : 0.0;
  const double peak = std::max(std::min(plan.per_s, connections), at_once);
  const double budget = plan.logins_per_s * static_cast<double>(plan.others);
  if (peak <= budget) return "";
  // Half of it is for those who come by themselves.
  const double most = std::max(std::floor(budget / 2), 1.0);
  const double even = seconds > 0 ? std::ceil(connections / seconds) : most;
  const double rate = std::clamp(even, 1.0, most);
  std::string why("the drain peaks at ");
  why.append(Grouped(peak)).append(" logins/s, the budget of the ");
  if (plan.others == 1) {
    why.append("other node");
  } else {
    why.append(std::to_string(plan.others)).append(" others");
  }
  why.append(" is ").append(Grouped(budget)).append("/s: suggest --rate ");
  why.append(std::to_string(static_cast<uint64_t>(rate)));
  if (seconds > 0 && connections > rate * seconds) {
    why.append(" --deadline ");
    why.append(std::to_string(static_cast<uint64_t>(std::ceil(connections / rate))));
  }
  return why.append(", or --force");
}

double MeanOf(std::span<const uint64_t> counts) {
  const uint64_t all = std::accumulate(counts.begin(), counts.end(), uint64_t{0});
  return static_cast<double>(all) / static_cast<double>(counts.size());
}

uint64_t Surplus(std::span<const uint64_t> counts, uint64_t detached, double epsilon) {
  const double most = MeanOf(counts) * (1 + epsilon);
  const auto here = static_cast<double>(counts.front() - std::min(counts.front(), detached));
  return static_cast<uint64_t>(std::max(std::floor(here - most), 0.0));
}

}  // namespace server
