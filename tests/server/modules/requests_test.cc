// A row is a request and its answer.
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "tests/server/modules/asking.h"

namespace server {
namespace {

struct Row {
  std::string_view from;
  std::string_view to;
  std::string_view type;
  std::string xml;
  std::string answer;
};

constexpr std::string_view kJuliet = "juliet@example.org/balcony";
constexpr std::string_view kHer = "juliet@example.org";
constexpr std::string_view kFriend = "nurse@example.org/hall";
constexpr std::string_view kStranger = "romeo@elsewhere.example/garden";
constexpr std::string_view kServer = "example.org";

constexpr std::string_view kRefused = "error cancel service-unavailable";

class Requests : public Asking {
 protected:
  Requests() {
    juliet->seen_by = {"nurse@example.org"};
    Add();
  }
  void Check(const std::vector<Row>& rows) {
    for (const Row& row : rows) {
      EXPECT_EQ(Ask(row.from, row.to, row.type, row.xml), row.answer)
          << row.from << " to " << row.to << ": " << row.type << " " << row.xml;
    }
  }
};

TEST_F(Requests, Ping) {
  const std::string ping = "<ping xmlns='urn:xmpp:ping'/>";
  Check({{kJuliet, kServer, "get", ping, "result"},
         {kStranger, kServer, "get", ping, "result"},
         {kJuliet, kHer, "get", ping, "result"},
         {kFriend, kHer, "get", ping, "result"},
         {kStranger, kHer, "get", ping, std::string(kRefused)},
         {kJuliet, kServer, "set", ping, "error cancel not-allowed"}});
}

TEST_F(Requests, WhoIsBlockedIsToldNothing) {
  juliet->blocked = {"nurse@example.org"};
  store.vcards["juliet@example.org"] = "<vCard xmlns='vcard-temp'><FN>Juliet</FN></vCard>";
  Check({{kFriend, kHer, "get", "<ping xmlns='urn:xmpp:ping'/>", std::string(kRefused)},
         {kFriend, kHer, "get", "<vCard xmlns='vcard-temp'/>", std::string(kRefused)},
         {kFriend, kHer, "get", "<query xmlns='jabber:iq:last'/>", std::string(kRefused)},
         {kFriend, kHer, "get", "<query xmlns='http://jabber.org/protocol/disco#info'/>",
          std::string(kRefused)}});
}

TEST_F(Requests, VersionTellsTheSystemOnlyWhereItShould) {
  const std::string ask = "<query xmlns='jabber:iq:version'/>";
  const std::string start =
      "result <query xmlns='jabber:iq:version'><name>mongooseim</name><version>" MONGOOSE_VERSION
      "</version>";
  Check({{kJuliet, kServer, "get", ask, start + "</query>"},
         {kJuliet, kHer, "get", ask, "nobody"},
         {kJuliet, kServer, "set", ask, "error cancel not-allowed"}});
  Add({.version = {.show_os = true}});
  const std::string shown = Ask(kJuliet, kServer, "get", ask);
  EXPECT_TRUE(shown.starts_with(start + "<os>Linux ")) << shown;
}

TEST_F(Requests, TimeIsTheServersInUtc) {
  const std::string told = Ask(kJuliet, kServer, "get", "<time xmlns='urn:xmpp:time'/>");
  EXPECT_TRUE(told.ends_with("<utc>2023-11-14T22:13:20Z</utc></time>")) << told;
  EXPECT_TRUE(told.starts_with("result <time xmlns='urn:xmpp:time'><tzo>")) << told;
}

TEST_F(Requests, LastActivity) {
  const std::string ask = "<query xmlns='jabber:iq:last'/>";
  clock.Advance(std::chrono::seconds(77));
  Check({{kStranger, kServer, "get", ask, "result <query xmlns='jabber:iq:last' seconds='77'/>"},
         // She is available.
         {kFriend, kHer, "get", ask, "result <query xmlns='jabber:iq:last' seconds='0'/>"},
         {kStranger, kHer, "get", ask, "error auth forbidden"},
         {kFriend, kHer, "set", ask, "error cancel not-allowed"}});
  juliet = std::make_shared<AccountFake>("juliet@example.org");
  juliet->seen_by = {"nurse@example.org"};
  Check({{kFriend, kHer, "get", ask, std::string(kRefused)}});
  store.lasts["juliet@example.org"] = {.seconds = kNowUs / 1'000'000 - 903, .status = "a < b"};
  Check({{kFriend, kHer, "get", ask,
          "result <query xmlns='jabber:iq:last' seconds='903'>a &lt; b</query>"}});
  // A clock that went back.
  store.lasts["juliet@example.org"] = {.seconds = kNowUs / 1'000'000 + 50, .status = ""};
  Check({{kFriend, kHer, "get", ask, "result <query xmlns='jabber:iq:last' seconds='0'/>"}});
}

TEST_F(Requests, PrivateStorage) {
  const std::string prefs =
      "<exodus xmlns='exodus:prefs'><defaultnick a='1'>Hamlet &amp; co</defaultnick></exodus>";
  const auto query = [](const std::string& inner) {
    return "<query xmlns='jabber:iq:private'>" + inner + "</query>";
  };
  Check({{kJuliet, kHer, "get", query("<exodus xmlns='exodus:prefs'/>"),
          "result " + query("<exodus xmlns='exodus:prefs'/>")},
         {kJuliet, kHer, "set", query(prefs), "result"},
         {kJuliet, kHer, "get", query("<exodus xmlns='exodus:prefs'/>"), "result " + query(prefs)},
         {kJuliet, kHer, "get", query("<exodus xmlns='other'/>"),
          "result " + query("<exodus xmlns='other'/>")},
         {kJuliet, kHer, "get", query(""), "error modify bad-request"},
         {kJuliet, kHer, "set", query(""), "error modify not-acceptable"},
         {kJuliet, kHer, "get", query("<a xmlns='x'/><b xmlns='y'/>"), "error modify bad-request"},
         {kJuliet, kHer, "set", query("<own/>"), "error modify not-acceptable"},
         {kJuliet, kHer, "set", query("<none xmlns=''/>"), "error modify not-acceptable"},
         {kFriend, kHer, "get", query("<exodus xmlns='exodus:prefs'/>"), std::string(kRefused)},
         {kFriend, kHer, "set", query(prefs), std::string(kRefused)}});
}

TEST_F(Requests, PrivateStorageIsBoundedAndDoneWholeOrNotAtAll) {
  Add({.private_storage = {.element_bytes_max = 100}});
  std::string many;
  for (size_t i = 0; i <= kPrivateElementsMax; ++i)
    many += "<a xmlns='x" + std::to_string(i) + "'/>";
  const std::string large = "<a xmlns='x'/><b xmlns='y'>" + std::string(100, 'b') + "</b>";
  Check({{kJuliet, kHer, "set", "<query xmlns='jabber:iq:private'>" + many + "</query>",
          "error modify policy-violation"},
         {kJuliet, kHer, "set", "<query xmlns='jabber:iq:private'>" + large + "</query>",
          "error modify policy-violation"}});
  EXPECT_EQ(forward.calls, 0U);
}

TEST_F(Requests, PrivateElementsOfAnAccountAreBoundedInNumber) {
  Add({.private_storage = {.elements_max = 2}});
  const auto put = [](const std::string& inner) {
    return "<query xmlns='jabber:iq:private'>" + inner + "</query>";
  };
  Check({{kJuliet, kHer, "set", put("<a xmlns='x'/>"), "result"},
         {kJuliet, kHer, "set", put("<b xmlns='x'/>"), "result"},
         {kJuliet, kHer, "set", put("<c xmlns='x'/>"), "error cancel not-allowed"},
         {kJuliet, kHer, "set", put("<a xmlns='x'>again</a>"), "result"}});
}

TEST_F(Requests, Vcard) {
  const std::string none = "<vCard xmlns='vcard-temp'/>";
  const std::string card = "<vCard xmlns='vcard-temp'><FN>Juliet &lt;3</FN></vCard>";
  Check({{kJuliet, kHer, "get", none, "error cancel item-not-found"},
         {kStranger, kHer, "get", none, std::string(kRefused)},
         {kStranger, kHer, "set", card, "error auth forbidden"},
         {kJuliet, kHer, "set", card, "result"},
         {kJuliet, kHer, "get", none, "result " + card},
         {kStranger, kHer, "get", none, "result " + card},
         {kJuliet, kHer, "set", none, "result"},
         {kJuliet, kHer, "get", none, "error cancel item-not-found"}});
  EXPECT_EQ(juliet->changes, std::vector(2, AccountChange::kVcard));
  Add({.vcard = {.bytes_max = 50}});
  Check({{kJuliet, kHer, "set", card, "error modify policy-violation"}});
}

TEST_F(Requests, AStoreThatFailsIsSaid) {
  const std::vector<std::pair<std::string, std::string>> asked = {
      {"get", "<query xmlns='jabber:iq:private'><a xmlns='x'/></query>"},
      {"set", "<query xmlns='jabber:iq:private'><a xmlns='x'/></query>"},
      {"get", "<vCard xmlns='vcard-temp'/>"},
      {"set", "<vCard xmlns='vcard-temp'><FN>J</FN></vCard>"},
      {"set", "<query xmlns='urn:xmpp:mam:2'/>"},
      {"get", "<metadata xmlns='urn:xmpp:mam:2'/>"},
      {"get", "<prefs xmlns='urn:xmpp:mam:2'/>"},
      {"set", "<prefs xmlns='urn:xmpp:mam:2' default='never'/>"},
      {"set",
       "<query xmlns='jabber:iq:register'><username>juliet</username>"
       "<password>new password</password></query>"},
      {"set", "<query xmlns='jabber:iq:register'><remove/></query>"},
  };
  for (const auto& [error, answer] :
       {std::pair(StoreError::kBusy, "error wait resource-constraint"),
        std::pair(StoreError::kDown, "error wait resource-constraint"),
        std::pair(StoreError::kUnknown, "error cancel internal-server-error")}) {
    store.error = error;
    for (const auto& [type, xml] : asked) EXPECT_EQ(Own(type, xml), answer) << xml;
  }
  // What is in doubt is read again; nothing else has changed.
  EXPECT_EQ(juliet->changes, std::vector{AccountChange::kArchivePrefs});
  EXPECT_TRUE(juliet->pushed.empty());
}

TEST_F(Requests, AStoreThatEndsLeavesNobodyWaiting) {
  const auto answer = Begin(kJuliet, kHer, "get", "<vCard xmlns='vcard-temp'/>");
  EXPECT_EQ(*answer, "");
  store.Drop();
  EXPECT_EQ(*answer, "error cancel internal-server-error");
}

}  // namespace
}  // namespace server
