// Dialing: the host's addresses, the port that epmd of that host knows, the link. One Dial a node,
// however many wait for it; also while the node's own attempt is let in instead.
#include <utility>

#include "server/dist/dist_core.h"
#include "server/dist/host_lookup.h"
#include "server/dist/node_name.h"

namespace server {

void DistCore::Connect(std::string node, ConnectDone done) {
  if (!done) done = [](std::expected<void, ConnectError>) {};
  auto link = links_.find(node);
  if (node == options_.node || (link != links_.end() && link->second->state() == LinkState::kUp)) {
    return done({});
  }
  if (!IsNodeName(node)) {
    return done(std::unexpected(
        ConnectError{.what = "'" + node + "' is no name of a node: it wants name@host"}));
  }
  const bool fresh = !dials_.contains(node);
  if (fresh && dials_.size() >= options_.dials_max) {
    return done(std::unexpected(ConnectError{.what = "too many nodes are being dialed"}));
  }
  Dial& dial = dials_[node];
  dial.waiters.push_back(std::move(done));
  ArmSweep();
  if (!fresh) return;
  dial.deadline = loop_.now() + options_.setup_time;
  if (link != links_.end()) return;  // its hello is awaited
  Count(DistCounter::kDialed, 1);
  std::string host(SplitNodeName(node).host);
  const bool queued = side_.Run([this, alive = alive_, node, host, ipv6 = options_.ipv6] {
    auto addresses = LookUpHost(host, ipv6);
    return net::Task([this, alive, node, addresses = std::move(addresses)]() mutable {
      if (*alive) OnAddresses(node, std::move(addresses));
    });
  });
  if (!queued) DialFailed(node, {.what = "too many hosts are being looked up"});
}

void DistCore::OnAddresses(const std::string& node,
                           std::expected<std::vector<net::Address>, std::string> addresses) {
  auto dial = dials_.find(node);
  if (dial == dials_.end() || links_.contains(node)) return;
  if (!addresses) return DialFailed(node, {.what = addresses.error()});
  dial->second.addresses.assign(addresses->rbegin(), addresses->rend());
  TryNext(node);
}

void DistCore::TryNext(const std::string& node) {
  Dial& dial = dials_.at(node);
  if (dial.addresses.empty()) return DialFailed(node, dial.error);
  dial.address = dial.addresses.back();
  dial.addresses.pop_back();
  if (options_.fixed_port) return DialAt(node, *options_.fixed_port);
  AskPort(node);
}

void DistCore::AskPort(const std::string& node) {
  Dial& dial = dials_.at(node);
  TermBuffer question;
  PutEpmdPortQuestion(&question, SplitNodeName(node).alive);
  dial.lookup = std::make_unique<EpmdConnection>(
      loop_, dial.address.WithPort(options_.epmd.port), std::move(question),
      [this, node](std::span<const uint8_t> answer) { return OnPort(node, answer); },
      [this, node](std::string_view why) {
        auto found = dials_.find(node);
        if (found == dials_.end() || !found->second.lookup) return;
        DropLater(std::move(found->second.lookup));
        found->second.lookup = nullptr;
        const std::string at = found->second.address.WithPort(options_.epmd.port).ToString();
        // The node may live all the same: an epmd that has died takes nobody with it.
        AddressFailed(node, {.what = "no epmd answers at " + at + ": " + std::string(why)});
      });
}

bool DistCore::OnPort(const std::string& node, std::span<const uint8_t> answer) {
  auto found = dials_.find(node);
  if (found == dials_.end() || !found->second.lookup) return true;
  auto port = ReadEpmdPort(answer);
  if (!port && port.error() == EpmdError::kMore) return false;
  DropLater(std::move(found->second.lookup));
  found->second.lookup = nullptr;
  if (!port) {
    const bool unknown = port.error() == EpmdError::kUnknown;
    AddressFailed(node,
                  {.what = unknown ? "epmd at " + found->second.address.IpToString() +
                                         " knows no node " + std::string(SplitNodeName(node).alive)
                                   : std::string(ToString(port.error())),
                   .absent = unknown});
    return true;
  }
  DialAt(node, port->port);
  return true;
}

void DistCore::DialAt(const std::string& node, uint16_t port) {
  Dial& dial = dials_.at(node);
  if (links_.contains(node)) return;  // it was faster
  net::TlsEnginePtr tls = NewEngine(false, SplitNodeName(node).host);
  if (options_.tls && !tls) return DialFailed(node, {.what = "TLS: no memory"});
  dial.link = Link::Dial(*this, loop_, node, dial.address.WithPort(port), std::move(tls));
}

void DistCore::OnDialEnd(const std::string& node, const Link& link, std::string_view why) {
  Count(DistCounter::kHandshakeFailed, 1);
  auto found = dials_.find(node);
  if (found == dials_.end() || found->second.link.get() != &link) return;
  Dial& dial = found->second;
  dial.link = nullptr;  // OnLinkEnd keeps it for this turn
  const std::string at = link.peer().address.ToString();
  switch (link.handshake_error()) {
    case HandshakeError::kSimultaneous:
      dial.error = {.what = "both nodes dialed, and the link of the other one did not come"};
      return;  // its link comes in
    case HandshakeError::kNone:
      // Erlang closes without a word when the cookie is wrong.
      return AddressFailed(
          node, {.what = at + ": " + std::string(why) +
                         (link.opened() ? " during the handshake; do the cookies differ?" : ""),
                 .absent = link.refused()});
    default:
      return AddressFailed(node, {.what = at + ": " + std::string(why)});
  }
}

void DistCore::AddressFailed(const std::string& node, ConnectError error) {
  Dial& dial = dials_.at(node);
  // It is not there when it is at none of its addresses.
  error.absent = error.absent && (!dial.tried || dial.error.absent);
  dial.tried = true;
  dial.error = std::move(error);
  TryNext(node);
}

void DistCore::DialFailed(const std::string& node, ConnectError error) {
  auto taken = dials_.extract(node);
  if (taken.empty()) return;
  Dial dial = std::move(taken.mapped());
  if (dial.link) {
    dial.link->Abort();
    DropLater(std::move(dial.link));
  }
  if (dial.lookup) DropLater(std::move(dial.lookup));
  error.what = "no connection to " + node + ": " + error.what;
  for (auto& done : dial.waiters) done(std::unexpected(error));
}

void DistCore::DialDone(const std::string& node) {
  auto taken = dials_.extract(node);
  if (taken.empty()) return;
  Dial dial = std::move(taken.mapped());
  if (dial.lookup) DropLater(std::move(dial.lookup));
  for (auto& done : dial.waiters) done({});
}

}  // namespace server
