// The status JSON, and the decision made of it: bounded, never more than the contract allows, and
// some node always stays in when any node may be chosen.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "lb/health/cluster_view.h"
#include "net/base/check.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::string_view rest(reinterpret_cast<const char*>(data), size);
  std::vector<lb::ClusterReport> reports;
  // Several answers in one input, parted by NUL.
  while (!rest.empty() && reports.size() < 8) {
    size_t end = rest.find('\0');
    auto status = lb::ParseClusterStatus(rest.substr(0, end));
    lb::ClusterReport report;
    report.name = "n" + std::to_string(reports.size());
    if (status) {
      CHECK(status->members.size() <= lb::kClusterNodesMax);
      CHECK(!status->node.empty() && status->node.size() <= lb::kClusterNameMax);
      report.status = *status;
    } else {
      report.error = status.error().ToString();
      CHECK(!report.error.empty());
    }
    reports.push_back(std::move(report));
    rest = end == std::string_view::npos ? std::string_view() : rest.substr(end + 1);
  }
  lb::SplitDecision decision = lb::DecideNetsplit(reports);
  CHECK(decision.nodes.size() == reports.size());
  bool choosable = std::any_of(reports.begin(), reports.end(), [](const lb::ClusterReport& r) {
    return r.status && lb::Choosable(r.status->state);
  });
  bool in = std::any_of(decision.nodes.begin(), decision.nodes.end(),
                        [](const auto& node) { return node.verdict == lb::SplitVerdict::kIn; });
  CHECK(!choosable || in);
  return 0;
}
