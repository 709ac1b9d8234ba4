// A stream before it is bound: STARTTLS (RFC 6120 section 5), SASL (section 6), resource binding
// (section 7), and resumption (XEP-0198 section 5).
#include <charconv>
#include <utility>

#include "server/c2s/client_stream.h"
#include "server/xmpp/xml_text.h"

namespace server {
namespace {

constexpr std::string_view kTlsSpace = "urn:ietf:params:xml:ns:xmpp-tls";
constexpr std::string_view kSaslSpace = "urn:ietf:params:xml:ns:xmpp-sasl";
// Clients try one mechanism after the other that they or we cannot do, with channel bindings that
// are not there; a password that is wrong is worth as many of these.
constexpr uint32_t kGuessWorth = 4;
// Of one stream: a client has one session to come back to, and may have lost count of it.
constexpr uint32_t kResumptionsMax = 5;
constexpr std::string_view kBindSpace = "urn:ietf:params:xml:ns:xmpp-bind";

std::string SaslElement(std::string_view name, std::string_view data) {
  std::string out = "<" + std::string(name);
  AppendXmlAttribute(out, "xmlns", kSaslSpace);
  if (data.empty()) return out + "/>";
  out += '>';
  out += data;
  return out + "</" + std::string(name) + ">";
}

}  // namespace

void ClientStream::OnLogin(Stanza& stanza) {
  const XmlElement element = stanza.root();
  if (element.space() == kTlsSpace && element.name() == "starttls") return OnStartTls();
  if (element.space() == kSaslSpace) return OnSasl(element);
  if (!login_->authenticated) {
    if (MaySignUp(element)) return OnSignUp(element);
    return Fail(net::StreamError::kNotAuthorized, "first say who you are");
  }
  if (element.Is("resume", kManagementSpace)) return OnResume(element);
  if (element.Is("enable", kManagementSpace)) {
    port_.Write(
        "<failed xmlns='urn:xmpp:sm:3'><unexpected-request "
        "xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></failed>");
    return;
  }
  if (element.Is("iq", kClientSpace) && element.Attribute("type") == "set" &&
      element.FirstChild().Is("bind", kBindSpace)) {
    return OnBind(element);
  }
  // Nothing else is taken before there is an address (section 7.1).
  Fail(net::StreamError::kNotAuthorized, "first bind a resource");
}

void ClientStream::OnStartTls() {
  if (secure_ || login_->authenticated || login_->sasl || !port_.HasTls(login_->domain)) {
    port_.Write("<failure xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>");
    return Close();  // section 5.4.2.2
  }
  after_ = After::kTls;
}

void ClientStream::OnSasl(const XmlElement& element) {
  const std::string_view name = element.name();
  if (login_->authenticated) {
    return Fail(net::StreamError::kPolicyViolation, "it is known who you are");
  }
  if (name == "auth" && !login_->sasl) {
    if (!secure_ && ground_.tls_need == TlsNeed::kRequired) {
      port_.Write(SaslElement("failure", "<encryption-required/>"));
      return;
    }
    state_ = State::kSasl;
    login_->sasl.emplace(ground_.sasl, login_->channel, login_->domain);
    return Take(login_->sasl->Begin(element.Attribute("mechanism"), element.Text()));
  }
  if (name == "response" && login_->sasl) return Take(login_->sasl->Respond(element.Text()));
  if (name == "abort" && login_->sasl) {
    return Take({.failure = SaslFailure::kAborted});
  }
  if (name == "auth" || name == "response" || name == "abort") {
    return Take({.failure = SaslFailure::kMalformedRequest});
  }
  Fail(net::StreamError::kUnsupportedStanzaType, "");
}

void ClientStream::Take(SaslDispatch::Step step) {
  switch (step.next) {
    case SaslDispatch::Next::kChallenge:
      return port_.Write(SaslElement("challenge", step.data));
    case SaslDispatch::Next::kLook: {
      const Jid user = *login_->sasl->user();
      if (!port_.MayTry(user)) {
        ClientCounters::Add(ground_.counters.auth_limited);
        return OnFailure({.failure = SaslFailure::kTemporaryAuthFailure});
      }
      Wait(true);
      return port_.Look(user);
    }
    case SaslDispatch::Next::kCheck:
      Wait(true);
      return port_.Check(login_->sasl->TakeCheck());
    case SaslDispatch::Next::kSuccess:
      return OnAuthenticated(step.data);
    case SaslDispatch::Next::kFailure:
      return OnFailure(step);
  }
}

void ClientStream::Looked(std::expected<LoadedUser, StoreError> loaded) {
  if (state_ != State::kSasl || !login_->sasl) return;
  waits_ = false;
  if (!loaded) {
    Take(login_->sasl->LookFailed());
  } else {
    SaslAccount account{.exists = loaded->exists,
                        .banned = !loaded->account.banned.empty(),
                        .keys = loaded->account.keys};
    login_->loaded = std::make_shared<const LoadedUser>(std::move(*loaded));
    Take(login_->sasl->Looked(std::move(account)));
  }
  AfterAnswer();
}

void ClientStream::AfterAnswer() {
  if (state_ != State::kEnded) Wait(waits_);
}

void ClientStream::Checked(bool right) {
  if (state_ != State::kSasl || !login_->sasl) return;
  waits_ = false;
  Take(login_->sasl->Checked(right));
  AfterAnswer();
}

void ClientStream::OnAuthenticated(std::string_view data) {
  ClientCounters::Add(ground_.counters.logins);
  login_->user = login_->sasl->user();
  login_->authenticated = true;
  login_->sasl.reset();
  port_.Write(SaslElement("success", data));
  after_ = After::kRestart;
}

void ClientStream::OnFailure(const SaslDispatch::Step& step) {
  ClientCounters::Add(Counters().auth_failed);
  if (step.guess) {
    const auto user = login_->sasl ? login_->sasl->user() : std::optional<Jid>();
    port_.OnGuess(user ? &*user : nullptr);
  }
  login_->sasl.reset();
  login_->loaded.reset();
  state_ = State::kFeatures;
  port_.Write(SaslElement("failure", "<" + std::string(ToString(step.failure)) + "/>"));
  // A client may try another mechanism, or ask its user again (section 6.4.5).
  login_->tries += step.guess ? kGuessWorth : 1;
  if (login_->tries >= ground_.limits.sasl_tries * kGuessWorth) {
    Fail(net::StreamError::kPolicyViolation, "too many failures");
  }
}

void ClientStream::OnBind(const XmlElement& iq) {
  login_->bind_id = iq.Attribute("id");
  // Whoever is there already goes first; a resumption takes nothing more.
  if (ground_.pressure != MemoryPressure::kEnough) {
    ClientCounters::Add(ground_.counters.bindings_shed);
    return BindFailed(ErrorXml(ErrorType::kWait, StanzaError::kResourceConstraint,
                               "the server is short of memory: try again later"));
  }
  std::string resource;
  const XmlElement wanted = iq.FirstChild().Child("resource", kBindSpace);
  if (wanted) resource = wanted.Text();
  if (!resource.empty()) {
    auto prepared = PrepareResource(resource);
    if (!prepared) {
      return BindFailed(
          "<error type='modify'><bad-request "
          "xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error>");
    }
    resource = std::move(*prepared);
  }
  state_ = State::kBinding;
  Wait(true);
  port_.Bind(*login_->user, std::move(resource), login_->loaded);
}

void ClientStream::Bound(std::unique_ptr<BoundSession> session) {
  if (state_ != State::kBinding) return;
  ClientCounters::Add(Counters().bound);
  session_ = std::move(session);
  std::string out = "<iq type='result'";
  AppendXmlAttribute(out, "id", login_->bind_id);
  out += "><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><jid>";
  AppendXmlContent(out, session_->full().full());
  port_.Write(out + "</jid></bind></iq>");
  state_ = State::kBound;
  login_.reset();
  Wait(false);
}

void ClientStream::BindFailed(std::string_view error_xml) {
  std::string out = "<iq type='error'";
  AppendXmlAttribute(out, "id", login_->bind_id);
  out += '>';
  out += error_xml;
  port_.Write(out + "</iq>");
  state_ = State::kFeatures;
  Wait(false);
}

void ClientStream::OnResume(const XmlElement& element) {
  uint32_t h = 0;
  const std::string_view said = element.Attribute("h");
  const auto [end, error] = std::from_chars(said.data(), said.data() + said.size(), h);
  if (error != std::errc() || end != said.data() + said.size()) {
    port_.Write(
        "<failed xmlns='urn:xmpp:sm:3'><bad-request "
        "xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></failed>");
    return;
  }
  // Each asks other workers and nodes. Who has no such session binds.
  if (++login_->resumptions > kResumptionsMax) {
    return Fail(net::StreamError::kPolicyViolation, "too many resumptions that failed");
  }
  state_ = State::kBinding;
  Wait(true);
  login_->previd = element.Attribute("previd");
  port_.Resume(*login_->user, login_->previd, h);
}

void ClientStream::ResumeFailed(std::optional<uint32_t> h) {
  if (state_ != State::kBinding) return;
  ClientCounters::Add(ground_.counters.resume_failed);
  std::string out = "<failed xmlns='urn:xmpp:sm:3'";
  if (h) AppendXmlAttribute(out, "h", std::to_string(*h));
  port_.Write(out + "><item-not-found xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></failed>");
  state_ = State::kFeatures;  // it may bind instead
  Wait(false);
}

}  // namespace server
