// Tickets: what was sealed comes back, and nothing that was altered, cut, or of another key.
#include "net/tls/context/tls_ticket_sealer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "net/base/check.h"
#include "tests/net/tls_test_peer.h"

namespace net {
namespace {

constexpr TlsSuite kSuites[] = {TlsSuite::kAes128GcmSha256, TlsSuite::kAes256GcmSha384,
                                TlsSuite::kChaCha20Poly1305Sha256};
constexpr std::array<uint8_t, 12> kNonce = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12};

class TlsTicketSealerTest : public testing::Test {
 protected:
  TlsTicketSealerTest() { CHECK(sealer_.ok()); }
  static TlsTicket Ticket(TlsSuite suite) {
    TlsTicket ticket{.suite = suite, .signer = 3, .issued = 0x0123456789abcdef};
    for (size_t i = 0; i < ticket.site.size(); ++i) ticket.site[i] = static_cast<uint8_t>(i);
    for (size_t i = 0; i < TlsSecretBytes(suite); ++i) {
      ticket.psk[i] = static_cast<uint8_t>(200 + i);
    }
    return ticket;
  }
  Bytes Seal(const TlsTicket& ticket, const std::array<uint8_t, 12>& nonce = kNonce) {
    std::array<uint8_t, kTlsTicketBytesMax> out;
    const size_t size = sealer_.Seal(*keys_->set(), ticket, nonce, out);
    CHECK(size > 0 && size <= out.size());
    return Bytes(out.begin(), out.begin() + static_cast<long>(size));
  }
  // In memory of its exact size, so that ASan sees its end.
  std::optional<TlsTicket> Open(const Bytes& sealed) {
    const std::unique_ptr<uint8_t[]> exact(new uint8_t[sealed.size()]);
    std::ranges::copy(sealed, exact.get());
    return sealer_.Open(*keys_->set(), {exact.get(), sealed.size()});
  }

  std::shared_ptr<TlsTicketKeys> keys_ = TlsTicketKeys::Random();
  TlsTicketSealer sealer_;
};

TEST_F(TlsTicketSealerTest, WhatWasSealedComesBack) {
  for (const TlsSuite suite : kSuites) {
    const TlsTicket ticket = Ticket(suite);
    const Bytes sealed = Seal(ticket);
    EXPECT_EQ(sealed.size(), 16 + 12 + 3 + 8 + 32 + TlsSecretBytes(suite) + 16);
    const auto opened = Open(sealed);
    ASSERT_TRUE(opened.has_value()) << ToString(suite);
    EXPECT_EQ(opened->suite, suite);
    EXPECT_EQ(opened->signer, ticket.signer);
    EXPECT_EQ(opened->issued, ticket.issued);
    EXPECT_EQ(opened->site, ticket.site);
    EXPECT_EQ(opened->psk, ticket.psk);
  }
}

TEST_F(TlsTicketSealerTest, TimesBefore1970ComeBackToo) {
  TlsTicket ticket = Ticket(TlsSuite::kAes128GcmSha256);
  ticket.issued = -2;
  EXPECT_EQ(Open(Seal(ticket))->issued, -2);
}

TEST_F(TlsTicketSealerTest, NothingOfTheContentCanBeSeen) {
  const TlsTicket ticket = Ticket(TlsSuite::kAes256GcmSha384);
  const Bytes sealed = Seal(ticket);
  EXPECT_TRUE(std::ranges::search(sealed, std::span(ticket.psk).first(8)).empty());
  EXPECT_TRUE(std::ranges::search(sealed, std::span(ticket.site).first(8)).empty());
  std::array<uint8_t, 12> other = kNonce;
  ++other[0];
  const Bytes again = Seal(ticket, other);
  const auto differing = std::ranges::mismatch(sealed, again).in1 - sealed.begin();
  EXPECT_EQ(differing, 16) << "the key's name is the same, all else is not";
}

TEST_F(TlsTicketSealerTest, NeitherNameNorKeyIsThatOfOpenSslsTickets) {
  const auto set = keys_->set();
  std::set<Bytes> names;
  for (size_t i = 0; i < set->keys.size(); ++i) {
    names.insert(Bytes(set->keys[i].name.begin(), set->keys[i].name.end()));
    names.insert(Bytes(set->seals[i].name.begin(), set->seals[i].name.end()));
    EXPECT_NE(set->seals[i].key, set->keys[i].aes);
    EXPECT_NE(set->seals[i].key, set->keys[i].hmac);
  }
  EXPECT_EQ(names.size(), 6u);
}

TEST_F(TlsTicketSealerTest, NoFlippedBitIsAccepted) {
  for (const TlsSuite suite : kSuites) {
    const Bytes sealed = Seal(Ticket(suite));
    for (size_t at = 0; at < sealed.size(); ++at) {
      for (unsigned bit = 0; bit < 8; ++bit) {
        Bytes altered = sealed;
        altered[at] ^= static_cast<uint8_t>(1u << bit);
        EXPECT_FALSE(Open(altered).has_value()) << at << " " << bit;
      }
    }
    EXPECT_TRUE(Open(sealed).has_value()) << "and the genuine one still is";
  }
}

TEST_F(TlsTicketSealerTest, NoOtherLengthIsAccepted) {
  for (const TlsSuite suite : kSuites) {
    const Bytes sealed = Seal(Ticket(suite));
    for (size_t size = 0; size < sealed.size(); ++size) {
      EXPECT_FALSE(Open(Bytes(sealed.begin(), sealed.begin() + static_cast<long>(size))));
      EXPECT_FALSE(Open(Bytes(sealed.end() - static_cast<long>(size), sealed.end())));
    }
    Bytes longer = sealed;
    for (size_t more = 1; more < 100; ++more) {
      longer.push_back(0);
      EXPECT_FALSE(Open(longer).has_value()) << more;
    }
  }
  EXPECT_FALSE(Open(Bytes(65'535, 1)).has_value());
}

TEST_F(TlsTicketSealerTest, KeysAreKnownUntilTheirSecondRotation) {
  const Bytes sealed = Seal(Ticket(TlsSuite::kAes128GcmSha256));
  keys_->Rotate();
  EXPECT_TRUE(Open(sealed).has_value());
  const Bytes newer = Seal(Ticket(TlsSuite::kAes128GcmSha256));
  keys_->Rotate();
  EXPECT_FALSE(Open(sealed).has_value());
  EXPECT_TRUE(Open(newer).has_value());
}

TEST_F(TlsTicketSealerTest, OfOtherKeysNothingIsAcceptedEvenUnderTheirName) {
  const Bytes sealed = Seal(Ticket(TlsSuite::kAes128GcmSha256));
  const auto old = keys_->set();
  keys_ = TlsTicketKeys::Random();
  EXPECT_FALSE(Open(sealed).has_value());
  Bytes renamed = sealed;
  std::ranges::copy(keys_->set()->seals[TlsTicketKeySet::kCurrent].name, renamed.begin());
  EXPECT_FALSE(Open(renamed).has_value());
  EXPECT_TRUE(sealer_.Open(*old, sealed).has_value());
}

TEST_F(TlsTicketSealerTest, AnyWorkersSealerOpensWhatAnotherSealed) {
  const Bytes sealed = Seal(Ticket(TlsSuite::kAes256GcmSha384));
  TlsTicketSealer other;
  EXPECT_TRUE(other.Open(*keys_->set(), sealed).has_value());
}

TEST_F(TlsTicketSealerTest, AfterKeysWereForgottenItWorksOn) {
  sealer_.ForgetKeys();
  const Bytes sealed = Seal(Ticket(TlsSuite::kAes128GcmSha256));
  sealer_.ForgetKeys();
  sealer_.ForgetKeys();
  EXPECT_TRUE(Open(sealed).has_value());
  Bytes altered = sealed;
  altered.back() ^= 1;
  EXPECT_FALSE(Open(altered).has_value());
  EXPECT_TRUE(Open(sealed).has_value());
  EXPECT_EQ(Seal(Ticket(TlsSuite::kAes128GcmSha256)), sealed);
}

}  // namespace
}  // namespace net
