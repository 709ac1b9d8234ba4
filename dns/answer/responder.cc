#include "dns/answer/responder.h"

#include <algorithm>
#include <cstring>

#include "net/base/check.h"

namespace dns {

namespace {

constexpr uint16_t kFlagAa = 0x0400;
constexpr uint16_t kFlagTc = 0x0200;
constexpr uint16_t kFlagRd = 0x0100;
constexpr size_t kOptBytes = 11;
constexpr size_t kOptionBytes = 4;
constexpr size_t kItemsMax = 256;
static_assert(kItemsMax == kShuffledMax);
// RFC 8467 §4.1: responses over encrypted transports are padded to a multiple of this.
constexpr size_t kPaddingBlock = 468;
// Extended DNS Errors (RFC 8914, 9824).
constexpr uint16_t kEdeNotAuthoritative = 20;
constexpr uint16_t kEdeInvalidQueryType = 30;
constexpr uint16_t kEdeOther = 0;
// What the rate limiter counts responses as that belong to no zone.
constexpr uint64_t kRefusedResponse = 2;
constexpr uint64_t kErrorResponse = 4;

// The numbers from 0 up; copied where a permutation begins.
constexpr std::array<uint8_t, kItemsMax> kIota = [] {
  std::array<uint8_t, kItemsMax> out{};
  for (size_t i = 0; i < out.size(); ++i) out[i] = static_cast<uint8_t>(i);
  return out;
}();

template <size_t kSize>
void CopyChoices(const uint8_t* choices, const uint8_t* items, size_t take, uint8_t* to) {
  for (size_t i = 0; i < take; ++i) {
    std::memcpy(to + i * kSize, choices + items[i] * kSize, kSize);
  }
}

}  // namespace

// The response under construction.
struct Responder::Builder {
  std::span<const uint8_t> packet;
  std::span<uint8_t> out;
  size_t size = kHeaderBytes;
  size_t question_end = kHeaderBytes;
  size_t limit = 512;
  size_t opt_bytes = 0;  // reserved for the OPT record
  uint16_t flags = 0;
  Rcode rcode = Rcode::kNoError;
  uint16_t answers = 0;
  uint16_t authorities = 0;
  uint16_t additional = 0;
  bool with_question = false;
  bool with_cookie = false;
  bool with_nsid = false;
  bool with_keepalive = false;
  bool with_padding = false;
  bool with_ede = false;
  uint16_t ede_code = 0;
  std::string_view ede_text;
  std::array<uint8_t, kFullCookieBytes> cookie;

  bool Fits(size_t bytes) const { return size + bytes + opt_bytes <= limit; }

  void Copy(const Bytes& bytes) {
    if (bytes.empty()) return;  // its data() may be null, which memcpy must not see
    std::memcpy(out.data() + size, bytes.data(), bytes.size());
    size += bytes.size();
  }

  void CopySection(const Section& section, size_t name_size, size_t apex_size) {
    uint8_t* at = out.data() + size;
    Copy(section.bytes);
    for (uint16_t pointer : section.apex_pointers) {
      Put16(at + pointer, 0xc000u | (kHeaderBytes + name_size - apex_size));
    }
  }

  // Back to the question alone.
  void Clear() {
    size = question_end;
    answers = authorities = additional = 0;
  }

  void Truncate() {
    Clear();
    flags |= kFlagTc;
  }

  void SetEde(uint16_t code, std::string_view text) {
    if (opt_bytes == 0) return;
    size_t bytes = kOptionBytes + 2 + text.size();
    if (question_end + opt_bytes + bytes > limit) return;
    with_ede = true;
    ede_code = code;
    ede_text = text;
    opt_bytes += bytes;
  }

  void CopyQuestion(const Query& query) {
    question_end = query.question_end();
    std::memcpy(out.data() + kHeaderBytes, packet.data() + kHeaderBytes,
                question_end - kHeaderBytes);
    size = question_end;
    with_question = question_end > kHeaderBytes;
  }

  void Option(EdnsOption code, std::span<const uint8_t> data) {
    Put16(out.data() + size, static_cast<uint16_t>(code));
    Put16(out.data() + size + 2, data.size());
    if (!data.empty()) std::memcpy(out.data() + size + kOptionBytes, data.data(), data.size());
    size += kOptionBytes + data.size();
  }
};

Responder::Responder(const ResponderConfig& config, uint64_t seed)
    : config_(config),
      random_(seed),
      limiter_(config.rate_limit, seed ^ 0x5bd1e995u),
      lazy_(config.signatures_per_second) {}

Reply Responder::Respond(const Generation& generation, const Client& client,
                         std::span<const uint8_t> packet, std::span<uint8_t> out, const Now& now) {
  if (tsig_room_ == 0) {  // not the query within a signed one
    counters_.queries[static_cast<size_t>(client.transport)].Add();
    if (tsig_.verdict != TsigCheck::Verdict::kAbsent) [[unlikely]]
      tsig_ = {};
  }
  Reply reply;
  ParseResult parsed = ParseQuery(packet, query_);
  if (parsed == ParseResult::kOk && query_.has_tsig && config_.tsig_keys &&
      config_.tsig_keys->Find(query_.tsig_key()) != nullptr) [[unlikely]] {
    return RespondSigned(generation, client, packet, out, now);
  }
  if (parsed == ParseResult::kDrop) {
    counters_.dropped.Add();
    return reply;
  }
  Builder builder;
  builder.packet = packet;
  builder.out = out;
  bool udp = client.transport == Transport::kUdp;
  builder.limit = udp ? std::min<size_t>(query_.edns.udp_bytes, config_.udp_bytes)
                      : std::min(out.size(), kMessageBytesMax);
  builder.limit -= std::min(builder.limit, tsig_room_);
  cookie_valid_ = false;
  if (parsed != ParseResult::kOk && parsed != ParseResult::kCookieOnly) {
    builder.CopyQuestion(query_);
    builder.rcode = parsed == ParseResult::kNotImp ? Rcode::kNotImp : Rcode::kFormErr;
    if (parsed == ParseResult::kFormErr) counters_.malformed.Add();
    if (query_.edns.present) builder.opt_bytes = kOptBytes;
    reply.order = parsed == ParseResult::kNotImp &&
                  ((config_.takes_updates && query_.opcode() == kOpcodeUpdate) ||
                   (config_.takes_notifies && query_.opcode() == kOpcodeNotify));
    if (udp && limiter_.Check(client.address, kErrorResponse, now.ms) != RateVerdict::kSend) {
      counters_.rrl_dropped.Add();
      return reply;
    }
  } else {
    AnswerQuery(generation, client, now, builder, reply);
    if (builder.size == 0) return reply;  // rate-limited
  }
  reply.size = Finish(client, builder);
  return reply;
}

// Checks the client's cookie and makes it a new one. A bad one is no error: it only does not excuse
// its client from the rate limit.
void Responder::CheckCookie(const Client& client, const Now& now, Builder& builder) {
  std::span<const uint8_t> given = query_.edns.cookie;
  if (given.empty() || config_.cookie_secrets.empty()) return;
  cookie_valid_ = IsValidCookie(config_.cookie_secrets, given, client.address, now.unix_seconds);
  if (cookie_valid_) {
    counters_.cookies_valid.Add();
  } else if (given.size() > kClientCookieBytes) {
    counters_.cookies_bad.Add();
  }
  std::copy_n(given.begin(), kClientCookieBytes, builder.cookie.begin());
  auto made = MakeServerCookie(config_.cookie_secrets[0], given, client.address, now.unix_seconds);
  std::ranges::copy(made, builder.cookie.begin() + kClientCookieBytes);
  builder.with_cookie = true;
  builder.opt_bytes += kOptionBytes + kFullCookieBytes;
}

RateVerdict Responder::CheckRate(const Client& client, const Found& found, const Now& now) {
  if (client.transport != Transport::kUdp || cookie_valid_) return RateVerdict::kSend;
  uint64_t response = kRefusedResponse;
  if (found.is_ours()) {
    AnswerKind kind = found.answer != nullptr ? found.answer->kind : AnswerKind::kPositive;
    bool one_name = found.exists && (kind == AnswerKind::kPositive || kind == AnswerKind::kNoData);
    // Denials and referrals look the same for ever new names: they count as one.
    response = one_name ? query_.hash * 8 + query_.type * 0x9e3779b1u
                        : reinterpret_cast<uintptr_t>(found.zone) + static_cast<uint64_t>(kind);
  }
  return limiter_.Check(client.address, response, now.ms);
}

bool Responder::IsApex(const Found& found) const {
  return std::ranges::equal(found.zone->source->apex.wire(), query_.lower_name());
}

void Responder::AnswerQuery(const Generation& generation, const Client& client, const Now& now,
                            Builder& builder, Reply& reply) {
  builder.CopyQuestion(query_);
  const Edns& edns = query_.edns;
  if (edns.present) {
    builder.opt_bytes = kOptBytes;
    if (edns.dnssec_ok) counters_.dnssec_ok.Add();
    if (edns.wants_nsid && !config_.nsid.empty()) {
      builder.with_nsid = true;
      builder.opt_bytes += kOptionBytes + config_.nsid.size();
    }
    if (edns.wants_keepalive && client.transport != Transport::kUdp) {
      builder.with_keepalive = true;
      builder.opt_bytes += kOptionBytes + 2;
    }
    builder.with_padding = edns.has_padding && client.transport == Transport::kTls;
    CheckCookie(client, now, builder);
  }
  auto type = static_cast<Type>(query_.type);
  bool in_zone =
      query_.qclass == kClassIn && edns.version == 0 && !query_.has_tsig && query_.name_size != 0;
  Found found;
  // Over UDP an IXFR is asked to learn the serial (RFC 1995 §2): it is answered with the SOA.
  bool soa_for_ixfr = type == Type::kIxfr && client.transport == Transport::kUdp;
  if (soa_for_ixfr) query_.type = static_cast<uint16_t>(Type::kSoa);
  if (in_zone) found = Find(generation, query_);
  query_.type = static_cast<uint16_t>(type);
  RateVerdict verdict = CheckRate(client, found, now);
  if (verdict != RateVerdict::kSend) counters_.rrl_last.Set(client.address);
  if (verdict == RateVerdict::kDrop) {
    counters_.rrl_dropped.Add();
    builder.size = 0;
    return;
  }
  if (verdict == RateVerdict::kSlip) {
    counters_.rrl_slipped.Add();
    // A client that does cookies can prove itself over UDP (RFC 7873 §5.2.3); others use TCP.
    if (builder.with_cookie) builder.rcode = Rcode::kBadCookie;
    if (!builder.with_cookie) builder.flags |= kFlagTc;
    return;
  }
  if (edns.version != 0) {
    builder.rcode = Rcode::kBadVers;
  } else if (query_.name_size == 0) {
    // The cookie in the OPT record is the answer.
  } else if (query_.has_tsig) {
    AnswerTsig(now, builder);
  } else if (query_.qclass == kClassChaos) {
    AnswerChaos(builder);
  } else if (query_.qclass != kClassIn) {
    builder.rcode = Rcode::kRefused;
  } else if (type == Type::kNxname || type == Type::kOpt) {
    builder.rcode = Rcode::kFormErr;
    builder.SetEde(kEdeInvalidQueryType, "");
  } else if (soa_for_ixfr && found.is_ours() && IsApex(found)) {
    AnswerFound(generation, now, found, builder);
  } else if (type == Type::kAxfr || type == Type::kIxfr) {
    AnswerTransfer(generation, client, builder, reply);
  } else if (type == Type::kMaila || type == Type::kMailb) {
    builder.rcode = Rcode::kNotImp;
  } else if (!found.is_ours()) {
    builder.rcode = Rcode::kRefused;
    builder.SetEde(kEdeNotAuthoritative, "");
  } else {
    AnswerFound(generation, now, found, builder);
  }
}

void Responder::AnswerFound(const Generation& generation, const Now& now, const Found& found,
                            Builder& builder) {
  if (found.simple != nullptr) {
    AnswerSimple(*found.simple, builder);
    return;
  }
  const Answer& answer = *found.answer;
  bool secure = query_.edns.dnssec_ok && answer.signed_form != nullptr;
  const Form& form = secure ? *answer.signed_form : answer.plain;
  if (answer.authoritative) builder.flags |= kFlagAa;
  builder.rcode = answer.rcode;
  if (secure && answer.rcode == Rcode::kNxDomain && !query_.edns.compact_ok) {
    builder.rcode = Rcode::kNoError;  // RFC 9824 §3.4: the NSEC with NXNAME says it
  }
  if (!answer.ede_text.empty()) builder.SetEde(answer.ede_code, answer.ede_text);
  bool fits = answer.kind == AnswerKind::kDname ? WriteDname(found, form, builder)
              : AsksForNsec(answer)             ? WriteOwnNsec(generation, now, found, builder)
                                    : WriteForm(generation, now, found, form, secure, builder);
  if (!fits) builder.Truncate();
}

// Records that lie behind each other, owned by the question's name.
void Responder::AnswerSimple(const SimpleSet& set, Builder& builder) {
  builder.flags |= kFlagAa;
  if (!builder.Fits(set.bytes)) {
    builder.Truncate();
    return;
  }
  const auto* records = reinterpret_cast<const uint8_t*>(&set + 1);
  uint8_t* at = builder.out.data() + builder.size;
  if (set.uniform_size == 0) {
    std::memcpy(at, records, set.bytes);
  } else {
    std::array<uint8_t, kItemsMax> items;
    std::memcpy(items.data(), kIota.data(), set.count <= 16 ? 16 : kItemsMax);
    ShuffleFirst(random_, items.data(), set.count, set.count);
    if (set.uniform_size == 16) {
      CopyChoices<16>(records, items.data(), set.count, at);
    } else {
      CopyChoices<28>(records, items.data(), set.count, at);
    }
  }
  builder.size += set.bytes;
  builder.answers = set.count;
}

// NSEC and RRSIG asked for by name. The NSEC that denies all other types says that both are there,
// so they must be, at names that do not exist, too: a validator takes an empty answer for a lie.
bool Responder::AsksForNsec(const Answer& answer) const {
  auto type = static_cast<Type>(query_.type);
  if (type != Type::kNsec && type != Type::kRrsig) return false;
  if (answer.kind != AnswerKind::kNoData && answer.kind != AnswerKind::kNxDomain) return false;
  if (answer.signed_form == nullptr || answer.plain.head.count != 0) return false;
  const Form& form = *answer.signed_form;
  return form.nsec.count != 0 || (query_.edns.dnssec_ok && form.lazy_nsec);
}

bool Responder::WriteOwnNsec(const Generation& generation, const Now& now, const Found& found,
                             Builder& builder) {
  builder.rcode = Rcode::kNoError;
  bool nsec = static_cast<Type>(query_.type) == Type::kNsec;
  const Form& form = *found.answer->signed_form;
  if (form.nsec.count == 0) {
    auto written = WriteLazyNsec(generation, now, found, form, nsec, builder);
    if (!written) return false;
    builder.answers = *written;
    return true;
  }
  // One NSEC, whose owner is a pointer to the question, and its signatures behind it.
  ByteView bytes = form.nsec.bytes;
  size_t nsec_size = kRecordFixedBytes + Get16(bytes.data() + kRecordFixedBytes - 2);
  uint16_t count = form.nsec.count;
  if (!nsec) {
    bytes = bytes.subspan(nsec_size);
    --count;
  } else if (!query_.edns.dnssec_ok) {
    bytes = bytes.first(nsec_size);
    count = 1;
  }
  if (!builder.Fits(bytes.size())) return false;
  std::memcpy(builder.out.data() + builder.size, bytes.data(), bytes.size());
  builder.size += bytes.size();
  builder.answers = count;
  return true;
}

// The DNAME and the CNAME that follows from it (RFC 6672 §3.1). The CNAME is never signed: whoever
// validates makes it himself.
bool Responder::WriteDname(const Found& found, const Form& form, Builder& builder) {
  if (!builder.Fits(form.head.bytes.size())) return false;
  builder.CopySection(form.head, query_.name_size, found.dname_size);
  builder.answers = form.head.count;
  const Bytes& target = found.answer->dname_target;
  size_t prefix = static_cast<size_t>(query_.name_size) - found.dname_size;
  if (prefix + target.size() > kNameBytesMax) {
    builder.rcode = Rcode::kYxDomain;
    return true;
  }
  if (!builder.Fits(kRecordFixedBytes + prefix + target.size())) return false;
  uint8_t* at = builder.out.data() + builder.size;
  Put16(at, 0xc000u | kHeaderBytes);
  Put16(at + 2, static_cast<uint16_t>(Type::kCname));
  Put16(at + 4, kClassIn);
  Put32(at + 6, found.answer->dname_ttl);
  Put16(at + 10, prefix + target.size());
  std::memcpy(at + kRecordFixedBytes, builder.packet.data() + kHeaderBytes, prefix);
  std::memcpy(at + kRecordFixedBytes + prefix, target.data(), target.size());
  builder.size += kRecordFixedBytes + prefix + target.size();
  ++builder.answers;
  return true;
}

// False: it does not fit, and the response must be truncated.
bool Responder::WriteForm(const Generation& generation, const Now& now, const Found& found,
                          const Form& form, bool secure, Builder& builder) {
  size_t apex_size = found.zone->apex_size;
  if (!builder.Fits(form.head.bytes.size())) return false;
  builder.CopySection(form.head, query_.name_size, apex_size);
  builder.answers = form.head.count;
  std::array<uint8_t, kItemsMax> items;
  if (form.lazy_head) {
    auto source = reinterpret_cast<uintptr_t>(form.lazy_head.get());
    auto written = WriteLazy(generation, now, found, *form.lazy_head, source, false, builder);
    if (!written) return false;
    builder.answers = static_cast<uint16_t>(builder.answers + *written);
  }
  if (!form.choices.empty() && !WriteChoices(generation, now, found, form, items, builder)) {
    return false;
  }
  if (!builder.Fits(form.authority.bytes.size())) return false;
  builder.CopySection(form.authority, query_.name_size, apex_size);
  builder.authorities = form.authority.count;
  if (!WriteDenial(generation, now, found, form, secure, builder)) return false;
  return WriteAdditional(found, form, items, builder);
}

// The zone's SOA, and what proves that there is nothing else.
bool Responder::WriteDenial(const Generation& generation, const Now& now, const Found& found,
                            const Form& form, bool secure, Builder& builder) {
  size_t apex_size = found.zone->apex_size;
  size_t records = builder.authorities;
  if (form.negative) {
    const Section& soa = secure ? found.state->negative_signed : found.state->negative;
    if (!builder.Fits(soa.bytes.size())) return false;
    builder.CopySection(soa, query_.name_size, apex_size);
    records += soa.count;
  }
  if (form.nsec.count != 0) {
    if (!builder.Fits(form.nsec.bytes.size())) return false;
    builder.CopySection(form.nsec, query_.name_size, apex_size);
    records += form.nsec.count;
  }
  if (form.lazy_nsec) {
    auto written = WriteLazyNsec(generation, now, found, form, true, builder);
    if (!written) return false;
    records += *written;
  }
  builder.authorities = static_cast<uint16_t>(records);
  return true;
}

std::optional<uint16_t> Responder::WriteLazyNsec(const Generation& generation, const Now& now,
                                                 const Found& found, const Form& form,
                                                 bool with_set, Builder& builder) {
  auto owner = Name::FromWire(query_.lower_name());
  CHECK(owner.has_value());
  Rrset nsec{
      *owner, Type::kNsec, form.lazy_nsec->ttl, {CompactNsec(*owner, form.lazy_nsec->types)}};
  auto source = reinterpret_cast<uintptr_t>(&form.lazy_nsec);
  return WriteLazy(generation, now, found, nsec, source, with_set, builder);
}

// Additional records are a courtesy: as many as there is room for, a host's together. Glue is not:
// without it the referral leads nowhere.
bool Responder::WriteAdditional(const Found& found, const Form& form,
                                std::span<const uint8_t> items, Builder& builder) {
  for (size_t i = 0; i < form.choices.size() && i < form.take; ++i) {
    const Choice& choice = form.choices[items[i]];
    if (choice.extra_count == 0) continue;
    if (!builder.Fits(choice.extra_size)) {
      counters_.additional_left_out.Add();
      break;
    }
    std::memcpy(builder.out.data() + builder.size, form.extra_bytes.data() + choice.extra_offset,
                choice.extra_size);
    builder.size += choice.extra_size;
    builder.additional = static_cast<uint16_t>(builder.additional + choice.extra_count);
  }
  size_t apex_size = found.zone->apex_size;
  if (form.glue.count != 0) {
    if (!builder.Fits(form.glue.bytes.size())) return false;
    builder.CopySection(form.glue, query_.name_size, apex_size);
    builder.additional = static_cast<uint16_t>(builder.additional + form.glue.count);
  }
  if (form.additional.count == 0) return true;
  if (!builder.Fits(form.additional.bytes.size())) {
    counters_.additional_left_out.Add();
    return true;
  }
  builder.CopySection(form.additional, query_.name_size, apex_size);
  builder.additional = static_cast<uint16_t>(builder.additional + form.additional.count);
  return true;
}

// Puts the choices of this answer, in a random order, into the first places of `items`.
size_t Responder::Draw(const Form& form, std::span<uint8_t> items, const Variant** variant) {
  size_t count = form.choices.size();
  if (!form.variants.empty()) {
    const Variant& drawn = form.variants[random_.Below(form.variants.size())];
    std::ranges::copy(drawn.members, items.begin());
    ShuffleFirst(random_, items.data(), drawn.members.size(), drawn.members.size());
    *variant = &drawn;
    return drawn.members.size();
  }
  std::memcpy(items.data(), kIota.data(), count <= 16 ? 16 : kItemsMax);
  if (form.weighted && form.take < count) {
    DrawWeighted(random_, items.data(), count, form.take, form.weight_sum,
                 [&](uint8_t item) { return uint64_t{form.choices[item].weight}; });
  } else {
    ShuffleFirst(random_, items.data(), count, form.take);
  }
  return form.take;
}

bool Responder::WriteChoices(const Generation& generation, const Now& now, const Found& found,
                             const Form& form, std::span<uint8_t> items, Builder& builder) {
  const Variant* variant = nullptr;
  size_t take = Draw(form, items, &variant);
  uint8_t* at = builder.out.data() + builder.size;
  if (form.uniform_size != 0) {
    if (!builder.Fits(take * form.uniform_size)) return false;
    const uint8_t* choices = form.choice_bytes.data();
    if (form.uniform_size == 16) {
      CopyChoices<16>(choices, items.data(), take, at);
    } else if (form.uniform_size == 28) {
      CopyChoices<28>(choices, items.data(), take, at);
    } else {
      for (size_t i = 0; i < take; ++i) {
        std::memcpy(at + i * form.uniform_size, choices + items[i] * size_t{form.uniform_size},
                    form.uniform_size);
      }
    }
    builder.size += take * form.uniform_size;
  } else {
    for (size_t i = 0; i < take; ++i) {
      const Choice& choice = form.choices[items[i]];
      if (!builder.Fits(choice.size)) return false;
      std::memcpy(builder.out.data() + builder.size, form.choice_bytes.data() + choice.offset,
                  choice.size);
      builder.size += choice.size;
    }
  }
  builder.answers = static_cast<uint16_t>(builder.answers + take);
  if (variant == nullptr) return true;
  if (!variant->rrsigs.empty()) {
    if (!builder.Fits(variant->rrsigs.size())) return false;
    builder.Copy(variant->rrsigs);
    builder.answers = static_cast<uint16_t>(builder.answers + variant->rrsig_count);
    return true;
  }
  Rrset subset{form.lazy_choices->owner, form.lazy_choices->type, form.lazy_choices->ttl, {}};
  for (uint8_t item : variant->members) subset.rdatas.push_back(form.lazy_choices->rdatas[item]);
  auto source = reinterpret_cast<uintptr_t>(variant);
  auto written = WriteLazy(generation, now, found, subset, source, false, builder);
  if (!written) return false;
  builder.answers = static_cast<uint16_t>(builder.answers + *written);
  return true;
}

// Signs `set` for the question's name; writes the set too, where told, and its RRSIGs.
std::optional<uint16_t> Responder::WriteLazy(const Generation& generation, const Now& now,
                                             const Found& found, const Rrset& set, uint64_t source,
                                             bool with_set, Builder& builder) {
  Rrset named = set;
  auto owner = Name::FromWire(query_.lower_name());
  CHECK(owner.has_value());
  named.owner = *owner;
  uint64_t made = lazy_.made();
  const std::vector<Bytes>* rrsigs =
      lazy_.Sign(generation, found.state->keys.SignersOf(set.type), named, source, now.ms);
  if (rrsigs == nullptr) {
    counters_.sign_budget_spent.Add();
    builder.SetEde(kEdeOther, "signing budget spent");
    return std::nullopt;
  }
  counters_.signed_on_demand.Add(lazy_.made() - made);
  uint16_t written = 0;
  auto write = [&](Type type, uint32_t ttl, const Bytes& rdata) {
    if (!builder.Fits(kRecordFixedBytes + rdata.size())) return false;
    uint8_t* at = builder.out.data() + builder.size;
    Put16(at, 0xc000u | kHeaderBytes);
    Put16(at + 2, static_cast<uint16_t>(type));
    Put16(at + 4, kClassIn);
    Put32(at + 6, ttl);
    Put16(at + 10, rdata.size());
    builder.size += kRecordFixedBytes;
    builder.Copy(rdata);
    ++written;
    return true;
  };
  if (with_set && !write(named.type, named.ttl, named.rdatas[0])) return std::nullopt;
  for (const Bytes& rrsig : *rrsigs) {
    if (!write(Type::kRrsig, named.ttl, rrsig)) return std::nullopt;
  }
  return written;
}

void Responder::AnswerChaos(Builder& builder) {
  using namespace std::string_view_literals;
  std::string_view name(reinterpret_cast<const char*>(query_.name.data()), query_.name_size);
  const std::string* text = nullptr;
  if (name == "\7version\4bind\0"sv || name == "\7version\6server\0"sv) text = &config_.version;
  if (name == "\2id\6server\0"sv || name == "\10hostname\4bind\0"sv) text = &config_.id;
  bool type_fits = query_.type == static_cast<uint16_t>(Type::kTxt) || query_.type == kClassAny;
  if (text == nullptr || text->empty() || !type_fits) {
    builder.rcode = Rcode::kRefused;
    return;
  }
  size_t size = std::min<size_t>(text->size(), 255);
  if (!builder.Fits(kRecordFixedBytes + 1 + size)) {
    builder.Truncate();
    return;
  }
  uint8_t* at = builder.out.data() + builder.size;
  Put16(at, 0xc000u | kHeaderBytes);
  Put16(at + 2, static_cast<uint16_t>(Type::kTxt));
  Put16(at + 4, kClassChaos);
  Put32(at + 6, 0);
  Put16(at + 10, size + 1);
  at[12] = static_cast<uint8_t>(size);
  std::memcpy(at + 13, text->data(), size);
  builder.size += kRecordFixedBytes + 1 + size;
  builder.answers = 1;
  builder.flags |= kFlagAa;
}

// A key that is none of ours: whatever the algorithm or the MAC, the answer is NOTAUTH with BADKEY,
// not signed (RFC 8945 §5.2.1). Those of ours are in RespondSigned().
void Responder::AnswerTsig(const Now& now, Builder& builder) {
  constexpr uint16_t kBadKey = 17;
  counters_.tsig_refused.Add();
  builder.with_padding = false;
  builder.rcode = Rcode::kNotAuth;
  size_t rdata_size = query_.tsig_algorithm.size() + 16;
  if (!builder.Fits(query_.tsig_key().size() + 10 + rdata_size)) return;
  // TSIG is the last record, so the OPT stands before it.
  uint8_t* at = builder.out.data() + builder.size + builder.opt_bytes;
  std::memcpy(at, query_.tsig_key().data(), query_.tsig_key().size());
  at += query_.tsig_key().size();
  Put16(at, static_cast<uint16_t>(Type::kTsig));
  Put16(at + 2, kClassAny);
  Put32(at + 4, 0);
  Put16(at + 8, rdata_size);
  at += 10;
  std::memcpy(at, query_.tsig_algorithm.data(), query_.tsig_algorithm.size());
  at += query_.tsig_algorithm.size();
  Put16(at, 0);  // 48 bits of time
  Put32(at + 2, now.unix_seconds);
  Put16(at + 6, 300);
  Put16(at + 8, 0);  // no MAC
  Put16(at + 10, query_.id);
  Put16(at + 12, kBadKey);
  Put16(at + 14, 0);
}

void Responder::AnswerTransfer(const Generation& generation, const Client& client, Builder& builder,
                               Reply& reply) {
  builder.rcode = Rcode::kRefused;
  if (client.transport == Transport::kUdp) return;
  for (const ImageZone& zone : generation.image->zones) {
    if (std::ranges::equal(zone.source->apex.wire(), query_.lower_name())) reply.transfer = &zone;
  }
}

// Writes OPT and header.
size_t Responder::Finish(const Client& client, Builder& builder) {
  auto wide_rcode = static_cast<uint16_t>(builder.rcode);
  if (builder.opt_bytes != 0) {
    uint8_t* opt = builder.out.data() + builder.size;
    opt[0] = 0;
    Put16(opt + 1, static_cast<uint16_t>(Type::kOpt));
    Put16(opt + 3, config_.udp_bytes);
    opt[5] = static_cast<uint8_t>(wide_rcode >> 4);
    opt[6] = 0;
    Put16(opt + 7, query_.edns.dnssec_ok ? 0x8000 : 0);
    builder.size += kOptBytes;
    if (builder.with_nsid) {
      builder.Option(EdnsOption::kNsid,
                     {reinterpret_cast<const uint8_t*>(config_.nsid.data()), config_.nsid.size()});
    }
    if (builder.with_cookie) builder.Option(EdnsOption::kCookie, builder.cookie);
    if (builder.with_keepalive) {
      std::array<uint8_t, 2> timeout;
      Put16(timeout.data(), std::min<uint32_t>(config_.tcp_idle_ms / 100, 0xffff));
      builder.Option(EdnsOption::kTcpKeepalive, timeout);
    }
    if (builder.with_ede) {
      std::array<uint8_t, 2 + 128> ede;
      Put16(ede.data(), builder.ede_code);
      size_t text = std::min<size_t>(builder.ede_text.size(), 128);
      std::copy_n(builder.ede_text.data(), text, ede.begin() + 2);
      builder.Option(EdnsOption::kExtendedError, std::span(ede).first(2 + text));
    }
    if (builder.with_padding) {
      static constexpr std::array<uint8_t, kPaddingBlock> kZeros{};
      size_t over = (builder.size + kOptionBytes) % kPaddingBlock;
      size_t padding = over == 0 ? 0 : kPaddingBlock - over;
      if (builder.size + kOptionBytes + padding <= builder.limit) {
        builder.Option(EdnsOption::kPadding, std::span(kZeros).first(padding));
      }
    }
    Put16(opt + 9, static_cast<size_t>(builder.out.data() + builder.size - (opt + kOptBytes)));
    ++builder.additional;
  }
  if (query_.has_tsig && builder.rcode == Rcode::kNotAuth) {
    size_t tsig = query_.tsig_key().size() + 10 + query_.tsig_algorithm.size() + 16;
    if (builder.size + tsig <= builder.limit) {
      builder.size += tsig;
      ++builder.additional;
    }
  }
  uint8_t* header = builder.out.data();
  Put16(header, query_.id);
  // CD is a resolver's to obey: from here it comes back cleared (RFC 4035 §3.1.6).
  unsigned flags =
      0x8000u | builder.flags | (query_.flags & (0x7800u | kFlagRd)) | (wide_rcode & 0xfu);
  if (query_.opcode() != 0) flags &= ~unsigned{kFlagRd};
  Put16(header + 2, flags);
  Put16(header + 4, builder.with_question ? 1 : 0);
  Put16(header + 6, builder.answers);
  Put16(header + 8, builder.authorities);
  Put16(header + 10, builder.additional);
  rcode_ = builder.rcode;
  counters_.responses[wide_rcode].Add();
  if ((builder.flags & kFlagTc) != 0) counters_.truncated.Add();
  size_t counted = 0;
  while (counted < kCountedTypes.size() &&
         static_cast<uint16_t>(kCountedTypes[counted]) != query_.type) {
    ++counted;
  }
  counters_.types[counted].Add();
  static_cast<void>(client);
  return builder.size;
}

}  // namespace dns
