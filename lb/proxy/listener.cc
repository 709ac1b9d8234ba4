#include "lb/proxy/listener.h"

#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "lb/proxy/proxy_worker.h"
#include "net/io/accept_failure.h"
#include "net/report/log.h"

namespace lb {
namespace {

// The shortest pause of a listener at its rate: more often would only turn the loop.
constexpr net::Duration kRatePause = std::chrono::milliseconds(1);

}  // namespace

Listener::Listener(ProxyWorker& worker, uint16_t id, uint32_t socket_id, net::UniqueFd socket)
    : worker_(worker),
      id_(id),
      socket_id_(socket_id),
      socket_(std::move(socket)),
      name_bytes_(net::PeerNameBytes(socket_.get())) {}

bool Listener::OneByOne() const {
  const AcceptBudget* budget = worker_.hooks_.budget;
  return (budget != nullptr && budget->warming()) || !worker_.ring().features().socket_options ||
         WaitsAtLimit();
}

bool Listener::WaitsAtLimit() const {
  const ListenerSettings& settings = *worker_.listener_settings_[id_];
  return settings.wait_at_limit && (settings.connections_max != 0 || settings.rate > 0);
}

bool Listener::AtLimit() const {
  const ListenerSettings& settings = *worker_.listener_settings_[id_];
  return WaitsAtLimit() && settings.connections_max != 0 &&
         settings.shared->active.load(std::memory_order_relaxed) >= settings.connections_max;
}

// Begins the connection that waits for a place, if there is one. False: not yet.
bool Listener::Unpark() {
  if (parked_ == net::kNoSlot) return true;
  const ListenerSettings& settings = *worker_.listener_settings_[id_];
  const bool place = WaitsAtLimit();
  std::atomic<uint32_t>& active = settings.shared->active;
  if (place && active.fetch_add(1, std::memory_order_relaxed) >= settings.connections_max &&
      settings.connections_max != 0) {
    active.fetch_sub(1, std::memory_order_relaxed);
    return false;
  }
  if (!worker_.TakePlace(stopped_)) {
    if (place) active.fetch_sub(1, std::memory_order_relaxed);
    return false;
  }
  const net::Slot slot = std::exchange(parked_, net::kNoSlot);
  const auto peer = net::Address::FromSockaddr(reinterpret_cast<sockaddr*>(&peer_), peer_size_);
  if (!worker_.OnAccepted(*this, slot, peer.value_or(net::Address()), place)) {
    worker_.GivePlace();
    worker_.ring().Close(slot);
    if (place) active.fetch_sub(1, std::memory_order_relaxed);
  }
  return true;
}

// False: the process has no place for it, and nothing was done.
bool Listener::Begin(net::Slot slot) {
  if (!worker_.TakePlace(stopped_)) return false;
  if (!worker_.OnAccepted(*this, slot, std::nullopt, false)) {
    worker_.GivePlace();
    worker_.ring().Close(slot);
  }
  return true;
}

// False: they wait on.
bool Listener::BeginHeld() {
  while (!held_.empty()) {
    if (worker_.Full() || !Begin(held_.front())) return false;
    held_.pop_front();
  }
  return true;
}

void Listener::PauseAtLimit() {
  WorkerStats::Add(worker_.stats_.accept_pauses);
  LOG_EVERY(std::chrono::seconds(10), net::LogLevel::kWarn, "lb",
            "at its limit; new connections wait in the listen queue",
            {{"listener", worker_.listener_settings_[id_]->name},
             {"remedy", "raise the listener's connections_max"}});
  RetryAfter(net::kAcceptPause);  // other workers' connections end, too
}

// Takes a token for the next one. Zero when there was one, or none is needed; else for how long
// there will be none.
net::Duration Listener::WaitsForRate() {
  const ListenerSettings& settings = *worker_.listener_settings_[id_];
  if (!WaitsAtLimit()) return {};
  const net::Time now = worker_.loop().now();
  if (settings.shared->rate.Take(now, kListenerRateBurst, 1) > 0) return {};
  LOG_EVERY(std::chrono::seconds(10), net::LogLevel::kWarn, "lb",
            "new connections come faster than its rate; they wait in the listen queue",
            {{"listener", settings.name}, {"rate", settings.rate}, {"remedy", "raise it"}});
  // Not for long: a reload may raise it.
  return std::clamp<net::Duration>(settings.shared->rate.Wait(now, kListenerRateBurst), kRatePause,
                                   net::kAcceptPause);
}

void Listener::OnSettings() {
  if (self_ && multishot_ && OneByOne()) worker_.ring().Cancel({this, 0});
}

void Listener::OnPlace() {
  if (waiting_ && !self_ && !stopped_ && WaitsAtLimit()) Arm();
}

void Listener::Arm() {
  DCHECK(!self_);
  if (stopped_) return;
  if (!BeginHeld() || worker_.Full()) {
    RetryAfter(net::kAcceptPause);
    return;
  }
  if (!Unpark() || AtLimit()) {
    PauseAtLimit();
    return;
  }
  const net::Duration too_fast = WaitsForRate();
  if (too_fast > net::Duration::zero()) {
    RetryAfter(too_fast);
    return;
  }
  AcceptBudget* budget = worker_.hooks_.budget;
  if (budget != nullptr && budget->warming()) {
    const AcceptBudget::Grant grant = budget->Take(worker_.loop().now(), 1);
    if (grant.accepts == 0) {
      RetryAfter(grant.next);
      return;
    }
  }
  self_ = shared_from_this();
  worker_.loop().Hold(net::EventLoop::Work::kAccept);
  multishot_ = !OneByOne();
  if (multishot_) {
    worker_.ring().AcceptMultishot(socket_.get(), {this, 0});
  } else {
    peer_size_ = sizeof peer_;
    worker_.ring().AcceptOnce(socket_.get(), reinterpret_cast<sockaddr*>(&peer_), &peer_size_,
                              {this, 0});
  }
}

void Listener::RetryAfter(net::Duration pause) {
  if (waiting_) return;
  waiting_ = true;
  worker_.loop().After(pause, [weak = weak_from_this()] {
    auto listener = weak.lock();
    if (!listener) return;
    listener->waiting_ = false;
    if (!listener->self_) listener->Arm();
  });
}

void Listener::PauseFull() {
  WorkerStats::Add(worker_.stats_.accept_pauses);
  LOG_EVERY(std::chrono::seconds(10), net::LogLevel::kWarn, "lb",
            "full; new connections wait in the listen queue",
            {{"listener", worker_.listener_settings_[id_]->name},
             {"connections", worker_.size()},
             {"remedy", "raise process.connections_max"}});
  if (self_) worker_.ring().Cancel({this, 0});
}

void Listener::Stop() {
  stopped_ = true;
  for (const net::Slot slot : std::exchange(held_, {})) Begin(slot);
  if (!Unpark()) worker_.ring().Close(std::exchange(parked_, net::kNoSlot));
  if (self_) worker_.ring().Cancel({this, 0});
}

void Listener::OnCompletion(unsigned, net::Completion completion) {
  std::shared_ptr<Listener> keep = self_;
  if (!completion.more()) {
    self_.reset();
    worker_.loop().Release(net::EventLoop::Work::kAccept);
  }
  bool pause = false;
  if (completion.result >= 0) {
    const auto slot = static_cast<net::Slot>(completion.result);
    if (multishot_) {
      // Another worker may take the last place in this moment.
      const bool waits = !stopped_ && (worker_.Full() || !held_.empty());
      if (waits || !Begin(slot)) held_.push_back(slot);
    } else {
      parked_ = slot;
      if (!Unpark() && stopped_) {
        worker_.ring().Close(std::exchange(parked_, net::kNoSlot));
      }
    }
    if (worker_.Full()) {
      PauseFull();
      pause = true;
    }
  } else if (completion.result != -ECANCELED) {
    // Connections that went before they were accepted are no fault of ours.
    if (completion.result != -ECONNABORTED && completion.result != -EAGAIN) {
      WorkerStats::Add(worker_.stats_.accept_errors);
      net::LogAcceptFailure("lb", worker_.listener_settings_[id_]->name, -completion.result);
      pause = true;
    }
  }
  if (stopped_ || self_) return;
  if (pause) {
    RetryAfter(net::kAcceptPause);
  } else {
    Arm();
  }
}

}  // namespace lb
