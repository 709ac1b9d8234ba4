// What one choice of a node costs. The aim: below 50 ns for p2c with 4 to 16 nodes.
#include <benchmark/benchmark.h>

#include <memory>
#include <string>

#include "lb/balance/balancer.h"
#include "net/limit/source_table.h"
#include "net/proxy_protocol/proxy_protocol.h"

namespace {

const net::Time kStart{std::chrono::seconds(1'000)};

std::vector<lb::BalancerNode> MakeNodes(int64_t count) {
  std::vector<lb::BalancerNode> nodes;
  for (int64_t i = 0; i < count; ++i) {
    lb::BalancerNode node;
    node.name = "node" + std::to_string(i);
    node.weight = static_cast<uint32_t>(50 + i * 10 % 100);
    node.state = std::make_shared<lb::NodeState>(node.weight);
    nodes.push_back(std::move(node));
  }
  return nodes;
}

void PickAndRelease(benchmark::State& state, const lb::Balancer& balancer) {
  lb::PickLocal local(7);
  local.Adopt(balancer);
  lb::PickRequest request{.source_hash = 1, .now = kStart};
  for (auto _ : state) {
    request.source_hash += 0x9e3779b97f4a7c15U;
    request.now += std::chrono::microseconds(10);
    lb::PickResult picked = balancer.Pick(request, local);
    benchmark::DoNotOptimize(picked);
    picked.node->Release();
  }
}

void BM_Pick(benchmark::State& state, lb::Policy policy) {
  lb::BalancerOptions options;
  options.policy = policy;
  lb::Balancer balancer(MakeNodes(state.range(0)), options);
  PickAndRelease(state, balancer);
}
BENCHMARK_CAPTURE(BM_Pick, p2c, lb::Policy::kP2c)->Arg(4)->Arg(16)->Arg(64);
BENCHMARK_CAPTURE(BM_Pick, leastconn, lb::Policy::kLeastConn)->Arg(4)->Arg(16)->Arg(64);
BENCHMARK_CAPTURE(BM_Pick, roundrobin, lb::Policy::kRoundRobin)->Arg(4)->Arg(16)->Arg(64);
BENCHMARK_CAPTURE(BM_Pick, random, lb::Policy::kRandom)->Arg(4)->Arg(16)->Arg(64);
BENCHMARK_CAPTURE(BM_Pick, source, lb::Policy::kSource)->Arg(4)->Arg(16)->Arg(64);
BENCHMARK_CAPTURE(BM_Pick, maglev, lb::Policy::kMaglev)->Arg(4)->Arg(16)->Arg(64);

void BM_PickWhileOneWarms(benchmark::State& state) {
  auto nodes = MakeNodes(state.range(0));
  nodes[0].share_cap = 1;
  nodes[0].state->SetAdmissionRate(100, kStart);
  lb::Balancer balancer(std::move(nodes), {});
  PickAndRelease(state, balancer);
}
BENCHMARK(BM_PickWhileOneWarms)->Arg(4)->Arg(16);

void BM_BuildSnapshot(benchmark::State& state, lb::Policy policy) {
  lb::BalancerOptions options;
  options.policy = policy;
  auto nodes = MakeNodes(state.range(0));
  for (auto _ : state) {
    lb::Balancer balancer(nodes, options);
    benchmark::DoNotOptimize(balancer);
  }
}
BENCHMARK_CAPTURE(BM_BuildSnapshot, p2c, lb::Policy::kP2c)->Arg(16);
BENCHMARK_CAPTURE(BM_BuildSnapshot, source, lb::Policy::kSource)->Arg(16);
BENCHMARK_CAPTURE(BM_BuildSnapshot, maglev, lb::Policy::kMaglev)->Arg(16);

void BM_ProxyV2(benchmark::State& state, bool decode) {
  auto source = net::ProxyEndpoint::FromAddress(*net::Address::Parse("192.0.2.1:40000"));
  auto destination = net::ProxyEndpoint::FromAddress(*net::Address::Parse("192.0.2.2:5222"));
  net::ProxyTlvsOut tlvs;
  tlvs.unique_id = "0123456789abcdef";
  tlvs.crc32c = true;
  std::vector<uint8_t> bytes(512);
  size_t size = *net::EncodeProxyV2(source, destination, tlvs, bytes);
  net::ProxyHeader header;
  for (auto _ : state) {
    if (decode) {
      benchmark::DoNotOptimize(net::DecodeProxyHeader({bytes.data(), size}, header));
    } else {
      benchmark::DoNotOptimize(net::EncodeProxyV2(source, destination, tlvs, bytes));
    }
  }
}
BENCHMARK_CAPTURE(BM_ProxyV2, encode, false);
BENCHMARK_CAPTURE(BM_ProxyV2, decode, true);

void BM_SourceTable(benchmark::State& state) {
  net::SourceTable table({.connections_max = 100, .rate = 1e6}, {1, 2});
  uint32_t n = 0;
  for (auto _ : state) {
    n = n * 1'664'525 + 1'013'904'223;
    net::SourceKey key{};
    key[12] = static_cast<uint8_t>(n >> 24);
    key[13] = static_cast<uint8_t>(n >> 16);
    auto admission = table.Admit(key, kStart);
    benchmark::DoNotOptimize(admission);
    table.Release(admission.handle);
  }
}
BENCHMARK(BM_SourceTable);

}  // namespace

BENCHMARK_MAIN();
