// The engine of the cluster's tables, measured: nodes of one process, frames handed over in memory,
// so that what is told is the engine's own work. For bench/compare cluster; prints one line of
// JSON.
//
//   cluster_measure [RECORDS]     records of three owners together, 100000
#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "server/cluster/cluster.h"

namespace server {
namespace {

using Clock = std::chrono::steady_clock;

constexpr size_t kOwners = 3;
constexpr net::Duration kStep = std::chrono::milliseconds(10);
constexpr uint32_t kTable = 1;

double Seconds(Clock::duration time) { return std::chrono::duration<double>(time).count(); }

// Loses nothing, keeps nothing.
class MemoryStorage final : public Storage {
 public:
  std::expected<std::optional<std::string>, std::string> Load() override { return bytes_; }
  std::expected<void, std::string> Save(std::string_view bytes) override {
    bytes_ = bytes;
    return {};
  }
  std::string Name() const override { return "memory"; }

 private:
  std::optional<std::string> bytes_;
};

class Net;

class Node final : public Transport {
 public:
  Node(Net& net, std::string name, uint64_t seed);
  bool Send(const std::string& node, std::span<const uint8_t> frame) override;
  void Want(const std::string& node, bool wanted) override;

  Net& net;
  const std::string name;
  MemoryStorage storage;
  std::unique_ptr<Cluster> cluster;
  std::vector<double> work_s;  // of each piece of work that was not another's joining
};

// Frames in the order in which they were sent, links as soon as somebody wants them.
class Net {
 public:
  struct Frame {
    std::string from, to;
    std::vector<uint8_t> bytes;
  };

  Node& Add(const std::string& name) {
    nodes[name] = std::make_unique<Node>(*this, name, nodes.size() + 1);
    return *nodes[name];
  }
  void Link(const std::string& a, const std::string& b) { wanted.emplace_back(a, b); }

  // Until nothing is under way, then a step of the clock.
  void Turn() {
    for (auto& [name, node] : nodes) node->cluster->Tick(now, 1'700'000'000'000);
    bool moved = true;
    while (moved) {
      moved = false;
      while (!wanted.empty()) {
        auto [a, b] = wanted.front();
        wanted.pop_front();
        if (nodes.contains(a) && nodes.contains(b) && up.emplace(std::minmax(a, b)).second) {
          nodes[a]->cluster->OnNodeUp(b, now);
          nodes[b]->cluster->OnNodeUp(a, now);
        }
        moved = true;
      }
      for (size_t i = frames.size(); i > 0; --i) {
        Frame frame = std::move(frames.front());
        frames.pop_front();
        const auto began = Clock::now();
        nodes[frame.to]->cluster->OnFrame(frame.from, frame.bytes, now);
        nodes[frame.to]->cluster->Flush();
        nodes[frame.to]->work_s.push_back(Seconds(Clock::now() - began));
        moved = true;
      }
      for (auto& [name, node] : nodes) {
        node->cluster->Flush();
        node->cluster->TakeEvents();
      }
    }
    now += kStep;
  }
  template <typename Condition>
  void Until(Condition condition) {
    for (int i = 0; i < 100'000 && !condition(); ++i) Turn();
    if (!condition()) {
      std::fprintf(stderr, "cluster_measure: it did not come about\n");
      std::exit(1);
    }
  }

  net::Time now{std::chrono::seconds(1000)};
  std::map<std::string, std::unique_ptr<Node>> nodes;
  std::deque<Frame> frames;
  std::deque<std::pair<std::string, std::string>> wanted;
  std::set<std::pair<std::string, std::string>> up;
};

Node::Node(Net& to, std::string own_name, uint64_t seed) : net(to), name(std::move(own_name)) {
  auto opened = Cluster::Open({.node = name,
                               .seed = seed,
                               .table_hash_key = {},
                               .tables = {{.id = kTable, .name = "session", .unique = true}}},
                              *this, storage, net.now, 1'700'000'000'000);
  if (!opened) {
    std::fprintf(stderr, "cluster_measure: %s\n", opened.error().c_str());
    std::exit(1);
  }
  cluster = std::move(*opened);
}

bool Node::Send(const std::string& node, std::span<const uint8_t> frame) {
  net.frames.push_back({name, node, {frame.begin(), frame.end()}});
  return true;
}

void Node::Want(const std::string& node, bool is_wanted) {
  if (is_wanted) net.Link(name, node);
}

bool AllRun(const Net& net, size_t count) {
  return std::ranges::all_of(net.nodes, [count](const auto& entry) {
    const ClusterStatus status = entry.second->cluster->Status();
    return status.ready && status.running.size() == count;
  });
}

bool EqualDigests(const Net& net, size_t records) {
  const ReplicatedTable* first = net.nodes.begin()->second->cluster->table(kTable);
  return std::ranges::all_of(net.nodes, [&](const auto& entry) {
    const ReplicatedTable* table = entry.second->cluster->table(kTable);
    return table->size() == records && table->digest() == first->digest();
  });
}

int Main(size_t records) {
  Net net;
  std::vector<Node*> owners;
  for (size_t i = 0; i < kOwners; ++i) {
    owners.push_back(&net.Add("node" + std::to_string(i) + "@localhost"));
  }
  for (size_t i = 1; i < kOwners; ++i) {
    owners[i]->cluster->Join(owners[0]->name);
    net.Until([&] { return owners[i]->cluster->Status().members.size() == i + 1; });
  }
  net.Until([&] { return AllRun(net, kOwners); });

  // A session: the full JID, and 16 bytes of where it is.
  const auto filled_from = Clock::now();
  for (size_t i = 0; i < records; ++i) {
    const std::string key =
        "user" + std::to_string(1'000'000 + i) + "@example.org/resource" + std::to_string(i % 10);
    owners[i % kOwners]->cluster->table(kTable)->Put(key, key.find('/'), "0123456789abcdef", i);
    if (i % 1000 == 999) net.Turn();
  }
  net.Until([&] { return EqualDigests(net, records); });
  const double fill_s = Seconds(Clock::now() - filled_from);

  // Another joins, and copies all of it; the work of the others goes on beside it.
  for (Node* owner : owners) owner->work_s.clear();
  Node& fourth = net.Add("node9@localhost");
  const auto joined_from = Clock::now();
  fourth.cluster->Join(owners[0]->name);
  net.Until([&] { return AllRun(net, kOwners + 1) && EqualDigests(net, records); });
  const double join_s = Seconds(Clock::now() - joined_from);
  std::vector<double> work;
  for (const Node* owner : owners) {
    work.insert(work.end(), owner->work_s.begin(), owner->work_s.end());
  }
  std::ranges::sort(work);
  const ReplicatedTable* table = fourth.cluster->table(kTable);
  std::printf(
      "{\"records\":%zu,\"fill_s\":%.4f,\"join_s\":%.4f,\"join_stall_p99_us\":%.1f,"
      "\"join_stall_max_us\":%.1f,\"record_bytes\":%.1f}\n",
      records, fill_s, join_s, work[work.size() * 99 / 100] * 1e6, work.back() * 1e6,
      static_cast<double>(table->memory_bytes()) / static_cast<double>(records));
  return 0;
}

}  // namespace
}  // namespace server

int main(int argc, char** argv) {
  const long records = argc > 1 ? std::atol(argv[1]) : 100'000;
  if (records < 1) return 2;
  return server::Main(static_cast<size_t>(records));
}
