// The UDP replies of one turn, from where they are written to the kernel.
//
// Replies to one client that stand behind each other, all of one size but for a shorter last one,
// are one message that the kernel cuts into datagrams (UDP_SEGMENT): the way through its stack is
// nine tenths of what a query costs, and they go it once. Forwarders that ask over few ports
// (dnsdist, load generators) have such runs; resolvers, which take another port for each query,
// have none, and theirs are sent as ever, by one sendmmsg.
//
// One thread. Nothing is allocated after the construction.
#pragma once

#include <sys/socket.h>

#include <array>
#include <cstdint>
#include <memory>
#include <span>

#include "dns/answer/responder.h"
#include "dns/serve/udp.h"

namespace dns {

class ReplyBatch {
 public:
  // The control messages of a query, and one of ours.
  static constexpr size_t kQueryControlBytes = 64;
  // Datagrams of a message: kernels before 6.9 take no more.
  static constexpr unsigned kRunMax = 64;
  // Turns without runs after the kernel refused one: the interface cannot do them.
  static constexpr unsigned kPauseTurns = 1024;

  ReplyBatch();

  // Where the next reply is to be written.
  std::span<uint8_t, kUdpBytesMax> Room() {
    return std::span<uint8_t, kUdpBytesMax>(bytes_.get() + used_, kUdpBytesMax);
  }
  // What was written to Room() goes to who sent `query`, from where it was asked. At most kUdpBatch
  // a turn. The query's name and control messages stay as they are until Send().
  void Add(const msghdr& query, size_t size);
  // Sends all, and begins the next turn. How many replies could not be sent: no route, a full
  // queue; they are left out.
  unsigned Send(int fd);

  size_t messages() const { return messages_; }  // so far in this turn

 private:
  struct Run {
    size_t segment;  // bytes of each but the last
    unsigned count;
    bool closed;  // its last one is shorter
  };

  bool Extends(const msghdr& query, size_t size) const;
  void Extend(size_t size);
  unsigned SendOneByOne(int fd, size_t message);

  std::unique_ptr<uint8_t[]> bytes_;
  size_t used_ = 0;
  size_t messages_ = 0;
  unsigned pause_ = 0;
  std::array<mmsghdr, kUdpBatch> out_{};
  std::array<iovec, kUdpBatch> parts_{};
  std::array<Run, kUdpBatch> runs_{};
  static constexpr size_t kControlBytes = kQueryControlBytes + CMSG_SPACE(sizeof(uint16_t));
  alignas(cmsghdr) std::array<std::array<uint8_t, kControlBytes>, kUdpBatch> control_{};
};

}  // namespace dns
