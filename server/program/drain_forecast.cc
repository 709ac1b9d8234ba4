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

DrainForecast ForecastDrain(const DrainPlan& plan) {
  const auto connections = static_cast<double>(plan.connections);
  const double seconds = net::Seconds(plan.deadline);
  const double at_once = seconds > 0 ? std::max(connections - plan.per_s * seconds, 0.0) : 0.0;
  DrainForecast forecast{.peak_per_s = std::max(std::min(plan.per_s, connections), at_once),
                         .budget_per_s = plan.logins_per_s * static_cast<double>(plan.others),
                         .why = {}};
  // A node that stands alone never had others.
  if (plan.members <= 1 || forecast.peak_per_s <= forecast.budget_per_s) return forecast;
  std::string& why = forecast.why;
  if (plan.others == 0) {
    why.append("no other node is there to take ").append(Grouped(connections));
    why.append(" connections");
    return forecast;
  }
  // Half of it is for those who come by themselves.
  const double most = std::max(std::floor(forecast.budget_per_s / 2), 1.0);
  const double even = seconds > 0 ? std::ceil(connections / seconds) : most;
  const double rate = std::clamp(even, 1.0, most);
  forecast.rate = static_cast<uint64_t>(rate);
  if (seconds > 0 && connections > rate * seconds) {
    forecast.deadline_s = static_cast<uint64_t>(std::ceil(connections / rate));
  }
  why.append("the drain peaks at ").append(Grouped(forecast.peak_per_s));
  why.append(" logins/s, the budget of the ");
  if (plan.others == 1) {
    why.append("other node");
  } else {
    why.append(std::to_string(plan.others)).append(" others");
  }
  why.append(" is ").append(Grouped(forecast.budget_per_s)).append("/s");
  return forecast;
}

std::string DrainForecast::ForOperators() const {
  if (rate == 0) return why + "; --force closes them all the same";
  std::string words = why + ": suggest --rate " + std::to_string(rate);
  if (deadline_s != 0) words += " --deadline " + std::to_string(deadline_s);
  return words + ", or --force";
}

std::string DrainForecast::Json() const {
  const auto whole = [](double number) {
    return std::to_string(static_cast<uint64_t>(std::min(std::ceil(number), 1e15)));
  };
  std::string json = R"({"peak_per_s":)" + whole(peak_per_s) + R"(,"budget_per_s":)" +
                     whole(std::floor(budget_per_s));
  if (!carried()) json += R"(,"refused":")" + why + '"';
  if (rate != 0) json += R"(,"rate":)" + std::to_string(rate);
  if (deadline_s != 0) json += R"(,"deadline":)" + std::to_string(deadline_s);
  return json + '}';
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
