// A listening socket of one worker, and the accept operation on it.
//
// It accepts many connections with one operation where the kernel can name an accepted socket's
// peer afterwards, and one by one where it cannot, while the balancer itself warms up, and where
// clients are to wait in the listen queue at the listener's limits (wait_at_limit): then one that
// was accepted while another worker took the last place waits here for the next, and so do those
// that one operation brought after another worker took the process's last place. When no
// descriptor, slot or pair is free it pauses: connections wait in the listen queue, nothing spins,
// and a timer tries again.
#pragma once

#include <netinet/in.h>

#include <deque>
#include <memory>

#include "net/base/address.h"
#include "net/io/event_loop.h"
#include "net/io/socket.h"

namespace lb {

class ProxyWorker;

class Listener final : public net::Target, public std::enable_shared_from_this<Listener> {
 public:
  Listener(ProxyWorker& worker, uint16_t id, uint32_t socket_id, net::UniqueFd socket);

  uint16_t id() const { return id_; }
  uint32_t socket_id() const { return socket_id_; }
  // Of an accepted socket's peer; the kernel wants it exact. 0 on a Unix socket.
  int32_t name_bytes() const { return name_bytes_; }
  void Start() { Arm(); }
  // A place of its listener may be free.
  void OnPlace();
  // What holds for its listener has changed.
  void OnSettings();
  // No more connections from here. The object lives until its operation has come back.
  void Stop();

 private:
  void Arm();
  void RetryAfter(net::Duration pause);
  bool WaitsAtLimit() const;
  bool AtLimit() const;
  net::Duration WaitsForRate();
  bool Unpark();
  bool Begin(net::Slot slot);
  bool BeginHeld();
  void PauseAtLimit();
  void PauseFull();
  void OnCompletion(unsigned op, net::Completion completion) override;
  bool OneByOne() const;

  ProxyWorker& worker_;
  const uint16_t id_;
  const uint32_t socket_id_;
  net::UniqueFd socket_;
  const int32_t name_bytes_;
  bool stopped_ = false;
  bool multishot_ = false;
  bool waiting_ = false;             // for RetryAfter
  net::Slot parked_ = net::kNoSlot;  // accepted one by one, and not begun
  std::deque<net::Slot> held_;       // accepted with others while all was full, and not begun
  std::shared_ptr<Listener> self_;   // while the operation is in flight
  sockaddr_in6 peer_{};              // of an accept one by one
  socklen_t peer_size_ = 0;
};

}  // namespace lb
