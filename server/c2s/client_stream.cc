// The stream itself: its opening, features, parsers, and its end.
#include "server/c2s/client_stream.h"

#include <algorithm>
#include <array>
#include <utility>

#include "net/base/check.h"
#include "server/xmpp/xml_text.h"

namespace server {
namespace {

constexpr std::string_view kStreamErrorSpace = "urn:ietf:params:xml:ns:xmpp-streams";
// Stanzas of one buffer that are kept while the client has said too much.
constexpr size_t kBacklogMax = 256;
// Bytes of one buffer, in several pieces where TLS had them in several.
constexpr size_t kUnreadMax = 64 * 1024;

bool IsWhiteSpace(std::string_view text) { return text.find_first_not_of(" \t\r\n") == text.npos; }

// "1.0" and all that call themselves compatible with it (RFC 6120 section 4.7.5).
bool IsVersionOne(std::string_view version) {
  const size_t dot = version.find('.');
  if (dot == version.npos || dot == 0) return false;
  const std::string_view major = version.substr(0, dot);
  return major.find_first_not_of("0123456789") == major.npos &&
         major.find_first_not_of('0') != major.npos;
}

}  // namespace

std::string_view ToString(ClientStream::State state) {
  switch (state) {
    case ClientStream::State::kOpening:
      return "opening";
    case ClientStream::State::kFeatures:
      return "features";
    case ClientStream::State::kSasl:
      return "sasl";
    case ClientStream::State::kBinding:
      return "binding";
    case ClientStream::State::kBound:
      return "bound";
    case ClientStream::State::kEnded:
      return "ended";
  }
  return "?";
}

// What is no language tag (RFC 5646) is none, and so is one too many.
uint8_t ClientGround::LangNumber(std::string_view lang) {
  constexpr size_t kTagMax = 35;
  constexpr std::string_view kTag =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-";
  if (lang.empty() || lang.size() > kTagMax || lang.find_first_not_of(kTag) != lang.npos) return 0;
  auto known = std::ranges::find(langs, lang);
  if (known == langs.end()) {
    if (langs.size() == kLangsMax) return 0;
    known = langs.emplace(langs.end(), lang);
  }
  return static_cast<uint8_t>(known - langs.begin() + 1);
}

ClientStream::ClientStream(ClientGround& ground, ClientPort& port)
    : ground_(ground),
      port_(port),
      login_(std::make_unique<Login>(port.Now())),
      heard_(port.Now()) {
  MakeReader();
}

ClientStream::~ClientStream() = default;

void ClientStream::MakeReader() {
  const bool authenticated = login_ == nullptr || login_->authenticated;
  reader_.emplace(static_cast<StreamHost*>(this),
                  authenticated ? &ground_.limits.after_login : &ground_.limits.before_login);
}

std::string_view ClientStream::domain() const {
  if (login_ != nullptr) return login_->domain;
  return session_ == nullptr ? std::string_view() : session_->full().domain();
}

void ClientStream::OnConnected(SaslChannel channel) {
  secure_ = channel.secure;
  login_->channel = std::move(channel);
  Restart();
}

// A new stream on the same connection (RFC 6120 section 4.3.3).
void ClientStream::Restart() {
  CHECK(!feeding_);
  after_ = After::kNothing;
  header_sent_ = false;
  state_ = State::kOpening;
  MakeReader();
}

void ClientStream::Receive(std::string_view bytes) {
  heard_ = port_.Now();
  pinged_ = false;
  if (unread_ == nullptr) return Read(bytes);
  if (unread_->size() + bytes.size() > kUnreadMax) {
    return Fail(net::StreamError::kPolicyViolation, "too much at once");
  }
  *unread_ += bytes;
}

void ClientStream::Read(std::string_view bytes) {
  while (!bytes.empty() && state_ != State::kEnded) {
    if (state_ == State::kOpening && reader_->at_rest()) {
      // A client that ends its lines has one behind the last word of the stream before.
      bytes.remove_prefix(std::min(bytes.find_first_not_of(" \t\r\n"), bytes.size()));
      if (bytes.empty()) return;
    }
    feeding_ = true;
    const StreamReader::Fed fed = reader_->Feed(bytes);
    feeding_ = false;
    if (state_ == State::kEnded) return;
    if (fed.error != net::StreamError::kNone) {
      Fail(fed.error, fed.text);
      return;
    }
    if (!fed.stopped) {
      reader_->Rest();
      return;
    }
    bytes.remove_prefix(fed.consumed);
    if (after_ == After::kNothing) {
      // It may have been answered within.
      unread_ = std::make_unique<std::string>(bytes);
      if (!waits_) ReadOn();
      return;
    }
    if (!GoOn(bytes)) return;
  }
}

// What was kept while it waited.
void ClientStream::ReadOn() {
  if (unread_ == nullptr || feeding_ || waits_ || state_ == State::kEnded) return;
  const auto unread = std::move(unread_);
  if (after_ == After::kNothing) {
    reader_->GoOn();
  } else if (!GoOn(*unread)) {
    return;
  }
  Read(*unread);
}

// Takes the step that ends a negotiation; `rest` stands behind its last word. False: none of that
// is read.
bool ClientStream::GoOn(std::string_view rest) {
  switch (std::exchange(after_, After::kNothing)) {
    case After::kNothing:
      return true;
    case After::kRestart:
      Restart();
      return true;
    case After::kTls:
      break;
  }
  // Whoever put something there was not protected, and would be taken for the client.
  if (!IsWhiteSpace(rest)) {
    Fail(net::StreamError::kPolicyViolation, "data behind <starttls/>");
    return false;
  }
  Restart();
  const std::string domain = login_->domain;
  port_.Write("<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>");
  port_.StartTls(domain);
  return false;
}

std::optional<std::pair<net::StreamError, std::string_view>> ClientStream::RefuseOpening(
    const StreamOpening& opening, std::string* domain) {
  using Refused = std::pair<net::StreamError, std::string_view>;
  if (opening.content_space != kClientSpace) {
    return Refused(net::StreamError::kInvalidNamespace, "clients speak jabber:client");
  }
  if (!IsVersionOne(opening.version)) {
    return Refused(net::StreamError::kUnsupportedVersion, "version 1.0 is spoken here");
  }
  if (opening.to.empty()) {
    if (ground_.domains.size() != 1) {
      return Refused(net::StreamError::kHostUnknown, "say which host with to='…'");
    }
    *domain = ground_.domains.front();
  } else {
    auto prepared = PrepareDomain(opening.to);
    if (!prepared || std::ranges::find(ground_.domains, *prepared) == ground_.domains.end()) {
      return Refused(net::StreamError::kHostUnknown, "");
    }
    *domain = std::move(*prepared);
  }
  if (ground_.pressure >= MemoryPressure::kFull && !login_->authenticated) {
    ClientCounters::Add(ground_.counters.streams_shed);
    return Refused(net::StreamError::kResourceConstraint, "the server is short of memory");
  }
  if (login_->user && login_->user->domain() != *domain) {
    return Refused(net::StreamError::kNotAuthorized, "you are not an account of this host");
  }
  return std::nullopt;
}

bool ClientStream::OnOpening(const StreamOpening& opening) {
  std::string domain;
  const auto refused = RefuseOpening(opening, &domain);
  std::string to;
  if (!opening.from.empty()) {
    if (const auto from = Jid::Parse(opening.from)) to = from->full();
  }
  if (refused) {
    WriteHeader(ground_.domains.front(), to);
    Fail(refused->first, refused->second);
    return false;
  }
  const auto host = std::ranges::find(ground_.domains, domain) - ground_.domains.begin();
  host_ = static_cast<uint8_t>(std::min<ptrdiff_t>(host, ClientCounters::kHostsMax - 1));
  login_->domain = std::move(domain);
  lang_ = ground_.LangNumber(opening.lang);
  WriteHeader(login_->domain, to);
  ClientCounters::Add(ground_.counters.streams);
  state_ = State::kFeatures;
  WriteFeatures();
  return true;
}

void ClientStream::WriteHeader(std::string_view from, std::string_view to) {
  static constexpr std::string_view kDigits = "0123456789abcdef";
  std::array<uint8_t, 16> random{};
  ground_.random(random);
  std::string id;
  for (const uint8_t byte : random) {
    id += kDigits[byte >> 4U];
    id += kDigits[byte & 15U];
  }
  std::string out =
      "<?xml version='1.0'?><stream:stream xmlns='jabber:client' "
      "xmlns:stream='http://etherx.jabber.org/streams'";
  AppendXmlAttribute(out, "id", id);
  AppendXmlAttribute(out, "from", from);
  if (!to.empty()) AppendXmlAttribute(out, "to", to);
  out += " version='1.0' xml:lang='en'>";
  header_sent_ = true;
  port_.Write(out);
}

void ClientStream::WriteFeatures() {
  std::string out = "<stream:features>";
  if (login_->authenticated) {
    out +=
        "<bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/>"
        "<session xmlns='urn:ietf:params:xml:ns:xmpp-session'><optional/></session>"
        "<sm xmlns='urn:xmpp:sm:3'/><csi xmlns='urn:xmpp:csi:0'/>";
    out += ground_.features;
  } else {
    const bool tls = !secure_ && port_.HasTls(login_->domain);
    const bool must = !secure_ && ground_.tls_need == TlsNeed::kRequired;
    if (tls) {
      out += "<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'>";
      out += must ? "<required/></starttls>" : "</starttls>";
    }
    if (!must) out += SaslFeatures(ground_.sasl, login_->channel, login_->domain);
    if (secure_) out += SignUpFeature(ground_.sign_up);
  }
  port_.Write(out + "</stream:features>");
}

bool ClientStream::OnStanza(Stanza& stanza) {
  if (throttled_) {
    if (backlog_ == nullptr) backlog_ = std::make_unique<std::vector<Stanza>>();
    if (backlog_->size() >= kBacklogMax) {
      Fail(net::StreamError::kPolicyViolation, "too much at once");
      return false;
    }
    backlog_->push_back(std::move(stanza));
    return true;
  }
  return Turn(stanza);
}

// False: this parser has read its last.
bool ClientStream::Turn(Stanza& stanza) {
  if (state_ == State::kBound) {
    OnBound(stanza);
  } else {
    OnLogin(stanza);
  }
  return state_ != State::kEnded && after_ == After::kNothing && !waits_;
}

void ClientStream::Wait(bool wait) {
  waits_ = wait;
  UpdateHold();
  if (!wait) ReadOn();
}

void ClientStream::UpdateHold() {
  const bool hold = (waits_ || throttled_) && state_ != State::kEnded;
  if (hold == std::exchange(holding_, hold)) return;
  port_.Hold(hold);
}

void ClientStream::DrainBacklog() {
  if (throttled_) return;
  const auto backlog = std::move(backlog_);
  const size_t size = backlog == nullptr ? 0 : backlog->size();
  for (size_t i = 0; i < size; ++i) {
    if (state_ == State::kEnded) return;
    if (throttled_) {
      backlog_ = std::make_unique<std::vector<Stanza>>();
      std::move(backlog->begin() + static_cast<ptrdiff_t>(i), backlog->end(),
                std::back_inserter(*backlog_));
      return;
    }
    Turn((*backlog)[i]);
  }
}

void ClientStream::OnStreamEnd() {
  // What came before it is taken first; its answers find nobody.
  throttled_ = false;
  DrainBacklog();
  if (state_ != State::kEnded) Close();
}

void ClientStream::Close() {
  if (state_ == State::kEnded) return;
  if (header_sent_) port_.Write("</stream:stream>");
  Over();
}

void ClientStream::End(net::StreamError error, std::string_view text) { Fail(error, text); }

void ClientStream::Fail(net::StreamError error, std::string_view text, std::string_view extra) {
  if (state_ == State::kEnded) return;
  ClientCounters::Add(ground_.counters.stream_errors[static_cast<size_t>(error)]);
  // An error has a stream around it, even when the client's opening was at fault (section 4.9.1.2).
  if (!header_sent_) WriteHeader(ground_.domains.front(), {});
  // What it has said and is settled it need not say again elsewhere.
  BoundSession::Out last;
  if (session_ != nullptr && session_->managed()) session_->AnswerNow(last);
  std::string out = last.xml + "<stream:error><" + std::string(net::ToString(error));
  AppendXmlAttribute(out, "xmlns", kStreamErrorSpace);
  out += "/>";
  if (!text.empty()) {
    out += "<text";
    AppendXmlAttribute(out, "xmlns", kStreamErrorSpace);
    out += " xml:lang='en'>";
    AppendXmlContent(out, text);
    out += "</text>";
  }
  out += extra;
  port_.Write(out + "</stream:error></stream:stream>");
  Over();
}

void ClientStream::Over() {
  state_ = State::kEnded;
  backlog_.reset();
  unread_.reset();
  waits_ = throttled_ = false;
  UpdateHold();
  port_.OnStreamOver();
}

}  // namespace server
