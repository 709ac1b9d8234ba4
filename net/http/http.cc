#include "net/http/http.h"

// Beast 1.81 asserts that five bytes wait when a last chunk that is also the first continues; four
// may ("0\r\n", then "\r"), and it reads them rightly. A peer must not end a debug build.
#define BOOST_DISABLE_ASSERTS

#include <algorithm>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/string_body.hpp>
#include <utility>

#include "net/base/base64.h"
#include "net/base/check.h"

namespace net {
namespace {

namespace http = boost::beast::http;
using RequestParser = http::request_parser<http::string_body>;
using ResponseParser = http::response_parser<http::string_body>;

// Bytes beyond one whole request that may wait while the caller answers earlier ones.
constexpr size_t kPipelineBytesMax = 64 * 1024;
// Interim responses before the real one.
constexpr int kInterimMax = 8;

char Lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + ('a' - 'A')) : c; }

bool EqualIgnoringCase(std::string_view a, std::string_view b) {
  return std::ranges::equal(a, b, {}, Lower, Lower);
}

std::string_view View(boost::beast::string_view text) { return {text.data(), text.size()}; }

bool IsControl(char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; }

HttpError FromBeast(const boost::system::error_code& error) {
  if (error == http::error::header_limit) return HttpError::kHeaderTooLarge;
  if (error == http::error::body_limit) return HttpError::kBodyTooLarge;
  if (error == http::error::partial_message) return HttpError::kTruncated;
  if (error == http::error::bad_version) return HttpError::kVersion;
  if (error == http::error::bad_transfer_encoding || error == http::error::bad_content_length ||
      error == http::error::multiple_content_length) {
    return HttpError::kFraming;
  }
  return HttpError::kSyntax;
}

// Bytes that arrived and were not parsed yet.
class Inbox {
 public:
  void Append(std::string_view bytes) {
    text_.erase(0, read_);
    searched_ -= std::min(searched_, read_);
    read_ = 0;
    text_ += bytes;
  }
  std::string_view unread() const { return std::string_view(text_).substr(read_); }
  void Skip(size_t bytes) {
    read_ += bytes;
    searched_ = read_;
  }

  // Is the empty line that ends a header there? Looks at each byte once, however they arrive.
  bool HasHeaderEnd() {
    constexpr std::string_view kEnd = "\r\n\r\n";
    size_t from = std::max(read_, searched_ - std::min(searched_, kEnd.size() - 1));
    size_t at = text_.find(kEnd, from);
    searched_ = at == std::string::npos ? text_.size() : at;
    return at != std::string::npos;
  }
  size_t HeaderSize() const { return searched_ + 4 - read_; }  // after HasHeaderEnd()

 private:
  std::string text_;
  size_t read_ = 0;
  size_t searched_ = 0;
};

template <typename Fields>
std::vector<HttpHeader> CopyHeaders(const Fields& fields) {
  std::vector<HttpHeader> out;
  for (const auto& field : fields) {
    out.push_back({std::string(View(field.name_string())), std::string(View(field.value()))});
  }
  return out;
}

// Beast takes a Transfer-Encoding that it does not know for none: then the body would be read as
// the next message (RFC 9112, section 6.3).
template <typename Message>
bool HasPlainFraming(const Message& message) {
  auto [first, last] = message.equal_range(http::field::transfer_encoding);
  if (first == last) return true;
  return std::next(first) == last && EqualIgnoringCase(View(first->value()), "chunked");
}

std::optional<int> HexDigit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  char lower = Lower(c);
  if (lower >= 'a' && lower <= 'f') return lower - 'a' + 10;
  return std::nullopt;
}

// Is there a part "." or ".."? Also behind a backslash, which some file APIs take for a slash.
bool HasDotPart(std::string_view path) {
  size_t start = 0;
  while (start <= path.size()) {
    size_t end = std::min(path.find_first_of("/\\", start), path.size());
    std::string_view part = path.substr(start, end - start);
    if (part == "." || part == "..") return true;
    start = end + 1;
  }
  return false;
}

// Fills path and query from the target: origin form, absolute form, or "*" (RFC 9112, 3.2).
std::expected<void, HttpError> ReadTarget(HttpRequest& request) {
  std::string_view target = request.target;
  if (target == "*" && request.method == "OPTIONS") {
    request.path = "*";
    return {};
  }
  if (size_t scheme = target.find("://"); !target.starts_with('/') && scheme < 8) {
    size_t slash = target.find_first_of("/?", scheme + 3);
    target = slash == std::string_view::npos ? "/" : target.substr(slash);
  }
  if (!target.starts_with('/')) return std::unexpected(HttpError::kTarget);
  size_t question = std::min(target.find('?'), target.size());
  auto path = PercentDecode(target.substr(0, question));
  if (!path || std::ranges::any_of(*path, [](char c) { return IsControl(c); }) ||
      HasDotPart(*path)) {
    return std::unexpected(HttpError::kTarget);
  }
  request.path = std::move(*path);
  if (question < target.size()) request.query = target.substr(question + 1);
  return {};
}

std::expected<void, HttpError> JudgeRequestHeader(const RequestParser::value_type& message) {
  if (message.version() != 10 && message.version() != 11) {
    return std::unexpected(HttpError::kVersion);
  }
  if (!HasPlainFraming(message)) return std::unexpected(HttpError::kFraming);
  // HTTP/1.0 knows no chunks: a proxy before us may have taken the body for something else.
  if (message.version() == 10 && message.count(http::field::transfer_encoding) > 0) {
    return std::unexpected(HttpError::kFraming);
  }
  size_t hosts = message.count(http::field::host);
  if (hosts > 1 || (hosts == 0 && message.version() == 11)) {
    return std::unexpected(HttpError::kHost);
  }
  return {};
}

void AppendHeader(std::string& out, std::string_view name, std::string_view value) {
  auto append = [&out](std::string_view text) {
    for (char c : text) out += IsControl(c) && c != '\t' ? ' ' : c;
  };
  append(name);
  out += ": ";
  append(value);
  out += "\r\n";
}

std::string ResponseHead(const HttpResponse& response, bool http11) {
  std::string out = http11 ? "HTTP/1.1 " : "HTTP/1.0 ";
  out += std::to_string(response.status);
  out += ' ';
  out += ReasonOf(response.status);
  out += "\r\n";
  if (!response.content_type.empty()) AppendHeader(out, "Content-Type", response.content_type);
  for (const HttpHeader& header : response.headers) AppendHeader(out, header.name, header.value);
  return out;
}

bool HasNoBody(int status) { return status < 200 || status == 204 || status == 304; }

}  // namespace

std::string_view ToString(HttpError error) {
  switch (error) {
    case HttpError::kSyntax:
      return "not HTTP/1";
    case HttpError::kHeaderTooLarge:
      return "header too large";
    case HttpError::kBodyTooLarge:
      return "body too large";
    case HttpError::kVersion:
      return "HTTP version not supported";
    case HttpError::kFraming:
      return "ambiguous framing";
    case HttpError::kHost:
      return "Host missing or repeated";
    case HttpError::kTarget:
      return "bad request target";
    case HttpError::kPipelineTooLong:
      return "too many bytes pipelined";
    case HttpError::kTruncated:
      return "closed in the middle of a message";
    case HttpError::kResponseTooLarge:
      return "response too large";
  }
  return "?";
}

int StatusOf(HttpError error) {
  switch (error) {
    case HttpError::kHeaderTooLarge:
      return 431;
    case HttpError::kBodyTooLarge:
      return 413;
    case HttpError::kVersion:
      return 505;
    case HttpError::kSyntax:
    case HttpError::kFraming:
    case HttpError::kHost:
    case HttpError::kTarget:
    case HttpError::kPipelineTooLong:
    case HttpError::kTruncated:
    case HttpError::kResponseTooLarge:
      break;
  }
  return 400;
}

std::string_view FindHeader(const std::vector<HttpHeader>& headers, std::string_view name) {
  for (const HttpHeader& header : headers) {
    if (EqualIgnoringCase(header.name, name)) return header.value;
  }
  return "";
}

std::optional<std::string> HttpRequest::QueryValue(std::string_view key) const {
  std::string_view rest = query;
  while (!rest.empty()) {
    size_t end = std::min(rest.find('&'), rest.size());
    std::string_view pair = rest.substr(0, end);
    rest.remove_prefix(std::min(end + 1, rest.size()));
    size_t equals = std::min(pair.find('='), pair.size());
    auto name = PercentDecode(pair.substr(0, equals));
    if (!name || *name != key) continue;
    return PercentDecode(equals < pair.size() ? pair.substr(equals + 1) : "");
  }
  return std::nullopt;
}

struct HttpRequestParser::Impl {
  HttpLimits limits;
  Inbox inbox;
  std::optional<RequestParser> parser;
  std::optional<HttpError> failed;
  std::vector<HttpHeader> headers;
  bool keep_alive = false;
  size_t wire_bytes = 0;  // of the current request
  bool header_judged = false;
  bool continue_due = false;

  std::unexpected<HttpError> Fail(HttpError error) {
    failed = error;
    return std::unexpected(error);
  }

  void Start() {
    parser.emplace();
    parser->eager(false);  // stops behind the header, before trailers join the headers
    parser->header_limit(limits.header_bytes_max + 1);  // judged before, in HeaderIsWhole()
    parser->body_limit(limits.body_bytes_max);
    wire_bytes = 0;
    header_judged = false;
    continue_due = false;
  }

  // Beast counts a header's bytes differently when they come in pieces, so they are counted here
  // and it sees whole headers only.
  std::expected<bool, HttpError> HeaderIsWhole() {
    std::string_view bytes = inbox.unread();
    if (!IsHttpToken(bytes.substr(0, 1))) return std::unexpected(HttpError::kSyntax);  // TLS, ...
    bool whole = inbox.HasHeaderEnd();
    if ((whole ? inbox.HeaderSize() : bytes.size()) > limits.header_bytes_max) {
      return std::unexpected(HttpError::kHeaderTooLarge);
    }
    return whole;
  }

  // Chunks of one byte cost six on the wire; a body may cost twice its limit, not six times.
  size_t WireBytesMax() const {
    return size_t{limits.header_bytes_max} * 2 + size_t{limits.body_bytes_max} * 2;
  }

  std::expected<HttpRequest, HttpError> Finish() {
    auto message = parser->release();
    HttpRequest out{.method = std::string(View(message.method_string())),
                    .target = std::string(View(message.target())),
                    .path = {},
                    .query = {},
                    .headers = std::move(headers),
                    .body = std::move(message.body()),
                    .http11 = message.version() == 11,
                    .keep_alive = keep_alive};
    parser.reset();
    if (auto target = ReadTarget(out); !target) return std::unexpected(target.error());
    return out;
  }
};

HttpRequestParser::HttpRequestParser(HttpLimits limits) : impl_(std::make_unique<Impl>()) {
  impl_->limits = limits;
}
HttpRequestParser::~HttpRequestParser() = default;
HttpRequestParser::HttpRequestParser(HttpRequestParser&&) noexcept = default;
HttpRequestParser& HttpRequestParser::operator=(HttpRequestParser&&) noexcept = default;

std::expected<void, HttpError> HttpRequestParser::Feed(std::string_view bytes) {
  if (impl_->failed) return std::unexpected(*impl_->failed);
  impl_->inbox.Append(bytes);
  size_t waiting_max = impl_->WireBytesMax() + kPipelineBytesMax;
  if (impl_->inbox.unread().size() > waiting_max) return impl_->Fail(HttpError::kPipelineTooLong);
  return {};
}

std::expected<std::optional<HttpRequest>, HttpError> HttpRequestParser::Next() {
  Impl& s = *impl_;
  if (s.failed) return std::unexpected(*s.failed);
  while (true) {
    if (!s.parser) {
      // Old clients send a line end behind a body (RFC 9112, section 2.2).
      while (s.inbox.unread().starts_with("\r\n")) s.inbox.Skip(2);
      if (s.inbox.unread().empty() || s.inbox.unread() == "\r") return std::nullopt;
      auto whole = s.HeaderIsWhole();
      if (!whole) return s.Fail(whole.error());
      if (!*whole) return std::nullopt;
      s.Start();
    }
    std::string_view bytes = s.inbox.unread();
    if (bytes.empty()) return std::nullopt;
    boost::system::error_code error;
    size_t used = s.parser->put(boost::asio::buffer(bytes.data(), bytes.size()), error);
    s.inbox.Skip(used);
    s.wire_bytes += used;
    if (error && error != http::error::need_more) return s.Fail(FromBeast(error));
    if (s.parser->is_header_done() && !s.header_judged) {
      s.header_judged = true;
      if (auto verdict = JudgeRequestHeader(s.parser->get()); !verdict) {
        return s.Fail(verdict.error());
      }
      s.headers = CopyHeaders(s.parser->get());
      s.keep_alive = s.parser->get().keep_alive();
      s.continue_due =
          EqualIgnoringCase(View(s.parser->get()[http::field::expect]), "100-continue");
    }
    if (s.wire_bytes > s.WireBytesMax()) return s.Fail(HttpError::kBodyTooLarge);
    if (s.parser->is_done()) {
      auto request = s.Finish();
      if (!request) return s.Fail(request.error());
      return std::move(*request);
    }
    if (error == http::error::need_more) return std::nullopt;
  }
}

bool HttpRequestParser::TakeContinue() {
  return impl_->parser && std::exchange(impl_->continue_due, false);
}

bool HttpRequestParser::idle() const { return !impl_->parser && impl_->inbox.unread().empty(); }

std::string SerializeResponse(const HttpResponse& response, const HttpRequest& request) {
  std::string out = ResponseHead(response, request.http11);
  bool bodiless = HasNoBody(response.status);
  if (!bodiless) AppendHeader(out, "Content-Length", std::to_string(response.body.size()));
  if (!request.keep_alive) {
    AppendHeader(out, "Connection", "close");
  } else if (!request.http11) {
    AppendHeader(out, "Connection", "keep-alive");
  }
  out += "\r\n";
  if (!bodiless && request.method != "HEAD") out += response.body;
  return out;
}

std::string SerializeStreamStart(const HttpResponse& response) {
  std::string out = ResponseHead(response, true);
  AppendHeader(out, "Connection", "close");
  return out + "\r\n" + response.body;
}

std::string SerializeError(HttpError error) {
  HttpResponse response{.status = StatusOf(error),
                        .content_type = "text/plain; charset=utf-8",
                        .headers = {},
                        .body = std::string(ToString(error)) + "\n"};
  return SerializeResponse(response, {.method = "GET",
                                      .target = {},
                                      .path = {},
                                      .query = {},
                                      .headers = {},
                                      .body = {},
                                      .http11 = true,
                                      .keep_alive = false});
}

std::string_view ReasonOf(int status) {
  auto named = http::int_to_status(static_cast<unsigned>(status));
  return named == http::status::unknown ? "Unknown" : View(http::obsolete_reason(named));
}

std::string SerializeRequest(const HttpClientRequest& request) {
  auto plain = [](std::string_view text) {  // no blank may end a word of the first line early
    std::string out(text);
    std::ranges::replace_if(out, [](char c) { return IsControl(c) || c == ' '; }, '_');
    return out;
  };
  std::string out = plain(request.method) + " " + plain(request.target) + " HTTP/1.1\r\n";
  if (FindHeader(request.headers, "Host").empty()) AppendHeader(out, "Host", request.host);
  for (const HttpHeader& header : request.headers) AppendHeader(out, header.name, header.value);
  if (!request.body.empty()) {
    AppendHeader(out, "Content-Length", std::to_string(request.body.size()));
  }
  AppendHeader(out, "Connection", "close");
  return out + "\r\n" + request.body;
}

bool IsHttpToken(std::string_view text) {
  constexpr std::string_view kMarks = "!#$%&'*+-.^_`|~";
  return !text.empty() && std::ranges::all_of(text, [&](char c) {
    char lower = Lower(c);
    return (lower >= 'a' && lower <= 'z') || (c >= '0' && c <= '9') ||
           kMarks.find(c) != std::string_view::npos;
  });
}

bool IsHttpHeader(std::string_view name, std::string_view value) {
  return IsHttpToken(name) &&
         std::ranges::none_of(value, [](char c) { return IsControl(c) && c != '\t'; });
}

struct HttpResponseParser::Impl {
  size_t bytes_max = 0;
  bool head = false;
  size_t bytes = 0;
  int interim = 0;
  Inbox inbox;
  std::optional<ResponseParser> parser;
  std::optional<HttpError> failed;
  bool started = false;  // the status line of the current message is parsed
  bool header_judged = false;
  bool complete = false;
  HttpReply reply;

  std::unexpected<HttpError> Fail(HttpError error) {
    // To a client the two limits of the server are one: the peer sent too much.
    if (error == HttpError::kBodyTooLarge || error == HttpError::kHeaderTooLarge) {
      error = HttpError::kResponseTooLarge;
    }
    failed = error;
    return std::unexpected(error);
  }

  void Start() {
    parser.emplace();
    parser->eager(false);  // stops behind the header, before trailers join the headers
    // Never reached: all bytes are counted in Feed().
    parser->header_limit(static_cast<uint32_t>(std::min<size_t>(bytes_max + 1, UINT32_MAX)));
    parser->body_limit(bytes_max);
    parser->skip(head);
    started = false;
    header_judged = false;
  }

  // Could these be the first bytes of a response?
  static bool BeginsLikeHttp(std::string_view bytes) {
    constexpr std::string_view kStart = "HTTP/1.";
    size_t size = std::min(bytes.size(), kStart.size());
    return bytes.substr(0, size) == kStart.substr(0, size);
  }

  std::expected<void, HttpError> Judge() {
    const auto& message = parser->get();
    if (message.version() != 10 && message.version() != 11) {
      return std::unexpected(HttpError::kVersion);
    }
    if (!HasPlainFraming(message)) return std::unexpected(HttpError::kFraming);
    // Nobody asked to switch protocols; a status below 100 is none.
    if (message.result_int() < 100 || message.result_int() == 101) {
      return std::unexpected(HttpError::kSyntax);
    }
    return {};
  }

  // Takes the finished message. False: it was an interim one, the real one follows.
  std::expected<bool, HttpError> Finish() {
    auto message = parser->release();
    parser.reset();
    if (message.result_int() < 200) {
      if (++interim > kInterimMax) return std::unexpected(HttpError::kResponseTooLarge);
      return false;
    }
    reply.status = static_cast<int>(message.result_int());
    reply.body = std::move(message.body());
    complete = true;
    return true;
  }
};

HttpResponseParser::HttpResponseParser(size_t bytes_max, bool head)
    : impl_(std::make_unique<Impl>()) {
  impl_->bytes_max = bytes_max;
  impl_->head = head;
}
HttpResponseParser::~HttpResponseParser() = default;
HttpResponseParser::HttpResponseParser(HttpResponseParser&&) noexcept = default;
HttpResponseParser& HttpResponseParser::operator=(HttpResponseParser&&) noexcept = default;

std::expected<bool, HttpError> HttpResponseParser::Feed(std::string_view bytes) {
  Impl& s = *impl_;
  if (s.failed) return std::unexpected(*s.failed);
  if (s.complete) return true;
  if (bytes.size() > s.bytes_max - s.bytes) return s.Fail(HttpError::kResponseTooLarge);
  s.bytes += bytes.size();
  s.inbox.Append(bytes);
  while (true) {
    std::string_view unread = s.inbox.unread();
    if (unread.empty()) return false;
    if (!s.parser) s.Start();
    if (!s.started && !Impl::BeginsLikeHttp(unread)) return s.Fail(HttpError::kSyntax);
    boost::system::error_code error;
    size_t used = s.parser->put(boost::asio::buffer(unread.data(), unread.size()), error);
    s.inbox.Skip(used);
    s.started = s.started || used > 0;
    if (error && error != http::error::need_more) return s.Fail(FromBeast(error));
    if (s.parser->is_header_done() && !s.header_judged) {
      s.header_judged = true;
      if (auto verdict = s.Judge(); !verdict) return s.Fail(verdict.error());
      s.reply.headers = CopyHeaders(s.parser->get());
    }
    if (s.parser->is_done()) {
      auto final = s.Finish();
      if (!final) return s.Fail(final.error());
      if (*final) return true;
      continue;
    }
    if (error == http::error::need_more) return false;
  }
}

std::expected<void, HttpError> HttpResponseParser::Eof() {
  Impl& s = *impl_;
  if (s.failed) return std::unexpected(*s.failed);
  if (s.complete) return {};
  if (!s.parser || !s.parser->is_header_done()) return s.Fail(HttpError::kTruncated);
  boost::system::error_code error;
  s.parser->put_eof(error);
  if (error) return s.Fail(FromBeast(error));
  auto final = s.Finish();
  if (!final) return s.Fail(final.error());
  if (!*final) return s.Fail(HttpError::kTruncated);
  return {};
}

const HttpReply& HttpResponseParser::reply() const {
  CHECK(impl_->complete);
  return impl_->reply;
}

std::string BasicAuthorization(std::string_view user, std::string_view password) {
  return "Basic " + Base64Encode(std::string(user) + ":" + std::string(password));
}

bool ConstantTimeEqual(std::string_view a, std::string_view b) {
  if (a.size() != b.size()) return false;
  volatile unsigned char difference = 0;  // volatile: the loop must not end early
  for (size_t i = 0; i < a.size(); ++i) {
    difference = static_cast<unsigned char>(
        difference | (static_cast<unsigned char>(a[i]) ^ static_cast<unsigned char>(b[i])));
  }
  return difference == 0;
}

std::optional<std::string> PercentDecode(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      out += text[i];
      continue;
    }
    if (text.size() - i < 3) return std::nullopt;
    auto high = HexDigit(text[i + 1]);
    auto low = HexDigit(text[i + 2]);
    if (!high || !low) return std::nullopt;
    out += static_cast<char>(*high * 16 + *low);
    i += 2;
  }
  return out;
}

}  // namespace net
