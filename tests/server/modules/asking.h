// Requests as XML in, answers as text out: all modules over an account, a store in maps and a clock
// that stands still.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "net/base/clock.h"
#include "server/modules/modules.h"
#include "tests/server/modules/account_fake.h"
#include "tests/server/modules/store_fake.h"

namespace server {

// Passes calls on, and counts them.
class StoreForward final : public StoreClient {
 public:
  explicit StoreForward(StoreClient* first) : to(first) {}
  StoreClient* to;
  size_t calls = 0;

  void Load(std::string user, Done<LoadedUser> done) override {
    Next().Load(std::move(user), std::move(done));
  }
  void Write(WriteBatch batch, Done<std::monostate> done) override {
    Next().Write(std::move(batch), std::move(done));
  }
  void Offline(std::string user, uint64_t after, uint32_t most, Done<OfflinePage> done) override {
    Next().Offline(std::move(user), after, most, std::move(done));
  }
  void Archive(ArchiveQuery query, Done<ArchivePage> done) override {
    Next().Archive(std::move(query), std::move(done));
  }
  void Vcard(std::string user, Done<std::string> done) override {
    Next().Vcard(std::move(user), std::move(done));
  }
  void Private(std::string user, std::string name, std::string space,
               Done<std::string> done) override {
    Next().Private(std::move(user), std::move(name), std::move(space), std::move(done));
  }
  void Last(std::string user, Done<LastActivity> done) override {
    Next().Last(std::move(user), std::move(done));
  }
  void ArchivePrefs(std::string user, Done<std::string> done) override {
    Next().ArchivePrefs(std::move(user), std::move(done));
  }
  void Accounts(std::string domain, std::string after, uint32_t most,
                Done<std::vector<std::string>> done) override {
    Next().Accounts(std::move(domain), std::move(after), most, std::move(done));
  }
  void CountAccounts(std::string domain, Done<uint64_t> done) override {
    Next().CountAccounts(std::move(domain), std::move(done));
  }
  void Room(std::string room, Done<StoredRoom> done) override {
    Next().Room(std::move(room), std::move(done));
  }
  void ListedRooms(std::string service, std::string after, uint32_t most,
                   Done<std::vector<RoomName>> done) override {
    Next().ListedRooms(std::move(service), std::move(after), most, std::move(done));
  }

 private:
  StoreClient& Next() {
    ++calls;
    return *to;
  }
};

class Asking : public ::testing::Test {
 protected:
  static constexpr int64_t kNowUs = 1'700'000'000'000'000;  // 2023-11-14T22:13:20Z

  StoreFake store;
  StoreForward forward{&store};
  net::ManualClock clock;
  int64_t now_us = kNowUs;
  ModuleGround ground{.store = forward,
                      .clock = clock,
                      .unix_us = [this] { return now_us; },
                      .domains = {"example.org"}};
  std::unique_ptr<IqTable> table = std::make_unique<IqTable>();
  std::shared_ptr<AccountFake> juliet = std::make_shared<AccountFake>("juliet@example.org");
  SessionId balcony = juliet->Bind("balcony", true);

  void Add(const ModulesOptions& options = {}) {
    table = std::make_unique<IqTable>();
    AddModules(*table, ground, options);
  }

  // What comes back: "result <…/>", "error cancel item-not-found", "nobody" (no handler).
  // `from` juliet@example.org/balcony is her session; `to` example.org is the server.
  std::string Ask(std::string_view from, std::string_view to, std::string_view type,
                  const std::string& xml) {
    auto answer = Begin(from, to, type, xml);
    Settle(*answer);
    return *answer;
  }
  std::string Own(std::string_view type, const std::string& xml) {
    return Ask("juliet@example.org/balcony", "juliet@example.org", type, xml);
  }

  // Until the answer is there.
  virtual void Settle(const std::string&) { store.Run(); }

  std::shared_ptr<std::string> Begin(std::string_view from, std::string_view to,
                                     std::string_view type, const std::string& xml) {
    auto told = std::make_shared<std::string>();
    const auto payload = ParseStanza(xml, kClientSpace);
    if (!payload) {
      *told = "the test's XML is none";
      return told;
    }
    Parcel parcel{.kind = StanzaKind::kIq,
                  .type = type == "set" ? StanzaType::kSet : StanzaType::kGet,
                  .from = Jid::Parse(from).value(),
                  .to = Jid::Parse(to).value(),
                  .id = "1",
                  .content = std::make_shared<const std::string>(xml),
                  .iq_name = std::string(payload->root().name()),
                  .iq_space = std::string(payload->root().space())};
    const IqTarget target = parcel.to.is_domain() ? IqTarget::kServer : IqTarget::kAccount;
    const IqHandler* handler = table->Find(target, parcel.iq_name, parcel.iq_space);
    if (handler == nullptr) {
      *told = "nobody";
      return told;
    }
    const bool own = parcel.from.Bare() == juliet->user();
    // As homes do it: a stranger who asks the server has a view, too.
    auto account = own || target == IqTarget::kAccount
                       ? juliet
                       : std::make_shared<AccountFake>(parcel.from.bare());
    (*handler)(IqCall(std::move(parcel), target, own ? balcony : SessionId{}, std::move(account),
                      [told](StanzaType kind, std::string content) {
                        EXPECT_EQ(*told, "") << "answered twice";
                        *told = Text(kind, content);
                      }));
    return told;
  }

  static std::string Text(StanzaType kind, const std::string& content) {
    const auto read = ParseStanza("<iq>" + content + "</iq>", kClientSpace);
    EXPECT_TRUE(read) << content;
    if (kind == StanzaType::kResult) return content.empty() ? "result" : "result " + content;
    const XmlElement error = read->root().Child("error", kClientSpace);
    EXPECT_TRUE(error) << content;
    return "error " + std::string(error.Attribute("type")) + " " +
           std::string(error.FirstChild().name());
  }
};

}  // namespace server
