// The XMPP of a node: what mongooseim.toml says of hosts, c2s, auth and store, put together from
// the store, the homes with their modules, and the service of clients.
//
// Made and ended by the thread that runs the node; Stop() takes some seconds at most. WriteMetrics,
// Account and ReloadCertificates are called on the node's thread, while it is there.
#pragma once

#include <expected>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "net/base/clock.h"
#include "net/report/metrics.h"
#include "server/c2s/xmpp_service.h"
#include "server/muc/room_directory.h"
#include "server/program/account_count.h"
#include "server/program/broadcast_jobs.h"
#include "server/program/node_setup.h"
#include "server/program/xmpp_accounts.h"
#include "server/program/xmpp_cluster.h"
#include "server/program/xmpp_commands.h"
#include "server/store/backend.h"
#include "server/store/housekeeper.h"

namespace server {

class XmppNode {
 public:
  using OnSessions = std::function<void(std::vector<SessionRecord> changed)>;
  // Of the cluster; it outlives the clients (CloseClients).
  struct Ways {
    std::string node;  // its name
    OnSessions on_sessions;
    XmppCluster& cluster;
  };

  // `sockets`: at most so many connections. Every error names its remedy.
  static std::expected<std::unique_ptr<XmppNode>, XmppErrors> Start(const NodeSetup& setup,
                                                                    size_t sockets,
                                                                    const net::Clock& clock,
                                                                    Ways ways, NodeHooks hooks);
  ~XmppNode();

  // Clients are told and closed. Behind it the node's thread calls nothing here any more.
  void CloseClients() { service_->CloseClients(); }
  void Stop();
  // On the node's thread, before Stop(): what commands have begun ends, and no more come.
  void EndCommands();
  XmppService& service() const { return *service_; }
  XmppErrors ReloadCertificates();
  void WriteMetrics(net::MetricsWriter& out) const;
  // `done` on any thread.
  void Account(AccountRequest request, AccountDone done);
  void Command(PassedCommand command, CtlDone done);
  // Of all domains; as it was some seconds ago, where it was asked then.
  void CountAccounts(std::move_only_function<void(uint64_t accounts)> done);
  uint64_t sessions() const { return service_->sessions(); }
  // Of the store, for the loop of a node; ends before this does.
  std::unique_ptr<StoreKeeper> Keeper(net::EventLoop& loop) { return store_->Keeper(loop); }
  const StoreMetrics& store_metrics() const { return store_->metrics(); }

 private:
  // Whole from the first: what cannot be started is no node.
  struct Parts {
    std::vector<std::string> domains;
    std::vector<std::string> services;  // of rooms
    std::string folder;
    std::unique_ptr<StoreBackend> store;
    std::unique_ptr<HousekeeperCounters> housekept;
    std::unique_ptr<RoomDirectory> rooms;
    std::unique_ptr<XmppService> service;
    std::string node;
    NodeHooks hooks;
    const net::Clock& clock;
  };
  explicit XmppNode(Parts parts);

  const std::vector<std::string> domains_;
  const std::unique_ptr<StoreBackend> store_;             // ends behind the service
  const std::unique_ptr<HousekeeperCounters> housekept_;  // and these
  const std::unique_ptr<RoomDirectory> rooms_;
  const std::unique_ptr<XmppService> service_;
  CommandGround commands_;  // of calls that end with the service
  const std::shared_ptr<AccountCount> accounts_;
  std::unique_ptr<BroadcastJobs> broadcasts_ = std::make_unique<BroadcastJobs>(commands_);
};

// What `check` can find out beforehand: certificates that cannot be used.
XmppErrors CheckXmpp(const NodeSetup& setup);

}  // namespace server
