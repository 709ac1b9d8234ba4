#include "server/program/ctl_service.h"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <memory>
#include <utility>

#include "server/program/ctl_wire.h"
#include "server/program/node_log.h"

namespace server {
namespace {

NodeCluster ClusterOf(const ClusterHost& host, std::vector<std::string> discovered) {
  ClusterStatus status = host.Status();
  return {.members = std::move(status.members),
          .running = std::move(status.running),
          .stopped = std::move(status.stopped),
          .discovered = std::move(discovered)};
}

std::vector<NodeTable> TablesOf(ClusterHost& host) {
  std::vector<NodeTable> tables;
  for (const uint32_t id : host.table_ids()) {
    const ReplicatedTable& table = *host.cluster().table(id);
    char digest[40];
    std::snprintf(digest, sizeof digest, "%016llx%016llx",
                  static_cast<unsigned long long>(table.digest().a),
                  static_cast<unsigned long long>(table.digest().b));
    tables.push_back({.name = table.options().name,
                      .size = table.size(),
                      .memory_bytes = table.memory_bytes(),
                      .digest = digest});
  }
  return tables;
}

std::vector<NodeMetric> MetricsOf(const DistNode& node, const ClusterHost& host,
                                  const NodeStats& stats) {
  const ClusterStatus status = host.Status();
  const auto global = [](const char* name, uint64_t value) {
    return NodeMetric{{"global", name}, static_cast<int64_t>(value)};
  };
  return {global("uptime", static_cast<uint64_t>(stats.uptime_s)),
          global("sessionCount", stats.online_users),
          global("nodeSessionCount", stats.online_users_node),
          global("registeredUsers", stats.registered_users),
          global("clusterMembers", status.members.size()),
          global("clusterRunning", status.running.size()),
          global("distLinks", node.NodesUp().size())};
}

constexpr net::Duration kMetricsTime = std::chrono::seconds(5);

// What each node says of itself, until all have or the time is over. On the node's thread.
struct MetricsOfAll {
  RpcReply reply;
  size_t open;
  std::vector<NodeMetrics> nodes = {};

  void Take(NodeMetrics one) {
    nodes.push_back(std::move(one));
    if (--open > 0) return;
    std::ranges::sort(nodes, {}, &NodeMetrics::node);
    reply.Return(ToTerm(nodes));
  }
};

// Of `names` alone, where there are any; one that is not seen has an error.
void AskMetrics(DistNode& node, ClusterHost& host, const CtlService& service,
                std::vector<std::string> names, RpcReply reply) {
  const std::vector<std::string> running = host.Status().running;
  if (names.empty()) names = running;
  const auto all =
      std::make_shared<MetricsOfAll>(MetricsOfAll{.reply = std::move(reply), .open = names.size()});
  for (const std::string& name : names) {
    if (std::ranges::find(running, name) == running.end()) {
      all->Take({.node = name, .metrics = {}, .error = "the node is not seen"});
      continue;
    }
    if (name == host.cluster().self()) {
      service.stats([all, name, &node, &host](const NodeStats& stats) {
        all->Take({.node = name, .metrics = MetricsOf(node, host, stats), .error = ""});
      });
      continue;
    }
    node.Call(name, kCtlModule, "metrics", {}, kMetricsTime, [all, name](RpcResult result) {
      auto metrics = result ? ReadMetrics(result->view()) : std::nullopt;
      all->Take({.node = name,
                 .metrics = metrics ? std::move(*metrics) : std::vector<NodeMetric>(),
                 .error = result ? (metrics ? "" : "the node's answer was not understood")
                                 : result.error().ToText()});
    });
  }
}

void Order(ClusterHost& host, const OrderRequest& request, RpcReply reply) {
  auto done = [reply = std::move(reply)](const ClusterHost::OrderEnd& end) mutable {
    reply.Return(ToTerm(OrderResult{end.outcome, end.detail}));
  };
  switch (request.kind) {
    case OrderKind::kJoin:
      return host.Join(request.target, std::move(done));
    case OrderKind::kLeave:
      return host.Leave(request.force, std::move(done));
    case OrderKind::kRemove:
      return host.Remove(request.target, std::move(done));
  }
}

}  // namespace

void AnswerCtl(DistNode& node, ClusterHost& cluster, CtlService service) {
  const auto shared = std::make_shared<const CtlService>(std::move(service));
  const auto on = [&](const char* function, size_t arity, auto answer) {
    node.OnRpc(std::string(kCtlModule), function,
               [arity, answer](const RpcCall& call, RpcReply reply) {
                 if (call.args.size() != arity) return reply.Undef();
                 answer(call, std::move(reply));
               });
  };
  on("order", 3, [&cluster](const RpcCall& call, RpcReply reply) {
    auto request = ReadOrderRequest(call.args);
    if (!request) return reply.Error(Term::Atom("badarg"));
    Order(cluster, *request, std::move(reply));
  });
  on("facts", 0,
     [shared](const RpcCall&, RpcReply reply) { reply.Return(ToTerm(shared->facts())); });
  on("cluster", 0, [shared, &cluster](const RpcCall&, RpcReply reply) {
    reply.Return(ToTerm(ClusterOf(cluster, shared->discovered())));
  });
  on("tables", 0,
     [&cluster](const RpcCall&, RpcReply reply) { reply.Return(ToTerm(TablesOf(cluster))); });
  on("stats", 0, [shared](const RpcCall&, RpcReply reply) {
    shared->stats([reply = std::move(reply)](const NodeStats& stats) mutable {
      reply.Return(ToTerm(stats));
    });
  });
  on("metrics", 0, [shared, &node, &cluster](const RpcCall&, RpcReply reply) {
    shared->stats([&node, &cluster, reply = std::move(reply)](const NodeStats& stats) mutable {
      reply.Return(ToTerm(MetricsOf(node, cluster, stats)));
    });
  });
  on("cluster_metrics", 1, [shared, &node, &cluster](const RpcCall& call, RpcReply reply) {
    const auto names = ReadNames(call.args[0]);
    if (!names) return reply.Error(Term::Atom("badarg"));
    AskMetrics(node, cluster, *shared, *names, std::move(reply));
  });
  const auto xmpp = [shared](std::optional<XmppRequest> request, RpcReply reply) {
    if (!request) return reply.Error(Term::Atom("badarg"));
    shared->xmpp(std::move(*request), [reply = std::move(reply)](const CtlAnswer& answer) mutable {
      reply.Return(ToTerm(answer));
    });
  };
  on("xmpp", 3, [xmpp](const RpcCall& call, RpcReply reply) {
    xmpp(ReadXmppRequest(call.args), std::move(reply));
  });
  on("xmpp_here", 4, [xmpp](const RpcCall& call, RpcReply reply) {
    xmpp(ReadPassedRequest(call.args), std::move(reply));
  });
  on("account", 5, [shared](const RpcCall& call, RpcReply reply) {
    auto request = ReadAccountRequest(call.args);
    if (!request) return reply.Error(Term::Atom("badarg"));
    shared->account(std::move(*request), [reply = std::move(reply)](AccountResult result) mutable {
      reply.Return(ToTerm(result));
    });
  });
  on("log_level", 0,
     [](const RpcCall&, RpcReply reply) { reply.Return(Term::Binary(LogLevelName())); });
  on("set_log_level", 1, [](const RpcCall& call, RpcReply reply) {
    const auto level = call.args[0].AsText();
    if (!level) return reply.Error(Term::Atom("badarg"));
    SetLogLevelByName(*level);
    reply.Return(Term::Atom("ok"));
  });
  // Answered before it stops.
  on("stop", 0, [shared](const RpcCall&, RpcReply reply) {
    reply.Return(Term::Atom("ok"));
    shared->stop(false);
  });
  on("restart", 0, [shared](const RpcCall&, RpcReply reply) {
    reply.Return(Term::Atom("ok"));
    shared->stop(true);
  });
}

}  // namespace server
