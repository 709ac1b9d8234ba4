// Contents that go to a node once (server/c2s/far_side_contents.cc).
#include <gtest/gtest.h>

#include <algorithm>
#include <initializer_list>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "tests/server/c2s/far_side_sim.h"

namespace server {
namespace {

// User 0 is at home on the second of two nodes, and what the first has for it is looked at.
class ManyParcels : public testing::Test {
 protected:
  using Content = std::shared_ptr<const std::string>;
  static constexpr auto kRoom = "room@rooms.example/nick";

  ManyParcels() : sim_(1, 2) {
    there_ = &sim_.Connect(1, 0, "r");
    sim_.Settle();
    sim_.Available(*there_);
    sim_.Settle();
  }
  static Content OfBytes(size_t bytes, char letter = 'x') {
    const std::string_view ends = "<body></body>";
    return std::make_shared<const std::string>("<body>" + std::string(bytes - ends.size(), letter) +
                                               "</body>");
  }
  FarSide& from() { return *sim_.nodes[0]->far; }
  FarSide& to() { return *sim_.nodes[1]->far; }
  NodeNumber number(int of, int at) { return sim_.nodes[Sim::At(at)]->numbers.at(of); }

  void Route(const Content& content, int copies = 1) {
    for (; copies > 0; --copies) {
      const std::string id = "m" + std::to_string(sim_.fates.size());
      sim_.fates[id] = {.sender = "room", .number = sim_.fates.size() + 1};
      from().Route(ChatOf(kRoom, UserName(0), id, content));
    }
  }
  std::vector<uint8_t> TakeMail(NodeNumber node) {
    for (NodeMail& mail : from().TakeMail()) {
      if (mail.node == node) return std::move(mail.letters);
    }
    return {};
  }
  void Read(std::span<const uint8_t> letters) {
    while (const auto head = ReadLetterHead(letters)) {
      to().OnMail(number(0, 1), head->kind, letters.subspan(kLetterHeadBytes, head->size));
      letters = letters.subspan(kLetterHeadBytes + head->size);
    }
  }
  // Each came once, in order.
  void ExpectAllTaken() {
    sim_.Settle();
    sim_.nodes[1]->Take(*there_);
    sim_.Settle();
    for (const auto& [id, fate] : sim_.fates) EXPECT_EQ(fate.taken, 1) << id;
    EXPECT_EQ(sim_.disordered, 0);
    EXPECT_EQ(from().routed(), 0U) << "not settled";
    EXPECT_EQ(to().counters().letters_malformed.load(), 0U);
  }
  static size_t Times(std::span<const uint8_t> letters, const std::string& text) {
    size_t times = 0;
    for (auto rest = letters;; ++times) {
      const auto found = std::ranges::search(rest, text);
      if (found.empty()) return times;
      rest = rest.subspan(static_cast<size_t>(found.end() - rest.begin()));
    }
  }

  Sim sim_;
  Sim::Client* there_ = nullptr;
};

TEST_F(ManyParcels, WithOneContentTakeItAlongOnceAndInOrder) {
  const Content content = OfBytes(1000);
  Route(content, 100);
  const auto letters = TakeMail(number(1, 0));
  // The first has it with it, and once it is by itself.
  EXPECT_EQ(Times(letters, *content), 2U);
  EXPECT_LT(letters.size(), 2 * content->size() + 100 * 150);
  Read(letters);
  ExpectAllTaken();
}

TEST_F(ManyParcels, OfSeveralContentsComeEachWithItsOwn) {
  const Content one = OfBytes(100, 'a'), two = OfBytes(100, 'b'), small = OfBytes(40);
  Route(one, 3);
  Route(small, 3);
  Route(one);
  Route(two, 3);
  Route(one, 3);
  const auto letters = TakeMail(number(1, 0));
  EXPECT_EQ(Times(letters, *one), 4U);
  EXPECT_EQ(Times(letters, *two), 2U);
  EXPECT_EQ(Times(letters, *small), 3U) << "it is not worth it";
  Read(letters);
  ExpectAllTaken();
}

TEST_F(ManyParcels, WithContentsOfTheirOwnAreWrittenAsBefore) {
  for (int i = 0; i < 10; ++i) Route(OfBytes(100));  // equal, and not the same
  const auto letters = TakeMail(number(1, 0));
  EXPECT_EQ(Times(letters, *OfBytes(100)), 10U);
  for (auto rest = std::span(letters); const auto head = ReadLetterHead(rest);) {
    EXPECT_EQ(head->kind, LetterKind::kRoute);
    rest = rest.subspan(kLetterHeadBytes + head->size);
  }
  Read(letters);
  ExpectAllTaken();
}

TEST_F(ManyParcels, ToANodeOfBeforeAreWhole) {
  from().NodeUp(number(1, 0), Sim::Node::Name(1), kLettersWithSharedContents - 1);
  const Content content = OfBytes(1000);
  Route(content, 10);
  const auto letters = TakeMail(number(1, 0));
  EXPECT_EQ(Times(letters, *content), 10U);
  Read(letters);
  ExpectAllTaken();
}

TEST_F(ManyParcels, OfTheNextMailSayTheirContentAnew) {
  const Content content = OfBytes(1000);
  for (int mail = 0; mail < 3; ++mail) {
    Route(content, 3);
    const auto letters = TakeMail(number(1, 0));
    EXPECT_EQ(Times(letters, *content), 2U);
    Read(letters);
  }
  EXPECT_EQ(content.use_count(), 1 + 9) << "held by what is not settled alone";
  ExpectAllTaken();
  EXPECT_EQ(content.use_count(), 1);
}

// Of what another mail, or nobody, has said nothing is given to a parcel.
TEST_F(ManyParcels, WithANumberThatDoesNotCountAreDroppedAndCounted) {
  const auto heard = [this](std::initializer_list<Letter> letters) {
    std::vector<uint8_t> bytes;
    for (const Letter& letter : letters) AppendLetter(bytes, letter);
    Read(bytes);
    return to().counters().letters_malformed.load();
  };
  const auto parcel = [&](uint32_t content) {
    const std::string id = "m" + std::to_string(sim_.fates.size());
    sim_.fates[id] = {.sender = "room", .number = sim_.fates.size() + 1};
    return RouteLetter{
        .parcel = ChatOf(kRoom, UserName(0), id, nullptr), .hops = 1, .content = content};
  };
  const Content content = OfBytes(100);
  EXPECT_EQ(heard({parcel(7)}), 1U) << "nothing was said";
  EXPECT_EQ(heard({ContentLetter{7, {}, content}, parcel(7), parcel(8)}), 2U);
  EXPECT_EQ(heard({ContentLetter{8, {}, content}, parcel(7), parcel(8)}), 3U)
      << "it is another now";
  EXPECT_EQ(heard({ContentEndLetter{}, parcel(8)}), 4U) << "it is over";
  EXPECT_EQ(content.use_count(), 1);
  sim_.Settle();
  sim_.nodes[1]->Take(*there_);
  const auto taken = [this](int message) {
    return sim_.fates.at("m" + std::to_string(message)).taken;
  };
  EXPECT_EQ(taken(1) + taken(4), 2);
  EXPECT_EQ(taken(0) + taken(2) + taken(3) + taken(5), 0);
}

}  // namespace
}  // namespace server
