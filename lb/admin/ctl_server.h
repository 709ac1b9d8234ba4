// The control socket: operators' orders and questions over a Unix socket, one JSON object a line
// (ctl_commands.h). Who may connect is a matter of the socket's file mode, which is 0600.
//
// Every order is logged with the user and process that gave it, where the kernel tells them.
// Bounded: sessions, bytes of a request, the time that a session may rest or leave an answer
// unread.
//
// Control thread only.
#pragma once

#include <cstdint>
#include <expected>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "lb/admin/ctl_commands.h"
#include "lb/control/control.h"
#include "net/io/event_loop.h"
#include "net/io/socket.h"

namespace lb {

struct CtlHooks {
  // Around Control::Reload(), where the service manager has to hear of it; null: Reload() itself.
  std::function<std::expected<std::string, std::vector<net::ConfigError>>()> reload = nullptr;
  // Hands over to a new process and answers when that serves or has failed; null: refused.
  using Answer = std::move_only_function<void(Done)>;
  std::function<void(Answer)> upgrade = nullptr;
  // Every request that was carried out, as it came: the old process after an upgrade may have
  // connections that it is about, too.
  std::function<void(std::string_view line)> carried_out = nullptr;
};

struct CtlServerOptions {
  uint32_t sessions_max = 32;
  net::Duration idle_timeout = std::chrono::minutes(5);
  net::Duration wait_look = std::chrono::milliseconds(100);  // at a node being drained
  net::Duration wait_report = std::chrono::seconds(1);
  // After the deadline, for the last connections to close.
  net::Duration wait_grace = std::chrono::seconds(2);
};

class CtlServer {
 public:
  // `loop` and `control` must outlive it.
  CtlServer(net::EventLoop& loop, Control& control, net::UniqueFd listener, CtlHooks hooks = {},
            CtlServerOptions options = {});
  ~CtlServer();
  CtlServer(const CtlServer&) = delete;
  CtlServer& operator=(const CtlServer&) = delete;

  size_t sessions() const;
  // Sessions go on; new ones are another process's.
  void StopAccepting();

 private:
  class Session;
  class PeerLookup;
  struct Core;
  std::shared_ptr<Core> core_;
};

}  // namespace lb
