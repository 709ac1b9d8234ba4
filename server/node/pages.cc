#include "server/node/pages.h"

#include <charconv>
#include <string>
#include <utility>

#include "net/report/log.h"
#include "net/report/metrics.h"

namespace server {
namespace {

net::HttpResponse Plain(int status, std::string body) {
  return {.status = status, .headers = {{"Cache-Control", "no-store"}}, .body = std::move(body)};
}

net::HttpResponse Json(std::string body) {
  net::HttpResponse answer = Plain(200, std::move(body));
  answer.content_type = "application/json";
  return answer;
}

// Why a node that is up should get no connections; "" when it should.
std::string NotReadyBecause(const ClusterStatus& status, const NodeLoad& load) {
  if (load.draining) return "the node drains";
  if (load.memory_short) return "memory: it is short, and new sessions are refused";
  if (status.state != NodeState::kRunning) {
    return "the node is " + std::string(ToString(status.state));
  }
  if (status.minority) return "this side of the cluster is not the one that stays in";
  return status.ready ? "" : "the tables of the other nodes are being copied";
}

std::string Authorization(std::string_view credentials) {
  const size_t colon = credentials.find(':');
  if (colon == std::string_view::npos) return "";
  return net::BasicAuthorization(credentials.substr(0, colon), credentials.substr(colon + 1));
}

// 0 where it was not given; nothing where it is no number.
std::optional<double> NumberOf(const net::HttpRequest& request, std::string_view key) {
  constexpr double kMax = 1e7;
  const auto text = request.QueryValue(key);
  if (!text) return 0;
  double value = 0;
  const auto [end, error] = std::from_chars(text->data(), text->data() + text->size(), value);
  if (error != std::errc() || end != text->data() + text->size()) return std::nullopt;
  if (!(value >= 0 && value <= kMax)) return std::nullopt;
  return value;
}

}  // namespace

Pages::Pages(DistNode& node, ClusterHost& cluster, LoadOf load,
             std::function<void(net::MetricsWriter&)> more_metrics, Drain drain,
             net::UniqueFd listener)
    : node_(node),
      cluster_(cluster),
      load_(std::move(load)),
      more_metrics_(std::move(more_metrics)),
      drain_(std::move(drain)),
      authorization_(Authorization(drain_.credentials)),
      server_(node.loop(), std::move(listener),
              [this](const net::HttpRequest& request) { return Answer(request); }) {}

net::HttpResponse Pages::Answer(const net::HttpRequest& request) const {
  if (request.path == "/api/drain" && !authorization_.empty()) return OrderDrain(request);
  if (request.method != "GET" && request.method != "HEAD") {
    net::HttpResponse refused = Plain(405, "only GET and HEAD\n");
    refused.headers.push_back({"Allow", "GET, HEAD"});
    return refused;
  }
  if (request.path == "/livez") return Plain(200, "alive\n");
  if (request.path == "/readyz") return Ready();
  if (request.path == "/api/cluster/status") return Json(StatusJson(cluster_.Status(), load_()));
  if (request.path == "/metrics") return Metrics();
  return Plain(404, "there are /livez, /readyz, /api/cluster/status and /metrics\n");
}

net::HttpResponse Pages::OrderDrain(const net::HttpRequest& request) const {
  if (!net::ConstantTimeEqual(request.Header("Authorization"), authorization_)) {
    LOG_EVERY(std::chrono::seconds(10), net::LogLevel::kWarn, "node",
              "an order to drain was refused: wrong user or password", {});
    net::HttpResponse refused = Plain(401, "who may drain is named in http.drain_file\n");
    refused.headers.push_back({"WWW-Authenticate", "Basic realm=\"mongooseim\""});
    return refused;
  }
  if (request.method == "POST") return BeginDrain(request);
  if (request.method == "DELETE") return EndDrain();
  net::HttpResponse refused = Plain(405, "only POST and DELETE\n");
  refused.headers.push_back({"Allow", "POST, DELETE"});
  return refused;
}

net::HttpResponse Pages::EndDrain() const {
  if (auto ended = drain_.end(); !ended) return Plain(409, ended.error() + "\n");
  return Json("{\"draining\":false}\n");
}

net::HttpResponse Pages::BeginDrain(const net::HttpRequest& request) const {
  const auto rate = NumberOf(request, "rate");
  const auto deadline = NumberOf(request, "deadline");
  if (!rate || !deadline || *rate + *deadline <= 0) {
    return Plain(400, "rate (a second) and deadline (seconds) are numbers, and one is above 0\n");
  }
  const std::string force = request.QueryValue("force").value_or("false");
  if (force != "true" && force != "false") return Plain(400, "force is true or false\n");
  const auto answer = drain_.begin({.per_s = *rate,
                                    .deadline = std::chrono::duration_cast<net::Duration>(
                                        std::chrono::duration<double>(*deadline)),
                                    .force = force == "true"});
  if (!answer) return Plain(503, "clients are not served here\n");
  const std::string end = ",\"forecast\":" + answer->forecast + "}\n";
  if (answer->begun) {
    return Json("{\"draining\":true,\"connections\":" + std::to_string(answer->connections) +
                ",\"revocable\":true" + end);
  }
  net::HttpResponse refused =
      Json("{\"draining\":false,\"connections\":" + std::to_string(answer->connections) + end);
  refused.status = 409;
  return refused;
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
