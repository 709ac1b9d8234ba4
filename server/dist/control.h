// Messages on a link: four bytes of length, then 'p', a control term and, for most, a payload term.
// A length of zero is a tick. Pure.
//
// The forms with an atom cache and with fragments are not negotiated; a peer that sends them is at
// fault.
//
// https://www.erlang.org/doc/apps/erts/erl_dist_protocol.html#protocol-between-connected-nodes
#pragma once

#include <array>
#include <cstdint>
#include <expected>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "net/base/byte_writer.h"
#include "server/dist/term.h"
#include "server/dist/term_writer.h"

namespace server {

enum class ControlOp : uint8_t {
  kLink = 1,
  kSend = 2,
  kExit = 3,
  kUnlink = 4,
  kRegSend = 6,
  kGroupLeader = 7,
  kExit2 = 8,
  kMonitor = 19,
  kDemonitor = 20,
  kMonitorExit = 21,
  kSendSender = 22,
  kPayloadExit = 24,
  kPayloadExit2 = 26,
  kPayloadMonitorExit = 28,
  kSpawnRequest = 29,
  kSpawnReply = 31,
  kAliasSend = 33,
  kUnlinkId = 35,
  kUnlinkIdAck = 36,
};

inline constexpr size_t kFrameLengthBytes = 4;
inline constexpr uint8_t kPassThrough = 112;
inline constexpr size_t kControlFieldsMax = 8;

struct ControlFrame {
  int64_t op = 0;  // of ControlOp, or one that we do not know
  size_t fields = 0;
  std::array<TermView, kControlFieldsMax> field;  // without the operation
  std::span<const uint8_t> payload;               // with its version byte, not checked; or empty
  std::span<const uint8_t> control;               // all that is in front of the payload

  bool Is(ControlOp which, size_t fields_min) const {
    return op == static_cast<int64_t>(which) && fields >= fields_min;
  }
};

// `body`: what the length counts; not a tick.
std::expected<ControlFrame, TermError> ReadControlFrame(std::span<const uint8_t> body);

// While it lives, what is appended is a frame: first the control term's elements, then the payload.
class FrameWriter {
 public:
  FrameWriter(TermBuffer* out, ControlOp op, uint32_t fields);
  // Starts the payload; one term must follow.
  void Payload();

 private:
  TermBuffer* out_;
  net::Sized length_;
};

// What we are called in what we write.
struct Identity {
  std::string node;
  uint32_t creation = 0;
};

// Whether it is a process of that node's life, and which.
std::optional<Pid> ReadPid(const TermView& term, const Identity& self);
std::optional<Reference> ReadReference(const TermView& term, const Identity& self);

}  // namespace server
