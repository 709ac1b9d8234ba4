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
#include "server/program/node_setup.h"
#include "server/program/xmpp_accounts.h"
#include "server/store/backend.h"

namespace server {

class XmppNode {
 public:
  using OnSessions = std::function<void(std::vector<SessionRecord> changed)>;

  // `sockets`: at most so many connections. Every error names its remedy.
  static std::expected<std::unique_ptr<XmppNode>, XmppErrors> Start(const NodeSetup& setup,
                                                                    size_t sockets,
                                                                    const net::Clock& clock,
                                                                    OnSessions on_sessions);
  ~XmppNode();

  void Stop();
  XmppErrors ReloadCertificates();
  void WriteMetrics(net::MetricsWriter& out) const;
  // `done` on any thread.
  void Account(AccountRequest request, AccountDone done);
  uint64_t sessions() const { return service_->sessions(); }

 private:
  // Whole from the first: what cannot be started is no node.
  XmppNode(std::vector<std::string> domains, std::unique_ptr<StoreBackend> store,
           std::unique_ptr<XmppService> service);

  const std::vector<std::string> domains_;
  const std::unique_ptr<StoreBackend> store_;  // ends behind the service
  const std::unique_ptr<XmppService> service_;
};

// What `check` can find out beforehand: certificates that cannot be used.
XmppErrors CheckXmpp(const NodeSetup& setup);

}  // namespace server
