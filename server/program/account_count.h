// How many accounts there are, by the store; asked at most every kFresh, however often it is read.
//
// Get() on the node's thread; `done` there or on a worker.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "net/base/clock.h"
#include "server/c2s/xmpp_service.h"

namespace server {

class AccountCount : public std::enable_shared_from_this<AccountCount> {
 public:
  static constexpr net::Duration kFresh = std::chrono::seconds(2);

  AccountCount(std::vector<std::string> domains, const net::Clock& clock)
      : domains_(std::move(domains)), clock_(clock) {}

  // As it was last, where the store does not tell.
  void Get(XmppService& service, std::move_only_function<void(uint64_t accounts)> done);

 private:
  void Next(StoreClient& store, size_t domain, uint64_t sum,
            std::move_only_function<void(uint64_t accounts)> done);

  const std::vector<std::string> domains_;
  const net::Clock& clock_;
  std::atomic<uint64_t> accounts_{0};
  std::atomic<net::Time> asked_{net::Time::min()};
};

}  // namespace server
