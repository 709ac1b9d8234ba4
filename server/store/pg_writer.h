// The one thread of a process that writes into PostgreSQL, over one connection. It takes all that
// is queued as one transaction, sent as one pipeline: one round trip and one sync of the server's
// log for many batches. Where one batch cannot be (kConflict, kAbsent, or what the server does not
// accept), the transaction is rolled back, and those before it, it, and those behind it are tried
// as transactions of their own: the order stays.
//
// Each transaction moves this writer's row of commit_marks from n - 1 to n. Where the connection
// breaks before the answer to COMMIT, another one asks the row, and moves it there itself when the
// transaction did not: so the transaction is found out to have happened, or can never happen, even
// if the server still works on it. It is done again then. kUnknown: no server could be asked in
// time.
//
// While no server can be reached, batches wait in the queue within their patience.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <thread>
#include <unordered_map>
#include <vector>

#include "server/store/backend.h"
#include "server/store/pg_connection.h"
#include "server/store/write_queue.h"

namespace server {

class PgWriter final : public StoreWriter {
 public:
  struct Options {
    PgOptions connection;
    std::string shown;  // of the URL, for logs
    WriteLimits limits{.transaction_batches_max = 512};
    std::chrono::milliseconds doubt_limit{30'000};  // to find out what became of a COMMIT
    std::chrono::milliseconds pause_min{100};       // before a server is tried again
    std::chrono::milliseconds pause_max{2'000};
  };

  PgWriter(const Options& options, std::unique_ptr<PgConnection> db, StoreMetrics& metrics);
  ~PgWriter() override;
  PgWriter(const PgWriter&) = delete;
  PgWriter& operator=(const PgWriter&) = delete;

  WriteQueue& queue() override { return queue_; }

 private:
  using Jobs = std::vector<WriteJob>;
  enum class Kind : uint8_t {
    kCommitted,
    kRefused,  // for one batch's sake
    kAgain,    // the server asks for it: serialization, deadlock
    kFailed,   // for all
    kLost,     // it may have happened
  };
  struct Outcome {
    Kind kind = Kind::kFailed;
    size_t job = 0;                        // kRefused: which
    StoreError error = StoreError::kDown;  // and with what
  };

  void Loop();
  void Do(Jobs jobs);
  Outcome Transact(const Jobs& jobs);
  Outcome Judge(const std::vector<PgResult>& results, const std::vector<SqlStep>& steps,
                const std::vector<size_t>& job_of);
  void Split(Jobs jobs, const Outcome& outcome);
  // Of transaction `sequence_`, whose answer was lost.
  enum class Fate : uint8_t { kCommitted, kNot, kUnknown };
  Fate FindOut();
  bool Connect();
  bool BeginMark();
  // `sql` as it must be asked so that the server ends the transaction where nothing was changed.
  const char* Must(const char* sql);
  void Failed(const std::string& what);

  const Options options_;
  StoreMetrics& metrics_;
  std::unique_ptr<PgConnection> db_;  // null or lost: to be opened again
  std::string mark_;                  // this writer's name in commit_marks
  int64_t sequence_ = 0;              // of the last transaction
  bool marked_ = false;               // the row is there
  bool was_down_ = false;
  std::unordered_map<const char*, std::string> must_;
  WriteQueue queue_;
  std::jthread thread_;
};

}  // namespace server
