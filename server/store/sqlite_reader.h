// A read-only connection of an SQLite file.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "server/store/sql_source.h"
#include "server/store/sqlite_db.h"

namespace server {

class SqliteReader final : public SqlSource {
 public:
  explicit SqliteReader(std::unique_ptr<SqliteDb> db) : db_(std::move(db)) {}

  // Several statements are one short transaction, over when the answers go.
  std::unique_ptr<SqlAnswers> Ask(const std::vector<SqlAsk>& asked) override;
  std::string ErrorText() const override { return error_; }
  bool lost() const override { return false; }

 private:
  class Answers;
  std::unique_ptr<SqliteDb> db_;
  std::string error_;
};

}  // namespace server
