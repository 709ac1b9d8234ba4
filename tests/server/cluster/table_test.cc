// One table at a node whose link is in the test's hand.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "server/cluster/replicated_table.h"

namespace server {
namespace {

using std::chrono::seconds;

class Recorder final : public TableLink {
 public:
  struct Sent {
    std::string node;
    std::vector<uint8_t> frame;
  };
  bool Send(const std::string& node, const FrameBody& body) override {
    if (full.contains(node)) return false;
    sent.push_back({node, EncodeFrame({}, body)});
    return true;
  }
  std::vector<std::string> SendToAll(const std::vector<std::string>& nodes,
                                     const FrameBody& body) override {
    std::vector<std::string> missed;
    for (const std::string& node : nodes) {
      if (!Send(node, body)) missed.push_back(node);
    }
    return missed;
  }
  void ConflictLost(uint32_t, std::string_view key, std::string_view, std::string_view) override {
    lost.emplace_back(key);
  }

  std::vector<Sent> sent;
  std::set<std::string> full;
  std::vector<std::string> lost;
};

struct Side {
  explicit Side(std::string node_name)
      : name(std::move(node_name)),
        table({.id = 1, .name = "session", .unique = true}, {}, name, 1, {3, 4}, link) {}
  std::string name;
  Recorder link;
  ReplicatedTable table;
};

const net::Time kNow{seconds(100)};

// What `from` sent to `to` arrives, in its order. False: nothing was under way.
bool Deliver(Side& from, Side& to, net::Time now = kNow) {
  const auto sent = std::exchange(from.link.sent, {});
  for (const Recorder::Sent& item : sent) {
    const auto frame = DecodeFrame(item.frame);
    if (const auto* f = std::get_if<SyncRequest>(&frame->body))
      to.table.OnSyncRequest(from.name, *f);
    if (const auto* f = std::get_if<SyncAck>(&frame->body)) to.table.OnSyncAck(from.name, *f);
    if (const auto* f = std::get_if<SyncChunk>(&frame->body)) {
      to.table.OnSyncChunk(from.name, *f, now);
    }
    if (const auto* f = std::get_if<Batch>(&frame->body)) to.table.OnBatch(from.name, *f, now);
  }
  return !sent.empty();
}

void Settle(Side& a, Side& b) {
  while (Deliver(a, b) || Deliver(b, a)) {
  }
}

void Follow(Side& follower, Side& owner) {
  follower.table.OwnerIn(owner.name, 1, kNow);
  Settle(follower, owner);
  ASSERT_TRUE(follower.table.whole());
}

size_t Count(ReplicatedTable& table) {
  size_t count = 0;
  table.ForEachRecord([&](const RecordView&) { ++count; });
  EXPECT_EQ(count, table.size());
  return count;
}

void Fill(Side& side, int count, std::string_view value = "v") {
  for (int i = 0; i < count; ++i) side.table.Put("k" + std::to_string(i), 0, value, 1);
}

TEST(ReplicatedTable, ACopyIsTakenInBoundedChunksEachAWordOfItsOwn) {
  Side a("a@h");
  Side b("b@h");
  Fill(a, 20'000, std::string(50, 'v'));
  b.table.OwnerIn("a@h", 1, kNow);
  size_t chunks = 0;
  while (Deliver(b, a)) {
    // One request or acknowledgement makes at most one chunk: a short piece of work.
    size_t now = 0;
    for (const auto& sent : a.link.sent) {
      now += std::holds_alternative<SyncChunk>(DecodeFrame(sent.frame)->body);
      EXPECT_LE(sent.frame.size(), kBatchBytesMax + 1024);
    }
    EXPECT_LE(now, 1U);
    chunks += now;
    Deliver(a, b);
  }
  EXPECT_GT(chunks, 15U);
  EXPECT_TRUE(b.table.whole());
  EXPECT_EQ(Count(b.table), 20'000U);
}

TEST(ReplicatedTable, ChangesDuringACopyAreNotLost) {
  Side a("a@h");
  Side b("b@h");
  Fill(a, 10'000);
  b.table.OwnerIn("a@h", 1, kNow);
  net::FastRandom random(1);
  while (Deliver(b, a)) {
    for (int i = 0; i < 50; ++i) {
      const std::string key = "k" + std::to_string(random.Below(12'000));
      if (random.Below(2) == 0) {
        a.table.Erase(key);
      } else {
        a.table.Put(key, 0, "new", 1);
      }
    }
    if (random.Below(2) == 0) a.table.Flush();
    Deliver(a, b);
  }
  a.table.Flush();
  Settle(a, b);
  EXPECT_EQ(b.table.repairs(), 0U);
  EXPECT_EQ(Count(b.table), a.table.size());
  a.table.OwnerIn("b@h", 1, kNow);
  Settle(a, b);
  EXPECT_EQ(a.table.digest(), b.table.digest());
}

TEST(ReplicatedTable, ALostBatchIsFoundAtTheNextAndRepairedWhileTheOldStaysReadable) {
  Side a("a@h");
  Side b("b@h");
  Fill(a, 3'000);
  Follow(b, a);
  a.table.Erase("k1");
  a.table.Flush();
  a.link.sent.clear();  // lost
  a.table.Put("more", 0, "", 1);
  a.table.Flush();
  Deliver(a, b);
  EXPECT_EQ(b.table.repairs(), 1U);
  EXPECT_FALSE(b.table.whole());
  EXPECT_EQ(Count(b.table), 3'000U) << "what it had";
  Deliver(b, a);
  Deliver(a, b);
  EXPECT_EQ(Count(b.table), 3'000U) << "while the first chunks replace it";
  Settle(b, a);
  EXPECT_TRUE(b.table.whole());
  EXPECT_EQ(Count(b.table), 3'000U);
  bool gone = true;
  b.table.ForEach("k1", [&](const RecordView&) { gone = false; });
  EXPECT_TRUE(gone);
}

TEST(ReplicatedTable, ADifferenceOfAnyCauseIsFoundByTheMark) {
  Side a("a@h");
  Side b("b@h");
  Fill(a, 10);
  Follow(b, a);
  TableMark mark = a.table.Mark();
  b.table.OnMark("a@h", mark, kNow);
  EXPECT_EQ(b.table.repairs(), 0U);
  mark.digest.a ^= 1;
  b.table.OnMark("a@h", mark, kNow);
  EXPECT_EQ(b.table.repairs(), 1U);
  Settle(b, a);
  EXPECT_TRUE(b.table.whole());
}

TEST(ReplicatedTable, ADeadOwnersRecordsAreGoneAtOnceAndFreedInSteps) {
  Side a("a@h");
  Side b("b@h");
  Fill(a, 30'000);
  Follow(b, a);
  const size_t memory = b.table.memory_bytes();
  b.table.OwnerOut("a@h");
  EXPECT_EQ(Count(b.table), 0U);
  bool seen = false;
  b.table.ForEach("k5", [&](const RecordView&) { seen = true; });
  EXPECT_FALSE(seen);
  for (int i = 0; i < 20; ++i) b.table.Tick(kNow);
  // Freed: another owner's records take the same memory.
  Fill(b, 30'000);
  EXPECT_LE(b.table.memory_bytes(), memory + memory / 50);
}

TEST(ReplicatedTable, AnotherLifeOfAnOwnerHasNoneOfTheRecordsOfTheOneBefore) {
  Side a("a@h");
  Side b("b@h");
  Fill(a, 10);
  Follow(b, a);
  b.table.OwnerIn("a@h", 2, kNow);
  EXPECT_EQ(Count(b.table), 0U);
  Side again("a@h");
  again.table.Put("one", 0, "", 1);
  b.link.sent.clear();
  b.table.Tick(kNow + seconds(6));  // the request is made again
  Settle(b, again);
  EXPECT_EQ(Count(b.table), 1U);
  std::set<uint64_t> lives;
  b.table.ForEachRecord([&](const RecordView& record) { lives.insert(record.incarnation); });
  EXPECT_EQ(lives, std::set<uint64_t>{2});
}

TEST(ReplicatedTable, AFullQueueCostsTheFollowerACopyAndTheOwnerNothing) {
  Side a("a@h");
  Side b("b@h");
  Follow(b, a);
  a.link.full.insert("b@h");
  Fill(a, 100);
  a.table.Flush();
  EXPECT_TRUE(a.link.sent.empty());
  a.link.full.clear();
  a.table.Put("later", 0, "", 1);
  a.table.Flush();
  EXPECT_TRUE(a.link.sent.empty()) << "it follows no more, until it asks";
  b.table.OnMark("a@h", a.table.Mark(), kNow);
  Settle(b, a);
  EXPECT_EQ(Count(b.table), 101U);
}

TEST(ReplicatedTable, ManyCopiesThatBreakOffLeaveNothingBehind) {
  Side a("a@h");
  Side b("b@h");
  Fill(a, 5'000);
  // More than there are generations, so one comes again.
  for (int i = 0; i < 700; ++i) {
    b.table.OwnerIn("a@h", 1, kNow);
    Deliver(b, a);
    Deliver(a, b);
    if (i % 3 == 0) {
      b.table.Refollow("a@h", kNow);
      Deliver(b, a);
      Deliver(a, b);
    }
    a.link.sent.clear();
    b.link.sent.clear();
    if (i % 7 == 0) b.table.Tick(kNow);
    b.table.OwnerOut("a@h");
    ASSERT_EQ(Count(b.table), 0U);
    a.table.Erase("k" + std::to_string(i));
  }
  Follow(b, a);
  EXPECT_EQ(Count(b.table), 4'300U);
}

TEST(ReplicatedTable, OfTwoOwnersOfAKeyTheLaterStaysOnBothSidesWhateverTheClocksSay) {
  Side a("a@h");
  Side b("b@h");
  a.table.Put("k", 0, "a", 500);
  b.table.Put("k", 0, "b", 500);
  Follow(b, a);
  Follow(a, b);
  Settle(a, b);
  b.table.Flush();
  a.table.Flush();
  Settle(a, b);
  EXPECT_EQ(a.link.lost, std::vector<std::string>{"k"}) << "of equal stamps the greater name stays";
  EXPECT_TRUE(b.link.lost.empty());
  // A login at a, whose clock is far behind.
  a.table.Put("k", 0, "a2", 3);
  a.table.Flush();
  Settle(a, b);
  b.table.Flush();
  Settle(b, a);
  EXPECT_EQ(b.link.lost, std::vector<std::string>{"k"});
  EXPECT_EQ(Count(a.table), 1U);
  EXPECT_EQ(Count(b.table), 1U);
}

TEST(ReplicatedTable, WhatIsBeyondTheBoundsIsRefused) {
  Side a("a@h");
  EXPECT_FALSE(a.table.Put("", 0, "", 1));
  EXPECT_FALSE(a.table.Put(std::string(kKeyBytesMax + 1, 'k'), 0, "", 1));
  EXPECT_FALSE(a.table.Put("k", 0, std::string(kValueBytesMax + 1, 'v'), 1));
  EXPECT_FALSE(a.table.Put("k", 2, "", 1));
  EXPECT_TRUE(a.table.Put(std::string(kKeyBytesMax, 'k'), 0, std::string(kValueBytesMax, 'v'), 1));
}

}  // namespace
}  // namespace server
