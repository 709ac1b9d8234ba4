// Control's part in dynamic updates: who may, and what is done.
#include <algorithm>

#include "dns/control/control.h"
#include "dns/serve/now.h"
#include "net/report/log.h"

namespace dns {
namespace {

// A challenge that its client forgets goes by itself.
constexpr uint32_t kUpdateLifetimeSeconds = 3600;

}  // namespace

UpdateSink Control::MakeUpdateSink() {
  return
      [this, gate = update_gate_](ByteView message, const net::Address& client, UpdateReply reply) {
        if (gate->waiting.fetch_add(1) >= kUpdatesWaitingMax) {
          gate->waiting.fetch_sub(1);
          return false;
        }
        loop_.Post([this, gate, client, message = Bytes(message.begin(), message.end()),
                    reply = std::move(reply)]() mutable {
          gate->waiting.fetch_sub(1);
          if (!stopping_) reply(AnswerUpdate(message, client));
        });
        return true;
      };
}

Bytes Control::AnswerUpdate(ByteView message, const net::Address& client) {
  uint64_t now = ReadNow().unix_seconds;
  TsigCheck tsig = CheckTsig(message, config_->tsig_keys, now);
  Bytes plain(message.begin(), message.end());
  if (tsig.verdict == TsigCheck::Verdict::kGood || tsig.refused()) {
    plain.resize(tsig.record.offset);
    Put16(plain.data() + 10, Get16(plain.data() + 10) - 1u);
  }
  auto update = ParseUpdate(plain);
  size_t question_end = update ? update->question_end : kHeaderBytes;
  if (tsig.good() && !replays_.IsFresh(tsig, now)) {
    tsig.verdict = TsigCheck::Verdict::kRefused;
    tsig.error = TsigError::kBadTime;  // RFC 8945 §5.2.3: as a time that was there before
  }
  UpdateRcode rcode = UpdateRcode::kRefused;
  std::string by = "nobody";
  const ZoneConfig* zone = nullptr;
  if (update) {
    auto at = std::ranges::find(config_->zones, update->zone,
                                [](const ZoneConfig& z) { return z.zone->apex; });
    if (at != config_->zones.end()) zone = &*at;
  }
  if (tsig.verdict == TsigCheck::Verdict::kFormErr || !update) {
    rcode = update ? UpdateRcode::kFormErr : update.error();
    if (tsig.verdict == TsigCheck::Verdict::kFormErr) rcode = UpdateRcode::kFormErr;
  } else if (tsig.refused() || zone == nullptr) {
    rcode = UpdateRcode::kNotAuth;
  } else if (tsig.good()) {
    by = tsig.key->name.ToString();
    if (std::ranges::find(zone->acme_keys, tsig.key->name) != zone->acme_keys.end()) {
      rcode = DoUpdate(*update, *zone, by);
    }
  }
  bool done = rcode == UpdateRcode::kNoError;
  ++(done ? updates_done_ : updates_refused_);
  net::Log(done ? net::LogLevel::kInfo : net::LogLevel::kWarn, "update",
           done ? "challenges changed" : "refused",
           {{"client", client.ToString()},
            {"key", by},
            {"zone", update ? update->zone.ToString() : ""},
            {"rcode", static_cast<int>(rcode)}});
  Bytes response = MakeUpdateResponse(plain, question_end, rcode);
  if (tsig.good() || tsig.refused()) {
    size_t size = response.size();
    response.resize(size + TsigBytes(tsig));
    response.resize(SignResponse(tsig, response, size, now));
  }
  return response;
}

UpdateRcode Control::DoUpdate(const Update& update, const ZoneConfig& zone, const std::string& by) {
  auto tokens_at = [&](const Name& name) {
    std::vector<std::string> tokens;
    for (const Acme& acme : acme_) {
      if (acme.owner == name) tokens.push_back(acme.token);
    }
    return tokens;
  };
  auto changes = JudgeUpdate(update, tokens_at);
  if (!changes) return changes.error();
  std::vector<Acme> next = acme_;
  int64_t until = UnixNowMs() + kUpdateLifetimeSeconds * int64_t{1000};
  for (const ChallengeChange& change : *changes) {
    if (change.kind == ChallengeChange::Kind::kAdd) {
      // Where it can stand at all is the same question as for ctl acme.
      auto owner = ChallengeOwner(change.owner.Parent().ToString());
      if (!owner || !owner->IsWithin(zone.zone->apex)) return UpdateRcode::kRefused;
    }
    std::erase_if(next, [&](const Acme& acme) {
      return acme.owner == change.owner &&
             (change.kind == ChallengeChange::Kind::kRemoveAll || acme.token == change.token);
    });
    if (change.kind != ChallengeChange::Kind::kAdd) continue;
    if (next.size() == kAcmeMax) return UpdateRcode::kServFail;
    next.push_back({change.owner, change.token, until});
  }
  static_cast<void>(by);
  acme_ = std::move(next);
  PublishAcme();
  return UpdateRcode::kNoError;
}

}  // namespace dns
