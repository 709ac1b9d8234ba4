// What a reload does with each key of a configuration: applies it while the program runs, or
// refuses it with its name, its line and what to do instead. A program has one table of all its
// keys; a key that is in no row is a fault of the program; a test walks the keys.
//
// Pure; thread-safe.
#pragma once

#include <algorithm>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "net/config/toml_reader.h"

namespace net {

// One key, or several of a section that go the same way. "*" stands for any one name:
// "pool.*.node".
template <typename Config>
struct ReloadRow {
  std::string_view section;  // "process", "listener.*"; "" for the top
  std::string_view keys;     // separated by blanks
  // Null: applied. Else the dotted path of the key that differs between the two in a way that
  // cannot be applied ("listener.c2s.source_table_max"), or "": then nothing of this row stands in
  // the way.
  std::string (*differs)(const Config& now, const Config& next) = nullptr;
  std::string_view remedy = "";  // with `differs`
};

// The line of a key in a configuration's text, of its section where the key is absent, 0 where
// neither is found. `path` as in ConfigError::key.
int LineOfKey(std::string_view text, std::string_view path);

// Every refused key, with its line in `text`, the file that `next` was read from.
template <typename Config>
std::vector<ConfigError> RefusedByReload(std::span<const ReloadRow<Config>> table,
                                         const Config& now, const Config& next,
                                         const std::string& file, std::string_view text) {
  std::vector<ConfigError> errors;
  for (const ReloadRow<Config>& row : table) {
    std::string path = row.differs == nullptr ? "" : row.differs(now, next);
    if (path.empty()) continue;
    errors.push_back({.file = file,
                      .line = LineOfKey(text, path),
                      .key = std::move(path),
                      .what = "cannot change while the process runs",
                      .remedy = std::string(row.remedy)});
  }
  return errors;
}

// "section.key" for each key of the table.
template <typename Config>
std::vector<std::string> KeysOfTable(std::span<const ReloadRow<Config>> table) {
  std::vector<std::string> keys;
  for (const ReloadRow<Config>& row : table) {
    std::string_view rest = row.keys;
    while (!rest.empty()) {
      const size_t end = std::min(rest.find(' '), rest.size());
      keys.push_back(std::string(row.section) + (row.section.empty() ? "" : ".") +
                     std::string(rest.substr(0, end)));
      rest.remove_prefix(std::min(end + 1, rest.size()));
    }
  }
  return keys;
}

}  // namespace net
