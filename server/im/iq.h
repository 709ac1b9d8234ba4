// How IQ requests reach what answers them: one handler for each namespace that is asked. A XEP
// family is a small file in server/modules with a few handlers, and what it advertises.
//
// A handler runs on the home of the account that is asked (the sender's own where it asks the
// server), and answers with its IqCall, at once or later on the same thread: once. A call that is
// dropped unanswered answers <internal-server-error/> by itself, so nobody waits for ever (RFC 6120
// section 8.2.3).
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "net/base/clock.h"
#include "server/im/parcel.h"
#include "server/store/store.h"
#include "server/xmpp/stanza.h"

namespace server {

// RFC 6120 section 8.3.2 and 8.3.3.
enum class ErrorType : uint8_t { kAuth, kCancel, kContinue, kModify, kWait };
enum class StanzaError : uint8_t {
  kBadRequest,
  kConflict,
  kFeatureNotImplemented,
  kForbidden,
  kGone,
  kInternalServerError,
  kItemNotFound,
  kJidMalformed,
  kNotAcceptable,
  kNotAllowed,
  kNotAuthorized,
  kPolicyViolation,
  kRecipientUnavailable,
  kRedirect,
  kRegistrationRequired,
  kRemoteServerNotFound,
  kRemoteServerTimeout,
  kResourceConstraint,
  kServiceUnavailable,
  kSubscriptionRequired,
  kUndefinedCondition,
  kUnexpectedRequest,
};
std::string_view ToString(ErrorType type);
std::string_view ToString(StanzaError error);
// The one that RFC 6120 recommends with it.
ErrorType TypeOf(StanzaError error);
// <error type='…'><condition xmlns='…'/><text…/>extra</error>, for jabber:client.
std::string ErrorXml(StanzaError error, std::string_view text = {}, std::string_view extra = {});
std::string ErrorXml(ErrorType type, StanzaError error, std::string_view text = {},
                     std::string_view extra = {});
// The error that goes back for `parcel`: addresses swapped, type error, its id.
Parcel ErrorFor(const Parcel& parcel, std::string error_xml);

// What is asked.
enum class IqTarget : uint8_t {
  kServer,   // a domain of ours
  kAccount,  // a bare JID of ours
};

// What a handler changed in the store, of which the home may keep something.
enum class AccountChange : uint8_t {
  kRemoved,       // with all that it had: its contacts are told, its sessions end (XEP-0077)
  kVcard,         // and with it, perhaps, the photo (XEP-0153)
  kArchivePrefs,  // XEP-0441
};

// Of the account at whose home it is asked; what handlers may know and do there.
class AccountView {
 public:
  virtual ~AccountView() = default;
  virtual const Jid& user() const = 0;  // bare
  // Whether `other` (bare) may see this account's presence (from or both); the account itself may.
  virtual bool SeenBy(const Jid& other) const = 0;
  virtual bool Blocks(const Jid& other) const = 0;
  virtual size_t sessions() const = 0;  // bound
  virtual size_t available() const = 0;
  // Delivers to each of the account's sessions that `wants` says yes to.
  struct SessionView {
    SessionId id;
    const Jid& full;
    bool available;
    int priority;
    bool interested;      // has asked for the roster
    bool secure = false;  // its stream is encrypted
  };
  virtual void ForEachSession(const std::function<void(const SessionView&)>& visit) const = 0;
  virtual void Push(const SessionId& session, std::string xml) = 0;
  // A message of the account's to who asks, ahead of the answer: by its session, unless the view
  // knows another way.
  virtual void Tell(const Parcel& request, const SessionId& session, std::string content);
  // It is durable.
  virtual void Changed(AccountChange change) = 0;
};

class IqCall {
 public:
  // Sends the answer to who asked; exactly once.
  using Answer = std::move_only_function<void(StanzaType type, std::string content)>;

  IqCall(Parcel request, IqTarget target, SessionId session, std::shared_ptr<AccountView> account,
         Answer answer);
  IqCall(IqCall&&) noexcept = default;
  IqCall& operator=(IqCall&&) = delete;
  ~IqCall();  // unanswered: internal-server-error

  const Parcel& request() const { return request_; }
  bool is_set() const { return request_.type == StanzaType::kSet; }
  IqTarget target() const { return target_; }
  // Of who asked, where it is the account itself; else none.
  const SessionId& session() const { return session_; }
  bool own() const { return static_cast<bool>(session_) && target_ == IqTarget::kAccount; }
  AccountView& account() const { return *account_; }
  std::shared_ptr<AccountView> shared_account() const { return account_; }
  // The first child; read when it is first asked for.
  XmlElement payload();

  void Result(std::string content = {});
  void Error(StanzaError error, std::string_view text = {});
  void ErrorWith(std::string error_xml);  // of ErrorXml()
  void StoreFailed(StoreError error);     // resource-constraint (wait), or internal-server-error

 private:
  Parcel request_;
  IqTarget target_;
  SessionId session_;
  std::shared_ptr<AccountView> account_;
  Answer answer_;
  std::unique_ptr<Stanza> read_;
};

using IqHandler = std::function<void(IqCall call)>;

// What modules stand on.
struct ModuleGround {
  StoreClient& store;
  const net::Clock& clock;           // monotonic
  std::function<int64_t()> unix_us;  // the time of day
  std::vector<std::string> domains;
  // Runs `work`, which takes milliseconds, on some other thread and then `done` on this one; not
  // `done` when this ends before. Null: both at once.
  std::function<void(std::move_only_function<void()> work, std::move_only_function<void()> done)>
      aside = nullptr;
};

// Which handler answers what, and what is advertised (XEP-0030): filled at the start, read
// afterwards. One a home.
class IqTable {
 public:
  void Add(IqTarget target, std::string_view name, std::string_view space, IqHandler handler);
  void Feature(IqTarget target, std::string_view feature);
  // XEP-0128 forms of the server, written XML (XEP-0157).
  void Form(std::string xml) { forms_.push_back(std::move(xml)); }

  const IqHandler* Find(IqTarget target, std::string_view name, std::string_view space) const;
  const std::vector<std::string>& features(IqTarget target) const;  // sorted, without doubles
  const std::vector<std::string>& forms() const { return forms_; }
  void ForEach(const std::function<void(IqTarget target, std::string_view name,
                                        std::string_view space)>& visit) const;

 private:
  struct Entry {
    IqTarget target;
    std::string name;
    std::string space;
    IqHandler handler;
  };
  std::vector<Entry> entries_;
  std::vector<std::string> features_[2];
  std::vector<std::string> forms_;
};

}  // namespace server
