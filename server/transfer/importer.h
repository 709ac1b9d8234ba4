// Users from a source into a store, one after the other. A user that exists is left as it is; one
// that fails is told of, and the next one comes; a store that fails ends it. Each user's account,
// roster, vCard and the like are there whole or not at all, messages follow in batches; where one
// of those fails the user is taken back, so that nobody is there by half.
//
// Belongs to the store's loop, which it holds up while files are read and keys are made of
// passwords: not for a loop that serves anybody. Outlives its calls to the store.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "server/store/store.h"
#include "server/transfer/user_source.h"

namespace server {

inline constexpr size_t kImportNotesMax = 1'000;

struct ImportReport {
  uint64_t users = 0;
  uint64_t messages = 0;  // archived and offline ones
  uint64_t existed = 0;   // left as they are
  uint64_t failed = 0;
  std::vector<std::string> notes;  // what was not taken over
  std::string error;               // why it ended before the end; "": it did not
};

class Importer {
 public:
  // `source` and `store` outlive this.
  Importer(StoreClient& store, UserSource& source, std::function<int64_t()> unix_s);
  void Run(std::move_only_function<void(ImportReport)> done);
  const ImportReport& report() const { return report_; }  // so far

 private:
  void NextUser();
  void Begin(UserData data);
  void NextBatch();
  void TakeBack(StoreError error);
  void Note(std::string note);
  void End(std::string error);

  StoreClient& store_;
  UserSource& source_;
  const std::function<int64_t()> unix_s_;
  std::move_only_function<void(ImportReport)> done_;
  ImportReport report_;
  std::string user_;
  std::vector<WriteBatch> batches_;
  size_t next_ = 0;
};

}  // namespace server
