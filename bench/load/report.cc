#include "bench/load/report.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <fstream>
#include <nlohmann/json.hpp>

namespace bench {
namespace {

using nlohmann::json;

double Us(std::int64_t ns) { return std::round(static_cast<double>(ns) / 10.0) / 100.0; }

double WindowSeconds(const Result& result) {
  return static_cast<double>(result.window.wall_ns) / 1e9;
}

double PerSecond(const Result& result, std::uint64_t count) {
  const double seconds = WindowSeconds(result);
  return seconds <= 0 ? 0 : std::round(static_cast<double>(count) / seconds * 10) / 10;
}

// Microseconds for one of `count`.
double PerUs(std::int64_t ns, std::uint64_t count) {
  return static_cast<double>(ns) / 1e3 / static_cast<double>(std::max<std::uint64_t>(count, 1));
}

json PhaseJson(const Histogram& histogram) {
  json buckets = json::array();
  histogram.ForEachBucket(
      [&](std::size_t index, std::uint64_t count) { buckets.push_back({index, count}); });
  return {{"count", histogram.Count()},
          {"min_us", Us(histogram.Min())},
          {"mean_us", std::round(histogram.Mean() / 10) / 100},
          {"p50_us", Us(histogram.Quantile(0.5))},
          {"p90_us", Us(histogram.Quantile(0.9))},
          {"p99_us", Us(histogram.Quantile(0.99))},
          {"p999_us", Us(histogram.Quantile(0.999))},
          {"max_us", Us(histogram.Max())},
          {"buckets", std::move(buckets)}};
}

json FailuresJson(const Result& result) {
  json failures = json::object();
  for (std::size_t i = 0; i < kFailReasons; ++i) {
    if (result.failed[i] != 0) {
      failures[ToString(static_cast<FailReason>(i))] = result.failed[i];
    }
  }
  return failures;
}

struct NamedPhase {
  const char* name;
  const Histogram& histogram;
};

std::vector<NamedPhase> Phases(const Result& result) {
  std::vector<NamedPhase> phases = {{"tcp_connect", result.tcp_connect},
                                    {"tls_handshake", result.tls_handshake},
                                    {"reply", result.reply},
                                    {"total", result.total},
                                    {"pacing_lag", result.pacing_lag}};
  for (const NamedHistogram& more : result.phases) {
    phases.push_back({more.name.c_str(), more.histogram});
  }
  return phases;
}

std::expected<json, std::string> ReadObject(const std::string& path) {
  std::ifstream file(path);
  if (!file) return std::unexpected(path + ": cannot be read");
  json document = json::parse(file, nullptr, false);
  if (document.is_discarded() || !document.is_object()) {
    return std::unexpected(path + ": is no JSON object");
  }
  return document;
}

void AddPhase(const json& phase, Histogram& histogram) {
  for (const json& bucket : phase.at("buckets")) {
    if (!histogram.Restore(bucket.at(0).get<std::size_t>(), bucket.at(1).get<std::uint64_t>())) {
      throw json::other_error::create(500, "no such bucket", nullptr);
    }
  }
}

void AddPhases(const json& phases, Result& sum) {
  AddPhase(phases.at("tcp_connect"), sum.tcp_connect);
  AddPhase(phases.at("tls_handshake"), sum.tls_handshake);
  AddPhase(phases.at("reply"), sum.reply);
  AddPhase(phases.at("total"), sum.total);
  AddPhase(phases.at("pacing_lag"), sum.pacing_lag);
  static constexpr std::string_view kKnown[] = {"tcp_connect", "tls_handshake", "reply", "total",
                                                "pacing_lag"};
  for (const auto& [name, phase] : phases.items()) {
    if (std::find(std::begin(kKnown), std::end(kKnown), name) != std::end(kKnown)) continue;
    auto found = std::find_if(sum.phases.begin(), sum.phases.end(),
                              [&](const NamedHistogram& more) { return more.name == name; });
    if (found == sum.phases.end()) found = sum.phases.insert(found, {name, {}});
    AddPhase(phase, found->histogram);
  }
}

void AddFailures(const json& failures, Result& sum) {
  for (std::size_t i = 0; i < kFailReasons; ++i) {
    const char* name = ToString(static_cast<FailReason>(i));
    if (failures.contains(name)) sum.failed[i] += failures.at(name).get<std::uint64_t>();
  }
}

void AddRun(const json& run, Result& sum) {
  const auto count = [&](const char* name) { return run.at(name).get<std::uint64_t>(); };
  sum.mode = run.at("mode").get<std::string>();
  sum.target = run.at("target").get<std::string>();
  sum.open_loop = run.at("open_loop").get<bool>();
  sum.tls = run.at("tls").get<bool>();
  sum.offered += count("offered");
  sum.started += count("started");
  sum.completed += count("completed");
  sum.bytes += count("bytes");
  sum.shed += count("shed");
  sum.opened += count("opened");
  sum.held += count("held");
  sum.held_max += count("held_max");
  sum.lost += count("lost");
  sum.retries += count("retries");
  sum.handshakes += count("handshakes");
  sum.resumed += count("resumed");
  sum.resumptions += run.value("resumptions", std::uint64_t{0});
  sum.resumptions_refused += run.value("resumptions_refused", std::uint64_t{0});
  sum.deliveries += run.value("deliveries", std::uint64_t{0});
  sum.copies.lost += run.value("copies_lost", std::uint64_t{0});
  sum.copies.doubled += run.value("copies_doubled", std::uint64_t{0});
  sum.copies.swapped += run.value("copies_swapped", std::uint64_t{0});
  AddFailures(run.at("failures"), sum);
  const auto wall_ns = static_cast<std::int64_t>(run.at("seconds").get<double>() * 1e9);
  sum.window.wall_ns = std::max(sum.window.wall_ns, wall_ns);
  sum.window.own_ns += static_cast<std::int64_t>(run.at("generator_cpu_s").get<double>() * 1e9);
  AddPhases(run.at("phases"), sum);
}

std::expected<std::vector<Measure>, std::string> FromCompareForm(const json& document) {
  std::vector<Measure> measures;
  for (const json& metric : document.at("metrics")) {
    const json& results = metric.at("results");
    if (!results.contains("ours") || !results.at("ours").is_number()) continue;
    const bool lower = metric.at("better") == "lower";
    measures.push_back({metric.at("name").get<std::string>(),
                        lower ? Better::kLower : Better::kHigher,
                        results.at("ours").get<double>()});
  }
  return measures;
}

std::expected<std::vector<Measure>, std::string> FromRunForm(const json& document) {
  if (!document.at("valid").get<bool>()) {
    return std::unexpected("the run is INVALID: " + document.at("invalid").dump());
  }
  std::vector<Measure> measures;
  measures.push_back(
      {"achieved_per_s", Better::kHigher, document.at("achieved_per_s").get<double>()});
  measures.push_back({"failed", Better::kLower, document.at("failed").get<double>()});
  measures.push_back({"lost", Better::kLower, document.at("lost").get<double>()});
  for (const auto& [phase, values] : document.at("phases").items()) {
    if (phase == "pacing_lag" || values.at("count").get<std::uint64_t>() == 0) continue;
    for (const char* quantile : {"p50_us", "p99_us"}) {
      measures.push_back(
          {phase + "_" + quantile, Better::kLower, values.at(quantile).get<double>()});
    }
  }
  double server_us = 0;
  for (const json& value : document.at("watched")) {
    if (value.at("per_op_us").is_number()) server_us += value.at("per_op_us").get<double>();
  }
  if (server_us > 0) measures.push_back({"server_cpu_us_per_op", Better::kLower, server_us});
  return measures;
}

}  // namespace

void JudgeResult(Result& result) {
  RunHealth health;
  health.open_loop = result.open_loop;
  health.seconds = WindowSeconds(result);
  health.cpu_ns = result.window.own_ns;
  health.runqueue_ns = result.window.runqueue_ns;
  health.pacing_lag_p99_ns = result.pacing_lag.Quantile(0.99);
  health.offered = result.offered;
  health.started = result.started;
  health.attempted = std::max(result.opened, result.completed) + result.Failures();
  health.failed = result.Failures() + result.lost;
  health.resumption_wanted = result.resume;
  health.handshakes = result.handshakes;
  health.resumed = result.resumed;
  result.invalid = Judge(health, HealthLimits{});
  if (result.resumptions_refused != 0) {
    result.invalid.push_back(std::to_string(result.resumptions_refused) + " of " +
                             std::to_string(result.resumptions) +
                             " sessions were not resumed but made anew");
  }
  if (result.copies != CopyFaults{}) {
    result.invalid.push_back("copies: " + std::to_string(result.copies.lost) + " lost, " +
                             std::to_string(result.copies.doubled) + " doubled, " +
                             std::to_string(result.copies.swapped) + " out of order");
  }
  if (result.completed == 0) result.invalid.emplace_back("no operation was completed");
  if (result.shed != 0) {
    result.invalid.push_back(std::to_string(result.shed) + " starts were shed: the queue was full");
  }
  if (result.interrupted) result.invalid.emplace_back("stopped before its end");
}

std::string ToJson(const Result& result) {
  json phases = json::object();
  for (const NamedPhase& phase : Phases(result)) phases[phase.name] = PhaseJson(phase.histogram);
  json watched = json::object();
  for (std::size_t i = 0; i < result.watched.size(); ++i) {
    const std::int64_t cpu = i < result.window.watched_ns.size() ? result.window.watched_ns[i] : -1;
    json entry = {{"cpu_s", nullptr}, {"per_op_us", nullptr}, {"per_delivery_us", nullptr}};
    if (cpu >= 0) {
      entry["cpu_s"] = static_cast<double>(cpu) / 1e9;
      if (result.completed > 0) entry["per_op_us"] = PerUs(cpu, result.completed);
      if (result.deliveries > 0) entry["per_delivery_us"] = PerUs(cpu, result.deliveries);
    }
    watched[std::to_string(result.watched[i])] = std::move(entry);
  }
  const double seconds = WindowSeconds(result);
  const json document = {
      {"tool", "mongoosebench"},
      {"mode", result.mode},
      {"target", result.target},
      {"open_loop", result.open_loop},
      {"tls", result.tls},
      {"valid", result.invalid.empty()},
      {"invalid", result.invalid},
      {"seconds", seconds},
      {"offered", result.offered},
      {"offered_per_s", PerSecond(result, result.offered)},
      {"started", result.started},
      {"completed", result.completed},
      {"achieved_per_s", PerSecond(result, result.completed)},
      {"bytes", result.bytes},
      {"shed", result.shed},
      {"opened", result.opened},
      {"held", result.held},
      {"held_max", result.held_max},
      {"lost", result.lost},
      {"retries", result.retries},
      {"failed", result.Failures()},
      {"failures", FailuresJson(result)},
      {"handshakes", result.handshakes},
      {"resumed", result.resumed},
      {"resumptions", result.resumptions},
      {"resumptions_refused", result.resumptions_refused},
      {"deliveries", result.deliveries},
      {"deliveries_per_s", PerSecond(result, result.deliveries)},
      {"copies_lost", result.copies.lost},
      {"copies_doubled", result.copies.doubled},
      {"copies_swapped", result.copies.swapped},
      {"examples", result.examples},
      {"generator_cpu_s", static_cast<double>(result.window.own_ns) / 1e9},
      {"machine_busy_s", result.window.machine_busy_ns < 0
                             ? json(nullptr)
                             : json(static_cast<double>(result.window.machine_busy_ns) / 1e9)},
      {"generator_busy",
       seconds <= 0
           ? 0
           : static_cast<double>(result.window.own_ns + result.window.runqueue_ns) / 1e9 / seconds},
      {"watched", std::move(watched)},
      {"phases", std::move(phases)}};
  return document.dump();
}

std::string ToText(const Result& result) {
  char line[256];
  std::string text;
  const auto add = [&](int length) { text.append(line, static_cast<std::size_t>(length)); };
  add(std::snprintf(line, sizeof(line), "%s %s (%s loop%s): %.2f s\n", result.mode.c_str(),
                    result.target.c_str(), result.open_loop ? "open" : "closed",
                    result.tls ? ", TLS" : "", WindowSeconds(result)));
  add(std::snprintf(line, sizeof(line),
                    "  offered %.1f/s  achieved %.1f/s  held %llu  failed %llu  lost %llu  "
                    "retries %llu\n",
                    PerSecond(result, result.offered), PerSecond(result, result.completed),
                    static_cast<unsigned long long>(result.held),
                    static_cast<unsigned long long>(result.Failures()),
                    static_cast<unsigned long long>(result.lost),
                    static_cast<unsigned long long>(result.retries)));
  if (result.tls) {
    add(std::snprintf(line, sizeof(line), "  handshakes %llu, resumed %llu\n",
                      static_cast<unsigned long long>(result.handshakes),
                      static_cast<unsigned long long>(result.resumed)));
  }
  if (result.deliveries != 0) {
    add(std::snprintf(line, sizeof(line),
                      "  deliveries %.1f/s, copies lost %llu, doubled %llu, out of order %llu\n",
                      PerSecond(result, result.deliveries),
                      static_cast<unsigned long long>(result.copies.lost),
                      static_cast<unsigned long long>(result.copies.doubled),
                      static_cast<unsigned long long>(result.copies.swapped)));
  }
  add(std::snprintf(line, sizeof(line), "  %-14s %10s %10s %10s %10s %10s %10s\n", "us", "count",
                    "p50", "p90", "p99", "p99.9", "max"));
  for (const NamedPhase& phase : Phases(result)) {
    const Histogram& h = phase.histogram;
    if (h.Count() == 0) continue;
    add(std::snprintf(line, sizeof(line), "  %-14s %10llu %10.1f %10.1f %10.1f %10.1f %10.1f\n",
                      phase.name, static_cast<unsigned long long>(h.Count()), Us(h.Quantile(0.5)),
                      Us(h.Quantile(0.9)), Us(h.Quantile(0.99)), Us(h.Quantile(0.999)),
                      Us(h.Max())));
  }
  for (std::size_t i = 0; i < result.watched.size() && i < result.window.watched_ns.size(); ++i) {
    const std::int64_t cpu = result.window.watched_ns[i];
    add(std::snprintf(line, sizeof(line), "  process %d: %.3f s CPU, %.2f us an operation",
                      result.watched[i], static_cast<double>(cpu) / 1e9,
                      PerUs(cpu, result.completed)));
    if (result.deliveries != 0) {
      add(std::snprintf(line, sizeof(line), ", %.2f us a delivery", PerUs(cpu, result.deliveries)));
    }
    text += '\n';
  }
  for (const std::string& example : result.examples) text += "  failed: " + example + "\n";
  for (const std::string& reason : result.invalid) text += "  INVALID: " + reason + "\n";
  return text;
}

std::expected<Result, std::string> Merge(const std::vector<std::string>& paths) {
  Result sum;
  for (const std::string& path : paths) {
    const auto document = ReadObject(path);
    if (!document) return std::unexpected(document.error());
    try {
      AddRun(*document, sum);
      for (const json& reason : document->at("invalid")) {
        sum.invalid.push_back(path + ": " + reason.get<std::string>());
      }
    } catch (const json::exception& error) {
      return std::unexpected(path + ": no result of mongoosebench (" + error.what() + ")");
    }
  }
  return sum;
}

std::expected<std::vector<Measure>, std::string> ReadMeasures(const std::string& path) {
  const auto document = ReadObject(path);
  if (!document) return std::unexpected(document.error());
  try {
    auto measures =
        document->contains("metrics") ? FromCompareForm(*document) : FromRunForm(*document);
    if (!measures) return std::unexpected(path + ": " + measures.error());
    if (measures->empty()) return std::unexpected(path + ": holds no measures to compare");
    return measures;
  } catch (const json::exception& error) {
    return std::unexpected(path + ": neither a result of mongoosebench nor of bench/compare (" +
                           error.what() + ")");
  }
}

}  // namespace bench
