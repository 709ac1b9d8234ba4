// data_form.h, rsm.h, archive_request.h's ids, rate_table.h and vcard.h's photo: what is pure.
#include <gtest/gtest.h>

#include <string>

#include "server/im/archive_prefs.h"
#include "server/modules/archive_request.h"
#include "server/modules/data_form.h"
#include "server/modules/rate_table.h"
#include "server/modules/rsm.h"
#include "server/modules/vcard.h"

namespace server {
namespace {

std::string FormText(const std::string& inner, const std::string& type = "submit") {
  const auto stanza =
      ParseStanza("<x xmlns='jabber:x:data' type='" + type + "'>" + inner + "</x>", kClientSpace);
  const auto form = ReadDataForm(stanza.value().root());
  if (!form) return "refused";
  std::string text;
  for (const FormField& field : form->fields) {
    text += field.var + "=";
    for (const std::string& value : field.values) text += value + ",";
    text += ";";
  }
  return text;
}

TEST(DataForm, FieldsAndTheirValues) {
  EXPECT_EQ(FormText("<field var='a'><value>1</value><value>2</value></field><field var='b'/>"
                     "<field type='fixed'><value>words</value></field><title>t</title>"),
            "a=1,2,;b=;");
}

TEST(DataForm, WhatIsNoFormIsRefused) {
  EXPECT_EQ(FormText("", "other"), "refused");
  EXPECT_EQ(FormText("", ""), "refused");
  EXPECT_EQ(FormText("<field var='a'/><field var='a'/>"), "refused");  // which of them counts?
  std::string fields;
  for (size_t i = 0; i <= kFormFieldsMax; ++i) {
    fields += "<field var='" + std::to_string(i) + "'/>";
  }
  EXPECT_EQ(FormText(fields), "refused");
  std::string values;
  for (size_t i = 0; i <= kFormValuesMax; ++i) values += "<value/>";
  EXPECT_EQ(FormText("<field var='a'>" + values + "</field>"), "refused");
}

std::string RsmText(const std::string& inner) {
  const auto stanza =
      ParseStanza("<set xmlns='http://jabber.org/protocol/rsm'>" + inner + "</set>", kClientSpace);
  const auto rsm = ReadRsm(stanza.value().root());
  if (!rsm) return "refused";
  std::string text;
  if (rsm->max) text += "max=" + std::to_string(*rsm->max) + " ";
  if (rsm->before) text += "before=" + *rsm->before + " ";
  if (rsm->after) text += "after=" + *rsm->after + " ";
  if (rsm->index) text += "index=" + std::to_string(*rsm->index) + " ";
  return text;
}

TEST(Rsm, Requests) {
  EXPECT_EQ(RsmText(""), "");
  EXPECT_EQ(RsmText("<max>10</max><before/>"), "max=10 before= ");
  EXPECT_EQ(RsmText("<max>0</max><after>x</after><other/>"), "max=0 after=x ");
  EXPECT_EQ(RsmText("<index>3</index>"), "index=3 ");
  EXPECT_EQ(RsmText("<max>2147483647</max>"), "max=2147483647 ");
  for (const char* bad :
       {"<max/>", "<max>-1</max>", "<max>+1</max>", "<max> 1</max>", "<max>1.5</max>",
        "<max>2147483648</max>", "<max>99999999999999999999</max>", "<max>1; DROP TABLE x</max>",
        "<max>1</max><max>2</max>", "<index>-1</index>", "<before/><before/>"}) {
    EXPECT_EQ(RsmText(bad), "refused") << bad;
  }
  EXPECT_EQ(RsmText("<after>" + std::string(kRsmIdBytesMax + 1, '1') + "</after>"), "refused");
}

TEST(Rsm, Results) {
  std::string out;
  AppendRsm(out, {.first = "a&", .last = "b", .index = 0, .count = 2});
  EXPECT_EQ(out,
            "<set xmlns='http://jabber.org/protocol/rsm'><first index='0'>a&amp;</first>"
            "<last>b</last><count>2</count></set>");
  out.clear();
  AppendRsm(out, {.first = {}, .last = {}, .index = {}, .count = 7});
  EXPECT_EQ(out, "<set xmlns='http://jabber.org/protocol/rsm'><count>7</count></set>");
}

TEST(ArchiveId, OneWayOfWritingIt) {
  for (const uint64_t id : {uint64_t{1}, uint64_t{256}, uint64_t{INT64_MAX}}) {
    EXPECT_EQ(ParseArchiveId(ArchiveIdText(id)), id);
  }
  for (const char* bad : {"", "0", "01", "-1", "+1", " 1", "1 ", "0x1", "9223372036854775808",
                          "18446744073709551616", "1' OR '1'='1"}) {
    EXPECT_FALSE(ParseArchiveId(bad)) << bad;
  }
}

TEST(Vcard, TheHashOfItsPhoto) {
  const auto photo = [](const std::string& value) {
    return VcardPhotoHash("<vCard xmlns='vcard-temp'><PHOTO><TYPE>image/png</TYPE><BINVAL>" +
                          value + "</BINVAL></PHOTO></vCard>");
  };
  EXPECT_EQ(photo("YWJj"), "a9993e364706816aba3e25717850c26c9cd0d89d");  // of "abc"
  EXPECT_EQ(photo("\n YW\n Jj\n"), "a9993e364706816aba3e25717850c26c9cd0d89d");
  EXPECT_EQ(photo("n!base64"), "");
  EXPECT_EQ(photo(""), "");
  EXPECT_EQ(VcardPhotoHash("<vCard xmlns='vcard-temp'><FN>x</FN></vCard>"), "");
  EXPECT_EQ(VcardPhotoHash(""), "");
}

TEST(RateTable, SoManyAtOnceAndThenAsTheyFallDue) {
  net::ManualClock clock;
  RateTable table(3, {1, 2}, clock.Now());
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(table.Take("192.0.2.1", clock.Now())) << i;
  EXPECT_FALSE(table.Take("192.0.2.1", clock.Now()));
  EXPECT_TRUE(table.Take("192.0.2.2", clock.Now()));
  clock.Advance(std::chrono::minutes(19));
  EXPECT_FALSE(table.Take("192.0.2.1", clock.Now()));
  clock.Advance(std::chrono::minutes(2));
  EXPECT_TRUE(table.Take("192.0.2.1", clock.Now()));
  EXPECT_FALSE(table.Take("192.0.2.1", clock.Now()));
}

std::optional<ArchivePrefs> Prefs(const std::string& xml) {
  const auto stanza = ParseStanza(xml, kClientSpace);
  return ReadArchivePrefs(stanza.value().root());
}

TEST(ArchivePrefs, ReadAndWritten) {
  const auto prefs =
      Prefs(
          "<prefs xmlns='urn:xmpp:mam:2' default='roster'><always><jid>ROMEO@montague.lit</jid>"
          "<jid>romeo@montague.lit</jid></always><never><jid>a@b/c</jid></never></prefs>")
          .value();
  EXPECT_EQ(ArchivePrefsXml(prefs),
            "<prefs xmlns='urn:xmpp:mam:2' default='roster'><always><jid>romeo@montague.lit</jid>"
            "</always><never><jid>a@b/c</jid></never></prefs>");
  EXPECT_EQ(ParseArchivePrefs(ArchivePrefsXml(prefs), ArchiveDefault::kNever), prefs);
  EXPECT_EQ(ParseArchivePrefs("", ArchiveDefault::kNever)->by_default, ArchiveDefault::kNever);
  EXPECT_EQ(ParseArchivePrefs("<broken", ArchiveDefault::kNever), std::nullopt);
}

TEST(ArchivePrefs, WhatIsNoneIsRefused) {
  for (const char* inner : {"", " default='sometimes'"}) {
    EXPECT_FALSE(Prefs("<prefs xmlns='urn:xmpp:mam:2'" + std::string(inner) + "/>")) << inner;
  }
  EXPECT_FALSE(
      Prefs("<prefs xmlns='urn:xmpp:mam:2' default='always'><never><jid>@</jid></never>"
            "</prefs>"));
  std::string many;
  for (size_t i = 0; i <= kArchivePrefsJidsMax; ++i) {
    many += "<jid>a" + std::to_string(i) + "@b</jid>";
  }
  EXPECT_FALSE(
      Prefs("<prefs xmlns='urn:xmpp:mam:2' default='always'><never>" + many + "</never></prefs>"));
}

// XEP-0441 section 2.3.
TEST(ArchivePrefs, WhatIsKept) {
  const ArchivePrefs prefs{.by_default = ArchiveDefault::kRoster,
                           .always = {"friend@a", "host", "mixed@a/yes"},
                           .never = {"foe@a", "mixed@a", "never@a"}};
  const auto kept = [&](const char* peer, bool in_roster = false) {
    return WantsArchive(prefs, Jid::Parse(peer).value(), in_roster);
  };
  EXPECT_TRUE(kept("friend@a"));
  EXPECT_TRUE(kept("friend@a/x"));
  EXPECT_TRUE(kept("host"));
  EXPECT_FALSE(kept("foe@a/x", true));
  EXPECT_FALSE(kept("mixed@a/no", true));
  EXPECT_TRUE(kept("mixed@a/yes"));
  EXPECT_FALSE(kept("other@a"));
  EXPECT_TRUE(kept("other@a/x", true));
  const ArchivePrefs never{.by_default = ArchiveDefault::kNever, .always = {}, .never = {}};
  EXPECT_FALSE(WantsArchive(never, Jid::Parse("a@b").value(), true));
  EXPECT_TRUE(WantsArchive({}, Jid::Parse("a@b").value(), false));
}

}  // namespace
}  // namespace server
