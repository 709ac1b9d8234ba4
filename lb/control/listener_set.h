// The listeners of a balancer: their sockets, their limits, and what the workers know of them.
//
// A configuration is taken in two steps: Prepare does all that can fail (binding), Commit cannot.
// Sockets are duplicates: the workers have their own, so that a successor can be given ours.
//
// Control thread only, but for what it posts to the workers.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "lb/config/config.h"
#include "lb/proxy/engine.h"
#include "lb/proxy/runtime.h"
#include "net/base/hash.h"
#include "net/io/socket.h"
#include "net/service/hand_over.h"

namespace lb {

using PoolIds = std::map<std::string, uint16_t>;

class ListenerSet {
 public:
  struct Socket {
    uint32_t id = 0;
    size_t worker = 0;
    net::UniqueFd fd;  // ours; the worker has a duplicate
    bool accepting = false;
  };
  struct Listener {
    uint16_t id = 0;
    ListenerConfig config;
    std::shared_ptr<ListenerShared> shared;
    std::shared_ptr<net::SourceLimits> limits;
    std::map<std::string, std::vector<Socket>> sockets;  // by bind
    std::shared_ptr<const net::TlsServerContext> tls;
  };
  struct Prepared {
    std::map<std::string, std::vector<net::UniqueFd>> sockets;  // by bind; those that are new
    std::map<std::string, std::shared_ptr<const net::TlsServerContext>> servers;  // by listener
  };

  explicit ListenerSet(net::HashKey limits_key) : limits_key_(limits_key) {}

  // Binds what is not bound yet, taking first what `inherited` (may be null) has of it.
  void Prepare(const Config& config, size_t workers, net::Inheritance* inherited,
               Prepared* prepared, std::vector<net::ConfigError>* errors) const;
  void Commit(const Config& config, Prepared& prepared, const PoolIds& pools, Engine& engine);
  // Gives the workers the sockets that they do not have yet.
  void StartAccepting(Engine& engine);
  // Duplicates of all sockets, for a successor.
  std::vector<net::Inheritance::Socket> Duplicate() const;
  // Lets go of our duplicates; the workers close theirs by StopAccepting.
  void Clear() { listeners_.clear(); }

  const std::map<std::string, std::unique_ptr<Listener>>& all() const { return listeners_; }
  // Also of listeners that are gone: ids are never reused.
  const std::map<std::string, uint16_t>& ids() const { return ids_; }

 private:
  void RemoveUnwanted(const Config& config, Engine& engine);
  std::shared_ptr<net::SourceLimits> LimitsFor(const ListenerConfig& config,
                                               std::shared_ptr<net::SourceLimits> present) const;
  static std::shared_ptr<const ListenerSettings> SettingsFor(const Listener& listener,
                                                             const PoolIds& pools);

  const net::HashKey limits_key_;
  std::map<std::string, std::unique_ptr<Listener>> listeners_;
  std::map<std::string, uint16_t> ids_;
  uint32_t next_socket_id_ = 1;
};

}  // namespace lb
