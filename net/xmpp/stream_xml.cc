#include "net/xmpp/stream_xml.h"

#include <algorithm>
#include <array>

#include "net/xmpp/xml_parser.h"

namespace net {

namespace {

bool IsUtf8(std::string_view encoding) {
  return std::ranges::equal(encoding, std::string_view("utf-8"), [](char a, char b) {
    return (a >= 'A' && a <= 'Z' ? static_cast<char>(a + 32) : a) == b;
  });
}

}  // namespace

std::string_view ToString(StreamError error) {
  static constexpr std::array<std::string_view, kStreamErrors> kNames = {
      "none",
      "bad-format",
      "bad-namespace-prefix",
      "conflict",
      "connection-timeout",
      "host-gone",
      "host-unknown",
      "improper-addressing",
      "internal-server-error",
      "invalid-from",
      "invalid-namespace",
      "invalid-xml",
      "not-authorized",
      "not-well-formed",
      "policy-violation",
      "remote-connection-failed",
      "reset",
      "resource-constraint",
      "restricted-xml",
      "system-shutdown",
      "undefined-condition",
      "unsupported-encoding",
      "unsupported-feature",
      "unsupported-stanza-type",
      "unsupported-version",
  };
  return kNames[static_cast<size_t>(error)];
}

struct StreamXml::State {
  XmlParser parser = MakeXmlParser();
  XmlHandler* handler = nullptr;
  int depth = 0;
  int depth_max = kWordsDepthMax;
  std::vector<std::string> content_spaces;  // default namespaces, innermost last
  StreamError error = StreamError::kNone;
  bool stopped = false;
  size_t end_of_last = 0;  // byte after the event that stopped us, from the start of all input
  size_t fed = 0;

  size_t EventEnd() const {
    const XML_Index at = XML_GetCurrentByteIndex(parser.get());
    if (at < 0) return 0;  // nothing was told yet
    return static_cast<size_t>(at) + static_cast<size_t>(XML_GetCurrentByteCount(parser.get()));
  }
  void Stop() {
    stopped = true;
    end_of_last = EventEnd();
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
    if (self.depth >= self.depth_max) return self.Refuse(StreamError::kPolicyViolation);
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

StreamXml::StreamXml(XmlHandler* handler, int depth_max) : state_(std::make_unique<State>()) {
  state_->handler = handler;
  state_->depth_max = depth_max;
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

size_t StreamXml::fed() const { return state_->fed; }
size_t StreamXml::event_end() const { return state_->EventEnd(); }

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
