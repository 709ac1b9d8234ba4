#include "dns/answer/image_builder.h"

#include <algorithm>
#include <array>
#include <set>

#include "net/base/check.h"

namespace dns {
namespace {

// All types that an answer can be asked for at a name: its own and, behind CNAMEs, its target's.
std::set<Type> TypesToCompile(const ZoneContext& zone, const Name& name) {
  std::set<Type> types;
  Name at = name;
  for (int hop = 0; hop < kCnameHopsMax; ++hop) {
    if (const SetMap* sets = zone.SetsAt(at)) {
      for (const auto& [type, set] : *sets) {
        if (hop == 0 || type != Type::kCname) types.insert(type);
      }
    }
    for (const auto& [type, set] : zone.PoolsAt(at)) types.insert(type);
    const Rrset* cname = zone.Find(at, Type::kCname);
    if (cname == nullptr) break;
    at = *Name::FromWire(cname->rdatas[0]);
    if (!at.IsWithin(zone.apex()) || zone.CutOf(at)) break;
  }
  return types;
}

bool IsChilds(const Name& name, const std::vector<Name>& children) {
  return std::ranges::any_of(children, [&](const Name& child) { return name.IsWithin(child); });
}

}  // namespace

Answer MakeAnswer(const ZoneContext& zone, const DynamicSpec& spec, SignatureStore& signatures,
                  Random& random, uint64_t* pools, bool* uses_soa) {
  Planner planner(zone, spec.name);
  Plan plan;
  switch (spec.what) {
    case DynamicSpec::What::kType:
      plan = planner.ForType(spec.type);
      break;
    case DynamicSpec::What::kOther:
      plan = planner.ForType(std::nullopt);
      break;
    case DynamicSpec::What::kAny:
      plan = planner.ForAny();
      break;
    case DynamicSpec::What::kOwnNsec:
      plan = planner.OwnNsec();
      break;
  }
  *pools = planner.pools();
  *uses_soa = planner.uses_soa();
  return AnswerWriter(zone, signatures, random).Write(plan);
}

uint32_t ImageBuilder::AddAnswer(Answer answer) {
  image_->answers.push_back(std::move(answer));
  return static_cast<uint32_t>(image_->answers.size() - 1);
}

uint32_t ImageBuilder::Make(const ZoneContext& zone, DynamicSpec spec) {
  Answer answer = MakeAnswer(zone, spec, signatures_, random_, &spec.pools, &spec.soa);
  if (dynamic_ == nullptr || (spec.pools == 0 && !spec.soa)) return AddAnswer(std::move(answer));
  return dynamic_(std::move(spec), std::move(answer)) | kDynamic;
}

void ImageBuilder::AddEntry(Node& node, Type type, uint32_t answer) {
  image_->entries.push_back({static_cast<uint16_t>(type), answer});
  ++node.entry_count;
}

void ImageBuilder::AddNode(const Name& name, const Node& node) {
  auto index = static_cast<uint32_t>(image_->nodes.size());
  image_->nodes.push_back(node);
  Node& added = image_->nodes.back();
  added.name_offset = static_cast<uint32_t>(image_->names.size());
  added.name_size = static_cast<uint8_t>(name.size());
  Append(image_->names, name.wire());
  image_->labels_max = std::max(image_->labels_max, name.label_count());
  if (name.is_wildcard()) wildcards_.push_back(index);
}

uint32_t ImageBuilder::NoData(const ZoneContext& zone, size_t index) {
  if (nodata_.size() <= index) nodata_.resize(index + 1, kNoRef);
  if (nodata_[index] == kNoRef) {
    Plan plan;
    plan.qname = zone.apex();
    plan.variable = true;
    plan.negative = true;
    plan.kind = AnswerKind::kNoData;
    nodata_[index] = AddAnswer(AnswerWriter(zone, signatures_, random_).Write(plan));
  }
  return nodata_[index];
}

void ImageBuilder::AddTypes(const ZoneContext& zone, size_t index, const Name& name,
                            const SetMap* sets, Node& node) {
  bool has_cname = sets != nullptr && sets->contains(Type::kCname);
  bool has_pool = !zone.PoolsAt(name).empty();
  if (!zone.is_signed() && !has_cname && !has_pool) {
    if (sets != nullptr) {
      for (const auto& [type, set] : *sets) {
        bool simple = IsSimple(set);
        AddEntry(node, type,
                 simple ? AppendSimple(set, image_->simple) | kSimple
                        : Make(zone, {.zone = index, .name = name, .type = type}));
      }
    }
    node.other = NoData(zone, index);
    return;
  }
  for (Type type : TypesToCompile(zone, name)) {
    AddEntry(node, type, Make(zone, {.zone = index, .name = name, .type = type}));
  }
  using What = DynamicSpec::What;
  node.other = Make(zone, {.zone = index, .name = name, .what = What::kOther});
  if (node.entry_count > 0) {
    AddEntry(node, Type::kAny, Make(zone, {.zone = index, .name = name, .what = What::kAny}));
  }
  if (zone.is_signed() && has_cname) {
    uint32_t own = Make(zone, {.zone = index, .name = name, .what = What::kOwnNsec});
    AddEntry(node, Type::kNsec, own);
    AddEntry(node, Type::kRrsig, own);
  }
}

void ImageBuilder::AddDname(const ZoneContext& zone, const Name& name, const SetMap* sets,
                            Node& node) {
  if (sets == nullptr || name.is_wildcard()) return;
  auto dname = sets->find(Type::kDname);
  if (dname == sets->end()) return;
  node.flags |= Node::kDname;
  node.below = AddAnswer(AnswerWriter(zone, signatures_, random_).WriteDname(name, dname->second));
}

void ImageBuilder::AddName(const ZoneContext& zone, size_t index, const Name& name,
                           const SetMap* sets) {
  Node node;
  node.zone = static_cast<uint32_t>(index);
  node.first_entry = static_cast<uint32_t>(image_->entries.size());
  // A zone of ours below another of ours: its DS is the parent's to answer.
  if (name == zone.apex()) {
    auto ds = std::ranges::find(ds_of_, name, &std::pair<Name, uint32_t>::first);
    if (ds != ds_of_.end()) AddEntry(node, Type::kDs, ds->second);
  }
  AddTypes(zone, index, name, sets, node);
  AddDname(zone, name, sets, node);
  AddNode(name, node);
}

void ImageBuilder::AddCut(const ZoneContext& zone, size_t index, const Name& cut,
                          const std::vector<Name>& children) {
  AnswerWriter writer(zone, signatures_, random_);
  uint32_t ds = AddAnswer(writer.Write(Planner(zone, cut).DsOfCut()));
  if (std::ranges::find(children, cut) != children.end()) {
    ds_of_.emplace_back(cut, ds);
    return;
  }
  Node node;
  node.zone = static_cast<uint32_t>(index);
  node.flags = Node::kDelegated;
  node.other = AddAnswer(writer.Write(Planner(zone, cut).Referral(cut)));
  Node below = node;
  node.first_entry = static_cast<uint32_t>(image_->entries.size());
  AddEntry(node, Type::kDs, ds);
  AddNode(cut, node);
  const auto& names = zone.zone().names;
  for (auto it = names.upper_bound(cut); it != names.end() && it->first.IsWithin(cut); ++it) {
    if (!IsChilds(it->first, children)) AddNode(it->first, below);
  }
}

// As a cut: whatever is below it, and the apex itself, has the one answer. Nothing of it is cached
// by the name, since it is no referral: SERVFAIL, as others do for zones that have expired.
void ImageBuilder::AddUnavailable(const ZoneContext& zone, size_t index) {
  Answer failure;
  failure.rcode = Rcode::kServFail;
  failure.kind = AnswerKind::kReferral;
  failure.authoritative = false;
  failure.ede_code = 14;  // RFC 8914 §4.15: not ready
  failure.ede_text = "the zone is not there, or has expired";
  Node node;
  node.zone = static_cast<uint32_t>(index);
  node.flags = Node::kDelegated;
  node.first_entry = static_cast<uint32_t>(image_->entries.size());
  auto ds = std::ranges::find(ds_of_, zone.apex(), &std::pair<Name, uint32_t>::first);
  if (ds != ds_of_.end()) AddEntry(node, Type::kDs, ds->second);
  node.other = AddAnswer(std::move(failure));
  AddNode(zone.apex(), node);
}

void ImageBuilder::AddZone(const ZoneContext& zone, const std::vector<Name>& children) {
  size_t index = image_->zones.size();
  AnswerWriter writer(zone, signatures_, random_);
  ImageZone added;
  added.source = zone.shared_zone();
  added.apex_size = static_cast<uint8_t>(zone.apex().size());
  added.absent = AddAnswer(writer.Write(Planner(zone, zone.apex()).Nowhere()));
  if (!zone.is_signed()) {
    // Its owner is the question, whatever that is: one for all names.
    Plan any;
    any.qname = *zone.apex().Child("*");
    any.variable = true;
    any.made = Planner(zone, zone.apex()).ForAny().made;
    any.made->owner = any.qname;
    added.any = AddAnswer(writer.Write(any));
  }
  image_->zones.push_back(std::move(added));
  if (zone.zone().unavailable) return AddUnavailable(zone, index);
  image_->nodes.reserve(image_->nodes.size() + zone.zone().names.size());
  auto add = [&](const Name& name, const SetMap* sets) {
    if (IsChilds(name, children) && std::ranges::find(children, name) == children.end()) return;
    auto cut = zone.CutOf(name);
    if (!cut) {
      if (!IsChilds(name, children)) AddName(zone, index, name, sets);
    } else if (*cut == name) {
      AddCut(zone, index, name, children);
    }
  };
  CHECK(zone.overlay().empty());  // its names are added by themselves
  for (const auto& [name, sets] : zone.zone().names) {
    add(name, name == zone.apex() ? zone.SetsAt(name) : &sets);
  }
  for (const Name& name : zone.more_names()) add(name, zone.SetsAt(name));
}

void ImageBuilder::KeepWildcard(const Image& base, const Name& name) {
  const Node* old = FindNode(base, name);
  Node& node = image_->nodes.back();
  if (old == nullptr || old->below == kNoRef || (node.flags & Node::kDname) != 0) return;
  node.below = old->below;
  node.flags |= Node::kBelowInImage;
}

std::shared_ptr<const Image> ImageBuilder::Finish() {
  Image& image = *image_;
  size_t size = 16;
  while (size < image.nodes.size() * 2) size *= 2;
  image.slots.assign(size, {});
  // Slots lie anywhere in a table that is larger than the processor's caches: they are fetched a
  // few ahead.
  constexpr size_t kAhead = 16;
  std::array<uint64_t, kAhead> hashes;
  for (size_t i = 0; i < image.nodes.size() + kAhead; ++i) {
    uint64_t& hash = hashes[i % kAhead];
    if (i >= kAhead) {
      size_t slot = hash & (size - 1);
      while (image.slots[slot].node != kNoRef) slot = (slot + 1) & (size - 1);
      image.slots[slot] = {static_cast<uint32_t>(hash >> 32), static_cast<uint32_t>(i - kAhead)};
    }
    if (i >= image.nodes.size()) continue;
    const Node& node = image.nodes[i];
    hash = HashName(ByteView(image.names).subspan(node.name_offset, node.name_size));
    __builtin_prefetch(&image.slots[hash & (size - 1)], 1);
  }
  for (uint32_t index : wildcards_) {
    const Node& node = image.nodes[index];
    auto name = Name::FromWire(ByteView(image.names).subspan(node.name_offset, node.name_size));
    CHECK(name.has_value());
    const Node* parent = FindNode(image, name->Parent());
    if (parent == nullptr || (parent->flags & (Node::kDname | Node::kDelegated)) != 0) continue;
    image.nodes[static_cast<size_t>(parent - image.nodes.data())].below = index;
  }
  image.names.shrink_to_fit();
  image.simple.shrink_to_fit();
  image.entries.shrink_to_fit();
  CHECK(image.simple.size() < kSimple && image.answers.size() < kSimple);
  return std::move(image_);
}

}  // namespace dns
