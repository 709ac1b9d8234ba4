// What the workers share: nodes, pools and listeners as the data path needs them. The control
// thread makes these from the configuration; workers only read them, but for the atomics.
#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "lb/balance/node_state.h"
#include "lb/proxy/half_open.h"
#include "net/base/address.h"
#include "net/base/clock.h"
#include "net/conn/admission.h"
#include "net/io/socket.h"
#include "net/limit/gcra.h"

namespace net {
class SourceLimits;  // net/limit/source_limits.h
class TlsClientContext;
class TlsServerContext;
struct StartTlsServerOptions;
struct StartTlsClientOptions;
}  // namespace net

namespace lb {

// A node: its name in its pool, what it carries, and the address that new connections go to. Of one
// name there is one Node, whatever the configuration or DNS does with it: what counts belongs to
// the name. Lives from the moment it is known until no snapshot and no connection names it any
// more; connections hold it through NodeState's count.
class Node final : public NodeState {
 public:
  Node(std::string pool_name, std::string node_name, const net::SocketName& where, uint32_t weight,
       uint32_t connections_max)
      : NodeState(weight, connections_max),
        pool(std::move(pool_name)),
        name(std::move(node_name)),
        address_(&addresses_.emplace_back(where)) {}

  const std::string pool;
  const std::string name;

  // Any thread. Stays where it is for as long as an operation of this turn may read it.
  const net::SocketName& address() const { return *address_.load(std::memory_order_acquire); }

  // Control thread. Places are used again only after kAddressesKept changes: a name changes its
  // address once a second at most (DNS), and what reads an address is over in a turn of a loop.
  void SetAddress(const net::SocketName& where) {
    if (addresses_.size() < kAddressesKept) {
      addresses_.push_back(where);
      next_address_ = addresses_.size() - 1;
    } else {
      next_address_ = (next_address_ + 1) % kAddressesKept;
      addresses_[next_address_] = where;
    }
    address_.store(&addresses_[next_address_], std::memory_order_release);
  }

 private:
  static constexpr size_t kAddressesKept = 16;
  std::deque<net::SocketName> addresses_;  // grows at its end: nothing moves
  size_t next_address_ = 0;
  std::atomic<const net::SocketName*> address_;
};

enum class SendProxy : uint8_t { kOff, kV1, kV2 };

// What a listener does before bytes pass.
enum class ListenerMode : uint8_t {
  kTcp,
  kTls,
  kStartTls,  // answers the client's opening, then TLS
  kSni,       // looks at the ClientHello and passes it on
};

// How a node is spoken to.
enum class NodeTls : uint8_t {
  kOff,
  kTls,
  kStartTls,  // asks for it as a client would
};

// The part of a pool that all workers count in; of a pool's name there is one, whatever reloads do.
struct PoolShared {
  std::atomic<uint32_t> queued{0};  // connections that wait for a node
};

// Of one pool; immutable. Durations of zero mean "none".
struct PoolSettings {
  std::string name;
  std::shared_ptr<PoolShared> shared = std::make_shared<PoolShared>();
  net::Duration connect_timeout{};
  net::Duration queue_timeout{};
  net::Duration idle_timeout{};         // both sides silent
  net::Duration client_idle_timeout{};  // the client alone
  net::Duration node_idle_timeout{};
  net::Duration fin_timeout{};
  net::Duration max_age{};  // a connection ends then, or up to a tenth sooner
  uint32_t retries = 0;
  bool redispatch = true;
  uint32_t queue_max = 0;          // of all workers
  uint32_t pending_bytes_max = 0;  // received and not yet sent, each direction
  uint32_t splice_after = 0;       // bytes in a row; 0 = never
  uint32_t passive_errors = 0;
  bool hashes_source = false;  // the policy asks for the client's address

  // TCP options of the connections to the nodes; 0 = the system's default.
  int keepalive_idle_s = 0;
  int keepalive_interval_s = 0;
  int keepalive_count = 0;
  int user_timeout_ms = 0;

  SendProxy send_proxy = SendProxy::kOff;
  bool proxy_unique_id = false;
  bool proxy_crc32c = false;
  bool proxy_ssl = false;
  bool proxy_alpn = false;
  bool proxy_authority = false;
  bool proxy_channel_binding = false;

  NodeTls node_tls = NodeTls::kOff;
  std::shared_ptr<const net::TlsClientContext> tls;  // with node_tls
  std::string tls_verify_name;                       // "" = any that the authority signed
  std::string tls_sni;                               // "" = none
  std::shared_ptr<const net::StartTlsClientOptions> starttls;

  std::vector<net::SocketName> sources_v4;
  std::vector<net::SocketName> sources_v6;
};

// How much of a listener's rate may be saved up for a burst. Longer lets a crowd in at once after a
// silence; shorter refuses clients that merely came together.
inline constexpr net::Duration kListenerRateBurst = std::chrono::seconds(1);

// The part of a listener that all workers count in: what any has, and what only a proxy's has.
struct ListenerShared : net::ListenerCounts {
  std::atomic<uint64_t> refused_denied{0};  // by source_allow and source_deny
  std::atomic<uint32_t> handshakes{0};      // in progress
  net::AtomicGcra rate;                     // of new connections
};

// What bounds all workers together.
struct ProcessShared {
  std::atomic<uint32_t> connections{0};
  uint32_t connections_max = UINT32_MAX;
  HalfOpen half_open;
};

// Where a name or a protocol goes; "" matches all.
struct Route {
  std::string domain;  // in lower case; "*.example.org" for one label in front
  std::string alpn;
  uint16_t pool = 0;
};

struct ListenerSettings {
  std::string name;
  uint16_t pool = 0;
  net::Address bound;  // the first of its addresses
  bool accept_proxy = false;
  std::vector<net::Cidr> proxy_trusted;
  net::Duration proxy_header_timeout{};
  uint32_t connections_max = 0;
  // At connections_max, new clients wait in the listen queue instead of being refused.
  bool wait_at_limit = false;
  double rate = 0;                      // new connections a second; 0 = none
  std::vector<net::Cidr> source_allow;  // empty = all
  std::vector<net::Cidr> source_deny;
  std::shared_ptr<net::SourceLimits> source_limits;  // null without limits
  std::shared_ptr<ListenerShared> shared;

  ListenerMode mode = ListenerMode::kTcp;
  std::shared_ptr<const net::TlsServerContext> tls;  // kTls, kStartTls
  net::Duration handshake_timeout{};                 // also of what comes before TLS
  uint32_t handshakes_max = 0;                       // at once, all workers; 0 = none
  std::shared_ptr<const net::StartTlsServerOptions> starttls;
  std::vector<Route> routes;  // the first that matches; else `pool`
};

}  // namespace lb
