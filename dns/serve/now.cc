#include "dns/serve/now.h"

#include <sys/random.h>
#include <time.h>

#include <algorithm>

#include "net/base/check.h"

namespace dns {

Now ReadNow() {
  timespec wall;
  timespec monotonic;
  clock_gettime(CLOCK_REALTIME_COARSE, &wall);
  clock_gettime(CLOCK_MONOTONIC_COARSE, &monotonic);
  return {static_cast<uint32_t>(wall.tv_sec),
          static_cast<uint64_t>(monotonic.tv_sec) * 1000 +
              static_cast<uint64_t>(monotonic.tv_nsec) / 1'000'000};
}

uint64_t SystemSeed() {
  uint64_t seed = 0;
  CHECK(getrandom(&seed, sizeof seed, 0) == sizeof seed);
  return seed;
}

void LogQuery(QueryLog& log, const Responder& responder, const Client& client, size_t bytes) {
  QueryLogEntry* entry = log.Reserve();
  if (entry == nullptr) return;
  const Query& query = responder.query();
  entry->client = client.address;
  entry->transport = client.transport;
  entry->type = query.type;
  entry->rcode = static_cast<uint16_t>(responder.last_rcode());
  entry->bytes = static_cast<uint16_t>(std::min<size_t>(bytes, 0xffff));
  entry->dnssec_ok = query.edns.dnssec_ok;
  entry->name_size = query.name_size;
  std::copy_n(query.name.begin(), query.name_size, entry->name.begin());
  log.Push();
}

}  // namespace dns
