#include "server/store/pg_writer.h"

#include <algorithm>
#include <ctime>
#include <iterator>

#include "net/report/log.h"
#include "server/store/random_id.h"
#include "server/store/store_thread.h"

namespace server {
namespace {

constexpr int kTries = 8;  // of a transaction that the server asks for again
constexpr int64_t kMarkDays = 30;

constexpr char kBeginWrites[] = "BEGIN";
constexpr char kCommitWrites[] = "COMMIT";
constexpr char kMakeMark[] =
    "INSERT INTO commit_marks (writer, sequence, fenced, at_s) VALUES ($1, 0, 0, $2) "
    "ON CONFLICT (writer) DO NOTHING";
constexpr char kForgetMarks[] = "DELETE FROM commit_marks WHERE at_s < $1";
// $2: the transaction's number, $3: the one before.
constexpr char kMark[] =
    "UPDATE commit_marks SET sequence = $2, fenced = 0, at_s = $4 "
    "WHERE writer = $1 AND sequence = $3";
constexpr char kFenceMark[] =
    "UPDATE commit_marks SET sequence = $2, fenced = 1 WHERE writer = $1 AND sequence = $3";
constexpr char kReadMark[] = "SELECT sequence, fenced FROM commit_marks WHERE writer = $1";

constexpr std::string_view kNothingChanged = "22012";  // division by zero
constexpr std::string_view kSerialization = "40001", kDeadlock = "40P01";

int64_t NowSeconds() { return static_cast<int64_t>(time(nullptr)); }

}  // namespace

PgWriter::PgWriter(const Options& options, std::unique_ptr<PgConnection> db, StoreMetrics& metrics)
    : options_(options),
      metrics_(metrics),
      db_(std::move(db)),
      mark_(RandomId()),
      queue_(options.limits, metrics) {
  thread_ = std::jthread([this] {
    BeStoreThread("store-write", StoreThread::kWrite);
    Loop();
  });
}

PgWriter::~PgWriter() {
  queue_.Stop();
  thread_.join();
}

void PgWriter::Loop() {
  std::chrono::milliseconds pause = options_.pause_min;
  while (queue_.Wait()) {
    if (Connect() && BeginMark()) {
      pause = options_.pause_min;
      Do(queue_.Take());
    } else if (queue_.stopped()) {
      queue_.Clear();
    } else {
      queue_.Pause(pause);
      pause = std::min(pause * 2, options_.pause_max);
    }
  }
}

bool PgWriter::Connect() {
  if (db_ != nullptr && !db_->lost()) return true;
  ++metrics_.reconnects;
  auto db = PgConnection::Open(options_.connection);
  if (!db) {
    Failed(db.error());
    return false;
  }
  db_ = std::move(*db);
  return true;
}

// Made when it is needed first; those of writers that are long gone go.
bool PgWriter::BeginMark() {
  if (marked_) return true;
  const int64_t now = NowSeconds();
  const auto results = db_->Together(
      {{kForgetMarks, {now - kMarkDays * 86'400}}, {kMakeMark, {std::string_view(mark_), now}}});
  marked_ = results.size() == 2 && PgGood(results[0].get()) && PgGood(results[1].get());
  if (!marked_) Failed(db_->ErrorText());
  return marked_;
}

void PgWriter::Do(Jobs jobs) {
  if (jobs.empty()) return;
  for (int tries = 0; tries < kTries; ++tries) {
    Outcome outcome = Transact(jobs);
    if (outcome.kind == Kind::kLost) {
      Failed(db_->ErrorText());
      const Fate fate = FindOut();
      if (fate == Fate::kNot) continue;
      if (fate == Fate::kUnknown) return EndBadly(jobs, StoreError::kUnknown, metrics_);
      outcome.kind = Kind::kCommitted;
    }
    switch (outcome.kind) {
      case Kind::kCommitted:
        ++metrics_.transactions;
        if (was_down_) {
          net::Log(net::LogLevel::kInfo, "store", "writes go on", {{"store", options_.shown}});
        }
        was_down_ = false;
        return EndWell(jobs, metrics_);
      case Kind::kRefused:
        return Split(std::move(jobs), outcome);
      case Kind::kFailed:
        Failed(db_->ErrorText());
        return EndBadly(jobs, StoreError::kDown, metrics_);
      case Kind::kAgain:
      case Kind::kLost:
        break;
    }
  }
  EndBadly(jobs, StoreError::kDown, metrics_);
}

PgWriter::Outcome PgWriter::Transact(const Jobs& jobs) {
  std::vector<std::unique_ptr<SqlSteps>> keep;
  std::vector<SqlStep> steps;
  std::vector<size_t> job_of;  // by step
  for (size_t i = 0; i < jobs.size(); ++i) {
    for (SqlStep& step : StepsOf(jobs[i].work, keep)) {
      steps.push_back(std::move(step));
      job_of.push_back(i);
    }
  }
  ++sequence_;
  std::vector<SqlAsk> asked = {
      {kBeginWrites, {}},
      {Must(kMark), {std::string_view(mark_), sequence_, sequence_ - 1, NowSeconds()}}};
  for (const SqlStep& step : steps) {
    asked.push_back({step.unchanged ? Must(step.sql) : step.sql, step.values});
  }
  asked.push_back({kCommitWrites, {}});
  const auto begin = std::chrono::steady_clock::now();
  const std::vector<PgResult> results = db_->Together(asked);
  if (results.size() < asked.size()) return {.kind = Kind::kLost};
  if (PgGood(results.back().get())) {
    const auto us = static_cast<uint64_t>(std::chrono::duration_cast<std::chrono::microseconds>(
                                              std::chrono::steady_clock::now() - begin)
                                              .count());
    metrics_.commit_us += us;
    metrics_.commit_us_max = std::max(metrics_.commit_us_max.load(), us);
    return {.kind = Kind::kCommitted};
  }
  --sequence_;
  const Outcome outcome = Judge(results, steps, job_of);
  db_->Run("ROLLBACK");
  return outcome;
}

// The first that failed says what became of all: the server answered, so nothing was kept.
PgWriter::Outcome PgWriter::Judge(const std::vector<PgResult>& results,
                                  const std::vector<SqlStep>& steps,
                                  const std::vector<size_t>& job_of) {
  constexpr size_t kBefore = 2;  // statements in front of the steps
  const auto failed = std::find_if(results.begin(), results.end(),
                                   [](const PgResult& r) { return !PgGood(r.get()); });
  const auto at = static_cast<size_t>(failed - results.begin());
  const std::string_view state = PgState(failed->get());
  if (state == kSerialization || state == kDeadlock) return {.kind = Kind::kAgain};
  if (at < kBefore) {
    marked_ = false;  // somebody took the row away: another is made
    mark_ = RandomId();
    sequence_ = 0;
    return {.kind = BeginMark() ? Kind::kAgain : Kind::kFailed};
  }
  if (at - kBefore >= steps.size()) return {.kind = Kind::kFailed};
  const SqlStep& step = steps[at - kBefore];
  const size_t job = job_of[at - kBefore];
  if (state == kNothingChanged && step.unchanged) {
    return {.kind = Kind::kRefused, .job = job, .error = *step.unchanged};
  }
  // A fault of the values; all else (no room, no rights, too long) would meet the others as well.
  if (state.starts_with("22") || state.starts_with("23") || state.starts_with("54")) {
    return {.kind = Kind::kRefused, .job = job, .error = StoreError::kDown};
  }
  return {.kind = Kind::kFailed};
}

void PgWriter::Split(Jobs jobs, const Outcome& outcome) {
  if (jobs.size() == 1) return EndBadly(jobs, outcome.error, metrics_);
  const auto at = jobs.begin() + static_cast<std::ptrdiff_t>(outcome.job);
  Jobs before(std::make_move_iterator(jobs.begin()), std::make_move_iterator(at));
  Jobs alone;
  alone.push_back(std::move(*at));
  Jobs behind(std::make_move_iterator(at + 1), std::make_move_iterator(jobs.end()));
  Do(std::move(before));
  Do(std::move(alone));
  Do(std::move(behind));
}

PgWriter::Fate PgWriter::FindOut() {
  const auto end = std::chrono::steady_clock::now() + options_.doubt_limit;
  std::chrono::milliseconds pause = options_.pause_min;
  while (true) {
    if (Connect()) {
      // Waits for the server's own end of the transaction, where it still works on it.
      const auto results =
          db_->Together({{kFenceMark, {std::string_view(mark_), sequence_, sequence_ - 1}},
                         {kReadMark, {std::string_view(mark_)}}});
      if (results.size() == 2 && PgGood(results[0].get()) && PgGood(results[1].get())) {
        const PGresult* mark = results[1].get();
        if (PQntuples(mark) == 1) {
          return PQgetvalue(mark, 0, 1) == std::string_view("1") ? Fate::kNot : Fate::kCommitted;
        }
        break;
      }
    }
    if (std::chrono::steady_clock::now() + pause > end) break;
    queue_.Pause(pause);
    pause = std::min(pause * 2, options_.pause_max);
  }
  // The row stays as it is; nothing is asked of it any more.
  marked_ = false;
  mark_ = RandomId();
  sequence_ = 0;
  return Fate::kUnknown;
}

const char* PgWriter::Must(const char* sql) {
  std::string& text = must_[sql];
  if (text.empty()) {
    text =
        "WITH changed AS (" + std::string(sql) + " RETURNING 1) SELECT 1 / count(*) FROM changed";
  }
  return text.c_str();
}

void PgWriter::Failed(const std::string& what) {
  if (!was_down_) {
    net::Log(net::LogLevel::kError, "store", "writes fail",
             {{"store", options_.shown}, {"reason", what}});
  }
  was_down_ = true;
}

}  // namespace server
