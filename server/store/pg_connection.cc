#include "server/store/pg_connection.h"

#include <endian.h>
#include <poll.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>

#include "net/base/check.h"

namespace server {
namespace {

constexpr Oid kInt8 = 20;
constexpr Oid kText = 25;
constexpr char kBeginReads[] = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";
constexpr char kEndReads[] = "COMMIT";

// A statement's parameters as libpq wants them: binary, so that texts need no end and no copy.
class Parameters {
 public:
  explicit Parameters(const std::vector<SqlValue>& values) {
    numbers_.reserve(values.size());
    for (const SqlValue& value : values) {
      if (const int64_t* number = std::get_if<int64_t>(&value)) {
        numbers_.push_back(htobe64(static_cast<uint64_t>(*number)));
        Add(reinterpret_cast<const char*>(&numbers_.back()), sizeof(uint64_t));
      } else {
        const std::string_view text = std::get<std::string_view>(value);
        Add(text.empty() ? "" : text.data(), text.size());
      }
    }
    formats_.assign(values.size(), 1);
  }
  int count() const { return static_cast<int>(values_.size()); }
  const char* const* values() const { return values_.data(); }
  const int* lengths() const { return lengths_.data(); }
  const int* formats() const { return formats_.data(); }

 private:
  void Add(const char* data, size_t size) {
    values_.push_back(data);
    lengths_.push_back(static_cast<int>(size));
  }
  std::vector<uint64_t> numbers_;
  std::vector<const char*> values_;
  std::vector<int> lengths_;
  std::vector<int> formats_;
};

// libpq has an answer whole before anybody sees its first row: what is too much must not be sent.
// The lengths of large texts are known without reading them.
std::string TextOf(const SqlAsk& asked) {
  if (asked.cut == SqlCut::kNone) return asked.sql;
  const std::string by = asked.cut == SqlCut::kUp ? "id" : "id DESC";
  return "SELECT * FROM (SELECT page.*, sum(octet_length(xml)) OVER (ORDER BY " + by +
         " ROWS UNBOUNDED PRECEDING) - octet_length(xml) AS bytes_before FROM (" + asked.sql +
         ") AS page) AS cut WHERE bytes_before <= " + std::to_string(kReadBytesMax) + " ORDER BY " +
         by;
}

// The server's last word. libpq makes up answers to what was asked behind it.
bool EndsConnection(const PGresult* result) {
  const char* severity = PQresultErrorField(result, PG_DIAG_SEVERITY_NONLOCALIZED);
  return severity != nullptr &&
         (std::strcmp(severity, "FATAL") == 0 || std::strcmp(severity, "PANIC") == 0);
}

std::string FirstLine(const char* text) {
  std::string line = text == nullptr ? "" : text;
  return line.substr(0, line.find('\n'));
}

// What the URL says, and of the rest what this store wants where it says nothing.
struct Conninfo {
  std::vector<const char*> keys;
  std::vector<const char*> values;
};
Conninfo WithDefaults(const PQconninfoOption* options, const std::string& connect_s,
                      const std::string& user_timeout_ms) {
  const std::pair<const char*, const char*> wanted[] = {
      {"target_session_attrs", "read-write"},
      {"application_name", "mongooseim"},
      {"connect_timeout", connect_s.c_str()},
      {"tcp_user_timeout", user_timeout_ms.c_str()},
      {"keepalives_idle", "10"},
      {"keepalives_interval", "5"},
      {"keepalives_count", "3"},
      {"client_encoding", "UTF8"},
  };
  Conninfo made;
  for (const PQconninfoOption* option = options; option->keyword != nullptr; ++option) {
    const char* value = option->val;
    for (const auto& [key, otherwise] : wanted) {
      if (value == nullptr && std::strcmp(key, option->keyword) == 0) value = otherwise;
    }
    if (value == nullptr) continue;
    made.keys.push_back(option->keyword);
    made.values.push_back(value);
  }
  made.keys.push_back(nullptr);
  made.values.push_back(nullptr);
  return made;
}

}  // namespace

bool PgGood(const PGresult* result) {
  const ExecStatusType status = PQresultStatus(result);
  return status == PGRES_TUPLES_OK || status == PGRES_COMMAND_OK;
}

std::string_view PgState(const PGresult* result) {
  const char* state = PQresultErrorField(result, PG_DIAG_SQLSTATE);
  return state == nullptr ? std::string_view() : std::string_view(state);
}

std::string PgShown(const std::string& url) {
  char* error = nullptr;
  const std::unique_ptr<PQconninfoOption, PgFree> options(PQconninfoParse(url.c_str(), &error));
  PQfreemem(error);
  std::string host;
  std::string name;
  for (const PQconninfoOption* o = options.get(); o != nullptr && o->keyword != nullptr; ++o) {
    if (o->val == nullptr) continue;
    if (std::strcmp(o->keyword, "host") == 0) host = o->val;
    if (std::strcmp(o->keyword, "dbname") == 0) name = o->val;
  }
  return "postgresql://" + host + "/" + name;
}

std::expected<std::unique_ptr<PgConnection>, std::string> PgConnection::Open(
    const PgOptions& options) {
  char* error = nullptr;
  const std::unique_ptr<PQconninfoOption, PgFree> parsed(
      PQconninfoParse(options.url.c_str(), &error));
  if (parsed == nullptr) {
    // libpq's words may hold the URL, and that a password.
    PQfreemem(error);
    return std::unexpected(
        "the URL of the PostgreSQL store cannot be read; write "
        "postgresql://USER@HOST:PORT/DATABASE, with %XX for special characters");
  }
  const std::string connect_s =
      std::to_string(std::max<int64_t>(2, options.connect_limit.count() / 1'000));
  const std::string user_timeout_ms = std::to_string(options.answer_limit.count());
  const Conninfo info = WithDefaults(parsed.get(), connect_s, user_timeout_ms);
  std::unique_ptr<PgConnection> made(new PgConnection(
      options,
      std::unique_ptr<PGconn, PgFree>(PQconnectdbParams(info.keys.data(), info.values.data(), 0))));
  if (PQstatus(made->connection_.get()) != CONNECTION_OK || !made->SetUp()) {
    return std::unexpected(FirstLine(PQerrorMessage(made->connection_.get())));
  }
  return made;
}

bool PgConnection::SetUp() {
  // Notices are for people at a terminal.
  PQsetNoticeProcessor(connection_.get(), [](void*, const char*) {}, nullptr);
  const std::string sql =
      "SET statement_timeout = " + std::to_string(options_.statement_limit.count()) +
      "; SET idle_in_transaction_session_timeout = " +
      std::to_string(options_.idle_transaction_limit.count()) +
      // What is acknowledged must be on the disk, whatever the database's default is.
      "; SELECT set_config('synchronous_commit', 'on', false) "
      "WHERE current_setting('synchronous_commit') = 'off'";
  return PgGood(PgResult(PQexec(connection_.get(), sql.c_str())).get()) &&
         PQsetnonblocking(connection_.get(), 1) == 0;
}

void PgConnection::Lose(std::string why) {
  if (lost_) return;
  error_ = why.empty() ? FirstLine(PQerrorMessage(connection_.get())) : std::move(why);
  if (error_.empty()) error_ = "the server says nothing more";
  lost_ = true;
  connection_.reset();
}

PgResult PgConnection::Run(const char* sql) {
  if (lost_) return nullptr;
  if (PQsendQuery(connection_.get(), sql) != 1) {
    Lose();
    return nullptr;
  }
  PgResult last;
  const auto end = std::chrono::steady_clock::now() + options_.answer_limit;
  while (true) {
    while (PQisBusy(connection_.get()) != 0) {
      if (!WaitForSocket(end)) return nullptr;
    }
    PgResult result(PQgetResult(connection_.get()));
    if (result == nullptr) break;
    if (EndsConnection(result.get())) {
      Lose(FirstLine(PQresultErrorMessage(result.get())));
      return nullptr;
    }
    // The first that failed is what is of interest.
    if (last == nullptr || PgGood(last.get())) last = std::move(result);
  }
  if (PQstatus(connection_.get()) != CONNECTION_OK) {
    Lose();
    return nullptr;
  }
  if (last != nullptr && !PgGood(last.get())) error_ = FirstLine(PQresultErrorMessage(last.get()));
  return last;
}

PgResult PgConnection::Run(const SqlAsk& asked) {
  std::vector<PgResult> results = Together({asked});
  return results.empty() ? nullptr : std::move(results[0]);
}

bool PgConnection::Prepare(const std::vector<SqlAsk>& asked) {
  for (const SqlAsk& one : asked) {
    if (prepared_.contains(one.sql)) continue;
    std::vector<Oid> types;
    for (const SqlValue& value : one.values) {
      types.push_back(std::holds_alternative<int64_t>(value) ? kInt8 : kText);
    }
    const std::string name = "s" + std::to_string(prepared_.size());
    // Once for a text and connection: a round trip each.
    if (PQsendPrepare(connection_.get(), name.c_str(), TextOf(one).c_str(),
                      static_cast<int>(types.size()), types.data()) != 1) {
      Lose();
      return false;
    }
    const auto end = std::chrono::steady_clock::now() + options_.answer_limit;
    while (true) {
      while (PQisBusy(connection_.get()) != 0) {
        if (!WaitForSocket(end)) return false;
      }
      const PgResult result(PQgetResult(connection_.get()));
      if (result == nullptr) break;
      if (!PgGood(result.get())) {
        // Of a statement that cannot be prepared nothing good can follow.
        Lose(FirstLine(PQresultErrorMessage(result.get())));
        return false;
      }
    }
    prepared_.emplace(one.sql, name);
  }
  return true;
}

bool PgConnection::Send(const SqlAsk& asked) {
  const Parameters parameters(asked.values);
  return PQsendQueryPrepared(connection_.get(), prepared_.at(asked.sql).c_str(), parameters.count(),
                             parameters.values(), parameters.lengths(), parameters.formats(),
                             0) == 1;
}

std::vector<PgResult> PgConnection::Together(const std::vector<SqlAsk>& asked) {
  if (lost_ || !Prepare(asked)) return {};
  if (PQenterPipelineMode(connection_.get()) != 1) {
    Lose();
    return {};
  }
  for (const SqlAsk& one : asked) {
    if (!Send(one)) {
      Lose();
      return {};
    }
  }
  if (PQpipelineSync(connection_.get()) != 1) {
    Lose();
    return {};
  }
  std::vector<PgResult> results = Collect(asked.size());
  if (!lost_ && PQexitPipelineMode(connection_.get()) != 1) Lose();
  return results;
}

std::vector<PgResult> PgConnection::Collect(size_t count) {
  std::vector<PgResult> results;
  const auto end = std::chrono::steady_clock::now() + options_.answer_limit;
  while (true) {
    while (PQisBusy(connection_.get()) != 0) {
      if (!WaitForSocket(end)) return results;
    }
    PgResult result(PQgetResult(connection_.get()));
    if (result == nullptr) {  // the end of one statement's results
      if (PQstatus(connection_.get()) == CONNECTION_OK) continue;
      Lose();
      return results;
    }
    if (PQstatus(connection_.get()) != CONNECTION_OK || EndsConnection(result.get())) {
      Lose(FirstLine(PQresultErrorMessage(result.get())));
      return results;
    }
    if (PQresultStatus(result.get()) == PGRES_PIPELINE_SYNC) return results;
    if (results.size() == count) continue;  // an error behind all statements: the caller's COMMIT
    if (!PgGood(result.get()) && PQresultStatus(result.get()) != PGRES_PIPELINE_ABORTED) {
      error_ = FirstLine(PQresultErrorMessage(result.get()));
    }
    results.push_back(std::move(result));
  }
}

// Both ways: a server that cannot get rid of its answers takes nothing more.
bool PgConnection::WaitForSocket(std::chrono::steady_clock::time_point end) {
  const int unsent = PQflush(connection_.get());
  pollfd socket{.fd = PQsocket(connection_.get()), .events = POLLIN, .revents = 0};
  if (unsent > 0) socket.events |= POLLOUT;
  const auto left =
      std::chrono::duration_cast<std::chrono::milliseconds>(end - std::chrono::steady_clock::now());
  if (unsent < 0 || left.count() <= 0 ||
      (poll(&socket, 1, static_cast<int>(left.count())) < 0 && errno != EINTR) ||
      PQconsumeInput(connection_.get()) != 1) {
    Lose();
    return false;
  }
  return true;
}

// --- Reads
// ----------------------------------------------------------------------------------------

class PgConnection::Answers final : public SqlAnswers {
 public:
  // `results` begin at `first`; there are fewer than `count` where the connection was lost.
  Answers(std::vector<PgResult> results, size_t first, size_t count)
      : results_(std::move(results)), at_(first), end_(first + count) {
    good_ = results_.size() >= end_ && std::all_of(results_.begin(), results_.end(),
                                                   [](const auto& r) { return PgGood(r.get()); });
  }

  void Next() override {
    now_ = good_ && at_ < end_ ? results_[at_++].get() : nullptr;
    row_ = -1;
  }
  bool Row() override { return now_ != nullptr && ++row_ < PQntuples(now_); }
  bool good() const override { return good_; }
  std::string_view Text(int column) const override {
    return {PQgetvalue(now_, row_, column), static_cast<size_t>(PQgetlength(now_, row_, column))};
  }
  int64_t Int(int column) const override {
    const std::string_view text = Text(column);
    int64_t number = 0;
    std::from_chars(text.data(), text.data() + text.size(), number);
    return number;
  }

 private:
  const std::vector<PgResult> results_;
  size_t at_;
  const size_t end_;
  bool good_ = false;
  const PGresult* now_ = nullptr;
  int row_ = -1;
};

std::unique_ptr<SqlAnswers> PgConnection::Ask(const std::vector<SqlAsk>& asked) {
  if (asked.size() == 1) return std::make_unique<Answers>(Together(asked), 0, 1);
  std::vector<SqlAsk> all = {{kBeginReads, {}}};
  all.insert(all.end(), asked.begin(), asked.end());
  all.push_back({kEndReads, {}});
  std::vector<PgResult> results = Together(all);
  // A transaction that failed is still there.
  if (!lost_ && PQtransactionStatus(connection_.get()) != PQTRANS_IDLE) Run("ROLLBACK");
  return std::make_unique<Answers>(std::move(results), 1, asked.size());
}

}  // namespace server
