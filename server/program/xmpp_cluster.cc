#include "server/program/xmpp_cluster.h"

#include <algorithm>
#include <charconv>
#include <set>
#include <utility>

#include "net/base/wall_clock.h"
#include "net/report/log.h"
#include "server/im/letters.h"
#include "server/program/session_table.h"

namespace server {
namespace {

constexpr size_t kNumbers = size_t{UINT16_MAX} + 1;

}  // namespace

XmppCluster::XmppCluster(DistNode& node, ClusterHost& cluster, const net::Clock& clock)
    : node_(node),
      cluster_(cluster),
      clock_(clock),
      crowded_(std::make_unique<std::atomic<bool>[]>(kNumbers)) {
  cluster.OnEvent([this](const ClusterEvent& event) { OnEvent(event); });
  node.OnNodeUp([this](const DistPeer& peer) {
    const auto it = peers_.find(peer.node);
    if (it != peers_.end()) it->second.stream->Relinked();
  });
  cluster.cluster().table(kHomeTable)->Watch([this](const RecordOp& op, std::string_view owner) {
    const auto it = peers_.find(owner);
    if (it == peers_.end() || !it->second.told) return;
    changes_.push_back({std::string(op.key), it->second.number, op.stamp, !op.put});
    FlushSoon();
  });
}

// --- From workers.

void XmppCluster::OnHomes(std::vector<HomeRecord> changed) {
  node_.Post([this, changed = std::move(changed)] {
    ReplicatedTable& table = *cluster_.cluster().table(kHomeTable);
    for (const HomeRecord& home : changed) {
      if (home.gone) {
        table.Erase(home.bare);
      } else {
        // Of one that moved it takes the place of the other's, whatever the clocks say.
        table.Put(home.bare, 0, "", std::max(static_cast<uint64_t>(net::UnixUs()), home.after + 1));
      }
    }
    cluster_.cluster().Flush();
  });
}

void XmppCluster::OnMail(std::vector<NodeMail> mail) {
  node_.Post([this, mail = std::move(mail)] {
    for (const NodeMail& one : mail) {
      const auto name = names_.find(one.node);
      if (name == names_.end()) continue;  // it went, and the worker is about to hear of it
      Peer& peer = peers_.at(name->second);
      if (peer.stream->Put(one.letters)) continue;
      net::Log(net::LogLevel::kError, "xmpp", "too much waits for a node: what is under way ends",
               {{"node", name->second}, {"bytes", peer.stream->waiting_bytes()}});
      End(peer);
      Begin(peer);
    }
    FlushSoon();
  });
}

// --- Nodes.

void XmppCluster::Attach(XmppService& service) {
  service_ = &service;
  for (const std::string& name : cluster_.Status().running) {
    if (name != cluster_.cluster().self()) OnNode(name);
  }
  if (!std::exchange(ticking_, true)) Tick();
}

void XmppCluster::WhenHeard(net::Time deadline, std::function<void()> done) {
  constexpr net::Duration kLook = std::chrono::milliseconds(10);
  Flush();
  const bool waits = std::ranges::any_of(peers_, [](const auto& one) {
    const Peer& peer = one.second;
    return peer.told && !peer.out && peer.stream->waiting_bytes() > 0;
  });
  if (!waits || clock_.Now() >= deadline) return done();
  node_.loop().After(kLook, [this, deadline, done = std::move(done)]() mutable {
    WhenHeard(deadline, std::move(done));
  });
}

void XmppCluster::Detach() {
  service_ = nullptr;
  peers_.clear();
  names_.clear();
  changes_.clear();
  losses_.Clear();
}

void XmppCluster::OnEvent(const ClusterEvent& event) {
  if (service_ == nullptr) return;
  using Kind = ClusterEvent::Kind;
  switch (event.kind) {
    case Kind::kNodeUp:
      return OnNode(event.node);
    case Kind::kNodeDown: {
      const auto it = peers_.find(event.node);
      if (it == peers_.end()) return;
      it->second.out = true;
      it->second.out_since = clock_.Now();
      return;
    }
    case Kind::kMessage:
      if (event.table == kChannel) OnMessage(event.node, event.bytes);
      return;
    case Kind::kConflictLost:
      return OnConflict(event);
    default:
      return;
  }
}

void XmppCluster::OnNode(const std::string& name) {
  const auto [it, fresh] = peers_.try_emplace(name);
  it->second.out = false;
  if (!fresh) return;
  Begin(it->second);
  it->second.stream->Tick(clock_.Now(), SendTo(name));
}

void XmppCluster::EndOut() {
  const net::Time now = clock_.Now();
  for (auto it = peers_.begin(); it != peers_.end();) {
    if (!it->second.out || now - it->second.out_since < kOutGrace) {
      ++it;
      continue;
    }
    End(it->second);
    it = peers_.erase(it);
  }
}

void XmppCluster::Begin(Peer& peer) {
  last_relation_ = std::max(last_relation_ + 1, static_cast<uint64_t>(net::UnixUs()));
  peer.stream = std::make_unique<PeerStream>(PeerStream::Options{}, last_relation_);
  peer.in.clear();
  peer.dealer = {};
}

void XmppCluster::End(Peer& peer) {
  TellChanges();
  resent_ += peer.stream->resent();
  if (!std::exchange(peer.told, false)) return;
  ++relations_ended_;
  crowded_[peer.number] = false;
  names_.erase(peer.number);
  service_->OnEachWorker([number = peer.number](XmppWorker& w) { w.far().NodeDown(number); });
}

NodeNumber XmppCluster::NewNumber() {
  do {
    ++last_number_;
  } while (last_number_ == 0 || names_.contains(last_number_));
  return last_number_;
}

void XmppCluster::Tell(const std::string& name, Peer& peer) {
  peer.told = true;
  peer.number = NewNumber();
  names_[peer.number] = name;
  const uint8_t version = cluster_.cluster().ContentVersion(name);
  service_->OnEachWorker([number = peer.number, name, version](XmppWorker& w) {
    w.far().NodeUp(number, name, version);
  });
  cluster_.cluster().table(kHomeTable)->ForEachRecord([&](const RecordView& record) {
    if (record.owner == name) {
      changes_.push_back({std::string(record.key), peer.number, record.stamp, false});
    }
  });
  TellChanges();
  net::Log(net::LogLevel::kInfo, "xmpp", "clients of a node are reached", {{"node", name}});
}

// --- What other nodes say.

void XmppCluster::OnMessage(const std::string& name, std::span<const uint8_t> bytes) {
  const auto it = peers_.find(name);
  if (it == peers_.end()) return;  // it is not of our side yet, and says it again
  Peer& peer = it->second;
  if (peer.stream->OnMessage(bytes, peer.in, clock_.Now()) == PeerStream::Event::kEnded) {
    End(peer);
    Begin(peer);
    peer.stream->OnMessage(bytes, peer.in, clock_.Now());
  }
  if (peer.stream->begun() && !peer.told) Tell(name, peer);
  Deal(peer);
  FlushSoon();
}

// Whole letters go to their workers.
void XmppCluster::Deal(Peer& peer) {
  TellChanges();  // a record that came before them is known before them
  auto [by_worker, taken, too_large] = peer.dealer.Deal(peer.in, service_->workers());
  if (too_large != 0) {
    net::Log(net::LogLevel::kError, "xmpp", "a letter of a node is too large",
             {{"node", names_[peer.number]}, {"bytes", too_large}});
    End(peer);
    return Begin(peer);
  }
  peer.in.erase(peer.in.begin(), peer.in.begin() + static_cast<std::ptrdiff_t>(taken));
  for (size_t worker = 0; worker < by_worker.size(); ++worker) {
    if (by_worker[worker].empty()) continue;
    service_->OnWorker(
        worker, [number = peer.number, letters = std::move(by_worker[worker])](XmppWorker& w) {
          std::span<const uint8_t> left = letters;
          while (const auto head = ReadLetterHead(left)) {
            w.far().OnMail(number, head->kind, left.subspan(kLetterHeadBytes, head->size));
            left = left.subspan(kLetterHeadBytes + head->size);
          }
        });
  }
}

size_t XmppCluster::DeputyOf(std::string_view bare) const {
  return HomeHash(bare) % service_->workers();
}

void XmppCluster::TellChanges() {
  if (changes_.empty()) return;
  std::vector<std::vector<Change>> by_worker(service_->workers());
  for (Change& change : changes_) {
    by_worker[DeputyOf(change.bare)].push_back(std::move(change));
  }
  changes_.clear();
  for (size_t worker = 0; worker < by_worker.size(); ++worker) {
    if (by_worker[worker].empty()) continue;
    service_->OnWorker(worker, [changes = std::move(by_worker[worker])](XmppWorker& w) {
      for (const Change& change : changes) {
        if (change.gone) {
          w.far().Erased(change.bare, change.node);
        } else {
          w.far().Recorded(change.bare, change.node, change.stamp);
        }
      }
    });
  }
}

// --- Who met: sessions of one address first, so that the older one hears of the conflict; then
// homes of one user, when all sessions are known.

void XmppCluster::OnConflict(const ClusterEvent& event) {
  if (event.table == kHomeTable) return losses_.Add(event.key);
  if (event.table != kSessionTable) return;
  const auto id =
      SessionOf({reinterpret_cast<const char*>(event.bytes.data()), event.bytes.size()});
  if (!id || id->worker >= service_->workers()) return;
  service_->OnWorker(id->worker, [id = *id](XmppWorker& w) {
    w.Close(id, net::StreamError::kConflict, "another session has the address");
  });
}

void XmppCluster::JudgeLosses() {
  if (losses_.empty() || !cluster_.cluster().table(kSessionTable)->whole()) return;
  for (std::string& bare : losses_.Judge([this](const auto& one) { return OwnerOf(one); })) {
    const size_t worker = DeputyOf(bare);
    service_->OnWorker(worker, [bare = std::move(bare)](XmppWorker& w) { w.far().LostHome(bare); });
  }
}

HomeLosses::Owner XmppCluster::OwnerOf(const std::string& bare) const {
  using Owner = HomeLosses::Owner;
  const auto known = [this](std::string_view node) {
    const auto it = peers_.find(node);
    return it != peers_.end() && it->second.told && !it->second.out;
  };
  auto owner = Owner::kNobody;
  cluster_.cluster().table(kHomeTable)->ForEach(bare, [&](const RecordView& record) {
    if (owner == Owner::kThisNode) return;
    owner = record.own            ? Owner::kThisNode
            : known(record.owner) ? Owner::kReached
                                  : Owner::kUnreached;
  });
  if (owner != Owner::kNobody) return owner;
  // Of one that may be about to go the workers know the record still.
  const bool any_out =
      std::ranges::any_of(peers_, [](const auto& peer) { return peer.second.out; });
  return any_out ? Owner::kUnreached : Owner::kNobody;
}

// --- Out.

PeerStream::Send XmppCluster::SendTo(const std::string& name) {
  return [this, &name](std::span<const uint8_t> message) {
    return cluster_.cluster().SendMessage(name, kChannel, message, clock_.Now());
  };
}

void XmppCluster::FlushSoon() {
  if (std::exchange(flushing_, true)) return;
  node_.Post([this] {
    flushing_ = false;
    Flush();
  });
}

void XmppCluster::Flush() {
  if (service_ == nullptr) return;
  TellChanges();
  for (auto& [name, peer] : peers_) {
    peer.stream->Pump(clock_.Now(), SendTo(name));
    if (peer.told) crowded_[peer.number] = peer.stream->waiting_bytes() > kCrowdedBytes;
  }
}

void XmppCluster::Tick() {
  node_.loop().After(kTick, [this] { Tick(); });
  if (service_ == nullptr) return;
  EndOut();
  for (auto& [name, peer] : peers_) peer.stream->Tick(clock_.Now(), SendTo(name));
  Flush();
  JudgeLosses();
}

void XmppCluster::WriteMetrics(net::MetricsWriter& out) const {
  auto waiting = out.Gauge("mongooseim_node_waiting_bytes", "For another node, not acknowledged.");
  uint64_t resent = resent_;
  for (const auto& [name, peer] : peers_) {
    waiting.Add({{"node", name}}, peer.stream->waiting_bytes());
    resent += peer.stream->resent();
  }
  out.Counter("mongooseim_node_resent_total", "Chunks that were sent again: a link broke.")
      .Add({}, resent);
  out.Counter("mongooseim_node_relations_ended_total",
              "Times that another node's clients were not reached any more.")
      .Add({}, relations_ended_);
  out.Gauge("mongooseim_nodes_reached", "Other nodes whose clients are reached.")
      .Add({}, names_.size());
}

}  // namespace server
