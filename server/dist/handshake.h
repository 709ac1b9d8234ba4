// The distribution's handshake, version 6, either side: bytes in, bytes out.
//
//   accepting                          dialing
//                    <- N name         Start()
//   s status  ->                       ok, ok_simultaneous, nok, not_allowed, alive, named:
//                    <- s true/false   after alive only
//   N challenge ->
//                    <- r digest       which shows that the dialer has the cookie
//   a digest    ->                     which shows that we have it
//
// Pure: whom to let in is the Admit function's business, the challenge is given, time is the
// caller's (one deadline for the whole). One object a connection; it ends in kDone or kFailed.
//
// https://www.erlang.org/doc/apps/erts/erl_dist_protocol.html#distribution-handshake
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>

#include "server/dist/term_writer.h"

namespace server {

inline constexpr size_t kHandshakeFrameMax = 2048;
inline constexpr size_t kDigestBytes = 16;

// MD5 of the cookie and the challenge in decimal digits.
std::array<uint8_t, kDigestBytes> CookieDigest(std::string_view cookie, uint32_t challenge);

// Whom the handshake is with.
struct HandshakePeer {
  std::string node;
  uint64_t flags = 0;  // expanded
  uint32_t creation = 0;
  bool named_by_us = false;  // it came without a name (NAME_ME)
  bool marked = false;       // Self::mark is behind its name
};

// What becomes of a peer that has told its name and not shown the cookie yet.
enum class Admission : uint8_t {
  kOk,
  kOkSimultaneous,  // we dial it too, and its attempt wins
  kNok,             // we dial it too, and ours wins
  kNotAllowed,
  kAlive,  // there is a link to it: it says whether that one is dead
};

enum class HandshakeError : uint8_t {
  kNone,
  kFrame,         // a message too long or malformed
  kOldVersion,    // the 'n' form, of OTP 22 and older
  kFlags,         // something mandatory is missing
  kName,          // no name of a node
  kNotAllowed,    // by us, or by the peer
  kSimultaneous,  // nok: the other attempt goes on
  kStillAlive,    // the peer says that its old link lives
  kWrongCookie,
  kWrongNode,  // another one answers at this address
  kRefused,    // a status that we do not know
};
std::string_view ToString(HandshakeError error);

class Handshake {
 public:
  enum class State : uint8_t { kGoing, kDone, kFailed };
  using Admit = std::function<Admission(const HandshakePeer& peer)>;
  // The name and creation for a peer that asked for them; an empty name refuses.
  using GiveName = std::function<HandshakePeer(std::string_view host)>;

  struct Self {
    std::string_view node;  // of us; for a dialer that asks for a name: its host
    std::string_view cookie;
    uint32_t creation = 0;
    uint64_t flags = 0;
    uint32_t challenge = 0;  // random, new for each handshake
    // Goes behind our name, where Erlang reads nothing; empty: none.
    std::string_view mark = {};
    // 2, and 4 where TLS is between.
    size_t length_bytes = 2;
  };

  // The texts must outlive it.
  static Handshake Accept(const Self& self, Admit admit, GiveName give_name);
  // With kNameMe in the flags the answer brings our name: given_name().
  static Handshake Dial(const Self& self, std::string_view expected_node);

  // The dialer's first message.
  void Start(TermBuffer* out);
  // Takes whole messages off the front, appends answers, and returns how many bytes it took. What
  // follows the last message is the link's.
  size_t Feed(std::span<const uint8_t> in, TermBuffer* out);

  State state() const { return state_; }
  HandshakeError error() const { return error_; }
  const HandshakePeer& peer() const { return peer_; }
  // What the peer's status was, or what was wrong, for the log.
  const std::string& detail() const { return detail_; }
  // Where we asked for a name.
  const std::string& given_name() const { return given_name_; }
  uint32_t given_creation() const { return given_creation_; }

 private:
  enum class Wait : uint8_t { kName, kAlive, kReply, kStatus, kChallenge, kAck };

  Handshake(const Self& self, Wait wait) : self_(self), wait_(wait) {}
  void OnMessage(std::span<const uint8_t> message, TermBuffer* out);
  void OnName(std::span<const uint8_t> message, TermBuffer* out);
  void OnAlive(std::span<const uint8_t> message, TermBuffer* out);
  void OnReply(std::span<const uint8_t> message, TermBuffer* out);
  void OnStatus(std::span<const uint8_t> message, TermBuffer* out);
  void OnNamed(std::span<const uint8_t> message);
  void OnChallenge(std::span<const uint8_t> message, TermBuffer* out);
  void OnAck(std::span<const uint8_t> message);
  void SendStatus(std::string_view status, TermBuffer* out);
  void SendNamed(TermBuffer* out);
  void SendChallenge(TermBuffer* out);
  void Fail(HandshakeError error, std::string detail = {});

  Self self_;
  Wait wait_;
  State state_ = State::kGoing;
  HandshakeError error_ = HandshakeError::kNone;
  Admit admit_;
  GiveName give_name_;
  std::string expected_node_;
  HandshakePeer peer_;
  std::string detail_;
  std::string given_name_;
  uint32_t given_creation_ = 0;
};

}  // namespace server
