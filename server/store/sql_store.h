// What both stores have in common: clients that take answers to their loops, a pool of threads
// that read, each with a connection for the time of a read, and a writer with its queue.
#pragma once

#include <expected>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "net/io/blocking_pool.h"
#include "server/store/backend.h"
#include "server/store/sql_source.h"
#include "server/store/write_queue.h"

namespace server {

struct SqlStoreOptions {
  std::string name;  // for logs: no secrets
  size_t readers = 2;
  size_t reads_waiting_max = 8'192;
  net::Duration patience = std::chrono::seconds(20);  // for calls that nobody has begun
  std::function<int64_t()> now_s;  // wall clock, for what expires; none: the system's
};

class SqlStore : public StoreBackend {
 public:
  using Opened = std::expected<std::unique_ptr<SqlSource>, std::string>;
  // On a reader's thread; the error is for the log.
  using OpenSource = std::function<Opened()>;

  SqlStore(SqlStoreOptions options, StoreIdentity identity, OpenSource open);
  ~SqlStore() override;

  std::unique_ptr<StoreClient> Client(net::EventLoop& loop) override;
  std::unique_ptr<StoreKeeper> Keeper(net::EventLoop& loop) override;
  std::unique_ptr<SqlSource> Source() override { return OpenNew(); }
  const StoreIdentity& identity() const override { return identity_; }
  const StoreMetrics& metrics() const override { return metrics_; }

 protected:
  StoreMetrics& counted() { return metrics_; }
  // Before the first client.
  void SetWriter(std::unique_ptr<StoreWriter> writer) { writer_ = std::move(writer); }

 private:
  class ClientOf;

  // `work` on a connection, its answer to `call`. On a reader's thread.
  template <typename CallT, typename Work>
  void RunRead(CallT& call, Work& work);
  std::unique_ptr<SqlSource> TakeIdle();
  std::unique_ptr<SqlSource> OpenNew();
  void Give(std::unique_ptr<SqlSource> source);
  void DropIdle();
  void ReadFailed(const std::string& what);

  const SqlStoreOptions options_;
  const StoreIdentity identity_;
  const OpenSource open_;
  StoreMetrics metrics_;
  std::mutex mutex_;
  std::vector<std::unique_ptr<SqlSource>> idle_;  // guarded by mutex_
  bool reads_down_ = false;                       // guarded by mutex_
  std::unique_ptr<StoreWriter> writer_;
  std::unique_ptr<net::BlockingPool> readers_;
};

}  // namespace server
