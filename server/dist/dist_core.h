// The node's side that runs on its thread: who is connected, who is being dialed or let in, and the
// clockwork of ticks and deadlines.
//
// Made, used and destroyed on the loop's thread.
#pragma once

#include <array>
#include <atomic>
#include <list>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "server/dist/dist_listener.h"
#include "server/dist/dist_options.h"
#include "server/dist/dist_types.h"
#include "server/dist/epmd_client.h"
#include "server/dist/link.h"
#include "server/dist/peer_registry.h"
#include "server/dist/services.h"
#include "server/dist/side_thread.h"

namespace server {

using DistCounters = std::array<std::atomic<uint64_t>, static_cast<size_t>(DistCounter::kCount)>;

class DistCore final : private LinkOwner {
 public:
  struct Handlers {
    std::vector<UpHandler> up;
    std::vector<DownHandler> down;
    WritableHandler writable;
  };
  using Started = std::function<void(std::expected<uint32_t, DistError> creation)>;

  // All references outlive it.
  DistCore(const DistOptions& options, net::EventLoop& loop, Services& services,
           const Handlers& handlers, PeerRegistry& registry, DistCounters& counters);
  ~DistCore();

  // Registers, and lets peers in from then on.
  void Start(DistSocket socket, Started started);

  void Connect(std::string node, ConnectDone done);
  void Disconnect(const std::string& node, std::string why);
  void Call(std::string node, std::string module, std::string function, std::vector<Term> args,
            net::Duration timeout, CallDone done);
  void Ping(std::string node, net::Duration timeout, CallDone done);
  void FlushSoon(const std::shared_ptr<Link>& link) override;
  void OnLinkMessage(PeerSession& session, const TermView& message);

 private:
  // A node that somebody wants to be connected to. Lives until there is a link or no way.
  struct Dial {
    net::Time deadline;
    std::vector<ConnectDone> waiters;
    std::vector<net::Address> addresses;  // still to be tried, the next one last
    net::Address address;                 // being tried
    std::unique_ptr<EpmdConnection> lookup;
    std::shared_ptr<Link> link;
    ConnectError error{.what = "no answer in time"};
    bool tried = false;  // an address, to its end
  };

  // --- LinkOwner
  const DistOptions& options() const override { return options_; }
  const Identity& self() const override { return services_.self(); }
  Services& services() override { return services_; }
  void Count(DistCounter counter, uint64_t by) override {
    counters_[static_cast<size_t>(counter)].fetch_add(by, std::memory_order_relaxed);
  }
  Admission Admit(Link& link, const HandshakePeer& peer) override;
  HandshakePeer GiveName(std::string_view host) override;
  bool OnShaken(Link& link) override;
  void OnUp(Link& link) override;
  void OnRoom(Link& link) override;
  void OnLinkEnd(Link& link, std::string_view why) override;

  void OnRegistered(uint32_t creation);
  void OnAccepted(net::Slot slot, const net::Address& peer);
  void OnRejected(const Link& link, std::string_view why);
  net::TlsEnginePtr NewEngine(bool server, std::string_view host);

  // --- Dialing: addresses, then the port at each of them, then the link.
  void OnAddresses(const std::string& node,
                   std::expected<std::vector<net::Address>, std::string> addresses);
  void TryNext(const std::string& node);
  void AskPort(const std::string& node);
  bool OnPort(const std::string& node, std::span<const uint8_t> answer);
  void DialAt(const std::string& node, uint16_t port);
  void OnDialEnd(const std::string& node, const Link& link, std::string_view why);
  // One address has ended; the next one.
  void AddressFailed(const std::string& node, ConnectError error);
  void DialFailed(const std::string& node, ConnectError error);
  void DialDone(const std::string& node);
  // Frees what may be calling us.
  template <typename T>
  void DropLater(T object) {
    loop_.Post([object = std::move(object)]() mutable { object = nullptr; });
  }

  void FlushDirty();
  void ArmSweep();
  void Sweep();
  void Tick();

  const DistOptions& options_;
  net::EventLoop& loop_;
  Services& services_;
  const Handlers& handlers_;
  PeerRegistry& registry_;
  DistCounters& counters_;

  SideThread side_;
  std::unique_ptr<net::TlsWorker> tls_;
  std::unique_ptr<EpmdRegistrar> registrar_;
  net::UniqueFd listening_;
  std::unique_ptr<DistListener> listener_;
  Started started_;
  bool stopping_ = false;
  // What the side thread has posted looks whether this still lives.
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);

  std::map<std::string, std::shared_ptr<Link>> links_;  // those that have shown the cookie
  std::list<std::shared_ptr<Link>> incoming_;           // those that have not, oldest first
  std::map<std::string, Dial> dials_;
  std::vector<std::shared_ptr<Link>> dirty_;
  net::EventLoop::TimerId sweep_timer_{};
  bool sweeping_ = false;
  net::EventLoop::TimerId tick_timer_{};
};

}  // namespace server
