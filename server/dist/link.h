// One connection to a peer, from its first byte to its last: handshake, hello where the peer is one
// of ours, frames, ticks.
//
// One thread, the loop's. Owned by the LinkTable through a shared_ptr. Ends in
// LinkOwner::OnLinkEnd, once, except after Abort().
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "server/dist/dist_options.h"
#include "server/dist/dist_types.h"
#include "server/dist/handshake.h"
#include "server/dist/link_hello.h"
#include "server/dist/link_socket.h"
#include "server/dist/services.h"

namespace server {

class Link;

class LinkOwner {
 public:
  virtual const DistOptions& options() const = 0;
  virtual const Identity& self() const = 0;
  virtual Services& services() = 0;
  virtual void Count(DistCounter counter, uint64_t by = 1) = 0;
  virtual Admission Admit(Link& link, const HandshakePeer& peer) = 0;
  virtual HandshakePeer GiveName(std::string_view host) = 0;
  // The peer has shown the cookie. False: it is not wanted after all.
  virtual bool OnShaken(Link& link) = 0;
  // Messages may go both ways.
  virtual void OnUp(Link& link) = 0;
  virtual void OnRoom(Link& link) = 0;
  // Something was queued on the loop's thread: flush at the end of the turn.
  virtual void FlushSoon(const std::shared_ptr<Link>& link) = 0;
  virtual void OnLinkEnd(Link& link, std::string_view why) = 0;

 protected:
  ~LinkOwner() = default;
};

// Ticks in a net_ticktime.
inline constexpr int kTicksPerTime = 4;

enum class LinkState : uint8_t { kConnecting, kHandshake, kHello, kUp, kEnded };
std::string_view ToString(LinkState state);

class Link final : public std::enable_shared_from_this<Link>,
                   private LinkSocketHandler,
                   private PeerSession::Sink {
 public:
  static std::shared_ptr<Link> Accepted(LinkOwner& owner, net::EventLoop& loop, net::Slot slot,
                                        const net::Address& peer, net::TlsEnginePtr tls);
  static std::shared_ptr<Link> Dial(LinkOwner& owner, net::EventLoop& loop, std::string node,
                                    const net::Address& to, net::TlsEnginePtr tls);
  Link(LinkOwner& owner, net::EventLoop& loop);
  ~Link();

  LinkState state() const { return state_; }
  bool dialed() const { return session_.peer.dialed; }
  const DistPeer& peer() const { return session_.peer; }
  PeerSession& session() { return session_; }
  const std::shared_ptr<OutQueue>& queue() const { return socket_->queue(); }
  HandshakeError handshake_error() const { return handshake_->error(); }
  const std::string& handshake_detail() const { return handshake_->detail(); }
  net::Time began() const { return began_; }
  // The connection itself came about.
  bool opened() const { return opened_; }
  // The host answered, and nobody listens at that port.
  bool refused() const { return socket_->refused(); }

  void Flush() { socket_->Flush(); }
  // Ends it with what was queued sent, or at once; OnLinkEnd says `why`.
  void End(std::string why);
  void EndNow(std::string_view why);
  // OnLinkEnd is not called.
  void Abort();
  // Four times in a net_ticktime: sends a tick where nothing else went out, and ends a link whose
  // peer was silent, or does not read.
  void Tick(net::Time now);
  // A term for the link's own mailbox.
  void OnLinkMessage(const TermView& message);

 private:
  void OnOpen() override;
  size_t OnBytes(std::span<const uint8_t> bytes) override;
  void OnSent() override;
  void OnClosed(std::string_view why) override;
  void Put(std::span<const uint8_t> frame) override;  // Sink

  Handshake::Self HandshakeSelf() const;
  void SendHandshake(const TermBuffer& bytes);
  size_t OnHandshakeBytes(std::span<const uint8_t> bytes);
  void OnHandshakeEnd();
  size_t OnFrames(std::span<const uint8_t> bytes);
  void SendLinkMessage(const Term& message);
  void Ended(std::string_view why);

  LinkOwner& owner_;
  net::EventLoop& loop_;
  LinkState state_ = LinkState::kConnecting;
  PeerSession session_;
  std::unique_ptr<Handshake> handshake_;
  std::shared_ptr<LinkSocket> socket_;
  net::Time began_;
  bool marked_ = false;
  bool ending_ = false;
  bool opened_ = false;
};

}  // namespace server
