// The port on which peers connect: the next free one of inet_dist_listen_min..max, and the
// accepting with the caller's address, which the log needs.
//
// One thread, the loop's.
#pragma once

#include <expected>
#include <functional>
#include <memory>
#include <string>

#include "net/base/address.h"
#include "net/io/event_loop.h"
#include "net/io/socket.h"
#include "server/dist/dist_options.h"
#include "server/dist/dist_types.h"

namespace server {

struct DistSocket {
  net::UniqueFd fd;
  uint16_t port = 0;
};

// An error says which range is full, and what to do.
std::expected<DistSocket, DistError> ListenInRange(const DistOptions& options);

class DistListener {
 public:
  using Accepted = std::function<void(net::Slot slot, const net::Address& peer)>;
  DistListener(net::EventLoop& loop, net::UniqueFd fd, Accepted accepted);
  ~DistListener();

 private:
  class State;
  std::shared_ptr<State> state_;
};

}  // namespace server
