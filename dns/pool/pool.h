// Which balancers of a pool are given out, with what weight, for how long, and why.
//
// Pure: health, overrides, drain and warm-up come in as values (one BalancerLive a balancer), the
// choice goes out as a Selection, from which answers are compiled (answer.h). One Selection a pool
// makes all of the pool's A, AAAA and SRV sets, so that they always agree.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "net/base/address.h"
#include "net/base/clock.h"

namespace dns {

constexpr size_t kBalancersPerPoolMax = 64;
constexpr size_t kAddressesPerBalancerMax = 4;
// Addresses of a pool in one answer set, the fallback's included: the responder's arrays hold as
// many items (kRecordsPerSetMax), and `check` refuses more.
constexpr size_t kPoolAddressesMax = kBalancersPerPoolMax * kAddressesPerBalancerMax;
constexpr size_t kPoolsMax = 64;
constexpr uint32_t kWeightMax = 1000;
constexpr uint16_t kAnswersMax = 32;

// The services that checks can judge by themselves (RFC 6120 §3.2.1, XEP-0368), in the order of
// BalancerLive::services_down and PoolView::services.
constexpr std::array<std::string_view, 4> kServices = {"xmpp-client", "xmpps-client", "xmpp-server",
                                                       "xmpps-server"};
std::optional<unsigned> ServiceIndex(std::string_view name);

struct BalancerConfig {
  std::string name;                     // one DNS label
  std::vector<net::Address> addresses;  // port 0
  uint32_t weight = 100;                // 0: only when every balancer with a weight is out
  uint16_t priority = 0;                // SRV priority
};

// What is answered when no balancer of the pool is fit.
enum class AllDown {
  kAll,        // all of them: better a refused connect than no address (Route 53's and gdnsd's way)
  kLastKnown,  // those that were fit last
  kFallback,   // the pool's fallback addresses
  kNone,       // no address: NODATA with an Extended DNS Error
};
std::string_view ToString(AllDown rule);

struct PoolConfig {
  std::string name;
  std::vector<BalancerConfig> balancers;
  std::vector<net::Address> fallback;
  AllDown all_down = AllDown::kAll;
  uint16_t answers_max = 8;
  uint32_t ttl_min = 10;  // seconds
  uint32_t ttl_max = 60;
  // Fewer fit balancers than this share of all, and the rule for all_down decides: what is left
  // would not bear the load (gdnsd's up_thresh). 0: one is enough.
  double up_threshold = 0;
};

// Why a balancer is where it is; with its printer.
enum class Standing {
  kChecking,  // no verdict of a check yet: given out, so that a start never empties the answers
  kUp,
  kWarming,   // up, with a growing weight
  kDraining,  // leaving, with a shrinking weight
  kDrained,
  kDown,
  kForcedUp,
  kForcedDown,
};
std::string_view ToString(Standing standing);

struct BalancerLive {
  Standing standing = Standing::kUp;
  // Share of the configured weight that is given out now, 0 to 1: warm-up and drain steps.
  double factor = 1.0;
  // Services (index into the pool's service names) whose own checks fail; bit i for service i.
  uint32_t services_down = 0;
  // Addresses that are out while others of the balancer are not; bit i for address i.
  uint32_t addresses_down = 0;
  // How soon the standing could change at the earliest, from now; it bounds the TTL.
  net::Duration next_change = std::chrono::hours(1);
  std::string reason;  // in words, for `states` and `explain`
};

// Is a balancer with this standing given out (factor and service checks aside)?
constexpr bool IsFit(Standing standing) {
  return standing != Standing::kDown && standing != Standing::kForcedDown &&
         standing != Standing::kDrained;
}

struct Member {
  size_t balancer = 0;          // index; meaningless when Selection::fallback
  uint32_t weight = 0;          // above 0; weight × factor in thousandths
  uint32_t addresses_down = 0;  // as BalancerLive has it

  bool operator==(const Member&) const = default;
};

struct Selection {
  std::vector<Member> members;
  uint32_t ttl = 0;
  bool all_down = false;  // the rule decided, not health
  bool fallback = false;  // members is empty, the pool's fallback addresses are given out
  // The members when health last decided.
  std::vector<Member> last_known;
};

// The choice for addresses (service = nothing) or for one service.
// `last_known` is that of the selection before.
Selection Select(const PoolConfig& pool, std::span<const BalancerLive> live,
                 std::optional<unsigned> service, const std::vector<Member>& last_known);

// All that is given out of one pool at one moment.
struct PoolView {
  Selection addresses;
  std::array<Selection, kServices.size()> services;
  // A balancer: those of its addresses that are out (BalancerLive::addresses_down). What its host
  // name gives out depends on nothing else.
  std::vector<uint32_t> addresses_down;
};

// `previous` is the view before; its members are what kLastKnown falls back to.
PoolView MakeView(const PoolConfig& pool, std::span<const BalancerLive> live,
                  const PoolView& previous);

// How many of `weights` one answer holds, so that each is in it as often as its weight says:
// floor(Σw / max w), at least 1, at most `answers_max`. With equal weights that is all of them.
uint16_t AnswersFor(std::span<const uint32_t> weights, uint16_t answers_max);

}  // namespace dns
