#include "bench/load/xmpp/scram_client.h"

#include <gtest/gtest.h>

namespace bench {
namespace {

// RFC 5802 section 5.
TEST(ScramClient, SpeaksTheExampleOfSha1) {
  SaltedPasswords salted;
  ScramClient client(ScramHash::kSha1, "user", "fyko+d2lbbFgONRv9qkxdawL");
  EXPECT_EQ(client.First(), "n,,n=user,r=fyko+d2lbbFgONRv9qkxdawL");
  const auto final = client.Final(
      "r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,s=QSXCR+Q6sek8bf92,i=4096", "pencil", salted);
  ASSERT_TRUE(final.has_value()) << final.error();
  EXPECT_EQ(*final,
            "c=biws,r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,p=v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=");
  EXPECT_TRUE(client.Verify("v=rmF9pqV8S7suAoZWja4dJRkFsKQ="));
  EXPECT_FALSE(client.Verify("v=rmF9pqV8S7suAoZWja4dJRkFsKR="));
  EXPECT_FALSE(client.Verify("e=invalid-proof"));
}

// RFC 7677 section 3.
TEST(ScramClient, SpeaksTheExampleOfSha256) {
  SaltedPasswords salted;
  ScramClient client(ScramHash::kSha256, "user", "rOprNGfwEbeRWgbNEkqO");
  const auto final = client.Final(
      "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
      "pencil", salted);
  ASSERT_TRUE(final.has_value()) << final.error();
  EXPECT_EQ(*final,
            "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,"
            "p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=");
  EXPECT_TRUE(client.Verify("v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="));
}

TEST(ScramClient, SaltsAPasswordOnce) {
  SaltedPasswords salted;
  salted.Get(ScramHash::kSha1, "secret", "salt", 10);
  salted.Get(ScramHash::kSha1, "secret", "salt", 10);
  EXPECT_EQ(salted.Computed(), 1U);
  salted.Get(ScramHash::kSha256, "secret", "salt", 10);
  salted.Get(ScramHash::kSha1, "secret", "other", 10);
  salted.Get(ScramHash::kSha1, "secret", "salt", 11);
  salted.Get(ScramHash::kSha1, "other", "salt", 10);
  EXPECT_EQ(salted.Computed(), 5U);
}

TEST(ScramClient, RefusesServersThatDoNotContinueItsNonceOrAskForTooMuch) {
  SaltedPasswords salted;
  for (const char* first :
       {"r=other,s=QSXCR+Q6sek8bf92,i=4096", "r=abc,s=QSXCR+Q6sek8bf92,i=4096", "r=abcd,i=4096",
        "r=abcd,s=?,i=4096", "r=abcd,s=QSXCR+Q6sek8bf92,i=0", "r=abcd,s=QSXCR+Q6sek8bf92,i=1000001",
        "r=abcd,s=QSXCR+Q6sek8bf92,i=4x", ""}) {
    ScramClient client(ScramHash::kSha1, "user", "abc");
    EXPECT_FALSE(client.Final(first, "pencil", salted).has_value()) << first;
  }
  EXPECT_EQ(salted.Computed(), 0U);
}

TEST(ScramClient, EscapesNames) {
  EXPECT_EQ(ScramClient(ScramHash::kSha1, "a=b,c", "n").First(), "n,,n=a=3Db=2Cc,r=n");
}

TEST(Base64, GoesThereAndBack) {
  for (const std::string_view text : {"", "a", "ab", "abc", "abcd"}) {
    const auto back = FromBase64(Base64(text));
    ASSERT_TRUE(back.has_value());
    EXPECT_EQ(*back, text);
  }
  EXPECT_EQ(Base64("n,,"), "biws");
  EXPECT_FALSE(FromBase64("abc").has_value());
}

}  // namespace
}  // namespace bench
