// What a DistNode tells and is told: peers, messages, results, counters.
#pragma once

#include <cstdint>
#include <expected>
#include <functional>
#include <span>
#include <string>
#include <string_view>

#include "net/base/address.h"
#include "server/dist/rpc.h"
#include "server/dist/term.h"

namespace server {

// Room for one record of TLS, sealed.
inline constexpr size_t kSealedRecordRoom = 17U << 10U;

struct DistError {
  std::string what;
  std::string remedy;
};

// A peer with which the handshake is done.
struct DistPeer {
  std::string node;
  uint32_t creation = 0;  // another one: the node was restarted
  uint64_t flags = 0;     // of the distribution
  net::Address address;
  bool hidden = true;
  bool dialed = false;  // by us
  // One of our own: the hello came and fits. Others (erl) have neither version nor features.
  bool ours = false;
  std::string version;
  uint64_t features = 0;  // those that both have
};

struct DistMessage {
  const DistPeer& from;
  std::string_view mailbox;
  // What Send() was given. From others than our own nodes, and from SendTerm(): empty.
  std::span<const uint8_t> bytes;
  TermView term;
};

enum class SendResult : uint8_t {
  kQueued,
  kNotConnected,  // no link (Send never dials), or its peer is not one of ours yet
  kFull,          // link_queue_bytes_max: OnWritable tells when there is room again
  kTooLarge,      // frame_bytes_max
};
std::string_view ToString(SendResult result);

enum class DistCounter : uint8_t {
  kAccepted,  // connections
  kDialed,
  kHandshakes,       // done, either side
  kHandshakeFailed,  // all reasons
  kWrongCookie,
  kNotAllowed,  // by the allow list, or a name that is none
  kHandshakeTimeout,
  kHandshakeShed,  // handshakes_max: the oldest one dropped
  kLinksRefused,   // links_max
  kIncompatible,   // our own kind, with another wire version
  kLinksLost,
  kTickTimeout,
  kFrameTooLarge,
  kMalformed,  // frames and terms
  kFramesIn,
  kFramesOut,
  kBytesIn,
  kBytesOut,
  kMessagesIn,       // delivered to a mailbox
  kMessagesUnknown,  // no such mailbox
  kQueueFull,
  kRpcIn,
  kRpcUndef,
  kRpcBusy,  // rpc_max
  kEpmdRegistered,
  kEpmdLost,
  kCount,
};
std::string_view ToString(DistCounter counter);

using MessageHandler = std::function<void(const DistMessage&)>;
using UpHandler = std::function<void(const DistPeer&)>;
using DownHandler = std::function<void(const DistPeer&, std::string_view why)>;
using WritableHandler = std::function<void(const std::string& node)>;
// Why there is no link. `absent`: the host answered, and nobody of that name is there: epmd knows
// no such node, or nobody listens at its port. Without it all that is known is that it did not come
// about: the node may live, behind a cut or a cookie.
struct ConnectError {
  std::string what;  // for people
  bool absent = false;
};
using ConnectDone = std::move_only_function<void(std::expected<void, ConnectError> result)>;
using CallDone = std::move_only_function<void(RpcResult result)>;

}  // namespace server
