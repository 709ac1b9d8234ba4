#include "dns/serve/update_sink.h"

#include <fcntl.h>

#include <array>
#include <cstring>
#include <memory>

#include "net/io/socket.h"

namespace dns {
namespace {

// What a response needs to leave from the address that was asked.
struct UdpReturn {
  net::UniqueFd fd;
  sockaddr_storage name{};
  socklen_t name_size = 0;
  alignas(cmsghdr) std::array<uint8_t, 64> control{};
  size_t control_size = 0;
};

}  // namespace

bool OfferUdpUpdate(const UpdateSink& sink, int fd, ByteView message, const net::Address& client,
                    const msghdr& from) {
  auto back = std::make_unique<UdpReturn>();
  if (from.msg_controllen > back->control.size() || from.msg_namelen > sizeof back->name) {
    return false;
  }
  back->fd = net::UniqueFd(fcntl(fd, F_DUPFD_CLOEXEC, 3));
  if (!back->fd) return false;
  std::memcpy(&back->name, from.msg_name, from.msg_namelen);
  back->name_size = from.msg_namelen;
  back->control_size = from.msg_control == nullptr ? 0 : from.msg_controllen;
  if (back->control_size != 0) {
    std::memcpy(back->control.data(), from.msg_control, back->control_size);
  }
  return sink(message, client, [back = std::move(back)](Bytes response) {
    iovec part{response.data(), response.size()};
    msghdr out{};
    out.msg_name = &back->name;
    out.msg_namelen = back->name_size;
    out.msg_iov = &part;
    out.msg_iovlen = 1;
    out.msg_control = back->control_size == 0 ? nullptr : back->control.data();
    out.msg_controllen = back->control_size;
    // One that cannot be sent is asked for again.
    static_cast<void>(sendmsg(back->fd.get(), &out, MSG_DONTWAIT | MSG_NOSIGNAL));
  });
}

}  // namespace dns
