// A bound stream: stanzas both ways, stream management (XEP-0198), whether the client is looked at
// (XEP-0352), and whether it is still there (XEP-0199).
#include <algorithm>
#include <charconv>
#include <utility>

#include "server/c2s/client_stream.h"
#include "server/xmpp/xml_text.h"

namespace server {
namespace {

constexpr std::string_view kStateSpace = "urn:xmpp:csi:0";
constexpr std::string_view kPingId = "node-ping";
constexpr net::Duration kRefusedFor = std::chrono::milliseconds(100);
constexpr size_t kLittleBytes = 2048;  // that a client may say, and wait with, without memory
constexpr std::string_view kTooMuch = "too much is not acknowledged";

std::optional<uint32_t> Number(std::string_view text) {
  uint32_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return number;
}

std::optional<StanzaKind> KindOf(const XmlElement& element) {
  if (element.space() != kClientSpace) return std::nullopt;
  if (element.name() == "message") return StanzaKind::kMessage;
  if (element.name() == "presence") return StanzaKind::kPresence;
  if (element.name() == "iq") return StanzaKind::kIq;
  return std::nullopt;
}

}  // namespace

void ClientStream::Say(BoundSession::Out& out) {
  if (!out.xml.empty()) port_.Write(out.xml);
  if (!out.ended.empty()) port_.Delivered(*session_, out.ended);
}

void ClientStream::OnBound(Stanza& stanza) {
  const XmlElement element = stanza.root();
  const auto kind = KindOf(element);
  if (!kind) {
    if (OnNonza(element)) return;
    return Fail(net::StreamError::kUnsupportedStanzaType, "");
  }
  // It is about to go, and is not told that this was handled: it says it again elsewhere.
  if (leaving()) return;
  ClientCounters::Add(Counters().in[static_cast<size_t>(*kind)]);
  Meter();
  OnClientStanza(std::move(stanza));
}

void ClientStream::OnClientStanza(Stanza stanza) {
  const XmlElement element = stanza.root();
  if (!FromIsRight(element)) {
    return Fail(net::StreamError::kInvalidFrom, "you are somebody else");
  }
  BoundSession::Out out;
  const auto [number, again] =
      session_->Receive(session_->resumable() ? stanza.Fingerprint() : 0, out);
  Say(out);
  if (again) return;  // said again behind a resumption: once is enough
  // Section 8.1.5: what has no language has the stream's.
  if (lang_ != 0) stanza.SetDefaultLang(ground_.langs[lang_ - 1U]);
  if (OnOwnIq(element, number) || RefusedForMemory(element, number)) return;
  const bool message = element.name() == "message";
  port_.Arrived(*session_, std::move(stanza), message ? number : 0);
  if (state_ != State::kBound) return;
  // An IQ and a presence are done with when they have reached their home: nothing of them is kept.
  if (!message) Settled(number);
  if (state_ == State::kBound && session_->crowded() && !throttled_) {
    throttled_ = true;
    ClientCounters::Add(ground_.counters.throttled);
    UpdateHold();
  }
}

bool ClientStream::FromIsRight(const XmlElement& element) const {
  const auto from = element.Find("from");
  if (!from) return true;
  const std::string& full = session_->full().full();
  if (*from == full || *from == session_->full().bare()) return true;
  const auto jid = Jid::Parse(*from);
  return jid && (jid->full() == full || jid->full() == session_->full().bare());
}

// What only the stream knows an answer to, or has asked itself.
bool ClientStream::OnOwnIq(const XmlElement& element, uint32_t number) {
  if (element.name() != "iq") return false;
  const std::string_view type = element.Attribute("type");
  const std::string_view to = element.Attribute("to");
  if ((type == "result" || type == "error") && element.Attribute("id") == kPingId &&
      (to.empty() || to == session_->full().domain())) {
    Settled(number);
    return true;
  }
  if (type != "set" || !element.FirstChild().Is("session", "urn:ietf:params:xml:ns:xmpp-session")) {
    return false;
  }
  std::string out = "<iq type='result'";
  AppendXmlAttribute(out, "id", element.Attribute("id"));
  AppendXmlAttribute(out, "to", session_->full().full());
  if (SayStanza(out + "/>")) Settled(number);
  return true;
}

// One of ours. False: it was too much, and the stream is over.
bool ClientStream::SayStanza(std::string xml) {
  BoundSession::Out out;
  const bool fits = session_->Say(std::move(xml), port_.UnixUs(), out);
  Say(out);
  if (!fits) Fail(net::StreamError::kPolicyViolation, kTooMuch);
  return fits;
}

// Without memory what is new is not begun: a message or a request goes back at once, which costs
// its sender's queue a few bytes. Answers, presence and acknowledgements are taken; and, while
// there is some left, what is short and comes from clients that read and acknowledge what they are
// sent: they are none of those who took it all.
bool ClientStream::RefusedForMemory(const XmlElement& element, uint32_t number) {
  if (ground_.pressure < MemoryPressure::kFull || element.name() == "presence") return false;
  const std::string_view type = element.Attribute("type");
  const bool request = element.name() == "message" || type == "get" || type == "set";
  if (!request) return false;
  if (ground_.pressure == MemoryPressure::kFull &&
      session_->waiting_bytes() + port_.Queued() < kLittleBytes) {
    std::string written;
    element.AppendTo(written, kClientSpace);
    if (written.size() < kLittleBytes) return false;
  }
  ClientCounters::Add(ground_.counters.stanzas_shed);
  // An error has no answer (RFC 6120 section 8.3.1): it is dropped.
  if (type != "error") {
    std::string out = "<" + std::string(element.name()) + " type='error'";
    AppendXmlAttribute(out, "id", element.Attribute("id"));
    const std::string_view to = element.Attribute("to");
    AppendXmlAttribute(out, "from", to.empty() ? session_->full().bare() : to);
    AppendXmlAttribute(out, "to", session_->full().full());
    out += ">" +
           ErrorXml(ErrorType::kWait, StanzaError::kResourceConstraint,
                    "the server is short of memory: try again later") +
           "</" + std::string(element.name()) + ">";
    if (!SayStanza(std::move(out))) return true;
  }
  // It is read on a little later, so that refusing it all is not what there is to do.
  next_stanza_ = std::max(next_stanza_, port_.Now() + kRefusedFor);
  if (!std::exchange(throttled_, true)) {
    ClientCounters::Add(ground_.counters.throttled);
    UpdateHold();
  }
  Settled(number);
  return true;
}

bool ClientStream::OnNonza(const XmlElement& element) {
  BoundSession::Out out;
  if (element.Is("r", kManagementSpace) && session_->managed()) {
    session_->OnAsked(out);
    if (session_->owes_answer() && answer_due_ == net::Time{}) {
      answer_due_ = port_.Now() + ground_.limits.answer_within;
    }
  } else if (element.Is("a", kManagementSpace) && session_->managed()) {
    const auto h = Number(element.Attribute("h"));
    if (!h) {
      Fail(net::StreamError::kBadFormat, "h is a number");
      return true;
    }
    if (!session_->Acknowledge(*h, out)) {
      Fail(net::StreamError::kUndefinedCondition, "you acknowledge what you were not sent",
           "<handled-count-too-high xmlns='urn:xmpp:sm:3' h='" + std::to_string(*h) +
               "' send-count='" + std::to_string(session_->sent()) + "'/>");
      return true;
    }
    if (leaving() && static_cast<int32_t>(*h - leaving_->sent) >= 0) {
      out.xml.clear();  // nothing is asked for any more
      leaving_->acknowledged = true;
      session_->Lose(out.ended);
      Say(out);
      if (MayGo()) End(net::StreamError::kSystemShutdown, leaving_->text);
      return true;
    }
  } else if (element.Is("enable", kManagementSpace)) {
    OnEnable(element);
    return true;
  } else if (element.space() == kStateSpace &&
             (element.name() == "active" || element.name() == "inactive")) {
    const bool active = element.name() == "active";
    const bool changes = active != session_->active();
    session_->SetActive(active, !leaving(), out);
    if (changes) port_.StateChanged(*session_);
  } else if (element.space() == kManagementSpace) {
    port_.Write(
        "<failed xmlns='urn:xmpp:sm:3'><unexpected-request "
        "xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></failed>");
  } else {
    return false;
  }
  if (state_ == State::kBound) Say(out);
  return true;
}

void ClientStream::OnEnable(const XmlElement& element) {
  if (session_->managed()) {
    port_.Write(
        "<failed xmlns='urn:xmpp:sm:3'><unexpected-request "
        "xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></failed>");
    return;
  }
  const std::string_view wanted = element.Attribute("resume");
  const bool resume =
      (wanted == "true" || wanted == "1") && ground_.limits.resume_timeout > net::Duration(0);
  std::string secret;
  if (resume) {
    secret.resize(ResumeKey::kSecretBytes);
    ground_.random({reinterpret_cast<uint8_t*>(secret.data()), secret.size()});
  }
  session_->Manage(secret);
  std::string out = "<enabled xmlns='urn:xmpp:sm:3'";
  if (resume) {
    const ResumeKey key{
        .secret = secret, .worker = session_->id().worker, .place = session_->id().place};
    AppendXmlAttribute(out, "id", key.ToString());
    AppendXmlAttribute(out, "resume", "true");
    const auto seconds =
        std::chrono::duration_cast<std::chrono::seconds>(ground_.limits.resume_timeout).count();
    AppendXmlAttribute(out, "max", std::to_string(seconds));
  }
  port_.Write(out + "/>");
  port_.StateChanged(*session_);
}

void ClientStream::Resumed(std::unique_ptr<BoundSession> session, uint32_t h) {
  session_ = std::move(session);
  if (state_ != State::kBinding) return;  // whoever ends it takes it back
  BoundSession::Out out;
  out.xml = "<resumed xmlns='urn:xmpp:sm:3'";
  // The id that the client has, also where the session has moved to another place since: it keeps
  // that one, and some compare (XEP-0198 section 5).
  AppendXmlAttribute(out.xml, "previd", login_->previd);
  AppendXmlAttribute(out.xml, "h", std::to_string(session_->settled()));
  out.xml += "/>";
  if (!session_->Resume(h, session_->full().domain(), out)) {
    return Fail(net::StreamError::kUndefinedCondition, "you acknowledge what you were not sent",
                "<handled-count-too-high xmlns='urn:xmpp:sm:3' h='" + std::to_string(h) +
                    "' send-count='" + std::to_string(session_->sent()) + "'/>");
  }
  ClientCounters::Add(ground_.counters.resumed);
  state_ = State::kBound;
  login_.reset();
  Say(out);
  port_.StateChanged(*session_);
  Wait(false);
}

void ClientStream::Deliver(Delivery delivery) {
  if (session_ == nullptr) return;
  ClientCounters::Add(Counters().out[static_cast<size_t>(delivery.kind)]);
  BoundSession::Out out;
  const bool fits = session_->Deliver(std::move(delivery), port_.UnixUs(), !leaving(), out);
  // Who writes to another that leaves, too, waits for this to be settled.
  if (leaving() && leaving_->acknowledged) session_->Lose(out.ended);
  Say(out);
  if (!fits) Fail(net::StreamError::kPolicyViolation, kTooMuch);
}

void ClientStream::SendAway(std::string_view text) {
  if (leaving()) return;
  if (state_ != State::kBound || !session_->managed()) {
    return End(net::StreamError::kSystemShutdown, text);
  }
  leaving_ = std::make_unique<Leaving>(Leaving{.sent = session_->sent(),
                                               .until = port_.Now() + ground_.limits.farewell,
                                               .text = text,
                                               .acknowledged = session_->unacked() == 0});
  if (MayGo()) return End(net::StreamError::kSystemShutdown, text);
  if (leaving_->acknowledged) return;
  BoundSession::Out out;
  session_->Ask(out);
  Say(out);
}

bool ClientStream::MayGo() const { return leaving_->acknowledged && session_->open() == 0; }

void ClientStream::Settled(uint32_t number) {
  if (session_ == nullptr || number == 0) return;
  BoundSession::Out out;
  session_->Settle(number, out);
  Say(out);
  if (!session_->owes_answer()) answer_due_ = {};
  // Not from here, which is within whatever settled it.
  if (leaving() && MayGo()) leaving_->until = port_.Now();
  if (!throttled_ || session_->crowded() || next_stanza_ > port_.Now()) return;
  throttled_ = false;
  UpdateHold();
  DrainBacklog();
}

// Each stanza is worth a token; who has none left is not read from until there is one.
void ClientStream::Meter() {
  const double rate = ground_.limits.stanzas_per_s;
  if (rate <= 0) return;
  const net::Time now = port_.Now();
  const auto interval = net::Duration(static_cast<int64_t>(1e9 / rate));
  next_stanza_ = std::max(next_stanza_, now - ground_.limits.stanza_burst) + interval;
  if (next_stanza_ <= now || throttled_) return;
  throttled_ = true;
  ClientCounters::Add(ground_.counters.throttled);
  UpdateHold();
}

net::Duration ClientStream::Due() const {
  const net::Time now = port_.Now();
  net::Time due = net::Time::max();
  if (state_ == State::kEnded) return {};
  if (login_ != nullptr) {
    due = login_->began + ground_.limits.login_timeout;
  } else {
    if (throttled_ && next_stanza_ > now) due = next_stanza_;
    if (answer_due_ != net::Time{}) due = std::min(due, answer_due_);
    if (leaving()) due = std::min(due, leaving_->until);
    const net::Duration idle = ground_.limits.idle_ping;
    if (idle > net::Duration(0)) {
      due = std::min(due, heard_ + (pinged_ ? idle + ground_.limits.ping_timeout : idle));
    }
  }
  if (due == net::Time::max()) return {};
  return std::max<net::Duration>(due - now, std::chrono::milliseconds(1));
}

void ClientStream::OnDue() {
  const net::Time now = port_.Now();
  if (state_ == State::kEnded) return;
  if (login_ != nullptr) {
    if (now - login_->began < ground_.limits.login_timeout) return;
    return Fail(net::StreamError::kConnectionTimeout, "that took too long");
  }
  if (leaving() && now >= leaving_->until) {
    return End(net::StreamError::kSystemShutdown, leaving_->text);
  }
  BoundSession::Out out;
  if (answer_due_ != net::Time{} && now >= answer_due_) {
    answer_due_ = {};
    if (session_->owes_answer()) session_->AnswerNow(out);
  }
  const net::Duration idle = ground_.limits.idle_ping;
  if (idle > net::Duration(0) && now - heard_ >= idle) {
    if (pinged_ && now - heard_ >= idle + ground_.limits.ping_timeout) {
      dead_ = true;
      state_ = State::kEnded;
      ClientCounters::Add(ground_.counters.dead);
      return port_.OnStreamOver();
    }
    if (!std::exchange(pinged_, true)) {
      if (session_->managed()) {
        // Asked again where an answer is still missing.
        out.xml += "<r xmlns='urn:xmpp:sm:3'/>";
      } else {
        std::string ping = "<iq type='get'";
        AppendXmlAttribute(ping, "id", kPingId);
        AppendXmlAttribute(ping, "from", session_->full().domain());
        AppendXmlAttribute(ping, "to", session_->full().full());
        // Who is not managed has nothing that waits: it fits.
        if (!SayStanza(ping + "><ping xmlns='urn:xmpp:ping'/></iq>")) return;
      }
    }
  }
  Say(out);
  if (state_ != State::kBound || !throttled_ || session_->crowded() || next_stanza_ > now) return;
  throttled_ = false;
  UpdateHold();
  DrainBacklog();
}

}  // namespace server
