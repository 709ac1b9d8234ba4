#include "server/dist/link.h"

#include <sys/random.h>

#include <utility>

#include "net/base/byte_reader.h"
#include "net/base/check.h"
#include "net/report/log.h"
#include "server/dist/flags.h"

namespace server {
namespace {

constexpr std::array<uint8_t, kFrameLengthBytes> kTick = {};
// The packet header of the handshake: Erlang's own over TCP, ssl's over TLS.
constexpr size_t kPlainLengthBytes = 2;
constexpr size_t kTlsLengthBytes = 4;

uint32_t RandomChallenge() {
  uint32_t challenge = 0;
  CHECK(getrandom(&challenge, sizeof challenge, 0) == sizeof challenge);
  return challenge;
}

uint64_t NextSessionId() {
  static std::atomic<uint64_t> next{1};
  return next.fetch_add(1, std::memory_order_relaxed);
}

LinkHello OurHello(const DistOptions& options) {
  return {.wire = options.wire,
          .wire_oldest = options.wire_oldest,
          .features = options.features,
          .version = options.version};
}

LinkSocket::Options SocketOptions(const DistOptions& options) {
  return {.message_bytes_max = options.frame_bytes_max,
          .queue_bytes_max = options.link_queue_bytes_max};
}

}  // namespace

std::string_view ToString(LinkState state) {
  switch (state) {
    case LinkState::kConnecting:
      return "connecting";
    case LinkState::kHandshake:
      return "handshake";
    case LinkState::kHello:
      return "hello";
    case LinkState::kUp:
      return "up";
    case LinkState::kEnded:
      return "ended";
  }
  return "?";
}

Link::Link(LinkOwner& owner, net::EventLoop& loop)
    : owner_(owner), loop_(loop), began_(loop.now()) {
  session_.id = NextSessionId();
  session_.sink = this;
}

Link::~Link() {
  if (socket_) socket_->Abort();
}

std::shared_ptr<Link> Link::Accepted(LinkOwner& owner, net::EventLoop& loop, net::Slot slot,
                                     const net::Address& peer, net::TlsEnginePtr tls) {
  auto link = std::make_shared<Link>(owner, loop);
  link->session_.peer.address = peer;
  Link* self = link.get();
  link->handshake_ = std::make_unique<Handshake>(Handshake::Accept(
      link->HandshakeSelf(),
      [self](const HandshakePeer& named) { return self->owner_.Admit(*self, named); },
      [self](std::string_view host) { return self->owner_.GiveName(host); }));
  link->socket_ =
      LinkSocket::Accepted(loop, slot, std::move(tls), SocketOptions(owner.options()), self);
  return link;
}

std::shared_ptr<Link> Link::Dial(LinkOwner& owner, net::EventLoop& loop, std::string node,
                                 const net::Address& to, net::TlsEnginePtr tls) {
  auto link = std::make_shared<Link>(owner, loop);
  link->session_.peer.node = std::move(node);
  link->session_.peer.address = to;
  link->session_.peer.dialed = true;
  link->handshake_ =
      std::make_unique<Handshake>(Handshake::Dial(link->HandshakeSelf(), link->session_.peer.node));
  link->socket_ =
      LinkSocket::Connect(loop, to, std::move(tls), SocketOptions(owner.options()), link.get());
  return link;
}

Handshake::Self Link::HandshakeSelf() const {
  const DistOptions& options = owner_.options();
  return {.node = owner_.self().node,
          .cookie = options.cookie,
          .creation = owner_.self().creation,
          .flags = kDistFlagsOurs | (options.visible ? dist_flag::kPublished : 0),
          .challenge = RandomChallenge(),
          .mark = kLinkMark,
          .length_bytes = options.tls ? kTlsLengthBytes : kPlainLengthBytes};
}

void Link::OnOpen() {
  if (state_ != LinkState::kConnecting) return;
  state_ = LinkState::kHandshake;
  opened_ = true;
  if (!dialed()) return;
  TermBuffer out;
  handshake_->Start(&out);
  SendHandshake(out);
}

void Link::SendHandshake(const TermBuffer& bytes) {
  if (bytes.empty()) return;
  Put(bytes);
}

size_t Link::OnBytes(std::span<const uint8_t> bytes) {
  // The socket may bring bytes in the turn in which it opened.
  if (state_ == LinkState::kConnecting) OnOpen();
  if (ending_) return bytes.size();
  size_t taken = 0;
  if (state_ == LinkState::kHandshake) taken = OnHandshakeBytes(bytes);
  if (state_ == LinkState::kHello || state_ == LinkState::kUp) {
    taken += OnFrames(bytes.subspan(taken));
  }
  return taken;
}

// --- Handshake ----------------------------------------------------------------------------------

size_t Link::OnHandshakeBytes(std::span<const uint8_t> bytes) {
  TermBuffer out;
  const size_t taken = handshake_->Feed(bytes, &out);
  if (!handshake_->peer().node.empty()) session_.peer.node = handshake_->peer().node;
  SendHandshake(out);
  if (handshake_->state() != Handshake::State::kGoing) OnHandshakeEnd();
  return taken;
}

void Link::OnHandshakeEnd() {
  auto keep = shared_from_this();
  if (handshake_->state() == Handshake::State::kFailed) {
    std::string why(ToString(handshake_->error()));
    if (!handshake_->detail().empty()) why += ": " + handshake_->detail();
    return End(std::move(why));
  }
  const HandshakePeer& shaken = handshake_->peer();
  DistPeer& peer = session_.peer;
  peer.node = shaken.node;
  peer.creation = shaken.creation;
  peer.flags = shaken.flags;
  peer.hidden = (shaken.flags & dist_flag::kPublished) == 0;
  marked_ = shaken.marked;
  state_ = marked_ ? LinkState::kHello : LinkState::kUp;
  if (!owner_.OnShaken(*this)) return;
  socket_->ReadLarge();
  if (marked_) {
    SendLinkMessage(LinkHelloTerm(OurHello(owner_.options())));
  } else {
    owner_.OnUp(*this);
  }
}

void Link::SendLinkMessage(const Term& message) {
  TermBuffer out;
  {
    FrameWriter frame(&out, ControlOp::kRegSend, 3);
    PutPid(&out, owner_.self().node, {.id = 1, .serial = 0}, owner_.self().creation);
    PutAtom(&out, "");
    PutAtom(&out, kLinkMailbox);
    frame.Payload();
    PutRaw(&out, message.bytes());
  }
  Put(out);
}

void Link::OnLinkMessage(const TermView& message) {
  if (auto refusal = ReadLinkRefusal(message)) {
    owner_.Count(DistCounter::kIncompatible);
    return End("the peer refuses us: " + *refusal);
  }
  auto hello = ReadLinkHello(message);
  if (!hello || state_ != LinkState::kHello) return;
  const LinkHello ours = OurHello(owner_.options());
  auto features = JudgeHello(ours, *hello);
  if (!features) {
    owner_.Count(DistCounter::kIncompatible);
    SendLinkMessage(LinkRefusalTerm(features.error()));
    return End("incompatible: " + features.error());
  }
  session_.peer.ours = true;
  session_.peer.version = hello->version;
  session_.peer.features = *features;
  state_ = LinkState::kUp;
  owner_.OnUp(*this);
}

// --- Frames -------------------------------------------------------------------------------------

size_t Link::OnFrames(std::span<const uint8_t> bytes) {
  auto keep = shared_from_this();
  size_t taken = 0;
  uint64_t frames = 0;
  while (!ending_ && (state_ == LinkState::kHello || state_ == LinkState::kUp)) {
    std::span<const uint8_t> rest = bytes.subspan(taken);
    if (rest.size() < kFrameLengthBytes) break;
    const size_t size = net::ByteReader(rest).Number(kFrameLengthBytes);
    if (size > owner_.options().frame_bytes_max) {
      owner_.Count(DistCounter::kFrameTooLarge);
      EndNow("a frame of " + std::to_string(size) + " bytes");
      break;
    }
    if (rest.size() < kFrameLengthBytes + size) break;
    taken += kFrameLengthBytes + size;
    if (size == 0) continue;  // a tick; never answered at once, or two nodes would tick for ever
    ++frames;
    auto result = owner_.services().OnFrame(session_, rest.subspan(kFrameLengthBytes, size));
    if (!result && state_ != LinkState::kEnded) {
      owner_.Count(DistCounter::kMalformed);
      EndNow("a malformed message: " + std::string(ToString(result.error())));
    } else if (state_ == LinkState::kHello && !ending_) {
      owner_.Count(DistCounter::kMalformed);
      EndNow("something else than a hello came first");
    }
  }
  owner_.Count(DistCounter::kFramesIn, frames);
  owner_.Count(DistCounter::kBytesIn, taken);
  return taken;
}

void Link::Put(std::span<const uint8_t> frame) {
  const auto result = queue()->PutUrgent(
      frame.size(), [&](TermBuffer* out) { out->insert(out->end(), frame.begin(), frame.end()); });
  if (result == OutQueue::Result::kWake) owner_.FlushSoon(shared_from_this());
  if (result == OutQueue::Result::kFull) {
    // Not from within the call of whoever sends.
    loop_.Post([weak = weak_from_this()] {
      if (auto link = weak.lock()) link->EndNow("the peer reads too slowly");
    });
  }
}

void Link::OnSent() {
  if (queue()->ClearRefused()) owner_.OnRoom(*this);
}

void Link::Tick(net::Time now) {
  if (state_ != LinkState::kHello && state_ != LinkState::kUp) return;
  const net::Duration ticktime = owner_.options().net_ticktime;
  if (state_ == LinkState::kHello && now - began_ >= 2 * owner_.options().setup_time) {
    return EndNow("no hello came");
  }
  if (now - socket_->last_received() >= ticktime) {
    owner_.Count(DistCounter::kTickTimeout);
    return EndNow("net_tick_timeout: the peer was silent for " +
                  std::to_string(std::chrono::duration_cast<std::chrono::seconds>(
                                     now - socket_->last_received())
                                     .count()) +
                  " s");
  }
  if (socket_->sending()) {
    if (now - socket_->last_sent() < ticktime) return;
    owner_.Count(DistCounter::kTickTimeout);
    return EndNow("net_tick_timeout: the peer reads nothing");
  }
  if (now - socket_->last_sent() >= ticktime / kTicksPerTime) Put(kTick);
}

// --- End ----------------------------------------------------------------------------------------

void Link::End(std::string why) {
  if (state_ == LinkState::kEnded || ending_) return;
  ending_ = true;
  socket_->CloseWhenSent(std::move(why));
}

void Link::EndNow(std::string_view why) {
  if (state_ == LinkState::kEnded) return;
  auto keep = shared_from_this();
  socket_->Abort();
  Ended(why);
}

void Link::Abort() {
  state_ = LinkState::kEnded;
  socket_->Abort();
}

void Link::OnClosed(std::string_view why) { Ended(why); }

void Link::Ended(std::string_view why) {
  if (state_ == LinkState::kEnded) return;
  auto keep = shared_from_this();
  state_ = LinkState::kEnded;
  owner_.OnLinkEnd(*this, why);
}

}  // namespace server
