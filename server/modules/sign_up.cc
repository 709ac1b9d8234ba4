#include "server/modules/sign_up.h"

#include <algorithm>
#include <utility>

#include "net/base/wall_clock.h"
#include "server/modules/account_keys.h"
#include "server/modules/data_form.h"
#include "server/modules/guards.h"

namespace server {
namespace {

std::unexpected<std::string> RefuseSignUp(StanzaError error, std::string_view text) {
  return std::unexpected(ErrorXml(error, text));
}

std::string StoreErrorXml(StoreError error) {
  if (error == StoreError::kConflict) return ErrorXml(StanzaError::kConflict);
  if (error == StoreError::kBusy || error == StoreError::kDown) {
    return ErrorXml(ErrorType::kWait, StanzaError::kResourceConstraint,
                    "the store does not answer");
  }
  return ErrorXml(StanzaError::kInternalServerError);
}

}  // namespace

std::string SignUpFeature(const SignUpOptions& options) {
  return options.enabled ? "<register xmlns='http://jabber.org/features/iq-register'/>" : "";
}

std::string SignUpForm(const SignUpOptions& options) {
  std::string xml = "<query xmlns='jabber:iq:register'>";
  AppendXmlElement(xml, "instructions", options.instructions);
  return xml += "<username/><password/></query>";
}

std::optional<RegisterFields> ReadRegisterFields(const XmlElement& query) {
  if (const XmlElement x = query.Child("x", kDataFormSpace)) {
    const auto form = ReadDataForm(x);
    if (!form || form->type != "submit") return std::nullopt;
    return RegisterFields{.username = std::string(form->Value("username")),
                          .password = std::string(form->Value("password"))};
  }
  RegisterFields fields;
  if (const XmlElement name = query.Child("username", kRegisterSpace))
    fields.username = name.Text();
  if (const XmlElement word = query.Child("password", kRegisterSpace))
    fields.password = word.Text();
  return fields;
}

std::expected<SignUpRequest, std::string> ReadSignUp(const XmlElement& query,
                                                     std::string_view domain,
                                                     const SignUpOptions& options) {
  if (!options.enabled) return RefuseSignUp(StanzaError::kServiceUnavailable, {});
  if (!query.Is("query", kRegisterSpace)) return RefuseSignUp(StanzaError::kBadRequest, {});
  if (query.Child("remove", kRegisterSpace)) {
    return RefuseSignUp(StanzaError::kUnexpectedRequest, "nobody is logged in");
  }
  auto fields = ReadRegisterFields(query);
  if (!fields) return RefuseSignUp(StanzaError::kBadRequest, {});
  if (fields->username.empty() || fields->password.empty()) {
    return RefuseSignUp(StanzaError::kNotAcceptable, "a name and a password are needed");
  }
  const auto local = PrepareLocal(fields->username);
  const auto user = local ? Jid::Make(*local, domain) : std::nullopt;
  if (!user || user->local().size() > options.name_bytes_max) {
    return RefuseSignUp(StanzaError::kNotAcceptable, "the name is not allowed");
  }
  if (std::ranges::find(options.reserved, *local) != options.reserved.end()) {
    return RefuseSignUp(StanzaError::kConflict, {});
  }
  if (fields->password.size() < options.password_bytes_min || !PreparePassword(fields->password)) {
    return RefuseSignUp(StanzaError::kNotAcceptable, "the password is too short or not allowed");
  }
  return SignUpRequest{.user = *user, .password = std::move(fields->password)};
}

void SignUp(ModuleGround& ground, SignUpRequest request,
            std::move_only_function<void(std::string error_xml)> done) {
  MakeAccountKeys(ground, std::move(request.password),
                  [&ground, user = request.user.full(),
                   done = std::move(done)](std::optional<AccountKeys> keys) mutable {
                    if (!keys) return done(ErrorXml(StanzaError::kNotAcceptable));
                    CreateAccount put{.user = std::move(user), .account = {}};
                    put.account.keys = std::move(*keys);
                    put.account.created_s = ground.unix_us() / net::kSecondUs;
                    WriteBatch batch;
                    batch.emplace_back(std::move(put));
                    ground.store.Write(std::move(batch),
                                       [done = std::move(done)](auto written) mutable {
                                         done(written ? "" : StoreErrorXml(written.error()));
                                       });
                  });
}

}  // namespace server
