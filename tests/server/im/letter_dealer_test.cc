#include "server/im/letter_dealer.h"

#include <gtest/gtest.h>

#include <string>
#include <string_view>

namespace server {
namespace {

using Bytes = std::vector<uint8_t>;

constexpr size_t kWorkers = 4;

Jid UserOf(size_t worker) {
  for (int i = 0;; ++i) {
    std::string bare = "u" + std::to_string(i) + "@here";
    if (HomeHash(bare) % kWorkers == worker) return Jid::OfPrepared(std::move(bare));
  }
}

class Stream {
 public:
  Stream& Content(uint32_t number, const std::string& xml) {
    AppendLetter(bytes, ContentLetter{.number = number,
                                      .content = std::make_shared<const std::string>(xml)});
    return *this;
  }
  Stream& End() {
    AppendLetter(bytes, ContentEndLetter{});
    return *this;
  }
  Stream& Shared(size_t worker, uint32_t number) {
    AppendLetter(
        bytes, RouteLetter{.parcel = {.from = UserOf(0), .to = UserOf(worker)}, .content = number});
    return *this;
  }
  Stream& Settled(uint16_t worker) {
    AppendLetter(bytes, SettledLetter{.session = {.worker = worker, .life = 1}, .number = 1});
    return *this;
  }
  Bytes bytes;
};

// "c1 r1 r1 e s": contents and parcels by their numbers, ends, settled ones.
std::string Said(std::span<const uint8_t> share) {
  std::string said;
  while (const auto head = ReadLetterHead(share)) {
    const auto letter = ReadLetter(head->kind, share.subspan(kLetterHeadBytes, head->size), 1);
    share = share.subspan(kLetterHeadBytes + head->size);
    if (!said.empty()) said += ' ';
    if (!letter) {
      said += '?';
    } else if (const auto* content = std::get_if<ContentLetter>(&*letter)) {
      said += "c" + std::to_string(content->number);
    } else if (const auto* route = std::get_if<RouteLetter>(&*letter)) {
      said += "r" + std::to_string(route->content);
    } else {
      said += std::holds_alternative<ContentEndLetter>(*letter) ? 'e' : 's';
    }
  }
  EXPECT_TRUE(share.empty());
  return said;
}

using Shares = std::vector<std::string>;
Shares SaidTo(const LetterDealer::Dealt& dealt) {
  Shares said;
  for (const Bytes& share : dealt.by_worker) said.push_back(Said(share));
  return said;
}

TEST(LetterDealerTest, AContentReachesEveryWorkerThatGetsAParcelWithItsNumber) {
  Stream stream;
  stream.Settled(3).Content(1, "<body/>").Shared(0, 1).Shared(2, 1).Settled(1).Shared(0, 1).End();
  LetterDealer dealer;
  const auto dealt = dealer.Deal(stream.bytes, kWorkers);
  EXPECT_EQ(SaidTo(dealt), (Shares{"c1 r1 r1 e", "s", "c1 r1 e", "s"}));
  EXPECT_EQ(dealt.taken, stream.bytes.size());
  EXPECT_EQ(dealer.kept_bytes(), 0U);
}

TEST(LetterDealerTest, OfTwoContentsTheLastIsMeantAndWhoHasOneHearsOfTheEnd) {
  Stream stream;
  stream.Content(1, "<body/>").Shared(0, 1).Shared(1, 1).Content(2, "<b/>").Shared(1, 2).End();
  stream.Shared(0, 1);  // of a sender that is wrong
  LetterDealer dealer;
  EXPECT_EQ(SaidTo(dealer.Deal(stream.bytes, kWorkers)),
            (Shares{"c1 r1 e r1", "c1 r1 c2 r2 e", "", ""}));
}

// It comes in pieces: each letter goes out once it is whole, its content before it.
TEST(LetterDealerTest, HoweverTheStreamIsCutTheSharesAreTheSame) {
  Stream stream;
  stream.Content(1, std::string(100, 'x')).Shared(2, 1).Shared(1, 1).Settled(0).End();
  stream.Content(2, std::string(50, 'y')).Shared(2, 2).Shared(2, 2).End().Settled(2);
  for (size_t cut = 0; cut <= stream.bytes.size(); ++cut) {
    LetterDealer dealer;
    const auto first = dealer.Deal(std::span(stream.bytes).first(cut), kWorkers);
    EXPECT_LE(dealer.kept_bytes(), 200U);
    const auto second = dealer.Deal(std::span(stream.bytes).subspan(first.taken), kWorkers);
    EXPECT_EQ(first.taken + second.taken, stream.bytes.size());
    std::vector<Bytes> shares = first.by_worker;
    for (size_t worker = 0; worker < kWorkers; ++worker) {
      const Bytes& more = second.by_worker[worker];
      shares[worker].insert(shares[worker].end(), more.begin(), more.end());
    }
    EXPECT_EQ(SaidTo({.by_worker = shares}), (Shares{"s", "c1 r1 e", "c1 r1 e c2 r2 r2 e s", ""}))
        << cut;
    EXPECT_EQ(dealer.kept_bytes(), 0U);
  }
}

TEST(LetterDealerTest, NoMoreThanOneContentIsKeptHoweverManyCome) {
  LetterDealer dealer;
  for (uint32_t number = 1; number <= 1000; ++number) {
    Stream stream;
    dealer.Deal(stream.Content(number, std::string(1000, 'x')).bytes, kWorkers);
    EXPECT_EQ(dealer.kept_bytes(), stream.bytes.size());
  }
}

TEST(LetterDealerTest, ALetterThatIsTooLargeEndsTheStream) {
  Stream stream;
  stream.Settled(1);
  const size_t before = stream.bytes.size();
  stream.bytes.resize(before + kLetterHeadBytes, 0xff);
  LetterDealer dealer;
  const auto dealt = dealer.Deal(stream.bytes, kWorkers);
  EXPECT_EQ(dealt.taken, before);
  EXPECT_EQ(dealt.too_large, UINT32_MAX);
}

}  // namespace
}  // namespace server
