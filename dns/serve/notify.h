// NOTIFY to secondaries when a zone's serial changes (RFC 1996): over UDP, again after 1, 2, 4, … s
// until it is acknowledged, five times at most. One thread, the control loop's.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "dns/tsig/tsig.h"
#include "dns/wire/name.h"
#include "net/base/address.h"
#include "net/io/event_loop.h"
#include "net/io/socket.h"

namespace dns {

constexpr int kNotifyTries = 5;
// So often an acknowledgement is looked for. A process that ends before it has seen one tells the
// secondary again when it is back.
constexpr net::Duration kNotifyLook = std::chrono::milliseconds(20);

// The message, and whether a response acknowledges it. Pure.
Bytes MakeNotify(const Name& apex, uint16_t id);
bool AcknowledgesNotify(ByteView response, uint16_t id);

class Notifier {
 public:
  // `done`: all that were told of the zone have acknowledged.
  Notifier(net::EventLoop& loop, std::function<void(const Name& apex)> done)
      : loop_(loop), done_(std::move(done)) {}
  ~Notifier();

  // One that is under way for the same zone and peer is replaced. `from`: the address that it
  // leaves from, which secondaries judge by. `signer`: of the secondary's key; then its
  // acknowledgement is signed, too.
  void Send(const Name& apex, const net::Address& to, const std::optional<net::Address>& from,
            std::optional<TsigSigner> signer);

  uint64_t sent() const { return sent_; }
  uint64_t acknowledged() const { return acknowledged_; }
  uint64_t given_up() const { return given_up_; }

 private:
  struct Pending {
    Name apex;
    net::Address to;
    uint16_t id = 0;
    int tries = 0;
    net::Time again_at{};
    std::optional<TsigSigner> signer;
    std::optional<TsigVerifier> verifier;  // of what was sent last
    net::UniqueFd fd;
  };
  void Try(std::shared_ptr<Pending> pending);
  void Await(std::shared_ptr<Pending> pending);
  bool IsAcknowledged(Pending& pending) const;

  net::EventLoop& loop_;
  std::function<void(const Name&)> done_;
  std::vector<std::shared_ptr<Pending>> pending_;
  uint64_t sent_ = 0;
  uint64_t acknowledged_ = 0;
  uint64_t given_up_ = 0;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace dns
