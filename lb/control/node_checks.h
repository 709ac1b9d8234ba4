// Runs one node's checks and asks its status API: when, by its health's word, and how, by the
// pool's configuration. What the answers mean is the pool's matter.
//
// Control thread only. Destruction ends what is under way; it may happen from inside a callback.
#pragma once

#include <expected>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "lb/config/config.h"
#include "lb/health/health_check.h"
#include "net/io/event_loop.h"
#include "net/probe/check_runner.h"

namespace lb {

// The node's address on another port; a Unix socket has no other.
net::SocketName OnPort(const net::SocketName& address, uint16_t port);

class NodeChecks {
 public:
  struct Events {
    std::function<void(size_t check, bool ok, const std::string& why)> on_result;
    std::function<void(std::expected<std::string, std::string> body)> on_status;
    // Instead of either, where something of ours was missing: a port, a descriptor, memory.
    std::function<void(const std::string& why)> on_not_checked;
    // How the pool speaks TLS now; asked before each check that does.
    std::function<net::CheckTls()> tls;
  };

  // `random` and `health` must outlive it. Begins at once.
  NodeChecks(net::EventLoop& loop, net::FastRandom& random, const NodeHealth& health,
             const PoolConfig& pool, const net::SocketName& address, Events events);
  ~NodeChecks();
  NodeChecks(const NodeChecks&) = delete;
  NodeChecks& operator=(const NodeChecks&) = delete;

 private:
  struct Run {
    net::CheckSpec spec;
    net::SocketName address;
    net::Duration timeout{};
    bool tls = false;
    std::unique_ptr<net::Probe> probe;
    net::EventLoop::TimerId timer{};
  };
  void ScheduleCheck(size_t index, net::Duration in);
  void RunCheck(size_t index);
  void ScheduleFetch(net::Duration in);
  void Fetch();

  net::EventLoop& loop_;
  net::FastRandom& random_;
  const NodeHealth& health_;
  const net::SocketName address_;
  const std::optional<StatusConfig> status_;
  const Events events_;
  std::vector<Run> runs_;
  std::unique_ptr<net::HttpFetch> fetch_;
  net::EventLoop::TimerId fetch_timer_{};
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace lb
