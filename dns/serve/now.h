// The edges where pure code's time and seeds come from.
#pragma once

#include <cstdint>

#include "dns/answer/responder.h"
#include "dns/serve/query_log.h"

namespace dns {

// Coarse clocks: a few nanoseconds, read once a batch.
Now ReadNow();

// 64 bits from the system's random numbers.
uint64_t SystemSeed();

// Writes the query that `responder` answered last into the sample.
void LogQuery(QueryLog& log, const Responder& responder, const Client& client, size_t bytes);

}  // namespace dns
