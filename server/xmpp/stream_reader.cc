#include "server/xmpp/stream_reader.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "net/base/check.h"

namespace server {
namespace {

constexpr std::string_view kSmSpace = "urn:xmpp:sm:3";
constexpr std::string_view kUsualOpening =
    "<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>";

bool IsWhiteSpace(std::string_view text) {
  return text.find_first_not_of(" \t\r\n") == std::string_view::npos;
}

// Whether kUsualOpening means the same for what follows: the same prefix, and no other.
bool IsUsual(std::string_view opening) {
  const size_t root = opening.find("<stream:stream");
  if (root == std::string_view::npos) return false;
  size_t prefixes = 0;
  for (size_t at = opening.find("xmlns:", root); at != std::string_view::npos;
       at = opening.find("xmlns:", at + 1)) {
    ++prefixes;
  }
  return prefixes == 1;
}

// XEP-0198's <r/> or <a h='…'/> as clients write them: one tag, all of `text`, with nothing in it
// that only a parser knows. Nothing: let one look at it.
std::optional<Stanza> ReadSmWord(std::string_view text) {
  if (!text.starts_with("<a ") && !text.starts_with("<r ")) return std::nullopt;
  if (!text.ends_with("/>")) return std::nullopt;
  const std::string_view name = text.substr(1, 1);
  std::string_view space;
  std::string_view h;
  text = text.substr(2, text.size() - 4);
  while (!text.empty()) {
    if (text == " ") break;  // before the end
    const size_t equals = text.find('=');
    if (text.front() != ' ' || equals == std::string_view::npos || equals + 2 >= text.size()) {
      return std::nullopt;
    }
    const std::string_view attribute = text.substr(1, equals - 1);
    const char quote = text[equals + 1];
    const size_t end = text.find(quote, equals + 2);
    if ((quote != '\'' && quote != '"') || end == std::string_view::npos) return std::nullopt;
    const std::string_view value = text.substr(equals + 2, end - equals - 2);
    std::string_view& kept = attribute == "xmlns" ? space : h;
    if ((attribute != "xmlns" && attribute != "h") || !kept.empty() || value.empty()) {
      return std::nullopt;
    }
    kept = value;
    text.remove_prefix(end + 1);
  }
  const bool digits = h.find_first_not_of("0123456789") == std::string_view::npos;
  if (space != kSmSpace || !digits || (name == "a") == h.empty()) return std::nullopt;
  net::XmlAttributes attributes;
  if (!h.empty()) attributes.push_back({{.space = {}, .local = "h"}, h});
  Stanza stanza;
  stanza.Begin({.space = kSmSpace, .local = name}, attributes);
  stanza.End();
  return stanza;
}

std::string_view Value(const net::XmlAttributes& attributes, std::string_view name,
                       std::string_view space = {}) {
  for (const auto& [attribute, value] : attributes) {
    if (attribute.local == name && attribute.space == space) return value;
  }
  return {};
}

}  // namespace

StreamReader::StreamReader(StreamHost* host, const StreamLimits* limits)
    : host_(host), limits_(limits), opening_(std::make_unique<std::string>()) {}

StreamReader::~StreamReader() = default;

size_t StreamReader::partial() const {
  return xml_ == nullptr || ended_ ? 0 : xml_->fed() - std::min(xml_->fed(), boundary_);
}

void StreamReader::Wake() {
  // The root is a level, too.
  xml_ = std::make_unique<net::StreamXml>(static_cast<net::XmlHandler*>(this), limits_->depth + 1);
  boundary_ = 0;
  if (!opened_) return;
  replaying_ = true;
  const std::string_view opening = usual_ ? kUsualOpening : std::string_view(*opening_);
  const auto fed = xml_->Feed(opening);
  replaying_ = false;
  CHECK(fed.error == net::StreamError::kNone && !fed.stopped);
  boundary_ = opening.size();
}

StreamReader::Fed StreamReader::Feed(std::string_view bytes) {
  CHECK(!ended_ && error_ == net::StreamError::kNone);
  if (bytes.empty()) return {};
  if (xml_ == nullptr && opened_) {
    if (IsWhiteSpace(bytes)) return {.consumed = bytes.size()};
    if (auto word = ReadSmWord(bytes); word && bytes.size() <= limits_->stanza_bytes) {
      ended_ = !host_->OnStanza(*word);
      return {.consumed = bytes.size(), .stopped = ended_};
    }
  }
  if (xml_ == nullptr) Wake();
  // Kept for Wake(); what stands behind the opening is cut off when its end is known.
  if (!opened_) opening_->append(bytes.substr(0, limits_->opening_bytes));
  const net::StreamXml::Fed fed = xml_->Feed(bytes);
  if (error_ == net::StreamError::kNone) error_ = fed.error;
  if (error_ == net::StreamError::kNone && !fed.stopped && partial() > Limit()) {
    Refuse(net::StreamError::kPolicyViolation, "the stanza is too large");
  }
  const bool stopped = fed.stopped && error_ == net::StreamError::kNone;
  if (stopped) ended_ = true;
  return {.consumed = stopped ? fed.consumed : bytes.size(),
          .stopped = stopped,
          .error = error_,
          .text = text_};
}

void StreamReader::GoOn() {
  CHECK(opened_ && ended_ && error_ == net::StreamError::kNone);
  ended_ = false;
  xml_.reset();
}

void StreamReader::Rest() {
  if (opened_ && !ended_ && error_ == net::StreamError::kNone && partial() == 0) xml_.reset();
}

bool StreamReader::Refuse(net::StreamError error, std::string_view text) {
  error_ = error;
  text_ = text;
  return false;
}

void StreamReader::KeepOpening(size_t bytes, std::string_view content_space) {
  usual_ = content_space == kClientSpace && IsUsual(std::string_view(*opening_).substr(0, bytes));
  if (usual_) {
    opening_.reset();
  } else {
    opening_->resize(bytes);
    opening_->shrink_to_fit();
  }
}

bool StreamReader::OnRoot(const net::XmlName& name, const net::XmlAttributes& attributes,
                          std::string_view content_space) {
  if (replaying_) return true;
  const size_t end = xml_->event_end();
  if (end > limits_->opening_bytes) {
    return Refuse(net::StreamError::kPolicyViolation, "the opening is too large");
  }
  if (name.space != kStreamSpace) {
    return Refuse(net::StreamError::kInvalidNamespace, "the stream's namespace is another");
  }
  if (name.local != "stream") {
    return Refuse(net::StreamError::kBadFormat, "a stream begins with <stream:stream>");
  }
  KeepOpening(end, content_space);
  opened_ = true;
  boundary_ = end;
  return host_->OnOpening({.content_space = content_space,
                           .to = Value(attributes, "to"),
                           .from = Value(attributes, "from"),
                           .id = Value(attributes, "id"),
                           .lang = Value(attributes, "lang", kXmlSpace),
                           .version = Value(attributes, "version")});
}

bool StreamReader::OnStart(int depth, const net::XmlName& name,
                           const net::XmlAttributes& attributes, std::string_view content_space) {
  if (depth == 0) return OnRoot(name, attributes, content_space);
  if (stanza_ == nullptr) stanza_ = std::make_unique<Stanza>();
  stanza_->Begin(name, attributes);
  return true;
}

bool StreamReader::OnEnd(int depth, const net::XmlName&) {
  if (depth == 0) {
    ended_ = true;
    host_->OnStreamEnd();
    return false;
  }
  stanza_->End();
  if (depth > 1) return true;
  const size_t end = xml_->event_end();
  const size_t size = end - boundary_;
  boundary_ = end;
  if (size > limits_->stanza_bytes) {
    return Refuse(net::StreamError::kPolicyViolation, "the stanza is too large");
  }
  Stanza stanza = std::move(*stanza_);
  stanza_.reset();
  return host_->OnStanza(stanza);
}

bool StreamReader::OnText(int depth, std::string_view text) {
  if (depth > 0) {
    stanza_->AddText(text);
    return true;
  }
  // White space between stanzas keeps connections alive (RFC 6120 section 4.6.1).
  if (!IsWhiteSpace(text)) {
    return Refuse(net::StreamError::kBadFormat, "text between stanzas");
  }
  boundary_ = xml_->event_end();
  return true;
}

namespace {

// Puts an element that stands alone into a stanza.
class Alone final : public net::XmlHandler {
 public:
  Stanza stanza;

 private:
  bool OnStart(int depth, const net::XmlName& name, const net::XmlAttributes& attributes,
               std::string_view) override {
    if (depth == 0) return true;
    if (stanza.complete()) return false;  // a second one
    stanza.Begin(name, attributes);
    return true;
  }
  bool OnEnd(int depth, const net::XmlName&) override {
    if (depth > 0) stanza.End();
    return true;
  }
  bool OnText(int depth, std::string_view text) override {
    if (depth > 0) stanza.AddText(text);
    return depth > 0 || IsWhiteSpace(text);
  }
};

}  // namespace

std::optional<Stanza> ParseStanza(std::string_view xml, std::string_view context) {
  Alone alone;
  net::StreamXml reader(&alone, StreamLimits{}.depth + 1);
  const std::string root = "<r xmlns='" + std::string(context) + "'>";
  for (std::string_view part : {std::string_view(root), xml, std::string_view("</r>")}) {
    const auto fed = reader.Feed(part);
    if (fed.stopped || fed.error != net::StreamError::kNone) return std::nullopt;
  }
  if (!alone.stanza.complete()) return std::nullopt;
  return std::move(alone.stanza);
}

}  // namespace server
