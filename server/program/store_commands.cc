#include "server/program/store_commands.h"

#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <ctime>
#include <memory>

#include "net/io/event_loop.h"
#include "server/program/node_lock.h"
#include "server/store/copy_store.h"
#include "server/store/pg_connection.h"
#include "server/transfer/exporter.h"
#include "server/transfer/importer.h"
#include "server/transfer/prosody_source.h"
#include "server/transfer/xep0227.h"

namespace server {
namespace {

constexpr int kFailed = 1;
constexpr int kUsage = 2;
constexpr std::string_view kSqlite = "sqlite:";
constexpr std::chrono::milliseconds kStoreTurn{20};
constexpr std::chrono::seconds kTellEvery{1};
constexpr net::Duration kPatience = std::chrono::minutes(10);  // nobody else waits for us

struct Call {
  std::span<const std::string> words;  // behind the command
  const NodeSetup& setup;
  Terminal& terminal;

  int Fail(const std::string& error) const {
    terminal.Print("Error: " + error);
    return kFailed;
  }
  StoreOptions Store(const std::string& url) const {
    return {.url = url, .folder = setup.folder.root, .patience = kPatience};
  }
  // Where the node of this folder runs, what it writes meanwhile would be lost.
  bool NodeRuns() const {
    if (NodeLock::Holder(setup.folder.Lock()) == 0) return false;
    terminal.Print(
        "Error: the node runs, and what it writes meanwhile would be lost: stop it, and "
        "all others that use this store");
    return true;
  }
  // The file of the node's store; "" where it has none of its own, and that was told.
  std::string File() const {
    const std::string& url = setup.config.store.url;
    if (url.starts_with(kSqlite)) return setup.folder.Path(url.substr(kSqlite.size()));
    terminal.Print("Error: the store is in PostgreSQL: pg_dump and pg_restore copy it");
    return {};
  }
};

// Says how far it is, now and then.
class Progress {
 public:
  explicit Progress(Terminal& terminal) : terminal_(terminal) {}
  void Tell(const std::string& line) {
    const auto now = std::chrono::steady_clock::now();
    if (now - told_ < kTellEvery) return;
    told_ = now;
    terminal_.Print(line);
  }

 private:
  Terminal& terminal_;
  std::chrono::steady_clock::time_point told_ = std::chrono::steady_clock::now();
};

int Migrate(const Call& call) {
  if (call.NodeRuns()) return kFailed;
  Progress progress(call.terminal);
  const auto copied =
      CopyStore(call.Store(call.words[0]), call.Store(call.words[1]), [&](const CopyProgress& now) {
        progress.Tell(now.table + ": " + std::to_string(now.rows) + " rows");
      });
  if (!copied) return call.Fail(copied.error());
  call.terminal.Print("Copied " + std::to_string(copied->accounts) + " accounts, " +
                      std::to_string(copied->rows) + " rows of " + std::to_string(copied->tables) +
                      " tables. Now set store.url to \"" + PgShown(call.words[1]) +
                      "\" and start the node.");
  return 0;
}

int Backup(const Call& call) {
  const std::string file = call.File();
  if (file.empty()) return kFailed;
  const auto made = BackupSqlite(file, call.words[0]);
  if (!made) return call.Fail(made.error());
  call.terminal.Print("The store is copied to " + call.words[0]);
  return 0;
}

int Restore(const Call& call) {
  const std::string file = call.File();
  if (file.empty() || call.NodeRuns()) return kFailed;
  const auto restored = RestoreSqlite(call.words[0], file);
  if (!restored) return call.Fail(restored.error());
  call.terminal.Print("The store is that of " + call.words[0] +
                      (restored->empty() ? "" : "; what was there before is " + *restored));
  return 0;
}

// A store with a loop that its answers come to.
struct OpenedStore {
  net::SystemClock clock;
  std::unique_ptr<StoreBackend> store;
  std::unique_ptr<net::EventLoop> loop;
  std::unique_ptr<StoreClient> client;
};

// Null where it cannot be opened, and that was told.
std::unique_ptr<OpenedStore> Open(const Call& call) {
  auto opened = std::make_unique<OpenedStore>();
  auto store = OpenStore(call.Store(call.setup.config.store.url));
  auto loop = net::EventLoop::Create({}, opened->clock);
  if (!store || !loop) {
    call.Fail(!store ? "store.url: " + store.error() : loop.error());
    return nullptr;
  }
  opened->store = std::move(*store);
  opened->loop = std::move(*loop);
  opened->client = opened->store->Client(*opened->loop);
  return opened;
}

int Import(const Call& call, UserSource& source) {
  const auto opened = Open(call);
  if (opened == nullptr) return kFailed;
  Importer importer(*opened->client, source, [] { return static_cast<int64_t>(time(nullptr)); });
  std::optional<ImportReport> report;
  importer.Run([&report](ImportReport done) { report = std::move(done); });
  Progress progress(call.terminal);
  while (!report) {
    opened->loop->RunOnce(kStoreTurn);
    progress.Tell(std::to_string(importer.report().users) + " users, " +
                  std::to_string(importer.report().messages) + " messages");
  }
  for (const std::string& note : report->notes) call.terminal.Print("Note: " + note);
  if (report->notes.size() == kImportNotesMax) call.terminal.Print("Note: and more such");
  call.terminal.Print("Imported " + std::to_string(report->users) + " users with " +
                      std::to_string(report->messages) + " messages; " +
                      std::to_string(report->existed) + " existed, " +
                      std::to_string(report->failed) + " could not be read");
  if (!report->error.empty()) return call.Fail(report->error);
  return report->failed == 0 ? 0 : kFailed;
}

int ImportProsody(const Call& call) {
  auto source = ProsodySource::Open(call.words[0]);
  return source ? Import(call, **source) : call.Fail(source.error());
}

int ImportXep0227(const Call& call) {
  auto source = Xep0227Source::Open(call.words[0], static_cast<int64_t>(time(nullptr)) * 1'000'000);
  return source ? Import(call, **source) : call.Fail(source.error());
}

// What a client of the store is not told of: all of a user's private XML.
std::string PrivatesOf(SqlSource& source, const std::string& user, std::string* error) {
  const auto rows = source.Ask(
      {{"SELECT xml FROM private_storage WHERE owner = $1 ORDER BY name, space", {user}}});
  rows->Next();
  std::string xml;
  while (rows->Row()) xml += rows->Text(0);
  if (!rows->good()) *error = source.ErrorText();
  return xml.empty() ? xml : "<query xmlns='jabber:iq:private'>" + xml + "</query>";
}

struct CloseFile {
  void operator()(std::FILE* file) const { std::fclose(file); }
};

int ExportXep0227(const Call& call) {
  std::vector<std::string> domains;
  for (const NodeConfig::Host& host : call.setup.config.hosts) domains.push_back(host.domain);
  if (domains.empty()) {
    return call.Fail("there is no [[host]] in " + call.setup.folder.Toml() +
                     ": nobody is to be exported");
  }
  const std::string& to = call.words[0];
  // Keys of passwords are in it.
  const mode_t mask = umask(0077);
  const std::unique_ptr<std::FILE, CloseFile> file(std::fopen(to.c_str(), "wxe"));
  umask(mask);
  if (file == nullptr) return call.Fail(to + ": " + std::strerror(errno));
  const auto opened = Open(call);
  if (opened == nullptr) return kFailed;
  const auto source = opened->store->Source();
  if (source == nullptr) return call.Fail("the store cannot be read");
  std::string fault;
  Exporter exporter(
      *opened->client, std::move(domains),
      [&file](std::string_view bytes) {
        return std::fwrite(bytes.data(), 1, bytes.size(), file.get()) == bytes.size();
      },
      [&](const std::string& user) { return PrivatesOf(*source, user, &fault); });
  std::optional<ExportReport> report;
  exporter.Run([&report](ExportReport done) { report = std::move(done); });
  Progress progress(call.terminal);
  while (!report) {
    opened->loop->RunOnce(kStoreTurn);
    progress.Tell(std::to_string(exporter.report().users) + " users, " +
                  std::to_string(exporter.report().messages) + " messages");
  }
  const bool written = std::fflush(file.get()) == 0 && fsync(fileno(file.get())) == 0;
  std::string error = report->error.empty() ? fault : report->error;
  if (error.empty() && !written) error = to + " cannot be written";
  if (!error.empty()) {
    std::remove(to.c_str());
    return call.Fail(error + "; nothing is left in " + to);
  }
  call.terminal.Print("Exported " + std::to_string(report->users) + " users with " +
                      std::to_string(report->messages) + " messages to " + to);
  return 0;
}

struct Command {
  std::string_view first;
  std::string_view second;  // "": the first is all
  std::string_view arguments;
  size_t words;
  int (*run)(const Call& call);
};

constexpr std::array kStoreCommands = std::to_array<Command>({
    {"store", "migrate", "FROM TO", 2, Migrate},
    {"store", "backup", "FILE", 1, Backup},
    {"store", "restore", "FILE", 1, Restore},
    {"import", "prosody", "DIR", 1, ImportProsody},
    {"import", "xep0227", "FILE|DIR", 1, ImportXep0227},
    {"export", "xep0227", "FILE", 1, ExportXep0227},
    {"backup", "", "FILE", 1, Backup},
    {"restore", "", "FILE", 1, Restore},
});

}  // namespace

std::optional<int> RunStoreCommand(std::span<const std::string> args, const NodeSetup& setup,
                                   Terminal& terminal) {
  bool mine = false;
  for (const Command& command : kStoreCommands) {
    if (args.empty() || args[0] != command.first) continue;
    mine = true;
    const size_t before = command.second.empty() ? 1 : 2;
    if (before == 2 && (args.size() < 2 || args[1] != command.second)) continue;
    if (args.size() - before != command.words) break;
    return command.run({args.subspan(before), setup, terminal});
  }
  if (!mine) return std::nullopt;
  terminal.Print("Usage:");
  for (const Command& command : kStoreCommands) {
    if (args[0] != command.first) continue;
    terminal.Print("  mongooseimctl " + std::string(command.first) + ' ' +
                   (command.second.empty() ? "" : std::string(command.second) + ' ') +
                   std::string(command.arguments));
  }
  return kUsage;
}

}  // namespace server
