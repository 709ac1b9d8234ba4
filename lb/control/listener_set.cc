#include "lb/control/listener_set.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <algorithm>

#include "net/limit/source_limits.h"
#include "net/xmpp/starttls.h"

namespace lb {
namespace {

net::UniqueFd DuplicateFd(const net::UniqueFd& fd) {
  return net::UniqueFd(fcntl(fd.get(), F_DUPFD_CLOEXEC, 3));
}

net::ListenOptions ListenOptionsFor(const Config& config, const ListenerConfig& listener) {
  const PoolConfig& pool = config.pools[listener.pool_index];
  return {
      .backlog = static_cast<int>(listener.backlog),
      .reuse_port = true,
      .keepalive_idle_s = static_cast<int>(pool.keepalive_idle / std::chrono::seconds(1)),
      .keepalive_interval_s = static_cast<int>(pool.keepalive_interval / std::chrono::seconds(1)),
      .keepalive_count = static_cast<int>(pool.keepalive_count),
      .user_timeout_ms = static_cast<int>(pool.tcp_user_timeout / std::chrono::milliseconds(1)),
      .unix_mode = listener.unix_mode,
      .unix_user = listener.unix_user,
      .unix_group = listener.unix_group};
}

// A socket that listens already, ours or a predecessor's: what came with another configuration is
// set again. Accepted sockets inherit it from then on.
void Refit(const net::UniqueFd& fd, bool is_unix, const net::ListenOptions& options) {
  listen(fd.get(), options.backlog);
  if (is_unix) return;
  const auto set = [&](int level, int name, int value) {
    setsockopt(fd.get(), level, name, &value, sizeof value);
  };
  set(SOL_SOCKET, SO_KEEPALIVE, options.keepalive_idle_s > 0 ? 1 : 0);
  if (options.keepalive_idle_s > 0) {
    set(IPPROTO_TCP, TCP_KEEPIDLE, options.keepalive_idle_s);
    set(IPPROTO_TCP, TCP_KEEPINTVL, options.keepalive_interval_s);
    set(IPPROTO_TCP, TCP_KEEPCNT, options.keepalive_count);
  }
  set(IPPROTO_TCP, TCP_USER_TIMEOUT, options.user_timeout_ms);
}

// The mode and owner of a Unix socket that listens already.
void RefitFile(const Config& config, const ListenerConfig& listener, const net::Endpoint& bind,
               std::vector<net::ConfigError>* errors) {
  if (bind.kind != net::Endpoint::Kind::kUnix) return;
  const std::string why =
      net::RefitSocketFile(bind.ToSocketName().get(), ListenOptionsFor(config, listener));
  if (!why.empty()) errors->push_back(listener.bind_origin.Error(bind.ToString() + ": " + why));
}

// Of a group of listening sockets this one is for the connections whose packets come to that
// processor (-1: to any). It is asked for anew of one that a process before left otherwise.
void TakeFrom(const net::UniqueFd& fd, int cpu) {
  setsockopt(fd.get(), SOL_SOCKET, SO_INCOMING_CPU, &cpu, sizeof cpu);
}

bool Wants(const ListenerConfig& listener, const std::string& bind) {
  return std::ranges::any_of(listener.binds,
                             [&](const net::Endpoint& e) { return e.ToString() == bind; });
}

}  // namespace

void ListenerSet::Prepare(const Config& config, size_t workers, net::Inheritance* inherited,
                          Prepared* prepared, std::vector<net::ConfigError>* errors) const {
  for (const ListenerConfig& listener : config.listeners) {
    auto present = listeners_.find(listener.name);
    for (const net::Endpoint& bind : listener.binds) {
      const std::string name = bind.ToString();
      if (present != listeners_.end() && present->second->sockets.contains(name)) {
        RefitFile(config, listener, bind, errors);
        continue;
      }
      std::vector<net::UniqueFd>& sockets = prepared->sockets[name];
      if (inherited != nullptr) {
        for (net::Inheritance::Socket& socket : inherited->sockets) {
          if (socket.name == name && socket.fd) sockets.push_back(std::move(socket.fd));
        }
      }
      const bool is_unix = bind.kind == net::Endpoint::Kind::kUnix;
      const net::SocketName address = bind.ToSocketName();
      // One socket a worker shares the load in the kernel; of a Unix socket there is only one.
      while (sockets.size() < (is_unix ? 1 : workers)) {
        auto socket =
            net::Listen(address.get(), address.size(), ListenOptionsFor(config, listener));
        if (!socket) {
          errors->push_back(listener.bind_origin.Error(socket.error()));
          break;
        }
        sockets.push_back(std::move(*socket));
      }
      if (!sockets.empty()) RefitFile(config, listener, bind, errors);
    }
  }
}

std::shared_ptr<net::SourceLimits> ListenerSet::LimitsFor(
    const ListenerConfig& config, std::shared_ptr<net::SourceLimits> present) const {
  if (config.source_connections_max == 0 && config.source_rate <= 0) return nullptr;
  if (present) {
    present->SetLimits(config.source_connections_max, config.source_rate);
    return present;
  }
  return std::make_shared<net::SourceLimits>(
      net::SourceTableConfig{.entries_max = config.source_table_max,
                             .connections_max = config.source_connections_max,
                             .rate = config.source_rate,
                             .prefix_v6 = config.source_prefix_v6},
      limits_key_);
}

std::shared_ptr<const ListenerSettings> ListenerSet::SettingsFor(const Listener& listener,
                                                                 const PoolIds& pools) {
  const ListenerConfig& config = listener.config;
  auto settings = std::make_shared<ListenerSettings>();
  settings->name = config.name;
  settings->pool = pools.at(config.pool);
  settings->bound = config.binds.front().address;
  settings->accept_proxy = config.accept_proxy;
  settings->proxy_trusted = config.proxy_trusted;
  settings->proxy_header_timeout = config.proxy_header_timeout;
  settings->connections_max = config.connections_max;
  settings->wait_at_limit = config.wait_at_limit;
  settings->rate = config.rate;
  settings->source_allow = config.source_allow;
  settings->source_deny = config.source_deny;
  settings->source_limits = listener.limits;
  settings->shared = listener.shared;
  settings->mode = config.mode;
  settings->tls = listener.tls;
  settings->handshake_timeout = config.handshake_timeout;
  settings->handshakes_max = config.handshakes_max;
  for (const RouteConfig& route : config.routes) {
    settings->routes.push_back(
        {.domain = route.domain, .alpn = route.alpn, .pool = pools.at(route.pool)});
  }
  if (config.mode == ListenerMode::kStartTls) {
    auto starttls = std::make_shared<net::StartTlsServerOptions>();
    starttls->kind = config.server_streams ? net::StreamKind::kServer : net::StreamKind::kClient;
    settings->starttls = std::move(starttls);
  }
  return settings;
}

void ListenerSet::RemoveUnwanted(const Config& config, Engine& engine) {
  for (auto it = listeners_.begin(); it != listeners_.end();) {
    auto wanted = std::ranges::find(config.listeners, it->first, &ListenerConfig::name);
    std::erase_if(it->second->sockets, [&](auto& bind) {
      if (wanted != config.listeners.end() && Wants(*wanted, bind.first)) return false;
      for (const Socket& socket : bind.second) {
        engine.Post(socket.worker,
                    [id = socket.id](ProxyWorker& worker) { worker.RemoveSocket(id); });
      }
      return true;
    });
    it = wanted == config.listeners.end() ? listeners_.erase(it) : std::next(it);
  }
}

void ListenerSet::Commit(const Config& config, Prepared& prepared, const PoolIds& pools,
                         Engine& engine) {
  RemoveUnwanted(config, engine);
  for (const ListenerConfig& listener : config.listeners) {
    auto& own = listeners_[listener.name];
    if (!own) {
      own = std::make_unique<Listener>();
      own->id = ids_.try_emplace(listener.name, static_cast<uint16_t>(ids_.size())).first->second;
      own->shared = std::make_shared<ListenerShared>();
    }
    own->config = listener;
    own->limits = LimitsFor(listener, own->limits);
    own->tls = prepared.servers[listener.name];
    engine.PostAll([id = own->id, settings = SettingsFor(*own, pools)](ProxyWorker& worker) {
      worker.SetListener(id, settings);
    });
    const net::ListenOptions options = ListenOptionsFor(config, listener);
    for (const net::Endpoint& bind : listener.binds) {
      std::vector<Socket>& sockets = own->sockets[bind.ToString()];
      auto fresh = prepared.sockets.find(bind.ToString());
      const bool is_unix = bind.kind == net::Endpoint::Kind::kUnix;
      for (const Socket& socket : sockets) Refit(socket.fd, is_unix, options);
      if (fresh == prepared.sockets.end()) continue;
      for (const net::UniqueFd& fd : fresh->second) Refit(fd, is_unix, options);
      // More workers than sockets (a Unix socket): all accept from the one. More sockets than
      // workers (taken over from a larger process): a worker serves several.
      const size_t count = std::max(fresh->second.size(), engine.workers());
      for (size_t i = 0; i < count; ++i) {
        const size_t worker = i % engine.workers();
        const net::UniqueFd& fd = fresh->second[i % fresh->second.size()];
        if (!is_unix) TakeFrom(fd, engine.cpu(worker));
        sockets.push_back({next_socket_id_++, worker, DuplicateFd(fd)});
      }
    }
  }
}

void ListenerSet::StartAccepting(Engine& engine) {
  for (const auto& [name, listener] : listeners_) {
    for (auto& [bind, sockets] : listener->sockets) {
      for (Socket& socket : sockets) {
        if (socket.accepting) continue;
        socket.accepting = true;
        auto fd = std::make_shared<net::UniqueFd>(DuplicateFd(socket.fd));
        engine.Post(socket.worker,
                    [id = listener->id, socket_id = socket.id, fd](ProxyWorker& worker) {
                      worker.AddSocket(id, socket_id, std::move(*fd));
                    });
      }
    }
  }
}

std::vector<net::Inheritance::Socket> ListenerSet::Duplicate() const {
  std::vector<net::Inheritance::Socket> sockets;
  for (const auto& [name, listener] : listeners_) {
    for (const auto& [bind, own] : listener->sockets) {
      for (const Socket& socket : own) sockets.push_back({bind, DuplicateFd(socket.fd)});
    }
  }
  return sockets;
}

}  // namespace lb
