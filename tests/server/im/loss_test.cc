// Random days of a few users over homes, sessions that come, go and lose what they had, and a store
// that stalls and fails; then the books are opened: of each message that was counted or not,
// exactly one thing became. Seeds are printed; the same seed is the same day.
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "net/base/random.h"
#include "tests/server/im/world.h"

namespace server {
namespace {

constexpr int kUsers = 3;
constexpr int kDevices = 3;
constexpr int kSteps = 250;

struct Fate {
  std::string sender;  // client
  int taken = 0;
  int64_t taken_us = 0;  // first
  int bounced = 0;
  bool again = false;  // delivered, or sent back, when it was taken or sent back already
};

class Day {
 public:
  // Of some days what waits is read in pages; of some, few may wait.
  Day(uint64_t seed, bool direct)
      : random_(seed), world_(2, Limits(seed)), few_wait_(FewWait(seed)) {
    world_.direct = direct;
    if (seed % 3 != 0) world_.store.offline_at_once = 1 + static_cast<uint32_t>(seed % 3);
    for (int i = 0; i < kUsers; ++i) world_.Account(User(i));
    world_.on_delivered = [this](const auto&, const std::string& xml) {
      Fate* fate = FateOf(xml);
      if (fate != nullptr && fate->taken + fate->bounced > 0 && !AtOnce(*fate)) fate->again = true;
    };
    world_.on_taken = [this](const auto&, const std::string& xml) {
      Fate* fate = FateOf(xml);
      if (fate == nullptr) return;
      if (fate->taken++ == 0) fate->taken_us = world_.unix_us;
    };
    world_.on_routed = [this](const Parcel& parcel) {
      if (parcel.kind != StanzaKind::kMessage || parcel.type != StanzaType::kError) return;
      Fate& fate = fates_.at(parcel.id);
      fate.again |= fate.taken + fate.bounced > 0;
      ++fate.bounced;
    };
  }

  void Live() {
    for (int i = 0; i < kSteps; ++i) {
      Step();
      world_.unix_us += 1'000;
    }
    // The evening: the store is well, everybody goes, and each comes once more and takes all.
    world_.store.in_doubt.reset();
    world_.StoreIs("up");
    for (const std::string& client : Open()) world_.Lose(client);
    world_.Tick();
    for (int i = 0; i < kUsers; ++i) {
      const std::string last = User(i) + "/last";
      world_.Connect(last);
      world_.Send(last, "<presence/>");
    }
    world_.Run();
  }

  void Check() {
    for (const auto& [id, fate] : fates_) {
      SCOPED_TRACE("message " + id + " of " + fate.sender);
      EXPECT_TRUE(fate.taken > 0 || fate.bounced > 0 || (few_wait_ && Archived(id))) << "lost";
      EXPECT_LE(fate.bounced, 1);
      EXPECT_FALSE(fate.taken > 0 && fate.bounced > 0) << "delivered, and sent back";
      EXPECT_FALSE(fate.again) << "told again of what was settled";
    }
    world_.ForEachClient([](const World::Client& client) {
      EXPECT_EQ(client.settled.size(), client.sent) << client.full;
      EXPECT_EQ(client.settled_twice, 0) << client.full;
    });
    for (int i = 0; i < kUsers; ++i) {
      const auto& rows = world_.store.users[User(i) + "@a.example"];
      EXPECT_TRUE(rows.offline.empty()) << rows.offline.begin()->second.xml;
      EXPECT_EQ(world_.HomeOf(User(i) + "@a.example").tickets(), 0U);
    }
  }

  size_t messages() const { return fates_.size(); }

 private:
  static bool FewWait(uint64_t seed) { return seed % 5 == 0; }
  static HomeLimits Limits(uint64_t seed) {
    HomeLimits limits;
    if (FewWait(seed)) limits.offline_messages = 4;
    return limits;
  }
  // What its sessions left untaken, and has no place with what waits, is there.
  bool Archived(const std::string& id) {
    return std::ranges::any_of(world_.store.users, [&](const auto& user) {
      return std::ranges::any_of(user.second.archive, [&](const auto& entry) {
        return !entry.second.outgoing && entry.second.origin_id == id;
      });
    });
  }
  static std::string User(int i) { return "user" + std::to_string(i); }

  // Several sessions of one priority get a message in one go, the first of which may take it before
  // the next has it.
  bool AtOnce(const Fate& fate) const {
    return fate.bounced == 0 && world_.unix_us == fate.taken_us;
  }

  Fate* FateOf(const std::string& xml) {
    if (xml.find("urn:xmpp:carbons") != std::string::npos) return nullptr;
    if (xml.find("<body>") == std::string::npos) return nullptr;
    const size_t at = xml.find(" id='m");
    return &fates_.at(xml.substr(at + 5, xml.find('\'', at + 5) - at - 5));
  }

  std::vector<std::string> Open() {
    std::vector<std::string> open;
    for (const std::string& client : clients_) {
      // One that is not bound yet has nothing to say.
      if (world_.At(client).open && !world_.At(client).full.empty()) open.push_back(client);
    }
    return open;
  }

  void Connect() {
    const std::string client = User(static_cast<int>(random_.Below(kUsers))) + "/d" +
                               std::to_string(random_.Below(kDevices));
    if (world_.HasClient(client) && world_.At(client).open) return;
    world_.Connect(client);
    clients_.insert(client);
    if (random_.Below(2) == 0) world_.Hold(client);
    if (random_.Below(2) == 0 && !world_.At(client).full.empty()) {
      world_.Send(client, "<iq type='set' id='c'><enable xmlns='urn:xmpp:carbons:2'/></iq>");
    }
  }

  void SendMessage(const std::string& client) {
    std::string to = User(static_cast<int>(random_.Below(kUsers))) + "@a.example";
    if (random_.Below(3) == 0) to += "/d" + std::to_string(random_.Below(kDevices));
    const std::string id = "m" + std::to_string(fates_.size());
    fates_[id] = {.sender = client};
    const std::string hint = random_.Below(5) == 0 ? "<no-store xmlns='urn:xmpp:hints'/>" : "";
    world_.Send(client, "<message type='" + std::string(random_.Below(4) == 0 ? "normal" : "chat") +
                            "' id='" + id + "' to='" + to + "'><body>x</body>" + hint +
                            "</message>");
  }

  void Step() {
    const auto open = Open();
    const uint32_t what = random_.Below(100);
    if (open.empty() || what < 12) return Connect();
    const std::string& client = open[random_.Below(static_cast<uint32_t>(open.size()))];
    if (what < 25) {
      const int priority = static_cast<int>(random_.Below(4)) - 1;
      world_.Send(client,
                  "<presence><priority>" + std::to_string(priority) + "</priority></presence>");
    } else if (what < 28) {
      world_.Send(client, "<presence type='unavailable'/>");
    } else if (what < 38) {
      world_.Lose(client);
    } else if (what < 48) {
      world_.Take(client);
    } else if (what < 55) {
      world_.Hold(client);
    } else if (what < 58) {
      // Its connection goes, and may come back.
      random_.Below(2) == 0 ? world_.Detach(client) : world_.Attach(client);
    } else if (what < 64) {
      static const std::vector<std::string> kStates = {"up", "up", "up", "stalled", "down"};
      world_.store.in_doubt.reset();
      if (random_.Below(6) == 0) world_.store.in_doubt = random_.Below(2) == 0;
      world_.StoreIs(kStates[random_.Below(5)]);
    } else {
      SendMessage(client);
    }
  }

  net::FastRandom random_;
  World world_;
  const bool few_wait_;
  std::map<std::string, Fate> fates_;
  std::set<std::string> clients_;
};

TEST(Loss, NoMessageIsLostOrDoubledOnAnyDay) {
  size_t messages = 0;
  for (uint64_t seed = 1; seed <= 200; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    Day day(seed, seed % 2 == 0);
    day.Live();
    day.Check();
    messages += day.messages();
    if (testing::Test::HasFailure()) break;
  }
  EXPECT_GT(messages, 10'000U);
}

}  // namespace
}  // namespace server
