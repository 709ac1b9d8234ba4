#include "net/base/base64.h"

#include <gtest/gtest.h>

#include <string_view>
#include <utility>

namespace net {
namespace {

TEST(Base64, FollowsTheVectorsOfRfc4648) {
  std::vector<std::pair<std::string, std::string>> vectors = {{"", ""},
                                                              {"f", "Zg=="},
                                                              {"fo", "Zm8="},
                                                              {"foo", "Zm9v"},
                                                              {"foob", "Zm9vYg=="},
                                                              {"fooba", "Zm9vYmE="},
                                                              {"foobar", "Zm9vYmFy"},
                                                              {"\xff\xfe", "//4="}};
  for (const auto& [bytes, text] : vectors) EXPECT_EQ(Base64Encode(bytes), text);
}

TEST(Base64, OnlyTheOneWayOfWritingIsRead) {
  for (const std::string_view bytes : {"", "f", "fo", "foo", "foob", "fooba", "foobar"}) {
    EXPECT_EQ(Base64Decode(Base64Encode(bytes)), bytes);
  }
  EXPECT_EQ(Base64Encode("fooba"), "Zm9vYmE=");
  for (const std::string_view text : {"Zg", "Zg=", "Zg===", "Zh==", "Zm9=", " Zg==", "Zg==\n",
                                      "Z g==", "Zg==Zg==", "====", "Zm9v!"}) {
    EXPECT_EQ(Base64Decode(text), std::nullopt) << text;
  }
}

}  // namespace
}  // namespace net
