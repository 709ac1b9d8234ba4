// One login as a client makes it, without its socket: what to send next in answer to what the
// server has sent. Stream, STARTTLS, SASL, the restarted stream, resumption or resource binding,
// then what clients ask for before they show themselves (stream management, carbons, the roster),
// then presence. Or, instead of SASL, the registration of the account (XEP-0077).
//
// The owner moves bytes, makes TLS when asked to, and takes the time of the phases: phase() before
// and after a call tells which one has ended. RFC 6120, XEP-0198, XEP-0280, RFC 6121.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "bench/load/xmpp/scram_client.h"

namespace bench {

enum class Security : std::uint8_t { kPlain, kStartTls, kDirectTls };
enum class Mechanism : std::uint8_t { kScramSha1, kScramSha256, kPlain };

enum class LoginPhase : std::uint8_t {
  kStream,    // an opening tag until the features
  kStartTls,  // <starttls/> until <proceed/>
  kTls,       // the handshake
  kSasl,
  kBind,
  kResume,
  kSession,  // stream management, carbons, roster, presence
  kRegister,
  kDone
};
inline constexpr std::size_t kLoginPhases = 8;  // those that take time
const char* ToString(LoginPhase phase);

// The same for all logins of a run.
struct LoginPlan {
  Security security = Security::kStartTls;
  Mechanism mechanism = Mechanism::kScramSha1;
  bool registration = false;
  bool stream_management = true;
  bool carbons = true;
  bool roster = true;
  bool presence = true;
  // Wait for the answer to a ping behind the presence: then the server has taken the presence in.
  bool confirm = false;
};

struct Account {
  std::string user;
  std::string domain;
  std::string password;
};

// What a session needs to come back after its connection was cut.
struct StreamState {
  std::string jid;  // as bound
  std::string id;   // of the resumable stream; empty: none
  bool managed = false;
  std::uint32_t handled = 0;  // stanzas that we took in since <enabled/>
  std::uint32_t sent = 0;     // stanzas that we sent since <enable/>
  // What the other side had handled when it took the stream up again, or refused to; of a refusal
  // only if it said so.
  std::optional<std::uint32_t> taken;
};

enum class LoginStep : std::uint8_t {
  kGoOn,
  kHandshake,  // make TLS, then call OnSecure
  kRestart,    // a new document follows
  kDone,
  kFail
};

class Login {
 public:
  // All must outlive this; `state` is read and written. With `resume` it holds the stream to
  // resume.
  Login(const LoginPlan& plan, Account account, SaltedPasswords& salted, StreamState& state,
        bool resume);

  // The connection is there (and TLS, with kDirectTls). Appends what is to be sent, as all do.
  void Begin(std::string& out);
  // The handshake has ended.
  void OnSecure(std::string& out);
  LoginStep OnElement(std::string_view element, std::string& out);

  LoginPhase phase() const { return phase_; }
  // The server refused to resume and a new session was made instead.
  bool ResumeRefused() const { return resume_refused_; }
  bool Resumed() const { return resumed_; }
  // After kFail: what the server said.
  const std::string& Error() const { return error_; }

 private:
  LoginStep OnFeatures(std::string_view element, std::string& out);
  LoginStep OnSasl(std::string_view element, std::string& out);
  LoginStep OnRegistered(std::string_view element);
  LoginStep OnBound(std::string_view element, std::string& out);
  LoginStep OnResume(std::string_view element, std::string& out);
  LoginStep OnSession(std::string_view element, std::string& out);
  LoginStep Authenticate(std::string_view features, std::string& out);
  void Register(std::string& out);
  void Bind(std::string& out);
  LoginStep AskForSession(std::string& out);
  LoginStep ShowOneself(std::string& out);
  LoginStep Done();
  void OpenStream(std::string& out);
  LoginStep Fail(std::string_view what, std::string_view element = {});

  const LoginPlan& plan_;
  Account account_;
  SaltedPasswords& salted_;
  StreamState& state_;
  std::optional<ScramClient> scram_;
  LoginPhase phase_ = LoginPhase::kStream;
  bool secure_ = false;
  bool authenticated_ = false;
  bool resume_ = false;
  bool resume_refused_ = false;
  bool resumed_ = false;
  bool shown_ = false;
  std::string stream_id_;  // by which it may be resumed later
  int awaited_ = 0;        // answers that are due in kSession
  std::string error_;
};

}  // namespace bench
