#include "dns/answer/zone_records.h"

namespace dns {

ZoneRecords::ZoneRecords(std::shared_ptr<const ZoneContents> contents,
                         std::shared_ptr<const ZoneState> state, SignatureStore* signatures)
    : contents_(std::move(contents)),
      state_(std::move(state)),
      signatures_(state_->keys.is_signed() ? signatures : nullptr),
      plain_(contents_->zone->names.begin()),
      changed_(contents_->changed.begin()) {}

std::optional<Record> ZoneRecords::Next() {
  while (queue_.empty() && !ended_) Step();
  if (queue_.empty()) return std::nullopt;
  Record record = std::move(queue_.front());
  queue_.pop_front();
  return record;
}

void ZoneRecords::Step() {
  bool has_plain = plain_ != contents_->zone->names.end();
  bool has_changed = changed_ != contents_->changed.end();
  if (!has_plain && !has_changed) {
    ended_ = true;
    if (last_) AddNsec(contents_->zone->apex);
    return;
  }
  // What is changed stands for what the zone has at the name.
  auto order = !has_plain     ? std::strong_ordering::greater
               : !has_changed ? std::strong_ordering::less
                              : plain_->first <=> changed_->first;
  auto it = order < 0 ? plain_ : changed_;
  if (order <= 0) ++plain_;
  if (order >= 0) ++changed_;
  AddName(it->first, it->second);
}

void ZoneRecords::AddName(const Name& name, const SetMap& sets) {
  if (cut_ && !name.IsWithin(*cut_)) cut_.reset();
  bool below = cut_ && name != *cut_;
  if (!below && contents_->cuts.contains(name)) cut_ = name;
  bool at_cut = cut_ && !below && name != contents_->zone->apex && sets.contains(Type::kNs);
  bool apex = name == contents_->zone->apex;
  std::vector<Type> types;
  if (apex) types.push_back(Type::kSoa);
  for (const auto& [type, set] : sets) {
    if (type == Type::kSoa) continue;
    bool ours = !below && (!at_cut || type == Type::kDs);
    AddAll(set);
    if (ours && signatures_ != nullptr) AddSigned(set);
    if (ours || (at_cut && type == Type::kNs)) types.push_back(type);
  }
  if (apex && signatures_ != nullptr) AddSigned(state_->soa);
  if (signatures_ == nullptr || below || types.empty()) return;
  if (last_) AddNsec(name);
  last_ = name;
  last_types_ = std::move(types);
}

void ZoneRecords::AddAll(const Rrset& set) {
  for (const Bytes& rdata : set.rdatas) queue_.push_back({set.owner, set.type, set.ttl, rdata});
}

void ZoneRecords::AddSigned(const Rrset& set) {
  for (const auto& key : state_->keys.SignersOf(set.type)) {
    queue_.push_back({set.owner, Type::kRrsig, set.ttl, signatures_->Get(*key, set)});
  }
}

void ZoneRecords::AddNsec(const Name& next) {
  uint32_t ttl = std::min(state_->soa.ttl, SoaMinimum(state_->soa.rdatas[0]));
  ByteView wire = next.wire();
  Bytes rdata(wire.begin(), wire.end());
  last_types_.push_back(Type::kRrsig);
  last_types_.push_back(Type::kNsec);
  Append(rdata, TypeBitmap(std::move(last_types_)));
  Rrset nsec{*last_, Type::kNsec, ttl, {std::move(rdata)}};
  AddAll(nsec);
  AddSigned(nsec);
}

}  // namespace dns
