#include "dns/serve/notify.h"

#include <sys/socket.h>

#include <algorithm>
#include <array>

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

void Notifier::Send(const Name& apex, const net::Address& to) {
  std::erase_if(pending_, [&](const auto& p) { return p->apex == apex && p->to == to; });
  auto pending = std::make_shared<Pending>();
  pending->apex = apex;
  pending->to = to;
  pending->id = static_cast<uint16_t>(SystemSeed());
  net::SocketName name = to.ToSocketName();
  pending->fd = net::UniqueFd(socket(name.family(), SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!pending->fd || connect(pending->fd.get(), name.get(), name.size()) != 0) {
    ++given_up_;
    net::Log(net::LogLevel::kWarn, "notify", "cannot be sent", {{"to", to.ToString()}});
    return;
  }
  pending_.push_back(pending);
  Try(std::move(pending));
}

void Notifier::Try(std::shared_ptr<Pending> pending) {
  auto mine = std::ranges::find(pending_, pending);
  if (mine == pending_.end()) return;  // replaced
  std::array<uint8_t, 512> response;
  ssize_t size = recv(pending->fd.get(), response.data(), response.size(), 0);
  if (size > 0 &&
      AcknowledgesNotify(ByteView(response).first(static_cast<size_t>(size)), pending->id)) {
    ++acknowledged_;
    pending_.erase(mine);
    return;
  }
  if (pending->tries == kNotifyTries) {
    ++given_up_;
    net::Log(net::LogLevel::kWarn, "notify", "secondary does not acknowledge",
             {{"zone", pending->apex.ToString()}, {"to", pending->to.ToString()}});
    pending_.erase(mine);
    return;
  }
  Bytes message = MakeNotify(pending->apex, pending->id);
  if (send(pending->fd.get(), message.data(), message.size(), 0) > 0) ++sent_;
  auto wait = std::chrono::seconds(1 << pending->tries++);
  loop_.After(wait, [this, pending, alive = alive_] {
    if (*alive) Try(pending);
  });
}

}  // namespace dns
