#include "server/c2s/sasl_limits.h"

#include <span>

#include "net/limit/source_table.h"

namespace server {

uint64_t SaslLimits::KeyOf(std::string_view account) const {
  return net::KeyedHash(key_, {reinterpret_cast<const uint8_t*>(account.data()), account.size()});
}

// One odd byte in front keeps addresses apart from accounts.
uint64_t SaslLimits::KeyOf(const net::Address& address) const {
  const net::SourceKey source = net::SourceKeyOf(address, 64);
  std::array<uint8_t, 1 + sizeof source> bytes{};
  std::copy(source.begin(), source.end(), bytes.begin() + 1);
  return net::KeyedHash(key_, bytes);
}

bool SaslLimits::Free(uint64_t key, net::Time now) const {
  const auto it = entries_.find(key);
  return it == entries_.end() || it->second.Wait(now, options_.burst) <= net::Duration(0);
}

bool SaslLimits::MayTry(std::string_view account, const net::Address& address, net::Time now) {
  std::lock_guard lock(mutex_);
  if (entries_.empty()) return true;
  return Free(KeyOf(account), now) && (!address || Free(KeyOf(address), now));
}

void SaslLimits::OnGuess(std::string_view account, const net::Address& address, net::Time now) {
  std::lock_guard lock(mutex_);
  if (!account.empty()) Owe(KeyOf(account), options_.account_per_s, now);
  if (address) Owe(KeyOf(address), options_.address_per_s, now);
}

void SaslLimits::Owe(uint64_t key, double per_s, net::Time now) {
  if (per_s <= 0) return;
  if (entries_.size() >= options_.entries_max && !entries_.contains(key)) {
    // Nothing is owed where a whole burst is free again.
    std::erase_if(entries_, [&](const auto& entry) {
      return entry.second.Wait(now, net::Duration(0)) <= net::Duration(0);
    });
    if (entries_.size() >= options_.entries_max) entries_.erase(entries_.begin());
  }
  const auto [it, added] = entries_.try_emplace(key);
  if (added) it->second.SetRate(per_s, now, options_.burst);
  it->second.Owe(now);
}

size_t SaslLimits::entries() const {
  std::lock_guard lock(mutex_);
  return entries_.size();
}

}  // namespace server
