// A whole store into another, row by row: from SQLite to PostgreSQL, back, or into a new file.
//
// What is copied is what both have: tables are read from the stores themselves, so that one that is
// added is not forgotten. The target must be empty. Until all is there it says of itself that it is
// unfinished, and OpenStore() refuses it then.
//
// Blocking, for commands. Nobody else may write into the two meanwhile: what came into the source
// is found out at the end, by counting.
#pragma once

#include <cstdint>
#include <expected>
#include <functional>
#include <string>

#include "server/store/open_store.h"

namespace server {

struct CopyProgress {
  std::string table;
  uint64_t rows = 0;  // of it, so far
};
struct CopyReport {
  uint64_t tables = 0;
  uint64_t rows = 0;
  uint64_t accounts = 0;
};

// The error tells operators what to do.
std::expected<CopyReport, std::string> CopyStore(
    const StoreOptions& from, const StoreOptions& to,
    const std::function<void(const CopyProgress&)>& progress);

}  // namespace server
