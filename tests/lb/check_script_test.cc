#include "net/probe/check_script.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace lb {
namespace {

using ::testing::HasSubstr;

constexpr std::string_view kOpening =
    "<?xml version='1.0'?><stream:stream xmlns='jabber:client' "
    "xmlns:stream='http://etherx.jabber.org/streams' to='im.example' version='1.0'>";
constexpr std::string_view kAnswer =
    "<?xml version='1.0'?><stream:stream xmlns:stream='http://etherx.jabber.org/streams' "
    "xmlns='jabber:client' id='1' from='im.example' version='1.0'>";
constexpr std::string_view kFeatures =
    "<stream:features><starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'><required/></starttls>"
    "</stream:features>";

net::CheckSpec Xmpp() {
  net::CheckSpec spec;
  spec.type = net::CheckType::kXmpp;
  spec.to = "im.example";
  return spec;
}

net::CheckSpec GraphQl() {
  net::CheckSpec spec;
  spec.type = net::CheckType::kHttp;
  spec.method = "POST";
  spec.path = "/api/graphql";
  spec.body = R"({"query":"{server{status{statusCode message}}}"})";
  spec.user = "admin";
  spec.password = "secret";
  spec.expect_json = "data.server.status.statusCode";
  spec.expect_value = "RUNNING";
  return spec;
}

// The verdict on what a peer sends, in one piece and byte by byte: both must agree.
std::string Verdict(const net::CheckSpec& spec, std::string_view peer, bool closes = false) {
  std::string verdicts[2];
  for (int piecewise = 0; piecewise < 2; ++piecewise) {
    auto script = net::MakeCheckScript(spec, "192.0.2.1:5551");
    script->OnConnected();
    if (piecewise == 0) {
      script->OnData(peer);
    } else {
      for (char c : peer) script->OnData({&c, 1});
    }
    if (closes) script->OnClosed();
    switch (script->outcome()) {
      case net::CheckOutcome::kPending:
        verdicts[piecewise] = "pending";
        break;
      case net::CheckOutcome::kPassed:
        verdicts[piecewise] = "passed: " + script->why();
        break;
      case net::CheckOutcome::kFailed:
        verdicts[piecewise] = "failed: " + script->why();
        break;
    }
  }
  EXPECT_EQ(verdicts[0], verdicts[1]);
  return verdicts[0];
}

std::string Answer(int status, std::string_view body) {
  return "HTTP/1.1 " + std::to_string(status) + " X\r\nContent-Type: application/json\r\n" +
         "Content-Length: " + std::to_string(body.size()) + "\r\n\r\n" + std::string(body);
}

TEST(TcpCheckTest, PassesOnceConnectedAndTheFirstConclusionHolds) {
  net::CheckSpec spec;
  auto script = net::MakeCheckScript(spec, "192.0.2.1:1");
  EXPECT_EQ(script->outcome(), net::CheckOutcome::kPending);
  EXPECT_EQ(script->OnConnected(), "");
  EXPECT_EQ(script->outcome(), net::CheckOutcome::kPassed);
  script->Fail("too late");
  EXPECT_EQ(script->outcome(), net::CheckOutcome::kPassed);
  auto refused = net::MakeCheckScript(spec, "192.0.2.1:1");
  refused->Fail("connection refused");
  EXPECT_EQ(refused->outcome(), net::CheckOutcome::kFailed);
  EXPECT_EQ(refused->why(), "connection refused");
}

TEST(XmppCheckTest, SendsATimedOpeningAndEndsItsStream) {
  net::CheckSpec spec = Xmpp();
  auto script = net::MakeCheckScript(spec, "");
  EXPECT_EQ(script->OnConnected(), kOpening);
  EXPECT_EQ(script->Farewell(), "");
  script->OnData(kAnswer);
  EXPECT_EQ(script->Farewell(), "</stream:stream>");
}

TEST(XmppCheckTest, EscapesTheDomain) {
  net::CheckSpec spec = Xmpp();
  spec.to = "a'b<c&d";
  auto script = net::MakeCheckScript(spec, "");
  EXPECT_THAT(std::string(script->OnConnected()), HasSubstr("to='a&apos;b&lt;c&amp;d'"));
}

TEST(XmppCheckTest, PassesWhenFeaturesCame) {
  std::string good = std::string(kAnswer) + std::string(kFeatures);
  EXPECT_EQ(Verdict(Xmpp(), good), "passed: stream features came");
  EXPECT_EQ(Verdict(Xmpp(), good + "<more/> bytes"), "passed: stream features came");
  EXPECT_EQ(Verdict(Xmpp(), kAnswer), "pending");
  EXPECT_EQ(Verdict(Xmpp(), good.substr(0, good.size() - 1)), "pending");
  EXPECT_EQ(Verdict(Xmpp(), std::string(kAnswer) + "<stream:features/>"),
            "passed: stream features came");
  // Another prefix for the same namespace.
  EXPECT_EQ(
      Verdict(Xmpp(),
              "<s:stream xmlns:s='http://etherx.jabber.org/streams'><s:features></s:features>"),
      "passed: stream features came");
}

TEST(XmppCheckTest, AStreamErrorIsTheReason) {
  EXPECT_EQ(Verdict(Xmpp(), std::string(kAnswer) +
                                "<stream:error><host-unknown "
                                "xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error>"),
            "failed: stream error: host-unknown");
  EXPECT_EQ(Verdict(Xmpp(), std::string(kAnswer) + "<stream:error></stream:error>"),
            "failed: stream error without a condition");
}

TEST(XmppCheckTest, WhatIsNoXmppFailsAndSaysWhy) {
  EXPECT_THAT(Verdict(Xmpp(), "HTTP/1.1 400 Bad Request\r\n\r\n"), HasSubstr("failed: not XML"));
  EXPECT_EQ(Verdict(Xmpp(), "<html>"), "failed: opened with <html>, not with a stream");
  EXPECT_EQ(Verdict(Xmpp(), "<stream xmlns='jabber:client'>"),
            "failed: opened with <stream>, not with a stream");
  EXPECT_EQ(Verdict(Xmpp(), std::string(kAnswer) + "<message/>"),
            "failed: <message> came before <stream:features>");
  EXPECT_EQ(Verdict(Xmpp(), std::string(kAnswer) + "<features xmlns='other'/>"),
            "failed: <features> came before <stream:features>");
  EXPECT_EQ(Verdict(Xmpp(), "<!DOCTYPE a [<!ENTITY b 'c'>]><a/>"),
            "failed: a document type declaration in the stream");
  EXPECT_THAT(Verdict(Xmpp(), std::string(kAnswer) + "</wrong>"), HasSubstr("failed: not XML"));
}

TEST(XmppCheckTest, AClosedStreamFails) {
  EXPECT_EQ(Verdict(Xmpp(), "", true), "failed: closed before a stream was opened");
  EXPECT_EQ(Verdict(Xmpp(), kAnswer, true), "failed: closed before <stream:features>");
}

TEST(XmppCheckTest, EndlessBytesAreBounded) {
  std::string endless = std::string(kAnswer) + "<stream:features>";
  while (endless.size() <= net::kXmppCheckBytesMax) endless += "<mechanism/>";
  EXPECT_EQ(Verdict(Xmpp(), endless), "failed: no <stream:features> within 16384 bytes");
}

TEST(HttpCheckTest, AsksMongooseImWithBasicAuth) {
  net::CheckSpec spec = GraphQl();
  auto script = net::MakeCheckScript(spec, "192.0.2.1:5551");
  std::string request(script->OnConnected());
  EXPECT_THAT(request, HasSubstr("POST /api/graphql HTTP/1.1\r\n"));
  EXPECT_THAT(request, HasSubstr("Host: 192.0.2.1:5551\r\n"));
  EXPECT_THAT(request, HasSubstr("Authorization: Basic YWRtaW46c2VjcmV0\r\n"));
  EXPECT_THAT(request, HasSubstr("Content-Type: application/json\r\n"));
  EXPECT_THAT(request, HasSubstr("\r\n\r\n" + spec.body));
}

TEST(HttpCheckTest, HostAndHeadersAreTheConfigurations) {
  net::CheckSpec spec;
  spec.type = net::CheckType::kHttp;
  spec.host = "status.example";
  spec.headers = {{"X-Probe", "1"}};
  auto script = net::MakeCheckScript(spec, "192.0.2.1:80");
  std::string request(script->OnConnected());
  EXPECT_THAT(request, HasSubstr("GET / HTTP/1.1\r\n"));
  EXPECT_THAT(request, HasSubstr("Host: status.example\r\n"));
  EXPECT_THAT(request, HasSubstr("X-Probe: 1\r\n"));
}

TEST(HttpCheckTest, ExpectsTheValueInTheJson) {
  EXPECT_EQ(
      Verdict(GraphQl(), Answer(200, R"({"data":{"server":{"status":{"statusCode":"RUNNING"}}}})")),
      "passed: data.server.status.statusCode is \"RUNNING\"");
  EXPECT_EQ(Verdict(GraphQl(),
                    Answer(200, R"({"data":{"server":{"status":{"statusCode":"NOT_RUNNING"}}}})")),
            "failed: data.server.status.statusCode is \"NOT_RUNNING\", expected \"RUNNING\"");
  EXPECT_EQ(Verdict(GraphQl(), Answer(200, R"({"errors":[]})")), "failed: no 'data' in the answer");
  EXPECT_EQ(Verdict(GraphQl(), Answer(200, "<html>")), "failed: the answer is not JSON");
  EXPECT_EQ(Verdict(GraphQl(), Answer(401, "{}")), "failed: status 401, expected 200");
}

TEST(HttpCheckTest, ExpectsTheStatus) {
  net::CheckSpec spec;
  spec.type = net::CheckType::kHttp;
  spec.expect_status = 204;
  EXPECT_EQ(Verdict(spec, "HTTP/1.1 204 No Content\r\n\r\n"), "passed: status 204");
  EXPECT_EQ(Verdict(spec, Answer(200, "")), "failed: status 200, expected 204");
  EXPECT_EQ(Verdict(spec, "HTTP/1.0 204 X\r\n\r\n", true), "passed: status 204");
}

TEST(HttpCheckTest, GarbageAndTruncationFail) {
  net::CheckSpec spec;
  spec.type = net::CheckType::kHttp;
  EXPECT_THAT(Verdict(spec, "<stream:stream>"), HasSubstr("failed: the answer"));
  EXPECT_THAT(Verdict(spec, "", true), HasSubstr("failed: closed before the answer"));
  EXPECT_THAT(Verdict(spec, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc", true),
              HasSubstr("failed: closed before the answer"));
}

TEST(HttpCheckTest, AnEndlessAnswerIsBounded) {
  net::CheckSpec spec;
  spec.type = net::CheckType::kHttp;
  auto script = net::MakeCheckScript(spec, "a");
  script->OnConnected();
  script->OnData("HTTP/1.1 200 OK\r\n\r\n");
  std::string chunk(64 * 1024, 'x');
  int chunks = 0;
  while (script->outcome() == net::CheckOutcome::kPending && chunks < 100) {
    script->OnData(chunk);
    ++chunks;
  }
  EXPECT_EQ(script->outcome(), net::CheckOutcome::kFailed);
  EXPECT_LE(chunks, 5);
}

}  // namespace
}  // namespace lb
