// Nodes from DNS: asks again and again, and hands over the set when it changes.
//
//  - A, AAAA: each address is a node, named by its address; all have the configured weight.
//  - SRV: each target and port is a node, named "target:port", at the target's address (of several
//    the one it had before, else the lowest; IPv4 before IPv6). The lowest priority's are
//    primaries, the others backups. Weights are scaled so that their mean is the configured weight.
//
// An answer that fails, is empty, or cannot be completed keeps the last known set: DNS being down
// is no reason to lose nodes that work. At most nodes_max nodes are taken, in the order of their
// names, primaries first.
//
// It asks every `interval`, sooner when the records' TTL is shorter (not below a second), and after
// a failure within 1, 2, 4 ... seconds up to the interval.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <expected>
#include <functional>
#include <mutex>
#include <stop_token>
#include <string>
#include <thread>
#include <vector>

#include "lb/config/config.h"
#include "net/base/address.h"
#include "net/base/clock.h"
#include "net/dns/dns_client.h"
#include "net/dns/dns_message.h"

namespace lb {

struct DiscoveredNode {
  std::string name;
  net::Address address;
  uint32_t weight = 100;
  bool backup = false;

  bool operator==(const DiscoveredNode&) const = default;
};

// --- Pure
// ------------------------------------------------------------------------------------------

struct DiscoveredSet {
  std::vector<DiscoveredNode> nodes;  // primaries first, then by name
  size_t ignored = 0;                 // above nodes_max
};

DiscoveredSet NodesOfAddresses(const DiscoverConfig& config, const net::DnsAnswer& answer);

// A service with the addresses of its target; those without any are left out by the caller.
struct ResolvedService {
  net::DnsService service;
  std::vector<net::Address> addresses;
};
DiscoveredSet NodesOfServices(const DiscoverConfig& config,
                              const std::vector<ResolvedService>& services,
                              const std::vector<DiscoveredNode>& previous);

net::Duration NextLookup(const DiscoverConfig& config, std::chrono::seconds ttl);
net::Duration NextLookupAfterFailure(const DiscoverConfig& config, uint32_t failures_in_a_row);

// --- The thread
// ------------------------------------------------------------------------------------

struct DiscoveryStats {
  std::atomic<uint64_t> lookups{0};
  std::atomic<uint64_t> failures{0};
  std::atomic<uint64_t> changes{0};
  std::atomic<uint64_t> ignored{0};  // nodes above nodes_max, in the last answer
};

// Owns a thread. Destruction stops it at once, also in the middle of a question.
class Discovery {
 public:
  // The whole set, when it differs from the one before; never empty. On the discovery's thread:
  // post it to where it is needed.
  using OnChange = std::move_only_function<void(const std::vector<DiscoveredNode>&)>;
  // A look-up found nothing, and why. On the discovery's thread, too.
  using OnFailure = std::move_only_function<void(net::DnsFailure)>;

  // `pool` is for log lines.
  Discovery(std::string pool, DiscoverConfig config, OnChange on_change,
            net::DnsClientOptions options = {}, OnFailure on_failure = nullptr);
  ~Discovery();
  Discovery(const Discovery&) = delete;
  Discovery& operator=(const Discovery&) = delete;

  const DiscoveryStats& stats() const { return stats_; }
  // Does not wait for the interval. Any thread.
  void LookUpNowForTest();

 private:
  struct Found {
    DiscoveredSet set;
    std::chrono::seconds ttl{0};
  };

  void Run(const std::stop_token& stop);
  net::Duration LookUp();  // returns when to ask again
  std::expected<Found, net::DnsFailure> Ask();
  std::expected<Found, net::DnsFailure> AskServices(const std::vector<net::Address>& resolvers);
  std::expected<std::vector<net::Address>, net::DnsFailure> AskTarget(
      const std::vector<net::Address>& resolvers, const std::string& target,
      std::chrono::seconds& ttl);
  void Tell(Found found);

  const std::string pool_;
  const DiscoverConfig config_;
  OnChange on_change_;
  OnFailure on_failure_;
  net::DnsClient client_;
  DiscoveryStats stats_;
  std::vector<DiscoveredNode> nodes_;  // the last known; the thread's
  uint32_t failures_in_a_row_ = 0;     // the thread's
  std::mutex mutex_;
  std::condition_variable_any wake_;
  bool now_ = false;  // under mutex_
  std::jthread thread_;
};

}  // namespace lb
