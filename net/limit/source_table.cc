#include "net/limit/source_table.h"

#include <algorithm>
#include <bit>

#include "net/base/check.h"

namespace net {

SourceKey SourceKeyOf(const Address& address, uint8_t prefix_v6) {
  Address source = address.Unmapped().Network(32, prefix_v6);
  std::span<const uint8_t> ip = source.ip();
  SourceKey key{};
  if (ip.size() == 4) key[10] = key[11] = 0xff;
  std::copy(ip.begin(), ip.end(), key.end() - static_cast<ptrdiff_t>(ip.size()));
  return key;
}

std::string_view SourceVerdictName(SourceVerdict verdict) {
  switch (verdict) {
    case SourceVerdict::kAdmitted:
      return "admitted";
    case SourceVerdict::kTooMany:
      return "too many connections of this source";
    case SourceVerdict::kTooFast:
      return "too many new connections a second of this source";
  }
  return "unknown";
}

SourceTable::SourceTable(const SourceTableConfig& config, const HashKey& key)
    : entries_(std::bit_ceil(std::max<size_t>(config.entries_max, 2 * kWays))),
      set_mask_(entries_.size() / kWays - 1),
      key_(key) {
  SetLimits(config.connections_max, config.rate);
}

void SourceTable::SetLimits(uint32_t connections_max, double rate) {
  connections_max_ = connections_max;
  interval_ns_ = rate > 0 ? std::max<int64_t>(static_cast<int64_t>(1e9 / rate), 1) : 0;
  tolerance_ns_ = std::max<int64_t>(kSourceBurst.count() - interval_ns_, 0);
}

std::array<size_t, 2> SourceTable::SetsOf(const SourceKey& source) const {
  uint64_t hash = KeyedHash(key_, source);
  size_t first = hash & set_mask_;
  size_t second = (hash >> 32) & set_mask_;
  if (second == first) second = (first + 1) & set_mask_;
  return {first * kWays, second * kWays};
}

SourceTable::Found SourceTable::Find(const SourceKey& source, int64_t now_ns) {
  Found found;
  size_t free_in_first = 0;
  size_t free_in_second = 0;
  Entry* free_second = nullptr;
  auto sets = SetsOf(source);
  for (size_t which = 0; which < sets.size(); ++which) {
    for (size_t way = 0; way < kWays; ++way) {
      Entry& entry = entries_[sets[which] + way];
      if (entry.key == source && (entry.held > 0 || entry.next_ns > 0)) {
        found.match = &entry;
        return found;
      }
      if (entry.held > 0) continue;
      if (entry.next_ns > now_ns) {
        if (found.debtor == nullptr || entry.next_ns < found.debtor->next_ns) found.debtor = &entry;
      } else if (which == 0) {
        found.free = &entry;
        ++free_in_first;
      } else {
        free_second = &entry;
        ++free_in_second;
      }
    }
  }
  // The emptier of both sets, so that they fill evenly.
  if (free_in_second > free_in_first) found.free = free_second;
  return found;
}

SourceTable::Entry* SourceTable::EntryOf(const SourceKey& source, int64_t now_ns) {
  Found found = Find(source, now_ns);
  if (found.match != nullptr) return found.match;
  Entry* entry = found.free;
  if (entry == nullptr && found.debtor != nullptr) {
    entry = found.debtor;
    ++counters_.evicted;
  }
  if (entry == nullptr) {
    ++counters_.untracked;
    return nullptr;
  }
  *entry = {.key = source};
  return entry;
}

void SourceTable::Hold(const SourceKey& source, Time now) {
  if (Entry* entry = EntryOf(source, now.time_since_epoch().count())) ++entry->held;
}

SourceTable::Admission SourceTable::Admit(const SourceKey& source, Time now) {
  int64_t now_ns = now.time_since_epoch().count();
  Entry* entry = EntryOf(source, now_ns);
  if (entry == nullptr) {
    ++counters_.admitted;
    return {};
  }
  if (connections_max_ != 0 && entry->held >= connections_max_) {
    ++counters_.too_many;
    return {SourceVerdict::kTooMany, kUntracked};
  }
  if (interval_ns_ != 0) {
    if (entry->next_ns > now_ns + tolerance_ns_) {
      ++counters_.too_fast;
      return {SourceVerdict::kTooFast, kUntracked};
    }
    entry->next_ns = std::max(entry->next_ns, now_ns) + interval_ns_;
  }
  ++entry->held;
  ++counters_.admitted;
  return {SourceVerdict::kAdmitted, static_cast<Handle>(entry - entries_.data()) + 1};
}

void SourceTable::Release(Handle handle) {
  if (handle == kUntracked) return;
  Entry& entry = entries_[handle - 1];
  CHECK(entry.held > 0);
  --entry.held;
}

void SourceTable::ReleaseSource(const SourceKey& source) {
  for (size_t set : SetsOf(source)) {
    for (size_t way = 0; way < kWays; ++way) {
      Entry& entry = entries_[set + way];
      if (entry.held == 0 || entry.key != source) continue;
      --entry.held;
      return;
    }
  }
}

uint32_t SourceTable::Held(const SourceKey& source) const {
  for (size_t set : SetsOf(source)) {
    for (size_t way = 0; way < kWays; ++way) {
      const Entry& entry = entries_[set + way];
      if (entry.held > 0 && entry.key == source) return entry.held;
    }
  }
  return 0;
}

}  // namespace net
