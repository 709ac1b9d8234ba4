// What a node of Erlang's distribution is told when it starts. Whoever reads vm.args fills it in.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "net/base/address.h"
#include "net/base/clock.h"

namespace net {
class TlsServerContext;
class TlsClientContext;
}  // namespace net

namespace server {

inline constexpr uint16_t kEpmdPort = 4369;

// The version of our messages between nodes. Raise it when old nodes would misread new ones, and
// keep the oldest one that is still understood: an upgrade goes node by node.
inline constexpr uint32_t kWireVersion = 1;
inline constexpr uint32_t kWireVersionOldest = 1;

// How a node is found: Debian's epmd, which maps names to ports on its machine.
struct EpmdOptions {
  // Off: neither registered nor asked; fixed_port says where each node of the cluster listens.
  bool enabled = true;
  bool start = true;             // where none runs (-start_epmd)
  uint16_t port = kEpmdPort;     // ERL_EPMD_PORT
  // ERL_EPMD_ADDRESS: where one that is started listens, beside loopback; "": as the distribution.
  std::string addresses;
  std::string program = "epmd";  // looked up in PATH and where Debian has Erlang
};

// -proto_dist inet_tls: mutual certificates. Both contexts or none.
struct DistTls {
  std::shared_ptr<const net::TlsServerContext> server;
  std::shared_ptr<const net::TlsClientContext> client;
  explicit operator bool() const { return server != nullptr && client != nullptr; }
};

struct DistOptions {
  std::string node;    // "mongooseim@localhost": whole, and judged to be resolvable
  std::string cookie;  // never logged

  // Where it listens: inet_dist_use_interface, all addresses of the family when it is none. The
  // family is that of -proto_dist: inet_tcp or inet6_tcp.
  net::Address interface;
  bool ipv6 = false;
  uint16_t listen_min = 0;  // inet_dist_listen_min..max; 0: any free port
  uint16_t listen_max = 0;
  std::optional<uint16_t> fixed_port;  // ERL_DIST_PORT, -erl_epmd_port: ours, and that of all peers
  EpmdOptions epmd;
  DistTls tls;

  bool visible = false;  // see facts about `global` in server/README.md: hidden unless told
  net::Duration net_ticktime = std::chrono::seconds(60);
  net::Duration setup_time = std::chrono::seconds(7);  // net_setuptime: a whole handshake

  // What our own nodes tell each other first: see link_hello.h. The wire versions are set by tests.
  std::string version = "0";
  uint64_t features = 0;
  uint32_t wire = kWireVersion;
  uint32_t wire_oldest = kWireVersionOldest;

  // -kernel … allow: who may connect; judged before the cookie. None: everybody with the cookie.
  std::function<bool(std::string_view node)> allow = nullptr;

  // --- Bounds. Each has a counter in DistCounter.
  size_t links_max = 256;
  // ERL_MAX_PORTS: sockets that the node's loop may hold, links and pages and clients together. Its
  // table is made at the start. 0: what the other bounds need.
  size_t sockets_max = 0;
  size_t handshakes_max = 128;              // under way at once; above, the oldest is dropped
  size_t frame_bytes_max = 16U << 20U;      // a peer that sends more is dropped
  size_t link_queue_bytes_max = 8U << 20U;  // written and not sent; above, Send() says kFull
  size_t calls_max = 4096;                  // Call() and Ping() that wait for an answer
  size_t rpc_max = 1024;                    // calls of peers that a handler has not answered
  size_t dials_max = 64;                    // under way at once
};

}  // namespace server
