// Archives as clients ask for them: what is pushed, in which order, and the answer behind it.
#include "server/modules/archive.h"

#include <gtest/gtest.h>

#include <functional>
#include <string>
#include <vector>

#include "server/modules/rsm.h"
#include "server/xmpp/date_time.h"
#include "tests/server/modules/asking.h"
#include "tests/server/store/store_kind.h"
#include "tests/server/store/store_loop.h"

namespace server {
namespace {

constexpr int64_t kSecond = 1'000'000;
constexpr int64_t kStart = 1'600'000'000 * kSecond;

// Where the archive is.
enum class Kind : uint8_t { kMaps, kSqlite };

class ArchiveTest : public Asking, public ::testing::WithParamInterface<Kind> {
 protected:
  ArchiveTest() {
    Fill(Entries());
    Add();
  }

  // Message 0 to 9, one a second, by turns from romeo and to the nurse; and somebody else's.
  static std::vector<ArchiveEntry> Entries() {
    std::vector<ArchiveEntry> entries;
    for (uint64_t i = 0; i < 10; ++i) {
      const bool out = i % 2 == 1;
      const std::string body = "<body>" + std::to_string(i) + "</body></message>";
      entries.push_back(
          {.owner = "juliet@example.org",
           .peer = out ? "nurse@example.org" : "romeo@example.org",
           .id = Id(i),
           .outgoing = out,
           .origin_id = {},
           .xml = out ? "<message to='nurse@example.org'>" + body
                      : "<message xmlns='jabber:client' from='romeo@example.org/a'>" + body,
           .resource = out ? "" : "a"});
      entries.push_back({.owner = "nurse@example.org",
                         .peer = "juliet@example.org",
                         .id = Id(i) + 1,
                         .outgoing = false,
                         .origin_id = {},
                         .xml = "<message><body>secret</body></message>",
                         .resource = {}});
    }
    return entries;
  }

  // These and no others.
  void Fill(std::vector<ArchiveEntry> entries) {
    if (GetParam() == Kind::kMaps) {
      store.archive = std::move(entries);
      return;
    }
    client_.reset();
    sqlite_.reset();
    kind_ = std::make_unique<test::SqliteKind>();
    sqlite_ = kind_->Open(nullptr);
    client_ = sqlite_->Client(loop_.loop());
    forward.to = client_.get();
    WriteBatch batch;
    for (ArchiveEntry& entry : entries) batch.emplace_back(AddArchive{std::move(entry)});
    EXPECT_TRUE(loop_.Write(*client_, std::move(batch)).has_value());
  }

  void Settle(const std::string& answer) override {
    if (GetParam() == Kind::kMaps) return Asking::Settle(answer);
    EXPECT_TRUE(loop_.RunUntil([&] { return !answer.empty(); }));
  }

  static uint64_t Id(uint64_t i) {
    return (static_cast<uint64_t>(kStart) + i * static_cast<uint64_t>(kSecond)) << 8U | 7U;
  }
  static std::string IdText(uint64_t i) { return std::to_string(Id(i)); }
  static std::string At(int64_t seconds) { return DateTimeText(kStart + seconds * kSecond); }

  static std::string Field(const std::string& var, const std::string& value) {
    return "<field var='" + var + "'><value>" + value + "</value></field>";
  }
  static std::string Form(const std::string& fields) {
    return "<x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE' type='hidden'>"
           "<value>urn:xmpp:mam:2</value></field>" +
           fields + "</x>";
  }
  static std::string Set(const std::string& inner) {
    return "<set xmlns='http://jabber.org/protocol/rsm'>" + inner + "</set>";
  }

  // "0 1 2 | complete first=0 last=2 index=0 count=3", or the error.
  std::string Query(const std::string& inner, const std::string& attributes = "") {
    juliet->pushed.clear();
    const std::string answer =
        Own("set", "<query xmlns='urn:xmpp:mam:2'" + attributes + ">" + inner + "</query>");
    std::string text;
    for (const std::string& xml : juliet->pushed) {
      const auto message = ParseStanza(xml, kClientSpace);
      EXPECT_TRUE(message) << xml.substr(0, 400);
      const XmlElement result = message->root().Child("result", "urn:xmpp:mam:2");
      const XmlElement forwarded = result.Child("forwarded", "urn:xmpp:forward:0");
      const XmlElement inner_message = forwarded.Child("message", kClientSpace);
      const std::string body = inner_message.Child("body", kClientSpace).Text();
      EXPECT_EQ(result.Attribute("id"), IdText(std::stoul(body)));
      text += body + " ";
    }
    if (!answer.starts_with("result ")) {
      EXPECT_EQ(text, "") << "results before an error";
      return answer;
    }
    const auto read = ParseStanza(answer.substr(7), kClientSpace).value();
    const XmlElement fin = read.root();
    EXPECT_TRUE(fin.Is("fin", "urn:xmpp:mam:2"));
    text += fin.Attribute("complete") == "true" ? "| complete" : "|";
    const XmlElement set = fin.Child("set", kRsmSpace);
    EXPECT_TRUE(set) << answer;
    for (const char* name : {"first", "last"}) {
      const XmlElement one = set.Child(name, kRsmSpace);
      if (!one) continue;
      const uint64_t number = (std::stoull(one.Text()) - Id(0)) / (Id(1) - Id(0));
      text += " " + std::string(name) + "=" + std::to_string(number);
      if (const auto index = one.Find("index")) text += " index=" + std::string(*index);
    }
    if (const XmlElement count = set.Child("count", kRsmSpace)) text += " count=" + count.Text();
    return text;
  }

 private:
  test::StoreLoop loop_;
  std::unique_ptr<test::SqliteKind> kind_;
  std::unique_ptr<StoreBackend> sqlite_;
  std::unique_ptr<StoreClient> client_;
};

INSTANTIATE_TEST_SUITE_P(Stores, ArchiveTest, ::testing::Values(Kind::kMaps, Kind::kSqlite),
                         [](const auto& of) {
                           return of.param == Kind::kMaps ? "Maps" : "Sqlite";
                         });

TEST_P(ArchiveTest, AllOfIt) {
  EXPECT_EQ(Query(""), "0 1 2 3 4 5 6 7 8 9 | complete first=0 index=0 last=9 count=10");
}

TEST_P(ArchiveTest, AResultIsWholeAndComesFromTheAccount) {
  Query(Set("<max>1</max>"), " queryid='f&apos;27'");
  EXPECT_EQ(juliet->pushed.at(0),
            "<message from='juliet@example.org' to='juliet@example.org/balcony'>"
            "<result xmlns='urn:xmpp:mam:2' queryid='f&apos;27' id='" +
                IdText(0) +
                "'><forwarded xmlns='urn:xmpp:forward:0'>"
                "<delay xmlns='urn:xmpp:delay' stamp='2020-09-13T12:26:40Z'/>"
                "<message xmlns='jabber:client' from='romeo@example.org/a'><body>0</body></message>"
                "</forwarded></result></message>");
}

TEST_P(ArchiveTest, Filters) {
  EXPECT_EQ(Query(Form(Field("with", "ROMEO@example.org"))),
            "0 2 4 6 8 | complete first=0 index=0 last=8 count=5");
  EXPECT_EQ(Query(Form(Field("with", "romeo@example.org/a"))),
            "0 2 4 6 8 | complete first=0 index=0 last=8 count=5");
  EXPECT_EQ(Query(Form(Field("with", "romeo@example.org/b"))), "| complete count=0");
  EXPECT_EQ(Query(Form(Field("start", At(7)))), "7 8 9 | complete first=7 index=0 last=9 count=3");
  EXPECT_EQ(Query(Form(Field("end", At(1)))), "0 1 | complete first=0 index=0 last=1 count=2");
  EXPECT_EQ(Query(Form(Field("start", At(3)) + Field("end", At(4)))),
            "3 4 | complete first=3 index=0 last=4 count=2");
  EXPECT_EQ(Query(Form(Field("after-id", IdText(7)))),
            "8 9 | complete first=8 index=0 last=9 count=2");
  EXPECT_EQ(Query(Form(Field("before-id", IdText(2)))),
            "0 1 | complete first=0 index=0 last=1 count=2");
  EXPECT_EQ(Query(Form(Field("after-id", IdText(2)) + Field("before-id", IdText(5)))),
            "3 4 | complete first=3 index=0 last=4 count=2");
  // All of what lies before, or after, what can be.
  EXPECT_EQ(Query(Form(Field("end", "1960-01-01T00:00:00Z"))), "| complete count=0");
  EXPECT_EQ(Query(Form(Field("start", "9999-12-31T23:59:59Z"))), "| complete count=0");
  EXPECT_EQ(
      Query(Form(Field("start", "0001-01-01T00:00:00Z") + Field("end", "9999-12-31T23:59:59Z"))),
      "0 1 2 3 4 5 6 7 8 9 | complete first=0 index=0 last=9 count=10");
}

TEST_P(ArchiveTest, PagesForwards) {
  EXPECT_EQ(Query(Set("<max>4</max>")), "0 1 2 3 | first=0 index=0 last=3");
  EXPECT_EQ(Query(Set("<max>4</max><after>" + IdText(3) + "</after>")), "4 5 6 7 | first=4 last=7");
  EXPECT_EQ(Query(Set("<max>4</max><after>" + IdText(7) + "</after>")),
            "8 9 | complete first=8 last=9");
  EXPECT_EQ(Query(Set("<max>4</max><after>" + IdText(9) + "</after>")), "| complete");
}

TEST_P(ArchiveTest, PagesBackwards) {
  EXPECT_EQ(Query(Set("<max>4</max><before/>")), "6 7 8 9 | first=6 last=9");
  EXPECT_EQ(Query(Set("<max>4</max><before>" + IdText(6) + "</before>")),
            "2 3 4 5 | first=2 last=5");
  EXPECT_EQ(Query(Set("<max>4</max><before>" + IdText(2) + "</before>")),
            "0 1 | complete first=0 index=0 last=1");
  EXPECT_EQ(Query(Form(Field("with", "nurse@example.org")) + Set("<max>2</max><before/>")),
            "7 9 | first=7 last=9");
}

TEST_P(ArchiveTest, APageMayBeFlipped) {
  EXPECT_EQ(Query(Set("<max>4</max><before/>") + "<flip-page/>"), "9 8 7 6 | first=6 last=9");
  EXPECT_EQ(Query(Set("<max>2</max>") + "<flip-page/>"), "1 0 | first=0 index=0 last=1");
}

TEST_P(ArchiveTest, TheNumberAlone) {
  EXPECT_EQ(Query(Set("<max>0</max>")), "| count=10");
  EXPECT_EQ(Query(Form(Field("with", "romeo@example.org")) + Set("<max>0</max>")), "| count=5");
  EXPECT_EQ(Query(Form(Field("with", "paris@example.org")) + Set("<max>0</max>")),
            "| complete count=0");
}

TEST_P(ArchiveTest, NamedEntries) {
  const auto ids = [](std::initializer_list<uint64_t> numbers) {
    std::string field = "<field var='ids'>";
    for (const uint64_t i : numbers) field += "<value>" + IdText(i) + "</value>";
    return field + "</field>";
  };
  EXPECT_EQ(Query(Form(ids({7, 2, 2}))), "2 7 | complete first=2 index=0 last=7 count=2");
  EXPECT_EQ(Query(Form(ids({1, 2, 3})) + Set("<max>2</max>")), "1 2 | first=1 index=0 last=2");
  EXPECT_EQ(Query(Form(ids({1, 2, 3})) + Set("<max>2</max><before/>")), "2 3 | first=2 last=3");
  EXPECT_EQ(Query(Form(ids({1, 2, 3}) + Field("with", "nurse@example.org"))),
            "1 3 | complete first=1 index=0 last=3 count=2");
  EXPECT_EQ(Query(Form(ids({1, 2, 3}) + Field("with", "romeo@example.org/a"))),
            "2 | complete first=2 index=0 last=2 count=1");
  EXPECT_EQ(Query(Form(ids({1, 2, 3})) + Set("<after>" + IdText(1) + "</after>")),
            "2 3 | complete first=2 last=3");
  EXPECT_EQ(Query(Form(ids({1, 11}))), "error cancel item-not-found");
  EXPECT_EQ(Query(Form(ids({1})) + Set("<after>" + IdText(11) + "</after>")),
            "error cancel item-not-found");
  // Of another's archive.
  EXPECT_EQ(Query(Form(Field("ids", std::to_string(Id(1) + 1)))), "error cancel item-not-found");
  std::string many = "<field var='ids'>";
  for (size_t i = 0; i <= kArchiveIdsMax; ++i)
    many += "<value>" + std::to_string(i + 1) + "</value>";
  EXPECT_EQ(Query(Form(many + "</field>")), "error modify policy-violation");
}

TEST_P(ArchiveTest, AnIdThatIsNotThereIsNotFound) {
  const std::string missing = std::to_string(Id(4) + 1);
  for (const std::string& id :
       {missing, std::string("0"), std::string("-1"), std::string("28482-98726-73623"),
        std::string("9223372036854775808"), std::string("1&apos; OR 1=1; --")}) {
    for (const std::string& inner :
         {Set("<after>" + id + "</after>"), Set("<before>" + id + "</before>"),
          Form(Field("after-id", id)), Form(Field("before-id", id)), Form(Field("ids", id)),
          // Wider than what the page asks for: it must be there all the same.
          Form(Field("after-id", id)) + Set("<after>" + IdText(5) + "</after>"),
          Form(Field("before-id", id)) + Set("<before>" + IdText(5) + "</before>")}) {
      EXPECT_EQ(Query(inner), "error cancel item-not-found") << inner;
    }
  }
}

TEST_P(ArchiveTest, WhatMakesNoSenseIsRefused) {
  const std::string large(10'000'000, '1');
  const std::string sql = "&apos;; DROP TABLE archive; --";
  const std::vector<std::pair<std::string, std::string>> rows = {
      {Set("<max>-1</max>"), "error modify bad-request"},
      {Set("<max>" + sql + "</max>"), "error modify bad-request"},
      {Set("<max>" + large + "</max>"), "error modify bad-request"},
      {Set("<after>" + large + "</after>"), "error modify bad-request"},
      {Set("<before>" + large + "</before>"), "error modify bad-request"},
      {Set("<index>3</index>"), "error cancel feature-not-implemented"},
      {Form(Field("start", sql)), "error modify bad-request"},
      {Form(Field("start", large)), "error modify bad-request"},
      {Form(Field("end", "yesterday")), "error modify bad-request"},
      {Form(Field("with", "@")), "error modify bad-request"},
      {Form(Field("with", large)), "error modify bad-request"},
      {Form(Field("after-id", large)), "error cancel item-not-found"},
      {Form(Field("ids", large)), "error cancel item-not-found"},
      {Form(Field("with", sql)), "error modify bad-request"},
      {Form(Field("free-text", "x")), "error cancel feature-not-implemented"},
      {Form(Field("include-groupchat", "true")), "error cancel feature-not-implemented"},
      {"<x xmlns='jabber:x:data' type='submit'/>", "error modify bad-request"},
      {"<x xmlns='jabber:x:data' type='form'/>", "error modify bad-request"},
      {Form("<field var='with'><value>a@b</value><value>c@d</value></field>"),
       "error modify bad-request"},
  };
  for (const auto& [inner, answer] : rows) {
    EXPECT_EQ(Query(inner), answer) << inner.substr(0, 200);
  }
  EXPECT_EQ(forward.calls, 0U);
  EXPECT_EQ(Query("", " queryid='" + std::string(kArchiveQueryIdBytesMax + 1, 'q') + "'"),
            "error modify bad-request");
  EXPECT_EQ(Query("", " node='princely_musings'"), "error cancel item-not-found");
}

TEST_P(ArchiveTest, APageIsBounded) {
  Add({.archive = {.limits = {.page = 3, .page_max = 5}}});
  EXPECT_EQ(Query(""), "0 1 2 | first=0 index=0 last=2");
  EXPECT_EQ(Query(Set("<max>1000000</max>")), "0 1 2 3 4 | first=0 index=0 last=4");
}

TEST_P(ArchiveTest, APageIsBoundedInBytes) {
  auto entries = Entries();
  for (ArchiveEntry& entry : entries) {
    entry.xml.insert(entry.xml.find("</message>"),
                     "<x xmlns='y'>" + std::string(kArchivePageBytesMax / 3, 'x') + "</x>");
  }
  Fill(entries);
  EXPECT_EQ(Query(""), "0 1 | first=0 index=0 last=1");
  EXPECT_EQ(Query(Set("<before/>")), "8 9 | first=8 last=9");
  // One that alone is too large goes alone.
  entries.front().xml.insert(8, " a='" + std::string(2 * kArchivePageBytesMax, 'x') + "'");
  Fill(entries);
  EXPECT_EQ(Query(""), "0 | first=0 index=0 last=0");
}

TEST_P(ArchiveTest, NobodyElseAsks) {
  for (const char* other : {"nurse@example.org/a", "romeo@elsewhere.example/b", "example.org"}) {
    juliet->seen_by.insert(std::string(Jid::Parse(other)->bare()));
    for (const char* xml : {"<query xmlns='urn:xmpp:mam:2'/>", "<metadata xmlns='urn:xmpp:mam:2'/>",
                            "<prefs xmlns='urn:xmpp:mam:2'/>"}) {
      for (const char* type : {"get", "set"}) {
        EXPECT_EQ(Ask(other, "juliet@example.org", type, xml), "error cancel service-unavailable");
      }
    }
  }
  EXPECT_EQ(forward.calls, 0U);
  EXPECT_TRUE(juliet->pushed.empty());
}

TEST_P(ArchiveTest, TheFormSaysWhatMayBeAsked) {
  EXPECT_EQ(Own("get", "<query xmlns='urn:xmpp:mam:2'/>"),
            "result <query xmlns='urn:xmpp:mam:2'><x xmlns='jabber:x:data' type='form'>"
            "<field var='FORM_TYPE' type='hidden'><value>urn:xmpp:mam:2</value></field>"
            "<field var='with' type='jid-single'></field>"
            "<field var='start' type='text-single'></field>"
            "<field var='end' type='text-single'></field>"
            "<field var='before-id' type='text-single'></field>"
            "<field var='after-id' type='text-single'></field>"
            "<field var='ids' type='list-multi'>"
            "<validate xmlns='http://jabber.org/protocol/xdata-validate' datatype='xs:string'>"
            "<open/></validate></field></x></query>");
}

TEST_P(ArchiveTest, Metadata) {
  EXPECT_EQ(Own("get", "<metadata xmlns='urn:xmpp:mam:2'/>"),
            "result <metadata xmlns='urn:xmpp:mam:2'><start id='" + IdText(0) +
                "' timestamp='2020-09-13T12:26:40Z'/><end id='" + IdText(9) +
                "' timestamp='2020-09-13T12:26:49Z'/></metadata>");
  Fill({});
  EXPECT_EQ(Own("get", "<metadata xmlns='urn:xmpp:mam:2'/>"),
            "result <metadata xmlns='urn:xmpp:mam:2'></metadata>");
  EXPECT_EQ(Query(""), "| complete count=0");
}

TEST_P(ArchiveTest, Preferences) {
  EXPECT_EQ(Own("get", "<prefs xmlns='urn:xmpp:mam:2'/>"),
            "result <prefs xmlns='urn:xmpp:mam:2' default='always'><always/><never/></prefs>");
  const std::string prefs =
      "<prefs xmlns='urn:xmpp:mam:2' default='roster'><always><jid>romeo@montague.lit</jid>"
      "</always><never/></prefs>";
  EXPECT_EQ(Own("set", prefs), "result " + prefs);
  EXPECT_EQ(juliet->changes, std::vector(1, AccountChange::kArchivePrefs));
  EXPECT_EQ(Own("get", "<prefs xmlns='urn:xmpp:mam:2'/>"), "result " + prefs);
  EXPECT_EQ(Own("set", "<prefs xmlns='urn:xmpp:mam:2'/>"), "error modify bad-request");
  EXPECT_EQ(Own("get", "<prefs xmlns='urn:xmpp:mam:2'/>"), "result " + prefs);
  Add({.archive = {.prefs = false}});
  EXPECT_EQ(Own("set", prefs), "nobody");
}

}  // namespace
}  // namespace server
