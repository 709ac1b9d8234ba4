// Control's part in dynamic updates and NOTIFY: who may, and what is done.
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
          if (!stopping_) reply(AnswerOrder(message, client));
        });
        return true;
      };
}

Bytes Control::AnswerOrder(ByteView message, const net::Address& client) {
  uint64_t now = ReadNow().unix_seconds;
  TsigCheck tsig = CheckTsig(message, config_->tsig_keys, now);
  Bytes plain(message.begin(), message.end());
  if (tsig.verdict == TsigCheck::Verdict::kGood || tsig.refused()) {
    plain.resize(tsig.record.offset);
    Put16(plain.data() + 10, Get16(plain.data() + 10) - 1u);
  }
  bool notify = plain.size() > 2 && (plain[2] >> 3 & 0xf) == kOpcodeNotify;
  Bytes response =
      notify ? AnswerNotify(plain, tsig, client) : AnswerUpdate(plain, tsig, client, now);
  if (tsig.good() || tsig.refused()) {
    size_t size = response.size();
    response.resize(size + TsigBytes(tsig));
    response.resize(SignResponse(tsig, response, size, now));
  }
  return response;
}

// RFC 1996 §3.7, §4.5. Whoever tells us is not believed further than that it is worth asking.
Bytes Control::AnswerNotify(ByteView plain, const TsigCheck& tsig, const net::Address& client) {
  auto notify = ParseNotify(plain);
  Rcode rcode = Rcode::kFormErr;
  if (tsig.verdict != TsigCheck::Verdict::kFormErr && notify) {
    const Name* key = tsig.good() ? &tsig.key->name : nullptr;
    rcode = tsig.refused() ? Rcode::kNotAuth : secondaries_.Notified(notify->zone, client, key);
  }
  if (rcode != Rcode::kNoError) {
    static net::LogLimiter limiter(std::chrono::seconds(1));
    if (auto held = limiter.Pass(loop_.now())) {
      net::Log(net::LogLevel::kWarn, "notify", "one of a zone is refused",
               {{"client", client.ToString()},
                {"zone", notify ? notify->zone.ToString() : ""},
                {"rcode", RcodeName(rcode)},
                {"more", *held}});
    }
  }
  size_t question_end = notify ? notify->question_end : kHeaderBytes;
  return MakeOrderResponse(plain, question_end, static_cast<UpdateRcode>(rcode));
}

UpdateRcode Control::JudgeSignedUpdate(const Update& update, const TsigCheck& tsig) {
  auto zone = std::ranges::find(config_->zones, update.zone,
                                [](const ZoneConfig& z) { return z.zone->apex; });
  if (tsig.refused() || zone == config_->zones.end()) return UpdateRcode::kNotAuth;
  bool may =
      tsig.good() && std::ranges::find(zone->acme_keys, tsig.key->name) != zone->acme_keys.end();
  return may ? DoUpdate(update, *zone) : UpdateRcode::kRefused;
}

Bytes Control::AnswerUpdate(ByteView plain, TsigCheck& tsig, const net::Address& client,
                            uint64_t now) {
  if (tsig.good() && !replays_.IsFresh(tsig, now)) {
    tsig.verdict = TsigCheck::Verdict::kRefused;
    tsig.error = TsigError::kBadTime;  // RFC 8945 §5.2.3: as a time that was there before
  }
  auto update = ParseUpdate(plain);
  UpdateRcode rcode = UpdateRcode::kFormErr;
  if (tsig.verdict != TsigCheck::Verdict::kFormErr) {
    rcode = update ? JudgeSignedUpdate(*update, tsig) : update.error();
  }
  bool done = rcode == UpdateRcode::kNoError;
  ++(done ? updates_done_ : updates_refused_);
  net::Log(done ? net::LogLevel::kInfo : net::LogLevel::kWarn, "update",
           done ? "challenges changed" : "refused",
           {{"client", client.ToString()},
            {"key", tsig.good() ? tsig.key->name.ToString() : "nobody"},
            {"zone", update ? update->zone.ToString() : ""},
            {"rcode", static_cast<int>(rcode)}});
  return MakeOrderResponse(plain, update ? update->question_end : kHeaderBytes, rcode);
}

UpdateRcode Control::DoUpdate(const Update& update, const ZoneConfig& zone) {
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
  acme_ = std::move(next);
  PublishAcme();
  return UpdateRcode::kNoError;
}

}  // namespace dns
