#include "net/xmpp/stream_xml.h"

#include <algorithm>

#include "net/xmpp/xml_parser.h"

namespace net {

namespace {

constexpr int kDepthMax = 8;

bool IsUtf8(std::string_view encoding) {
  return std::ranges::equal(encoding, std::string_view("utf-8"), [](char a, char b) {
    return (a >= 'A' && a <= 'Z' ? static_cast<char>(a + 32) : a) == b;
  });
}

}  // namespace

std::string_view ToString(StreamError error) {
  switch (error) {
    case StreamError::kNone:
      return "none";
    case StreamError::kBadFormat:
      return "bad-format";
    case StreamError::kHostUnknown:
      return "host-unknown";
    case StreamError::kImproperAddressing:
      return "improper-addressing";
    case StreamError::kInvalidNamespace:
      return "invalid-namespace";
    case StreamError::kNotWellFormed:
      return "not-well-formed";
    case StreamError::kPolicyViolation:
      return "policy-violation";
    case StreamError::kRestrictedXml:
      return "restricted-xml";
    case StreamError::kUnsupportedEncoding:
      return "unsupported-encoding";
    case StreamError::kUnsupportedVersion:
      return "unsupported-version";
  }
  return "?";
}

struct StreamXml::State {
  XmlParser parser = MakeXmlParser();
  XmlHandler* handler = nullptr;
  int depth = 0;
  std::vector<std::string> content_spaces;  // default namespaces, innermost last
  StreamError error = StreamError::kNone;
  bool stopped = false;
  size_t end_of_last = 0;  // byte after the event that stopped us, from the start of all input
  size_t fed = 0;

  void Stop() {
    stopped = true;
    end_of_last = static_cast<size_t>(XML_GetCurrentByteIndex(parser.get())) +
                  static_cast<size_t>(XML_GetCurrentByteCount(parser.get()));
    XML_StopParser(parser.get(), XML_FALSE);
  }
  void Refuse(StreamError why) {
    if (error == StreamError::kNone) error = why;
    XML_StopParser(parser.get(), XML_FALSE);
  }
  bool ended() const { return stopped || error != StreamError::kNone; }

  static State& Of(void* data) { return *static_cast<State*>(data); }

  static void OnStart(void* data, const char* name, const char** pairs) {
    State& self = Of(data);
    if (self.ended()) return;
    if (self.depth >= kDepthMax) return self.Refuse(StreamError::kPolicyViolation);
    XmlAttributes attributes;
    for (; pairs[0] != nullptr; pairs += 2)
      attributes.emplace_back(SplitXmlName(pairs[0]), pairs[1]);
    std::string_view space;
    if (!self.content_spaces.empty()) space = self.content_spaces.back();
    if (!self.handler->OnStart(self.depth++, SplitXmlName(name), attributes, space)) self.Stop();
  }
  static void OnEnd(void* data, const char* name) {
    State& self = Of(data);
    if (self.ended()) return;
    if (!self.handler->OnEnd(--self.depth, SplitXmlName(name))) self.Stop();
  }
  static void OnText(void* data, const char* text, int length) {
    State& self = Of(data);
    if (self.ended() || self.depth == 0) return;
    if (!self.handler->OnText(self.depth - 1, {text, static_cast<size_t>(length)})) self.Stop();
  }
  static void OnSpace(void* data, const char* prefix, const char* uri) {
    if (prefix == nullptr) Of(data).content_spaces.emplace_back(uri == nullptr ? "" : uri);
  }
  static void OnSpaceEnd(void* data, const char* prefix) {
    State& self = Of(data);
    if (prefix == nullptr && !self.content_spaces.empty()) self.content_spaces.pop_back();
  }
  static void OnDeclaration(void* data, const char*, const char* encoding, int) {
    if (encoding != nullptr && !IsUtf8(encoding)) {
      Of(data).Refuse(StreamError::kUnsupportedEncoding);
    }
  }
  static void OnDoctype(void* data, const char*, const char*, const char*, int) {
    Of(data).Refuse(StreamError::kRestrictedXml);
  }
  static void OnComment(void* data, const char*) { Of(data).Refuse(StreamError::kRestrictedXml); }
  static void OnInstruction(void* data, const char*, const char*) {
    Of(data).Refuse(StreamError::kRestrictedXml);
  }
};

StreamXml::StreamXml(XmlHandler* handler) : state_(std::make_unique<State>()) {
  state_->handler = handler;
  XML_Parser parser = state_->parser.get();
  XML_SetUserData(parser, state_.get());
  XML_SetElementHandler(parser, State::OnStart, State::OnEnd);
  XML_SetCharacterDataHandler(parser, State::OnText);
  XML_SetNamespaceDeclHandler(parser, State::OnSpace, State::OnSpaceEnd);
  XML_SetXmlDeclHandler(parser, State::OnDeclaration);
  XML_SetStartDoctypeDeclHandler(parser, State::OnDoctype);
  XML_SetCommentHandler(parser, State::OnComment);
  XML_SetProcessingInstructionHandler(parser, State::OnInstruction);
}

StreamXml::~StreamXml() = default;

StreamXml::Fed StreamXml::Feed(std::string_view bytes) {
  State& state = *state_;
  if (state.ended()) return {.stopped = state.stopped, .error = state.error};
  XML_Status status =
      XML_Parse(state.parser.get(), bytes.data(), static_cast<int>(bytes.size()), XML_FALSE);
  size_t before = state.fed;
  state.fed += bytes.size();
  Fed fed{.consumed = bytes.size(), .stopped = state.stopped, .error = state.error};
  if (state.stopped) {
    fed.consumed = std::clamp(state.end_of_last, before, state.fed) - before;
  } else if (status == XML_STATUS_ERROR && state.error == StreamError::kNone) {
    bool entity = XML_GetErrorCode(state.parser.get()) == XML_ERROR_UNDEFINED_ENTITY;
    fed.error = state.error = entity ? StreamError::kRestrictedXml : StreamError::kNotWellFormed;
  }
  return fed;
}

}  // namespace net
