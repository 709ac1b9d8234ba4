#include "dns/answer/zone_journal.h"

#include <algorithm>
#include <iterator>
#include <set>
#include <tuple>

namespace dns {
namespace {

auto KeyOf(const Record& record) {
  return std::tie(record.owner, record.type, record.ttl, record.rdata);
}
bool Before(const Record& a, const Record& b) { return KeyOf(a) < KeyOf(b); }

Record SoaOf(const ZoneState& state) {
  return {state.soa.owner, Type::kSoa, state.soa.ttl, state.soa.rdatas[0]};
}

size_t BytesOf(const std::vector<Record>& records) {
  size_t bytes = 0;
  for (const Record& record : records) {
    bytes += sizeof record + record.owner.size() + record.rdata.size();
  }
  return bytes;
}
size_t BytesOf(const ZoneStep& step) {
  return sizeof step + BytesOf(step.removed) + BytesOf(step.added);
}

std::set<Type> TypesOf(const std::vector<Record>& records) {
  std::set<Type> types;
  for (const Record& record : records) types.insert(record.type);
  return types;
}

bool IsAtOrBelowCut(const ZoneContents& contents, Name name) {
  for (; !contents.cuts.empty() && name != contents.zone->apex; name = name.Parent()) {
    if (contents.cuts.contains(name)) return true;
  }
  return false;
}

}  // namespace

ZoneJournal::Records ZoneJournal::RecordsAt(const ZoneContents& contents, const ZoneState& state,
                                            const Name& name, SignatureStore& signatures) {
  Records records;
  auto add = [&](const Rrset& set) {
    if (set.type != Type::kSoa) {
      for (const Bytes& rdata : set.rdatas) {
        records.push_back({set.owner, set.type, set.ttl, rdata});
      }
    }
    for (const auto& key : state.keys.SignersOf(set.type)) {
      records.push_back({set.owner, Type::kRrsig, set.ttl, signatures.Get(*key, set)});
    }
  };
  const SetMap* sets = nullptr;
  if (auto changed = contents.changed.find(name); changed != contents.changed.end()) {
    sets = &changed->second;
  } else if (auto plain = contents.zone->names.find(name); plain != contents.zone->names.end()) {
    sets = &plain->second;
  }
  if (sets != nullptr) {
    for (const auto& [type, set] : *sets) {
      if (type != Type::kSoa) add(set);
    }
  }
  if (name == contents.zone->apex) add(state.soa);
  std::ranges::sort(records, Before);
  return records;
}

std::optional<ZoneStep> ZoneJournal::Step(const ZoneContents& contents, const ZoneState& state,
                                          const Names& names, SignatureStore& signatures) const {
  ZoneStep step{SoaOf(*state_), SoaOf(state), {}, {}};
  auto compare = [&](const Name& name, const Records& before, const Records& after) {
    bool is_signed = state.keys.is_signed();
    if (is_signed && TypesOf(before) != TypesOf(after)) return false;
    if (is_signed && IsAtOrBelowCut(contents, name))
      return std::ranges::equal(before, after, {}, KeyOf, KeyOf);
    std::ranges::set_difference(before, after, std::back_inserter(step.removed), Before);
    std::ranges::set_difference(after, before, std::back_inserter(step.added), Before);
    return true;
  };
  for (const auto& [name, before] : names_) {
    auto after = names.find(name);
    bool good = after != names.end()
                    ? compare(name, before, after->second)
                    : compare(name, before, RecordsAt(contents, state, name, signatures));
    if (!good) return std::nullopt;
  }
  for (const auto& [name, after] : names) {
    if (names_.contains(name)) continue;
    if (!compare(name, RecordsAt(*contents_, *state_, name, signatures), after)) {
      return std::nullopt;
    }
  }
  return step;
}

void ZoneJournal::Publish(const std::shared_ptr<const ZoneContents>& contents,
                          const std::shared_ptr<const ZoneState>& state,
                          SignatureStore& signatures) {
  bool same =
      contents_ != nullptr && contents_->zone == contents->zone && state_->keys == state->keys;
  if (!same) Reset();
  if (same && state_->serial == state->serial) return;
  Names names;
  for (const auto& [name, sets] : contents->changed) {
    names.emplace(name, RecordsAt(*contents, *state, name, signatures));
  }
  if (same) {
    if (auto step = Step(*contents, *state, names, signatures)) {
      Keep(std::move(*step));
    } else {
      Reset();
    }
  }
  contents_ = contents;
  state_ = state;
  names_ = std::move(names);
}

void ZoneJournal::Reset() {
  steps_.clear();
  bytes_ = 0;
  contents_ = nullptr;
  state_ = nullptr;
  names_.clear();
}

void ZoneJournal::Keep(ZoneStep step) {
  bytes_ += BytesOf(step);
  steps_.push_back(std::make_shared<const ZoneStep>(std::move(step)));
  while (steps_.size() > kStepsMax || (bytes_ > kBytesMax && !steps_.empty())) {
    bytes_ -= BytesOf(*steps_.front());
    steps_.pop_front();
  }
}

std::optional<size_t> FirstStep(const ZoneSteps& steps, uint32_t serial) {
  for (size_t i = 0; i < steps.size(); ++i) {
    if (SoaSerial(steps[i]->from.rdata) == serial) return i;
  }
  return std::nullopt;
}

}  // namespace dns
