// SASL of a client's stream (RFC 6120 section 6): which mechanisms a connection is offered, and the
// exchange of the one that the client chose, up to who the client is.
//
//   EXTERNAL             where a client's certificate was verified and names an account here
//                        (XEP-0178); nothing but an id-on-xmppAddr names one
//   SCRAM-*-PLUS         where the connection can be bound to (XEP-0440 says by what)
//   SCRAM-*              with any connection
//   PLAIN                over TLS
//
// What takes time is the caller's: accounts are looked up, and PLAIN's password is hashed, between
// two steps. Nobody learns from here whether an account exists: an unknown one meets the same
// exchange and fails at its end, and so does one without keys for the mechanism.
//
// Pure but for the nonce that it is given. One thread at a time.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "server/sasl/scram.h"
#include "server/xmpp/jid.h"

namespace server {

// Of all connections.
struct SaslPolicy {
  std::array<bool, kScramHashes> scram = {true, true, true};  // by ScramHash
  bool plain = true;
  bool external = true;
  uint32_t iterations = kScramIterations;  // of decoys: what accounts are made with
  std::string secret;                      // of decoys
  std::function<std::string()> nonce;      // at least 18 random bytes as text without commas
};

// What a connection brought.
struct SaslChannel {
  bool secure = false;
  ChannelBindings bindings;
  std::vector<std::string> xmpp_addrs;  // of a verified certificate
};

struct SaslAccount {
  bool exists = false;
  bool banned = false;
  std::array<std::optional<ScramKeys>, kScramHashes> keys;
};

// PLAIN's question: takes milliseconds, so it is answered on another thread.
struct PasswordCheck {
  ScramHash hash = ScramHash::kSha1;
  ScramKeys keys;
  std::string password;

  bool Run() const { return ScramMatches(hash, keys, password); }
};

// In order of our preference.
std::vector<std::string> SaslOffer(const SaslPolicy& policy, const SaslChannel& channel,
                                   std::string_view domain);
// <mechanisms/>, and <sasl-channel-binding/> where there is something to bind to.
std::string SaslFeatures(const SaslPolicy& policy, const SaslChannel& channel,
                         std::string_view domain);

class SaslDispatch {
 public:
  // All outlive it.
  SaslDispatch(const SaslPolicy& policy, const SaslChannel& channel, std::string_view domain);
  ~SaslDispatch();

  enum class Next : uint8_t {
    kChallenge,  // `data` goes out, a response comes
    kLook,       // for the account of user(); then Looked() or Fail()
    kCheck,      // TakeCheck(), then Checked()
    kSuccess,    // of user(); `data` goes out
    kFailure,
  };
  struct Step {
    Next next = Next::kFailure;
    std::string data;  // as it is written: base64, "=" or ""
    SaslFailure failure = SaslFailure::kNotAuthorized;
    // It was the client that did not prove who it is: what is limited.
    bool guess = false;
  };

  // <auth/>; `text` is its content.
  Step Begin(std::string_view mechanism, std::string_view text);
  Step Respond(std::string_view text);
  Step Looked(SaslAccount account);
  Step LookFailed() { return Fail(SaslFailure::kTemporaryAuthFailure); }
  PasswordCheck TakeCheck();
  Step Checked(bool right);

  // Known from kLook on; of who says to be it until kSuccess.
  const std::optional<Jid>& user() const { return user_; }
  std::string_view mechanism() const { return mechanism_; }

 private:
  enum class Kind : uint8_t { kScram, kPlain, kExternal };
  enum class State : uint8_t { kIdle, kFirst, kLooking, kFinal, kChecking, kDone };

  Step Fail(SaslFailure failure, bool guess = false);
  Step First(std::string_view message);
  Step FirstOfScram(std::string_view message);
  Step FirstOfPlain(std::string_view message);
  Step FirstOfExternal(std::string_view message);
  // The account that `name` is here, as a local part or whole; and whether it may act as `authzid`.
  std::optional<Jid> UserOf(std::string_view name) const;
  bool MayActAs(std::string_view authzid) const;

  const SaslPolicy& policy_;
  const SaslChannel& channel_;
  const std::string_view domain_;
  std::string mechanism_;
  Kind kind_ = Kind::kScram;
  State state_ = State::kIdle;
  ScramHash hash_ = ScramHash::kSha1;
  std::optional<ScramServer> scram_;
  std::optional<Jid> user_;
  std::string password_;
  SaslAccount account_;
};

}  // namespace server
