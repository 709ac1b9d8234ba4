// What operators want in a file of the node's machine, or out of one: account importUsers, gdpr
// retrievePersonalData. And account checkPasswordHash, which nodes of ours must refuse.
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <system_error>
#include <utility>

#include "net/io/socket.h"
#include "server/program/csv.h"
#include "server/program/xmpp_accounts.h"
#include "server/program/xmpp_commands.h"
#include "server/program/zip_file.h"
#include "server/store/backend.h"
#include "server/store/rows.h"
#include "server/xmpp/date_time.h"

namespace server {
namespace {

std::string PathOf(const CommandGround& ground, const std::string& name) {
  return name.starts_with('/') ? name : ground.folder + "/" + name;
}

// `then` on a worker, when `work` was done on a thread that may block.
void Aside(CommandGround& ground, std::move_only_function<void()> work,
           std::move_only_function<void(StoreClient& store)> then) {
  ground.service.OnWorker(
      [work = std::move(work), then = std::move(then)](XmppWorker& worker) mutable {
        worker.Aside(std::move(work),
                     [&worker, then = std::move(then)]() mutable { then(worker.store()); });
      });
}

// --- Only keys of SCRAM are kept here, which say nothing of another hash of the password.

void CheckPasswordHash(CommandCall call) {
  const auto user = call.User("user");
  if (!user) return;
  const std::string method = call.Text("hashMethod");
  if (method != "md5" && method != "sha") {
    return call.Fault("Given hash method `" + method + "` is not supported. Try `md5` or `sha`",
                      "wrong_method", {{"hashMethod", method}});
  }
  call.Fault("User does not exist or using SCRAM password", "wrong_user", {{"jid", user->full()}});
}

// --- Users of a file: user,host,password a line.

constexpr size_t kImportBytesMax = size_t{64} << 20U;
constexpr size_t kImportUsersMax = 10'000;

struct UsersImport {
  CommandCall call;
  std::string path;
  std::string trouble = {};
  std::vector<std::vector<std::string>> lines = {};
  size_t next = 0;
  std::array<CtlJson, 6> lists = {CtlJson::List(), CtlJson::List(), CtlJson::List(),
                                  CtlJson::List(), CtlJson::List(), CtlJson::List()};
};
enum ImportList : uint8_t { kCreated, kExisting, kNotAllowed, kInvalidJid, kEmpty, kInvalidRecord };
constexpr std::array<std::string_view, 6> kImportLists = {
    "created", "existing", "notAllowed", "invalidJID", "emptyPassword", "invalidRecord"};

void ReadImport(UsersImport& import) {
  // Of what is no file that has a size, nothing is read: it may never end.
  std::error_code error;
  const uintmax_t size = std::filesystem::file_size(import.path, error);
  std::ifstream file;
  if (!error) file.open(import.path, std::ios::binary);
  if (error || !file) {
    import.trouble = "File not found";
    return;
  }
  if (size > kImportBytesMax) {
    import.trouble = "The file is larger than " + std::to_string(kImportBytesMax) + " bytes";
    return;
  }
  std::ostringstream text;
  text << file.rdbuf();
  import.lines = ReadCsv(text.view());
  if (import.lines.size() <= kImportUsersMax) return;
  import.trouble = "One file has at most " + std::to_string(kImportUsersMax) + " users";
}

CtlJson ImportJson(UsersImport& import, std::string_view status) {
  CtlJson json = CtlJson::Object();
  json.Set("status", CtlJson::Text(status));
  for (size_t i = 0; i < kImportLists.size(); ++i) {
    json.Set(kImportLists[i], std::move(import.lists[i]));
  }
  return json;
}

void NextImport(const std::shared_ptr<UsersImport>& import);

void Imported(const std::shared_ptr<UsersImport>& import, const std::string& jid,
              const AccountResult& result) {
  if (result.outcome == AccountOutcome::kFailed || result.outcome == AccountOutcome::kNoXmpp) {
    CtlAnswer answer{.data = ImportJson(*import, "Failed"), .faults = {}};
    answer.faults.push_back({.message = "The store did not do it: " + result.detail,
                             .extensions = {{"jid", jid}, {"code", "store_failed"}}});
    return import->call.Answer(std::move(answer));
  }
  const ImportList list = result.outcome == AccountOutcome::kDone       ? kCreated
                          : result.outcome == AccountOutcome::kExists   ? kExisting
                          : result.outcome == AccountOutcome::kNoDomain ? kNotAllowed
                          : result.detail.empty()                       ? kInvalidJid
                                                                        : kEmpty;
  import->lists[list].Add(CtlJson::Text(jid));
  NextImport(import);
}

void NextImport(const std::shared_ptr<UsersImport>& import) {
  while (import->next < import->lines.size()) {
    const std::vector<std::string>& line = import->lines[import->next++];
    if (line.size() != 3) {
      // Whichever of its fields may be the password.
      import->lists[kInvalidRecord].Add(CtlJson::Text("record " + std::to_string(import->next) +
                                                      ": " + std::to_string(line.size()) +
                                                      " fields, not user,host,password"));
      continue;
    }
    const auto jid = Jid::Parse(line[0] + "@" + line[1]);
    if (!jid || !jid->is_bare() || jid->local().empty()) {
      import->lists[kInvalidJid].Add(CtlJson::Text(line[0] + "," + line[1]));
      continue;
    }
    if (line[2].empty()) {
      import->lists[kEmpty].Add(CtlJson::Text(jid->full()));
      continue;
    }
    CommandGround& ground = import->call.ground();
    // DoAccount() would say so from within: a call in a call for each such line.
    if (std::ranges::find(ground.domains, jid->domain()) == ground.domains.end()) {
      import->lists[kNotAllowed].Add(CtlJson::Text(jid->full()));
      continue;
    }
    return DoAccount(ground.service, ground.domains,
                     {.action = AccountAction::kRegister, .user = jid->full(), .password = line[2]},
                     [import, name = jid->full()](const AccountResult& result) {
                       Imported(import, name, result);
                     });
  }
  import->call.Result(ImportJson(*import, "Completed"));
}

void ImportUsers(CommandCall call) {
  CommandGround& ground = call.ground();
  std::string path = PathOf(ground, call.Text("filename"));
  const auto import =
      std::make_shared<UsersImport>(UsersImport{.call = std::move(call), .path = std::move(path)});
  Aside(
      ground, [import] { ReadImport(*import); },
      [import](StoreClient&) {
        if (import->trouble.empty()) return NextImport(import);
        const bool missing = import->trouble == "File not found";
        import->call.Fault(import->trouble, missing ? "file_not_found" : "invalid_file",
                           {{"filename", import->path}});
      });
}

// --- All that is stored of an account, as a ZIP of CSV files.

constexpr size_t kPersonalBytesMax = size_t{512} << 20U;
constexpr uint32_t kStanzasPage = 500;

struct Retrieval {
  CommandCall call;
  StoreBackend& backend;
  StoreClient* store = nullptr;
  std::string user;
  std::string path;
  std::vector<ZipMember> files = {};
  std::string archive = {};
  uint64_t after = 0;
  std::string trouble = {};
};
using Retrieving = std::shared_ptr<Retrieval>;

std::string Csv(const std::vector<std::vector<std::string>>& lines) {
  std::string csv;
  for (const auto& line : lines) AppendCsv(csv, line);
  return csv;
}

std::string TimeOf(uint64_t id) {
  return DateTimeText(static_cast<int64_t>(id >> kArchiveIdNodeBits));
}

std::string_view SubscriptionText(Subscription subscription) {
  switch (subscription) {
    case Subscription::kTo:
      return "to";
    case Subscription::kFrom:
      return "from";
    case Subscription::kBoth:
      return "both";
    case Subscription::kNone:
    case Subscription::kRemove:
      break;
  }
  return "none";
}

void TakeAccount(Retrieval& to, const LoadedUser& loaded) {
  to.files.emplace_back(
      "account.csv",
      Csv({{"jid", "created", "banned"},
           {to.user, DateTimeText(loaded.account.created_s * 1'000'000), loaded.account.banned}}));
  std::string roster = Csv({{"jid", "name", "subscription", "ask", "groups", "askmessage"}});
  for (const RosterItem& item : loaded.roster) {
    std::string groups;
    for (const std::string& group : item.groups) groups += (groups.empty() ? "" : ";") + group;
    AppendCsv(roster,
              {item.jid, item.name, std::string(SubscriptionText(item.subscription)),
               item.ask ? (item.pending_in ? "both" : "out") : (item.pending_in ? "in" : "none"),
               groups, item.request});
  }
  to.files.emplace_back("roster.csv", std::move(roster));
  std::string blocked = Csv({{"jid"}});
  for (const std::string& jid : loaded.blocked) AppendCsv(blocked, {jid});
  to.files.emplace_back("blocklist.csv", std::move(blocked));
}

// What a client of the store does not tell. Blocking.
bool TakeLists(Retrieval& to) {
  const auto source = to.backend.Source();
  if (source == nullptr) return false;
  std::string privates = Csv({{"ns", "xml"}});
  std::string rooms = Csv({{"room", "affiliation", "nick", "reason"}});
  const auto rows = source->Ask(
      {{"SELECT space, xml FROM private_storage WHERE owner = $1 ORDER BY space, name", {to.user}},
       {"SELECT room, affiliation, nick, reason FROM room_affiliations WHERE jid = $1 "
        "ORDER BY room",
        {to.user}}});
  rows->Next();
  while (rows->Row()) {
    AppendCsv(privates, {std::string(rows->Text(0)), std::string(rows->Text(1))});
  }
  rows->Next();
  while (rows->Row()) {
    AppendCsv(rooms, {std::string(rows->Text(0)), std::string(rows->Text(1)),
                      std::string(rows->Text(2)), std::string(rows->Text(3))});
  }
  to.files.emplace_back("private.csv", std::move(privates));
  to.files.emplace_back("rooms.csv", std::move(rooms));
  return rows->good();
}

// Whole, for its owner alone, and not in the place of another file.
std::string WriteNew(const std::string& path, const std::string& bytes) {
  const net::UniqueFd file(open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
  if (!file) return path + ": " + std::strerror(errno);
  size_t at = 0;
  while (at < bytes.size()) {
    const ssize_t wrote = write(file.get(), bytes.data() + at, bytes.size() - at);
    if (wrote < 0 && errno == EINTR) continue;
    if (wrote < 0) {
      std::string trouble = path + ": " + std::strerror(errno);
      unlink(path.c_str());
      return trouble;
    }
    at += static_cast<size_t>(wrote);
  }
  return {};
}

void EndRetrieval(const Retrieving& to) {
  CommandGround& ground = to->call.ground();
  Aside(
      ground,
      [to] {
        if (!TakeLists(*to)) {
          to->trouble = "The store cannot be read";
        } else {
          to->trouble = WriteNew(to->path, ZipOf(to->files));
        }
      },
      [to](StoreClient&) {
        if (to->trouble.empty()) return to->call.Result("Data retrieved");
        to->call.Fault(to->trouble, "file_failed", {{"resultFilepath", to->path}});
      });
}

void TooLarge(const Retrieving& to, const std::string& what) {
  to->call.Fault(what + " is larger than " + std::to_string(kPersonalBytesMax) +
                     " bytes: use mongooseimctl export xep0227",
                 "too_large");
}

void NextArchive(const Retrieving& to) {
  to->store->Archive({.owner = to->user, .after = to->after, .most = kStanzasPage},
                     [to](std::expected<ArchivePage, StoreError> page) {
                       if (!page) return to->call.StoreFailed(page.error());
                       for (const ArchiveEntry& entry : page->entries) {
                         to->after = entry.id;
                         AppendCsv(to->archive,
                                   {std::to_string(entry.id), TimeOf(entry.id),
                                    entry.outgoing ? to->user : entry.peer, entry.xml});
                       }
                       if (to->archive.size() > kPersonalBytesMax)
                         return TooLarge(to, "The archive");
                       if (!page->complete && !page->entries.empty()) return NextArchive(to);
                       to->files.emplace_back("archive.csv", std::move(to->archive));
                       EndRetrieval(to);
                     });
}

void NextOffline(const Retrieving& to, std::string csv, uint64_t after) {
  to->store->Offline(to->user, after, kStanzasPage, [to, csv = std::move(csv)](auto page) mutable {
    if (!page) return to->call.StoreFailed(page.error());
    for (const OfflineEntry& entry : page->entries) {
      AppendCsv(csv, {TimeOf(entry.id), entry.from, to->user, entry.xml});
    }
    if (csv.size() > kPersonalBytesMax) return TooLarge(to, "What waits");
    if (!page->complete) return NextOffline(to, std::move(csv), page->entries.back().id);
    to->files.emplace_back("offline.csv", std::move(csv));
    to->archive = Csv({{"id", "timestamp", "from", "message"}});
    NextArchive(to);
  });
}

void TakeLast(const Retrieving& to) {
  to->store->Last(to->user, [to](auto last) {
    if (!last && last.error() != StoreError::kAbsent) return to->call.StoreFailed(last.error());
    std::string csv = Csv({{"timestamp", "status"}});
    if (last) AppendCsv(csv, {DateTimeText(last->seconds * 1'000'000), last->status});
    to->files.emplace_back("last.csv", std::move(csv));
    NextOffline(to, Csv({{"timestamp", "from", "to", "packet"}}), 0);
  });
}

void TakeVcard(const Retrieving& to) {
  to->store->Vcard(to->user, [to](auto vcard) {
    if (!vcard) return to->call.StoreFailed(vcard.error());
    std::string csv = Csv({{"jid", "vcard"}});
    if (!vcard->empty()) AppendCsv(csv, {to->user, *vcard});
    to->files.emplace_back("vcard.csv", std::move(csv));
    TakeLast(to);
  });
}

void RetrievePersonalData(CommandCall call) {
  const auto domain = call.Domain("domain");
  if (!domain) return;
  const auto user = Jid::Parse(call.Text("username") + "@" + *domain);
  if (!user || !user->is_bare() || user->local().empty()) {
    return call.Fault("'" + call.Text("username") + "' is no name of a user", "invalid_jid");
  }
  CommandGround& ground = call.ground();
  std::string path = PathOf(ground, call.Text("resultFilepath"));
  const auto to = std::make_shared<Retrieval>(Retrieval{.call = std::move(call),
                                                        .backend = *ground.store,
                                                        .user = user->full(),
                                                        .path = std::move(path)});
  ground.OnStore([to](StoreClient& store) {
    to->store = &store;
    store.Load(to->user, [to](const auto& loaded) {
      if (!loaded) return to->call.StoreFailed(loaded.error());
      if (!loaded->exists) {
        return to->call.Fault("User " + to->user + " does not exist", "user_does_not_exist",
                              {{"jid", to->user}});
      }
      TakeAccount(*to, *loaded);
      TakeVcard(to);
    });
  });
}

constexpr std::array kFileCommands = std::to_array<XmppCommand>({
    {"account", "checkPasswordHash", Anywhere{CheckPasswordHash}},
    {"account", "importUsers", ThisNode{ImportUsers}},
    {"gdpr", "retrievePersonalData", ThisNode{RetrievePersonalData}},
});

}  // namespace

std::span<const XmppCommand> FileCommands() { return kFileCommands; }

}  // namespace server
