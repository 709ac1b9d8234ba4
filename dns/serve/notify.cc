#include "dns/serve/notify.h"

#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include "dns/serve/now.h"
#include "dns/wire/wire.h"
#include "net/report/log.h"

namespace dns {

Bytes MakeNotify(const Name& apex, uint16_t id) {
  Bytes out;
  Append16(out, id);
  Append16(out, 0x2400);  // opcode NOTIFY, AA
  Append16(out, 1);
  for (int section = 0; section < 3; ++section) Append16(out, 0);
  Append(out, apex.wire());
  Append16(out, static_cast<uint16_t>(Type::kSoa));
  Append16(out, kClassIn);
  return out;
}

bool AcknowledgesNotify(ByteView response, uint16_t id) {
  return response.size() >= kHeaderBytes && Get16(response.data()) == id &&
         (response[2] & 0xf8) == 0xa0;  // QR, opcode NOTIFY; whatever the rcode: it was heard
}

Notifier::~Notifier() { *alive_ = false; }

void Notifier::Send(const Name& apex, const net::Address& to,
                    const std::optional<net::Address>& from, std::optional<TsigSigner> signer) {
  std::erase_if(pending_, [&](const auto& p) { return p->apex == apex && p->to == to; });
  auto pending = std::make_shared<Pending>();
  pending->apex = apex;
  pending->to = to;
  pending->id = static_cast<uint16_t>(SystemSeed());
  net::SocketName name = to.ToSocketName();
  pending->fd = net::UniqueFd(socket(name.family(), SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  pending->signer = std::move(signer);
  bool bound = true;
  if (from) {
    net::SocketName local = from->WithPort(0).ToSocketName();
    bound = pending->fd && bind(pending->fd.get(), local.get(), local.size()) == 0;
  }
  if (!pending->fd || !bound || connect(pending->fd.get(), name.get(), name.size()) != 0) {
    ++given_up_;
    net::Log(net::LogLevel::kWarn, "notify", "cannot be sent",
             {{"to", to.ToString()},
              {"from", from ? from->IpToString() : "any"},
              {"error", std::strerror(errno)}});
    return;
  }
  pending_.push_back(pending);
  Try(std::move(pending));
}

bool Notifier::IsAcknowledged(Pending& pending) const {
  std::array<uint8_t, 1500> response;
  // Several may be there, of earlier tries too.
  for (int i = 0; i < 2 * kNotifyTries; ++i) {
    ssize_t size = recv(pending.fd.get(), response.data(), response.size(), 0);
    if (size <= 0) return false;
    ByteView message = ByteView(response).first(static_cast<size_t>(size));
    if (!AcknowledgesNotify(message, pending.id)) continue;
    if (!pending.verifier) return true;
    TsigVerifier verifier = *pending.verifier;
    auto checked = verifier.Check(message, ReadNow().unix_seconds);
    if (checked && verifier.complete()) return true;
    net::Log(net::LogLevel::kWarn, "notify", "acknowledgement is not believed",
             {{"to", pending.to.ToString()}, {"why", checked ? "not signed" : checked.error()}});
  }
  return false;
}

void Notifier::Await(std::shared_ptr<Pending> pending) {
  auto mine = std::ranges::find(pending_, pending);
  if (mine == pending_.end()) return;  // replaced
  if (IsAcknowledged(*pending)) {
    ++acknowledged_;
    pending_.erase(mine);
    bool others = std::ranges::any_of(
        pending_, [&](const auto& other) { return other->apex == pending->apex; });
    if (!others) done_(pending->apex);
    return;
  }
  if (loop_.now() >= pending->again_at) return Try(std::move(pending));
  auto wait = std::min<net::Duration>(kNotifyLook, pending->again_at - loop_.now());
  loop_.After(wait, [this, pending, alive = alive_] {
    if (*alive) Await(pending);
  });
}

void Notifier::Try(std::shared_ptr<Pending> pending) {
  if (pending->tries == kNotifyTries) {
    ++given_up_;
    net::Log(net::LogLevel::kWarn, "notify", "secondary does not acknowledge",
             {{"zone", pending->apex.ToString()}, {"to", pending->to.ToString()}});
    std::erase(pending_, pending);
    return;
  }
  Bytes message = MakeNotify(pending->apex, pending->id);
  if (pending->signer) {
    TsigSigner signer = *pending->signer;  // each try is a request of its own
    signer.Sign(message, ReadNow().unix_seconds);
    pending->verifier.emplace(signer);
  }
  if (send(pending->fd.get(), message.data(), message.size(), 0) > 0) ++sent_;
  pending->again_at = loop_.now() + std::chrono::seconds(1 << pending->tries++);
  Await(std::move(pending));
}

}  // namespace dns
