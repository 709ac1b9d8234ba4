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
  // A process that takes over from another is not `main` yet and says nothing until it is: a
  // service has one voice, and systemd hears that of its main process.
  ServiceManager(EventLoop& loop, std::function<std::string()> status, bool main = true);
  ~ServiceManager();

  void Ready();
  void Reloading();  // followed by Ready()
  void Stopping();
  // Another process goes on as the service; from here on this one is silent.
  void HandOver(int pid);
  // This process was told to be the service's main one: says what there is to say, and feeds the
  // watchdog at once, since its time runs on from the old process's last word.
  void BecomeMain();
  void MainPid(int pid);  // names the main process, and goes on speaking

 private:
  void Tick();

  EventLoop& loop_;
  std::function<std::string()> status_;
  Duration interval_;
  bool watchdog_ = false;
  bool main_;
  bool ready_ = false;
  EventLoop::TimerId timer_{};
};

}  // namespace net
