// How a connection ended: what happened, whose doing it was, in which part of its life, and the
// errno that began it. A log line and a counter's labels come from here, and nothing else names an
// end, so that every end has its counter.
//
// Our own lack (memory, sockets, ports, places) is told apart from what the peer did: an operator
// mends the one and can only watch the other.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace net {

enum class EndReason : uint8_t {
  kNone,
  // --- The peer's doing.
  kPeerClosed,        // it ended first, in good order
  kPeerTruncated,     // the same, but its TLS did not say good-bye (RFC 8446 section 6.1)
  kPeerReset,         // its socket failed; the errno says how
  kPeerTlsFailed,     // no handshake came about
  kPeerTlsError,      // after the handshake: a record that was not genuine, or an alert
  kPeerSlow,          // did not read: send_queue_bytes_max
  kHandshakeTimeout,  // said too little in handshake_timeout
  kLingerTimeout,     // did not take our last words, or end its side, within linger
  kConnectFailed,     // it refused, or there is no way to it
  kConnectTimeout,
  // --- Ours.
  kClosed,   // we ended first, in good order
  kIdle,     // the host's time limit
  kRefused,  // a limit or a rule of the host
  kShut,     // by an operator
  kDrained,  // the deadline of a drain, or of the process's end
  // --- Our lack.
  kNoResources,     // no memory, slot, port or descriptor; the errno says which where there is one
  kHandshakesFull,  // too many wait for theirs: handshakes_waiting_max
};
inline constexpr size_t kEndReasons = static_cast<size_t>(EndReason::kHandshakesFull) + 1;

enum class EndBy : uint8_t { kPeer, kUs, kLack };

// The part of its life in which it ended.
enum class EndWhen : uint8_t {
  kConnecting,
  kHandshake,
  kOpen,
  kEnding,  // one side had said its last word
};
inline constexpr size_t kEndWhens = static_cast<size_t>(EndWhen::kEnding) + 1;

// "peer_closed": a value of the label "reason".
std::string_view EndReasonName(EndReason reason);
// "the peer closed the connection": for a log line.
std::string_view EndReasonText(EndReason reason);
EndBy EndedBy(EndReason reason);
std::string_view EndByName(EndBy by);        // "peer", "us", "lack"
std::string_view EndWhenName(EndWhen when);  // "connecting", ...

struct Ended {
  EndReason reason = EndReason::kNone;
  EndWhen when = EndWhen::kConnecting;
  int error = 0;  // an errno; 0 for none
  // Bytes that were queued and that the kernel did not take: the last of what was sent. With TLS a
  // record counts until it is out whole.
  size_t unsent = 0;

  // "the peer's socket failed while open (ECONNRESET)".
  std::string Text() const;
};

}  // namespace net
