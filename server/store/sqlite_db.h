// A connection to an SQLite file, set up as this store needs it, and its prepared statements.
//
// One thread at a time. Results are codes of SQLite's, extended; 0 is good.
#pragma once

#include <sqlite3.h>

#include <cstdint>
#include <expected>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>

#include "server/store/sql.h"

namespace server {

class SqliteQuery;

class SqliteDb {
 public:
  enum class Mode : uint8_t { kWriter, kReader };
  struct Error {
    int code = 0;
    std::string text;
  };

  // A writer creates the file where it is missing; the caller holds the FileLock then.
  static std::expected<std::unique_ptr<SqliteDb>, Error> Open(const std::string& path, Mode mode);
  ~SqliteDb();
  SqliteDb(const SqliteDb&) = delete;
  SqliteDb& operator=(const SqliteDb&) = delete;

  // Statements without parameters and rows, one or many.
  int Run(const char* sql);
  // `sql` is prepared once; it must live as long as this does. One use of a text at a time.
  SqliteQuery Query(const char* sql);

  int Changes() const { return sqlite3_changes(db_); }
  std::string ErrorText() const;
  // Pages in the log as the last commit of this connection left it.
  int log_pages() const { return log_pages_; }
  void ForgetLogPages() { log_pages_ = 0; }
  struct Copied {
    int code = 0;
    bool whole = false;  // false: what somebody reads stands in the log alone
  };
  // Copies what it can of the log into the file, waiting for nobody. Who may, stands in
  // sqlite_checkpointer.h.
  Copied Checkpoint(bool truncate);
  sqlite3* raw() { return db_; }

 private:
  struct Finalize {
    void operator()(sqlite3_stmt* statement) const { sqlite3_finalize(statement); }
  };
  explicit SqliteDb(sqlite3* db) : db_(db) {}
  int SetUp(Mode mode);

  sqlite3* db_;
  int log_pages_ = 0;
  // By address: the texts are constants.
  std::unordered_map<const char*, std::unique_ptr<sqlite3_stmt, Finalize>> statements_;
};

// One use of a prepared statement: values in, rows out; reset at its end. What Text() returns holds
// until the next Row().
class SqliteQuery {
 public:
  ~SqliteQuery();
  SqliteQuery(SqliteQuery&& other) noexcept
      : statement_(std::exchange(other.statement_, nullptr)),
        code_(other.code_),
        bound_(other.bound_) {}
  SqliteQuery& operator=(SqliteQuery&&) = delete;

  SqliteQuery& Bind(const SqlValue& value);
  SqliteQuery& BindAll(const std::vector<SqlValue>& values);
  // A row is there. False: no more, or code() tells what went wrong.
  bool Row();
  int code() const { return code_; }

  std::string_view Text(int column) const;
  int64_t Int(int column) const { return sqlite3_column_int64(statement_, column); }

 private:
  friend class SqliteDb;
  SqliteQuery(sqlite3_stmt* statement, int code) : statement_(statement), code_(code) {}

  sqlite3_stmt* statement_;
  int code_;
  int bound_ = 0;
};

}  // namespace server
