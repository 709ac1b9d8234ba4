// The kinds of stores, each of which keeps the same contract: one folder, or one server, a test.
#pragma once

#include <memory>
#include <string>

#include "server/store/sqlite_store.h"
#include "tests/server/store/store_loop.h"
#include "tests/test_folder.h"

namespace server::test {

class StoreKind {
 public:
  virtual ~StoreKind() = default;
  // Once more on the same data when it was opened before; `now_s` is its wall clock.
  virtual std::unique_ptr<StoreBackend> Open(std::function<int64_t()> now_s) = 0;
};

class SqliteKind final : public StoreKind {
 public:
  std::unique_ptr<StoreBackend> Open(std::function<int64_t()> now_s) override {
    auto store = SqliteStore::Open(
        {.path = folder_.Path("store.db"), .shared = {.now_s = std::move(now_s)}});
    EXPECT_TRUE(store.has_value()) << (store ? "" : store.error());
    return store ? std::move(*store) : nullptr;
  }

 private:
  net::TestFolder folder_;
};

}  // namespace server::test
