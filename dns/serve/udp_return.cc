#include "dns/serve/udp_return.h"

#include <netinet/in.h>

#include <cstring>

namespace dns {

void LeaveByRoute(msghdr& from) {
  for (cmsghdr* at = CMSG_FIRSTHDR(&from); at != nullptr; at = CMSG_NXTHDR(&from, at)) {
    if (at->cmsg_level == IPPROTO_IP && at->cmsg_type == IP_PKTINFO) {
      in_pktinfo info;
      std::memcpy(&info, CMSG_DATA(at), sizeof info);
      info.ipi_ifindex = 0;
      std::memcpy(CMSG_DATA(at), &info, sizeof info);
    } else if (at->cmsg_level == IPPROTO_IPV6 && at->cmsg_type == IPV6_PKTINFO) {
      in6_pktinfo info;
      std::memcpy(&info, CMSG_DATA(at), sizeof info);
      if (!IN6_IS_ADDR_LINKLOCAL(&info.ipi6_addr)) info.ipi6_ifindex = 0;
      std::memcpy(CMSG_DATA(at), &info, sizeof info);
    }
  }
}

}  // namespace dns
