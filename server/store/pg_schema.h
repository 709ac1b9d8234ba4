// The tables of a PostgreSQL store, and how those of older versions become today's.
#pragma once

#include <expected>
#include <string>

#include "server/store/backend.h"
#include "server/store/pg_connection.h"

namespace server {

// What a database of this program has. Raised with each step that is added to the list.
inline constexpr int kPgSchemaVersion = 3;

// Brings the database to this version in one transaction, one process at a time, and returns its
// cluster_id, which a new one gets at random, and the number of this opening. The error tells
// operators what to do.
std::expected<StoreIdentity, std::string> UpgradePg(PgConnection& db, const std::string& shown);

}  // namespace server
