#include "server/store/sqlite_reader.h"

#include <optional>

namespace server {

class SqliteReader::Answers final : public SqlAnswers {
 public:
  Answers(SqliteDb& db, const std::vector<SqlAsk>& asked, std::string& error)
      : db_(db), asked_(asked), transaction_(asked.size() > 1), error_(error) {
    if (transaction_) Check(db_.Run("BEGIN"));
  }
  ~Answers() override {
    query_.reset();
    if (transaction_) db_.Run("COMMIT");
  }

  void Next() override {
    query_.reset();
    if (code_ != SQLITE_OK || at_ >= asked_.size()) return;
    query_.emplace(db_.Query(asked_[at_].sql));
    query_->BindAll(asked_[at_].values);
    ++at_;
  }
  bool Row() override {
    if (!query_) return false;
    if (query_->Row()) return true;
    Check(query_->code());
    return false;
  }
  bool good() const override { return code_ == SQLITE_OK; }
  std::string_view Text(int column) const override { return query_->Text(column); }
  int64_t Int(int column) const override { return query_->Int(column); }

 private:
  // The text is the connection's until its next call.
  void Check(int code) {
    if (code == SQLITE_OK) return;
    code_ = code;
    error_ = db_.ErrorText();
  }

  SqliteDb& db_;
  const std::vector<SqlAsk> asked_;
  const bool transaction_;
  std::string& error_;
  size_t at_ = 0;
  std::optional<SqliteQuery> query_;
  int code_ = SQLITE_OK;
};

std::unique_ptr<SqlAnswers> SqliteReader::Ask(const std::vector<SqlAsk>& asked) {
  return std::make_unique<Answers>(*db_, asked, error_);
}

}  // namespace server
