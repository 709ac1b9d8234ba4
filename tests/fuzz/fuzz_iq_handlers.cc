// Any payload of an IQ, to every handler there is: each answers once, in XML that can be read, and
// so is what it sends besides. The first byte says who asks, how, and how the store is.
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "net/base/check.h"
#include "net/base/clock.h"
#include "server/modules/modules.h"
#include "tests/server/modules/account_fake.h"
#include "tests/server/modules/store_fake.h"

namespace {

using namespace server;

constexpr int64_t kNowUs = 1'700'000'000'000'000;

void FillStore(StoreFake& store) {
  store.prefs.clear();
  store.privates.clear();
  const std::string user = "juliet@example.org";
  store.users[user].exists = true;
  store.lasts[user] = {.seconds = 5, .status = "<gone & away>"};
  store.vcards[user] = "<vCard xmlns='vcard-temp'><FN>J</FN></vCard>";
  store.privates[{user, "a", "b"}] = "<a xmlns='b'>kept</a>";
}

// Which no handler changes.
void FillArchive(StoreFake& store) {
  const std::string user = "juliet@example.org";
  for (uint64_t i = 1; i <= 9; ++i) {
    store.archive.push_back({.owner = user,
                             .peer = "romeo@example.org",
                             .id = i * 256,
                             .outgoing = i % 2 == 0,
                             .origin_id = {},
                             .xml = "<message><body>" + std::to_string(i) + "</body></message>",
                             .resource = "a"});
  }
}

std::optional<StoreError> ErrorOf(unsigned choice) {
  switch (choice) {
    case 0:
      return StoreError::kBusy;
    case 1:
      return StoreError::kUnknown;
    default:
      return std::nullopt;
  }
}

// What comes of it goes to `told`: all is read at once, a reader costs more than a handler.
void AskOne(const IqTable& table, StoreFake& store, uint8_t flags, const std::string& payload,
            IqTarget target, std::string_view name, std::string_view space, std::string& told) {
  const auto account = std::make_shared<AccountFake>("juliet@example.org");
  const SessionId session = account->Bind("balcony", true);
  account->seen_by = {"nurse@example.org"};
  const bool own = (flags & 2U) != 0;
  Parcel request{
      .kind = StanzaKind::kIq,
      .type = (flags & 1U) != 0 ? StanzaType::kSet : StanzaType::kGet,
      .traits = {},
      .from = Jid::Parse(own ? "juliet@example.org/balcony" : "nurse@example.org/a").value(),
      .to = Jid::Parse(target == IqTarget::kServer ? "example.org" : "juliet@example.org").value(),
      .id = "1",
      .lang = {},
      .content = std::make_shared<const std::string>(payload),
      .mark = {},
      .iq_name = std::string(name),
      .iq_space = std::string(space)};
  int answers = 0;
  (*table.Find(target, name, space))(IqCall(std::move(request), target, own ? session : SessionId{},
                                            account,
                                            [&answers, &told](StanzaType, std::string content) {
                                              ++answers;
                                              told += content;
                                            }));
  store.Run();
  CHECK(answers == 1);
  for (const std::string& xml : account->pushed) told += xml;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static StoreFake store;
  static net::ManualClock clock;
  static ModuleGround ground{.store = store,
                             .clock = clock,
                             .unix_us = [] { return kNowUs; },
                             .domains = {"example.org"},
                             // Keys take too long to be made here.
                             .aside = [](auto, auto done) { done(); }};
  static const IqTable& table = [] -> IqTable& {
    static IqTable all;
    AddModules(all, ground, {});
    FillArchive(store);
    return all;
  }();
  if (size == 0) return 0;
  const std::string payload(reinterpret_cast<const char*>(data) + 1, size - 1);
  clock.Advance(std::chrono::hours(1));  // what is limited by the hour is not, here
  store.error = ErrorOf(data[0] >> 2U & 7U);
  std::string told = "<all>";
  table.ForEach([&](IqTarget target, std::string_view name, std::string_view space) {
    FillStore(store);
    AskOne(table, store, data[0], payload, target, name, space, told);
  });
  CHECK(ParseStanza(told + "</all>", kClientSpace).has_value());
  return 0;
}
