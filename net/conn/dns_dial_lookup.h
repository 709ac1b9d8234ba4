// Names as the system's resolvers have them, for Dialer: SRV records by net/dns, addresses by the C
// library (so that /etc/hosts counts). Both block, on the threads of a BlockingPool.
//
// Thread: the loop's, as DialLookup. What is asked and not answered at its end is dropped.
#pragma once

#include <functional>
#include <string>

#include "net/conn/dialer.h"
#include "net/io/blocking_pool.h"

namespace net {

class DnsDialLookup final : public DialLookup {
 public:
  DnsDialLookup(BlockingPool& pool, EventLoop& loop) : client_(pool, loop) {}
  void FindServices(const std::string& name, std::move_only_function<void(Services)> done) override;
  void FindAddresses(const std::string& host,
                     std::move_only_function<void(Addresses)> done) override;

 private:
  BlockingPool::Client client_;
};

}  // namespace net
