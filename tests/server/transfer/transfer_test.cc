// Users from Prosody's files and as XEP-0227: what Prosody 0.12 wrote is read, what we write is
// read back, and both stand in the store.
#include <gtest/gtest.h>
#include <sys/wait.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include "server/transfer/exporter.h"
#include "server/transfer/importer.h"
#include "server/transfer/prosody_source.h"
#include "server/transfer/xep0227.h"
#include "tests/server/store/store_kind.h"
#include "tests/server/store/store_loop.h"
#include "tests/test_folder.h"

namespace server {
namespace {

constexpr int64_t kNowUs = 1'750'000'000'000'000;
const std::string kRomeo = "romeo@prosody.example";

// What is told of a user, so that two of them can be compared.
std::string Told(const UserData& data, bool with_kept) {
  std::string text = data.user + " " + data.password + "\n";
  std::vector<std::string> lines;
  for (const RosterItem& item : data.roster) {
    std::string line = item.jid + " '" + item.name + "' " +
                       std::to_string(static_cast<int>(item.subscription)) +
                       (item.ask ? " ask" : "") + (item.pending_in ? " pending" : "");
    for (const std::string& group : item.groups) line += " [" + group + "]";
    lines.push_back(line);
  }
  std::ranges::sort(lines);
  for (const std::string& line : lines) text += line + "\n";
  text += data.vcard + "\n";
  for (const PrivateElement& one : data.privates) {
    text += one.name + " " + one.space + " " + one.xml + "\n";
  }
  for (const ArchiveEntry& entry : data.archive) {
    text += std::to_string(entry.id) + (entry.outgoing ? " to " : " from ") + entry.peer + "/" +
            entry.resource + " " + entry.origin_id + "\n";
  }
  for (const std::string& problem : data.problems) text += "problem: " + problem + "\n";
  if (!with_kept) return text;
  for (const std::string& jid : data.blocked) text += "blocked " + jid + "\n";
  text += data.archive_prefs + "\n";
  for (const OfflineEntry& entry : data.offline) {
    text += std::to_string(entry.id) + " " + entry.from + " " + entry.xml + "\n";
  }
  return text;
}

const std::string kRoster =
    "juliet@prosody.example 'Juliet \"J\" <3\nline' 3 [Friends] [W\xc3\xb6rk]\n"
    "nurse@prosody.example '' 0 ask\n"
    "old@prosody.example '' 4 pending\n"
    "paris@prosody.example '' 4 pending\n";
const std::string kRest =
    "<vCard xmlns='vcard-temp'><FN>Romeo &amp; co</FN><PHOTO><BINVAL>YWJj</BINVAL></PHOTO>"
    "</vCard>\n"
    "storage storage:bookmarks <storage xmlns='storage:bookmarks'><conference "
    "jid='room@rooms.example' autojoin='true'/></storage>\n"
    "435200000256000255 from juliet@prosody.example/a m1\n"
    "435200000256000511 to juliet@prosody.example/a m2\n";

bool HasPassword(const Account& account, std::string_view password) {
  const auto& keys = account.keys[static_cast<size_t>(ScramHash::kSha1)];
  return keys && ScramMatches(ScramHash::kSha1, *keys, password);
}

UserData One(UserSource& source) {
  auto next = source.Next();
  EXPECT_TRUE(next.has_value()) << (next ? "" : next.error().what);
  if (!next || !*next) return {};
  UserData data = std::move(**next);
  auto end = source.Next();
  EXPECT_TRUE(end.has_value() && !end->has_value());
  return data;
}

std::unique_ptr<Xep0227Source> Open(const std::string& path) {
  auto source = Xep0227Source::Open(path, kNowUs);
  EXPECT_TRUE(source.has_value()) << (source ? "" : source.error());
  return source ? std::move(*source) : nullptr;
}

// How the reading of one file ends.
std::string Failure(const net::TestFolder& folder, const std::string& content) {
  const auto source = Open(folder.Write("one.xml", content));
  for (;;) {
    const auto next = source->Next();
    if (!next) return next.error().what.substr(next.error().what.find("one.xml"));
    if (!*next) return "read";
  }
}

// --- Prosody.

// The folder as Prosody's own programs fill it.
class Prosody : public ::testing::Test {
 protected:
  void SetUp() override {
    const std::string data = folder_.Path("data");
    std::filesystem::create_directories(data + "/prosody%2eexample");
    const std::string config = folder_.Write(
        "prosody.cfg.lua", "run_as_root = true\ndata_path = \"" + data +
                               "\"\nauthentication = \"internal_hashed\"\n"
                               "log = { error = \"" +
                               folder_.Path("log") + "\" }\nVirtualHost \"prosody.example\"\n");
    ASSERT_EQ(std::system(("printf 'secret one\\nsecret one\\n' | prosodyctl --config " + config +
                           " adduser " + kRomeo + " >/dev/null 2>&1")
                              .c_str()),
              0);
    ASSERT_EQ(std::system(("lua5.4 " MONGOOSE_TRANSFER_TESTS "/prosody_fill.lua " + data).c_str()),
              0);
  }
  std::string data() const { return folder_.Path("data"); }
  net::TestFolder folder_;
};

TEST_F(Prosody, WhatItWroteIsRead) {
  auto source = ProsodySource::Open(data());
  ASSERT_TRUE(source.has_value()) << source.error();
  const UserData romeo = One(**source);
  std::string rest = kRest;  // attributes are sorted here
  const std::string bookmark = "jid='room@rooms.example' autojoin='true'";
  rest.replace(rest.find(bookmark), bookmark.size(), "autojoin='true' jid='room@rooms.example'");
  EXPECT_EQ(Told(romeo, true),
            kRomeo + " \n" + kRoster + rest +
                "blocked spam@evil.example\n"
                "<prefs xmlns='urn:xmpp:mam:2' default='roster'><always><jid>juliet@prosody.example"
                "</jid></always><never><jid>x@y</jid></never></prefs>\n"
                "435200000064000255 juliet@prosody.example/a <message from='juliet@prosody.example/"
                "a' to='romeo@prosody.example' type='chat' xml:lang='en'><body>are you there?"
                "</body><x xmlns='urn:y'>z</x></message>\n");
  EXPECT_TRUE(HasPassword(romeo.account, "secret one"));
  EXPECT_FALSE(HasPassword(romeo.account, "secret two"));
}

TEST_F(Prosody, AFileThatIsBrokenIsNamedAndTheNextUserComes) {
  const std::string accounts = data() + "/prosody%2eexample/accounts/";
  std::ofstream(accounts + "a%2eb.dat") << "return { [\"password\"] = \"plain\" }";
  std::ofstream(accounts + "broken.dat") << "return {\n [";
  const auto source = ProsodySource::Open(data()).value();
  const auto first = source->Next();
  ASSERT_TRUE(first.has_value());
  EXPECT_EQ((*first)->user, "a.b@prosody.example");
  EXPECT_EQ((*first)->password, "plain");
  const auto second = source->Next();
  ASSERT_FALSE(second.has_value());
  EXPECT_FALSE(second.error().last);
  EXPECT_EQ(second.error().what, accounts + "broken.dat: line 2: it ends in the middle");
  EXPECT_EQ(source->Next().value()->user, kRomeo);
  EXPECT_FALSE(ProsodySource::Open(data() + "/none").has_value());
}

TEST(ProsodyNames, AreEncodedAsItsFilesAre) {
  EXPECT_EQ(ProsodyFileName("a.b-\xc3\xb6"), "a%2eb%2d%c3%b6");
  for (const char* name : {"a.b-\xc3\xb6", "x", "%", "a%2", ""}) {
    EXPECT_EQ(ProsodyDecode(ProsodyFileName(name)), name);
  }
  EXPECT_EQ(ProsodyDecode("%"), "%");
  EXPECT_EQ(ProsodyDecode("%2"), "%2");
  EXPECT_EQ(ProsodyDecode("%zz"), "%zz");
}

// --- XEP-0227.

// Written by prosody-migrator 0.12.3 of the folder above.
TEST(Xep0227, WhatProsodyWroteIsRead) {
  const auto source = Open(MONGOOSE_TRANSFER_TESTS "/prosody_0227.xml");
  const UserData romeo = One(*source);
  std::string roster = kRoster;
  roster.replace(roster.find("<3\n"), 3, "<3 ");  // Prosody's attribute has lost it
  EXPECT_EQ(Told(romeo, false), kRomeo + " \n" + roster + kRest);
  EXPECT_TRUE(HasPassword(romeo.account, "secret one"));
}

TEST(Xep0227, OldFilesPasswordsAndIncludesAreRead) {
  const net::TestFolder folder;
  std::filesystem::create_directories(folder.Path("capulet.com"));
  const std::string ns =
      "xmlns='http://www.xmpp.org/extensions/xep-0227.html#ns' "
      "xmlns:xi='http://www.w3.org/2001/XInclude'";
  folder.Write("capulet.com.xml", "<host " + ns +
                                      " jid='capulet.com'>"
                                      "<xi:include href='capulet.com/juliet.xml'/></host>");
  folder.Write("capulet.com/juliet.xml",
               "<?xml version='1.0' encoding='UTF-8'?>\n<user " + ns +
                   " name='juliet' password='s3crEt'><query xmlns='jabber:iq:roster'>"
                   "<item jid='romeo@montague.net' name='Romeo' subscription='both'>"
                   "<group>Friends</group></item><item jid='@'/></query><offline-messages>"
                   "<message xmlns='jabber:client' from='romeo@montague.net/orchard' type='chat'>"
                   "<body>Neither</body><delay xmlns='urn:xmpp:delay' "
                   "stamp='1970-07-21T00:32:29Z'/></message></offline-messages>"
                   "<odd xmlns='x'/></user>");
  const auto source = Open(folder.Write(
      "main", "<server-data " + ns + "><xi:include href='capulet.com.xml'/></server-data>"));
  const UserData juliet = One(*source);
  EXPECT_EQ(juliet.user, "juliet@capulet.com");
  EXPECT_EQ(juliet.password, "s3crEt");
  ASSERT_EQ(juliet.roster.size(), 1U);
  EXPECT_EQ(juliet.roster[0].groups, std::vector<std::string>{"Friends"});
  ASSERT_EQ(juliet.offline.size(), 1U);
  EXPECT_EQ(juliet.offline[0].id >> 8U, 17'368'349'000'000U);
  EXPECT_EQ(juliet.problems,
            (std::vector<std::string>{"no contact: '@'", "unknown: <odd xmlns='x'/>"}));
}

TEST(Xep0227, WhatCannotBeReadSaysWhere) {
  const net::TestFolder folder;
  const std::string start =
      "<server-data xmlns='urn:xmpp:pie:0' "
      "xmlns:xi='http://www.w3.org/2001/XInclude'><host jid='a'>";
  EXPECT_EQ(Failure(folder, "<other/>"), "one.xml: is no <server-data/> of XEP-0227");
  EXPECT_EQ(Failure(folder, ""), "one.xml: it ends in the middle");
  EXPECT_EQ(Failure(folder, start + "<user name='b'>"), "one.xml: it ends in the middle");
  EXPECT_EQ(Failure(folder, start + "<user/>"), "one.xml: '' at 'a' is no account's address");
  EXPECT_EQ(Failure(folder, start + "</user>"), "one.xml: byte 95: not-well-formed");
  for (const char* href : {"../x.xml", "/etc/passwd", "", "a/../../b"}) {
    EXPECT_EQ(Failure(folder, start + "<xi:include href='" + href + "'/>"),
              "one.xml: includes '" + std::string(href) + "', which is not below it");
  }
  EXPECT_TRUE(
      Failure(folder, "<!DOCTYPE x [<!ENTITY a 'b'>]>" + start).ends_with(": restricted-xml"));
  EXPECT_FALSE(Xep0227Source::Open(folder.Path("none"), kNowUs).has_value());
}

// --- Into a store, and out of it.

class Transfer : public ::testing::Test {
 protected:
  struct Place {
    test::SqliteKind kind;
    std::unique_ptr<StoreBackend> backend;
    std::unique_ptr<StoreClient> client;
  };
  std::unique_ptr<Place> NewStore() {
    auto place = std::make_unique<Place>();
    place->backend = place->kind.Open(nullptr);
    place->client = place->backend->Client(loop_.loop());
    return place;
  }
  ImportReport Import(StoreClient& store, UserSource& source) {
    Importer importer(store, source, [] { return kNowUs / 1'000'000; });
    std::optional<ImportReport> told;
    importer.Run([&told](ImportReport report) { told = std::move(report); });
    EXPECT_TRUE(loop_.RunUntil([&told] { return told.has_value(); }));
    return told.value_or(ImportReport{});
  }
  std::string Export(StoreClient& store, std::vector<std::string> domains) {
    std::string file;
    Exporter exporter(store, std::move(domains), [&file](std::string_view bytes) {
      file += bytes;
      return true;
    });
    std::optional<ExportReport> told;
    exporter.Run([&told](ExportReport report) { told = std::move(report); });
    EXPECT_TRUE(loop_.RunUntil([&told] { return told.has_value(); }));
    EXPECT_EQ(told->error, "");
    exported_ = *told;
    return file;
  }
  std::vector<ArchiveEntry> AllOf(StoreClient& store) {
    std::vector<ArchiveEntry> all;
    for (bool complete = false; !complete;) {
      ArchiveQuery query;
      query.owner = kRomeo;
      query.after = all.empty() ? 0 : all.back().id;
      query.most = 500;
      ArchivePage page = loop_.Archive(store, query);
      complete = page.complete || page.entries.empty();
      std::ranges::move(page.entries, std::back_inserter(all));
    }
    return all;
  }
  test::StoreLoop loop_;
  ExportReport exported_;
};

TEST_F(Transfer, ThereAndBackItIsTheSame) {
  const auto first = NewStore();
  const auto source = Open(MONGOOSE_TRANSFER_TESTS "/prosody_0227.xml");
  const ImportReport report = Import(*first->client, *source);
  EXPECT_EQ(report.error, "");
  EXPECT_EQ(report.users, 1U);
  EXPECT_EQ(report.messages, 2U);
  // More than one page and batch, some of one moment, and what the file above has not.
  WriteBatch more;
  const uint64_t start = uint64_t{1'700'000'100'000'000} << 8U;
  for (uint64_t i = 0; i < 1'200; ++i) {
    ArchiveEntry entry = test::Entry(kRomeo, start + (i / 3 << 8U) + i % 3, "nurse@a.example");
    entry.outgoing = i % 2 == 0;
    entry.xml = entry.outgoing
                    ? "<message to='nurse@a.example/phone' from='romeo@prosody.example/x'/>"
                    : "<message from='nurse@a.example/phone' to='romeo@prosody.example'/>";
    entry.origin_id = "";
    more.emplace_back(AddArchive{.entry = entry});
  }
  more.emplace_back(AddOffline{
      .entry = {.owner = kRomeo,
                .id = start,
                .expires_s = 0,
                .from = "nurse@a.example/phone",
                .xml = "<message from='nurse@a.example/phone'><body>late</body></message>"},
      .most = 0});
  more.emplace_back(SetBlocked{.user = kRomeo, .jid = "spam.example", .blocked = true});
  more.emplace_back(PutArchivePrefs{
      .user = kRomeo,
      .xml = "<prefs xmlns='urn:xmpp:mam:2' default='never'><always/><never/></prefs>"});
  CreateAccount banned{.user = "tybalt@prosody.example", .account = {}};
  banned.account.banned = "he's dead & buried";
  more.emplace_back(banned);
  ASSERT_TRUE(loop_.Write(*first->client, std::move(more)).has_value());

  const std::string once = Export(*first->client, {"prosody.example", "empty.example"});
  EXPECT_EQ(exported_.users, 2U);
  EXPECT_EQ(exported_.messages, 1'203U);
  const net::TestFolder folder;
  const auto again = Open(folder.Write("export.xml", once));
  const auto second = NewStore();
  const ImportReport back = Import(*second->client, *again);
  EXPECT_EQ(back.error, "");
  EXPECT_EQ(back.users, 2U);
  EXPECT_EQ(back.messages, 1'203U);
  EXPECT_EQ(back.notes,
            std::vector<std::string>{"tybalt@prosody.example: has no password that we know"});

  const LoadedUser romeo = loop_.Load(*second->client, kRomeo);
  EXPECT_TRUE(HasPassword(romeo.account, "secret one"));
  EXPECT_EQ(romeo.roster.size(), 4U);
  EXPECT_EQ(romeo.blocked, std::vector<std::string>{"spam.example"});
  EXPECT_EQ(romeo.offline, 1U);
  EXPECT_EQ(loop_.Load(*second->client, "tybalt@prosody.example").account.banned,
            "he's dead & buried");
  const auto before = AllOf(*first->client);
  const auto after = AllOf(*second->client);
  ASSERT_EQ(before.size(), 1'202U);
  ASSERT_EQ(after.size(), before.size());
  for (size_t i = 0; i < after.size(); ++i) {
    EXPECT_EQ(after[i].id, before[i].id);
    EXPECT_EQ(after[i].outgoing, before[i].outgoing);
    EXPECT_EQ(after[i].peer, before[i].peer);
  }
  EXPECT_EQ(Export(*second->client, {"prosody.example", "empty.example"}), once);
}

TEST_F(Transfer, AUserThatExistsIsLeftAsItIs) {
  const auto place = NewStore();
  for (int i = 0; i < 2; ++i) {
    const auto source = Open(MONGOOSE_TRANSFER_TESTS "/prosody_0227.xml");
    const ImportReport report = Import(*place->client, *source);
    EXPECT_EQ(report.users, i == 0 ? 1U : 0U);
    EXPECT_EQ(report.existed, i == 0 ? 0U : 1U);
    EXPECT_EQ(report.messages, i == 0 ? 2U : 0U);
  }
}

TEST_F(Transfer, APasswordInPlainBecomesKeys) {
  const net::TestFolder folder;
  const auto source =
      Open(folder.Write("a.xml",
                        "<server-data xmlns='urn:xmpp:pie:0'><host jid='a.example'>"
                        "<user name='b' password='plain one'/></host></server-data>"));
  const auto place = NewStore();
  EXPECT_EQ(Import(*place->client, *source).users, 1U);
  const Account account = loop_.Load(*place->client, "b@a.example").account;
  for (size_t i = 0; i < kScramHashes; ++i) {
    EXPECT_TRUE(account.keys[i] &&
                ScramMatches(static_cast<ScramHash>(i), *account.keys[i], "plain one"));
  }
  EXPECT_EQ(account.created_s, kNowUs / 1'000'000);
}

TEST_F(Transfer, AFileThatCannotBeWrittenEndsTheExport) {
  const auto place = NewStore();
  Exporter exporter(*place->client, {"a.example"}, [](std::string_view) { return false; });
  std::optional<ExportReport> told;
  exporter.Run([&told](ExportReport report) { told = std::move(report); });
  EXPECT_TRUE(loop_.RunUntil([&told] { return told.has_value(); }));
  EXPECT_EQ(told->error, "the file cannot be written");
}

}  // namespace
}  // namespace server
