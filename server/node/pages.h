// The pages that a node serves to balancers, orchestrators and Prometheus:
//
//   GET /livez               200 as long as the node's thread turns
//   GET /readyz              200 when the node should get connections: it runs, has joined, is of
//                            the side that stays in and holds its tables whole, does not drain and
//                            is not short of memory; else 503 with the reason
//   GET /api/cluster/status  what it knows of the cluster, as JSON (server/cluster/status_json.h)
//   GET /metrics             Prometheus
//   POST /api/drain          ?rate=PER_SECOND&deadline=SECONDS, one of them or both, by who stands
//                            in http.drain_file (Basic authentication): the node drains as with
//                            `mongooseimctl drain`, and {"draining":true,"connections":N} is the
//                            answer, with "revocable":true: DELETE of the same path takes the node
//                            back into service, {"draining":false}. What the others cannot carry is
//                            refused with 409, {"draining":false}, unless force=true is said. All
//                            of these have a "forecast": what comes to the others, what they can
//                            take, and in a refusal what they could. Without that file neither is
//                            there. All other orders come by mongooseimctl, over the distribution.
//
// On the node's thread.
#pragma once

#include <cstdint>
#include <expected>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "net/http/http_server.h"
#include "net/io/socket.h"
#include "server/cluster/status_json.h"
#include "server/dist/dist_node.h"
#include "server/node/cluster_host.h"

namespace server {

class Pages {
 public:
  using LoadOf = std::function<NodeLoad()>;
  struct DrainOrder {
    double per_s = 0;  // 0: evenly until the deadline
    net::Duration deadline{0};
    bool force = false;  // though the others cannot carry it
  };
  struct DrainAnswer {
    bool begun = false;
    uint64_t connections = 0;
    std::string forecast;  // JSON
  };
  struct Drain {
    std::string credentials;  // "USER:PASSWORD"; "": nobody may
    // Nothing where clients are not served.
    std::function<std::optional<DrainAnswer>(const DrainOrder& order)> begin;
    std::function<std::expected<void, std::string>()> end;  // or why not
  };

  // All outlive it.
  Pages(DistNode& node, ClusterHost& cluster, LoadOf load,
        std::function<void(net::MetricsWriter&)> more_metrics, Drain drain, net::UniqueFd listener);

  net::HttpResponse Answer(const net::HttpRequest& request) const;

 private:
  net::HttpResponse Ready() const;
  net::HttpResponse Metrics() const;
  net::HttpResponse OrderDrain(const net::HttpRequest& request) const;
  net::HttpResponse BeginDrain(const net::HttpRequest& request) const;
  net::HttpResponse EndDrain() const;

  DistNode& node_;
  ClusterHost& cluster_;
  LoadOf load_;
  std::function<void(net::MetricsWriter&)> more_metrics_;
  const Drain drain_;
  const std::string authorization_;  // that /api/drain wants
  net::HttpServer server_;
};

}  // namespace server
