#include "bench/load/xmpp/login.h"

#include <algorithm>
#include <charconv>
#include <random>
#include <utility>

#include "bench/load/xmpp/xml_view.h"

namespace bench {
namespace {

constexpr std::string_view kSaslSpace = "urn:ietf:params:xml:ns:xmpp-sasl";
constexpr std::size_t kShownMax = 200;

std::string MakeNonce() {
  static std::mt19937_64 random{std::random_device{}()};
  std::string bytes(18, '\0');
  for (char& byte : bytes) byte = static_cast<char>(random());
  return Base64(bytes);
}

std::optional<std::uint32_t> NumberIn(std::string_view text) {
  std::uint32_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (text.empty() || error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return number;
}

}  // namespace

const char* ToString(LoginPhase phase) {
  switch (phase) {
    case LoginPhase::kStream:
      return "stream";
    case LoginPhase::kStartTls:
      return "starttls";
    case LoginPhase::kTls:
      return "tls_handshake";
    case LoginPhase::kSasl:
      return "sasl";
    case LoginPhase::kBind:
      return "bind";
    case LoginPhase::kResume:
      return "resume";
    case LoginPhase::kSession:
      return "session";
    case LoginPhase::kRegister:
      return "register";
    case LoginPhase::kDone:
      return "done";
  }
  return "?";
}

Login::Login(const LoginPlan& plan, Account account, SaltedPasswords& salted, StreamState& state,
             bool resume)
    : plan_(plan),
      account_(std::move(account)),
      salted_(salted),
      state_(state),
      secure_(plan.security == Security::kDirectTls),
      resume_(resume && !state.id.empty()) {
  state_.managed = false;  // until <enabled/> or <resumed/>
}

LoginStep Login::Fail(std::string_view what, std::string_view element) {
  error_ = what;
  if (!element.empty()) error_.append(": ").append(element.substr(0, kShownMax));
  return LoginStep::kFail;
}

void Login::OpenStream(std::string& out) {
  phase_ = LoginPhase::kStream;
  out.append(
         "<?xml version='1.0'?><stream:stream xmlns='jabber:client' "
         "xmlns:stream='http://etherx.jabber.org/streams' version='1.0' to='")
      .append(account_.domain)
      .append("'>");
}

void Login::Begin(std::string& out) { OpenStream(out); }

void Login::OnSecure(std::string& out) {
  secure_ = true;
  OpenStream(out);
}

LoginStep Login::OnElement(std::string_view element, std::string& out) {
  const std::string_view name = LocalName(element);
  if (name == "error" && element.starts_with("<stream:")) return Fail("stream error", element);
  switch (phase_) {
    case LoginPhase::kStream:
      return name == "features" ? OnFeatures(element, out) : LoginStep::kGoOn;
    case LoginPhase::kStartTls:
      if (name != "proceed") return Fail("STARTTLS", element);
      phase_ = LoginPhase::kTls;
      return LoginStep::kHandshake;
    case LoginPhase::kSasl:
      return OnSasl(element, out);
    case LoginPhase::kRegister:
      return OnRegistered(element);
    case LoginPhase::kBind:
      return OnBound(element, out);
    case LoginPhase::kResume:
      return OnResume(element, out);
    case LoginPhase::kSession:
      return OnSession(element, out);
    case LoginPhase::kTls:
    case LoginPhase::kDone:
      break;
  }
  return LoginStep::kGoOn;
}

LoginStep Login::OnFeatures(std::string_view element, std::string& out) {
  if (plan_.security == Security::kStartTls && !secure_) {
    if (!Contains(element, "<starttls")) return Fail("the server offers no STARTTLS", element);
    out += "<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>";
    phase_ = LoginPhase::kStartTls;
    return LoginStep::kGoOn;
  }
  if (plan_.registration) {
    Register(out);
    return LoginStep::kGoOn;
  }
  if (!authenticated_) return Authenticate(element, out);
  if (plan_.stream_management && !Contains(element, "urn:xmpp:sm:3")) {
    return Fail("the server offers no stream management", element);
  }
  if (!resume_) {
    Bind(out);
    return LoginStep::kGoOn;
  }
  phase_ = LoginPhase::kResume;
  out.append("<resume xmlns='urn:xmpp:sm:3' h='")
      .append(std::to_string(state_.handled))
      .append("' previd='")
      .append(state_.id)
      .append("'/>");
  return LoginStep::kGoOn;
}

void Login::Register(std::string& out) {
  phase_ = LoginPhase::kRegister;
  out.append("<iq type='set' id='reg'><query xmlns='jabber:iq:register'><username>")
      .append(Escaped(account_.user))
      .append("</username><password>")
      .append(Escaped(account_.password))
      .append("</password></query></iq>");
}

LoginStep Login::OnRegistered(std::string_view element) {
  if (Attribute(element, "id") != "reg") return LoginStep::kGoOn;
  const bool there_already = Contains(element, "<conflict");
  if (Attribute(element, "type") != "result" && !there_already) {
    return Fail("registration", element);
  }
  phase_ = LoginPhase::kDone;
  return LoginStep::kDone;
}

LoginStep Login::Authenticate(std::string_view features, std::string& out) {
  const auto hash =
      plan_.mechanism == Mechanism::kScramSha256 ? ScramHash::kSha256 : ScramHash::kSha1;
  const bool plain = plan_.mechanism == Mechanism::kPlain;
  const std::string_view name = plain ? "PLAIN" : MechanismName(hash);
  if (!HasChildWithText(features, "mechanism", name)) {
    return Fail("the server does not offer " + std::string(name), features);
  }
  std::string initial;
  if (plain) {
    initial.append(1, '\0').append(account_.user).append(1, '\0').append(account_.password);
  } else {
    scram_.emplace(hash, account_.user, MakeNonce());
    initial = scram_->First();
  }
  phase_ = LoginPhase::kSasl;
  out.append("<auth xmlns='").append(kSaslSpace).append("' mechanism='").append(name);
  out.append("'>").append(Base64(initial)).append("</auth>");
  return LoginStep::kGoOn;
}

LoginStep Login::OnSasl(std::string_view element, std::string& out) {
  const std::string_view name = LocalName(element);
  if (name == "challenge" && scram_) {
    const auto first = FromBase64(OwnText(element));
    if (!first) return Fail("challenge", element);
    const auto answer = scram_->Final(*first, account_.password, salted_);
    if (!answer) return Fail(answer.error());
    out.append("<response xmlns='").append(kSaslSpace).append("'>");
    out.append(Base64(*answer)).append("</response>");
    return LoginStep::kGoOn;
  }
  if (name != "success") return Fail("login refused", element);
  if (scram_) {
    const auto proof = FromBase64(OwnText(element));
    if (!proof || !scram_->Verify(*proof)) return Fail("the server's proof is wrong", element);
  }
  authenticated_ = true;
  OpenStream(out);
  return LoginStep::kRestart;
}

void Login::Bind(std::string& out) {
  phase_ = LoginPhase::kBind;
  state_ = StreamState{.taken = state_.taken};
  out += "<iq type='set' id='bind'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>";
}

LoginStep Login::OnBound(std::string_view element, std::string& out) {
  if (Attribute(element, "id") != "bind") return LoginStep::kGoOn;
  if (Attribute(element, "type") != "result") return Fail("bind", element);
  state_.jid = ChildText(element, "jid");
  return AskForSession(out);
}

LoginStep Login::OnResume(std::string_view element, std::string& out) {
  const std::string_view name = LocalName(element);
  if (name == "resumed" || name == "failed") state_.taken = NumberIn(Attribute(element, "h"));
  if (name == "resumed") {
    state_.managed = true;
    resumed_ = true;
    phase_ = LoginPhase::kDone;
    return LoginStep::kDone;
  }
  if (name != "failed") return LoginStep::kGoOn;
  resume_refused_ = true;
  Bind(out);
  return LoginStep::kGoOn;
}

LoginStep Login::AskForSession(std::string& out) {
  phase_ = LoginPhase::kSession;
  if (plan_.stream_management) {
    out += "<enable xmlns='urn:xmpp:sm:3' resume='true'/>";
    ++awaited_;
  }
  if (plan_.carbons) {
    out += "<iq type='set' id='own-c'><enable xmlns='urn:xmpp:carbons:2'/></iq>";
    ++awaited_;
    ++state_.sent;
  }
  if (plan_.roster) {
    out += "<iq type='get' id='own-r'><query xmlns='jabber:iq:roster'/></iq>";
    ++awaited_;
    ++state_.sent;
  }
  return awaited_ == 0 ? ShowOneself(out) : LoginStep::kGoOn;
}

LoginStep Login::ShowOneself(std::string& out) {
  shown_ = true;
  if (plan_.presence) {
    out += "<presence/>";
    ++state_.sent;
  }
  if (plan_.confirm) {
    ++state_.sent;
    out.append("<iq type='get' id='own-p' to='").append(account_.domain);
    out.append("'><ping xmlns='urn:xmpp:ping'/></iq>");
    ++awaited_;
    return LoginStep::kGoOn;
  }
  return Done();
}

// From here on it may be resumed: one that has not shown itself would stay unseen.
LoginStep Login::Done() {
  state_.id = std::move(stream_id_);
  phase_ = LoginPhase::kDone;
  return LoginStep::kDone;
}

LoginStep Login::OnSession(std::string_view element, std::string& out) {
  const std::string_view name = LocalName(element);
  if (name == "failed") return Fail("stream management", element);
  if (name == "enabled") {
    state_.managed = true;
    state_.handled = 0;
    stream_id_ = Attribute(element, "id");
  } else if (name != "iq" || !Attribute(element, "id").starts_with("own-")) {
    return LoginStep::kGoOn;
  } else if (Attribute(element, "type") == "error" && Attribute(element, "id") != "own-p") {
    return Fail("session", element);
  }
  if (--awaited_ > 0) return LoginStep::kGoOn;
  if (!shown_) return ShowOneself(out);
  return Done();
}

}  // namespace bench
