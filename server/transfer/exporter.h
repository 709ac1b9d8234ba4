// All users of some domains as XEP-0227, from a store that goes on serving: each user is as it was
// when it was read. Private XML (XEP-0049), of which a StoreClient tells only what is asked for by
// name, is given by who can read it.
//
// Belongs to the store's loop. Outlives its calls to the store.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "server/store/store.h"

namespace server {

struct ExportReport {
  uint64_t users = 0;
  uint64_t messages = 0;
  std::string error;  // "": it is whole
};

class Exporter {
 public:
  // `write` takes the file's next bytes; false: it cannot, and the export ends.
  Exporter(StoreClient& store, std::vector<std::string> domains,
           std::function<bool(std::string_view)> write,
           std::function<std::string(const std::string& user)> privates = nullptr);
  void Run(std::move_only_function<void(ExportReport)> done);
  const ExportReport& report() const { return report_; }  // so far

 private:
  void NextDomain();
  void NextNames();
  void NextUser();
  void AfterLoad(const LoadedUser& user);
  void AfterVcard(const std::string& vcard);
  void AfterPrefs(const std::string& prefs);
  void NextOffline(uint64_t after);
  void NextPage(uint64_t after);
  void AfterPage(const ArchivePage& page);
  void EndUser();
  bool Flush();
  void End(std::string error);
  // Goes on with `then`, or ends with the store's error.
  template <typename T, typename Then>
  StoreClient::Done<T> Answer(Then then);

  StoreClient& store_;
  const std::vector<std::string> domains_;
  const std::function<bool(std::string_view)> write_;
  const std::function<std::string(const std::string& user)> privates_;  // <query/>, or ""
  std::move_only_function<void(ExportReport)> done_;
  ExportReport report_;
  std::string out_;  // not yet written
  size_t domain_ = 0;
  std::vector<std::string> names_;
  size_t name_ = 0;
  uint64_t last_id_ = 0;
  bool in_archive_ = false;
};

}  // namespace server
