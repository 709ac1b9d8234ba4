// The operator's socket: a Unix socket (mode 0600), one JSON request a line, one JSON reply a line.
// A new process that takes over gets this socket, too.
//
// Requests are rare and must not disturb the loop, so a thread of its own reads and writes them;
// what they ask is done on the control loop.
//
//   requests and replies as net/ctl/ctl_table.h has them, by the table of ctl_commands.h
#pragma once

#include <atomic>
#include <functional>
#include <future>
#include <string>
#include <thread>

#include "dns/control/control.h"
#include "net/io/socket.h"

namespace dns {

constexpr size_t kCtlLineBytesMax = 64 * 1024;
// Lets a new process take over; `answer` comes once, when it serves, or says why it does not.
using UpgradeAnswer = std::function<void(const std::string& error)>;
using UpgradeOrder = std::function<void(const std::string& binary, UpgradeAnswer answer)>;

class CtlServer {
 public:
  // `upgrade` is called on the loop.
  CtlServer(net::EventLoop& loop, Control& control, net::UniqueFd listener, UpgradeOrder upgrade);
  ~CtlServer();

  void Start();
  void Leave();  // accepts no more: the process that took over does
  void Stop();   // the socket's file is its owner's to remove

 private:
  void Run();
  void Serve(int fd);
  bool Answer(int fd, const std::string& line);
  std::string Wait(std::future<std::string> result);

  net::EventLoop& loop_;
  Control& control_;
  UpgradeOrder upgrade_;
  net::UniqueFd listener_;
  std::atomic<bool> stop_{false};
  std::atomic<bool> leaving_{false};
  std::thread thread_;
};

// Does what a request asks; on the control loop. For CtlServer and tests.
std::string DoCommand(Control& control, const std::string& request);
// The same for one that another node passes on: of those commands alone that may be meant for all.
std::string DoFleetOrder(Control& control, const std::string& request);

}  // namespace dns
