// What a session costs in its home: the slope of the heap over thousands of users.
#include <gtest/gtest.h>
#include <malloc.h>

#include <string>

#include "tests/server/im/world.h"

namespace server {
namespace {

// Takes everything and keeps nothing.
class Sink final : public SessionGate, public HomeGate, public StoreClient {
 public:
  void Bound(const SessionId&, const Jid&) override {}
  void BindFailed(const SessionId&, std::string) override { ++failed; }
  void Deliver(const SessionId&, Delivery) override { ++delivered; }
  void Settled(const SenderMark&) override {}
  void Close(const SessionId&, net::StreamError, std::string) override {}
  void Move(const SessionId&, const SessionId&, const Jid&) override {}
  void ResumeFailed(const SessionId&) override {}
  void Bind(BindRequest) override {}
  void Arrive(const SessionId&, const Jid&, Stanza, SenderMark) override {}
  void Changed(const SessionId&, const Jid&, SessionState) override {}
  void DeliveryEnded(const SessionId&, const Jid&, uint64_t, DeliveryEnd) override {}
  void Gone(const SessionId&, const Jid&) override {}
  void Resume(const SessionId&, const Jid&, uint64_t) override {}
  void Route(Parcel) override { ++routed; }
  void Load(std::string, Done<LoadedUser>) override {}
  void Write(WriteBatch, Done<std::monostate>) override {}
  void Offline(std::string, uint64_t, uint32_t, Done<OfflinePage>) override {}
  void Archive(ArchiveQuery, Done<ArchivePage>) override {}
  void Vcard(std::string, Done<std::string>) override {}
  void Private(std::string, std::string, std::string, Done<std::string>) override {}
  void Last(std::string, Done<LastActivity>) override {}
  void ArchivePrefs(std::string, Done<std::string>) override {}
  void Accounts(std::string, std::string, uint32_t, Done<std::vector<std::string>>) override {}
  void CountAccounts(std::string, Done<uint64_t>) override {}
  void Room(std::string, Done<StoredRoom>) override {}
  void ListedRooms(std::string, std::string, uint32_t, Done<std::vector<RoomName>>) override {}

  size_t delivered = 0;
  size_t routed = 0;
  size_t failed = 0;
};

std::shared_ptr<const LoadedUser> WithContacts(int number) {
  auto loaded = std::make_shared<LoadedUser>();
  loaded->exists = true;
  loaded->roster_version = 20;
  for (int i = 0; i < 20; ++i) {
    RosterItem item;
    item.jid = "user" + std::to_string(100'000 + (number * 7 + i) % 10'000) + "@a.example";
    item.name = "Somebody's name";
    item.groups = {"Friends"};
    item.subscription = Subscription::kBoth;
    loaded->roster.push_back(std::move(item));
  }
  return loaded;
}

// Available, 20 contacts, carbons, capabilities in its presence.
void Login(Home& home, int number) {
  const Jid user = *Jid::Parse("user" + std::to_string(100'000 + number) + "@a.example");
  const SessionId id{.worker = 0, .place = 0, .life = static_cast<uint64_t>(number) + 1};
  home.Bind({.session = id,
             .user = user,
             .resource = "",
             .loaded = WithContacts(number),
             .resumable = true,
             .address = "127.0.0.1",
             .secure = true});
  const auto send = [&](const std::string& xml) {
    home.Arrive(id, user, *ParseStanza(xml, kClientSpace), {});
  };
  send("<iq type='set' id='c'><enable xmlns='urn:xmpp:carbons:2'/></iq>");
  send("<iq type='get' id='r'><query xmlns='jabber:iq:roster'/></iq>");
  send(
      "<presence><c xmlns='http://jabber.org/protocol/caps' hash='sha-1' "
      "node='http://conversations.im' ver='QgayPKawpkPSDYmwT/WM94uAlu0='/></presence>");
}

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool kCounts = false;  // another allocator
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
constexpr bool kCounts = false;
#else
constexpr bool kCounts = true;
#endif
#else
constexpr bool kCounts = true;
#endif

TEST(HomeMemory, AvailableSessionWith20ContactsCostsLittle) {
  if (!kCounts) GTEST_SKIP() << "the sanitizer's allocator counts otherwise";
  constexpr int kFirst = 2'000;
  constexpr int kLast = 12'000;
  constexpr size_t kBytesMax = 1'200;
  Sink sink;
  net::ManualClock clock;
  const IqTable handlers;
  Home home(
      {.domains = {"a.example"}, .archive_ids = std::make_shared<ArchiveIds>(1), .limits = {}},
      sink, sink, sink, handlers, clock, [] { return 1'800'000'000'000'000; },
      [random = uint64_t{0}]() mutable { return random += 0x9e3779b97f4a7c15U; });
  const auto used = [&] {
    clock.Advance(std::chrono::minutes(1));
    home.Tick();
    return mallinfo2().uordblks;
  };
  for (int i = 0; i < kFirst; ++i) Login(home, i);
  const size_t before = used();
  for (int i = kFirst; i < kLast; ++i) Login(home, i);
  const size_t after = used();
  ASSERT_EQ(home.users(), static_cast<size_t>(kLast));
  EXPECT_EQ(sink.failed, 0U);
  EXPECT_EQ(sink.routed, kLast * 40U);  // presence and probes
  const size_t each = (after - before) / (kLast - kFirst);
  RecordProperty("bytes", std::to_string(each));
  std::cout << "bytes a session: " << each << "\n";
  EXPECT_LE(each, kBytesMax);
  EXPECT_GT(each, 200U);  // it is counted at all
}

}  // namespace
}  // namespace server
