// The part of XML that the first words of an XMPP stream need, bounded, over expat: namespaces,
// the opening tag, and its first-level children. No DTD, comment, processing instruction or entity
// beyond the predefined ones (RFC 6120 section 11.1), no encoding but UTF-8.
//
// One thread at a time. Not for whole streams: for those some kilobytes before TLS, which the
// caller counts (net/xmpp/xml_parser.h says why).
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

// RFC 6120 section 4.9.3, those that can happen before TLS.
enum class StreamError : uint8_t {
  kNone,
  kBadFormat,
  kHostUnknown,
  kImproperAddressing,
  kInvalidNamespace,
  kNotWellFormed,
  kPolicyViolation,
  kRestrictedXml,
  kUnsupportedEncoding,
  kUnsupportedVersion,
};
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
  explicit StreamXml(XmlHandler* handler);  // not owned, outlives this
  ~StreamXml();
  StreamXml(const StreamXml&) = delete;
  StreamXml& operator=(const StreamXml&) = delete;

  struct Fed {
    size_t consumed = 0;  // below the input's size only when the handler stopped
    bool stopped = false;
    StreamError error = StreamError::kNone;
  };
  Fed Feed(std::string_view bytes);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace net
