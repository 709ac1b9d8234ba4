// The durable store of a process: opened once at start, asked by each loop through a client of its
// own. Made by OpenStore() for operators' URLs, or by the class of its kind.
//
// Destroyed behind all its clients, on any thread: writes that were asked for are tried before,
// although nobody hears of them any more; reads are dropped.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "net/io/event_loop.h"
#include "server/store/sql.h"
#include "server/store/sql_source.h"
#include "server/store/store.h"

namespace server {

// Counts since the start, and what waits now. Written by the store's threads, read by any.
struct StoreMetrics {
  std::atomic<uint64_t> transactions{0};   // committed, each with one sync of the disk
  std::atomic<uint64_t> batches{0};        // committed in them
  std::atomic<uint64_t> commit_us{0};      // in COMMIT, fsync and all
  std::atomic<uint64_t> commit_us_max{0};  // the slowest
  std::atomic<uint64_t> conflicts{0};      // batches that ended with kConflict or kAbsent
  std::atomic<uint64_t> failures{0};       // calls that ended with kDown
  std::atomic<uint64_t> unknown{0};        // calls that ended with kUnknown
  std::atomic<uint64_t> refused{0};        // calls that ended with kBusy
  std::atomic<uint64_t> reads{0};
  std::atomic<uint64_t> login_store_roundtrips{0};  // reads of whole users
  std::atomic<uint64_t> checkpoints{0};             // SQLite: the log was copied into the file
  std::atomic<uint64_t> reconnects{0};              // connections that had to be opened again
  std::atomic<uint64_t> waiting{0};                 // batches in the queue
  std::atomic<uint64_t> waiting_bytes{0};           // in them
};

// What may go: everything below `archive_before_us`, all but the newest `archive_most` of each
// owner, offline messages that expired by `now_s`. 0: no such bound.
struct Retention {
  int64_t archive_before_us = 0;
  uint64_t archive_most = 0;
  int64_t now_s = 0;
  std::string after_owner;  // where the slice before ended; "": a new pass
};
struct Retired {
  uint64_t archive = 0;
  uint64_t offline = 0;
  bool more = false;       // false: the pass is complete
  std::string next_owner;  // for the next slice's after_owner
};
// At most this many rows go in one transaction, so that others' writes get in between.
inline constexpr uint32_t kRetireSlice = 1'000;
inline constexpr uint32_t kRetireOwners = 64;  // looked at in one slice

// A node that shows itself is known to the others for so long; by their clocks, which need not
// agree better than that.
inline constexpr int64_t kNodeKnownS = 3'600;
inline constexpr uint32_t kNodesMax = 1'024;  // the first of them in order

// For whoever keeps house: one slice a call, the caller's timer goes on while there is more.
// Belongs to a loop as a StoreClient does.
class StoreKeeper {
 public:
  virtual ~StoreKeeper() = default;
  virtual void Retire(Retention retention, StoreClient::Done<Retired> done) = 0;
  // Statements that are no writes of a StoreClient's, whole or not at all; for copies.
  virtual void Run(SqlScript script, StoreClient::Done<std::monostate> done) = 0;
  // `node` shows itself, and hears of all that did within kNodeKnownS, in order, itself too.
  virtual void ShowNode(std::string node, StoreClient::Done<std::vector<std::string>> done) = 0;
};

// What a store says of itself to a process that opens it.
struct StoreIdentity {
  std::string cluster_id;  // random, made with the store: two stores that meet are told apart by it
  uint64_t opening = 0;    // how often it was opened: no two processes have ever the same
};

class StoreBackend {
 public:
  virtual ~StoreBackend() = default;
  // On the loop's thread; the clients go before the loop and before the store.
  virtual std::unique_ptr<StoreClient> Client(net::EventLoop& loop) = 0;
  virtual std::unique_ptr<StoreKeeper> Keeper(net::EventLoop& loop) = 0;
  // A connection of its own that is read from, for who may block; null where there is none now.
  virtual std::unique_ptr<SqlSource> Source() = 0;
  virtual const StoreIdentity& identity() const = 0;
  const std::string& cluster_id() const { return identity().cluster_id; }
  virtual const StoreMetrics& metrics() const = 0;
};

}  // namespace server
