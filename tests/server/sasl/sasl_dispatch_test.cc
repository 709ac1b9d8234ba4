#include "server/sasl/sasl_dispatch.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "net/base/base64.h"

namespace server {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;
using Next = SaslDispatch::Next;

constexpr uint32_t kIterations = 64;

SaslPolicy Policy() {
  return {.iterations = kIterations, .secret = "of decoys", .nonce = [] { return "servernonce"; }};
}

SaslChannel Secure() {
  return {.secure = true, .bindings = {.exporter = "exporter", .server_end_point = "end point"}};
}

SaslAccount Romeo() {
  SaslAccount account{.exists = true};
  for (const ScramHash hash : {ScramHash::kSha1, ScramHash::kSha256, ScramHash::kSha512}) {
    account.keys[static_cast<size_t>(hash)] = MakeScramKeys(hash, "juliet", "salt", kIterations);
  }
  return account;
}

std::string Plain(std::string_view authzid, std::string_view name, std::string_view password) {
  std::string text(authzid);
  text += '\0';
  text += name;
  text += '\0';
  text += password;
  return net::Base64Encode(text);
}

TEST(SaslDispatch, WhatAConnectionCanIsWhatItIsOffered) {
  SaslPolicy policy = Policy();
  EXPECT_THAT(SaslOffer(policy, {}, "here"),
              ElementsAre("SCRAM-SHA-512", "SCRAM-SHA-256", "SCRAM-SHA-1"));
  EXPECT_THAT(SaslOffer(policy, {.secure = true}, "here"),
              ElementsAre("SCRAM-SHA-512", "SCRAM-SHA-256", "SCRAM-SHA-1", "PLAIN"));
  SaslChannel channel = Secure();
  channel.xmpp_addrs = {"romeo@elsewhere", "here"};
  EXPECT_THAT(SaslOffer(policy, channel, "here"),
              ElementsAre("SCRAM-SHA-512-PLUS", "SCRAM-SHA-256-PLUS", "SCRAM-SHA-1-PLUS",
                          "SCRAM-SHA-512", "SCRAM-SHA-256", "SCRAM-SHA-1", "PLAIN"));
  channel.xmpp_addrs.emplace_back("Romeo@Here");
  policy.scram = {};
  policy.plain = false;
  EXPECT_THAT(SaslOffer(policy, channel, "here"), ElementsAre("EXTERNAL"));
}

TEST(SaslDispatch, WhatCanBeBoundToIsTold) {
  const SaslPolicy policy = Policy();
  EXPECT_THAT(SaslFeatures(policy, {.secure = true}, "here"), Not(HasSubstr("sasl-cb")));
  EXPECT_THAT(SaslFeatures(policy, Secure(), "here"),
              HasSubstr("<sasl-channel-binding xmlns='urn:xmpp:sasl-cb:0'>"
                        "<channel-binding type='tls-server-end-point'/>"
                        "<channel-binding type='tls-exporter'/></sasl-channel-binding>"));
  SaslChannel end_point = Secure();
  end_point.bindings.exporter.clear();
  EXPECT_THAT(SaslFeatures(policy, end_point, "here"), Not(HasSubstr("tls-exporter")));
}

struct PlainCase {
  std::string text;
  std::string failure;  // "" for success
};

class PlainTest : public ::testing::TestWithParam<PlainCase> {};

TEST_P(PlainTest, OnlyWhoKnowsThePasswordIsWhoHeSays) {
  const SaslPolicy policy = Policy();
  const SaslChannel channel = Secure();
  SaslDispatch sasl(policy, channel, "here");
  SaslDispatch::Step step = sasl.Begin("PLAIN", GetParam().text);
  if (step.next == Next::kLook) {
    const bool known = sasl.user()->full() == "romeo@here";
    step = sasl.Looked(known ? Romeo() : SaslAccount{});
    ASSERT_EQ(step.next, Next::kCheck);
    step = sasl.Checked(sasl.TakeCheck().Run());
  }
  EXPECT_EQ(step.next == Next::kSuccess ? "" : ToString(step.failure), GetParam().failure);
}

INSTANTIATE_TEST_SUITE_P(
    All, PlainTest,
    ::testing::Values(PlainCase{Plain("", "romeo", "juliet"), ""},
                      PlainCase{Plain("romeo@here", "romeo", "juliet"), ""},
                      PlainCase{Plain("Romeo@Here", "ROMEO@HERE", "juliet"), ""},
                      PlainCase{Plain("juliet@here", "romeo", "juliet"), "invalid-authzid"},
                      PlainCase{Plain("romeo@here/x", "romeo", "juliet"), "invalid-authzid"},
                      PlainCase{Plain("", "romeo", "Juliet"), "not-authorized"},
                      PlainCase{Plain("", "nobody", "juliet"), "not-authorized"},
                      PlainCase{Plain("", "romeo@elsewhere", "juliet"), "not-authorized"},
                      PlainCase{Plain("", "romeo", ""), "malformed-request"},
                      PlainCase{net::Base64Encode("romeo"), "malformed-request"},
                      PlainCase{Plain("", "romeo", std::string_view("juliet\0", 7)),
                                "malformed-request"},
                      PlainCase{"=", "malformed-request"}, PlainCase{"====", "incorrect-encoding"},
                      PlainCase{Plain("", "romeo", "juliet") + "\n", "incorrect-encoding"},
                      PlainCase{" ", "incorrect-encoding"}));

TEST(SaslDispatch, WithoutAnInitialResponseItIsAskedFor) {
  const SaslPolicy policy = Policy();
  const SaslChannel channel = Secure();
  SaslDispatch sasl(policy, channel, "here");
  const auto step = sasl.Begin("PLAIN", "");
  EXPECT_EQ(step.next, Next::kChallenge);
  EXPECT_EQ(step.data, "");
  EXPECT_EQ(sasl.Respond(Plain("", "romeo", "juliet")).next, Next::kLook);
}

TEST(SaslDispatch, WhatIsNotOfferedIsRefused) {
  const SaslPolicy policy = Policy();
  const SaslChannel clear;
  EXPECT_EQ(SaslDispatch(policy, clear, "here").Begin("PLAIN", "").failure,
            SaslFailure::kMechanismTooWeak);
  for (const char* other : {"SCRAM-SHA-1-PLUS", "EXTERNAL", "ANONYMOUS", "", "DIGEST-MD5"}) {
    EXPECT_EQ(SaslDispatch(policy, clear, "here").Begin(other, "").failure,
              SaslFailure::kInvalidMechanism);
  }
}

// The first message, then what an account makes of it.
std::string Challenge(const SaslChannel& channel, std::string_view mechanism,
                      std::string_view message, SaslAccount account,
                      std::string* failure = nullptr) {
  const SaslPolicy policy = Policy();
  SaslDispatch sasl(policy, channel, "here");
  auto step = sasl.Begin(mechanism, net::Base64Encode(message));
  if (step.next == Next::kLook) step = sasl.Looked(std::move(account));
  if (failure != nullptr) *failure = ToString(step.failure);
  return step.next == Next::kChallenge ? net::Base64Decode(step.data).value() : "";
}

TEST(SaslDispatch, AnAccountThatIsNotThereAnswersAsOneThatIs) {
  const std::string first = Challenge({}, "SCRAM-SHA-256", "n,,n=nobody,r=abc", {});
  EXPECT_THAT(first, HasSubstr("r=abcservernonce,s="));
  EXPECT_THAT(first, HasSubstr(",i=" + std::to_string(kIterations)));
  EXPECT_EQ(first, Challenge({}, "SCRAM-SHA-256", "n,,n=nobody,r=abc", {}));
  EXPECT_NE(first, Challenge({}, "SCRAM-SHA-256", "n,,n=nobody2,r=abc", {}));
}

TEST(SaslDispatch, DowngradesAndStrangersAreRefused) {
  std::string failure;
  // "y": the client can bind and saw no -PLUS, which was there.
  EXPECT_EQ(Challenge(Secure(), "SCRAM-SHA-1", "y,,n=romeo,r=abc", Romeo(), &failure), "");
  EXPECT_EQ(failure, "not-authorized");
  EXPECT_NE(Challenge({.secure = true}, "SCRAM-SHA-1", "y,,n=romeo,r=abc", Romeo()), "");
  EXPECT_EQ(Challenge({}, "SCRAM-SHA-1", "n,a=juliet@here,n=romeo,r=abc", Romeo(), &failure), "");
  EXPECT_EQ(failure, "invalid-authzid");
  EXPECT_NE(Challenge({}, "SCRAM-SHA-1", "n,a=romeo@here,n=romeo,r=abc", Romeo()), "");
}

struct ExternalCase {
  std::vector<std::string> names;
  std::string authzid;
  std::string user;  // "": refused
};

class ExternalTest : public ::testing::TestWithParam<ExternalCase> {};

TEST_P(ExternalTest, ACertificateStandsForTheAccountsThatItNames) {
  const SaslPolicy policy = Policy();
  SaslChannel channel = Secure();
  channel.xmpp_addrs = GetParam().names;
  SaslDispatch sasl(policy, channel, "here");
  const std::string text = net::Base64Encode(GetParam().authzid);
  auto step = sasl.Begin("EXTERNAL", text.empty() ? "=" : text);
  if (step.next == Next::kLook) step = sasl.Looked({.exists = true});
  EXPECT_EQ(step.next == Next::kSuccess ? sasl.user()->full() : "", GetParam().user);
}

INSTANTIATE_TEST_SUITE_P(
    All, ExternalTest,
    ::testing::Values(ExternalCase{{"romeo@here"}, "", "romeo@here"},
                      ExternalCase{{"romeo@here"}, "romeo@here", "romeo@here"},
                      ExternalCase{{"romeo@here"}, "admin@here", ""},
                      ExternalCase{{"romeo@here"}, "romeo@here/x", ""},
                      ExternalCase{{"romeo@here", "admin@here"}, "", ""},
                      ExternalCase{{"romeo@here", "admin@here"}, "admin@here", "admin@here"},
                      ExternalCase{{"romeo@elsewhere"}, "romeo@elsewhere", ""},
                      ExternalCase{{"here"}, "", ""}, ExternalCase{{}, "admin@here", ""}));

TEST(SaslDispatch, WhoIsBannedIsToldSoOnlyWhenHeHasShownWhoHeIs) {
  const SaslPolicy policy = Policy();
  const SaslChannel channel = Secure();
  for (const bool right : {true, false}) {
    SaslDispatch sasl(policy, channel, "here");
    ASSERT_EQ(sasl.Begin("PLAIN", Plain("", "romeo", right ? "juliet" : "x")).next, Next::kLook);
    SaslAccount account = Romeo();
    account.banned = true;
    ASSERT_EQ(sasl.Looked(account).next, Next::kCheck);
    const auto step = sasl.Checked(sasl.TakeCheck().Run());
    EXPECT_EQ(step.failure, right ? SaslFailure::kAccountDisabled : SaslFailure::kNotAuthorized);
    EXPECT_EQ(step.guess, !right);
  }
}

TEST(SaslDispatch, AStoreThatDoesNotAnswerIsNobodysFault) {
  const SaslPolicy policy = Policy();
  const SaslChannel channel = Secure();
  SaslDispatch sasl(policy, channel, "here");
  ASSERT_EQ(sasl.Begin("PLAIN", Plain("", "romeo", "juliet")).next, Next::kLook);
  const auto step = sasl.LookFailed();
  EXPECT_EQ(step.failure, SaslFailure::kTemporaryAuthFailure);
  EXPECT_FALSE(step.guess);
}

}  // namespace
}  // namespace server
