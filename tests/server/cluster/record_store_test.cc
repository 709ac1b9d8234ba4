#include "server/cluster/record_store.h"

#include <gtest/gtest.h>

#include <map>
#include <string>
#include <vector>

#include "server/cluster/limits.h"

namespace server {
namespace {

TEST(RecordStore, HoldsWhatAMapWouldHold) {
  RecordStore store({1, 2});
  std::map<std::pair<uint8_t, std::string>, std::string> truth;
  net::FastRandom random(5);
  for (int i = 0; i < 60'000; ++i) {
    const auto owner = static_cast<uint8_t>(random.Below(3));
    const std::string user = "u" + std::to_string(random.Below(900)) + "@h";
    const std::string key = user + "/r" + std::to_string(random.Below(3));
    RecordStore::Header* found = store.Find(owner, key);
    const auto it = truth.find({owner, key});
    ASSERT_EQ(found != nullptr, it != truth.end());
    if (found != nullptr) {
      ASSERT_EQ(found->value(), it->second);
      ASSERT_EQ(found->group(), user);
      store.Erase(found);
      truth.erase(it);
    } else {
      const std::string value(random.Below(200), static_cast<char>('a' + i % 26));
      store.Insert(owner, 0, key, user.size(), value, 1);
      truth[{owner, key}] = value;
    }
  }
  ASSERT_EQ(store.size(), truth.size());
  // By group, and by key over all owners.
  std::map<std::string, size_t> groups;
  std::map<std::string, size_t> keys;
  for (const auto& [id, value] : truth) {
    ++groups[id.second.substr(0, id.second.find('/'))];
    ++keys[id.second];
  }
  for (const auto& [group, count] : groups) {
    size_t seen = 0;
    store.ForEachOfGroup(group, [&](const RecordStore::Header&) { ++seen; });
    ASSERT_EQ(seen, count);
  }
  for (const auto& [key, count] : keys) {
    size_t seen = 0;
    store.ForEachOfKey(key, [&](const RecordStore::Header&) { ++seen; });
    ASSERT_EQ(seen, count);
  }
}

TEST(RecordStore, ACursorOverBucketsMissesNobodyWhoStaysWhileTheTableGrows) {
  for (uint64_t seed = 0; seed < 50; ++seed) {
    RecordStore store({seed, 2});
    net::FastRandom random(seed);
    const int stay = 50 + static_cast<int>(random.Below(500));
    for (int i = 0; i < stay; ++i) store.Insert(0, 0, "stay" + std::to_string(i), 0, "", 1);
    std::map<std::string, int> seen;
    int more = 0;
    for (size_t bucket = 0; bucket < store.buckets(); ++bucket) {
      store.ForEachOfBucket(bucket,
                            [&](const RecordStore::Header& r) { ++seen[std::string(r.key())]; });
      if (more < 2000) store.Insert(0, 0, "more" + std::to_string(more++), 0, "", 1);
    }
    for (int i = 0; i < stay; ++i) ASSERT_GE(seen["stay" + std::to_string(i)], 1) << seed;
  }
}

TEST(RecordStore, MemoryOfErasedRecordsIsUsedAgain) {
  RecordStore store({1, 2});
  const auto fill = [&store] {
    for (int i = 0; i < 10'000; ++i) {
      store.Insert(0, 0, "key" + std::to_string(i), 0, "0123456789", 1);
    }
  };
  fill();
  const size_t before = store.memory_bytes();
  for (int round = 0; round < 5; ++round) {
    for (int i = 0; i < 10'000; ++i) store.Erase(store.Find(0, "key" + std::to_string(i)));
    fill();
  }
  EXPECT_LE(store.memory_bytes(), before + before / 100);
}

// A session's record: full JID, and what a router needs to reach it.
TEST(RecordStore, ASessionCostsAtMost150BytesWithItsKeyAndValue) {
  RecordStore store({1, 2});
  constexpr int kSessions = 100'000;
  size_t payload = 0;
  for (int i = 0; i < kSessions; ++i) {
    const std::string bare = "user" + std::to_string(1'000'000 + i) + "@example.com";
    const std::string full = bare + "/phone-" + std::to_string(1'000 + i % 9'000);
    const std::string value(24, 'v');
    payload += full.size() + value.size();
    store.Insert(0, 0, full, bare.size(), value, 1'764'201'600'000);
  }
  const double each = static_cast<double>(store.memory_bytes()) / kSessions;
  RecordProperty("bytes_a_record", std::to_string(each));
  EXPECT_LE(each, 150) << "with " << payload / kSessions << " bytes of key and value";
  EXPECT_GE(each, 32 + static_cast<double>(payload) / kSessions) << "it counts all";
}

TEST(RecordStore, TheLargestRecordFits) {
  RecordStore store({1, 2});
  const std::string key(kKeyBytesMax, 'k');
  const std::string value(kValueBytesMax, 'v');
  for (int i = 0; i < 20; ++i) {
    store.Insert(static_cast<uint8_t>(i), 0, key, key.size(), value, 1);
  }
  size_t seen = 0;
  store.ForEachOfGroup(key, [&](const RecordStore::Header& r) { seen += r.value() == value; });
  EXPECT_EQ(seen, 20U);
}

TEST(Digest, DoesNotDependOnTheOrderAndTellsEveryFieldApart) {
  const Digest a = DigestOf("k1", "v1", 1, 0);
  const Digest b = DigestOf("k2", "v2", 2, 1);
  Digest ab = a;
  ab += b;
  Digest ba = b;
  ba += a;
  EXPECT_EQ(ab, ba);
  ab -= b;
  EXPECT_EQ(ab, a);
  EXPECT_NE(a, DigestOf("k2", "v1", 1, 0));
  EXPECT_NE(a, DigestOf("k1", "v2", 1, 0));
  EXPECT_NE(a, DigestOf("k1", "v1", 2, 0));
  EXPECT_NE(a, DigestOf("k1", "v1", 1, 1));
}

}  // namespace
}  // namespace server
