// How an UPDATE gets from the thread that received it to the control thread, and its response back.
#pragma once

#include <sys/socket.h>

#include <functional>

#include "dns/wire/name.h"
#include "net/base/address.h"

namespace dns {

// UPDATEs that wait for the control thread; more are refused.
constexpr size_t kUpdatesWaitingMax = 64;

// Called once, on the control thread, unless the process ends before.
using UpdateReply = std::move_only_function<void(Bytes response)>;
// On the thread that received it. False: it is not taken, and the refusal is due.
using UpdateSink =
    std::function<bool(ByteView message, const net::Address& client, UpdateReply reply)>;

// Over UDP: the response goes back to where `from` (of recvmsg) says it came from.
bool OfferUdpUpdate(const UpdateSink& sink, int fd, ByteView message, const net::Address& client,
                    const msghdr& from);

}  // namespace dns
