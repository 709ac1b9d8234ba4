// Processes that share a file and are killed, and machines that lose their power: what was
// acknowledged is there, whole, and the file is sound.
//
// STORE_CRASH_ROUNDS: how many times somebody is killed; a few by default, 200 as a soak.

#include <fcntl.h>
#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <random>
#include <set>

#include "server/store/sqlite_store.h"
#include "tests/server/store/store_loop.h"
#include "tests/test_folder.h"

namespace server {
namespace {

int Rounds(int otherwise) {
  const char* text = std::getenv("STORE_CRASH_ROUNDS");
  return text == nullptr ? otherwise : std::atoi(text);
}

// A store_probe; what it acknowledged is kept.
class Probe {
 public:
  Probe(const std::string& file, std::string name, uint64_t first,
        const std::string& synced_folder = "")
      : name_(std::move(name)) {
    std::vector<std::string> words = {STORE_PROBE, file, name_, std::to_string(first)};
    if (!synced_folder.empty()) words.push_back(synced_folder);
    std::vector<char*> argv;
    for (std::string& word : words) argv.push_back(word.data());
    argv.push_back(nullptr);
    int ends[2];
    CHECK(pipe2(ends, O_CLOEXEC) == 0);
    pid_ = fork();
    CHECK(pid_ >= 0);
    if (pid_ == 0) {
      dup2(ends[1], STDOUT_FILENO);
      execv(argv[0], argv.data());
      _exit(127);
    }
    close(ends[1]);
    out_ = ends[0];
  }
  ~Probe() {
    if (pid_ > 0) Kill();
    close(out_);
  }
  Probe(const Probe&) = delete;
  Probe& operator=(const Probe&) = delete;

  // False: it ended, or said nothing for long.
  bool WaitForAcks(size_t count) {
    while (acked_.size() < count) {
      pollfd ready{.fd = out_, .events = POLLIN, .revents = 0};
      if (poll(&ready, 1, 30'000) != 1 || !Read()) return false;
    }
    return true;
  }
  void Kill() {
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
    pid_ = -1;
    while (Read()) {
    }
  }
  const std::string& name() const { return name_; }
  const std::vector<uint64_t>& acked() const { return acked_; }

 private:
  bool Read() {
    char bytes[4096];
    const ssize_t got = read(out_, bytes, sizeof(bytes));
    if (got <= 0) return false;
    text_.append(bytes, static_cast<size_t>(got));
    size_t end = 0;
    while ((end = text_.find('\n')) != std::string::npos) {
      acked_.push_back(std::stoull(text_.substr(0, end)));
      text_.erase(0, end + 1);
    }
    return true;
  }

  const std::string name_;
  pid_t pid_ = -1;
  int out_ = -1;
  std::string text_;
  std::vector<uint64_t> acked_;
};

std::string IntegrityOf(const std::string& file) {
  auto db = SqliteDb::Open(file, SqliteDb::Mode::kReader);
  if (!db) return db.error().text;
  SqliteQuery query = (*db)->Query("PRAGMA integrity_check");
  return query.Row() ? std::string(query.Text(0)) : "no answer";
}

std::set<uint64_t> IdsOf(SqliteDb& db, const std::string& owner) {
  std::set<uint64_t> ids;
  SqliteQuery query = db.Query("SELECT id FROM archive WHERE owner = $1");
  query.Bind(std::string_view(owner));
  while (query.Row()) ids.insert(static_cast<uint64_t>(query.Int(0)));
  EXPECT_EQ(query.code(), SQLITE_OK);
  return ids;
}

using Acked = std::map<std::string, std::vector<uint64_t>>;

// All that was acknowledged is there, and every batch is whole.
void ExpectKept(const std::string& file, const Acked& acked) {
  ASSERT_TRUE(SqliteStore::Open({.path = file}).has_value());
  EXPECT_EQ(IntegrityOf(file), "ok");
  auto db = SqliteDb::Open(file, SqliteDb::Mode::kReader);
  ASSERT_TRUE(db.has_value());
  for (const auto& [name, numbers] : acked) {
    const std::set<uint64_t> ids = IdsOf(**db, name);
    EXPECT_EQ(ids, IdsOf(**db, name + "-mirror")) << "half a batch of " << name;
    size_t lost = 0;
    for (const uint64_t number : numbers) lost += ids.contains(number) ? 0U : 1U;
    EXPECT_EQ(lost, 0U) << "of " << numbers.size() << " that were acknowledged to " << name;
  }
}

TEST(SqliteCrashTest, ProcessesOfOneFileAreKilledAndNothingAcknowledgedIsLost) {
  const net::TestFolder folder;
  const std::string file = folder.Path("store.db");
  std::mt19937 random(20'261'128);
  Acked acked;
  uint64_t incarnation = 0;
  const auto start = [&](size_t slot) {
    return std::make_unique<Probe>(file, "writer" + std::to_string(slot), ++incarnation << 32);
  };
  const auto end = [&](Probe& probe) {
    probe.Kill();
    auto& all = acked[probe.name()];
    all.insert(all.end(), probe.acked().begin(), probe.acked().end());
  };
  std::vector<std::unique_ptr<Probe>> probes;
  for (size_t slot = 0; slot < 3; ++slot) probes.push_back(start(slot));
  const int rounds = Rounds(24);
  for (int round = 0; round < rounds; ++round) {
    auto& probe = probes[random() % probes.size()];
    ASSERT_TRUE(probe->WaitForAcks(1 + random() % 200)) << "round " << round;
    end(*probe);
    probe = start(std::stoul(probe->name().substr(6)));
    if (round % 20 == 19) {
      EXPECT_EQ(IntegrityOf(file), "ok");
    }
  }
  for (auto& probe : probes) end(*probe);
  ExpectKept(file, acked);
  size_t count = 0;
  for (const auto& [name, numbers] : acked) count += numbers.size();
  EXPECT_GT(count, 100U);
}

std::string Content(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

// What a disk may hold after its power failed: each sector as it was synced, or as it was written
// later, in any mix.
std::string AfterPowerCut(const std::string& synced, const std::string& written,
                          std::mt19937& random) {
  constexpr size_t kSector = 512;
  std::string content = synced;
  if (written.size() > content.size() && random() % 2 == 0) content.resize(written.size(), '\0');
  for (size_t at = 0; at < content.size() && at < written.size(); at += kSector) {
    if (random() % 2 == 0) continue;
    const size_t length = std::min({kSector, content.size() - at, written.size() - at});
    content.replace(at, length, written, at, length);
  }
  return content;
}

void CutPower(bool mixed) {
  std::mt19937 random(mixed ? 7 : 8);
  const int rounds = Rounds(6);
  for (int round = 0; round < rounds; ++round) {
    const net::TestFolder folder;
    const net::TestFolder synced;
    const net::TestFolder after;
    Acked acked;
    {
      Probe probe(folder.Path("store.db"), "writer0", 1, synced.path());
      ASSERT_TRUE(probe.WaitForAcks(50 + random() % 2'000));
      probe.Kill();
      acked[probe.name()] = probe.acked();
    }
    for (const char* part : {"store.db", "store.db-wal"}) {
      const std::string kept = Content(synced.Path(part));
      after.Write(part, mixed ? AfterPowerCut(kept, Content(folder.Path(part)), random) : kept);
    }
    ExpectKept(after.Path("store.db"), acked);
    if (testing::Test::HasFailure()) FAIL() << "round " << round;
  }
}

TEST(SqliteCrashTest, NothingAcknowledgedIsLostWhenAllThatWasNotSyncedIs) { CutPower(false); }

TEST(SqliteCrashTest, NothingAcknowledgedIsLostWhenSectorsOfTheRestWereWritten) { CutPower(true); }

}  // namespace
}  // namespace server
