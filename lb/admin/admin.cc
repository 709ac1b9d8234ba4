#include "lb/admin/admin.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <functional>
#include <string_view>
#include <utility>

#include "lb/admin/views_json.h"
#include "lb/admin/views_metrics.h"
#include "net/base/text.h"
#include "net/report/metrics.h"

namespace lb {
namespace {

std::string Fixed(double value, int digits) {
  std::array<char, 64> text{};
  std::snprintf(text.data(), text.size(), "%.*f", digits, value);
  return text.data();
}

void AppendRow(std::string& out, std::string_view cell_tag,
               std::initializer_list<std::string_view> cells) {
  out += "<tr>";
  for (std::string_view cell : cells) {
    out += '<';
    out += cell_tag;
    out += '>';
    net::AppendMarkup(out, cell);
    out += "</";
    out += cell_tag;
    out += '>';
  }
  out += "</tr>\n";
}

constexpr std::string_view kHtmlHead =
    "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">"
    "<title>mongooselb</title><meta http-equiv=\"refresh\" content=\"5\">\n"
    "<style>:root{color-scheme:light dark}body{font:15px/1.5 system-ui,sans-serif;margin:2em}"
    "table{border-collapse:collapse;margin:.5em 0 1.5em}"
    "th,td{text-align:left;padding:.2em 1em .2em 0;border-bottom:1px solid #8888}</style>"
    "</head><body>\n";

// "" when it is.
std::string NotReady(const ProcessView& process, const std::vector<PoolView>& pools,
                     const std::vector<std::string>& must) {
  if (process.state != ProcessState::kRunning) {
    return "the balancer is " + std::string(ProcessStateName(process.state));
  }
  for (const std::string& name : must) {
    auto pool = std::ranges::find(pools, name, &PoolView::name);
    if (pool == pools.end() || pool->nodes_up == 0) return "no node of pool " + name + " is up";
  }
  auto up = [](const PoolView& pool) { return pool.nodes_up > 0; };
  if (must.empty() && !pools.empty() && std::ranges::none_of(pools, up)) return "no node is up";
  return "";
}

net::HttpResponse Plain(int status, std::string body) {
  return {.status = status, .body = std::move(body)};
}

// Nothing here is for caches, and nothing runs scripts or loads from elsewhere.
net::HttpResponse WithSafeHeaders(net::HttpResponse response) {
  response.headers.push_back({"Cache-Control", "no-store"});
  response.headers.push_back({"X-Content-Type-Options", "nosniff"});
  response.headers.push_back(
      {"Content-Security-Policy",
       "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"});
  return response;
}

}  // namespace

net::HttpResponse ReadyPage(const ProcessView& process, const std::vector<PoolView>& pools,
                            bool verbose, const std::vector<std::string>& must) {
  const std::string why = NotReady(process, pools, must);
  const bool ready = why.empty();
  std::string body = ready ? "ready\n" : "not ready: " + why + "\n";
  if (verbose) {
    body += "connections " + std::to_string(process.connections) + " of " +
            std::to_string(process.connections_max) + "\n";
    for (const PoolView& pool : pools) {
      body += "pool " + pool.name + ": " + std::to_string(pool.nodes_up) + " of " +
              std::to_string(pool.nodes.size()) + " nodes up" +
              (pool.summary.empty() ? "" : "; " + pool.summary) + "\n";
    }
  }
  return Plain(ready ? 200 : 503, std::move(body));
}

net::HttpResponse IndexPage(const ProcessView& process, const std::vector<ListenerView>& listeners,
                            const std::vector<PoolView>& pools) {
  std::string body(kHtmlHead);
  body += "<h1>mongooselb ";
  net::AppendMarkup(body, process.version);
  body += "</h1>\n<p>";
  net::AppendMarkup(body, ProcessStateName(process.state));
  body += process.split ? "; <strong>NETSPLIT</strong>" : "";
  body += "; " + std::to_string(process.connections) + " of " +
          std::to_string(process.connections_max) + " connections; " +
          Fixed(process.accepts_per_s, 0) + " arrivals a second; " +
          std::to_string(process.nodes_up) + " of " + std::to_string(process.nodes_total) +
          " nodes up</p>\n<p><a href=\"/status\">status</a> <a href=\"/metrics\">metrics</a> "
          "<a href=\"/readyz?verbose\">readiness</a></p>\n";
  body += "<h2>Listeners</h2><table>";
  AppendRow(body, "th", {"name", "mode", "pool", "open", "accepted", "refused"});
  for (const ListenerView& view : listeners) {
    AppendRow(
        body, "td",
        {view.name, view.mode, view.pool, std::to_string(view.active),
         std::to_string(view.accepted), std::to_string(view.refused_limit + view.refused_source)});
  }
  body += "</table>\n<h2>Nodes</h2><table>";
  AppendRow(body, "th", {"pool", "node", "state", "open", "arrivals/s", "share", "why"});
  for (const PoolView& pool : pools) {
    for (const NodeView& node : pool.nodes) {
      AppendRow(
          body, "td",
          {pool.name, node.name, node.state, std::to_string(node.active),
           Fixed(node.arrivals_per_s, 1), Fixed(node.share_expected * 100, 1) + " %", node.why});
    }
  }
  body += "</table></body></html>\n";
  return {.content_type = "text/html; charset=utf-8", .body = std::move(body)};
}

AdminServer::AdminServer(net::EventLoop& loop, const Control& control, net::UniqueFd listener)
    : control_(control),
      server_(loop, std::move(listener), [this](const net::HttpRequest& request) {
        return WithSafeHeaders(Answer(request));
      }) {}

net::HttpResponse AdminServer::Answer(const net::HttpRequest& request) const {
  using Page = std::function<net::HttpResponse()>;
  const std::pair<std::string_view, Page> pages[] = {
      {"/livez", [] { return Plain(200, "alive\n"); }},
      {"/readyz",
       [&] {
         const bool verbose = request.QueryValue("verbose").has_value();
         return ReadyPage(control_.Process(), control_.Pools(), verbose,
                          control_.config().process.ready_pools);
       }},
      {"/status",
       [&] {
         return net::HttpResponse{
             .content_type = "application/json",
             .body = StatusJson(control_.Process(), control_.Listeners(), control_.Pools(),
                                control_.Absent(), control_.Rollouts()) +
                     "\n"};
       }},
      {"/metrics",
       [&] {
         return net::HttpResponse{
             .content_type = std::string(net::MetricsWriter::kContentType),
             .body = MetricsText(control_.Process(), control_.Counters(), control_.Pools())};
       }},
      {"/", [&] { return IndexPage(control_.Process(), control_.Listeners(), control_.Pools()); }},
  };
  for (const auto& [path, page] : pages) {
    if (path != request.path) continue;
    if (request.method == "GET" || request.method == "HEAD") return page();
    net::HttpResponse refused = Plain(405, "only GET and HEAD; orders: mongooselb ctl\n");
    refused.headers.push_back({"Allow", "GET, HEAD"});
    return refused;
  }
  return Plain(404, "there are /livez, /readyz, /status, /metrics and /\n");
}

}  // namespace lb
