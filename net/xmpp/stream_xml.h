// The part of XML that the first words of an XMPP stream need, bounded, over expat: namespaces,
// the opening tag, and its first-level children. No DTD, comment, processing instruction or entity
// beyond the predefined ones (RFC 6120 section 11.1), no encoding but UTF-8.
//
// One thread at a time. Whoever feeds it counts the bytes since the last event and gives up above a
// bound (net/xmpp/xml_parser.h says why).
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "net/xmpp/xml_parser.h"

namespace net {

// RFC 6120 section 4.9.3.
enum class StreamError : uint8_t {
  kNone,
  kBadFormat,
  kBadNamespacePrefix,
  kConflict,
  kConnectionTimeout,
  kHostGone,
  kHostUnknown,
  kImproperAddressing,
  kInternalServerError,
  kInvalidFrom,
  kInvalidNamespace,
  kInvalidXml,
  kNotAuthorized,
  kNotWellFormed,
  kPolicyViolation,
  kRemoteConnectionFailed,
  kReset,
  kResourceConstraint,
  kRestrictedXml,
  kSystemShutdown,
  kUndefinedCondition,
  kUnsupportedEncoding,
  kUnsupportedFeature,
  kUnsupportedStanzaType,
  kUnsupportedVersion,
};
inline constexpr size_t kStreamErrors = static_cast<size_t>(StreamError::kUnsupportedVersion) + 1;
std::string_view ToString(StreamError error);  // the element's name: "host-unknown"

using XmlAttributes = std::vector<std::pair<XmlName, std::string_view>>;

// Depth 0 is the stream, 1 its children. Views live during the call. A handler that has heard
// enough returns false; nothing follows then.
class XmlHandler {
 public:
  virtual ~XmlHandler() = default;
  // `content_space`: the default namespace in force.
  virtual bool OnStart(int depth, const XmlName& name, const XmlAttributes& attributes,
                       std::string_view content_space) = 0;
  virtual bool OnEnd(int depth, const XmlName& name) = 0;
  virtual bool OnText(int depth, std::string_view text) = 0;
};

class StreamXml {
 public:
  static constexpr int kWordsDepthMax = 8;  // openings, features, STARTTLS

  // `handler`: not owned, outlives this. Deeper than `depth_max` is policy-violation.
  explicit StreamXml(XmlHandler* handler, int depth_max = kWordsDepthMax);
  ~StreamXml();
  StreamXml(const StreamXml&) = delete;
  StreamXml& operator=(const StreamXml&) = delete;

  struct Fed {
    size_t consumed = 0;  // below the input's size only when the handler stopped
    bool stopped = false;
    StreamError error = StreamError::kNone;
  };
  Fed Feed(std::string_view bytes);

  // Of all bytes fed: how many; where the event ends that is being told, or was told last.
  size_t fed() const;
  size_t event_end() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace net
