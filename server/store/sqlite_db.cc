#include "server/store/sqlite_db.h"

namespace server {
namespace {

// Others hold SQLite's own locks for moments: recovery after a crash, an operator's sqlite3.
constexpr int kBusyTimeoutMs = 2'000;

// What a statement or a savepoint may have to take back stays in memory, where what it writes is,
// too: in a file it is two writes a page, in a folder that may be slow or missing. Refused, and no
// harm, where somebody uses SQLite already.
void KeepStatementJournalsInMemory() {
  [[maybe_unused]] static const int kDone = sqlite3_config(SQLITE_CONFIG_STMTJRNL_SPILL, -1);
}

int OnLog(void* pages, sqlite3*, const char*, int count) {
  *static_cast<int*>(pages) = count;
  return SQLITE_OK;
}

}  // namespace

std::expected<std::unique_ptr<SqliteDb>, SqliteDb::Error> SqliteDb::Open(const std::string& path,
                                                                         Mode mode) {
  KeepStatementJournalsInMemory();
  const int flags =
      mode == Mode::kWriter ? SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE : SQLITE_OPEN_READONLY;
  sqlite3* raw = nullptr;
  int code = sqlite3_open_v2(path.c_str(), &raw,
                             flags | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE, nullptr);
  std::unique_ptr<SqliteDb> db(new SqliteDb(raw));
  if (code == SQLITE_OK) code = db->SetUp(mode);
  if (code != SQLITE_OK) {
    return std::unexpected(Error{code, raw == nullptr ? "out of memory" : db->ErrorText()});
  }
  return db;
}

int SqliteDb::SetUp(Mode mode) {
  sqlite3_busy_timeout(db_, kBusyTimeoutMs);
  // The log is copied into the file by the writer alone, under the FileLock.
  int code = sqlite3_db_config(db_, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, nullptr);
  if (code == SQLITE_OK) code = Run("PRAGMA wal_autocheckpoint = 0; PRAGMA mmap_size = 0");
  if (code != SQLITE_OK || mode == Mode::kReader) return code;
  sqlite3_wal_hook(db_, OnLog, &log_pages_);
  // The log is cut to this size when it begins anew.
  return Run(
      "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; "
      "PRAGMA journal_size_limit = 67108864");
}

SqliteDb::~SqliteDb() {
  statements_.clear();
  sqlite3_close_v2(db_);
}

int SqliteDb::Run(const char* sql) { return sqlite3_exec(db_, sql, nullptr, nullptr, nullptr); }

SqliteQuery SqliteDb::Query(const char* sql) {
  auto& statement = statements_[sql];
  if (statement == nullptr) {
    sqlite3_stmt* made = nullptr;
    const int code = sqlite3_prepare_v3(db_, sql, -1, SQLITE_PREPARE_PERSISTENT, &made, nullptr);
    if (code != SQLITE_OK) return SqliteQuery(nullptr, code);
    statement.reset(made);
  }
  return SqliteQuery(statement.get(), SQLITE_OK);
}

std::string SqliteDb::ErrorText() const {
  std::string text = sqlite3_errmsg(db_);
  if (const int error = sqlite3_system_errno(db_); error != 0) {
    text += " (errno " + std::to_string(error) + ")";
  }
  return text;
}

SqliteDb::Copied SqliteDb::Checkpoint(bool truncate) {
  int log = 0;
  int copied = 0;
  const int code = sqlite3_wal_checkpoint_v2(
      db_, nullptr, truncate ? SQLITE_CHECKPOINT_TRUNCATE : SQLITE_CHECKPOINT_PASSIVE, &log,
      &copied);
  return {.code = code, .whole = code == SQLITE_OK && copied >= log};
}

SqliteQuery::~SqliteQuery() {
  if (statement_ == nullptr) return;
  sqlite3_reset(statement_);
  sqlite3_clear_bindings(statement_);
}

SqliteQuery& SqliteQuery::Bind(const SqlValue& value) {
  ++bound_;
  if (code_ != SQLITE_OK) return *this;
  if (const int64_t* number = std::get_if<int64_t>(&value)) {
    code_ = sqlite3_bind_int64(statement_, bound_, *number);
  } else {
    // An empty view may have no address, which would bind NULL.
    const std::string_view text = std::get<std::string_view>(value);
    code_ = sqlite3_bind_text64(statement_, bound_, text.empty() ? "" : text.data(), text.size(),
                                SQLITE_STATIC, SQLITE_UTF8);
  }
  return *this;
}

SqliteQuery& SqliteQuery::BindAll(const std::vector<SqlValue>& values) {
  for (const SqlValue& value : values) Bind(value);
  return *this;
}

bool SqliteQuery::Row() {
  if (code_ != SQLITE_OK) return false;
  const int code = sqlite3_step(statement_);
  if (code == SQLITE_ROW) return true;
  if (code != SQLITE_DONE) code_ = code;
  return false;
}

std::string_view SqliteQuery::Text(int column) const {
  const auto* text = sqlite3_column_text(statement_, column);
  if (text == nullptr) return {};
  return {reinterpret_cast<const char*>(text),
          static_cast<size_t>(sqlite3_column_bytes(statement_, column))};
}

}  // namespace server
