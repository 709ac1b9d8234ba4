// The words around STARTTLS (RFC 6120 section 5) as pure state machines: bytes in, bytes out, what
// to do next. No clock, no socket, no randomness.
//
//   StartTlsServer  answers a client (or a remote server) in the balancer's name
//   StartTlsClient  asks a node for TLS as a client would
//
// Both end before TLS begins. Once kStartTls was returned the caller flushes the output and gives
// every byte received *afterwards* to TLS. Bytes that came together with <starttls/> or <proceed/>
// never get there (CVE-2014-3556, CVE-2026-1642): white space is dropped, anything else closes the
// connection.
//
// Bounded: at most bytes_max before TLS, then policy-violation. The time limit is the caller's:
// OnTimeout() says what to send.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "net/xmpp/stream_xml.h"

namespace net {

enum class StreamKind : uint8_t { kClient, kServer };
std::string_view StreamNamespace(StreamKind kind);  // "jabber:client" or "jabber:server"

enum class StartTlsStep : uint8_t {
  kNeedMore,
  kStartTls,  // flush the output, then TLS
  kClose,     // flush the output, then close
};

inline constexpr size_t kStartTlsBytesMax = 8 * 1024;

struct StartTlsServerOptions {
  StreamKind kind = StreamKind::kClient;
  size_t bytes_max = kStartTlsBytesMax;
  // Speaks for openings without `to`; "" refuses them with host-unknown.
  std::string default_domain = {};
  // Which domains are served, in lower case; empty serves all.
  std::function<bool(std::string_view domain)> serves = {};
};

class StartTlsServer final : private XmlHandler {
 public:
  // `options` outlive this. `stream_id` is random, of letters, digits and dashes, unlike any other.
  StartTlsServer(const StartTlsServerOptions* options, std::string stream_id);
  ~StartTlsServer() override;

  // Appends what is to be sent to `out`. After kStartTls or kClose call it no more.
  StartTlsStep Feed(std::string_view bytes, std::string* out);
  StartTlsStep OnTimeout(std::string* out);  // policy-violation

  // The opening's `to` in lower case (or the default); set once features were sent.
  const std::string& domain() const { return domain_; }
  // Why it was closed, for counters and the log.
  StreamError error() const { return error_; }
  std::string_view error_text() const { return error_text_; }

 private:
  bool OnStart(int depth, const XmlName& name, const XmlAttributes& attributes,
               std::string_view content_space) override;
  bool OnEnd(int depth, const XmlName& name) override;
  bool OnText(int depth, std::string_view text) override;
  bool OnOpening(const XmlName& name, const XmlAttributes& attributes,
                 std::string_view content_space);
  bool Refuse(StreamError error, std::string_view text);
  void Open(std::string* out, std::string_view from, std::string_view to);
  StartTlsStep Close(std::string* out);

  const StartTlsServerOptions* options_;
  std::string id_;
  std::unique_ptr<StreamXml> xml_;
  std::string* out_ = nullptr;  // during Feed()
  size_t bytes_ = 0;
  std::string domain_;
  bool opened_ = false;    // our stream header is out
  bool starttls_ = false;  // inside or after <starttls/>
  bool proceed_ = false;
  bool peer_closed_ = false;
  StreamError error_ = StreamError::kNone;
  std::string_view error_text_;
};

struct StartTlsClientOptions {
  StreamKind kind = StreamKind::kClient;
  size_t bytes_max = kStartTlsBytesMax;
  std::string to = {};    // the domain
  std::string from = {};  // servers say who they are; "" to leave it out
};

enum class StartTlsClientError : uint8_t {
  kNone,
  kNotXmpp,      // no stream opening, or XML that is not allowed
  kStreamError,  // the node said <stream:error/>
  kNotOffered,   // features without STARTTLS
  kRefused,      // <failure/>
  kUnexpected,   // another element than the one it was time for
  kEarlyBytes,   // plaintext behind <proceed/>
  kTooLong,
  kTimeout,
  kClosed,  // </stream:stream>
};
std::string_view ToString(StartTlsClientError error);

class StartTlsClient final : private XmlHandler {
 public:
  explicit StartTlsClient(StartTlsClientOptions options);
  ~StartTlsClient() override;

  void Start(std::string* out);  // the opening
  StartTlsStep Feed(std::string_view bytes, std::string* out);
  StartTlsStep OnTimeout();

  StartTlsClientError error() const { return error_; }
  // The node's stream error condition, "" for none.
  const std::string& condition() const { return condition_; }

 private:
  enum class Phase : uint8_t { kOpening, kFeatures, kInFeatures, kReply, kProceed };

  bool OnStart(int depth, const XmlName& name, const XmlAttributes& attributes,
               std::string_view content_space) override;
  bool OnEnd(int depth, const XmlName& name) override;
  bool OnText(int depth, std::string_view text) override;
  bool OnChild(const XmlName& name);
  bool Fail(StartTlsClientError error);

  StartTlsClientOptions options_;
  std::unique_ptr<StreamXml> xml_;
  std::string* out_ = nullptr;
  size_t bytes_ = 0;
  Phase phase_ = Phase::kOpening;
  bool offered_ = false;
  bool in_error_ = false;
  StartTlsClientError error_ = StartTlsClientError::kNone;
  std::string condition_;
};

}  // namespace net
