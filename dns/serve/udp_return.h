// The way back of a UDP reply: what of a query's control messages goes with it.
#pragma once

#include <sys/socket.h>

namespace dns {

// A query on a wildcard socket comes with the address that was asked and the interface that it came
// over (IP_PKTINFO, RFC 3542 §6.1). The reply has to leave from that address, but by the route that
// the system has to the client: where routing is asymmetric, the query's interface leads nowhere.
// Takes the interface out of `from`'s control messages, in place; link-local addresses, which mean
// nothing without one, keep it.
void LeaveByRoute(msghdr& from);

}  // namespace dns
