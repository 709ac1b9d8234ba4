#include "server/dist/dist_core.h"

#include <sys/random.h>
#include <sys/socket.h>

#include <algorithm>
#include <utility>

#include "net/base/check.h"
#include "net/base/text.h"
#include "net/io/socket.h"
#include "net/report/log.h"
#include "server/dist/flags.h"
#include "server/dist/host_lookup.h"
#include "server/dist/node_name.h"

namespace server {
namespace {

// How often deadlines are looked at while there are any.
constexpr net::Duration kSweep = std::chrono::milliseconds(20);
// Creations below this have a meaning for old nodes.
constexpr uint32_t kCreationMin = 4;

uint32_t RandomCreation() {
  uint32_t creation = 0;
  CHECK(getrandom(&creation, sizeof creation, 0) == sizeof creation);
  return std::max(creation, kCreationMin);
}

DistCounter CounterOf(HandshakeError error) {
  switch (error) {
    case HandshakeError::kWrongCookie:
      return DistCounter::kWrongCookie;
    case HandshakeError::kNotAllowed:
    case HandshakeError::kName:
      return DistCounter::kNotAllowed;
    default:
      return DistCounter::kMalformed;
  }
}

// Without a name of its own: each run of mongooseimctl is one, and would fill the log.
bool IsGuest(const DistPeer& peer) { return (peer.flags & dist_flag::kNameMe) != 0; }

// Only an address of its own can be bound to.
bool IsOfThisMachine(const net::Address& peer) {
  if (peer.IsLoopback()) return true;
  const net::SocketName name = peer.WithPort(0).ToSocketName();
  const net::UniqueFd probe(socket(name.family(), SOCK_STREAM | SOCK_CLOEXEC, 0));
  return probe && bind(probe.get(), name.get(), name.size()) == 0;
}

}  // namespace

DistCore::DistCore(const DistOptions& options, net::EventLoop& loop, Services& services,
                   const Handlers& handlers, PeerRegistry& registry, DistCounters& counters)
    : options_(options),
      loop_(loop),
      services_(services),
      handlers_(handlers),
      registry_(registry),
      counters_(counters),
      side_(loop) {
  loop_.SetTurnEnd([this] { FlushDirty(); });
}

DistCore::~DistCore() {
  stopping_ = true;
  *alive_ = false;
  loop_.SetTurnEnd([] {});
  loop_.CancelTimer(sweep_timer_);
  loop_.CancelTimer(tick_timer_);
  listener_.reset();
  registrar_.reset();
  auto dials = std::move(dials_);
  for (auto& [node, dial] : dials) {
    if (dial.link) dial.link->Abort();
    for (auto& done : dial.waiters) {
      if (done) done(std::unexpected(ConnectError{.what = "this node stops"}));
    }
  }
  for (auto& link : incoming_) link->Abort();
  for (auto& [node, link] : links_) {
    registry_.Remove(node);
    link->Abort();
    services_.OnLost(link->session());
  }
}

// --- Starting -----------------------------------------------------------------------------------

void DistCore::Start(DistSocket socket, Started started) {
  started_ = std::move(started);
  listening_ = std::move(socket.fd);
  if (options_.tls) {
    auto worker = net::TlsWorker::Create();
    if (!worker)
      return std::exchange(started_,
                           nullptr)(std::unexpected(DistError{"TLS: " + worker.error(), ""}));
    tls_ = std::move(*worker);
  }
  if (!options_.epmd.enabled) return OnRegistered(RandomCreation());
  registrar_ = std::make_unique<EpmdRegistrar>(
      loop_, side_, options_.epmd,
      EpmdRegistrar::Identity{.alive = std::string(SplitNodeName(options_.node).alive),
                              .port = socket.port,
                              .visible = options_.visible,
                              .interface = options_.interface,
                              .ipv6 = options_.ipv6});
  registrar_->Start(
      [this](uint32_t creation) { OnRegistered(creation); },
      [this](const EpmdRegistrar::Failure& failure) {
        Count(DistCounter::kEpmdLost, 1);
        if (started_) {
          if (failure.remedy.empty() && failure.what.starts_with("epmd is gone")) {
            return;
          }
          std::exchange(started_,
                        nullptr)(std::unexpected(DistError{failure.what, failure.remedy}));
          return;
        }
        net::Log(net::LogLevel::kWarn, "dist", failure.what, {{"remedy", failure.remedy}});
      });
}

void DistCore::OnRegistered(uint32_t creation) {
  if (registrar_) Count(DistCounter::kEpmdRegistered, 1);
  if (!started_) {
    net::Log(net::LogLevel::kInfo, "dist", "registered with epmd again");
    return;  // the creation stays: it names this life of the node
  }
  services_.SetSelf({.node = options_.node, .creation = creation});
  listener_ = std::make_unique<DistListener>(
      loop_, std::move(listening_),
      [this](net::Slot slot, const net::Address& peer) { OnAccepted(slot, peer); });
  tick_timer_ = loop_.After(options_.net_ticktime / kTicksPerTime, [this] { Tick(); });
  std::exchange(started_, nullptr)(creation);
}

net::TlsEnginePtr DistCore::NewEngine(bool server, std::string_view host) {
  if (!tls_) return nullptr;
  if (server) return tls_->NewServer(options_.tls.server);
  return tls_->NewClient(options_.tls.client, {.server_name = std::string(host)});
}

// --- Letting in ---------------------------------------------------------------------------------

void DistCore::OnAccepted(net::Slot slot, const net::Address& peer) {
  Count(DistCounter::kAccepted, 1);
  if (incoming_.size() >= options_.handshakes_max) {
    Count(DistCounter::kHandshakeShed, 1);
    auto oldest = incoming_.front();
    oldest->EndNow("too many handshakes are under way, this one is the oldest");
  }
  net::TlsEnginePtr tls = NewEngine(true, {});
  if (options_.tls && !tls) return loop_.ring().Close(slot);
  incoming_.push_back(Link::Accepted(*this, loop_, slot, peer, std::move(tls)));
  ArmSweep();
}

Admission DistCore::Admit(Link& link, const HandshakePeer& peer) {
  if (peer.node == options_.node) return Admission::kNotAllowed;
  // A name that we gave says nothing: this machine's own programs have such (mongooseimctl).
  const bool allowed = !options_.allow || (peer.named_by_us ? IsOfThisMachine(link.peer().address)
                                                            : options_.allow(peer.node));
  if (!allowed) return Admission::kNotAllowed;
  if (links_.contains(peer.node)) return Admission::kAlive;
  if (links_.size() >= options_.links_max) {
    Count(DistCounter::kLinksRefused, 1);
    return Admission::kNotAllowed;
  }
  auto dial = dials_.find(peer.node);
  if (dial != dials_.end() && dial->second.link) {
    return options_.node > peer.node ? Admission::kNok : Admission::kOkSimultaneous;
  }
  return Admission::kOk;
}

HandshakePeer DistCore::GiveName(std::string_view host) {
  // Names of that kind are never asked for again, so that no two processes ever share one.
  std::array<uint32_t, 2> random{};
  CHECK(getrandom(random.data(), sizeof random, 0) == sizeof random);
  uint64_t value = uint64_t{random[0]} << 32 | random[1];
  std::string alive;
  do {
    alive += "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"[value % 36];
    value /= 36;
  } while (value != 0);
  return {.node = alive + '@' + std::string(host), .creation = RandomCreation()};
}

bool DistCore::OnShaken(Link& link) {
  const std::string node = link.peer().node;
  std::shared_ptr<Link> self = link.shared_from_this();
  std::erase(incoming_, self);
  if (auto old = links_.find(node); old != links_.end()) {
    if (link.dialed()) {
      link.EndNow("there is a link already");
      return false;
    }
    // It has shown that it is the same node, and told that the old link is dead.
    auto dead = old->second;
    dead->EndNow("replaced by a new connection of the same node");
  }
  Count(DistCounter::kHandshakes, 1);
  links_[node] = self;
  auto dial = dials_.find(node);
  if (dial != dials_.end() && dial->second.link && dial->second.link != self) {
    dial->second.link->Abort();
    DropLater(std::move(dial->second.link));
    dial->second.link = nullptr;
  }
  return true;
}

void DistCore::OnUp(Link& link) {
  const DistPeer peer = link.peer();
  registry_.Add(peer, link.queue(), link.weak_from_this());
  net::Log(IsGuest(peer) ? net::LogLevel::kDebug : net::LogLevel::kInfo, "dist", "node up",
           {{"node", peer.node},
            {"address", peer.address.ToString()},
            {"ours", peer.ours},
            {"hidden", peer.hidden},
            {"version", peer.version}});
  for (const auto& up : handlers_.up) up(peer);
  DialDone(peer.node);
}

void DistCore::OnRoom(Link& link) {
  if (handlers_.writable) handlers_.writable(link.peer().node);
}

void DistCore::OnLinkMessage(PeerSession& session, const TermView& message) {
  auto link = links_.find(session.peer.node);
  if (link != links_.end() && link->second->session().id == session.id) {
    link->second->OnLinkMessage(message);
  }
}

void DistCore::OnLinkEnd(Link& link, std::string_view why) {
  if (stopping_) return;
  std::shared_ptr<Link> self = link.shared_from_this();
  DropLater(self);
  const std::string node = link.peer().node;
  auto up = links_.find(node);
  if (up != links_.end() && up->second == self) {
    links_.erase(up);
    const bool was_up = registry_.Find(node).has_value();
    registry_.Remove(node);
    services_.OnLost(link.session());
    Count(DistCounter::kLinksLost, 1);
    net::Log(!was_up                ? net::LogLevel::kWarn
             : IsGuest(link.peer()) ? net::LogLevel::kDebug
                                    : net::LogLevel::kInfo,
             "dist", was_up ? "node down" : "a node was refused",
             {{"node", node}, {"address", link.peer().address.ToString()}, {"why", why}});
    if (was_up) {
      for (const auto& down : handlers_.down) down(link.peer(), why);
    }
    if (dials_.contains(node)) DialFailed(node, {.what = std::string(why)});
    return;
  }
  std::erase(incoming_, self);
  if (link.dialed()) return OnDialEnd(node, link, why);
  OnRejected(link, why);
}

void DistCore::OnRejected(const Link& link, std::string_view why) {
  Count(DistCounter::kHandshakeFailed, 1);
  const HandshakeError error = link.handshake_error();
  if (error == HandshakeError::kSimultaneous) return;
  if (error != HandshakeError::kNone) Count(CounterOf(error), 1);
  if (link.peer().node.empty() && error == HandshakeError::kNone) {
    LOG_EVERY(std::chrono::seconds(10), net::LogLevel::kInfo, "dist",
              "a connection ended before it told its name",
              {{"address", link.peer().address.ToString()}, {"why", why}});
    return;
  }
  LOG_EVERY(std::chrono::milliseconds(100), net::LogLevel::kWarn, "dist",
            "Connection attempt from node " + QuotedNodeName(net::Printable(link.peer().node)) +
                " rejected",
            {{"address", link.peer().address.ToString()}, {"why", why}});
}

// --- Time ---------------------------------------------------------------------------------------

void DistCore::FlushSoon(const std::shared_ptr<Link>& link) { dirty_.push_back(link); }

void DistCore::FlushDirty() {
  while (!dirty_.empty()) {
    auto dirty = std::exchange(dirty_, {});
    for (auto& link : dirty) link->Flush();
  }
  if (tls_) tls_->EndTurn();
}

void DistCore::ArmSweep() {
  if (std::exchange(sweeping_, true)) return;
  sweep_timer_ = loop_.After(kSweep, [this] { Sweep(); });
}

void DistCore::Sweep() {
  sweeping_ = false;
  const net::Time now = loop_.now();
  while (!incoming_.empty() && now - incoming_.front()->began() >= options_.setup_time) {
    Count(DistCounter::kHandshakeTimeout, 1);
    auto oldest = incoming_.front();
    oldest->EndNow("the handshake took too long");
  }
  std::vector<std::string> late;
  for (const auto& [node, dial] : dials_) {
    if (now >= dial.deadline) late.push_back(node);
  }
  for (const std::string& node : late) {
    auto dial = dials_.find(node);
    if (dial != dials_.end()) DialFailed(node, {.what = std::string(dial->second.error.what)});
  }
  services_.Expire(now);
  if (!incoming_.empty() || !dials_.empty() || services_.calls() > 0) ArmSweep();
}

void DistCore::Tick() {
  tick_timer_ = loop_.After(options_.net_ticktime / kTicksPerTime, [this] { Tick(); });
  std::vector<std::shared_ptr<Link>> links;
  for (const auto& [node, link] : links_) links.push_back(link);
  for (const auto& link : links) link->Tick(loop_.now());
}

// --- Calls --------------------------------------------------------------------------------------

void DistCore::Call(std::string node, std::string module, std::string function,
                    std::vector<Term> args, net::Duration timeout, CallDone done) {
  const net::Time deadline = loop_.now() + timeout;
  // Shared, since one of two ends takes it.
  auto call = [this, node, module = std::move(module), function = std::move(function),
               args = std::move(args), deadline,
               done = std::move(done)](std::expected<void, ConnectError> connected) mutable {
    auto link = links_.find(node);
    if (!connected || link == links_.end()) {
      return done(std::unexpected(RpcError{RpcError::Kind::kNodeDown, Term::Atom("nodedown")}));
    }
    if (!services_.Call(link->second->session(), module, function, args, deadline, &done)) {
      return done(std::unexpected(RpcError{RpcError::Kind::kBusy, Term::Atom("system_limit")}));
    }
    ArmSweep();
  };
  Connect(std::move(node), std::move(call));
}

void DistCore::Ping(std::string node, net::Duration timeout, CallDone done) {
  const net::Time deadline = loop_.now() + timeout;
  if (node == options_.node) return done(Term::Atom("yes"));
  auto ping = [this, node, deadline,
               done = std::move(done)](std::expected<void, ConnectError> connected) mutable {
    auto link = links_.find(node);
    if (!connected || link == links_.end()) {
      return done(std::unexpected(RpcError{RpcError::Kind::kNodeDown, Term::Atom("nodedown")}));
    }
    if (!services_.Ping(link->second->session(), deadline, &done)) {
      return done(std::unexpected(RpcError{RpcError::Kind::kBusy, Term::Atom("system_limit")}));
    }
    ArmSweep();
  };
  Connect(std::move(node), std::move(ping));
}

void DistCore::Disconnect(const std::string& node, std::string why) {
  auto link = links_.find(node);
  if (link != links_.end()) link->second->End(std::move(why));
}

}  // namespace server
