#include "lb/health/discovery.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <optional>
#include <set>
#include <utility>

#include "net/report/log.h"

namespace lb {
namespace {

constexpr net::Duration kLookupMin = std::chrono::seconds(1);

void SortAndCut(const DiscoverConfig& config, DiscoveredSet& set) {
  std::ranges::sort(set.nodes, {}, [](const DiscoveredNode& node) {
    return std::pair<bool, std::string_view>(node.backup, node.name);
  });
  if (set.nodes.size() <= config.nodes_max) return;
  set.ignored = set.nodes.size() - config.nodes_max;
  set.nodes.resize(config.nodes_max);
}

// RFC 2782's weights are shares of any scale; ours have a mean that the configuration names.
uint32_t ScaledWeight(const DiscoverConfig& config, uint16_t weight, double mean) {
  if (mean <= 0) return config.weight;
  double scaled = std::round(weight / mean * config.weight);
  return static_cast<uint32_t>(std::clamp(scaled, 1.0, static_cast<double>(kWeightMax)));
}

net::Address ChooseAddress(const ResolvedService& resolved, const std::string& name,
                           const std::vector<DiscoveredNode>& previous) {
  auto before = std::ranges::find(previous, name, &DiscoveredNode::name);
  if (before != previous.end()) {
    net::Address held = before->address.WithPort(0);
    if (std::ranges::find(resolved.addresses, held) != resolved.addresses.end()) return held;
  }
  return *std::ranges::min_element(resolved.addresses, {}, [](const net::Address& address) {
    return std::pair(address.family(), address);
  });
}

}  // namespace

DiscoveredSet NodesOfAddresses(const DiscoverConfig& config, const net::DnsAnswer& answer) {
  DiscoveredSet out;
  for (const net::Address& address : answer.addresses) {
    out.nodes.push_back({.name = address.IpToString(),
                         .address = address.WithPort(config.port),
                         .weight = config.weight,
                         .backup = false});
  }
  SortAndCut(config, out);
  return out;
}

DiscoveredSet NodesOfServices(const DiscoverConfig& config,
                              const std::vector<ResolvedService>& services,
                              const std::vector<DiscoveredNode>& previous) {
  uint16_t first = UINT16_MAX;
  std::map<uint16_t, std::pair<double, size_t>> sums;  // by priority: weights, records
  for (const ResolvedService& resolved : services) {
    if (resolved.addresses.empty()) continue;
    first = std::min(first, resolved.service.priority);
    auto& [sum, count] = sums[resolved.service.priority];
    sum += resolved.service.weight;
    ++count;
  }
  std::map<std::string, std::pair<uint16_t, DiscoveredNode>> nodes;  // by name; the first priority
  for (const ResolvedService& resolved : services) {
    if (resolved.addresses.empty()) continue;
    const net::DnsService& service = resolved.service;
    std::string name = service.target + ":" + std::to_string(service.port);
    const auto& [sum, count] = sums[service.priority];
    DiscoveredNode node{
        .name = name,
        .address = ChooseAddress(resolved, name, previous).WithPort(service.port),
        .weight = ScaledWeight(config, service.weight, sum / static_cast<double>(count)),
        .backup = service.priority != first};
    auto [it, is_new] = nodes.try_emplace(name, service.priority, node);
    if (!is_new && service.priority < it->second.first) it->second = {service.priority, node};
  }
  DiscoveredSet out;
  for (auto& [name, entry] : nodes) out.nodes.push_back(std::move(entry.second));
  SortAndCut(config, out);
  return out;
}

net::Duration NextLookup(const DiscoverConfig& config, std::chrono::seconds ttl) {
  return std::max(kLookupMin, std::min(config.interval, net::Duration(ttl)));
}

net::Duration NextLookupAfterFailure(const DiscoverConfig& config, uint32_t failures_in_a_row) {
  uint32_t doublings = std::clamp(failures_in_a_row, 1U, 20U) - 1;
  return std::min(config.interval, kLookupMin * (int64_t{1} << doublings));
}

Discovery::Discovery(std::string pool, DiscoverConfig config, OnChange on_change,
                     net::DnsClientOptions options, OnFailure on_failure)
    : pool_(std::move(pool)),
      config_(std::move(config)),
      on_change_(std::move(on_change)),
      on_failure_(std::move(on_failure)),
      client_(options),
      thread_([this](const std::stop_token& stop) { Run(stop); }) {}

Discovery::~Discovery() {
  thread_.request_stop();
  client_.Stop();
  thread_.join();
}

void Discovery::LookUpNowForTest() {
  {
    std::lock_guard lock(mutex_);
    now_ = true;
  }
  wake_.notify_one();
}

void Discovery::Run(const std::stop_token& stop) {
  while (!stop.stop_requested()) {
    net::Duration next = LookUp();
    std::unique_lock lock(mutex_);
    wake_.wait_for(lock, stop, next, [this] { return now_; });
    now_ = false;
  }
}

net::Duration Discovery::LookUp() {
  stats_.lookups.fetch_add(1, std::memory_order_relaxed);
  auto found = Ask();
  if (!found) {
    if (found.error() == net::DnsFailure::kStopped) return config_.interval;
    stats_.failures.fetch_add(1, std::memory_order_relaxed);
    if (on_failure_) on_failure_(found.error());
    if (++failures_in_a_row_ == 1) {
      net::Log(net::LogLevel::kWarn, "discover", "look-up failed; the last known nodes stay",
               {{"pool", pool_},
                {"name", config_.name},
                {"reason", net::DnsFailureName(found.error())},
                {"nodes", nodes_.size()}});
    }
    return NextLookupAfterFailure(config_, failures_in_a_row_);
  }
  if (std::exchange(failures_in_a_row_, 0) > 0) {
    net::Log(net::LogLevel::kInfo, "discover", "look-up works again",
             {{"pool", pool_}, {"name", config_.name}});
  }
  net::Duration next = NextLookup(config_, found->ttl);
  Tell(std::move(*found));
  return next;
}

void Discovery::Tell(Found found) {
  size_t ignored = found.set.ignored;
  if (ignored > 0 && stats_.ignored.load(std::memory_order_relaxed) != ignored) {
    net::Log(net::LogLevel::kWarn, "discover", "more nodes than nodes_max; the rest is left out",
             {{"pool", pool_}, {"name", config_.name}, {"left_out", ignored}});
  }
  stats_.ignored.store(ignored, std::memory_order_relaxed);
  if (found.set.nodes == nodes_) return;
  net::Log(net::LogLevel::kInfo, "discover", "nodes changed",
           {{"pool", pool_},
            {"name", config_.name},
            {"before", nodes_.size()},
            {"now", found.set.nodes.size()}});
  nodes_ = std::move(found.set.nodes);
  stats_.changes.fetch_add(1, std::memory_order_relaxed);
  on_change_(nodes_);
}

std::expected<Discovery::Found, net::DnsFailure> Discovery::Ask() {
  std::vector<net::Address> resolvers =
      config_.resolver ? std::vector{*config_.resolver} : net::SystemResolvers();
  if (config_.record == DiscoverRecord::kSrv) return AskServices(resolvers);
  net::DnsType type = config_.record == DiscoverRecord::kA ? net::DnsType::kA : net::DnsType::kAaaa;
  auto answer = client_.Ask(resolvers, {config_.name, type});
  if (!answer) return std::unexpected(answer.error());
  return Found{.set = NodesOfAddresses(config_, *answer), .ttl = answer->ttl};
}

std::expected<Discovery::Found, net::DnsFailure> Discovery::AskServices(
    const std::vector<net::Address>& resolvers) {
  auto answer = client_.Ask(resolvers, {config_.name, net::DnsType::kSrv});
  if (!answer) return std::unexpected(answer.error());
  std::chrono::seconds ttl = answer->ttl;
  std::map<std::string, std::vector<net::Address>> addresses;  // by target
  std::vector<ResolvedService> resolved;
  for (const net::DnsService& service : answer->services) {
    auto known = addresses.find(service.target);
    if (known == addresses.end()) {
      if (addresses.size() >= kPoolNodesMax) break;
      auto asked = AskTarget(resolvers, service.target, ttl);
      if (!asked) return std::unexpected(asked.error());
      known = addresses.emplace(service.target, std::move(*asked)).first;
    }
    resolved.push_back({service, known->second});
  }
  Found found{.set = NodesOfServices(config_, resolved, nodes_), .ttl = ttl};
  if (found.set.nodes.empty()) return std::unexpected(net::DnsFailure::kNoRecords);
  return found;
}

// A target without addresses is left out; a resolver that fails fails the whole look-up, since then
// we do not know.
std::expected<std::vector<net::Address>, net::DnsFailure> Discovery::AskTarget(
    const std::vector<net::Address>& resolvers, const std::string& target,
    std::chrono::seconds& ttl) {
  for (net::DnsType type : {net::DnsType::kA, net::DnsType::kAaaa}) {
    auto answer = client_.Ask(resolvers, {target, type});
    if (answer) {
      ttl = std::min(ttl, answer->ttl);
      return std::move(answer->addresses);
    }
    if (answer.error() != net::DnsFailure::kNoRecords &&
        answer.error() != net::DnsFailure::kNoSuchName) {
      return std::unexpected(answer.error());
    }
  }
  return std::vector<net::Address>{};
}

}  // namespace lb
