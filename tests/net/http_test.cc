#include "net/http/http.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace net {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

// Feeds everything at once and takes one request.
std::expected<std::optional<HttpRequest>, HttpError> ParseOne(std::string_view bytes,
                                                              HttpLimits limits = {}) {
  HttpRequestParser parser(limits);
  if (auto fed = parser.Feed(bytes); !fed) return std::unexpected(fed.error());
  return parser.Next();
}

std::string ErrorOf(std::string_view bytes, HttpLimits limits = {}) {
  auto request = ParseOne(bytes, limits);
  if (!request) return std::string(ToString(request.error()));
  return *request ? "accepted" : "needs more";
}

TEST(HttpRequestParser, ReadsAWholeRequest) {
  auto result = ParseOne(
      "POST /api/v1/nodes/n1/drain?rate=200%2Fs&wait HTTP/1.1\r\nHost: lb:8404\r\n"
      "content-type: application/json\r\nContent-Length: 2\r\n\r\n{}");
  ASSERT_TRUE(result && *result);
  const HttpRequest& request = **result;
  EXPECT_EQ(request.method, "POST");
  EXPECT_EQ(request.path, "/api/v1/nodes/n1/drain");
  EXPECT_EQ(request.query, "rate=200%2Fs&wait");
  EXPECT_EQ(request.QueryValue("rate"), "200/s");
  EXPECT_EQ(request.QueryValue("wait"), "");
  EXPECT_EQ(request.QueryValue("other"), std::nullopt);
  EXPECT_EQ(request.Header("Content-Type"), "application/json");
  EXPECT_EQ(request.Header("X-None"), "");
  EXPECT_EQ(request.body, "{}");
  EXPECT_TRUE(request.keep_alive);
}

TEST(HttpRequestParser, OneByteAtATimeGivesTheSame) {
  std::string bytes =
      "PUT /x HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
      "5;ext=1\r\nhello\r\n6\r\n world\r\n0\r\n\r\nGET /y HTTP/1.1\r\nHost: h\r\n\r\n";
  HttpRequestParser parser;
  std::vector<HttpRequest> requests;
  for (char c : bytes) {
    ASSERT_TRUE(parser.Feed({&c, 1}));
    auto next = parser.Next();
    ASSERT_TRUE(next) << ToString(next.error());
    if (*next) requests.push_back(std::move(**next));
  }
  ASSERT_EQ(requests.size(), 2U);
  EXPECT_EQ(requests[0].body, "hello world");
  EXPECT_EQ(requests[1].path, "/y");
  EXPECT_TRUE(parser.idle());
}

TEST(HttpRequestParser, AnEmptyChunkedBodyMayComeByteByByte) {
  std::string bytes = "PUT /x HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
  HttpRequestParser parser;
  std::optional<HttpRequest> request;
  for (char c : bytes) {
    ASSERT_FALSE(request);
    ASSERT_TRUE(parser.Feed({&c, 1}));
    auto next = parser.Next();
    ASSERT_TRUE(next);
    request = std::move(*next);
  }
  ASSERT_TRUE(request);
  EXPECT_EQ(request->body, "");
}

TEST(HttpRequestParser, TrailersAreNoHeaders) {
  auto result = ParseOne(
      "PUT /x HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
      "1\r\na\r\n0\r\nAuthorization: Bearer x\r\nHost: other\r\nConnection: close\r\n\r\n");
  ASSERT_TRUE(result && *result);
  EXPECT_EQ((*result)->Header("Authorization"), "");
  EXPECT_EQ((*result)->headers.size(), 2U);
  EXPECT_TRUE((*result)->keep_alive);
}

TEST(HttpRequestParser, PipelinedRequestsComeOutInOrderAndTheRestWaits) {
  HttpRequestParser parser;
  ASSERT_TRUE(parser.Feed(
      "GET /1 HTTP/1.1\r\nHost: h\r\n\r\nGET /2 HTTP/1.1\r\nHost: h\r\n\r\n\r\nGET /3 HT"));
  EXPECT_EQ((*parser.Next())->path, "/1");
  EXPECT_EQ((*parser.Next())->path, "/2");
  EXPECT_FALSE(parser.Next()->has_value());
  EXPECT_FALSE(parser.idle());
  ASSERT_TRUE(parser.Feed("TP/1.1\r\nHost: h\r\n\r\n"));
  EXPECT_EQ((*parser.Next())->path, "/3");
  EXPECT_TRUE(parser.idle());
}

TEST(HttpRequestParser, KeepAliveFollowsVersionAndHeader) {
  EXPECT_TRUE((*ParseOne("GET / HTTP/1.1\r\nHost: h\r\n\r\n"))->keep_alive);
  EXPECT_FALSE((*ParseOne("GET / HTTP/1.1\r\nHost: h\r\nConnection: Close\r\n\r\n"))->keep_alive);
  EXPECT_FALSE((*ParseOne("GET / HTTP/1.0\r\n\r\n"))->keep_alive);
  EXPECT_TRUE((*ParseOne("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"))->keep_alive);
  EXPECT_FALSE((*ParseOne("GET / HTTP/1.0\r\n\r\n"))->http11);
}

TEST(HttpRequestParser, LimitsAreNamed) {
  std::string head = "GET / HTTP/1.1\r\nHost: h\r\nX: ";
  EXPECT_EQ(ErrorOf(head + std::string(9'000, 'a')), "header too large");
  EXPECT_EQ(ErrorOf(head + std::string(9'000, 'a') + "\r\n\r\n"), "header too large");
  EXPECT_EQ(ErrorOf(head + std::string(7'000, 'a') + "\r\n\r\n"), "accepted");
  EXPECT_EQ(ErrorOf(head + std::string(8'192 - 28 - 4, 'a') + "\r\n\r\n"), "accepted");
  EXPECT_EQ(ErrorOf(head + std::string(8'192 - 28 - 3, 'a') + "\r\n\r\n"), "header too large");
  HttpLimits small{.header_bytes_max = 256, .body_bytes_max = 10};
  EXPECT_EQ(ErrorOf("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 11\r\n\r\n", small),
            "body too large");
  EXPECT_EQ(
      ErrorOf("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 18446744073709551615\r\n\r\n", small),
      "body too large");
  EXPECT_EQ(ErrorOf("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
                    "5\r\nhello\r\n6\r\n world\r\n",
                    small),
            "body too large");
  EXPECT_EQ(ErrorOf(std::string(1 << 20, 'A')), "too many bytes pipelined");
}

TEST(HttpRequestParser, ChunksThatWasteBytesAreTooLarge) {
  std::string bytes = "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n";
  HttpRequestParser parser({.header_bytes_max = 256, .body_bytes_max = 1'000});
  ASSERT_TRUE(parser.Feed(bytes));
  ASSERT_FALSE(parser.Next()->has_value());
  std::expected<std::optional<HttpRequest>, HttpError> next;
  for (int i = 0; i < 999; ++i) {
    if (!parser.Feed("1;" + std::string(60, 'x') + "\r\na\r\n")) break;
    next = parser.Next();
    if (!next) break;
  }
  ASSERT_FALSE(next);
  EXPECT_EQ(next.error(), HttpError::kBodyTooLarge);
}

TEST(HttpRequestParser, FramingThatTwoReadersUnderstandDifferentlyIsRefused) {
  auto with = [](std::string_view headers) {
    return ErrorOf("POST / HTTP/1.1\r\nHost: h\r\n" + std::string(headers) + "\r\n0\r\n\r\n");
  };
  EXPECT_EQ(with("Transfer-Encoding: chunked\r\n"), "accepted");
  EXPECT_EQ(with("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n"), "ambiguous framing");
  EXPECT_EQ(with("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n"), "ambiguous framing");
  EXPECT_EQ(with("Transfer-Encoding: xchunked\r\n"), "ambiguous framing");
  EXPECT_EQ(with("Transfer-Encoding: gzip, chunked\r\n"), "ambiguous framing");
  EXPECT_EQ(with("Transfer-Encoding: chunked, identity\r\n"), "ambiguous framing");
  EXPECT_EQ(with("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"),
            "ambiguous framing");
  EXPECT_EQ(with("Content-Length: 5\r\nContent-Length: 6\r\n"), "ambiguous framing");
  EXPECT_EQ(with("Content-Length: -5\r\n"), "ambiguous framing");
  EXPECT_EQ(with("Content-Length: +5\r\n"), "ambiguous framing");
  EXPECT_EQ(with("Transfer-Encoding : chunked\r\n"), "not HTTP/1");
  EXPECT_EQ(ErrorOf("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
            "ambiguous framing");
}

TEST(HttpRequestParser, WhatIsNotHttpIsRefused) {
  EXPECT_EQ(ErrorOf("\x16\x03\x01\x02\r\n\r\n"), "not HTTP/1");
  EXPECT_EQ(ErrorOf("\x16"), "not HTTP/1");  // TLS is found out by its first byte
  EXPECT_EQ(ErrorOf("GET / HTTP/2.0\r\nHost: h\r\n\r\n"), "HTTP version not supported");
  EXPECT_EQ(ErrorOf("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), "HTTP version not supported");
  EXPECT_EQ(ErrorOf("GET / HTTP/1.1\nHost: h\n\n"), "needs more");  // bare line feeds end nothing
  EXPECT_EQ(ErrorOf("GET /\r\n\r\n"), "not HTTP/1");
  EXPECT_EQ(ErrorOf("GET / HTTP/1.1\r\nHost: h\r\nbad header\r\n\r\n"), "not HTTP/1");
  EXPECT_EQ(ErrorOf(std::string_view("GET / HTTP/1.1\r\nHost: a\0b\r\n\r\n", 29)), "not HTTP/1");
}

TEST(HttpRequestParser, Http11NeedsExactlyOneHost) {
  EXPECT_EQ(ErrorOf("GET / HTTP/1.1\r\n\r\n"), "Host missing or repeated");
  EXPECT_EQ(ErrorOf("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"), "Host missing or repeated");
}

TEST(HttpRequestParser, TargetsThatClimbOrHideAreRefused) {
  auto with = [](const std::string& target) {
    return ErrorOf("GET " + target + " HTTP/1.1\r\nHost: h\r\n\r\n");
  };
  EXPECT_EQ(with("/a/b..c/...d"), "accepted");
  for (auto target :
       {"/..", "/a/../b", "/a/%2e%2e/b", "/a/.%2E", "/a/%2e/b", "/%2e%2e%2fb", "/a%5c..%5cb",
        "/a%00b", "/a%0d%0ab", "/a%zz", "/a%2", "a/b", "*", "host:443"}) {
    EXPECT_EQ(with(target), "bad request target") << target;
  }
}

TEST(HttpRequestParser, AbsoluteAndAsteriskFormsAreUnderstood) {
  auto absolute = ParseOne("GET http://lb:8404/metrics?x=1 HTTP/1.1\r\nHost: lb\r\n\r\n");
  ASSERT_TRUE(absolute && *absolute);
  EXPECT_EQ((*absolute)->path, "/metrics");
  EXPECT_EQ((*absolute)->query, "x=1");
  auto bare = ParseOne("GET http://lb HTTP/1.1\r\nHost: lb\r\n\r\n");
  ASSERT_TRUE(bare && *bare);
  EXPECT_EQ((*bare)->path, "/");
  auto asterisk = ParseOne("OPTIONS * HTTP/1.1\r\nHost: lb\r\n\r\n");
  ASSERT_TRUE(asterisk && *asterisk);
  EXPECT_EQ((*asterisk)->path, "*");
}

TEST(HttpRequestParser, AnErrorIsFinal) {
  HttpRequestParser parser;
  ASSERT_TRUE(parser.Feed("GET / HTTP/1.1\r\n\r\n"));
  EXPECT_FALSE(parser.Next());
  EXPECT_FALSE(parser.Feed("GET / HTTP/1.1\r\nHost: h\r\n\r\n"));
  EXPECT_EQ(parser.Next().error(), HttpError::kHost);
}

TEST(HttpRequestParser, AClientThatWaitsIsToldToContinueOnce) {
  HttpRequestParser parser;
  ASSERT_TRUE(parser.Feed(
      "POST / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n"));
  EXPECT_FALSE(parser.Next()->has_value());
  EXPECT_TRUE(parser.TakeContinue());
  EXPECT_FALSE(parser.TakeContinue());
  ASSERT_TRUE(parser.Feed("{}"));
  EXPECT_EQ((*parser.Next())->body, "{}");
  EXPECT_FALSE(parser.TakeContinue());
}

TEST(HttpResponse, IsWrittenForTheRequestItAnswers) {
  HttpRequest request = **ParseOne("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
  HttpResponse response{
      .status = 404, .content_type = "text/plain", .headers = {{"X-A", "1"}}, .body = "no\n"};
  EXPECT_EQ(SerializeResponse(response, request),
            "HTTP/1.1 404 Not Found\r\nContent-Type: text/plain\r\nX-A: 1\r\n"
            "Content-Length: 3\r\n\r\nno\n");
  request.method = "HEAD";
  request.keep_alive = false;
  EXPECT_EQ(SerializeResponse(response, request),
            "HTTP/1.1 404 Not Found\r\nContent-Type: text/plain\r\nX-A: 1\r\n"
            "Content-Length: 3\r\nConnection: close\r\n\r\n");
  HttpRequest old = **ParseOne("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
  response = {.status = 204, .content_type = "", .headers = {}, .body = "ignored"};
  EXPECT_EQ(SerializeResponse(response, old),
            "HTTP/1.0 204 No Content\r\nConnection: keep-alive\r\n\r\n");
}

TEST(HttpResponse, HeadersCannotBeSplit) {
  HttpRequest request = **ParseOne("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
  HttpResponse response;
  response.headers = {{"X", "a\r\nSet-Cookie: b"}};
  EXPECT_THAT(SerializeResponse(response, request), HasSubstr("X: a  Set-Cookie: b\r\n"));
}

TEST(HttpResponse, ErrorsCloseTheConnection) {
  std::string text = SerializeError(HttpError::kBodyTooLarge);
  EXPECT_THAT(text, StartsWith("HTTP/1.1 413 Payload Too Large\r\n"));
  EXPECT_THAT(text, HasSubstr("Connection: close\r\n"));
  EXPECT_THAT(text, ::testing::EndsWith("\r\n\r\nbody too large\n"));
}

TEST(HttpResponse, AStreamHasNoLength) {
  HttpResponse response;
  response.content_type = "text/event-stream";
  response.body = ": hello\n\n";
  std::string text = SerializeStreamStart(response);
  EXPECT_THAT(text, Not(HasSubstr("Content-Length")));
  EXPECT_THAT(text, ::testing::EndsWith("Connection: close\r\n\r\n: hello\n\n"));
}

std::string Outcome(std::string_view bytes, bool eof = false, size_t bytes_max = 4096,
                    bool head = false) {
  HttpResponseParser parser(bytes_max, head);
  auto fed = parser.Feed(bytes);
  if (!fed) return std::string(ToString(fed.error()));
  if (!*fed) {
    if (!eof) return "needs more";
    auto end = parser.Eof();
    if (!end) return std::string(ToString(end.error()));
  }
  return std::to_string(parser.reply().status) + " " + parser.reply().body;
}

TEST(HttpResponseParser, ReadsEveryFraming) {
  EXPECT_EQ(Outcome("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok+more"), "200 ok");
  EXPECT_EQ(Outcome("HTTP/1.1 503 Busy\r\nTransfer-Encoding: chunked\r\n\r\n"
                    "3\r\nabc\r\n0\r\nTrailer: x\r\n\r\n"),
            "503 abc");
  EXPECT_EQ(Outcome("HTTP/1.0 200 OK\r\n\r\nuntil the end", true), "200 until the end");
  EXPECT_EQ(Outcome("HTTP/1.1 204 No Content\r\n\r\n"), "204 ");
  EXPECT_EQ(Outcome("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", false, 4096, true), "200 ");
  EXPECT_EQ(Outcome("HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n"), "not HTTP/1");
  EXPECT_EQ(Outcome("HTTP/1.1 200 \r\nContent-Length: 0\r\n\r\n"), "200 ");
}

TEST(HttpResponseParser, InterimResponsesAreSkipped) {
  EXPECT_EQ(Outcome("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"
                    "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"),
            "200 ok");
  std::string many;
  for (int i = 0; i < 9; ++i) many += "HTTP/1.1 100 Continue\r\n\r\n";
  EXPECT_EQ(Outcome(many), "response too large");
  EXPECT_EQ(Outcome("HTTP/1.1 101 Switching Protocols\r\n\r\n"), "not HTTP/1");
  EXPECT_EQ(Outcome("HTTP/1.1 100 Continue\r\n\r\n", true), "closed in the middle of a message");
}

TEST(HttpResponseParser, GarbageIsFoundOutByItsFirstBytes) {
  EXPECT_EQ(Outcome("S"), "not HTTP/1");
  EXPECT_EQ(Outcome("SSH-2.0-OpenSSH_9.2\r\n"), "not HTTP/1");
  EXPECT_EQ(Outcome("HTTP/2"), "not HTTP/1");
  EXPECT_EQ(Outcome("HTTP/1.1 2x0 OK\r\n\r\n"), "not HTTP/1");
  EXPECT_EQ(Outcome("HTTP/1.7 200 OK\r\n\r\n"), "HTTP version not supported");
  EXPECT_EQ(Outcome("HT"), "needs more");
  EXPECT_EQ(Outcome("HT", true), "closed in the middle of a message");
}

TEST(HttpResponseParser, ShortAndOverlongResponsesAreErrors) {
  EXPECT_EQ(Outcome("", true), "closed in the middle of a message");
  EXPECT_EQ(Outcome("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok", true),
            "closed in the middle of a message");
  EXPECT_EQ(Outcome("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n", true),
            "closed in the middle of a message");
  EXPECT_EQ(Outcome("HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n"), "response too large");
  EXPECT_EQ(Outcome("HTTP/1.0 200 OK\r\n\r\n" + std::string(5'000, 'x')), "response too large");
  EXPECT_EQ(Outcome("HTTP/1.1 200 OK\r\nX: " + std::string(5'000, 'x')), "response too large");
  EXPECT_EQ(Outcome("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n"), "ambiguous framing");
}

TEST(HttpResponseParser, OneByteAtATimeGivesTheSame) {
  HttpResponseParser parser;
  std::string bytes =
      "HTTP/1.1 200 OK\r\nX-A: b\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n";
  for (size_t i = 0; i < bytes.size(); ++i) {
    auto fed = parser.Feed({&bytes[i], 1});
    ASSERT_TRUE(fed);
    ASSERT_EQ(*fed, i + 1 == bytes.size());
  }
  EXPECT_EQ(parser.reply().body, "ok");
  EXPECT_EQ(parser.reply().Header("x-a"), "b");
}

TEST(HttpRequest, WhatTheClientWritesTheServerReads) {
  HttpClientRequest client{.method = "POST",
                           .target = "/api?x=1",
                           .host = "node:5280",
                           .headers = {{"Authorization", BasicAuthorization("u", "p")}},
                           .body = "{}"};
  auto result = ParseOne(SerializeRequest(client));
  ASSERT_TRUE(result && *result);
  EXPECT_EQ((*result)->path, "/api");
  EXPECT_EQ((*result)->Header("host"), "node:5280");
  EXPECT_EQ((*result)->Header("authorization"), "Basic dTpw");
  EXPECT_EQ((*result)->body, "{}");
  EXPECT_FALSE((*result)->keep_alive);
  client.target = "/a b\r\nX: y";
  EXPECT_THAT(SerializeRequest(client), StartsWith("POST /a_b__X:_y HTTP/1.1\r\n"));
}

TEST(HttpText, HeadersAreJudged) {
  EXPECT_TRUE(IsHttpHeader("X-Api-Key", "a b\tc"));
  EXPECT_FALSE(IsHttpHeader("X Y", "a"));
  EXPECT_FALSE(IsHttpHeader("", "a"));
  EXPECT_FALSE(IsHttpHeader("X", "a\r\nb"));
  EXPECT_TRUE(IsHttpToken("GET"));
  EXPECT_FALSE(IsHttpToken("GET /"));
}

TEST(HttpText, ConstantTimeEqualIsEquality) {
  EXPECT_TRUE(ConstantTimeEqual("", ""));
  EXPECT_TRUE(ConstantTimeEqual("secret", "secret"));
  EXPECT_FALSE(ConstantTimeEqual("secret", "secreT"));
  EXPECT_FALSE(ConstantTimeEqual("secret", "xecret"));
  EXPECT_FALSE(ConstantTimeEqual("secret", "secre"));
}

TEST(HttpText, EveryErrorHasAStatusAndWords) {
  for (auto error :
       {HttpError::kSyntax, HttpError::kHeaderTooLarge, HttpError::kBodyTooLarge,
        HttpError::kVersion, HttpError::kFraming, HttpError::kHost, HttpError::kTarget,
        HttpError::kPipelineTooLong, HttpError::kTruncated, HttpError::kResponseTooLarge}) {
    EXPECT_NE(ToString(error), "?");
    EXPECT_NE(ReasonOf(StatusOf(error)), "Unknown");
    EXPECT_GE(StatusOf(error), 400);
  }
  EXPECT_EQ(ReasonOf(299), "Unknown");
}

}  // namespace
}  // namespace net
