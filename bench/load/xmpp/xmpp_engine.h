// The generator's event loop for XMPP: sessions on plain TCP, STARTTLS or direct TLS, one thread,
// one epoll. It opens, logs in (login.h), takes the time of the phases, answers what every client
// answers by itself (pings, requests for acknowledgement), and says goodbye. What sessions do is an
// XmppScenario's business.
//
// All callbacks run on the calling thread inside Run(). A session's connection may be closed and
// opened again from within them.
#pragma once

#include <array>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "bench/load/endpoint.h"
#include "bench/load/meter.h"
#include "bench/load/tls_client.h"
#include "bench/load/xmpp/login.h"
#include "bench/load/xmpp/xml_splitter.h"

namespace bench {

enum class SessionState : std::uint8_t {
  kFree,
  kConnecting,
  kHandshaking,
  kLoggingIn,
  kReady,
  kClosing  // the goodbye is said, the server's is awaited
};
const char* ToString(SessionState state);

struct Session {
  int fd = -1;
  std::uint32_t index = 0;
  std::uint32_t epoch = 0;  // counts connections: tells whether a callback has closed this one
  SessionState state = SessionState::kFree;
  std::uint16_t attempts = 0;  // the scenario's
  bool read_ended = false;     // the other side has shut its side
  bool resumed = false;        // the last login took its stream up again
  bool unreachable =
      false;  // the last attempt found nobody at its target: the next goes to another
  std::uint16_t target = 0;  // of the options'
  SSL* ssl = nullptr;
  std::int64_t intended_ns = 0;
  std::int64_t phase_ns = 0;  // when the present phase began
  std::unique_ptr<Login> login;
  XmlSplitter splitter;
  std::string in;   // the beginning of an element
  std::string out;  // what the socket did not take
  StreamState stream;
};

class XmppEngine;

class XmppScenario {
 public:
  virtual ~XmppScenario() = default;
  virtual void OnStart(XmppEngine& engine) = 0;
  virtual void OnReady(XmppEngine& engine, Session& session) = 0;
  // A stanza, or an answer of stream management, for a session that is ready.
  virtual void OnElement(XmppEngine& engine, Session& session, std::string_view element) = 0;
  // The session has acknowledged what it was given so far (XEP-0198).
  virtual void OnAcknowledged(XmppEngine&, Session&) {}
  // The connection is closed after a goodbye of ours.
  virtual void OnClosed(XmppEngine& engine, Session& session) = 0;
  // It came to nothing, or (`was_ready`) was ended by the other side.
  virtual void OnFail(XmppEngine& engine, Session& session, bool was_ready) = 0;
  // Called every turn of the loop; returns when it wants to be called next at the latest.
  virtual std::int64_t OnTick(XmppEngine& engine, std::int64_t now_ns) = 0;
  virtual bool Done() const = 0;
};

struct AccountPattern {
  std::string user;  // with one %d for the number
  std::string domain;
  std::string password;
  std::size_t first = 0;
  std::size_t count = 1;
};

// "user%d@domain"; without %d all sessions are of one account. The error says what is wrong.
std::expected<AccountPattern, std::string> ParseAccounts(std::string_view users,
                                                         std::string_view password,
                                                         std::size_t first, std::size_t count);
Account AccountOf(const AccountPattern& pattern, std::size_t number);

struct XmppOptions {
  std::vector<Endpoint> targets;
  std::vector<Endpoint> sources;
  std::size_t sessions = 1;  // size of the table
  std::int64_t timeout_ns = 10'000'000'000;
  TlsOptions tls;
  std::vector<pid_t> watched;
  bool live = false;
  LoginPlan plan;
  AccountPattern accounts;
  // Account n's sessions go to target n (modulo) every time; else each connection to the next.
  bool target_by_account = false;
  bool farewell = true;  // end with goodbyes; else connections are cut
};

class XmppEngine final : public Meter {
 public:
  static std::expected<std::unique_ptr<XmppEngine>, std::string> Create(XmppOptions options);
  ~XmppEngine();
  XmppEngine(const XmppEngine&) = delete;
  XmppEngine& operator=(const XmppEngine&) = delete;

  // Until the scenario is done, `stop_ns` has come or a signal asked to stop; then the goodbyes.
  void Run(XmppScenario& scenario, std::int64_t stop_ns);

  std::vector<Session>& Sessions() { return sessions_; }
  const AccountPattern& Accounts() const { return options_.accounts; }
  std::int64_t TimeoutNs() const { return options_.timeout_ns; }
  std::size_t TargetCount() const { return options_.targets.size(); }
  std::size_t OpenCount() const { return open_; }

  // Connects and logs in as account `number` of the pattern. With `resume` the session's stream is
  // resumed, where it has one.
  void Open(Session& session, std::size_t number, std::int64_t intended_ns, bool resume = false);
  void Send(Session& session, std::string_view bytes);
  // Says goodbye; OnClosed follows.
  void Leave(Session& session);
  // Closes without a goodbye; the stream may be resumed.
  void Cut(Session& session);
  // Counts a failure of an operation that ended no connection.
  void CountFailure(FailReason reason, std::string_view example = {});
  Histogram& Phase(std::string_view name);

 private:
  explicit XmppEngine(XmppOptions options);

  void Turn(std::int64_t wake_ns);
  void OnEvent(Session& session, std::uint32_t events);
  void OnConnected(Session& session);
  void StartTls(Session& session);
  void ContinueHandshake(Session& session);
  void Flush(Session& session);
  void Receive(Session& session);
  std::int64_t ReceiveSome(Session& session);
  bool Split(Session& session, std::string_view data);
  void OnItem(Session& session, const XmlItem& item);
  void OnLogin(Session& session, std::string_view element);
  void OnStanza(Session& session, std::string_view element);
  bool AnswerBySelf(Session& session, std::string_view element);
  void EndPhase(Session& session, LoginPhase phase);
  void BecomeReady(Session& session);
  void Ended(Session& session, FailReason reason);
  void Fail(Session& session, FailReason reason);
  void Example(std::string_view text);
  void ExpireSlow();
  void SayGoodbyes();

  XmppOptions options_;
  std::unique_ptr<TlsClient> tls_;
  XmppScenario* scenario_ = nullptr;
  int epoll_ = -1;
  std::vector<Session> sessions_;
  std::vector<char> buffer_;
  SaltedPasswords salted_;
  std::array<Histogram, kLoginPhases> login_phases_;
  std::size_t open_ = 0;
  std::uint64_t opened_ = 0;
  bool leaving_ = false;
  std::int64_t next_housekeeping_ns_ = 0;
};

}  // namespace bench
