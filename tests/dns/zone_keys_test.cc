// Rollovers by the clock, each step checked with what a resolver may still have in its cache.
#include "dns/zone/zone_keys.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "dns/zone/successor.h"
#include "tests/dns/dns_fixture.h"

namespace dns {
namespace {

using test::N;
using test::QueryBuilder;
using test::World;
using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr uint32_t kNow = 1'700'000'000;
constexpr uint32_t kDay = 86'400;

ZoneKey Make(uint16_t flags, KeyTimes times) {
  return {std::make_shared<const SigningKey>(
              SigningKey::Generate(N("example.org."), Algorithm::kEd25519, flags)),
          times, "K" + std::to_string(flags)};
}

std::vector<uint16_t> Tags(const KeyList& keys) {
  std::vector<uint16_t> tags;
  for (const auto& key : keys) tags.push_back(key->tag());
  return tags;
}

TEST(ZoneKeysTest, OneKeyWithoutTimesDoesEverything) {
  ZoneKey key = Make(kFlagsSep, {});
  KeyState state = ZoneKeys({key}, 3600).At(kNow);
  for (const KeyList* list :
       {&state.published, &state.key_signers, &state.zone_signers, &state.synced}) {
    EXPECT_THAT(Tags(*list), ElementsAre(key.key->tag()));
  }
  EXPECT_FALSE(ZoneKeys({key}, 3600).NextChange(kNow).has_value());
  EXPECT_THAT(ZoneKeys({key}, 3600).Mistakes(kNow), IsEmpty());
}

TEST(ZoneKeysTest, AKskSignsTheKeysAndAZskTheRest) {
  ZoneKey ksk = Make(kFlagsSep, {});
  ZoneKey zsk = Make(kFlagsZsk, {});
  KeyState state = ZoneKeys({ksk, zsk}, 3600).At(kNow);
  EXPECT_THAT(Tags(state.published), ElementsAre(ksk.key->tag(), zsk.key->tag()));
  EXPECT_THAT(Tags(state.SignersOf(Type::kDnskey)), ElementsAre(ksk.key->tag()));
  EXPECT_THAT(Tags(state.SignersOf(Type::kCds)), ElementsAre(ksk.key->tag()));
  EXPECT_THAT(Tags(state.SignersOf(Type::kA)), ElementsAre(zsk.key->tag()));
  EXPECT_THAT(Tags(state.synced), ElementsAre(ksk.key->tag()));
}

// At each moment a resolver may hold a DNSKEY set as old as its TTL, signatures as old as the
// longest TTL, and the parent's DS as old as its. With each of them the zone must validate.
TEST(ZoneKeysTest, Case56EveryMomentOfARolloverValidatesWithWhatCachesMayHold) {
  constexpr uint32_t kTtl = 3600;
  Rollover plan = PlanRollover({}, true, kNow, kTtl, kDsTimeout);
  ZoneKey old_key = Make(kFlagsSep, plan.predecessor);
  ZoneKey new_key = Make(kFlagsSep, plan.successor);
  ZoneKeys keys({old_key, new_key}, kTtl);
  uint32_t end = *plan.predecessor.remove + kDay;
  auto has = [](const KeyList& list, const ZoneKey& key) {
    return std::ranges::find(list, key.key) != list.end();
  };
  for (uint32_t now = kNow - kDay; now < end; now += 600) {
    KeyState state = keys.At(now);
    ASSERT_TRUE(state.is_signed());
    // A cached DNSKEY set knows every key that signs now.
    for (const auto& signer : state.zone_signers) {
      KeyState cached = keys.At(now - kTtl);
      EXPECT_NE(std::ranges::find(cached.published, signer), cached.published.end()) << now;
    }
    // A cached signature is of a key that is still published.
    for (const auto& signer : keys.At(now - kTtl).zone_signers) {
      EXPECT_NE(std::ranges::find(state.published, signer), state.published.end()) << now;
    }
    // The parent follows CDS within the time-out, or not yet: both keys sign the DNSKEY set.
    for (uint32_t lag : {0u, kDay, kDsTimeout - 600}) {
      for (const auto& pointed : keys.At(now - lag).synced) {
        EXPECT_NE(std::ranges::find(state.key_signers, pointed), state.key_signers.end()) << now;
      }
    }
  }
  KeyState after = keys.At(end);
  EXPECT_FALSE(has(after.published, old_key));
  EXPECT_TRUE(has(after.zone_signers, new_key) && has(after.synced, new_key));
  EXPECT_EQ(keys.NextChange(kNow), *plan.successor.activate);
  EXPECT_THAT(keys.Describe(old_key, kNow), HasSubstr("in CDS"));
  EXPECT_THAT(keys.Describe(new_key, kNow), HasSubstr("published, signs DNSKEY"));
}

TEST(ZoneKeysTest, CdsOfANewKeyWaitsForTheDnskeysTtl) {
  ZoneKeys keys({Make(kFlagsSep, {}), Make(kFlagsSep, {.publish = kNow})}, 7200);
  EXPECT_EQ(keys.At(kNow + 7199).synced.size(), 1u);
  EXPECT_EQ(keys.At(kNow + 7200).synced.size(), 2u);
  EXPECT_EQ(keys.NextChange(kNow), kNow + 7200);
}

TEST(ZoneKeysTest, MistakesNameTheFile) {
  EXPECT_THAT(ZoneKeys({Make(kFlagsSep, {.activate = kNow + 1})}, 60).Mistakes(kNow),
              Contains(HasSubstr("no key that signs now")));
  EXPECT_THAT(
      ZoneKeys({Make(kFlagsSep, {}), Make(kFlagsSep, {.publish = kNow + 1})}, 60).Mistakes(kNow),
      Contains(HasSubstr("K257: should sign now")));
  ZoneKey key = Make(kFlagsSep, {});
  EXPECT_THAT(ZoneKeys({key, key}, 60).Mistakes(kNow), Contains(HasSubstr("has the tag of")));
}

TEST(ZoneKeysTest, TimesAreReadAsBindWritesThem) {
  auto times = ReadKeyTimes("Algorithm: 13\nPublish: 20231114221320\nDelete: 20231115000000\r\n");
  ASSERT_TRUE(times.has_value());
  EXPECT_EQ(times->publish, kNow);
  EXPECT_EQ(TimeText(kNow), "20231114221320");
  EXPECT_EQ(ReadKeyTimes(ToText(*times)), times);
  EXPECT_THAT(ReadKeyTimes("Inactive: tomorrow\n").error(), HasSubstr("Inactive"));
}

TEST(ZoneKeysTest, KeyFilesKeepFlagsAndTimesAndTheirMode) {
  std::string directory = testing::TempDir() + "/zone-keys-" + std::to_string(getpid());
  std::filesystem::create_directory(directory);
  SigningKey made = SigningKey::Generate(N("example.org."), Algorithm::kEcdsaP256Sha256, kFlagsZsk);
  auto path = made.Write(directory, ToText(KeyTimes{.publish = kNow}));
  ASSERT_TRUE(path.has_value());
  auto read = ZoneKey::FromFile(*path, N("example.org."));
  ASSERT_TRUE(read.has_value()) << read.error();
  EXPECT_EQ(read->key->dnskey(), made.dnskey());
  EXPECT_EQ(read->times, (KeyTimes{.publish = kNow}));
  EXPECT_EQ(WriteKeyTimes(*path, {.inactive = kNow + 5}), "");
  auto again = ZoneKey::FromFile(*path, N("example.org."));
  ASSERT_TRUE(again.has_value()) << again.error();
  EXPECT_EQ(again->times, (KeyTimes{.inactive = kNow + 5}));
  struct stat status;
  ASSERT_EQ(stat(path->c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0600u);
  std::filesystem::remove_all(directory);
}

TEST(ZoneKeysTest, ASuccessorIsMadeOnceAndTheOldKeyLearnsItsEnd) {
  std::string directory = testing::TempDir() + "/successor-" + std::to_string(getpid());
  std::filesystem::create_directory(directory);
  auto path = SigningKey::Generate(N("example.org."), Algorithm::kEd25519).Write(directory);
  ASSERT_TRUE(path.has_value());
  auto made = MakeSuccessor(*path, N("example.org."), kNow, 3600, kDsTimeout);
  ASSERT_TRUE(made.has_value()) << made.error();
  auto old_key = ZoneKey::FromFile(*path, N("example.org."));
  auto new_key = ZoneKey::FromFile(made->key.path, N("example.org."));
  ASSERT_TRUE(old_key.has_value() && new_key.has_value());
  EXPECT_EQ(old_key->times, made->plan.predecessor);
  EXPECT_EQ(new_key->times, made->plan.successor);
  EXPECT_EQ(old_key->times.inactive, new_key->times.activate);
  EXPECT_THAT(ZoneKeys({*old_key, *new_key}, 3600).Mistakes(kNow), IsEmpty());
  EXPECT_THAT(MakeSuccessor(*path, N("example.org."), kNow, 3600, kDsTimeout).error(),
              HasSubstr("has a successor"));
  std::filesystem::remove_all(directory);
}

std::unique_ptr<World> Signed(std::shared_ptr<const ZoneKeys> keys, std::string_view more = "") {
  auto world = std::make_unique<World>();
  world->config.rate_limit.per_second = 0;
  world->AddPool(test::MakePool(12));
  world->AddZone("example.org.", std::string(test::kZoneText) + std::string(more), std::move(keys));
  world->UsePool(0, "xmpp.example.org.");
  world->Build();
  return world;
}

TEST(RolledZoneTest, EverySetHasASignatureOfEachKeyThatSigns) {
  auto keys = std::make_shared<const ZoneKeys>(
      std::vector<ZoneKey>{Make(kFlagsSep, {}), Make(kFlagsSep, {})}, 1234);
  auto world = Signed(keys);
  auto signatures = [&](std::string name, Type type) {
    auto response = world->AskFor(QueryBuilder{.name = std::move(name),
                                               .type = static_cast<uint16_t>(type),
                                               .edns = true,
                                               .dnssec_ok = true},
                                  Transport::kTcp);
    return std::ranges::count(response.records, Type::kRrsig, &test::RecordView::type);
  };
  EXPECT_EQ(signatures("www.example.org.", Type::kA), 2);
  EXPECT_EQ(signatures("mail.example.org.", Type::kA), 2);
  EXPECT_EQ(signatures("xmpp.example.org.", Type::kA), 2);     // a drawn subset
  EXPECT_EQ(signatures("www.example.org.", Type::kTxt), 4);    // SOA and NSEC
  EXPECT_EQ(signatures("nowhere.example.org.", Type::kA), 4);  // signed when asked
  EXPECT_EQ(signatures("a.wild.example.org.", Type::kA), 2);   // likewise
  auto dnskey = world->AskFor("example.org.", Type::kDnskey);
  EXPECT_EQ(dnskey.Answers(Type::kDnskey).size(), 2u);
  EXPECT_EQ(dnskey.Answers(Type::kDnskey)[0].ttl, 1234u);
}

TEST(RolledZoneTest, DnskeysOfTheFileAreKeptBesideOurs) {
  auto keys = std::make_shared<const ZoneKeys>(std::vector<ZoneKey>{Make(kFlagsSep, {})}, 3600);
  SigningKey foreign = SigningKey::Generate(N("example.org."), Algorithm::kEd25519);
  std::string line = ToText(Record{N("example.org."), Type::kDnskey, 60, foreign.dnskey()}) + "\n";
  auto world = Signed(keys, line);
  auto answers = world->AskFor("example.org.", Type::kDnskey).Answers(Type::kDnskey);
  ASSERT_EQ(answers.size(), 2u);
  EXPECT_EQ(answers[0].rdata, foreign.dnskey());
}

TEST(RolledZoneTest, SignaturesOfAClockThatWasAheadAreMadeAnew) {
  SigningKey key = SigningKey::Generate(N("example.org."), Algorithm::kEd25519);
  SignatureStore store(14 * kDay, 3 * kDay);
  Rrset set{N("example.org."), Type::kA, 60, {{1, 2, 3, 4}}};
  store.Begin(kNow + 2 * kDay);
  Bytes ahead = store.Get(key, set);
  EXPECT_FALSE(store.IsStale(kNow + 2 * kDay));
  EXPECT_TRUE(store.IsStale(kNow));  // not good before tomorrow
  uint64_t round = store.Begin(kNow);
  Bytes now = store.Get(key, set);
  EXPECT_NE(ahead, now);
  EXPECT_LE(Get32(now.data() + 12), kNow);  // inception
  store.ForgetBefore(round);
  EXPECT_FALSE(store.IsStale(kNow));
}

}  // namespace
}  // namespace dns
