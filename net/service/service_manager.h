// What systemd is told of a Type=notify service: ready, reloading, stopping, a status line, and
// that the event loop still turns (watchdog). Without NOTIFY_SOCKET in the environment nothing
// happens.
#pragma once

#include <functional>
#include <string>

#include "net/io/event_loop.h"

namespace net {

class ServiceManager {
 public:
  // `status` is asked for a line each time the watchdog is fed (or every few seconds without one).
  ServiceManager(EventLoop& loop, std::function<std::string()> status);
  ~ServiceManager();

  void Ready();
  void Reloading();  // followed by Ready()
  void Stopping();
  void MainPid(int pid);  // another process goes on as the service

 private:
  void Tick();

  EventLoop& loop_;
  std::function<std::string()> status_;
  Duration interval_;
  bool watchdog_ = false;
  EventLoop::TimerId timer_{};
};

}  // namespace net
