// The pages that a node serves to balancers, orchestrators and Prometheus:
//
//   GET /livez               200 as long as the node's thread turns
//   GET /readyz              200 when the node should get connections: it runs, has joined, is of
//                            the side that stays in and holds its tables whole, and does not drain;
//                            else 503 with the reason
//   GET /api/cluster/status  what it knows of the cluster, as JSON (server/cluster/status_json.h)
//   GET /metrics             Prometheus
//
// On the node's thread. Reading only: orders come by mongooseimctl, over the distribution.
#pragma once

#include <functional>
#include <memory>

#include "net/http/http_server.h"
#include "net/io/socket.h"
#include "server/cluster/status_json.h"
#include "server/dist/dist_node.h"
#include "server/node/cluster_host.h"

namespace server {

class Pages {
 public:
  using LoadOf = std::function<NodeLoad()>;

  // All outlive it.
  Pages(DistNode& node, ClusterHost& cluster, LoadOf load,
        std::function<void(net::MetricsWriter&)> more_metrics, net::UniqueFd listener);

  net::HttpResponse Answer(const net::HttpRequest& request) const;

 private:
  net::HttpResponse Ready() const;
  net::HttpResponse Metrics() const;

  DistNode& node_;
  ClusterHost& cluster_;
  LoadOf load_;
  std::function<void(net::MetricsWriter&)> more_metrics_;
  net::HttpServer server_;
};

}  // namespace server
