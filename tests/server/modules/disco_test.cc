#include "server/modules/disco.h"

#include <gtest/gtest.h>

#include <string>

#include "server/modules/caps.h"
#include "tests/server/modules/asking.h"

namespace server {
namespace {

constexpr std::string_view kBalcony = "juliet@example.org/balcony";
const std::string kInfo = "<query xmlns='http://jabber.org/protocol/disco#info'/>";
const std::string kItems = "<query xmlns='http://jabber.org/protocol/disco#items'/>";

class Disco : public Asking {};

// XEP-0115 section 5.2.
TEST(Caps, TheSimpleExampleOfTheXep) {
  EXPECT_EQ(CapsVer({{.category = "client", .type = "pc", .name = "Exodus 0.9.1", .lang = {}}},
                    {"http://jabber.org/protocol/muc", "http://jabber.org/protocol/disco#info",
                     "http://jabber.org/protocol/disco#items", "http://jabber.org/protocol/caps"},
                    {}),
            "QgayPKawpkPSDYmwT/WM94uAlu0=");
}

// Section 5.3.
TEST(Caps, TheComplexExampleOfTheXep) {
  EXPECT_EQ(CapsVer({{.category = "client", .type = "pc", .name = "Psi 0.11", .lang = "en"},
                     {.category = "client", .type = "pc", .name = "\xce\xa8 0.11", .lang = "el"}},
                    {"http://jabber.org/protocol/caps", "http://jabber.org/protocol/disco#info",
                     "http://jabber.org/protocol/disco#items", "http://jabber.org/protocol/muc"},
                    {{.type = "result",
                      .fields = {{.var = "FORM_TYPE",
                                  .type = "hidden",
                                  .values = {"urn:xmpp:dataforms:softwareinfo"}},
                                 {.var = "ip_version", .type = {}, .values = {"ipv6", "ipv4"}},
                                 {.var = "os", .type = {}, .values = {"Mac"}},
                                 {.var = "os_version", .type = {}, .values = {"10.5.1"}},
                                 {.var = "software", .type = {}, .values = {"Psi"}},
                                 {.var = "software_version", .type = {}, .values = {"0.11"}}}}}),
            "q07IKJEyjvHSyhy//CH0CxmKi8w=");
}

TEST_F(Disco, TheServerSaysWhatItIsAndHas) {
  Add({.contact = {.abuse = {"mailto:abuse@example.org", "xmpp:abuse@example.org"}}});
  const std::string told = Ask("romeo@elsewhere.example/a", "example.org", "get", kInfo);
  EXPECT_TRUE(
      told.starts_with("result <query xmlns='http://jabber.org/protocol/disco#info'>"
                       "<identity category='server' type='im' name='mongooseim'/>"))
      << told;
  for (const char* feature :
       {"http://jabber.org/protocol/disco#info", "jabber:iq:version", "urn:xmpp:ping",
        "urn:xmpp:time", "vcard-temp", "jabber:iq:last", "jabber:iq:private"}) {
    EXPECT_NE(told.find("<feature var='" + std::string(feature) + "'/>"), std::string::npos)
        << feature;
  }
  EXPECT_NE(told.find("<x xmlns='jabber:x:data' type='result'><field var='FORM_TYPE' "
                      "type='hidden'><value>http://jabber.org/network/serverinfo</value></field>"
                      "<field var='abuse-addresses' type='list-multi'>"
                      "<value>mailto:abuse@example.org</value>"
                      "<value>xmpp:abuse@example.org</value></field></x></query>"),
            std::string::npos)
      << told;
}

TEST_F(Disco, WhatIsOffIsNotAdvertised) {
  Add({.archive = {.enabled = false},
       .time = {.enabled = false},
       .last = {.enabled = false},
       .ping = {.enabled = false},
       .private_storage = {.enabled = false},
       .registration = {.password_change = false, .removal = false},
       .vcard = {.enabled = false},
       .version = {.enabled = false}});
  EXPECT_EQ(table->features(IqTarget::kServer),
            (std::vector<std::string>{"http://jabber.org/protocol/caps",
                                      "http://jabber.org/protocol/disco#info",
                                      "http://jabber.org/protocol/disco#items"}));
  EXPECT_EQ(table->features(IqTarget::kAccount),
            (std::vector<std::string>{"http://jabber.org/protocol/disco#info",
                                      "http://jabber.org/protocol/disco#items"}));
  EXPECT_TRUE(table->forms().empty());
}

// XEP-0115 section 6.2: who knows the hash may ask for what it stands for.
TEST_F(Disco, TheCapabilitiesStandForTheInfo) {
  Add({.contact = {.abuse = {"mailto:abuse@example.org"}}});
  table->Feature(IqTarget::kServer, "from:elsewhere");  // added behind it
  const auto caps = ParseStanza(ServerCaps(*table, {}), kClientSpace).value();
  const XmlElement c = caps.root();
  EXPECT_TRUE(c.Is("c", "http://jabber.org/protocol/caps"));
  EXPECT_EQ(c.Attribute("hash"), "sha-1");
  const std::string node = std::string(c.Attribute("node")) + "#" + std::string(c.Attribute("ver"));
  const std::string told =
      Ask(kBalcony, "example.org", "get",
          "<query xmlns='http://jabber.org/protocol/disco#info' node='" + node + "'/>");
  EXPECT_NE(told.find("node='" + node + "'"), std::string::npos) << told;
  EXPECT_NE(told.find("from:elsewhere"), std::string::npos);

  // What is told hashes to what is advertised.
  const auto info = ParseStanza(told.substr(std::string("result ").size()), kClientSpace).value();
  std::vector<DiscoIdentity> identities;
  std::vector<std::string> features;
  std::vector<DataForm> forms;
  for (XmlElement one = info.root().FirstChild(); one; one = one.Next()) {
    if (one.name() == "identity") {
      identities.push_back({.category = std::string(one.Attribute("category")),
                            .type = std::string(one.Attribute("type")),
                            .name = std::string(one.Attribute("name")),
                            .lang = {}});
    } else if (one.name() == "feature") {
      features.emplace_back(one.Attribute("var"));
    } else {
      forms.push_back(ReadDataForm(one).value());
    }
  }
  EXPECT_EQ(CapsVer(identities, features, forms), c.Attribute("ver"));
  EXPECT_EQ(Ask(kBalcony, "example.org", "get",
                "<query xmlns='http://jabber.org/protocol/disco#info' node='other'/>"),
            "error cancel item-not-found");
}

TEST_F(Disco, ItemsAreWhatIsThere) {
  Add();
  EXPECT_EQ(Ask(kBalcony, "example.org", "get", kItems),
            "result <query xmlns='http://jabber.org/protocol/disco#items'></query>");
  Add({.disco = {.items = {{.jid = "rooms.example.org", .name = "Rooms & more"},
                           {.jid = "upload.example.org", .name = ""}}}});
  EXPECT_EQ(Ask(kBalcony, "example.org", "get", kItems),
            "result <query xmlns='http://jabber.org/protocol/disco#items'>"
            "<item jid='rooms.example.org' name='Rooms &amp; more'/>"
            "<item jid='upload.example.org'/></query>");
}

// XEP-0030 section 8: nobody else finds out whether there is such an account.
TEST_F(Disco, OfAnAccountOnlyThoseMayAskWhoSeeIt) {
  juliet->seen_by = {"nurse@example.org"};
  Add();
  for (const std::string& query : {kInfo, kItems}) {
    EXPECT_TRUE(Own("get", query).starts_with("result "));
    EXPECT_TRUE(
        Ask("nurse@example.org/a", "juliet@example.org", "get", query).starts_with("result "));
    for (const char* other : {"romeo@elsewhere.example/a", "elsewhere.example"}) {
      EXPECT_EQ(Ask(other, "juliet@example.org", "get", query), "error cancel service-unavailable");
    }
  }
  const std::string told = Own("get", kInfo);
  EXPECT_NE(told.find("<identity category='account' type='registered'/>"), std::string::npos);
  EXPECT_NE(told.find("<feature var='urn:xmpp:mam:2'/>"), std::string::npos);
  EXPECT_NE(told.find("<feature var='urn:xmpp:mam:2#extended'/>"), std::string::npos);
  EXPECT_EQ(Own("get", "<query xmlns='http://jabber.org/protocol/disco#info' node='x'/>"),
            "error cancel item-not-found");
}

}  // namespace
}  // namespace server
