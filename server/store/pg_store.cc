#include "server/store/pg_store.h"

#include "server/store/pg_schema.h"

namespace server {
namespace {

SqlStore::Opened OpenReader(const PgOptions& options) {
  auto db = PgConnection::Open(options);
  if (!db) return std::unexpected(db.error());
  return std::move(*db);
}

}  // namespace

std::expected<std::unique_ptr<PgStore>, std::string> PgStore::Open(PgStoreOptions options) {
  options.shared.name = PgShown(options.connection.url);
  options.writer.connection = options.connection;
  options.writer.shown = options.shared.name;
  auto db = PgConnection::Open(options.connection);
  if (!db) {
    return std::unexpected(options.shared.name + ": " + db.error() +
                           "; start the server, and look at the store's URL and at pg_hba.conf");
  }
  auto identity = UpgradePg(**db, options.shared.name);
  if (!identity) return std::unexpected(identity.error());
  return std::unique_ptr<PgStore>(new PgStore(options, std::move(*identity), std::move(*db)));
}

PgStore::PgStore(const PgStoreOptions& options, StoreIdentity identity,
                 std::unique_ptr<PgConnection> db)
    : SqlStore(options.shared, std::move(identity),
               [connection = options.connection] { return OpenReader(connection); }) {
  SetWriter(std::make_unique<PgWriter>(options.writer, std::move(db), counted()));
}

}  // namespace server
