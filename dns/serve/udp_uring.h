// The io_uring engine of a UDP worker: one multishot receive into provided buffers, one send a
// reply, submitted together.
#pragma once

#include <atomic>
#include <expected>
#include <string>

#include "dns/answer/publisher.h"
#include "dns/answer/responder.h"
#include "dns/serve/query_log.h"
#include "dns/serve/update_sink.h"

namespace dns {

// Serves `fd` on this thread until `stop`. The error says why a ring is not to be had.
std::expected<void, std::string> ServeUdpOverRing(int fd, bool wildcard, Responder& responder,
                                                  Publisher::Reader& reader, QueryLog* log,
                                                  const UpdateSink* updates,
                                                  const std::atomic<bool>& stop);

}  // namespace dns
