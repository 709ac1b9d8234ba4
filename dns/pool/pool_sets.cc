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

// The addresses of one family that are not out (bit i of `down` for address i).
std::vector<net::Address> AddressesUp(const BalancerConfig& balancer, uint32_t down, bool v6) {
  std::vector<net::Address> up;
  for (size_t i = 0; i < balancer.addresses.size(); ++i) {
    if ((down >> i & 1u) == 0 && IsV6(balancer.addresses[i]) == v6) {
      up.push_back(balancer.addresses[i]);
    }
  }
  return up;
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
    std::vector<net::Address> addresses =
        AddressesUp(pool.balancers[member.balancer], member.addresses_down, v6);
    auto count = static_cast<uint32_t>(addresses.size());
    for (const net::Address& a : addresses) {
      AddWeighted(out, AddressRdata(a), std::max(1u, member.weight / count));
    }
  }
}

// The balancers' host names, which SRV records point to: those addresses that are not out.
void AddHostSets(const PoolConfig& pool, const PoolUse& use, const PoolView& view, PoolSets& sets) {
  for (size_t i = 0; i < pool.balancers.size(); ++i) {
    uint32_t down = i < view.addresses_down.size() ? view.addresses_down[i] : 0;
    for (bool v6 : {false, true}) {
      if (AddressesUp(pool.balancers[i], 0, v6).empty()) continue;
      Type type = v6 ? Type::kAaaa : Type::kA;
      PoolSet& set = sets[use.hosts[i]][type];
      set.pool = use.pool;
      set.set = {use.hosts[i], type, view.addresses.ttl, {}};
      set.answers_max = kAddressesPerBalancerMax;
      set.transfer_ttl = pool.ttl_min;
      for (const net::Address& a : AddressesUp(pool.balancers[i], down, v6)) {
        AddWeighted(set, AddressRdata(a), 1);
      }
    }
  }
}

void AddHost(const Name& host, Bytes rdata, PoolSet& out) {
  if (std::ranges::find(out.set.rdatas, rdata) != out.set.rdatas.end()) return;
  out.set.rdatas.push_back(std::move(rdata));
  out.weights.push_back(1);
  out.hosts.push_back(host);
}

void AddService(const PoolConfig& pool, const PoolUse& use, const ServiceUse& service,
                const Member& member, PoolSet& out) {
  const Name& host = use.hosts[member.balancer];
  Bytes rdata;
  Append16(rdata, pool.balancers[member.balancer].priority);
  Append16(rdata, std::clamp<uint32_t>((member.weight + 500) / 1000, 1, 65535));
  Append16(rdata, service.port);
  Append(rdata, host.wire());
  AddHost(host, std::move(rdata), out);
}

// ServiceMode begins at priority 1 (RFC 9460 §2.4.1); there are no weights.
void AddBinding(const PoolConfig& pool, const PoolUse& use, const BindingUse& binding,
                const Member& member, PoolSet& out) {
  const Name& host = use.hosts[member.balancer];
  Bytes rdata;
  Append16(rdata, std::min(pool.balancers[member.balancer].priority + 1u, 65'535u));
  Append(rdata, host.wire());
  Append(rdata, binding.params);
  AddHost(host, std::move(rdata), out);
}

// Those that are given out. Fallback addresses have no host names: all that have.
std::vector<Member> MembersOf(const PoolConfig& pool, const Selection& selection) {
  std::vector<Member> members = selection.members;
  for (size_t i = 0; selection.fallback && i < pool.balancers.size(); ++i) {
    members.push_back({i, 1000});
  }
  return members;
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
  auto [at, fresh] = sets[owner].try_emplace(type);
  PoolSet& set = at->second;
  if (!fresh) return set;  // another use of the pool: their records make one set
  set.pool = use.pool;
  set.set = {owner, type, selection.ttl, {}};
  set.answers_max = pool.answers_max;
  set.transfer_ttl = pool.ttl_min;
  set.all_down = selection.all_down;
  return set;
}

}  // namespace

uint16_t PoolSet::AnswersPerReply() const {
  if (set.type != Type::kA && set.type != Type::kAaaa)
    return static_cast<uint16_t>(set.rdatas.size());
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
    AddHostSets(pool, use, view, sets);
    for (const ServiceUse& service : use.services) {
      // Other services than XMPP's have no checks of their own: what the addresses are judged by.
      auto own = ServiceIndex(service.service);
      const Selection& selection = own ? view.services[*own] : view.addresses;
      PoolSet& set = Start(sets, use, pool, *ServiceOwner(use, service), Type::kSrv, selection);
      for (const Member& member : MembersOf(pool, selection)) {
        AddService(pool, use, service, member, set);
      }
    }
    for (const BindingUse& binding : use.bindings) {
      PoolSet& set = Start(sets, use, pool, binding.owner, binding.type, view.addresses);
      for (const Member& member : MembersOf(pool, view.addresses)) {
        AddBinding(pool, use, binding, member, set);
      }
    }
  }
  return sets;
}

}  // namespace dns
