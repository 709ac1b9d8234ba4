// What operators order of users, done as the users would do it themselves: by the same rules, and
// seen by the same eyes.
#include <utility>

#include "server/im/account_view.h"
#include "server/im/home.h"
#include "server/im/stanza_parcel.h"

namespace server {
namespace {

// Who asks in the place of an account's session; no worker has a place like it.
constexpr SessionId kOperator{.worker = 0, .place = UINT32_MAX, .life = UINT64_MAX};

std::string NoUserXml(StoreError error) {
  if (error == StoreError::kAbsent) return ErrorXml(StanzaError::kItemNotFound);
  return ErrorXml(ErrorType::kWait, StanzaError::kResourceConstraint, "the store does not answer");
}

}  // namespace

void Home::AskAs(const Jid& user, StanzaType type, std::string xml, IqCall::Answer answer) {
  const HomeCore::Turn turn(core_);
  core_.WithUser(user, [this, type, xml = std::move(xml), answer = std::move(answer)](
                           User* at, StoreError error) mutable {
    if (at == nullptr) return answer(StanzaType::kError, NoUserXml(error));
    const auto read = ParseStanza(xml, kClientSpace);
    if (!read) return answer(StanzaType::kError, ErrorXml(StanzaError::kBadRequest));
    Parcel iq{.kind = StanzaKind::kIq,
              .type = type,
              .from = at->jid,
              .to = at->jid,
              .id = "order",
              .content = std::make_shared<const std::string>(std::move(xml)),
              .iq_name = std::string(read->root().name()),
              .iq_space = std::string(read->root().space())};
    HomeSession none;
    none.id = kOperator;
    none.secure = true;
    const IqHandler* handler = handlers_.Find(IqTarget::kAccount, iq.iq_name, iq.iq_space);
    const std::string space = iq.iq_space;
    IqCall call(std::move(iq), IqTarget::kAccount, kOperator, MakeAccountView(core_, at->jid),
                std::move(answer));
    if (space == kRosterSpace) return rosters_.Handle(*at, none, std::move(call));
    if (space == kBlockingSpace) return blocking_.Handle(*at, none, std::move(call));
    if (handler == nullptr) return call.Error(StanzaError::kServiceUnavailable);
    (*handler)(std::move(call));
  });
}

void Home::SendAs(const Jid& from, Stanza stanza, SentAs done) {
  const HomeCore::Turn turn(core_);
  core_.WithUser(from.Bare(), [this, from, stanza = std::move(stanza), done = std::move(done)](
                                  User* at, StoreError error) mutable {
    if (at == nullptr) return done(NoUserXml(error));
    SentStanza sent = ReadSentStanza(stanza, from, {}, core_.options().domains);
    if (sent.error) return done(ErrorXml(*sent.error));
    HomeSession none;
    none.id = kOperator;
    HomeSession* session = from.is_bare() ? nullptr : at->FindResource(from.resource());
    if (session == nullptr) {
      // Presence for all is a session's own.
      const bool needs_one = sent.parcel.kind == StanzaKind::kPresence && !sent.addressed;
      if (needs_one) return done(ErrorXml(StanzaError::kRecipientUnavailable));
      session = &none;
    }
    switch (sent.parcel.kind) {
      case StanzaKind::kMessage:
        SendMessage(*at, *session, std::move(sent.parcel));
        break;
      case StanzaKind::kPresence:
        SendPresence(*at, *session, std::move(sent));
        break;
      case StanzaKind::kIq:
        SendIq(*at, *session, std::move(sent.parcel));
        break;
    }
    done({});
  });
}

std::vector<Jid> Home::Kick(const Jid& who, const std::string& text) {
  const HomeCore::Turn turn(core_);
  std::vector<Jid> kicked;
  User* user = core_.Find(who.bare());
  if (user == nullptr) return kicked;
  const auto next = [&]() -> HomeSession* {
    for (HomeSession& session : user->sessions) {
      if (!session.ending && (who.is_bare() || session.resource == who.resource())) return &session;
    }
    return nullptr;
  };
  while (HomeSession* session = next()) {
    kicked.push_back(user->FullOf(*session));
    core_.Close(session->id, net::StreamError::kConflict, text);
    End(*user, *session);
  }
  core_.Rest(*user);
  return kicked;
}

void Home::ForEachSession(
    const std::function<void(const User& user, const HomeSession& session)>& visit) const {
  core_.ForEachUser([&](const User& user) {
    for (const HomeSession& session : user.sessions) visit(user, session);
  });
}

}  // namespace server
