// Asks resolvers: UDP, then TCP where the answer does not fit. Blocks the calling thread, within
// its time limits, and ends at once when told to stop. (The C library's res_nquery waits without
// limit for a resolver that takes a TCP connection and says nothing, and cannot be stopped.)
//
// One thread; another may call Stop().
#pragma once

#include <chrono>
#include <cstdint>
#include <expected>
#include <span>
#include <vector>

#include "net/base/address.h"
#include "net/base/clock.h"
#include "net/dns/dns_message.h"

namespace net {

struct DnsClientOptions {
  Duration timeout = std::chrono::seconds(2);  // of one attempt
  uint32_t attempts = 2;                       // at each resolver
};

class DnsClient {
 public:
  explicit DnsClient(DnsClientOptions options = {});
  ~DnsClient();
  DnsClient(const DnsClient&) = delete;
  DnsClient& operator=(const DnsClient&) = delete;

  // Asks one resolver after the other until one answers. Names that do not exist are an answer;
  // failures of a resolver are a reason to ask the next.
  std::expected<DnsAnswer, DnsFailure> Ask(std::span<const Address> resolvers,
                                           const DnsQuestion& question);

  // The question under way and all later ones fail with kStopped. Any thread.
  void Stop();

 private:
  using Message = std::expected<std::vector<uint8_t>, DnsFailure>;
  struct Query;
  Message OverUdp(const Address& resolver, const Query& query);
  Message OverTcp(const Address& resolver, const Query& query);
  // Waits until the descriptor is ready. kTimeout at the deadline, kStopped.
  std::expected<void, DnsFailure> Await(int fd, short events, Time deadline);

  const DnsClientOptions options_;
  const SystemClock clock_;
  int stop_fd_ = -1;
};

// The resolvers of /etc/resolv.conf; at most three, as the C library takes.
std::vector<Address> SystemResolvers();

}  // namespace net
