#include "net/service/service_manager.h"

#include <systemd/sd-daemon.h>
#include <time.h>

#include <cstdint>

namespace net {
namespace {

constexpr Duration kStatusEvery = std::chrono::seconds(5);

}  // namespace

ServiceManager::ServiceManager(EventLoop& loop, std::function<std::string()> status, bool main)
    : loop_(loop), status_(std::move(status)), interval_(kStatusEvery), main_(main) {
  uint64_t usec = 0;
  if (sd_watchdog_enabled(0, &usec) > 0) {
    watchdog_ = true;
    // Twice within its time, as sd_watchdog_enabled(3) advises.
    interval_ = std::min<Duration>(kStatusEvery, std::chrono::microseconds(usec / 2));
  }
  Tick();
}

ServiceManager::~ServiceManager() { loop_.CancelTimer(timer_); }

void ServiceManager::Tick() {
  timer_ = loop_.After(interval_, [this] { Tick(); });
  if (!main_) return;
  sd_notifyf(0, "%sSTATUS=%s", watchdog_ ? "WATCHDOG=1\n" : "", status_().c_str());
}

void ServiceManager::Ready() {
  ready_ = true;
  if (main_) sd_notifyf(0, "READY=1\nSTATUS=%s", status_().c_str());
}

void ServiceManager::Reloading() {
  if (!main_) return;
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  const uint64_t usec =
      static_cast<uint64_t>(now.tv_sec) * 1'000'000U + static_cast<uint64_t>(now.tv_nsec) / 1000U;
  sd_notifyf(0, "RELOADING=1\nMONOTONIC_USEC=%lu", static_cast<unsigned long>(usec));
}

void ServiceManager::Stopping() {
  if (main_) sd_notify(0, "STOPPING=1");
}

void ServiceManager::HandOver(int pid) {
  if (main_) MainPid(pid);
  main_ = false;
}

void ServiceManager::BecomeMain() {
  if (main_) return;
  main_ = true;
  sd_notifyf(0, "%s%sSTATUS=%s", ready_ ? "READY=1\n" : "", watchdog_ ? "WATCHDOG=1\n" : "",
             status_().c_str());
}

void ServiceManager::MainPid(int pid) { sd_notifyf(0, "MAINPID=%d", pid); }

}  // namespace net
