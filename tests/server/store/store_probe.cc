// A process that writes into a store until it is killed, and says on its output what was
// acknowledged: a line "NUMBER\n" for each batch, written behind its answer.
//
//   store_probe FILE NAME FIRST [SYNCED_FOLDER]
//
// Batch n puts the archive entry n of NAME and of NAME's mirror, and n as NAME's last activity.
// With SYNCED_FOLDER, what was synced lies there as a power cut would leave it.

#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <string>

#include "net/base/check.h"
#include "server/store/sqlite_store.h"
#include "tests/server/store/disk_shim.h"

namespace {

constexpr uint64_t kInFlight = 24;

class Writer {
 public:
  Writer(server::StoreClient& client, std::string name, uint64_t first)
      : client_(client), name_(std::move(name)), next_(first) {}

  void Next() {
    const uint64_t number = next_++;
    const auto entry = [number](std::string owner) {
      return server::AddArchive{{.owner = std::move(owner),
                                 .peer = "peer@example.org",
                                 .id = number,
                                 .xml = std::string(100 + number % 400, 'x')}};
    };
    client_.Write({entry(name_), entry(name_ + "-mirror"),
                   server::PutLast{name_, {.seconds = static_cast<int64_t>(number)}}},
                  [this, number](const auto& result) { OnEnd(number, result.has_value()); });
  }

 private:
  void OnEnd(uint64_t number, bool good) {
    CHECK(good);
    const std::string line = std::to_string(number) + "\n";
    CHECK(write(STDOUT_FILENO, line.data(), line.size()) == static_cast<ssize_t>(line.size()));
    Next();
  }

  server::StoreClient& client_;
  const std::string name_;
  uint64_t next_;
};

}  // namespace

int main(int argc, char** argv) {
  CHECK(argc == 4 || argc == 5);
  const std::string path = argv[1];
  if (argc == 5) {
    server::test::Disk().folder = path.substr(0, path.rfind('/'));
    server::test::Disk().synced_folder = argv[4];
  }
  net::SystemClock clock;
  auto loop = net::EventLoop::Create({}, clock);
  CHECK(loop.has_value());
  server::SqliteOptions options{.path = path};
  options.writer.checkpoint_pages = 60;  // often: it is what may go wrong
  auto store = server::SqliteStore::Open(std::move(options));
  if (!store) {
    std::fprintf(stderr, "%s\n", store.error().c_str());
    return 1;
  }
  auto client = (*store)->Client(**loop);
  // Nobody's last activity is kept who has no account; in a later life it is there already.
  client->Write({server::CreateAccount{argv[2], {}}}, [](const auto&) {});
  Writer writer(*client, argv[2], std::strtoull(argv[3], nullptr, 10));
  for (uint64_t i = 0; i < kInFlight; ++i) writer.Next();
  (*loop)->Run();
}
