#include "dns/answer/lazy_signer.h"

#include <algorithm>

namespace dns {

bool LazySigner::Spend(uint64_t now_ms, size_t signatures) {
  uint64_t full = uint64_t{per_second_} * 1000;
  uint64_t elapsed = last_ms_ == 0 ? 1000 : now_ms - std::min(now_ms, last_ms_);
  tokens_ = std::min(full, tokens_ + std::min<uint64_t>(elapsed, 1000) * per_second_);
  last_ms_ = std::max<uint64_t>(now_ms, 1);
  if (tokens_ < 1000 * signatures) return false;
  tokens_ -= 1000 * signatures;
  return true;
}

const std::vector<Bytes>* LazySigner::Sign(const Generation& generation, const KeyList& keys,
                                           const Rrset& set, uint64_t source, uint64_t now_ms) {
  if (table_.empty()) table_.resize(kTableEntries);
  ByteView owner = set.owner.wire();
  Entry& entry = table_[(HashName(owner) ^ source * 0x9e3779b97f4a7c15u) % kTableEntries];
  if (entry.generation == generation.id && entry.source == source &&
      std::ranges::equal(entry.owner, owner)) {
    return &entry.rrsigs;
  }
  if (!Spend(now_ms, keys.size())) return nullptr;
  made_ += keys.size();
  entry = {generation.id, source, Bytes(owner.begin(), owner.end()), {}};
  for (const auto& key : keys) entry.rrsigs.push_back(MakeRrsig(*key, set, generation.validity));
  return &entry.rrsigs;
}

}  // namespace dns
