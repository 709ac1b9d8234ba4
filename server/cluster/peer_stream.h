// One end of a stream of bytes to another node of our side: in order, whole, bounded, over messages
// of the cluster that a link which breaks may lose.
//
// Both ends keep one *relation*: it begins when both have said Hello, and ends for both when either
// ends it; what was under way is lost then, and both know it. A link that breaks and comes back
// ends nothing: what was not acknowledged is sent again.
//
//   u8 version  u64 relation of the sender  u64 of the receiver, as the sender knows it (0: not)
//   u64 number of this chunk (0: none)  u64 number of the next that is expected  bytes
//
// Relations are numbered by the clock, so that of a node's lives and of its relations the later has
// the higher number.
//
// Pure. Bounded by Options: above `waiting_max` Put() refuses, and its owner ends the relation: who
// is so slow is as good as down. One thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <span>
#include <vector>

#include "net/base/clock.h"

namespace server {

class PeerStream {
 public:
  struct Options {
    size_t chunk_bytes = size_t{256} << 10U;
    size_t window_bytes = size_t{2} << 20U;  // sent and not acknowledged
    size_t waiting_max = size_t{64} << 20U;  // of all that is not acknowledged
    size_t ack_bytes = size_t{256} << 10U;   // received: then an acknowledgement does not wait
    net::Duration resend = std::chrono::milliseconds(700);  // without one
    net::Duration greet = std::chrono::milliseconds(300);   // between two Hellos
  };
  // False: not taken; it is tried again later.
  using Send = std::function<bool(std::span<const uint8_t> message)>;

  PeerStream(const Options& options, uint64_t relation) : options_(options), relation_(relation) {}

  // --- Out.
  bool Put(std::span<const uint8_t> bytes);
  // What may go now. At the end of a turn.
  void Pump(net::Time now, const Send& send);
  // Once in 100 ms or so: Hellos, acknowledgements, what is sent again.
  void Tick(net::Time now, const Send& send);
  // A new link: what the old one had is sent again at once.
  void Relinked() { SendAgain(); }

  // --- In.
  enum class Event : uint8_t {
    kNone,
    kEnded,  // the other began another relation, or cannot be understood: this one is over
  };
  // What came in order is appended to `in`.
  Event OnMessage(std::span<const uint8_t> message, std::vector<uint8_t>& in, net::Time now);

  uint64_t relation() const { return relation_; }
  bool begun() const { return theirs_ != 0; }
  size_t waiting_bytes() const { return bytes_; }
  uint64_t resent() const { return resent_; }

 private:
  std::vector<uint8_t> Message(uint64_t number, std::span<const uint8_t> bytes) const;
  bool SendAck(const Send& send);
  void SendAgain() {
    next_ = 0;
    in_flight_ = 0;
  }

  const Options options_;
  const uint64_t relation_;
  uint64_t theirs_ = 0;  // 0: not known yet

  std::deque<std::vector<uint8_t>> chunks_;  // not acknowledged, and not sent
  uint64_t first_ = 1;                       // the number of the first of them
  size_t next_ = 0;                          // of them, to be sent
  size_t in_flight_ = 0;                     // bytes of those before it
  size_t bytes_ = 0;                         // in them
  size_t sent_once_ = 0;                     // of them, whether or not they came
  net::Time progress_{};
  net::Time greeted_{};
  uint64_t resent_ = 0;

  uint64_t expected_ = 1;
  size_t unacknowledged_ = 0;  // bytes that came since we said so
  bool ack_due_ = false;
};

}  // namespace server
