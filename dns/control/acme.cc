// ACME's DNS-01 challenges (RFC 8555 §8.4): what operators, updates and other nodes put into zones.
#include <algorithm>

#include "dns/control/control.h"

namespace dns {

const ZoneConfig* Control::ZoneOf(const Name& name) const {
  const ZoneConfig* ours = nullptr;
  for (const ZoneConfig& zone : config_->zones) {
    if (!name.IsWithin(zone.zone->apex)) continue;
    if (ours == nullptr || zone.zone->apex.label_count() > ours->zone->apex.label_count()) {
      ours = &zone;
    }
  }
  return ours;
}

std::set<Name> Control::NamesBeside(const PoolSets& sets) const {
  std::set<Name> names;
  for (const auto& [name, of_types] : sets) names.insert(name);
  for (const Acme& acme : acme_) names.insert(acme.owner);
  return names;
}

std::expected<Name, std::string> Control::ChallengeOwner(const std::string& name) const {
  // A certificate for *.NAME is ordered at NAME's challenge (RFC 8555 §8.4).
  auto owner = Name::FromText(name.starts_with("*.") ? name.substr(2) : name, Name());
  if (!owner) return std::unexpected("'" + name + "' is not a name: it " + owner.error());
  auto challenge = owner->Child("_acme-challenge");
  if (!challenge) return std::unexpected("'" + name + "' is too long for a challenge");
  const ZoneConfig* ours = ZoneOf(*challenge);
  if (ours == nullptr) {
    return std::unexpected("'" + name + "' is in no zone that is served here");
  }
  const auto& names = ours->zone->names;
  for (Name at = *challenge; at != ours->zone->apex; at = at.Parent()) {
    auto sets = names.find(at);
    if (sets == names.end()) continue;
    if (sets->second.contains(Type::kNs)) {
      return std::unexpected("'" + name + "' is below the delegation of " + at.ToString() +
                             ": set the challenge at that zone's servers");
    }
    if (at == *challenge && sets->second.contains(Type::kCname)) {
      return std::unexpected(at.ToString() + " is a CNAME: set the challenge where that points to");
    }
  }
  return *challenge;
}

std::string Control::SetAcme(const std::string& name, const std::string& token, uint32_t seconds) {
  auto challenge = ChallengeOwner(name);
  if (!challenge) return challenge.error();
  if (token.empty() || token.size() > 255) return "the token must have 1 to 255 bytes";
  int64_t now = UnixNowMs();
  std::erase_if(acme_, [&](const Acme& acme) {
    return acme.until_ms <= now || (acme.owner == *challenge && acme.token == token);
  });
  if (acme_.size() >= kAcmeMax) {
    return "there are " + std::to_string(kAcmeMax) +
           " challenges already; see: mongoosedns ctl acme list";
  }
  acme_.push_back({*challenge, token, now + seconds * int64_t{1000}});
  PublishAcme();
  return "";
}

std::string Control::ClearAcme(const std::string& name, const std::string& token) {
  std::optional<Name> owner;
  if (!name.empty()) {
    auto challenge = ChallengeOwner(name);
    if (!challenge) return challenge.error();
    owner = *challenge;
  }
  size_t cleared = std::erase_if(acme_, [&](const Acme& acme) {
    return (!owner || acme.owner == *owner) && (token.empty() || acme.token == token);
  });
  if (cleared == 0 && owner) {
    return "there is no such challenge; see: mongoosedns ctl acme list";
  }
  if (cleared != 0) PublishAcme();
  return "";
}

void Control::PublishAcme() {
  std::vector<size_t> stepped = StepSerials(AllZones());
  SaveState(true);
  Republish(0);
  Notify(stepped);
  ArmAcmeTimer();
}

void Control::ArmAcmeTimer() {
  if (acme_armed_) loop_.CancelTimer(acme_timer_);
  acme_armed_ = !acme_.empty();
  if (!acme_armed_) return;
  int64_t soonest = std::ranges::min(acme_, {}, &Acme::until_ms).until_ms;
  // The wall clock may step: it is asked again at least each minute.
  auto wait = std::chrono::milliseconds(std::clamp<int64_t>(soonest - UnixNowMs(), 1, 60'000));
  acme_timer_ = loop_.After(wait, [this] {
    acme_armed_ = false;
    int64_t now = UnixNowMs();
    if (std::erase_if(acme_, [&](const Acme& acme) { return acme.until_ms <= now; }) != 0) {
      PublishAcme();
    } else {
      ArmAcmeTimer();
    }
  });
}

}  // namespace dns
