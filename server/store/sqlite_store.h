// The store in an SQLite file: the default, for a node or for the nodes of one machine, which share
// the file. One writer thread (sqlite_writer.h), a few reader threads with a read-only connection
// each, and clients that take the answers to their loops.
#pragma once

#include <expected>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "net/io/blocking_pool.h"
#include "server/store/backend.h"
#include "server/store/sqlite_db.h"
#include "server/store/sqlite_writer.h"

namespace server {

struct SqliteOptions {
  std::string path;
  size_t readers = 2;
  size_t reads_waiting_max = 8'192;
  net::Duration patience = std::chrono::seconds(20);  // for calls that nobody has begun
  SqliteWriter::Options writer;                       // its path is this one's
  std::function<int64_t()> now_s;  // wall clock, for what expires; none: the system's
};

class SqliteStore final : public StoreBackend {
 public:
  // Makes the file where it is missing, upgrades the schema where it is older. The error tells
  // operators what is wrong and what to do.
  static std::expected<std::unique_ptr<SqliteStore>, std::string> Open(SqliteOptions options);
  ~SqliteStore() override;

  std::unique_ptr<StoreClient> Client(net::EventLoop& loop) override;
  std::unique_ptr<StoreKeeper> Keeper(net::EventLoop& loop) override;
  const std::string& cluster_id() const override { return cluster_id_; }
  const StoreMetrics& metrics() const override { return metrics_; }

 private:
  class ClientOf;
  SqliteStore(SqliteOptions options, std::string cluster_id);

  // A reader's connection for the time of a read; null: the file cannot be opened. Any thread.
  std::unique_ptr<SqliteDb> TakeReader();
  void GiveReader(std::unique_ptr<SqliteDb> db);
  void ReadFailed(int code, const std::string& what);
  // `work` on a connection, its answer to `call`. On a reader's thread.
  template <typename CallT, typename Work>
  void RunRead(CallT& call, Work& work);

  const SqliteOptions options_;
  const std::string cluster_id_;
  StoreMetrics metrics_;
  std::mutex mutex_;
  std::vector<std::unique_ptr<SqliteDb>> idle_readers_;  // guarded by mutex_
  bool reads_down_ = false;                              // guarded by mutex_
  std::unique_ptr<SqliteWriter> writer_;
  std::unique_ptr<net::BlockingPool> readers_;
};

}  // namespace server
