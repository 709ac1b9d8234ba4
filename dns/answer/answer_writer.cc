#include "dns/answer/answer_writer.h"

#include <algorithm>
#include <cstring>
#include <numeric>

#include "net/base/check.h"

namespace dns {

Answer AnswerWriter::Write(const Plan& plan) {
  Answer answer;
  answer.rcode = plan.rcode;
  answer.kind = plan.kind;
  answer.authoritative = plan.authoritative;
  if (plan.all_down) {
    answer.ede_code = 0;
    answer.ede_text = "no balancer of the pool is up";
  }
  answer.plain = WriteForm(plan, false);
  if (zone_.is_signed()) answer.signed_form = std::make_unique<const Form>(WriteForm(plan, true));
  return answer;
}

Answer AnswerWriter::WriteDname(const Name& owner, const Rrset& dname) {
  Answer answer;
  answer.kind = AnswerKind::kDname;
  answer.dname_target = dname.rdatas[0];
  answer.dname_ttl = dname.ttl;
  FormWriter writer(owner, true, owner);
  AddSet(writer, answer.plain.head, dname, false);
  if (zone_.is_signed()) {
    Form form;
    AddSet(writer, form.head, dname, true);
    answer.signed_form = std::make_unique<const Form>(std::move(form));
  }
  return answer;
}

ZoneState AnswerWriter::WriteState() {
  ZoneState state;
  state.soa = zone_.soa();
  state.serial = SoaSerial(state.soa.rdatas[0]);
  state.keys = zone_.keys();
  FormWriter writer(zone_.apex(), true, zone_.apex());
  AddSet(writer, state.negative, zone_.negative_soa(), false);
  if (zone_.is_signed()) AddSet(writer, state.negative_signed, zone_.negative_soa(), true);
  return state;
}

Form AnswerWriter::WriteForm(const Plan& plan, bool sign) {
  Form form;
  FormWriter writer(plan.qname, plan.variable, zone_.apex());
  auto add_to_head = [&](const Rrset& set) {
    bool lazy = sign && plan.variable && set.owner == plan.qname;
    AddSet(writer, form.head, set, sign && !lazy);
    if (lazy) form.lazy_head = std::make_shared<const Rrset>(set);
  };
  for (const Rrset* set : plan.head) add_to_head(*set);
  if (plan.made) add_to_head(*plan.made);
  if (plan.pool_set != nullptr) WritePoolSet(writer, plan, *plan.pool_set, sign, form);
  if (plan.shuffled != nullptr) WriteShuffled(writer, plan, *plan.shuffled, sign, form);
  if (plan.referral != nullptr) AddSet(writer, form.authority, *plan.referral, false);
  if (sign && plan.ds != nullptr) AddSet(writer, form.authority, *plan.ds, true);
  form.negative = plan.negative;
  if (sign && plan.nsec) AddSet(writer, form.nsec, *plan.nsec, true);
  if (sign) form.lazy_nsec = plan.lazy_nsec;
  // Addresses of a cut's name servers are not ours to sign.
  bool sign_extra = sign && plan.kind != AnswerKind::kReferral;
  for (const Rrset* set : plan.glue) AddSet(writer, form.glue, *set, false);
  for (const Rrset* set : plan.extra) AddSet(writer, form.additional, *set, sign_extra);
  return form;
}

Rrset AnswerWriter::Signatures(const Rrset& set) {
  Rrset rrsigs{set.owner, Type::kRrsig, set.ttl, {}};
  for (const auto& key : zone_.keys().SignersOf(set.type)) {
    rrsigs.rdatas.push_back(signatures_.Get(*key, set));
  }
  return rrsigs;
}

void AnswerWriter::AddSet(const FormWriter& writer, Section& out, const Rrset& set, bool sign) {
  writer.Set(out, set);
  if (sign) writer.Set(out, Signatures(set));
}

void AnswerWriter::AddChoice(const FormWriter& writer, const Rrset& set, ByteView rdata,
                             uint32_t weight, Form& form) {
  Choice choice;
  choice.offset = static_cast<uint32_t>(form.choice_bytes.size());
  writer.Record(form.choice_bytes, set, rdata, nullptr);
  choice.size = static_cast<uint16_t>(form.choice_bytes.size() - choice.offset);
  choice.weight = weight;
  CHECK(form.choices.size() < kRecordsPerSetMax);  // `check` refuses more
  form.choices.push_back(choice);
}

void AnswerWriter::AddExtras(const FormWriter& writer, const Name& host, bool sign, Form& form) {
  Choice& choice = form.choices.back();
  choice.extra_offset = static_cast<uint32_t>(form.extra_bytes.size());
  auto add = [&](const Rrset& set) {
    for (const Bytes& rdata : set.rdatas) {
      writer.Record(form.extra_bytes, set, rdata, nullptr);
      ++choice.extra_count;
    }
  };
  for (Type type : {Type::kA, Type::kAaaa}) {
    const Rrset* set = zone_.FindAddresses(host, type);
    if (set == nullptr) continue;
    add(*set);
    if (sign) add(Signatures(*set));
  }
  choice.extra_size = static_cast<uint16_t>(form.extra_bytes.size() - choice.extra_offset);
}

void AnswerWriter::WritePoolSet(const FormWriter& writer, const Plan& plan, const PoolSet& pool_set,
                                bool sign, Form& form) {
  for (size_t i = 0; i < pool_set.set.rdatas.size(); ++i) {
    AddChoice(writer, pool_set.set, pool_set.set.rdatas[i], pool_set.weights[i], form);
    if (!pool_set.hosts.empty()) AddExtras(writer, pool_set.hosts[i], sign, form);
  }
  form.weighted = pool_set.weighted;
  form.take = pool_set.AnswersPerReply();
  FinishChoices(writer, plan, pool_set.set, sign, form);
}

void AnswerWriter::WriteShuffled(const FormWriter& writer, const Plan& plan, const Rrset& set,
                                 bool sign, Form& form) {
  for (const Bytes& rdata : set.rdatas) AddChoice(writer, set, rdata, 1, form);
  form.take = static_cast<uint16_t>(form.choices.size());
  FinishChoices(writer, plan, set, sign, form);
}

void AnswerWriter::FinishChoices(const FormWriter& writer, const Plan& plan, const Rrset& set,
                                 bool sign, Form& form) {
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

void AnswerWriter::DrawVariants(const FormWriter& writer, const Plan& plan, const Rrset& set,
                                Form& form) {
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
    Variant variant{items, {}, 0};
    if (!lazy) {
      Rrset subset{set.owner, set.type, set.ttl, {}};
      for (uint8_t item : items) subset.rdatas.push_back(set.rdatas[item]);
      Rrset rrsigs = Signatures(subset);
      for (const Bytes& rdata : rrsigs.rdatas) {
        writer.Record(variant.rrsigs, rrsigs, rdata, nullptr);
        ++variant.rrsig_count;
      }
    }
    form.variants.push_back(std::move(variant));
  }
  if (lazy) form.lazy_choices = std::make_shared<const Rrset>(set);
}

bool IsSimple(const Rrset& set) {
  switch (set.type) {
    case Type::kNs:
    case Type::kCname:
    case Type::kSoa:
    case Type::kPtr:
    case Type::kMx:
    case Type::kSrv:
    case Type::kDname:
      return false;
    default:
      return true;
  }
}

uint32_t AppendSimple(const Rrset& set, Bytes& out) {
  bool shuffled = (set.type == Type::kA || set.type == Type::kAaaa) && set.rdatas.size() > 1 &&
                  set.rdatas.size() <= kAnswersMax;
  SimpleSet head;
  head.count = static_cast<uint16_t>(set.rdatas.size());
  for (const Bytes& rdata : set.rdatas) {
    head.bytes += static_cast<uint32_t>(kRecordFixedBytes + rdata.size());
  }
  if (shuffled) head.uniform_size = static_cast<uint16_t>(kRecordFixedBytes + set.rdatas[0].size());
  out.resize((out.size() + alignof(SimpleSet) - 1) / alignof(SimpleSet) * alignof(SimpleSet));
  auto offset = static_cast<uint32_t>(out.size());
  out.resize(offset + sizeof head);
  std::memcpy(out.data() + offset, &head, sizeof head);
  for (const Bytes& rdata : set.rdatas) {
    Append16(out, 0xc000u | kHeaderBytes);
    Append16(out, static_cast<uint16_t>(set.type));
    Append16(out, kClassIn);
    Append32(out, set.ttl);
    Append16(out, rdata.size());
    Append(out, rdata);
  }
  return offset;
}

}  // namespace dns
