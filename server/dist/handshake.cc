#include "server/dist/handshake.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>

#include <utility>

#include "net/base/byte_reader.h"
#include "net/base/byte_writer.h"
#include "net/base/check.h"
#include "net/base/text.h"
#include "server/dist/flags.h"
#include "server/dist/node_name.h"

namespace server {
namespace {

using net::AppendBytes;
using net::AppendNumber;
using net::ByteReader;
using net::BytesOf;
using net::Sized;
using net::TextOf;

// What stands behind a name; whatever else later versions may add there is let be.
bool IsMark(ByteReader in, std::string_view mark) {
  return !mark.empty() && TextOf(in.Take(mark.size())) == mark;
}

bool SameDigest(std::span<const uint8_t> a, const std::array<uint8_t, kDigestBytes>& b) {
  return a.size() == b.size() && CRYPTO_memcmp(a.data(), b.data(), b.size()) == 0;
}

std::string_view StatusOf(Admission admission) {
  switch (admission) {
    case Admission::kOk:
      return "ok";
    case Admission::kOkSimultaneous:
      return "ok_simultaneous";
    case Admission::kNok:
      return "nok";
    case Admission::kNotAllowed:
      return "not_allowed";
    case Admission::kAlive:
      return "alive";
  }
  return "not_allowed";
}

}  // namespace

std::array<uint8_t, kDigestBytes> CookieDigest(std::string_view cookie, uint32_t challenge) {
  const std::string text = std::string(cookie) + std::to_string(challenge);
  std::array<uint8_t, kDigestBytes> digest{};
  unsigned size = 0;
  CHECK(EVP_Digest(text.data(), text.size(), digest.data(), &size, EVP_md5(), nullptr) == 1);
  return digest;
}

std::string_view ToString(HandshakeError error) {
  switch (error) {
    case HandshakeError::kNone:
      return "none";
    case HandshakeError::kFrame:
      return "a malformed handshake";
    case HandshakeError::kOldVersion:
      return "a handshake of OTP 22 or older";
    case HandshakeError::kFlags:
      return "it lacks what OTP 25 and later ask for";
    case HandshakeError::kName:
      return "no name of a node";
    case HandshakeError::kNotAllowed:
      return "not allowed";
    case HandshakeError::kSimultaneous:
      return "both dialed, the other attempt goes on";
    case HandshakeError::kStillAlive:
      return "its link to us is alive";
    case HandshakeError::kWrongCookie:
      return "wrong cookie";
    case HandshakeError::kWrongNode:
      return "another node answers there";
    case HandshakeError::kRefused:
      return "refused";
  }
  return "?";
}

Handshake Handshake::Accept(const Self& self, Admit admit, GiveName give_name) {
  Handshake handshake(self, Wait::kName);
  handshake.admit_ = std::move(admit);
  handshake.give_name_ = std::move(give_name);
  return handshake;
}

Handshake Handshake::Dial(const Self& self, std::string_view expected_node) {
  Handshake handshake(self, Wait::kStatus);
  handshake.expected_node_ = expected_node;
  return handshake;
}

void Handshake::Start(TermBuffer* out) {
  Sized message(out, self_.length_bytes);
  out->push_back('N');
  AppendNumber(out, self_.flags, 8);
  AppendNumber(out, self_.creation, 4);
  {
    Sized name(out, 2);
    AppendBytes(out, BytesOf(self_.node));
  }
  AppendBytes(out, BytesOf(self_.mark));
}

size_t Handshake::Feed(std::span<const uint8_t> in, TermBuffer* out) {
  size_t consumed = 0;
  while (state_ == State::kGoing) {
    ByteReader reader(in.subspan(consumed));
    const size_t size = reader.Number(self_.length_bytes);
    if (!reader.ok()) return consumed;
    if (size == 0 || size > kHandshakeFrameMax) {
      Fail(HandshakeError::kFrame, "a length of " + std::to_string(size));
      return consumed;
    }
    std::span<const uint8_t> message = reader.Take(size);
    if (!reader.ok()) return consumed;
    consumed += self_.length_bytes + size;
    OnMessage(message, out);
  }
  return consumed;
}

void Handshake::Fail(HandshakeError error, std::string detail) {
  state_ = State::kFailed;
  error_ = error;
  detail_ = std::move(detail);
}

void Handshake::OnMessage(std::span<const uint8_t> message, TermBuffer* out) {
  switch (wait_) {
    case Wait::kName:
      return OnName(message, out);
    case Wait::kAlive:
      return OnAlive(message, out);
    case Wait::kReply:
      return OnReply(message, out);
    case Wait::kStatus:
      return OnStatus(message, out);
    case Wait::kChallenge:
      return OnChallenge(message, out);
    case Wait::kAck:
      return OnAck(message);
  }
}

void Handshake::SendStatus(std::string_view status, TermBuffer* out) {
  Sized message(out, self_.length_bytes);
  out->push_back('s');
  AppendBytes(out, BytesOf(status));
}

void Handshake::OnName(std::span<const uint8_t> message, TermBuffer* out) {
  ByteReader in(message);
  const size_t tag = in.Number(1);
  if (tag == 'n') {
    SendStatus(StatusOf(Admission::kNotAllowed), out);
    return Fail(HandshakeError::kOldVersion);
  }
  peer_.flags = ExpandDistFlags(in.Number(8));
  peer_.creation = static_cast<uint32_t>(in.Number(4));
  const std::string name(TextOf(in.Vector(2)));
  peer_.marked = in.ok() && IsMark(in, self_.mark);
  if (tag != 'N' || !in.ok()) return Fail(HandshakeError::kFrame, "instead of a name");
  const bool asks = (peer_.flags & dist_flag::kNameMe) != 0;
  peer_.node = name.substr(0, kNodeNameBytesMax);
  if (name.size() > kNodeNameBytesMax || !(asks ? IsNodeHost(name) : IsNodeName(name))) {
    SendStatus(StatusOf(Admission::kNotAllowed), out);
    return Fail(HandshakeError::kName);
  }
  if ((peer_.flags & kDistFlagsMandatory) != kDistFlagsMandatory) {
    SendStatus(StatusOf(Admission::kNotAllowed), out);
    return Fail(HandshakeError::kFlags);
  }
  if (asks) {
    HandshakePeer given = give_name_ ? give_name_(name) : HandshakePeer();
    peer_.node = given.node.empty() ? name : given.node;
    peer_.creation = given.creation;
    peer_.named_by_us = true;
  }
  const Admission admission =
      asks && peer_.node == name ? Admission::kNotAllowed : admit_(std::as_const(peer_));
  const bool lets_in = admission == Admission::kOk || admission == Admission::kOkSimultaneous;
  if (asks && lets_in) {
    SendNamed(out);
  } else {
    SendStatus(StatusOf(admission), out);
  }
  if (lets_in) return SendChallenge(out);
  if (admission == Admission::kAlive) {
    wait_ = Wait::kAlive;
  } else if (admission == Admission::kNok) {
    Fail(HandshakeError::kSimultaneous);
  } else {
    Fail(HandshakeError::kNotAllowed);
  }
}

void Handshake::SendNamed(TermBuffer* out) {
  Sized message(out, self_.length_bytes);
  AppendBytes(out, BytesOf("snamed:"));
  {
    Sized name(out, 2);
    AppendBytes(out, BytesOf(peer_.node));
  }
  AppendNumber(out, peer_.creation, 4);
}

void Handshake::SendChallenge(TermBuffer* out) {
  wait_ = Wait::kReply;
  Sized message(out, self_.length_bytes);
  out->push_back('N');
  // To one that came without a name Erlang shows that it gave one.
  AppendNumber(out, self_.flags | (peer_.named_by_us ? dist_flag::kNameMe : 0), 8);
  AppendNumber(out, self_.challenge, 4);
  AppendNumber(out, self_.creation, 4);
  {
    Sized name(out, 2);
    AppendBytes(out, BytesOf(self_.node));
  }
  AppendBytes(out, BytesOf(self_.mark));
}

void Handshake::OnAlive(std::span<const uint8_t> message, TermBuffer* out) {
  const std::string_view answer = TextOf(message);
  if (answer == "strue") return SendChallenge(out);
  if (answer == "sfalse") return Fail(HandshakeError::kStillAlive);
  Fail(HandshakeError::kFrame, "instead of true or false");
}

void Handshake::OnReply(std::span<const uint8_t> message, TermBuffer* out) {
  ByteReader in(message);
  const size_t tag = in.Number(1);
  const auto challenge = static_cast<uint32_t>(in.Number(4));
  std::span<const uint8_t> digest = in.Take(kDigestBytes);
  if (tag != 'r' || !in.done()) return Fail(HandshakeError::kFrame, "instead of a digest");
  if (!SameDigest(digest, CookieDigest(self_.cookie, self_.challenge))) {
    return Fail(HandshakeError::kWrongCookie);
  }
  state_ = State::kDone;
  Sized answer(out, self_.length_bytes);
  out->push_back('a');
  AppendBytes(out, CookieDigest(self_.cookie, challenge));
}

void Handshake::OnNamed(std::span<const uint8_t> message) {
  ByteReader in(message);
  const std::string name(TextOf(in.Vector(2)));
  given_creation_ = static_cast<uint32_t>(in.Number(4));
  if (!in.ok() || !IsNodeName(name)) return Fail(HandshakeError::kFrame, "no name was given");
  given_name_ = name;
}

void Handshake::OnStatus(std::span<const uint8_t> message, TermBuffer* out) {
  const std::string text(TextOf(message));
  wait_ = Wait::kChallenge;
  if (text == "sok" || text == "sok_simultaneous") return;
  if (text == "salive") return SendStatus("true", out);  // whatever link it means, ours is gone
  constexpr std::string_view kNamed = "snamed:";
  if (text.starts_with(kNamed) && (self_.flags & dist_flag::kNameMe) != 0) {
    return OnNamed(message.subspan(kNamed.size()));
  }
  if (text == "snok") return Fail(HandshakeError::kSimultaneous);
  if (text == "snot_allowed") return Fail(HandshakeError::kNotAllowed);
  Fail(HandshakeError::kRefused, net::Printable(text, 64));
}

void Handshake::OnChallenge(std::span<const uint8_t> message, TermBuffer* out) {
  ByteReader in(message);
  const size_t tag = in.Number(1);
  peer_.flags = ExpandDistFlags(in.Number(8));
  const auto challenge = static_cast<uint32_t>(in.Number(4));
  peer_.creation = static_cast<uint32_t>(in.Number(4));
  const std::string name(TextOf(in.Vector(2)));
  peer_.marked = in.ok() && IsMark(in, self_.mark);
  if (tag != 'N' || !in.ok()) return Fail(HandshakeError::kFrame, "instead of a challenge");
  if ((self_.flags & dist_flag::kNameMe) != 0 && given_name_.empty()) {
    return Fail(HandshakeError::kRefused, "no name was given");
  }
  peer_.node = name.substr(0, kNodeNameBytesMax);
  if (name != expected_node_) {
    return Fail(HandshakeError::kWrongNode, net::Printable(name, kNodeNameBytesMax));
  }
  if ((peer_.flags & kDistFlagsMandatory) != kDistFlagsMandatory) {
    return Fail(HandshakeError::kFlags);
  }
  wait_ = Wait::kAck;
  Sized answer(out, self_.length_bytes);
  out->push_back('r');
  AppendNumber(out, self_.challenge, 4);
  AppendBytes(out, CookieDigest(self_.cookie, challenge));
}

void Handshake::OnAck(std::span<const uint8_t> message) {
  ByteReader in(message);
  const size_t tag = in.Number(1);
  std::span<const uint8_t> digest = in.Take(kDigestBytes);
  if (tag != 'a' || !in.done()) return Fail(HandshakeError::kFrame, "instead of a digest");
  if (!SameDigest(digest, CookieDigest(self_.cookie, self_.challenge))) {
    return Fail(HandshakeError::kWrongCookie);
  }
  state_ = State::kDone;
}

}  // namespace server
