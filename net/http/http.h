// HTTP/1.1 without sockets: bytes in, requests and responses out (RFC 9110, RFC 9112). Admin APIs
// and health checks run it over their own connections. Boost.Beast does the parsing, behind this
// header; what it lets pass and we do not (framing that two readers may understand differently,
// dots that climb, missing Host) is refused here.
//
// Everything is bounded: header bytes, body bytes, bytes waiting in a pipeline. One thread per
// parser. An error is final: answer it (StatusOf) if it is a client's, and close.
#pragma once

#include <cstddef>
#include <cstdint>
#include <expected>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace net {

enum class HttpError : uint8_t {
  kSyntax,            // not HTTP/1, or broken
  kHeaderTooLarge,    // above header_bytes_max
  kBodyTooLarge,      // above body_bytes_max, also when chunks are split to waste bytes
  kVersion,           // neither HTTP/1.0 nor HTTP/1.1
  kFraming,           // Transfer-Encoding other than "chunked", or with Content-Length (smuggling)
  kHost,              // HTTP/1.1 without exactly one Host
  kTarget,            // not a path we could mean: bad escapes, control characters, "..", CONNECT
  kPipelineTooLong,   // more bytes waiting than any request may have: Next() was not called
  kTruncated,         // closed in the middle of a message
  kResponseTooLarge,  // above the bytes a client is ready to read
};
std::string_view ToString(HttpError error);  // "body too large": for logs and check results
int StatusOf(HttpError error);               // 400, 413, 431, 505

struct HttpHeader {
  std::string name;
  std::string value;

  bool operator==(const HttpHeader&) const = default;
};

// The first header of that name (case does not matter); "" if there is none.
std::string_view FindHeader(const std::vector<HttpHeader>& headers, std::string_view name);

struct HttpRequest {
  std::string method;
  std::string target;  // as sent
  std::string path;    // decoded; begins with "/" (or is "*" for OPTIONS); has no "." or ".." part
  std::string query;   // behind the "?", as sent
  std::vector<HttpHeader> headers;
  std::string body;
  bool http11 = true;
  bool keep_alive = true;

  std::string_view Header(std::string_view name) const { return FindHeader(headers, name); }
  // "limit" in "?limit=5&x", decoded; nullopt if absent or badly escaped.
  std::optional<std::string> QueryValue(std::string_view key) const;
};

struct HttpLimits {
  uint32_t header_bytes_max = 8 * 1024;
  uint32_t body_bytes_max = 64 * 1024;
};

// The server's side.
//
//   parser.Feed(bytes);
//   while (true) {
//     auto request = parser.Next();
//     if (!request) → answer request.error(), close
//     if (!*request) break;  // needs more bytes
//     ... **request
//   }
class HttpRequestParser {
 public:
  explicit HttpRequestParser(HttpLimits limits = {});
  ~HttpRequestParser();
  HttpRequestParser(HttpRequestParser&&) noexcept;
  HttpRequestParser& operator=(HttpRequestParser&&) noexcept;

  std::expected<void, HttpError> Feed(std::string_view bytes);
  // The next complete request; nullopt: more bytes are needed.
  std::expected<std::optional<HttpRequest>, HttpError> Next();

  // True once per request whose client waits for "100 Continue" before it sends the body; answer
  // with kHttpContinue. Ask when Next() needs more bytes.
  bool TakeContinue();
  // Nothing of a request has come since the last complete one: closing loses nothing.
  bool idle() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

inline constexpr std::string_view kHttpContinue = "HTTP/1.1 100 Continue\r\n\r\n";

struct HttpResponse {
  int status = 200;
  std::string content_type = "text/plain; charset=utf-8";
  std::vector<HttpHeader> headers;  // beside Content-Type, Content-Length and Connection
  std::string body;
};

// The bytes to send. Honours HEAD, the client's version and its wish to keep the connection; where
// keep_alive is false in the request, "Connection: close" is sent and the caller closes. Characters
// that would end a header line are replaced in names and values.
std::string SerializeResponse(const HttpResponse& response, const HttpRequest& request);
// The head of a response that goes on until the connection closes (server-sent events); the body of
// `response` comes first.
std::string SerializeStreamStart(const HttpResponse& response);
// What a client gets for a request that could not be parsed. The connection closes behind it.
std::string SerializeError(HttpError error);

// "OK", "Not Found"; "Unknown" for numbers without a name.
std::string_view ReasonOf(int status);

// The client's side: one request, one response, then the connection is closed.
struct HttpClientRequest {
  std::string method = "GET";
  std::string target = "/";
  std::string host;  // with the port where it is not 80
  std::vector<HttpHeader> headers;
  std::string body;
};
std::string SerializeRequest(const HttpClientRequest& request);

// May this stand as a header in a request: a token as name, no control characters in the value?
// For configurations to judge what operators wrote.
bool IsHttpHeader(std::string_view name, std::string_view value);
bool IsHttpToken(std::string_view text);  // methods and header names

struct HttpReply {
  int status = 0;
  std::vector<HttpHeader> headers;
  std::string body;

  std::string_view Header(std::string_view name) const { return FindHeader(headers, name); }
};

class HttpResponseParser {
 public:
  // `bytes_max` counts everything the peer sends. `head`: the request was HEAD, no body follows.
  explicit HttpResponseParser(size_t bytes_max = 256 * 1024, bool head = false);
  ~HttpResponseParser();
  HttpResponseParser(HttpResponseParser&&) noexcept;
  HttpResponseParser& operator=(HttpResponseParser&&) noexcept;

  // True: the response is complete (further bytes are ignored). Interim responses (1xx) are
  // skipped. A peer that does not speak HTTP is found out by its first bytes.
  std::expected<bool, HttpError> Feed(std::string_view bytes);
  // The peer closed: completes a response whose end is the end of the connection.
  std::expected<void, HttpError> Eof();

  const HttpReply& reply() const;  // when complete

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// "Basic dXNlcjpwYXNz" (RFC 7617).
std::string BasicAuthorization(std::string_view user, std::string_view password);
// For tokens and passwords: takes as long for a wrong first byte as for a wrong last one. The
// lengths may show.
bool ConstantTimeEqual(std::string_view a, std::string_view b);

// "a%2Fb" → "a/b"; nullopt if an escape is broken.
std::optional<std::string> PercentDecode(std::string_view text);

}  // namespace net
