#include "server/node/pages.h"

#include <string>
#include <utility>

#include "net/report/metrics.h"

namespace server {
namespace {

net::HttpResponse Plain(int status, std::string body) {
  return {.status = status, .headers = {{"Cache-Control", "no-store"}}, .body = std::move(body)};
}

// Why a node that is up should get no connections; "" when it should.
std::string NotReadyBecause(const ClusterStatus& status, const NodeLoad& load) {
  if (load.draining) return "the node drains";
  if (status.state != NodeState::kRunning) {
    return "the node is " + std::string(ToString(status.state));
  }
  if (status.minority) return "this side of the cluster is not the one that stays in";
  return status.ready ? "" : "the tables of the other nodes are being copied";
}

}  // namespace

Pages::Pages(DistNode& node, ClusterHost& cluster, LoadOf load,
             std::function<void(net::MetricsWriter&)> more_metrics, net::UniqueFd listener)
    : node_(node),
      cluster_(cluster),
      load_(std::move(load)),
      more_metrics_(std::move(more_metrics)),
      server_(node.loop(), std::move(listener),
              [this](const net::HttpRequest& request) { return Answer(request); }) {}

net::HttpResponse Pages::Answer(const net::HttpRequest& request) const {
  if (request.method != "GET" && request.method != "HEAD") {
    net::HttpResponse refused = Plain(405, "only GET and HEAD\n");
    refused.headers.push_back({"Allow", "GET, HEAD"});
    return refused;
  }
  if (request.path == "/livez") return Plain(200, "alive\n");
  if (request.path == "/readyz") return Ready();
  if (request.path == "/api/cluster/status") {
    net::HttpResponse answer = Plain(200, StatusJson(cluster_.Status(), load_()));
    answer.content_type = "application/json";
    return answer;
  }
  if (request.path == "/metrics") return Metrics();
  return Plain(404, "there are /livez, /readyz, /api/cluster/status and /metrics\n");
}

net::HttpResponse Pages::Ready() const {
  const std::string reason = NotReadyBecause(cluster_.Status(), load_());
  return reason.empty() ? Plain(200, "ready\n") : Plain(503, "not ready: " + reason + "\n");
}

net::HttpResponse Pages::Metrics() const {
  net::MetricsWriter out;
  cluster_.WriteMetrics(out);
  node_.WriteMetrics(out);
  more_metrics_(out);
  net::HttpResponse answer = Plain(200, std::move(out).Take());
  answer.content_type = net::MetricsWriter::kContentType;
  return answer;
}

}  // namespace server
