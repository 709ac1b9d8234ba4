// A client's stream (RFC 6120) without a connection: bytes in, words to an interface out. Opening,
// STARTTLS, SASL, the restart after each, binding or resumption, then stanzas; and its end, with
// the RFC's error where there is one.
//
//   kOpening → kFeatures ⇄ kSasl → kOpening → kFeatures → kBinding → kBound → kEnded
//
// Until it is authenticated a client has little: a bound on time, on bytes, on tries. What stands
// behind the word that ends a step (STARTTLS, SASL) is read by a new parser, and behind STARTTLS
// nothing may stand (attack 36: XML before TLS).
//
// While it waits for somebody else (an account, a password's hash, its home) it asks the port to
// hold the client's bytes, and keeps those that were in the buffer as they are: a client that did
// not wait either, and has opened its next stream behind <auth/>, is read by the new parser when it
// is known, and by the old one when it is not. Of one that has said too much the stanzas that were
// in the buffer are kept.
//
// Calls of the port that have an answer are answered later, or from within; but Look() and Check()
// never from within.
//
// Pure; one thread, its worker's.
#pragma once

#include <cstdint>
#include <expected>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "net/base/clock.h"
#include "net/xmpp/stream_xml.h"
#include "server/c2s/bound_session.h"
#include "server/c2s/client_counters.h"
#include "server/im/ports.h"
#include "server/modules/sign_up.h"
#include "server/sasl/sasl_dispatch.h"
#include "server/store/store.h"
#include "server/xmpp/stream_reader.h"

namespace server {

enum class TlsNeed : uint8_t { kRequired, kOptional };

// Of the node's memory.
enum class MemoryPressure : uint8_t {
  kEnough,
  kShort,  // no new sessions
  kFull,   // no new streams; messages and requests only of who says little and waits with little
  kOut,    // none at all
};

struct ClientLimits {
  StreamLimits before_login{.opening_bytes = 4 * 1024, .stanza_bytes = 16 * 1024, .depth = 8};
  StreamLimits after_login;
  net::Duration login_timeout = std::chrono::seconds(60);
  uint32_t sasl_tries = 3;
  // A token bucket of stanzas; what is above waits, unread. 0: no limit.
  double stanzas_per_s = 0;
  net::Duration stanza_burst = std::chrono::seconds(5);
  // Of a client that says nothing: it is asked, and is dead when it does not answer.
  net::Duration idle_ping = std::chrono::minutes(5);
  net::Duration ping_timeout = std::chrono::seconds(60);
  // <r/> is answered with what is settled after this long at the latest.
  net::Duration answer_within = std::chrono::seconds(1);
  // Who is sent away has this long to acknowledge what it was sent, and what it said to be settled.
  net::Duration farewell = std::chrono::seconds(2);
  net::Duration resume_timeout = std::chrono::hours(1);
  BoundLimits bound;
};

// What all streams of a worker share.
struct ClientGround {
  ClientLimits limits;
  SaslPolicy sasl;
  TlsNeed tls_need = TlsNeed::kRequired;
  std::vector<std::string> domains;  // prepared; the first speaks for streams without a name
  std::string features;              // after login, written XML (rosterver and the like)
  SignUpOptions sign_up;
  std::function<void(std::span<uint8_t>)> random;
  ClientCounters counters;
  MemoryPressure pressure = MemoryPressure::kEnough;

  // Languages that streams have named. A stream keeps the number of its own: 0 is none.
  static constexpr size_t kLangsMax = 255;
  std::vector<std::string> langs;
  uint8_t LangNumber(std::string_view lang);
};

// What the stream wants done. All calls stay within one turn of the loop.
class ClientPort {
 public:
  virtual net::Time Now() const = 0;
  virtual int64_t UnixUs() const = 0;
  virtual void Write(std::string_view xml) = 0;
  // Bytes of it that are still here.
  virtual size_t Queued() const { return 0; }
  // Is there a certificate for it? Then, behind what was written, TLS.
  virtual bool HasTls(std::string_view domain) const = 0;
  virtual void StartTls(std::string_view domain) = 0;
  // → Looked()
  virtual void Look(const Jid& user) = 0;
  // → Checked(), from another thread
  virtual void Check(PasswordCheck check) = 0;
  // Failures are limited: may this one try?
  virtual bool MayTry(const Jid& user) = 0;
  virtual void OnGuess(const Jid* user) = 0;
  // → SignedUp()
  virtual void SignUp(SignUpRequest request) = 0;
  // → Bound() or BindFailed()
  virtual void Bind(const Jid& user, std::string resource,
                    std::shared_ptr<const LoadedUser> loaded) = 0;
  // → Resumed() or ResumeFailed()
  virtual void Resume(const Jid& user, std::string previd, uint32_t h) = 0;
  virtual void Arrived(BoundSession& session, Stanza stanza, uint32_t number) = 0;
  virtual void StateChanged(BoundSession& session) = 0;
  virtual void Delivered(BoundSession& session, std::span<const TicketEnd> ended) = 0;
  // No bytes from the client, or again.
  virtual void Hold(bool hold) = 0;
  // The stream is over and its last word is written. TakeSession() before this returns.
  virtual void OnStreamOver() = 0;

 protected:
  ~ClientPort() = default;
};

class ClientStream final : private StreamHost {
 public:
  enum class State : uint8_t { kOpening, kFeatures, kSasl, kBinding, kBound, kEnded };

  ClientStream(ClientGround& ground, ClientPort& port);
  ~ClientStream();
  ClientStream(const ClientStream&) = delete;
  ClientStream& operator=(const ClientStream&) = delete;

  // The connection is there: in the clear, or secure with what it brought. Again behind StartTls().
  void OnConnected(SaslChannel channel);
  void Receive(std::string_view bytes);
  // Ends the stream in good order.
  void End(net::StreamError error, std::string_view text = {});
  void Close();  // without an error
  // Ends with <system-shutdown/> as soon as both have their word, or the time for that is over: the
  // client has acknowledged what it was sent, which must not come another way again, and what it
  // said is settled, so that the last `h` counts it and it is not said again. What comes for it
  // meanwhile is not sent, and lost to it; what it says meanwhile is not taken, and not counted.
  // `text` outlives the stream.
  void SendAway(std::string_view text = {});
  bool leaving() const { return leaving_ != nullptr; }

  // --- Answers.
  void Looked(std::expected<LoadedUser, StoreError> loaded);
  void Checked(bool right);
  void SignedUp(std::string_view error_xml);  // "": the account is there
  void Bound(std::unique_ptr<BoundSession> session);
  void BindFailed(std::string_view error_xml);
  // It is this stream's from here on.
  void Resumed(std::unique_ptr<BoundSession> session, uint32_t h);
  // `h`: what of it was settled, where that is known.
  void ResumeFailed(std::optional<uint32_t> h);

  // --- While it is bound.
  BoundSession* session() { return session_.get(); }
  std::unique_ptr<BoundSession> TakeSession() { return std::move(session_); }
  void Deliver(Delivery delivery);
  // It may be due at once then.
  void Settled(uint32_t number);

  // What is due next, from now; zero: nothing. Then OnDue().
  net::Duration Due() const;
  void OnDue();

  State state() const { return state_; }
  // False once the client has said who it is.
  bool unauthenticated() const { return login_ != nullptr && !login_->authenticated; }
  bool secure() const { return secure_; }
  std::string_view domain() const;
  net::Time heard() const { return heard_; }  // the client, last
  // The last words of a client that is thought dead, and has said nothing since.
  bool dead() const { return dead_; }

 private:
  // What a stream needs until it is bound.
  struct Login {
    explicit Login(net::Time since) : began(since) {}
    net::Time began;
    SaslChannel channel;
    std::string domain;
    std::optional<SaslDispatch> sasl;
    std::optional<Jid> user;
    std::shared_ptr<const LoadedUser> loaded;
    std::string bind_id;
    std::string previd;                     // of the session that it wants back, as it named it
    std::optional<std::string> sign_up_id;  // of the request that is not answered
    uint32_t sign_ups = 0;
    uint32_t tries = 0;
    uint32_t resumptions = 0;  // that failed
    bool authenticated = false;
  };
  struct Leaving {
    uint32_t sent;  // stanzas, when it began
    net::Time until;
    std::string_view text;
    bool acknowledged;  // the client has said what it has
  };
  enum class After : uint8_t { kNothing, kTls, kRestart };

  // client_stream.cc
  bool OnOpening(const StreamOpening& opening) override;
  bool OnStanza(Stanza& stanza) override;
  void OnStreamEnd() override;
  std::optional<std::pair<net::StreamError, std::string_view>> RefuseOpening(
      const StreamOpening& opening, std::string* domain);
  void WriteHeader(std::string_view from, std::string_view to);
  void WriteFeatures();
  void Restart();
  bool GoOn(std::string_view rest);
  bool Turn(Stanza& stanza);
  void Wait(bool wait);
  void Read(std::string_view bytes);
  void ReadOn();
  void DrainBacklog();
  void Fail(net::StreamError error, std::string_view text, std::string_view extra = {});
  void Over();
  void MakeReader();

  // client_login.cc
  void OnLogin(Stanza& stanza);
  void OnStartTls();
  void OnSasl(const XmlElement& element);
  void Take(SaslDispatch::Step step);
  void AfterAnswer();
  void OnAuthenticated(std::string_view data);
  void OnFailure(const SaslDispatch::Step& step);
  void OnBind(const XmlElement& iq);
  void OnResume(const XmlElement& element);

  // client_sign_up.cc
  static constexpr uint32_t kSignUpTries = 5;  // of one stream
  bool MaySignUp(const XmlElement& element) const;
  void OnSignUp(const XmlElement& iq);
  void AnswerSignUp(std::string_view id, std::string_view type, std::string_view content);

  // client_stanzas.cc
  void OnBound(Stanza& stanza);
  bool OnNonza(const XmlElement& element);
  void OnEnable(const XmlElement& element);
  void OnClientStanza(Stanza stanza);
  bool FromIsRight(const XmlElement& element) const;
  bool OnOwnIq(const XmlElement& element, uint32_t number);
  bool SayStanza(std::string xml);
  bool RefusedForMemory(const XmlElement& element, uint32_t number);
  void Say(BoundSession::Out& out);
  void Meter();
  void UpdateHold();
  bool MayGo() const;  // who is leaving

  ClientCounters::Host& Counters() { return ground_.counters.hosts[host_]; }

  ClientGround& ground_;
  ClientPort& port_;
  std::optional<StreamReader> reader_;
  std::unique_ptr<Login> login_;
  std::unique_ptr<BoundSession> session_;
  std::unique_ptr<std::vector<Stanza>> backlog_;
  std::unique_ptr<std::string> unread_;  // what stands behind what it waits for
  std::unique_ptr<Leaving> leaving_;
  net::Time heard_;          // the client, last
  net::Time next_stanza_{};  // of the bucket
  net::Time answer_due_{};   // of <r/>
  State state_ = State::kOpening;
  After after_ = After::kNothing;
  uint8_t host_ = 0;  // which of the ground's domains
  uint8_t lang_ = 0;  // of the stream (RFC 6120 section 4.7.4)
  bool header_sent_ = false;
  bool waits_ = false;      // for an answer
  bool throttled_ = false;  // by the bucket, or by what is not settled
  bool holding_ = false;    // as the port knows it
  bool feeding_ = false;
  bool secure_ = false;
  bool pinged_ = false;
  bool dead_ = false;
};

std::string_view ToString(ClientStream::State state);

}  // namespace server
