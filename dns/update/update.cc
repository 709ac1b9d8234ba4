#include "dns/update/update.h"

#include <algorithm>

#include "dns/wire/message.h"

namespace dns {
namespace {

std::optional<UpdateRecord> ReadRecord(ByteView message, size_t& at) {
  auto read = ReadMessageRecord(message, at);
  if (!read) return std::nullopt;
  ByteView rdata = message.subspan(read->rdata_at, read->rdata_size);
  return UpdateRecord{std::move(read->owner), read->type, read->rclass, read->ttl,
                      Bytes(rdata.begin(), rdata.end())};
}

bool IsChallenge(const Name& name) {
  static constexpr std::string_view kLabel = "\x0f_acme-challenge";
  ByteView wire = name.wire();
  return wire.size() > kLabel.size() &&
         std::equal(kLabel.begin(), kLabel.end(), wire.begin(),
                    [](char a, uint8_t b) { return static_cast<uint8_t>(a) == b; });
}

// The text of a TXT record of one string: what ACME's are.
std::optional<std::string> TokenOf(ByteView rdata) {
  if (rdata.size() < 2 || rdata[0] != rdata.size() - 1) return std::nullopt;
  return std::string(rdata.begin() + 1, rdata.end());
}

using Changes = std::expected<std::vector<ChallengeChange>, UpdateRcode>;

// §3.2, for challenges; whether other names are there is nobody's business.
UpdateRcode CheckPrerequisites(const Update& update, const TokensAt& tokens_at) {
  std::vector<std::pair<Name, std::vector<std::string>>> exact;  // §3.2.3: sets that must be these
  for (const UpdateRecord& record : update.prerequisites) {
    if (record.ttl != 0) return UpdateRcode::kFormErr;
    if (!record.owner.IsWithin(update.zone)) return UpdateRcode::kNotZone;
    bool any_type = record.type == Type::kAny;
    bool absent_class = record.rclass == kClassAny || record.rclass == kClassNone;
    if (absent_class && !record.rdata.empty()) return UpdateRcode::kFormErr;
    if (!absent_class && record.rclass != kClassIn) return UpdateRcode::kFormErr;
    if (!IsChallenge(record.owner) || (!any_type && record.type != Type::kTxt)) {
      return UpdateRcode::kRefused;
    }
    bool there = !tokens_at(record.owner).empty();
    if (record.rclass == kClassAny && !there) {
      return any_type ? UpdateRcode::kNxDomain : UpdateRcode::kNxRrset;
    }
    if (record.rclass == kClassNone && there) {
      return any_type ? UpdateRcode::kYxDomain : UpdateRcode::kYxRrset;
    }
    if (record.rclass != kClassIn) continue;
    auto token = TokenOf(record.rdata);
    if (any_type || !token) return UpdateRcode::kFormErr;
    auto at = std::ranges::find(exact, record.owner, &decltype(exact)::value_type::first);
    if (at == exact.end()) at = exact.insert(at, {record.owner, {}});
    at->second.push_back(std::move(*token));
  }
  for (auto& [owner, tokens] : exact) {
    std::vector<std::string> now = tokens_at(owner);
    std::ranges::sort(now);
    std::ranges::sort(tokens);
    if (now != tokens) return UpdateRcode::kNxRrset;
  }
  return UpdateRcode::kNoError;
}

// §3.4.1.
std::expected<ChallengeChange, UpdateRcode> JudgeChange(const Update& update,
                                                        const UpdateRecord& record) {
  if (!record.owner.IsWithin(update.zone)) return std::unexpected(UpdateRcode::kNotZone);
  bool any_type = record.type == Type::kAny;
  bool removes_all = record.rclass == kClassAny;
  if (record.rclass != kClassIn && record.rclass != kClassNone && !removes_all) {
    return std::unexpected(UpdateRcode::kFormErr);
  }
  if (record.rclass != kClassIn && record.ttl != 0) return std::unexpected(UpdateRcode::kFormErr);
  if (removes_all != record.rdata.empty()) return std::unexpected(UpdateRcode::kFormErr);
  if (any_type && !removes_all) return std::unexpected(UpdateRcode::kFormErr);
  if (!IsChallenge(record.owner) || (!any_type && record.type != Type::kTxt)) {
    return std::unexpected(UpdateRcode::kRefused);
  }
  if (removes_all) return ChallengeChange{ChallengeChange::Kind::kRemoveAll, record.owner, ""};
  auto token = TokenOf(record.rdata);
  if (!token) return std::unexpected(UpdateRcode::kRefused);
  return ChallengeChange{
      record.rclass == kClassIn ? ChallengeChange::Kind::kAdd : ChallengeChange::Kind::kRemoveOne,
      record.owner, std::move(*token)};
}

}  // namespace

std::expected<Update, UpdateRcode> ParseUpdate(ByteView message) {
  auto broken = std::unexpected(UpdateRcode::kFormErr);
  if (message.size() < kHeaderBytes) return broken;
  Update update;
  update.id = Get16(message.data());
  size_t sections[4];
  for (size_t i = 0; i < 4; ++i) sections[i] = Get16(message.data() + 4 + 2 * i);
  if (sections[0] != 1) return broken;
  if (sections[1] + sections[2] + sections[3] > kUpdateRecordsMax) return broken;
  size_t at = kHeaderBytes;
  auto zone = ReadName(message, at);
  if (!zone || message.size() - at < 4) return broken;
  if (Get16(message.data() + at) != static_cast<uint16_t>(Type::kSoa)) return broken;
  if (Get16(message.data() + at + 2) != kClassIn) return std::unexpected(UpdateRcode::kNotAuth);
  update.zone = *zone;
  at += 4;
  update.question_end = at;
  for (size_t section = 1; section < 4; ++section) {
    for (size_t i = 0; i < sections[section]; ++i) {
      auto record = ReadRecord(message, at);
      if (!record) return broken;
      if (section == 1) update.prerequisites.push_back(std::move(*record));
      if (section == 2) update.changes.push_back(std::move(*record));
    }
  }
  if (at != message.size()) return broken;
  return update;
}

Changes JudgeUpdate(const Update& update, const TokensAt& tokens_at) {
  UpdateRcode missing = CheckPrerequisites(update, tokens_at);
  if (missing != UpdateRcode::kNoError) return std::unexpected(missing);
  std::vector<ChallengeChange> changes;
  for (const UpdateRecord& record : update.changes) {
    auto change = JudgeChange(update, record);
    if (!change) return std::unexpected(change.error());
    changes.push_back(std::move(*change));
  }
  return changes;
}

std::optional<Notify> ParseNotify(ByteView message) {
  if (message.size() < kHeaderBytes || Get16(message.data() + 4) != 1) return std::nullopt;
  size_t at = kHeaderBytes;
  auto zone = ReadName(message, at);
  if (!zone || message.size() - at < 4) return std::nullopt;
  bool soa = Get16(message.data() + at) == static_cast<uint16_t>(Type::kSoa);
  if (!soa || Get16(message.data() + at + 2) != kClassIn) return std::nullopt;
  return Notify{std::move(*zone), at + 4};
}

Bytes MakeOrderResponse(ByteView message, size_t question_end, UpdateRcode rcode) {
  Bytes out(message.begin(),
            message.begin() + static_cast<std::ptrdiff_t>(std::max(question_end, kHeaderBytes)));
  unsigned opcode = Get16(out.data() + 2) & 0x7800u;
  // RFC 1996 §4.7: AA, as the NOTIFY had it.
  unsigned aa = opcode >> 11 == kOpcodeNotify ? 0x0400u : 0u;
  Put16(out.data() + 2, 0x8000u | opcode | aa | static_cast<unsigned>(rcode));
  Put16(out.data() + 4, question_end > kHeaderBytes ? 1 : 0);
  for (size_t at : {size_t{6}, size_t{8}, size_t{10}}) Put16(out.data() + at, 0);
  return out;
}

}  // namespace dns
