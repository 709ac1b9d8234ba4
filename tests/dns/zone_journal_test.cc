// Differences from serial to serial: whoever applies them to what it had must have what a whole
// transfer would give it, signatures and all.
#include "dns/answer/zone_journal.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "dns/answer/random.h"
#include "dns/answer/zone_records.h"
#include "tests/dns/dns_fixture.h"

namespace dns {
namespace {

using test::N;
using Key = std::tuple<Name, Type, uint32_t, Bytes>;
using Records = std::multiset<Key>;

Key KeyOf(const Record& r) { return {r.owner, r.type, r.ttl, r.rdata}; }

class ZoneJournalTest : public testing::TestWithParam<bool> {
 protected:
  void SetUp() override {
    world_.AddPool(test::MakePool(3));
    std::shared_ptr<const SigningKey> key;
    if (GetParam()) {
      key = std::make_shared<const SigningKey>(
          SigningKey::Generate(N("example.org."), Algorithm::kEd25519));
    }
    world_.AddZone("example.org.", test::kZoneText, key);
    world_.UsePool(0, "xmpp.example.org.", {{"xmpp-client", 5222}});
    world_.Build();
    Change(0, {}, 1);
  }

  const Generation& generation() { return *world_.generation; }
  Records Whole() {
    Records out;
    ZoneRecords records(generation().contents[0], generation().zones[0], &world_.signatures);
    while (auto record = records.Next()) out.insert(KeyOf(*record));
    return out;
  }
  // Balancers of `down` are down, these challenges stand, and the serial goes to `serial`.
  void Change(unsigned down, std::vector<Record> overlay, uint32_t serial) {
    std::vector<BalancerLive> live(3);
    for (size_t i = 0; i < 3; ++i) {
      if ((down >> i & 1u) != 0) live[i].standing = Standing::kDown;
    }
    world_.views[0] = MakeView(world_.pools[0], live, world_.views[0]);
    world_.compiler->SetOverlay(std::move(overlay));
    world_.compiler->SetSerial(N("example.org."), serial);
    world_.generation =
        world_.compiler->Update(world_.views, 1, world_.now.unix_seconds, world_.signatures);
    journal_.Publish(generation().contents[0], generation().zones[0], world_.signatures);
  }
  static Record Txt(std::string_view owner, char token) {
    return {N(owner), Type::kTxt, 5, {1, static_cast<uint8_t>(token)}};
  }
  // What they have after these steps.
  static void Apply(const ZoneSteps& steps, size_t first, Records& records) {
    for (size_t i = first; i < steps.size(); ++i) {
      for (const Record& record : steps[i]->removed) {
        auto at = records.find(KeyOf(record));
        ASSERT_NE(at, records.end()) << record.owner.ToString() << TypeName(record.type);
        records.erase(at);
      }
      for (const Record& record : steps[i]->added) {
        ASSERT_FALSE(records.contains(KeyOf(record))) << record.owner.ToString();
        records.insert(KeyOf(record));
      }
    }
  }

  test::World world_;
  ZoneJournal journal_;
};
INSTANTIATE_TEST_SUITE_P(Zones, ZoneJournalTest, testing::Bool(),
                         [](const auto& test) { return test.param ? "Signed" : "Unsigned"; });

TEST_P(ZoneJournalTest, DifferencesLeadFromEverySerialToWhatAWholeTransferGives) {
  std::vector<Records> known = {Whole()};
  Random random(7);
  for (uint32_t serial = 2; serial < 40; ++serial) {
    std::vector<Record> overlay;
    // Their names would come into the chain of NSEC, which ends the journal of a signed zone.
    if (!GetParam() && random.Below(2) == 0) {
      overlay.push_back(Txt("_acme-challenge.example.org.", 'a'));
    }
    if (!GetParam() && random.Below(2) == 0) overlay.push_back(Txt("x.www.example.org.", 'b'));
    Change(static_cast<unsigned>(random.Below(7)), std::move(overlay), serial);
    known.push_back(Whole());
  }
  ZoneSteps steps = journal_.steps();
  ASSERT_EQ(steps.size(), 38u);
  for (uint32_t serial = 1; serial < 39; ++serial) {
    auto first = FirstStep(steps, serial);
    ASSERT_TRUE(first.has_value()) << serial;
    Records records = known[serial - 1];
    Apply(steps, *first, records);
    EXPECT_EQ(records, known.back()) << "from serial " << serial;
  }
  EXPECT_FALSE(FirstStep(steps, 39).has_value()) << "up to date";
  EXPECT_FALSE(FirstStep(steps, 4711).has_value());
}

TEST_P(ZoneJournalTest, ATypeThatComesToANameEndsTheJournalOfASignedZoneAlone) {
  Change(1, {}, 2);
  EXPECT_EQ(journal_.steps().size(), 1u);
  Change(1, {Txt("_acme-challenge.example.org.", 'a')}, 3);
  EXPECT_EQ(journal_.steps().size(), GetParam() ? 0u : 2u);
  Change(0, {Txt("_acme-challenge.example.org.", 'a')}, 4);
  EXPECT_EQ(journal_.steps().size(), GetParam() ? 1u : 3u) << "and it goes on behind that";
}

TEST_P(ZoneJournalTest, ItIsBoundedAndKeepsTheLastSteps) {
  for (uint32_t serial = 2; serial < 400; ++serial) Change(serial % 2, {}, serial);
  ZoneSteps steps = journal_.steps();
  EXPECT_LE(steps.size(), ZoneJournal::kStepsMax);
  EXPECT_GT(steps.size(), 50u);
  EXPECT_EQ(SoaSerial(steps.back()->to.rdata), 399u);
  EXPECT_EQ(SoaSerial(steps.back()->from.rdata), 398u);
}

TEST_P(ZoneJournalTest, AnotherBuildBeginsAnew) {
  Change(1, {}, 2);
  journal_.Reset();
  Change(0, {}, 3);
  EXPECT_TRUE(journal_.steps().empty());
  Change(1, {}, 4);
  EXPECT_EQ(journal_.steps().size(), 1u);
}

}  // namespace
}  // namespace dns
