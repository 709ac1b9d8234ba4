#include "dns/pool/pool_sets.h"

#include <algorithm>

#include "net/base/check.h"

namespace dns {
namespace {

bool IsV6(const net::Address& a) { return a.family() == net::AddressFamily::kIpv6; }

void AddWeighted(PoolSet& out, Bytes rdata, uint32_t weight) {
  auto same = std::ranges::find(out.set.rdatas, rdata);
  if (same != out.set.rdatas.end()) {
    out.weights[static_cast<size_t>(same - out.set.rdatas.begin())] += weight;
    return;
  }
  out.set.rdatas.push_back(std::move(rdata));
  out.weights.push_back(weight);
}

// The addresses of one family. A balancer's weight is shared by its addresses.
void FillAddresses(const PoolConfig& pool, const Selection& selection, bool v6, PoolSet& out) {
  auto of_family = [&](const net::Address& a) { return IsV6(a) == v6; };
  if (selection.fallback) {
    for (const net::Address& a : pool.fallback) {
      if (of_family(a)) AddWeighted(out, AddressRdata(a), 1);
    }
    return;
  }
  for (const Member& member : selection.members) {
    const auto& addresses = pool.balancers[member.balancer].addresses;
    auto count = static_cast<uint32_t>(std::ranges::count_if(addresses, of_family));
    for (const net::Address& a : addresses) {
      if (of_family(a)) AddWeighted(out, AddressRdata(a), std::max(1u, member.weight / count));
    }
  }
}

void AddService(const PoolConfig& pool, const PoolUse& use, const ServiceUse& service,
                const Member& member, PoolSet& out) {
  Bytes rdata;
  Append16(rdata, pool.balancers[member.balancer].priority);
  Append16(rdata, std::clamp<uint32_t>((member.weight + 500) / 1000, 1, 65535));
  Append16(rdata, service.port);
  Append(rdata, use.hosts[member.balancer].wire());
  out.set.rdatas.push_back(std::move(rdata));
  out.weights.push_back(1);
  out.hosts.push_back(use.hosts[member.balancer]);
}

bool HasFamily(const PoolConfig& pool, bool v6) {
  auto of_family = [&](const net::Address& a) { return IsV6(a) == v6; };
  return std::ranges::any_of(pool.fallback, of_family) ||
         std::ranges::any_of(pool.balancers, [&](const BalancerConfig& balancer) {
           return std::ranges::any_of(balancer.addresses, of_family);
         });
}

PoolSet& Start(PoolSets& sets, const PoolUse& use, const PoolConfig& pool, const Name& owner,
               Type type, const Selection& selection) {
  PoolSet& set = sets[owner][type];
  set.pool = use.pool;
  set.set = {owner, type, selection.ttl, {}};
  set.answers_max = pool.answers_max;
  set.all_down = selection.all_down;
  return set;
}

}  // namespace

uint16_t PoolSet::AnswersPerReply() const {
  if (set.type == Type::kSrv) return static_cast<uint16_t>(set.rdatas.size());
  if (weighted) return AnswersFor(weights, answers_max);
  return static_cast<uint16_t>(std::min<size_t>(set.rdatas.size(), answers_max));
}

Bytes AddressRdata(const net::Address& address) {
  auto bytes = address.ip();
  return {bytes.begin(), bytes.end()};
}

void AddHosts(Zone& zone, const std::vector<PoolConfig>& pools) {
  for (const PoolUse& use : zone.pools) {
    const PoolConfig& pool = pools[use.pool];
    for (size_t i = 0; i < pool.balancers.size(); ++i) {
      for (const net::Address& address : pool.balancers[i].addresses) {
        Type type = IsV6(address) ? Type::kAaaa : Type::kA;
        auto added = AddRecord(zone, {use.hosts[i], type, pool.ttl_max, AddressRdata(address)});
        CHECK(added.has_value());
      }
    }
  }
}

Name ServiceOwner(const PoolUse& use, const ServiceUse& service) {
  auto owner = use.services_at.Child("_tcp")->Child("_" + service.service);
  CHECK(owner.has_value());
  return *owner;
}

PoolSets MakePoolSets(const Zone& zone, const std::vector<PoolConfig>& pools,
                      std::span<const PoolView> views) {
  PoolSets sets;
  for (const PoolUse& use : zone.pools) {
    const PoolConfig& pool = pools[use.pool];
    const PoolView& view = views[use.pool];
    for (bool v6 : {false, true}) {
      if (!HasFamily(pool, v6)) continue;
      PoolSet& set =
          Start(sets, use, pool, use.addresses_at, v6 ? Type::kAaaa : Type::kA, view.addresses);
      FillAddresses(pool, view.addresses, v6, set);
      set.weighted =
          std::ranges::adjacent_find(set.weights, std::not_equal_to<>()) != set.weights.end();
    }
    for (const ServiceUse& service : use.services) {
      const Selection& selection = view.services[*ServiceIndex(service.service)];
      PoolSet& set = Start(sets, use, pool, ServiceOwner(use, service), Type::kSrv, selection);
      if (selection.fallback) {  // fallback addresses have no host names: give out all that have
        for (size_t i = 0; i < pool.balancers.size(); ++i) {
          AddService(pool, use, service, {i, 1000}, set);
        }
      }
      for (const Member& member : selection.members) AddService(pool, use, service, member, set);
    }
  }
  return sets;
}

}  // namespace dns
