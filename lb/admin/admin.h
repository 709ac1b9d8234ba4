// The admin pages over HTTP, for probes, Prometheus, mongoosedns and people. They only tell; orders
// come over the control socket.
//
//   GET /         an overview for people
//   GET /livez    200 while the control thread runs
//   GET /readyz   200 while new connections are taken and nodes are up (process.ready_pools), else
//                 503 with the reason; ?verbose
//   GET /status   everything as JSON (views_json.h)
//   GET /metrics  Prometheus' text format (views_metrics.h)
//
// Control thread only.
#pragma once

#include <string>
#include <vector>

#include "lb/control/control.h"
#include "net/http/http_server.h"
#include "net/io/event_loop.h"
#include "net/io/socket.h"

namespace lb {

class AdminServer {
 public:
  // `loop` and `control` must outlive it.
  AdminServer(net::EventLoop& loop, const Control& control, net::UniqueFd listener);

  const net::HttpServerStats& stats() const { return server_.stats(); }

 private:
  net::HttpResponse Answer(const net::HttpRequest& request) const;

  const Control& control_;
  net::HttpServer server_;
};

// The pages that need no server; pure. Ready is a balancer that runs and has, in each of the pools
// of `must` (none named: in any pool), a node that is up.
net::HttpResponse ReadyPage(const ProcessView& process, const std::vector<PoolView>& pools,
                            bool verbose, const std::vector<std::string>& must = {});
net::HttpResponse IndexPage(const ProcessView& process, const std::vector<ListenerView>& listeners,
                            const std::vector<PoolView>& pools);

}  // namespace lb
