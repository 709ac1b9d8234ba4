// Nodes of a cluster over a simulated network: one virtual clock, links that break one way, partly
// or for milliseconds, processes that are killed, paused or lose their disk. The same seed repeats
// all.
//
// What links promise is what the distribution's do: order, or the end of the link. A direction that
// is cut holds what is sent until it heals or an end gives up (like TCP); an end gives up after
// kLinkSilence. Who dials a host where no process runs is told that nobody is there.
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <queue>
#include <string>
#include <vector>

#include "net/base/random.h"
#include "server/cluster/cluster.h"

namespace sim {

using std::chrono::milliseconds;
using std::chrono::seconds;

inline constexpr uint32_t kSessions = 1;  // a unique table
inline constexpr uint32_t kNotes = 2;     // a table where each owner has its own
inline constexpr net::Duration kTickEvery = milliseconds(200);
inline constexpr net::Duration kLinkSilence = seconds(12);

class MemoryDisk final : public server::Storage {
 public:
  std::expected<std::optional<std::string>, std::string> Load() override { return bytes; }
  std::expected<void, std::string> Save(std::string_view text) override {
    if (full) return std::unexpected("cannot write cluster.state.new: No space left on device");
    bytes = std::string(text);
    ++saves;
    return {};
  }
  std::string Name() const override { return "cluster.state"; }

  std::optional<std::string> bytes;
  bool full = false;
  int saves = 0;
};

class World;

class Node final : public server::Transport {
 public:
  Node(World& world, size_t index, std::string node_name)
      : name(std::move(node_name)), world_(world), index_(index) {}
  bool Send(const std::string& node, std::span<const uint8_t> frame) override;
  void Want(const std::string& node, bool want) override;

  bool alive() const { return cluster != nullptr; }
  server::ReplicatedTable& table(uint32_t id) { return *cluster->table(id); }
  // The outcome of an order, once it is known.
  std::optional<server::Outcome> OutcomeOf(uint64_t operation) const;
  bool Saw(server::ClusterEvent::Kind kind, const std::string& node = "") const;

  const std::string name;
  MemoryDisk disk;
  std::unique_ptr<server::Cluster> cluster;
  net::Time paused_until{};
  bool paused = false;
  std::vector<server::ClusterEvent> events;  // of this life
  std::vector<bool> wanted;
  std::map<std::string, std::string> notes;  // what its table of notes should hold of its own

 private:
  World& world_;
  const size_t index_;
};

struct WorldOptions {
  uint64_t seed = 1;
  size_t nodes = 3;
  double send_refused = 0;  // of frames: a queue that is full
  server::ClusterTiming timing;
};

class World {
 public:
  explicit World(WorldOptions options);
  World(const World&) = delete;  // nodes hold on to it
  World& operator=(const World&) = delete;

  Node& node(size_t i) { return *nodes_[i]; }
  size_t size() const { return nodes_.size(); }
  net::Time now() const { return now_; }
  uint64_t wall_ms() const { return 1'764'201'600'000 + static_cast<uint64_t>(now_ms()); }
  net::FastRandom& random() { return random_; }

  void Start(size_t i);
  void Kill(size_t i);  // SIGKILL
  void Stop(size_t i);  // in order
  void Pause(size_t i, net::Duration how_long);
  void Cut(size_t from, size_t to) { cut_[from][to] = true; }
  void CutBoth(size_t a, size_t b) { Cut(a, b), Cut(b, a); }
  void Heal(size_t from, size_t to);
  void HealAll();
  void Break(size_t a, size_t b);  // the link only: a blip

  void RunFor(net::Duration how_long);
  template <typename Condition>
  bool RunUntil(Condition&& condition, net::Duration at_most) {
    const net::Time end = now_ + at_most;
    while (now_ < end) {
      if (condition()) return true;
      RunFor(milliseconds(50));
    }
    return condition();
  }

  // All living nodes are of one cluster, agree on everything and are quiet; the difference in
  // words.
  std::string Difference();
  std::string Picture() const;  // what all think, for people
  uint64_t frames() const { return frames_; }

 private:
  friend class Node;
  struct Event {
    net::Time at;
    uint64_t order;
    enum class Kind : uint8_t { kTick, kFrame, kUp, kDown, kResume } kind;
    size_t node;  // where it happens
    size_t from;
    uint64_t epoch;  // of the link, or of the node's life
    std::vector<uint8_t> frame;
  };
  struct Later {
    bool operator()(const Event& a, const Event& b) const {
      return a.at != b.at ? a.at > b.at : a.order > b.order;
    }
  };
  // One direction, seen from its receiver.
  struct Way {
    uint64_t epoch = 0;  // of the link that the receiver holds; 0: none
    bool told_absent = false;
    net::Time last_at{};   // nothing overtakes
    net::Time sound_at{};  // when it last could be heard
    std::vector<std::vector<uint8_t>> held;
  };

  int64_t now_ms() const {
    return std::chrono::duration_cast<milliseconds>(now_.time_since_epoch()).count();
  }
  Way& way(size_t from, size_t to) { return ways_[to][from]; }
  bool Whole(size_t a, size_t b) const { return !cut_[a][b] && !cut_[b][a]; }
  void Push(Event event);
  void Deliver(Event event);
  void Handle(Event& event);
  void TickNode(size_t i);
  void Dial(size_t from, size_t to);
  void DropEnd(size_t at, size_t other, server::LinkDown why);
  void CloseLinks(size_t i);
  void Forward(size_t from, size_t to, std::vector<uint8_t> frame);
  void Collect(Node& node);

  WorldOptions options_;
  net::FastRandom random_;
  net::Time now_{seconds(1000)};
  std::vector<std::unique_ptr<Node>> nodes_;
  std::map<std::string, size_t, std::less<>> index_;
  std::vector<std::vector<bool>> cut_;
  std::vector<std::vector<Way>> ways_;  // [receiver][sender]
  std::vector<uint64_t> lives_;
  std::vector<std::deque<Event>> backlog_;  // of the paused
  std::priority_queue<Event, std::vector<Event>, Later> events_;
  uint64_t next_order_ = 0;
  uint64_t next_epoch_ = 1;
  uint64_t frames_ = 0;
};

}  // namespace sim
