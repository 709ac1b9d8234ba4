// A client's or a peer's stream (RFC 6120 section 4) in pieces: bytes in; the opening, whole
// stanzas and the end out. XML's other doors (DTD, comments, instructions, entities) are shut
// (section 11.1).
//
// Bounded: bytes of the opening and of a stanza, depth. Between two stanzas Rest() gives the parser
// back, and a stream at rest is only this object: what an idle session costs. What idle sessions
// say by themselves, white space and XEP-0198's two words, is read without one.
//
// Pure; one thread at a time.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "net/xmpp/stream_xml.h"
#include "server/xmpp/stanza.h"

namespace server {

inline constexpr std::string_view kStreamSpace = "http://etherx.jabber.org/streams";

// Views live during the call.
struct StreamOpening {
  std::string_view content_space;  // "jabber:client"
  std::string_view to;
  std::string_view from;
  std::string_view id;
  std::string_view lang;
  std::string_view version;  // "" is a peer of before RFC 3920
};

// False: no more is read; a new reader goes on from what Fed::consumed says, or this one behind
// GoOn().
class StreamHost {
 public:
  virtual bool OnOpening(const StreamOpening& opening) = 0;
  virtual bool OnStanza(Stanza& stanza) = 0;  // may be moved from
  virtual void OnStreamEnd() = 0;             // </stream:stream>; nothing follows

 protected:
  ~StreamHost() = default;
};

struct StreamLimits {
  size_t opening_bytes = 4 * 1024;
  size_t stanza_bytes = 256 * 1024;
  int depth = 64;  // of a stanza; each level is a frame of the stack where it is written
};

class StreamReader final : private net::XmlHandler {
 public:
  // `host` and `limits` outlive this.
  StreamReader(StreamHost* host, const StreamLimits* limits);
  ~StreamReader();
  StreamReader(const StreamReader&) = delete;
  StreamReader& operator=(const StreamReader&) = delete;

  struct Fed {
    size_t consumed = 0;  // below the input's size only when the host stopped
    bool stopped = false;
    net::StreamError error = net::StreamError::kNone;
    std::string_view text;  // for people
  };
  // Not from within a call of the host's.
  Fed Feed(std::string_view bytes);

  // The host stopped it at a stanza: what stands behind is of the same stream.
  void GoOn();

  // Frees the parser where nothing is half read. Cheap when it has been.
  void Rest();
  bool at_rest() const { return xml_ == nullptr; }
  // Of a stanza, or an opening, that has begun; zero between stanzas.
  size_t partial() const;

 private:
  bool OnStart(int depth, const net::XmlName& name, const net::XmlAttributes& attributes,
               std::string_view content_space) override;
  bool OnEnd(int depth, const net::XmlName& name) override;
  bool OnText(int depth, std::string_view text) override;
  bool OnRoot(const net::XmlName& name, const net::XmlAttributes& attributes,
              std::string_view content_space);
  bool Refuse(net::StreamError error, std::string_view text);
  void Wake();
  void KeepOpening(size_t bytes, std::string_view content_space);
  size_t Limit() const { return opened_ ? limits_->stanza_bytes : limits_->opening_bytes; }

  StreamHost* host_;
  const StreamLimits* limits_;
  std::unique_ptr<net::StreamXml> xml_;
  // The opening as it came, where it is not the usual one: prefixes that it declares hold for all
  // that follows. Until it is whole, what has come of it.
  std::unique_ptr<std::string> opening_;
  std::unique_ptr<Stanza> stanza_;
  size_t boundary_ = 0;  // where the last whole thing ended, in what the parser was fed
  bool opened_ = false;
  bool replaying_ = false;
  bool usual_ = false;  // the opening
  bool ended_ = false;
  net::StreamError error_ = net::StreamError::kNone;
  std::string_view text_;
};

}  // namespace server
