#include <utility>

#include "server/node/node_rpc.h"
#include "server/program/ctl_wire.h"
#include "server/program/running_node.h"
#include "server/program/session_table.h"

namespace server {

NodeHooks RunningNode::Hooks() {
  return {
      .sessions = [this] { return KnownSessions(); },
      .memory = [this] { return memory_->Categories(); },
      .drain = [this](double per_s, net::Duration deadline,
                      bool force) -> std::expected<void, std::string> {
        const auto answer = DrainByOrder({.per_s = per_s, .deadline = deadline, .force = force});
        if (answer && !answer->begun) {
          return std::unexpected(Forecast(per_s, deadline).ForOperators());
        }
        return {};
      },
      .undrain = [this] { return EndDrain(); },
      .drained = [this] { return Drained(); },
      .session_counts = [this] { return SessionCounts(); },
      .after = [this](net::Duration delay,
                      std::function<void()> task) { node_->loop().After(delay, std::move(task)); },
      .others =
          [this] {
            std::vector<std::string> others = cluster_->Status().running;
            std::erase(others, cluster_->cluster().self());
            return others;
          },
      .post =
          [this](std::move_only_function<void()> task) {
            node_->Post([this, task = std::move(task)]() mutable {
              if (clients_ != nullptr) task();
            });
          },
      .pass = [this](const std::string& node, PassedCommand command,
                     CtlDone done) { Pass(node, std::move(command), std::move(done)); }};
}

// Whoever waits is told by its call's end, where the node has ended its commands meanwhile.
void RunningNode::Pass(const std::string& node, PassedCommand command, CtlDone done) {
  const XmppRequest request{.category = std::move(command.category),
                            .command = std::move(command.command),
                            .arguments = std::move(command.arguments),
                            .hops = command.hops};
  node_->Call(
      node, kCtlModule, "xmpp_here", PassedTerms(request), kPassTime,
      [this, node, done = std::move(done)](RpcResult result) mutable {
        if (clients_ == nullptr) return;
        auto answer = result ? ReadCtlAnswer(result->view()) : std::nullopt;
        if (answer) return done(std::move(*answer));
        CtlAnswer silent;
        silent.faults.push_back(
            {.message = "The node " + node + " did not answer: " +
                        (result ? "its words were not understood" : result.error().ToText()) +
                        ". It may have done it all the same",
             .extensions = {{"node", node}, {"code", std::string(kNotAnswering)}}});
        done(std::move(silent));
      });
}

void RunningNode::Account(AccountRequest request, AccountDone done) {
  if (clients_ == nullptr) return done({.outcome = AccountOutcome::kNoXmpp});
  clients_->Account(std::move(request), [this, done = std::move(done)](AccountResult r) mutable {
    node_->Post([done = std::move(done), r = std::move(r)]() mutable { done(std::move(r)); });
  });
}

void RunningNode::Xmpp(XmppRequest request, CtlDone done) {
  if (clients_ == nullptr) {
    CtlAnswer none;
    none.faults.push_back({.message = "The node has no [[host]] and does not speak XMPP",
                           .extensions = {{"code", std::string(kNoXmppThere)}}});
    return done(std::move(none));
  }
  PassedCommand command{.category = std::move(request.category),
                        .command = std::move(request.command),
                        .arguments = std::move(request.arguments),
                        .hops = request.hops};
  clients_->Command(std::move(command), [this, done = std::move(done)](CtlAnswer answer) mutable {
    node_->Post([done = std::move(done), answer = std::move(answer)]() mutable {
      done(std::move(answer));
    });
  });
}

// Accounts are counted by the store, now and then.
void RunningNode::Stats(std::move_only_function<void(NodeStats)> done) {
  NodeStats stats{.uptime_s = Facts().uptime_s,
                  .online_users_node = clients_ == nullptr ? 0 : clients_->sessions(),
                  .online_users = cluster_->cluster().table(kSessionTable)->size()};
  if (clients_ == nullptr) return done(stats);
  clients_->CountAccounts([this, stats, done = std::move(done)](uint64_t accounts) mutable {
    stats.registered_users = accounts;
    node_->Post([stats, done = std::move(done)]() mutable { done(stats); });
  });
}

std::vector<KnownSession> RunningNode::KnownSessions() {
  std::vector<KnownSession> known;
  cluster_->cluster().table(kSessionTable)->ForEachRecord([&](const RecordView& record) {
    known.push_back({.full = std::string(record.key), .node = std::string(record.owner)});
  });
  return known;
}

}  // namespace server
