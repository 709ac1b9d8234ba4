// The XMPP of this node among the others': who of them serves clients, letters between workers, the
// records of homes, sessions and homes that met.
//
//   workers ──letters, homes──▶ XmppCluster ──streams over the cluster's messages──▶ other nodes
//      ◀──NodeUp/Down, records, letters──┘
//
// A node counts for the workers from when both have begun a relation (server/cluster/peer_stream.h)
// until it leaves our side or either ends it. Each relation has a number of its own, so that
// nothing of an earlier one is taken.
//
// Made before the node's Start(). OnHomes, OnMail and Crowded: any thread; the rest on the node's.
#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "net/base/clock.h"
#include "net/report/metrics.h"
#include "server/c2s/home_losses.h"
#include "server/c2s/xmpp_service.h"
#include "server/cluster/peer_stream.h"
#include "server/dist/dist_node.h"
#include "server/im/letter_dealer.h"
#include "server/node/cluster_host.h"

namespace server {

class XmppCluster {
 public:
  static constexpr uint32_t kHomeTable = 2;
  static constexpr uint32_t kChannel = 1;  // of the cluster's messages
  // Above it messages for that node are refused with words.
  static constexpr size_t kCrowdedBytes = size_t{16} << 20U;
  static constexpr net::Duration kTick = std::chrono::milliseconds(100);
  // A node that is out and in again within it was not away: another one came or went, and the side
  // was judged before all had told of it.
  static constexpr net::Duration kOutGrace = std::chrono::milliseconds(300);

  XmppCluster(DistNode& node, ClusterHost& cluster, const net::Clock& clock);
  XmppCluster(const XmppCluster&) = delete;
  XmppCluster& operator=(const XmppCluster&) = delete;

  void OnHomes(std::vector<HomeRecord> changed);
  void OnMail(std::vector<NodeMail> mail);
  bool Crowded(NodeNumber node) const { return crowded_[node].load(std::memory_order_relaxed); }

  // --- On the node's thread.
  void Attach(XmppService& service);
  // What workers have said to other nodes until now has come to them, or it is too late.
  void WhenHeard(net::Time deadline, std::function<void()> done);
  void Detach();
  void WriteMetrics(net::MetricsWriter& out) const;

 private:
  struct Peer {
    NodeNumber number = 0;
    std::unique_ptr<PeerStream> stream;
    std::vector<uint8_t> in;  // of letters that are not whole
    LetterDealer dealer;
    bool told = false;  // workers know it
    bool out = false;   // not of our side, since `out_since`
    net::Time out_since{};
  };
  struct Change {
    std::string bare;
    NodeNumber node;
    uint64_t stamp;
    bool gone;
  };

  void OnEvent(const ClusterEvent& event);
  void OnNode(const std::string& name);
  void OnMessage(const std::string& name, std::span<const uint8_t> bytes);
  void OnConflict(const ClusterEvent& event);
  void Begin(Peer& peer);
  void End(Peer& peer);
  void Tell(const std::string& name, Peer& peer);
  void Deal(Peer& peer);
  void TellChanges();
  void Flush();
  void FlushSoon();
  void Tick();
  void JudgeLosses();
  HomeLosses::Owner OwnerOf(const std::string& bare) const;
  void EndOut();
  PeerStream::Send SendTo(const std::string& name);
  NodeNumber NewNumber();
  size_t DeputyOf(std::string_view bare) const;

  DistNode& node_;
  ClusterHost& cluster_;
  const net::Clock& clock_;
  // By NodeNumber; written by the node's thread.
  const std::unique_ptr<std::atomic<bool>[]> crowded_;
  XmppService* service_ = nullptr;  // while it serves clients
  std::map<std::string, Peer, std::less<>> peers_;
  std::map<NodeNumber, std::string> names_;
  std::vector<Change> changes_;  // of other nodes' homes, to be told
  HomeLosses losses_;            // homes of ours that met others, which stay
  NodeNumber last_number_ = 0;
  uint64_t last_relation_ = 0;
  bool flushing_ = false;
  bool ticking_ = false;
  uint64_t relations_ended_ = 0;
  uint64_t resent_ = 0;  // of relations that are over
};

}  // namespace server
