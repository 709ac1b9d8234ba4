// What Control remembers: serials, and the state file.
#include <algorithm>
#include <numeric>
#include <utility>

#include "dns/control/control.h"
#include "dns/pool/pool_sets.h"
#include "dns/zone/digest.h"
#include "net/report/log.h"

namespace dns {
namespace {

// Balancers that are not in the configuration, whose overrides are remembered.
constexpr size_t kAbsentMax = 1024;
constexpr net::Duration kSaveInterval = std::chrono::milliseconds(20);

}  // namespace

std::vector<size_t> Control::AllZones() const {
  std::vector<size_t> all(config_->zones.size());
  std::iota(all.begin(), all.end(), size_t{0});
  return all;
}

// All that secondaries get. The TTLs of pools, which follow the next possible change of health, are
// not: those are transferred with one that stays.
uint64_t Control::ContentOf(const ZoneConfig& zone) const {
  uint64_t digest = zone.content;
  for (const auto& [name, sets] : MakePoolSets(*zone.zone, config_->PoolConfigs(), views_)) {
    for (const auto& [type, set] : sets) {
      Rrset transferred = set.set;
      transferred.ttl = set.transfer_ttl;
      digest = FoldDigest(digest, transferred);
    }
  }
  if (zone.keys) {  // a secondary has the keys' sets and all signatures
    KeyState state = zone.keys->At(UnixNow());
    Bytes keys;
    Append32(keys, signed_at_);
    Append32(keys, state.dnskey_ttl);
    for (const KeyList* list :
         {&state.published, &state.key_signers, &state.zone_signers, &state.synced}) {
      Append16(keys, list->size());
      for (const auto& key : *list) Append16(keys, key->tag());
    }
    digest = FoldDigest(digest, keys);
  }
  for (const Acme& acme : acme_) {
    if (!acme.owner.IsWithin(zone.zone->apex)) continue;
    digest = FoldDigest(
        digest, Rrset{acme.owner, Type::kTxt, 0, {Bytes(acme.token.begin(), acme.token.end())}});
  }
  return digest;
}

uint32_t Control::SerialOf(const ZoneConfig& zone) const {
  const Bytes& soa = zone.zone->names.at(zone.zone->apex).at(Type::kSoa).rdatas[0];
  return serials_.Current(zone.zone->apex.ToString(), SoaSerial(soa));
}

std::vector<size_t> Control::StepSerials(const std::vector<size_t>& zones) {
  std::vector<size_t> stepped;
  for (size_t z : zones) {
    const ZoneConfig& zone = config_->zones[z];
    if (zone.zone->unavailable) continue;
    const Bytes& soa = zone.zone->names.at(zone.zone->apex).at(Type::kSoa).rdatas[0];
    if (serials_.For(zone.zone->apex.ToString(), SoaSerial(soa), ContentOf(zone)).second) {
      stepped.push_back(z);
    }
  }
  if (!stepped.empty()) SaveState();
  return stepped;
}

SavedState Control::State() const {
  SavedState state;
  state.boot = BootId();
  state.balancers = absent_;
  for (size_t p = 0; p < runtimes_.size(); ++p) {
    for (size_t b = 0; b < runtimes_[p].balancers.size(); ++b) {
      state.balancers[BalancerKey(config_->pools[p].pool, b)] =
          runtimes_[p].balancers[b].Save(loop_.now(), UnixNowMs());
    }
  }
  state.serials = serials_.all();
  for (const Acme& acme : acme_) {
    state.tokens.push_back({acme.owner.ToString(), acme.token, acme.until_ms});
  }
  return state;
}

void Control::SaveState(bool durable) {
  if (!owns_state_) return;
  saved_at_ = loop_.now();
  if (serials_.NeedsDurable()) {
    serials_.Reserve();
    durable = true;
  }
  std::string error = state_file_.Save(State(), durable);
  if (!error.empty()) {
    net::Log(net::LogLevel::kError, "state", "cannot be saved", {{"error", error}});
  }
}

// Many verdicts may change in a moment, and each may be the last before the end: so the first is
// written at once, and those close behind it together.
void Control::SaveStateSoon() {
  if (save_armed_) return;
  save_armed_ = true;
  net::Duration wait =
      std::max<net::Duration>(net::Duration::zero(), saved_at_ + kSaveInterval - loop_.now());
  loop_.After(wait, [this] {
    save_armed_ = false;
    if (!stopping_) SaveState();
  });
}

void Control::LoadState() {
  auto state = state_file_.Load();
  if (!state) {
    net::Log(net::LogLevel::kError, "state", "cannot be read, starting without it",
             {{"error", state.error()}});
  }
  // Nothing is remembered of what was published before: the clock goes on, too.
  if (!state || state_file_.path().empty()) serials_.SetFloor(UnixNow());
  if (state) ApplyState(*state);
}

void Control::ApplyState(const SavedState& state) {
  serials_.Restore(state.serials, state.boot == BootId());
  absent_ = state.balancers;
  TakeAbsent();
  acme_.clear();
  int64_t now = UnixNowMs();
  for (const SavedToken& token : state.tokens) {
    auto owner = Name::FromText(token.owner, Name());
    bool good = owner && !token.token.empty() && token.token.size() <= 255 && token.until_ms > now;
    if (good && acme_.size() < kAcmeMax) acme_.push_back({*owner, token.token, token.until_ms});
  }
}

void Control::TakeAbsent() {
  for (size_t p = 0; p < runtimes_.size(); ++p) {
    for (size_t b = 0; b < runtimes_[p].balancers.size(); ++b) {
      auto saved = absent_.extract(BalancerKey(config_->pools[p].pool, b));
      if (saved.empty() || runtimes_[p].standings[b] != Standing::kChecking) continue;
      runtimes_[p].balancers[b].Restore(saved.mapped(), loop_.now(), UnixNowMs());
    }
  }
  // Only the operator's word is worth keeping for long.
  std::erase_if(absent_,
                [](const auto& entry) { return entry.second.override_value == Override::kNone; });
  while (absent_.size() > kAbsentMax) absent_.erase(absent_.begin());
}

}  // namespace dns
