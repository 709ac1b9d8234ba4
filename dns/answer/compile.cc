#include "dns/answer/compile.h"

#include <algorithm>
#include <atomic>
#include <numeric>
#include <set>

#include "dns/answer/form_writer.h"
#include "dns/pool/pool_sets.h"
#include "net/base/check.h"

namespace dns {
namespace {

// What an answer is made of, before it is bytes.
struct Plan {
  Name qname;
  bool variable = false;
  std::vector<const Rrset*> head;
  const PoolSet* pool_set = nullptr;   // shuffled by the pool's rules
  const Rrset* shuffled = nullptr;     // shuffled: a static set of addresses
  std::vector<const Rrset*> extra;     // additional addresses of hosts that the answer names
  std::vector<const Rrset*> referral;  // NS of a cut: authority, never signed
  std::vector<const Rrset*> authority_signed;
  std::vector<const Rrset*> glue;
  bool negative = false;  // SOA in the authority section
  std::optional<Rrset> nsec;
  std::optional<LazyNsec> lazy_nsec;
  Rcode rcode = Rcode::kNoError;
  AnswerKind kind = AnswerKind::kPositive;
  bool authoritative = true;
  bool all_down = false;
};

struct ZoneContext {
  std::shared_ptr<const Zone> zone;
  std::shared_ptr<const SigningKey> key;
  const Rrset* soa = nullptr;
  Rrset negative_soa;    // with the TTL of negative answers
  std::set<Name> names;  // all that exist, empty non-terminals too
  std::set<Name> cuts;
  PoolSets pool_sets;
  uint32_t absent = kNoRef;
  uint32_t nodata = kNoRef;  // unsigned zones: one for all names

  const std::map<Type, Rrset>* SetsAt(const Name& name) const {
    auto it = zone->names.find(name);
    return it == zone->names.end() ? nullptr : &it->second;
  }
  const Rrset* Find(const Name& name, Type type) const {
    const auto* sets = SetsAt(name);
    if (sets == nullptr) return nullptr;
    auto it = sets->find(type);
    return it == sets->end() ? nullptr : &it->second;
  }
  const PoolSet* FindPool(const Name& name, Type type) const {
    auto it = pool_sets.find(name);
    if (it == pool_sets.end()) return nullptr;
    auto set = it->second.find(type);
    return set == it->second.end() ? nullptr : &set->second;
  }
  // Addresses for the additional section: a pool's as they are given out now.
  const Rrset* FindAddresses(const Name& name, Type type) const {
    if (const PoolSet* set = FindPool(name, type)) {
      return set->set.rdatas.empty() ? nullptr : &set->set;
    }
    return Find(name, type);
  }
  // The cut that `name` is at or below, if any.
  std::optional<Name> CutOf(Name name) const {
    for (; name != zone->apex; name = name.Parent()) {
      if (cuts.contains(name)) return name;
    }
    return std::nullopt;
  }
};

// The zone with what signing adds to its apex.
std::shared_ptr<const Zone> WithKeySets(const std::shared_ptr<const Zone>& zone,
                                        const SigningKey& key) {
  auto copy = std::make_shared<Zone>(*zone);
  auto& apex = copy->names[copy->apex];
  apex[Type::kDnskey] = {copy->apex, Type::kDnskey, kDnskeyTtl, {key.dnskey()}};
  apex[Type::kCdnskey] = {copy->apex, Type::kCdnskey, kDnskeyTtl, {key.dnskey()}};
  apex[Type::kCds] = {copy->apex, Type::kCds, kDnskeyTtl, {key.Ds()}};
  return copy;
}

void AddWithAncestors(ZoneContext& context, Name name) {
  while (context.names.insert(name).second && name != context.zone->apex) name = name.Parent();
}

ZoneContext MakeContext(const ZoneInput& input) {
  ZoneContext context;
  context.key = input.key;
  context.zone = input.key ? WithKeySets(input.zone, *input.key) : input.zone;
  const Zone& zone = *context.zone;
  context.soa = context.Find(zone.apex, Type::kSoa);
  CHECK(context.soa != nullptr);
  context.negative_soa = *context.soa;
  context.negative_soa.ttl = std::min(context.soa->ttl, SoaMinimum(context.soa->rdatas[0]));
  for (const auto& [name, sets] : zone.names) {
    AddWithAncestors(context, name);
    if (name != zone.apex && sets.contains(Type::kNs)) context.cuts.insert(name);
  }
  for (const PoolUse& use : zone.pools) {
    AddWithAncestors(context, use.addresses_at);
    for (const ServiceUse& service : use.services) {
      AddWithAncestors(context, ServiceOwner(use, service));
    }
  }
  return context;
}

std::optional<Name> HostOf(Type type, ByteView rdata) {
  size_t before = type == Type::kMx ? 2 : type == Type::kSrv ? 6 : 0;
  if (type != Type::kMx && type != Type::kSrv && type != Type::kNs) return std::nullopt;
  rdata = rdata.subspan(before);
  return Name::FromWire(rdata.first(RdataNameSize(rdata)));
}

// ---- Plans -----------------------------------------------------------------------------------

class Planner {
 public:
  Planner(const ZoneContext& zone, const Name& qname) : zone_(zone) {
    plan_.qname = qname;
    plan_.variable = qname.is_wildcard();
  }

  // The answer for one type, or for all types that are not there.
  Plan ForType(std::optional<Type> type) {
    Name at = plan_.qname;
    for (int hop = 0; hop < kCnameHopsMax; ++hop) {
      if (type && Take(at, *type)) return std::move(plan_);
      const Rrset* cname = zone_.Find(at, Type::kCname);
      if (cname == nullptr) return Deny(at);
      plan_.head.push_back(cname);
      at = *Name::FromWire(cname->rdatas[0]);
      if (!at.IsWithin(zone_.zone->apex) || zone_.CutOf(at)) return std::move(plan_);
      if (!zone_.names.contains(at)) {
        if (WildcardFor(at)) return std::move(plan_);  // the asker asks on
        return Absent(at);
      }
    }
    return std::move(plan_);
  }

  Plan Referral(const Name& cut) {
    plan_.qname = cut;
    plan_.variable = true;
    plan_.authoritative = false;
    plan_.kind = AnswerKind::kReferral;
    plan_.referral.push_back(zone_.Find(cut, Type::kNs));
    if (const Rrset* ds = zone_.Find(cut, Type::kDs)) {
      plan_.authority_signed.push_back(ds);
    } else if (zone_.key) {
      plan_.nsec = Nsec(cut, {Type::kNs, Type::kRrsig, Type::kNsec});
    }
    for (const Bytes& rdata :
         plan_.referral[0]->rdatas) {  // glue is what the zone says, whatever health
      for (Type type : {Type::kA, Type::kAaaa}) {
        const Rrset* found = zone_.Find(*HostOf(Type::kNs, rdata), type);
        if (found != nullptr && plan_.glue.size() < kAdditionalSetsMax) plan_.glue.push_back(found);
      }
    }
    return std::move(plan_);
  }

  // The DS of a cut belongs to the parent (RFC 4035 §3.1.4.1).
  Plan AtCut(Type type) {
    if (const Rrset* set = zone_.Find(plan_.qname, type)) {
      plan_.head.push_back(set);
      return std::move(plan_);
    }
    plan_.negative = true;
    plan_.kind = AnswerKind::kNoData;
    if (zone_.key) plan_.nsec = Nsec(plan_.qname, {Type::kNs, Type::kRrsig, Type::kNsec});
    return std::move(plan_);
  }

  // For names that do not exist; the question's name is not known.
  Plan Nowhere() {
    plan_.qname = zone_.zone->apex;
    plan_.variable = true;
    plan_.negative = true;
    plan_.rcode = Rcode::kNxDomain;
    plan_.kind = AnswerKind::kNxDomain;
    if (zone_.key) plan_.lazy_nsec = LazyNsec{kAbsentTypes, zone_.negative_soa.ttl};
    return std::move(plan_);
  }

  std::vector<Type> TypesAt(const Name& name) const {
    std::vector<Type> types = {Type::kRrsig, Type::kNsec};
    auto pool = zone_.pool_sets.find(name);
    if (const auto* sets = zone_.SetsAt(name)) {
      for (const auto& [type, set] : *sets) {
        bool of_pool = pool != zone_.pool_sets.end() && pool->second.contains(type);
        if (!of_pool) types.push_back(type);
      }
    }
    if (pool != zone_.pool_sets.end()) {
      for (const auto& [type, set] : pool->second) {
        if (!set.set.rdatas.empty()) types.push_back(type);
      }
    }
    return types;
  }

  Rrset Nsec(const Name& owner, std::vector<Type> types) const {
    return {owner, Type::kNsec, zone_.negative_soa.ttl, {CompactNsec(owner, std::move(types))}};
  }

  // Pools that the plan depends on, bit i for pool i.
  uint64_t pools() const { return pools_; }

 private:
  static inline const std::vector<Type> kAbsentTypes = {Type::kRrsig, Type::kNsec, Type::kNxname};

  bool Take(const Name& at, Type type) {
    if (const PoolSet* set = zone_.FindPool(at, type)) {
      pools_ |= uint64_t{1} << set->pool;
      if (set->set.rdatas.empty()) return false;
      plan_.pool_set = set;
      plan_.all_down = set->all_down;
      return true;
    }
    const Rrset* set = zone_.Find(at, type);
    if (set == nullptr) return false;
    bool addresses = type == Type::kA || type == Type::kAaaa;
    if (addresses && set->rdatas.size() > 1 && set->rdatas.size() <= kAnswersMax) {
      plan_.shuffled = set;
    } else {
      plan_.head.push_back(set);
      AddHosts(*set, plan_.extra);
    }
    return true;
  }

  void AddHosts(const Rrset& set, std::vector<const Rrset*>& out) {
    for (const Bytes& rdata : set.rdatas) {
      auto host = HostOf(set.type, rdata);
      if (!host) return;
      for (Type type : {Type::kA, Type::kAaaa}) {
        if (const PoolSet* pool = zone_.FindPool(*host, type)) pools_ |= uint64_t{1} << pool->pool;
        const Rrset* found = zone_.FindAddresses(*host, type);
        if (found == nullptr || out.size() == kAdditionalSetsMax) continue;
        if (std::ranges::find(out, found) == out.end()) out.push_back(found);
      }
    }
  }

  bool WildcardFor(Name name) const {
    while (!zone_.names.contains(name)) name = name.Parent();
    auto wildcard = name.Child("*");
    return wildcard && zone_.names.contains(*wildcard);
  }

  Plan Deny(const Name& at) {
    for (const auto& [type, set] : PoolSetsAt(at)) {
      pools_ |= uint64_t{1} << set.pool;
      if (set.all_down && set.set.rdatas.empty()) plan_.all_down = true;
    }
    plan_.negative = true;
    plan_.kind = AnswerKind::kNoData;
    if (!zone_.key) return std::move(plan_);
    if (plan_.variable && at == plan_.qname) {
      plan_.lazy_nsec = LazyNsec{TypesAt(at), zone_.negative_soa.ttl};
    } else {
      plan_.nsec = Nsec(at, TypesAt(at));
    }
    return std::move(plan_);
  }

  Plan Absent(const Name& at) {
    plan_.negative = true;
    plan_.rcode = Rcode::kNxDomain;
    plan_.kind = AnswerKind::kNxDomain;
    if (zone_.key) plan_.nsec = Nsec(at, kAbsentTypes);
    return std::move(plan_);
  }

  const std::map<Type, PoolSet>& PoolSetsAt(const Name& name) const {
    static const std::map<Type, PoolSet> kEmpty;
    auto it = zone_.pool_sets.find(name);
    return it == zone_.pool_sets.end() ? kEmpty : it->second;
  }

  const ZoneContext& zone_;
  Plan plan_;
  uint64_t pools_ = 0;
};

// ---- Bytes -----------------------------------------------------------------------------------

class AnswerWriter {
 public:
  AnswerWriter(const ZoneContext& zone, SignatureStore& signatures, Random& random)
      : zone_(zone), signatures_(signatures), random_(random) {}

  Answer Write(const Plan& plan) {
    Answer answer;
    answer.rcode = plan.rcode;
    answer.kind = plan.kind;
    answer.authoritative = plan.authoritative;
    if (plan.all_down) {
      answer.ede_code = 0;
      answer.ede_text = "no balancer of the pool is up";
    }
    answer.plain = WriteForm(plan, false);
    if (zone_.key) answer.signed_form = std::make_unique<const Form>(WriteForm(plan, true));
    return answer;
  }

 private:
  Form WriteForm(const Plan& plan, bool sign) {
    Form form;
    FormWriter writer(plan.qname, plan.variable, zone_.zone->apex);
    for (const Rrset* set : plan.head) {
      bool lazy = sign && plan.variable && set->owner == plan.qname;
      AddSet(writer, form.head, *set, sign && !lazy);
      if (lazy) form.lazy_head = std::make_shared<const Rrset>(*set);
    }
    if (plan.pool_set != nullptr) WritePoolSet(writer, plan, *plan.pool_set, sign, form);
    if (plan.shuffled != nullptr) WriteShuffled(writer, plan, *plan.shuffled, sign, form);
    for (const Rrset* set : plan.referral) AddSet(writer, form.authority, *set, false);
    for (const Rrset* set : plan.authority_signed) AddSet(writer, form.authority, *set, sign);
    if (plan.negative) AddSet(writer, form.authority, zone_.negative_soa, sign);
    if (sign && plan.nsec) AddSet(writer, form.authority, *plan.nsec, true);
    if (sign) form.lazy_nsec = plan.lazy_nsec;
    for (const Rrset* set : plan.extra) AddSet(writer, form.additional, *set, sign);
    for (const Rrset* set : plan.glue) AddSet(writer, form.additional, *set, false);
    form.additional_required = !plan.glue.empty();
    return form;
  }

  void AddSet(const FormWriter& writer, Section& out, const Rrset& set, bool sign) {
    writer.Set(out, set);
    if (!sign) return;
    writer.Set(out, {set.owner, Type::kRrsig, set.ttl, {signatures_.Get(*zone_.key, set)}});
  }

  void AddChoice(const FormWriter& writer, const Rrset& set, ByteView rdata, uint32_t weight,
                 Form& form) {
    Choice choice;
    choice.offset = static_cast<uint32_t>(form.choice_bytes.size());
    writer.Record(form.choice_bytes, set, rdata, nullptr);
    choice.size = static_cast<uint16_t>(form.choice_bytes.size() - choice.offset);
    choice.weight = weight;
    CHECK(form.choices.size() < kRecordsPerSetMax);  // `check` refuses more
    form.choices.push_back(choice);
  }

  void AddExtras(const FormWriter& writer, const Name& host, bool sign, Form& form) {
    Choice& choice = form.choices.back();
    choice.extra_offset = static_cast<uint32_t>(form.extra_bytes.size());
    for (Type type : {Type::kA, Type::kAaaa}) {
      const Rrset* set = zone_.FindAddresses(host, type);
      if (set == nullptr) continue;
      for (const Bytes& rdata : set->rdatas) {
        writer.Record(form.extra_bytes, *set, rdata, nullptr);
        ++choice.extra_count;
      }
      if (!sign) continue;
      Rrset rrsig{host, Type::kRrsig, set->ttl, {signatures_.Get(*zone_.key, *set)}};
      writer.Record(form.extra_bytes, rrsig, rrsig.rdatas[0], nullptr);
      ++choice.extra_count;
    }
    choice.extra_size = static_cast<uint16_t>(form.extra_bytes.size() - choice.extra_offset);
  }

  void WritePoolSet(const FormWriter& writer, const Plan& plan, const PoolSet& pool_set, bool sign,
                    Form& form) {
    for (size_t i = 0; i < pool_set.set.rdatas.size(); ++i) {
      AddChoice(writer, pool_set.set, pool_set.set.rdatas[i], pool_set.weights[i], form);
      if (!pool_set.hosts.empty()) AddExtras(writer, pool_set.hosts[i], sign, form);
    }
    form.weighted = pool_set.weighted;
    form.take =
        pool_set.weighted
            ? AnswersFor(pool_set.weights, pool_set.answers_max)
            : static_cast<uint16_t>(std::min<size_t>(form.choices.size(), pool_set.answers_max));
    FinishChoices(writer, plan, pool_set.set, sign, form);
  }

  void WriteShuffled(const FormWriter& writer, const Plan& plan, const Rrset& set, bool sign,
                     Form& form) {
    for (const Bytes& rdata : set.rdatas) AddChoice(writer, set, rdata, 1, form);
    form.take = static_cast<uint16_t>(form.choices.size());
    FinishChoices(writer, plan, set, sign, form);
  }

  void FinishChoices(const FormWriter& writer, const Plan& plan, const Rrset& set, bool sign,
                     Form& form) {
    const auto& choices = form.choices;
    form.weight_sum =
        std::accumulate(choices.begin(), choices.end(), uint64_t{0},
                        [](uint64_t sum, const Choice& choice) { return sum + choice.weight; });
    bool uniform = std::ranges::all_of(choices, [&](const Choice& choice) {
      return choice.size == choices[0].size && choice.extra_count == 0;
    });
    form.uniform_size = uniform && !form.weighted ? choices[0].size : uint16_t{0};
    if (sign) DrawVariants(writer, plan, set, form);
  }

  void DrawVariants(const FormWriter& writer, const Plan& plan, const Rrset& set, Form& form) {
    bool whole = form.take == form.choices.size();
    bool lazy = plan.variable && set.owner == plan.qname;
    for (size_t i = 0; i < (whole ? 1 : kVariants); ++i) {
      std::vector<uint8_t> items(form.choices.size());
      std::iota(items.begin(), items.end(), uint8_t{0});
      if (form.weighted && !whole) {
        DrawWeighted(random_, items.data(), items.size(), form.take, form.weight_sum,
                     [&](uint8_t item) { return uint64_t{form.choices[item].weight}; });
      } else {
        ShuffleFirst(random_, items.data(), items.size(), form.take);
      }
      items.resize(form.take);
      Variant variant{items, {}};
      if (!lazy) {
        Rrset subset{set.owner, set.type, set.ttl, {}};
        for (uint8_t item : items) subset.rdatas.push_back(set.rdatas[item]);
        Rrset rrsig{set.owner, Type::kRrsig, set.ttl, {signatures_.Get(*zone_.key, subset)}};
        writer.Record(variant.rrsig, rrsig, rrsig.rdatas[0], nullptr);
      }
      form.variants.push_back(std::move(variant));
    }
    if (lazy) form.lazy_choices = std::make_shared<const Rrset>(set);
  }

  const ZoneContext& zone_;
  SignatureStore& signatures_;
  Random& random_;
};

Plan AnyPlan(const ZoneContext& zone, const Name& name, const Rrset& hinfo) {
  Plan plan;
  plan.qname = name;
  plan.variable = false;
  plan.head.push_back(&hinfo);
  static_cast<void>(zone);
  return plan;
}

// RFC 8482 §4.2: CPU "RFC8482", OS empty.
Rrset AnySet(const Name& owner) {
  return {owner, Type::kHinfo, kAnyTtl, {{7, 'R', 'F', 'C', '8', '4', '8', '2', 0}}};
}

}  // namespace

// ---- The compiler ------------------------------------------------------------------------------

struct Compiler::Impl {
  struct DynamicSpec {
    size_t zone;
    Name name;
    std::optional<Type> type;
    uint64_t pools;
  };

  std::vector<ZoneContext> zones;
  std::vector<PoolConfig> pools;
  Random random;
  std::shared_ptr<Image> image;  // while building
  std::vector<DynamicSpec> specs;
  std::vector<std::shared_ptr<const Answer>> dynamic;
  std::map<Name, uint32_t> node_of;
  std::shared_ptr<const Image> published;

  Impl(std::vector<PoolConfig> p, uint64_t seed) : pools(std::move(p)), random(seed) {}

  void RefreshPoolSets(std::span<const PoolView> views) {
    for (ZoneContext& zone : zones) zone.pool_sets = MakePoolSets(*zone.zone, pools, views);
  }

  uint32_t AddAnswer(Answer answer) {
    image->answers.push_back(std::move(answer));
    return static_cast<uint32_t>(image->answers.size() - 1);
  }

  // Compiles the answer for (name, type) into the image, or to the pool answers when it depends on
  // a pool.
  uint32_t Compile(size_t zone, const Name& name, std::optional<Type> type,
                   SignatureStore& signatures) {
    Planner planner(zones[zone], name);
    Plan plan = planner.ForType(type);
    Answer answer = AnswerWriter(zones[zone], signatures, random).Write(plan);
    if (planner.pools() == 0) return AddAnswer(std::move(answer));
    specs.push_back({zone, name, type, planner.pools()});
    dynamic.push_back(std::make_shared<const Answer>(std::move(answer)));
    return static_cast<uint32_t>(dynamic.size() - 1) | kDynamic;
  }

  void AddEntry(Node& node, Type type, uint32_t answer) {
    image->entries.push_back({static_cast<uint16_t>(type), answer});
    ++node.entry_count;
  }

  void AddNode(const Name& name, Node node) {
    node.name_offset = static_cast<uint32_t>(image->names.size());
    node.name_size = static_cast<uint8_t>(name.size());
    Append(image->names, name.wire());
    image->labels_max = std::max(image->labels_max, name.label_count());
    auto [it, fresh] = node_of.try_emplace(name, static_cast<uint32_t>(image->nodes.size()));
    if (fresh) {
      image->nodes.push_back(node);
    } else {
      image->nodes[it->second] = node;
    }
  }

  // The answer for the types that are not at the name. Unsigned zones share one.
  uint32_t OtherAnswer(size_t zone, const Name& name, SignatureStore& signatures) {
    ZoneContext& context = zones[zone];
    bool has_cname = context.Find(name, Type::kCname) != nullptr;
    bool has_pool = context.pool_sets.contains(name);
    if (context.key || has_cname || has_pool) return Compile(zone, name, std::nullopt, signatures);
    return context.nodata;
  }

  void CompileName(size_t zone, const Name& name, SignatureStore& signatures);
  void CompileCut(size_t zone, const Name& cut, SignatureStore& signatures);
  void CompileZone(size_t zone, SignatureStore& signatures);
  void CompileSpecials(size_t zone, const Name& name, Node& node, SignatureStore& signatures);
  std::set<Type> TypesToCompile(const ZoneContext& zone, const Name& name) const;
  void LinkWildcards();
  void FillSlots();
  std::shared_ptr<const Generation> Publish(uint32_t now, const SignatureStore& signatures);
};

// All types that an answer can be asked for at a name: its own and, behind CNAMEs, its target's.
std::set<Type> Compiler::Impl::TypesToCompile(const ZoneContext& zone, const Name& name) const {
  std::set<Type> types;
  Name at = name;
  for (int hop = 0; hop < kCnameHopsMax; ++hop) {
    if (const auto* sets = zone.SetsAt(at)) {
      for (const auto& [type, set] : *sets) {
        if (hop == 0 || type != Type::kCname) types.insert(type);
      }
    }
    auto pool = zone.pool_sets.find(at);
    if (pool != zone.pool_sets.end()) {
      for (const auto& [type, set] : pool->second) types.insert(type);
    }
    const Rrset* cname = zone.Find(at, Type::kCname);
    if (cname == nullptr) break;
    at = *Name::FromWire(cname->rdatas[0]);
    if (!at.IsWithin(zone.zone->apex) || zone.CutOf(at)) break;
  }
  return types;
}

// ANY, and in signed zones NSEC and RRSIG, asked for by name.
void Compiler::Impl::CompileSpecials(size_t zone, const Name& name, Node& node,
                                     SignatureStore& signatures) {
  if (name.is_wildcard()) return;
  ZoneContext& context = zones[zone];
  AnswerWriter writer(context, signatures, random);
  Rrset any = AnySet(name);
  AddEntry(node, Type::kAny, AddAnswer(writer.Write(AnyPlan(context, name, any))));
  if (!context.key || context.pool_sets.contains(name)) return;
  Planner planner(context, name);
  Rrset nsec = planner.Nsec(name, planner.TypesAt(name));
  AddEntry(node, Type::kNsec, AddAnswer(writer.Write(AnyPlan(context, name, nsec))));
  Rrset rrsig{name, Type::kRrsig, nsec.ttl, {signatures.Get(*context.key, nsec)}};
  Answer answer;
  FormWriter(name, false, context.zone->apex).Set(answer.plain.head, rrsig);
  AddEntry(node, Type::kRrsig, AddAnswer(std::move(answer)));
}

void Compiler::Impl::CompileName(size_t zone, const Name& name, SignatureStore& signatures) {
  Node node;
  node.zone = static_cast<uint32_t>(zone);
  node.first_entry = static_cast<uint32_t>(image->entries.size());
  // A zone of ours below another of ours: its DS is the parent's to answer.
  auto parent = node_of.find(name);
  if (parent != node_of.end()) {
    const Node& old = image->nodes[parent->second];
    for (size_t i = 0; i < old.entry_count; ++i) {
      Entry entry = image->entries[old.first_entry + i];
      if (entry.type == static_cast<uint16_t>(Type::kDs)) AddEntry(node, Type::kDs, entry.answer);
    }
  }
  // Addresses are asked for most: they stand first.
  for (Type type : TypesToCompile(zones[zone], name)) {
    AddEntry(node, type, Compile(zone, name, type, signatures));
  }
  node.other = OtherAnswer(zone, name, signatures);
  CompileSpecials(zone, name, node, signatures);
  AddNode(name, node);
}

void Compiler::Impl::CompileCut(size_t zone, const Name& cut, SignatureStore& signatures) {
  ZoneContext& context = zones[zone];
  AnswerWriter writer(context, signatures, random);
  Node node;
  node.zone = static_cast<uint32_t>(zone);
  node.delegated = true;
  node.other = AddAnswer(writer.Write(Planner(context, cut).Referral(cut)));
  Node below = node;
  node.first_entry = static_cast<uint32_t>(image->entries.size());
  AddEntry(node, Type::kDs, AddAnswer(writer.Write(Planner(context, cut).AtCut(Type::kDs))));
  AddNode(cut, node);
  for (auto it = context.names.upper_bound(cut); it != context.names.end() && it->IsWithin(cut);
       ++it) {
    AddNode(*it, below);
  }
}

void Compiler::Impl::CompileZone(size_t zone, SignatureStore& signatures) {
  ZoneContext& context = zones[zone];
  AnswerWriter writer(context, signatures, random);
  context.absent = AddAnswer(writer.Write(Planner(context, context.zone->apex).Nowhere()));
  Plan nodata;
  nodata.qname = context.zone->apex;
  nodata.variable = true;
  nodata.negative = true;
  nodata.kind = AnswerKind::kNoData;
  if (!context.key) context.nodata = AddAnswer(writer.Write(nodata));
  for (const Name& name : context.names) {
    auto cut = context.CutOf(name);
    if (!cut) {
      CompileName(zone, name, signatures);
    } else if (*cut == name) {
      CompileCut(zone, name, signatures);
    }
  }
  image->zones.push_back({context.zone, context.key,
                          static_cast<uint8_t>(context.zone->apex.size()), context.absent,
                          SoaSerial(context.soa->rdatas[0])});
}

void Compiler::Impl::LinkWildcards() {
  for (const auto& [name, index] : node_of) {
    if (!name.is_wildcard()) continue;
    auto parent = node_of.find(name.Parent());
    if (parent != node_of.end()) image->nodes[parent->second].wildcard = index;
  }
}

void Compiler::Impl::FillSlots() {
  size_t size = 16;
  while (size < image->nodes.size() * 2) size *= 2;
  image->slots.assign(size, {});
  for (uint32_t i = 0; i < image->nodes.size(); ++i) {
    const Node& node = image->nodes[i];
    uint64_t hash = HashName(ByteView(image->names).subspan(node.name_offset, node.name_size));
    size_t slot = hash & (size - 1);
    while (image->slots[slot].node != kNoRef) slot = (slot + 1) & (size - 1);
    image->slots[slot] = {static_cast<uint32_t>(hash >> 32), i};
  }
}

std::shared_ptr<const Generation> Compiler::Impl::Publish(uint32_t now,
                                                          const SignatureStore& signatures) {
  auto made = std::make_shared<Generation>();
  static std::atomic<uint64_t> generations{0};  // over all compilers: reloads make new ones
  made->id = ++generations;
  made->image = published;
  made->dynamic = dynamic;
  made->validity = signatures.ValidityAt(now);
  return made;
}

Compiler::Compiler(std::vector<ZoneInput> zones, std::vector<PoolConfig> pools, uint64_t seed)
    : impl_(std::make_unique<Impl>(std::move(pools), seed)) {
  CHECK(impl_->pools.size() <= kPoolsMax);
  // Parents first: a zone below another replaces the parent's cut.
  std::ranges::sort(zones, [](const ZoneInput& a, const ZoneInput& b) {
    return a.zone->apex.label_count() < b.zone->apex.label_count();
  });
  for (const ZoneInput& zone : zones) impl_->zones.push_back(MakeContext(zone));
}

Compiler::~Compiler() = default;

std::shared_ptr<const Generation> Compiler::Build(std::span<const PoolView> views, uint32_t now,
                                                  SignatureStore& signatures) {
  signatures.Begin(now);
  impl_->image = std::make_shared<Image>();
  impl_->specs.clear();
  impl_->dynamic.clear();
  impl_->node_of.clear();
  impl_->RefreshPoolSets(views);
  for (size_t i = 0; i < impl_->zones.size(); ++i) impl_->CompileZone(i, signatures);
  impl_->LinkWildcards();
  impl_->FillSlots();
  impl_->published = std::move(impl_->image);
  signatures.ForgetOthers();
  return impl_->Publish(now, signatures);
}

std::shared_ptr<const Generation> Compiler::Update(std::span<const PoolView> views,
                                                   uint64_t changed, uint32_t now,
                                                   SignatureStore& signatures) {
  CHECK(impl_->published != nullptr);
  signatures.Begin(now);
  impl_->RefreshPoolSets(views);
  for (size_t i = 0; i < impl_->specs.size(); ++i) {
    const Impl::DynamicSpec& spec = impl_->specs[i];
    if ((spec.pools & changed) == 0) continue;
    const ZoneContext& zone = impl_->zones[spec.zone];
    Plan plan = Planner(zone, spec.name).ForType(spec.type);
    impl_->dynamic[i] =
        std::make_shared<const Answer>(AnswerWriter(zone, signatures, impl_->random).Write(plan));
  }
  return impl_->Publish(now, signatures);
}

std::vector<Record> Compiler::Records(const Zone& zone, const std::vector<PoolConfig>& pools,
                                      std::span<const PoolView> views) {
  std::vector<Record> records;
  auto add = [&](const Rrset& set) {
    for (const Bytes& rdata : set.rdatas) {
      records.push_back({set.owner, set.type, set.ttl, rdata});
    }
  };
  const PoolSets pool_sets = MakePoolSets(zone, pools, views);
  for (const auto& [name, sets] : zone.names) {
    auto pool = pool_sets.find(name);
    for (const auto& [type, set] : sets) {
      bool of_pool = pool != pool_sets.end() && pool->second.contains(type);
      if (type != Type::kSoa && !of_pool) add(set);
    }
  }
  for (const auto& [name, sets] : pool_sets) {
    for (const auto& [type, set] : sets) add(set.set);
  }
  std::ranges::sort(records, [](const Record& a, const Record& b) {
    auto order = a.owner <=> b.owner;
    return order != 0 ? order < 0 : a.type < b.type;
  });
  return records;
}

}  // namespace dns
