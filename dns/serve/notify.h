// NOTIFY to secondaries when a zone's serial changes (RFC 1996): over UDP, again after 1, 2, 4, … s
// until it is acknowledged, five times at most. One thread, the control loop's.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "dns/wire/name.h"
#include "net/base/address.h"
#include "net/io/event_loop.h"
#include "net/io/socket.h"

namespace dns {

constexpr int kNotifyTries = 5;

// The message, and whether a response acknowledges it. Pure.
Bytes MakeNotify(const Name& apex, uint16_t id);
bool AcknowledgesNotify(ByteView response, uint16_t id);

class Notifier {
 public:
  explicit Notifier(net::EventLoop& loop) : loop_(loop) {}
  ~Notifier();

  // One that is under way for the same zone and peer is replaced.
  void Send(const Name& apex, const net::Address& to);

  uint64_t sent() const { return sent_; }
  uint64_t acknowledged() const { return acknowledged_; }
  uint64_t given_up() const { return given_up_; }

 private:
  struct Pending {
    Name apex;
    net::Address to;
    uint16_t id = 0;
    int tries = 0;
    net::UniqueFd fd;
  };
  void Try(std::shared_ptr<Pending> pending);

  net::EventLoop& loop_;
  std::vector<std::shared_ptr<Pending>> pending_;
  uint64_t sent_ = 0;
  uint64_t acknowledged_ = 0;
  uint64_t given_up_ = 0;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace dns
