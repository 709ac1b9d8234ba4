#include "server/modules/registration.h"

#include <openssl/rand.h>

#include <memory>
#include <utility>

#include "net/base/check.h"
#include "server/modules/account_keys.h"
#include "server/modules/guards.h"
#include "server/modules/rate_table.h"

namespace server {
namespace {

net::HashKey RandomKey() {
  net::HashKey key;
  CHECK(RAND_bytes(reinterpret_cast<unsigned char*>(&key), sizeof key) == 1);
  return key;
}

bool IsSecure(const IqCall& call) {
  bool secure = false;
  call.account().ForEachSession([&](const AccountView::SessionView& session) {
    if (session.full == call.request().from) secure = session.secure;
  });
  return secure;
}

class Registration {
 public:
  Registration(ModuleGround& ground, const RegistrationOptions& options)
      : ground_(ground),
        options_(options),
        changes_(options.changes_per_hour, RandomKey(), ground.clock.Now()) {}

  void Answer(IqCall call) {
    if (!AsksForItself(call)) return call.Error(StanzaError::kServiceUnavailable);
    if (!call.is_set()) return Tell(std::move(call));
    if (!IsSecure(call)) return call.Error(StanzaError::kNotAuthorized, "not over this stream");
    const XmlElement query = call.payload();
    if (!query) return call.Error(StanzaError::kBadRequest);
    if (query.Child("remove", kRegisterSpace)) return Remove(query, std::move(call));
    Change(query, std::move(call));
  }

 private:
  static void Tell(IqCall call) {
    std::string xml = "<query xmlns='jabber:iq:register'><registered/>";
    AppendXmlElement(xml, "username", call.account().user().local());
    call.Result(xml += "<password/></query>");
  }

  void Remove(const XmlElement& query, IqCall call) {
    if (!options_.removal) return call.Error(StanzaError::kNotAllowed);
    if (query.FirstChild().Next()) return call.Error(StanzaError::kBadRequest);
    WriteBatch batch;
    batch.emplace_back(RemoveAccount{.user = call.account().user().full()});
    ground_.store.Write(std::move(batch), [call = std::move(call)](auto done) mutable {
      if (!done) return call.StoreFailed(done.error());
      const auto account = call.shared_account();
      call.Result();
      account->Changed(AccountChange::kRemoved);
    });
  }

  void Change(const XmlElement& query, IqCall call) {
    if (!options_.password_change) return call.Error(StanzaError::kNotAllowed);
    auto fields = ReadRegisterFields(query);
    // An empty password must not become one.
    if (!fields || fields->password.empty()) return call.Error(StanzaError::kBadRequest);
    const Jid& user = call.account().user();
    const auto named = Jid::Make(fields->username, user.domain());
    if (!named || named->local().empty()) return call.Error(StanzaError::kBadRequest);
    if (*named != user) return call.Error(StanzaError::kNotAllowed, "another account");
    if (fields->password.size() < options_.password_bytes_min ||
        !PreparePassword(fields->password)) {
      return call.Error(StanzaError::kNotAcceptable, "the password is too short or not allowed");
    }
    if (!changes_.Take(user.full(), ground_.clock.Now())) {
      return call.ErrorWith(
          ErrorXml(ErrorType::kWait, StanzaError::kResourceConstraint, "too many changes"));
    }
    MakeAccountKeys(ground_, std::move(fields->password),
                    [this, call = std::move(call)](std::optional<AccountKeys> keys) mutable {
                      if (!keys) return call.Error(StanzaError::kNotAcceptable);
                      Put(std::move(*keys), std::move(call));
                    });
  }

  // What else an account has stays.
  void Put(AccountKeys keys, IqCall call) {
    WriteBatch batch;
    batch.emplace_back(SetKeys{.user = call.account().user().full(), .keys = std::move(keys)});
    ground_.store.Write(std::move(batch), [call = std::move(call)](auto done) mutable {
      if (done) return call.Result();
      if (done.error() == StoreError::kAbsent) {
        return call.Error(StanzaError::kRegistrationRequired);
      }
      call.StoreFailed(done.error());
    });
  }

  ModuleGround& ground_;
  const RegistrationOptions options_;
  RateTable changes_;
};

}  // namespace

void AddRegistration(IqTable& table, ModuleGround& ground, const RegistrationOptions& options) {
  if (!options.password_change && !options.removal) return;
  const auto registration = std::make_shared<Registration>(ground, options);
  for (const IqTarget target : {IqTarget::kServer, IqTarget::kAccount}) {
    table.Add(target, "query", kRegisterSpace,
              [registration](IqCall call) { registration->Answer(std::move(call)); });
  }
  table.Feature(IqTarget::kServer, kRegisterSpace);
}

}  // namespace server
