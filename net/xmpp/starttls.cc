#include "net/xmpp/starttls.h"

#include <algorithm>
#include <charconv>

#include "net/base/text.h"

namespace net {

namespace {

constexpr std::string_view kStreams = "http://etherx.jabber.org/streams";
constexpr std::string_view kTls = "urn:ietf:params:xml:ns:xmpp-tls";
constexpr std::string_view kErrors = "urn:ietf:params:xml:ns:xmpp-streams";
constexpr size_t kDomainBytesMax = 1023;
constexpr size_t kJidBytesMax = 3071;
constexpr char kTlsRecordByte = 0x16;

bool IsSpace(std::string_view text) {
  return std::ranges::all_of(
      text, [](char c) { return c == ' ' || c == '\t' || c == '\r' || c == '\n'; });
}

// The attribute without a namespace; nullptr when absent.
const std::string_view* Find(const XmlAttributes& attributes, std::string_view local) {
  for (const auto& [name, value] : attributes) {
    if (name.space.empty() && name.local == local) return &value;
  }
  return nullptr;
}

// "1.0", "1.1", "2.0": what we answer with 1.0. Anything older cannot negotiate TLS.
bool IsVersion1(std::string_view version) {
  unsigned major = 0;
  auto [end, error] = std::from_chars(version.data(), version.data() + version.size(), major);
  return error == std::errc() && major >= 1 && end != version.data() + version.size() &&
         *end == '.';
}

// A domain as a routing key; the node validates it properly.
bool IsDomain(std::string_view text) {
  return !text.empty() && text.size() <= kDomainBytesMax && std::ranges::all_of(text, [](char c) {
    auto u = static_cast<unsigned char>(c);
    return u > 0x20 && u != 0x7f && c != '@' && c != '/' && c != '<' && c != '>' && c != '&' &&
           c != '\'' && c != '"';
  });
}

std::string LowerAscii(std::string_view text) {
  std::string out(text);
  for (char& c : out) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
  return out;
}

}  // namespace

std::string_view StreamNamespace(StreamKind kind) {
  return kind == StreamKind::kClient ? "jabber:client" : "jabber:server";
}

// --- the balancer answers ---------------------------------------------------------------------

StartTlsServer::StartTlsServer(const StartTlsServerOptions* options, std::string stream_id)
    : options_(options), id_(std::move(stream_id)), xml_(new StreamXml(this)) {}
StartTlsServer::~StartTlsServer() = default;

StartTlsStep StartTlsServer::Feed(std::string_view bytes, std::string* out) {
  out_ = out;
  if (bytes_ == 0 && !bytes.empty() && bytes.front() == kTlsRecordByte) {
    // XML would mean nothing to this client.
    error_ = StreamError::kNotWellFormed;
    error_text_ = "direct TLS on a STARTTLS port";
    return StartTlsStep::kClose;
  }
  // White space before the XML declaration is wrong in XML and common in keepalives.
  if (bytes_ == 0) {
    size_t begin = bytes.find_first_not_of(" \t\r\n");
    if (begin == std::string_view::npos) return StartTlsStep::kNeedMore;
    bytes.remove_prefix(begin);
  }
  size_t room = options_->bytes_max - bytes_;
  bool too_long = bytes.size() > room;
  if (too_long) bytes = bytes.substr(0, room);
  bytes_ += bytes.size();
  StreamXml::Fed fed = xml_->Feed(bytes);
  if (fed.error != StreamError::kNone) Refuse(fed.error, "");
  if (error_ != StreamError::kNone || peer_closed_) return Close(out);
  if (proceed_) {
    if (too_long || !IsSpace(bytes.substr(fed.consumed))) {
      Refuse(StreamError::kPolicyViolation, "data after starttls");
      return Close(out);
    }
    *out += "<proceed xmlns='";
    *out += kTls;
    *out += "'/>";
    return StartTlsStep::kStartTls;
  }
  if (too_long) {
    Refuse(StreamError::kPolicyViolation, "too much data before TLS");
    return Close(out);
  }
  return StartTlsStep::kNeedMore;
}

StartTlsStep StartTlsServer::OnTimeout(std::string* out) {
  Refuse(StreamError::kPolicyViolation, "no TLS in time");
  return Close(out);
}

bool StartTlsServer::Refuse(StreamError error, std::string_view text) {
  if (error_ == StreamError::kNone) {
    error_ = error;
    error_text_ = text;
  }
  return false;
}

void StartTlsServer::Open(std::string* out, std::string_view from, std::string_view to) {
  *out += "<?xml version='1.0'?><stream:stream xmlns='";
  *out += StreamNamespace(options_->kind);
  *out += "' xmlns:stream='";
  *out += kStreams;
  *out += "' id='" + EscapeMarkup(id_) + "'";
  if (!from.empty()) *out += " from='" + EscapeMarkup(from) + "'";
  if (!to.empty()) *out += " to='" + EscapeMarkup(to) + "'";
  *out += " version='1.0' xml:lang='en'>";
  opened_ = true;
}

// A stream error stands inside a stream, also when ours was not open yet (section 4.9.1.2).
StartTlsStep StartTlsServer::Close(std::string* out) {
  if (!opened_) Open(out, domain_.empty() ? options_->default_domain : domain_, "");
  if (error_ != StreamError::kNone) {
    *out += "<stream:error><";
    *out += ToString(error_);
    *out += " xmlns='";
    *out += kErrors;
    *out += "'/>";
    if (!error_text_.empty()) {
      *out += "<text xmlns='";
      *out += kErrors;
      *out += "' xml:lang='en'>" + EscapeMarkup(error_text_) + "</text>";
    }
    *out += "</stream:error>";
  }
  *out += "</stream:stream>";
  return StartTlsStep::kClose;
}

bool StartTlsServer::OnOpening(const XmlName& name, const XmlAttributes& attributes,
                               std::string_view content_space) {
  if (name.local != "stream")
    return Refuse(StreamError::kBadFormat, "a stream opening is expected");
  if (name.space != kStreams) return Refuse(StreamError::kInvalidNamespace, "stream namespace");
  if (content_space != StreamNamespace(options_->kind)) {
    return Refuse(StreamError::kInvalidNamespace, "content namespace");
  }
  const std::string_view* to = Find(attributes, "to");
  if (to != nullptr && !IsDomain(*to)) return Refuse(StreamError::kImproperAddressing, "to");
  domain_ = to != nullptr ? LowerAscii(*to) : options_->default_domain;
  const std::string_view* version = Find(attributes, "version");
  if (version == nullptr || !IsVersion1(*version)) {
    return Refuse(StreamError::kUnsupportedVersion, "version 1.0 is needed");
  }
  if (domain_.empty() || (options_->serves && !options_->serves(domain_))) {
    return Refuse(StreamError::kHostUnknown, "");
  }
  const std::string_view* from = Find(attributes, "from");
  if (from != nullptr && from->size() > kJidBytesMax) {
    return Refuse(StreamError::kImproperAddressing, "from");
  }
  Open(out_, domain_, from == nullptr ? std::string_view() : *from);
  *out_ += "<stream:features><starttls xmlns='";
  *out_ += kTls;
  *out_ += "'><required/></starttls></stream:features>";
  return true;
}

bool StartTlsServer::OnStart(int depth, const XmlName& name, const XmlAttributes& attributes,
                             std::string_view content_space) {
  if (depth == 0) return OnOpening(name, attributes, content_space);
  if (depth > 1) return Refuse(StreamError::kBadFormat, "starttls is empty");
  if (name.local == "starttls" && name.space == kTls) {
    starttls_ = true;
    return true;
  }
  return Refuse(StreamError::kPolicyViolation, "STARTTLS is required");
}

bool StartTlsServer::OnEnd(int depth, const XmlName&) {
  if (depth == 0) {
    peer_closed_ = true;
  } else if (starttls_) {
    proceed_ = true;
  }
  return false;
}

bool StartTlsServer::OnText(int, std::string_view text) {
  return IsSpace(text) || Refuse(StreamError::kBadFormat, "text between elements");
}

// --- the balancer asks ------------------------------------------------------------------------

std::string_view ToString(StartTlsClientError error) {
  switch (error) {
    case StartTlsClientError::kNone:
      return "none";
    case StartTlsClientError::kNotXmpp:
      return "the node does not speak XMPP";
    case StartTlsClientError::kStreamError:
      return "the node sent a stream error";
    case StartTlsClientError::kNotOffered:
      return "the node does not offer STARTTLS";
    case StartTlsClientError::kRefused:
      return "the node refused STARTTLS";
    case StartTlsClientError::kUnexpected:
      return "the node sent something unexpected before TLS";
    case StartTlsClientError::kEarlyBytes:
      return "the node sent plaintext after <proceed/>";
    case StartTlsClientError::kTooLong:
      return "the node sent too much before TLS";
    case StartTlsClientError::kTimeout:
      return "the node did not start TLS in time";
    case StartTlsClientError::kClosed:
      return "the node closed the stream";
  }
  return "?";
}

StartTlsClient::StartTlsClient(StartTlsClientOptions options)
    : options_(std::move(options)), xml_(new StreamXml(this)) {}
StartTlsClient::~StartTlsClient() = default;

void StartTlsClient::Start(std::string* out) {
  *out += "<?xml version='1.0'?><stream:stream xmlns='";
  *out += StreamNamespace(options_.kind);
  *out += "' xmlns:stream='";
  *out += kStreams;
  *out += "' to='" + EscapeMarkup(options_.to) + "'";
  if (!options_.from.empty()) *out += " from='" + EscapeMarkup(options_.from) + "'";
  *out += " version='1.0'>";
}

StartTlsStep StartTlsClient::Feed(std::string_view bytes, std::string* out) {
  out_ = out;
  if (bytes.size() > options_.bytes_max - bytes_) {
    Fail(StartTlsClientError::kTooLong);
    return StartTlsStep::kClose;
  }
  bytes_ += bytes.size();
  StreamXml::Fed fed = xml_->Feed(bytes);
  if (fed.error != StreamError::kNone) Fail(StartTlsClientError::kNotXmpp);
  if (error_ == StartTlsClientError::kNone && phase_ == Phase::kProceed &&
      !IsSpace(bytes.substr(fed.consumed))) {
    Fail(StartTlsClientError::kEarlyBytes);
  }
  if (error_ != StartTlsClientError::kNone) return StartTlsStep::kClose;
  return phase_ == Phase::kProceed && fed.stopped ? StartTlsStep::kStartTls
                                                  : StartTlsStep::kNeedMore;
}

StartTlsStep StartTlsClient::OnTimeout() {
  Fail(StartTlsClientError::kTimeout);
  return StartTlsStep::kClose;
}

bool StartTlsClient::Fail(StartTlsClientError error) {
  if (error_ == StartTlsClientError::kNone) error_ = error;
  return false;
}

bool StartTlsClient::OnChild(const XmlName& name) {
  if (name.space == kStreams && name.local == "error") {
    in_error_ = true;
    return true;
  }
  if (phase_ == Phase::kFeatures && name.space == kStreams && name.local == "features") {
    phase_ = Phase::kInFeatures;
    return true;
  }
  if (phase_ == Phase::kReply && name.space == kTls && name.local == "proceed") {
    phase_ = Phase::kProceed;
    return true;
  }
  if (phase_ == Phase::kReply && name.space == kTls && name.local == "failure") {
    return Fail(StartTlsClientError::kRefused);
  }
  return Fail(StartTlsClientError::kUnexpected);
}

bool StartTlsClient::OnStart(int depth, const XmlName& name, const XmlAttributes&,
                             std::string_view content_space) {
  if (depth == 0) {
    bool good = name.space == kStreams && name.local == "stream" &&
                content_space == StreamNamespace(options_.kind);
    phase_ = Phase::kFeatures;
    return good || Fail(StartTlsClientError::kNotXmpp);
  }
  if (depth == 1) return OnChild(name);
  if (phase_ == Phase::kProceed) return Fail(StartTlsClientError::kUnexpected);
  if (depth == 2 && in_error_ && name.space == kErrors && condition_.empty()) {
    condition_ = name.local;
  }
  if (depth == 2 && phase_ == Phase::kInFeatures && name.space == kTls &&
      name.local == "starttls") {
    offered_ = true;
  }
  return true;
}

bool StartTlsClient::OnEnd(int depth, const XmlName&) {
  if (depth == 0) return Fail(StartTlsClientError::kClosed);
  if (depth > 1) return true;
  if (in_error_) return Fail(StartTlsClientError::kStreamError);
  if (phase_ == Phase::kProceed) return false;
  if (!offered_) return Fail(StartTlsClientError::kNotOffered);
  phase_ = Phase::kReply;
  *out_ += "<starttls xmlns='";
  *out_ += kTls;
  *out_ += "'/>";
  return true;
}

bool StartTlsClient::OnText(int depth, std::string_view text) {
  // Text inside features and errors is the node's business; between elements only white space is.
  bool inside = depth > 0 && phase_ != Phase::kProceed;
  return inside || IsSpace(text) || Fail(StartTlsClientError::kUnexpected);
}

}  // namespace net
