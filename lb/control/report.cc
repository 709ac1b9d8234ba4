#include "lb/control/report.h"

#include <ctime>
#include <map>
#include <optional>

#include "lb/proxy/connection_name.h"
#include "net/report/log_output.h"
#include "net/tls/tls_engine.h"

namespace lb {

std::vector<ListenerView> ListenerViews(const ListenerSet& listeners) {
  std::vector<ListenerView> views;
  for (const auto& [name, listener] : listeners.all()) {
    ListenerView view;
    view.name = name;
    for (const net::Endpoint& bind : listener->config.binds) view.binds.push_back(bind.ToString());
    view.mode = ListenerModeName(listener->config.mode);
    view.pool = listener->config.pool;
    view.active = listener->shared->active.load(std::memory_order_relaxed);
    view.connections_max = listener->config.connections_max;
    view.accepted = listener->shared->accepted.load(std::memory_order_relaxed);
    view.refused_limit = listener->shared->refused_limit.load(std::memory_order_relaxed);
    view.refused_source = listener->shared->refused_source.load(std::memory_order_relaxed);
    view.refused_denied = listener->shared->refused_denied.load(std::memory_order_relaxed);
    view.refused_header = listener->shared->refused_header.load(std::memory_order_relaxed);
    views.push_back(std::move(view));
  }
  return views;
}

void AddWorkerCounters(const Engine& engine, std::vector<CounterView>* views) {
  auto worker = [&](std::string name, std::string help, WorkerStats::Counter WorkerStats::* from) {
    views->push_back(
        {std::move(name), std::move(help), true, {{{}, static_cast<double>(engine.Sum(from))}}});
  };
  worker("mongooselb_accepted_total", "Connections accepted", &WorkerStats::accepted);
  worker("mongooselb_accept_errors_total", "Accepts that failed (descriptors, memory)",
         &WorkerStats::accept_errors);
  worker("mongooselb_accept_pauses_total", "Times a full worker left connections in the queue",
         &WorkerStats::accept_pauses);
  worker("mongooselb_bytes_to_node_total", "Payload of ended connections, client to node",
         &WorkerStats::bytes_to_node);
  worker("mongooselb_bytes_to_client_total", "Payload of ended connections, node to client",
         &WorkerStats::bytes_to_client);
  worker("mongooselb_connect_errors_total", "Connects to nodes that failed",
         &WorkerStats::connect_errors);
  worker("mongooselb_retries_total", "Connects tried again", &WorkerStats::retries);
  worker("mongooselb_redispatches_total", "Connects tried at another node",
         &WorkerStats::redispatches);
  worker("mongooselb_queued_total", "Connections that had to wait for a node",
         &WorkerStats::queued);
  const auto buffers = [&](std::string name, std::string help, uint64_t value) {
    views->push_back({std::move(name), std::move(help), false, {{{}, static_cast<double>(value)}}});
  };
  buffers("mongooselb_buffers_in_use", "Receive buffers that hold bytes on their way",
          engine.Sum(&WorkerStats::buffers_in_use));
  buffers("mongooselb_buffers", "Receive buffers that the workers have by now",
          engine.Sum(&WorkerStats::buffers));
  buffers("mongooselb_buffers_max", "The most that they may have: process.buffers of each worker",
          engine.buffers_max());
  worker("mongooselb_buffer_starvations_total", "Receives that found no buffer",
         &WorkerStats::buffer_starvations);
  worker("mongooselb_large_buffers_entered_total", "Streams that turned to large buffers",
         &WorkerStats::large_buffers_entered);
  worker("mongooselb_large_buffers_missed_total", "Streams that found no large buffer",
         &WorkerStats::large_buffers_missed);
  worker("mongooselb_pauses_total", "Times a slow reader stopped its sender", &WorkerStats::pauses);
  worker("mongooselb_splices_total", "Directions that turned to splice",
         &WorkerStats::bulk_entered);
  worker("mongooselb_splices_refused_total", "Directions that could not",
         &WorkerStats::bulk_refused);
  worker("mongooselb_spliced_bytes_total", "Bytes that never saw user space",
         &WorkerStats::bulk_bytes);
  worker("mongooselb_proxy_headers_bad_total", "PROXY headers refused",
         &WorkerStats::proxy_headers_bad);
  views->push_back({"mongooselb_access_log_dropped_total",
                    "Lines that the access log did not take",
                    true,
                    {{{}, static_cast<double>(engine.access_log_dropped())}}});
  views->push_back({"mongooselb_log_dropped_total",
                    "Lines that the program's own log did not take",
                    true,
                    {{{}, static_cast<double>(net::LogLinesDropped())}}});
  worker("mongooselb_local_errors_total",
         "Times that a port, descriptor or memory of this machine was missing for a connection",
         &WorkerStats::local_errors);
  CounterView errors{
      "mongooselb_socket_errors_total", "System calls that failed, by errno", true, {}};
  using Side = Engine::ErrorSide;
  for (const auto& [side, text] :
       {std::pair(Side::kConnect, "connect"), std::pair(Side::kClient, "client"),
        std::pair(Side::kNode, "node")}) {
    for (size_t error = 1; error < net::kErrnos; ++error) {
      const uint64_t count = engine.SocketErrors(side, error);
      if (count == 0) continue;
      errors.series.push_back(
          {{{"side", text}, {"errno", std::string(net::ErrnoName(static_cast<int>(error)))}},
           static_cast<double>(count)});
    }
  }
  views->push_back(std::move(errors));
  CounterView ended{"mongooselb_ended_total", "Connections that ended, by reason", true, {}};
  for (size_t i = 1; i < kEndReasons; ++i) {
    const auto reason = static_cast<EndReason>(i);
    ended.series.push_back({{{"reason", std::string(EndReasonName(reason))}},
                            static_cast<double>(engine.Ended(reason))});
  }
  views->push_back(std::move(ended));
}

void AddListenerCounters(const ListenerSet& listeners, std::vector<CounterView>* views) {
  CounterView listener_active{"mongooselb_listener_connections", "Open now", false, {}};
  CounterView refused{"mongooselb_listener_refused_total", "Refused by a limit", true, {}};
  for (const ListenerView& listener : ListenerViews(listeners)) {
    listener_active.series.push_back(
        {{{"listener", listener.name}}, static_cast<double>(listener.active)});
    refused.series.push_back({{{"listener", listener.name}, {"limit", "connections"}},
                              static_cast<double>(listener.refused_limit)});
    refused.series.push_back({{{"listener", listener.name}, {"limit", "source"}},
                              static_cast<double>(listener.refused_source)});
    refused.series.push_back({{{"listener", listener.name}, {"limit", "denied"}},
                              static_cast<double>(listener.refused_denied)});
    refused.series.push_back({{{"listener", listener.name}, {"limit", "header"}},
                              static_cast<double>(listener.refused_header)});
  }
  views->push_back(std::move(listener_active));
  views->push_back(std::move(refused));
}

void AddTlsCounters(const Engine& engine, const ListenerSet& listeners,
                    std::vector<CounterView>* views) {
  auto sum = [&engine](WorkerStats::Counter WorkerStats::* from) {
    return static_cast<double>(engine.Sum(from));
  };
  CounterView handshakes{"mongooselb_tls_handshakes_total", "TLS handshakes, by result", true, {}};
  handshakes.series = {{{{"result", "full"}}, sum(&WorkerStats::tls_full)},
                       {{{"result", "resumed"}}, sum(&WorkerStats::tls_resumed)},
                       {{{"result", "failed"}}, sum(&WorkerStats::tls_failed)}};
  views->push_back(std::move(handshakes));
  views->push_back({"mongooselb_tls_handshakes_queued_total",
                    "Handshakes that had to wait for others",
                    true,
                    {{{}, sum(&WorkerStats::tls_queued)}}});
  views->push_back({"mongooselb_tls_records_failed_total",
                    "Connections that TLS ended after the handshake",
                    true,
                    {{{}, sum(&WorkerStats::tls_records_failed)}}});
  auto by_reason = [&](std::string name, std::string help, size_t first, size_t end, auto text,
                       auto count) {
    CounterView view{std::move(name), std::move(help), true, {}};
    for (size_t i = first; i < end; ++i) {
      view.series.push_back({{{"reason", std::string(text(i))}}, static_cast<double>(count(i))});
    }
    views->push_back(std::move(view));
  };
  by_reason(
      "mongooselb_tls_take_over_total",
      "Connections whose records left OpenSSL (taken), or why they stayed", 1,
      net::kTlsTakeOverValues,
      [](size_t i) { return net::ToString(static_cast<net::TlsTakeOver>(i)); },
      [&engine](size_t i) { return engine.TakeOvers(i); });
  by_reason(
      "mongooselb_tls_handshakes_declined_total",
      "Handshakes that OpenSSL did, by what made them unusual", 0, net::kTlsDeclineValues,
      [](size_t i) { return net::ToString(static_cast<net::TlsDecline>(i)); },
      [&engine](size_t i) { return engine.Declined(i); });
  CounterView expiry{"mongooselb_certificate_expiry_seconds",
                     "Until the certificate expires; negative when it has",
                     false,
                     {}};
  CounterView active{"mongooselb_tls_handshakes_active", "Handshakes in progress", false, {}};
  const int64_t now = std::time(nullptr);
  for (const auto& [name, listener] : listeners.all()) {
    if (listener->tls == nullptr) continue;
    active.series.push_back(
        {{{"listener", name}},
         static_cast<double>(listener->shared->handshakes.load(std::memory_order_relaxed))});
    for (const net::TlsCertificateInfo& certificate : listener->tls->certificates()) {
      expiry.series.push_back({{{"listener", name}, {"file", certificate.file}},
                               static_cast<double>(certificate.not_after - now)});
    }
  }
  views->push_back(std::move(active));
  views->push_back(std::move(expiry));
}

namespace {

struct ConnectionNames {
  std::map<uint16_t, std::string> listeners;
  std::map<uint16_t, std::string> pools;

  ConnectionNames(const ListenerSet& set, const PoolIds& ids) {
    for (const auto& [name, id] : set.ids()) listeners[id] = name;
    for (const auto& [name, id] : ids) pools[id] = name;
  }
  ConnectionView ViewOf(const ProxyWorker& worker, const Pair& pair, const ConnectionName& id) {
    return {.id = id.ToString(),
            .client = pair.client().ToString(),
            .listener = listeners[pair.listener()],
            .pool = pools[pair.pool()],
            .node = pair.node() == nullptr ? "" : pair.node()->name,
            .state = std::string(PairStateName(pair.state())),
            .age_ms = worker.WallMs() - pair.started_ms(),
            .idle_ms = pair.idle_ms(),
            .bytes_in = pair.bytes(0),
            .bytes_out = pair.bytes(1)};
  }
};

// Asks each worker of its connections: f(worker, pair, id).
template <typename F>
void ForEachConnection(Engine& engine, F&& f) {
  uint32_t number = 0;
  engine.AskAll([&](ProxyWorker& worker) {
    ++number;
    worker.ForEachPair([&](Pair& pair) {
      if (pair.state() == Pair::State::kClosing) return;
      f(worker, pair, ConnectionName{number, ProxyWorker::IndexOf(pair), pair.started_ms()});
    });
  });
}

}  // namespace

void AddConnectionsFrom(const net::Address& source, Engine& engine, const ListenerSet& listeners,
                        const PoolIds& pools, WhyView* view) {
  ConnectionNames names(listeners, pools);
  ForEachConnection(engine, [&](ProxyWorker& worker, Pair& pair, const ConnectionName& id) {
    if (pair.client().WithPort(0) != source.WithPort(0)) return;
    ++view->connections_total;
    if (view->connections.size() >= kConnectionsShown) return;
    view->connections.push_back(names.ViewOf(worker, pair, id));
  });
}

ConnectionPage ConnectionsAfter(const std::string& after, const std::string& node, Engine& engine,
                                const ListenerSet& listeners, const PoolIds& pools) {
  ConnectionNames names(listeners, pools);
  const size_t slash = node.find('/');
  const std::string pool = slash == std::string::npos ? "" : node.substr(0, slash);
  const std::string name = slash == std::string::npos ? node : node.substr(slash + 1);
  const auto mark = ConnectionName::Parse(after);
  ConnectionPage page;
  ForEachConnection(engine, [&](ProxyWorker& worker, Pair& pair, const ConnectionName& id) {
    const Node* at = pair.node();
    if (!name.empty() && (at == nullptr || at->name != name)) return;
    if (!pool.empty() && (at == nullptr || at->pool != pool)) return;
    ++page.total;
    if (mark && std::pair(id.worker, id.index) <= std::pair(mark->worker, mark->index)) return;
    if (page.connections.size() < kConnectionsPage) {
      page.connections.push_back(names.ViewOf(worker, pair, id));
    } else {
      page.next = page.connections.back().id;
    }
  });
  return page;
}

}  // namespace lb
