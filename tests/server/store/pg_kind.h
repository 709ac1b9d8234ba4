// PostgreSQL as one of the kinds, for tests that link its server (store_test_pg).
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "server/store/pg_store.h"
#include "tests/server/store/pg_server.h"
#include "tests/server/store/store_kind.h"

namespace server::test {

class PgKind final : public StoreKind {
 public:
  std::unique_ptr<StoreBackend> Open(std::function<int64_t()> now_s) override {
    PgStoreOptions options;
    options.connection.url = PgServer::Get().Url(database_);
    options.shared.now_s = std::move(now_s);
    auto store = PgStore::Open(options);
    EXPECT_TRUE(store.has_value()) << (store ? "" : store.error());
    return store ? std::move(*store) : nullptr;
  }

 private:
  const std::string database_ = PgServer::Get().NewDatabase();
};

inline std::unique_ptr<StoreKind> MakeKind(std::string_view name) {
  if (name == "sqlite") return std::make_unique<SqliteKind>();
  return std::make_unique<PgKind>();
}

}  // namespace server::test
