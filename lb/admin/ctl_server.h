// The balancer's control socket (net/ctl/ctl_server.h) over its commands (ctl_commands.h): orders
// are carried out by ctl_orders.h, and a drain that is waited for is followed here.
//
// Control thread only.
#pragma once

#include <cstdint>
#include <expected>
#include <functional>
#include <list>
#include <memory>
#include <string>
#include <vector>

#include "lb/admin/ctl_commands.h"
#include "lb/admin/ctl_drain_wait.h"
#include "lb/control/control.h"
#include "net/ctl/ctl_server.h"
#include "net/io/event_loop.h"
#include "net/io/socket.h"

namespace lb {

struct CtlHooks {
  // Around Control::Reload(), where the service manager has to hear of it; null: Reload() itself.
  std::function<std::expected<std::string, std::vector<net::ConfigError>>()> reload = nullptr;
  // Hands over to a new process and answers when that serves or has failed; null: refused.
  using Answer = std::move_only_function<void(Done)>;
  std::function<void(Answer)> upgrade = nullptr;
  // Every request that was carried out, as the old process after an upgrade is told of it
  // (LinesForward): it may have connections that it is about, too.
  std::function<void(std::string_view line)> carried_out = nullptr;
};

struct CtlServerOptions {
  net::CtlServerOptions server = {};
  CtlDrainWaitOptions wait = {};
};

class CtlServer {
 public:
  // `loop` and `control` must outlive it.
  CtlServer(net::EventLoop& loop, Control& control, net::UniqueFd listener, CtlHooks hooks = {},
            CtlServerOptions options = {});
  CtlServer(const CtlServer&) = delete;
  CtlServer& operator=(const CtlServer&) = delete;

  size_t sessions() const { return server_.sessions(); }
  // Sessions go on; new ones are another process's.
  void StopAccepting() { server_.StopAccepting(); }

 private:
  void OnRequest(const net::CtlValues& values, std::string_view line,
                 const std::shared_ptr<net::CtlServer::Answer>& answer);
  void OnReply(const CtlRequest& request, const CtlReply& reply,
               const std::shared_ptr<net::CtlServer::Answer>& answer);
  void Wait(const CtlRequest& request, const std::shared_ptr<net::CtlServer::Answer>& answer);

  net::EventLoop& loop_;
  Control& control_;
  const CtlHooks hooks_;
  const CtlServerOptions options_;
  std::list<std::unique_ptr<CtlDrainWait>> waits_;
  const std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);  // for answers that come later
  net::CtlServer server_;
};

}  // namespace lb
