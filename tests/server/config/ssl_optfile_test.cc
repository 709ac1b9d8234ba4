#include "server/config/ssl_optfile.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace server {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::Pair;

TEST(SslOptfileTest, IsReadAsErlangsOwnDocumentationHasIt) {
  const auto pairs = ParseSslOptfile(
      "%% of both directions\n"
      "[{server,\n"
      "  [{certfile, \"/path/to/server_cert.pem\"},\n"
      "   {keyfile, \"etc/\\\"odd\\\" key.pem\"},   % its own\n"
      "   {secure_renegotiate, true}]},\n"
      " {client, [{'cacertfile', \"ca.pem\"}, {verify, verify_peer}, {depth,3},\n"
      "           {ciphers, [\"A\", {a, 'b c', [1.5, -2]}]}]}].\n"
      "% the end\n");
  ASSERT_TRUE(pairs.has_value()) << pairs.error();
  EXPECT_THAT(*pairs,
              ElementsAre(Pair("server_certfile", "/path/to/server_cert.pem"),
                          Pair("server_keyfile", "etc/\"odd\" key.pem"),
                          Pair("server_secure_renegotiate", "true"),
                          Pair("client_cacertfile", "ca.pem"), Pair("client_verify", "verify_peer"),
                          Pair("client_depth", "3"), Pair("client_ciphers", "")));
}

TEST(SslOptfileTest, OneSideOrNoneMayBeThere) {
  EXPECT_EQ(ParseSslOptfile("[].")->size(), 0U);
  EXPECT_EQ(ParseSslOptfile("[{client, []}].")->size(), 0U);
}

TEST(SslOptfileTest, MistakesNameTheirLineAndWhatWasExpected) {
  const std::pair<const char*, const char*> kMistakes[] = {
      {"", "line 1: expected ["},
      {"[{server, [{certfile, \"a\"}]}]", "expected a full stop at the end"},
      {"[\n{servant, []}].", "line 2: expected {server, [...]} or {client, [...]}"},
      {"[{server,\n\n[{certfile \"a\"}]}].", "line 3: expected {option, value}"},
      {"[{server, [{certfile, \"a}]}].", "expected {option, value}"},
      {"[{server, [{certfile, \"a\"} {keyfile, \"b\"}]}].", "expected , or ]"},
      {"[{server, [a]}].", "expected {option, value}"},
      {"[]. more", "expected nothing behind the full stop"},
      {"[{server, [{x, \"\\", "expected {option, value}"},
  };
  for (const auto& [text, error] : kMistakes) {
    const auto pairs = ParseSslOptfile(text);
    ASSERT_FALSE(pairs.has_value()) << text;
    EXPECT_THAT(pairs.error(), HasSubstr(error)) << text;
  }
}

TEST(SslOptfileTest, DepthAndSizeAreBounded) {
  const std::string deep = "[{server, [{x, " + std::string(100'000, '[') + "}]}].";
  EXPECT_FALSE(ParseSslOptfile(deep.substr(0, 60'000)).has_value());
  EXPECT_THAT(ParseSslOptfile(deep).error(), HasSubstr("larger than"));
}

}  // namespace
}  // namespace server
