#include "server/program/account_count.h"

#include <utility>

namespace server {

void AccountCount::Get(XmppService& service,
                       std::move_only_function<void(uint64_t accounts)> done) {
  const net::Time asked = asked_.load();
  if (asked != net::Time::min() && clock_.Now() - asked < kFresh) return done(accounts_.load());
  service.OnWorker([self = shared_from_this(), done = std::move(done)](XmppWorker& worker) mutable {
    self->Next(worker.store(), 0, 0, std::move(done));
  });
}

void AccountCount::Next(StoreClient& store, size_t domain, uint64_t sum,
                        std::move_only_function<void(uint64_t accounts)> done) {
  if (domain == domains_.size()) {
    accounts_ = sum;
    asked_ = clock_.Now();
    return done(sum);
  }
  store.CountAccounts(domains_[domain], [self = shared_from_this(), &store, domain, sum,
                                         done = std::move(done)](const auto& count) mutable {
    if (!count) return done(self->accounts_.load());
    self->Next(store, domain + 1, sum + *count, std::move(done));
  });
}

}  // namespace server
