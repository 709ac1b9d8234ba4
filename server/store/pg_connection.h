// A connection to PostgreSQL (libpq), set up as this store needs it, in pipeline mode: what is
// asked together is sent together and answered in one round trip.
//
// Blocking, on threads of the store, bounded: by connect_timeout, by the server's
// statement_timeout, and by a deadline of our own for servers that say nothing more. A connection
// that was lost stays so. One thread at a time.
#pragma once

#include <libpq-fe.h>

#include <chrono>
#include <expected>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "server/store/sql_source.h"

namespace server {

struct PgOptions {
  std::string url;  // postgresql://…, several hosts allowed; may hold a password: never shown
  std::chrono::milliseconds connect_limit{5'000};
  std::chrono::milliseconds statement_limit{10'000};  // in the server
  std::chrono::milliseconds idle_transaction_limit{5'000};
  std::chrono::milliseconds answer_limit{20'000};  // nothing more is heard: it is lost
};

struct PgFree {
  void operator()(PGresult* result) const { PQclear(result); }
  void operator()(PGconn* connection) const { PQfinish(connection); }
  void operator()(PQconninfoOption* options) const { PQconninfoFree(options); }
};
using PgResult = std::unique_ptr<PGresult, PgFree>;

// Five letters and digits, appendix A of PostgreSQL's manual; "": none.
std::string_view PgState(const PGresult* result);
bool PgGood(const PGresult* result);

class PgConnection final : public SqlSource {
 public:
  // To the host that takes writes. The error tells operators what is wrong.
  static std::expected<std::unique_ptr<PgConnection>, std::string> Open(const PgOptions& options);

  // --- One statement, or several without parameters, outside of a pipeline. Null: lost.
  PgResult Run(const char* sql);
  PgResult Run(const SqlAsk& asked);

  // --- Pipelines. As many results as statements, in order, all behind the last; of those behind
  // one that failed the status is PGRES_PIPELINE_ABORTED. Fewer: the connection was lost.
  std::vector<PgResult> Together(const std::vector<SqlAsk>& asked);

  // --- As a source: in one read-only transaction where there are several.
  std::unique_ptr<SqlAnswers> Ask(const std::vector<SqlAsk>& asked) override;
  std::string ErrorText() const override { return error_; }
  bool lost() const override { return lost_; }

 private:
  class Answers;
  PgConnection(PgOptions options, std::unique_ptr<PGconn, PgFree> connection)
      : options_(std::move(options)), connection_(std::move(connection)) {}
  bool SetUp();
  bool Prepare(const std::vector<SqlAsk>& asked);
  bool Send(const SqlAsk& asked);
  // Until all of `count` statements and the end of the pipeline are answered.
  std::vector<PgResult> Collect(size_t count);
  bool WaitForSocket(std::chrono::steady_clock::time_point end);
  void Lose(std::string why = {});  // "": libpq's words

  const PgOptions options_;
  std::unique_ptr<PGconn, PgFree> connection_;
  std::unordered_map<const char*, std::string> prepared_;  // by address; their names
  std::string error_;
  bool lost_ = false;
};

// The URL without what nobody may see, for logs.
std::string PgShown(const std::string& url);

}  // namespace server
