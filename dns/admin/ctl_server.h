// The operator's socket: a Unix socket (mode 0600), one JSON request a line, one JSON reply a line.
// A new process takes the server's sockets over on the same path.
//
// Requests are rare and must not disturb the loop, so a thread of its own reads and writes them;
// what they ask is done on the control loop.
//
//   requests and replies as net/ctl/ctl_table.h has them, by the table of ctl_commands.h; and
//   {"command":"takeover"} → {"ok":true,"sockets":[…],"state":"…"} with the descriptors
//   (SCM_RIGHTS); then {"command":"taken"} on the same connection, upon which this process ends.
#pragma once

#include <atomic>
#include <functional>
#include <string>
#include <thread>

#include "dns/control/control.h"
#include "net/io/socket.h"

namespace dns {

constexpr size_t kCtlLineBytesMax = 64 * 1024;
// Descriptors a message can carry (the kernel's SCM_MAX_FD is 253).
constexpr size_t kTakeOverSocketsMax = 250;

class CtlServer {
 public:
  // `handed_over`: called on the loop when a new process has taken the sockets.
  CtlServer(net::EventLoop& loop, Control& control, std::string path, net::Task handed_over);
  ~CtlServer();

  std::string Start();  // "" or why not
  void Stop();          // removes the socket's file, unless it was handed over

 private:
  void Run();
  void Serve(int fd);
  bool Answer(int fd, const std::string& line);
  std::string OnLoop(std::move_only_function<std::string()> task);
  void HandOver(int fd);

  net::EventLoop& loop_;
  Control& control_;
  std::string path_;
  net::Task handed_over_;
  net::UniqueFd listener_;
  std::atomic<bool> stop_{false};
  std::thread thread_;
};

// Does what a request asks; on the control loop. For CtlServer and tests.
std::string DoCommand(Control& control, const std::string& request);

// The new process's side. Connects to the old one, gets its sockets and state; Finish() then makes
// the old one end. "" as error when all went well.
class TakeOver {
 public:
  static std::expected<TakeOver, std::string> Begin(const std::string& path);
  std::string Finish();

  InheritedSockets sockets;
  std::string state;  // for Control::Restore()

 private:
  net::UniqueFd fd_;
};

}  // namespace dns
