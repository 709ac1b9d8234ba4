// For tests that hold a reload table against the keys that readers know, as their errors list them.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <set>
#include <string>
#include <string_view>
#include <vector>

// "a, b": section + "a" and section + "b".
inline void InsertKnownKeys(std::set<std::string>& keys, const std::string& section,
                            std::string_view list) {
  while (!list.empty()) {
    const size_t end = std::min(list.find(", "), list.size());
    keys.insert(section + std::string(list.substr(0, end)));
    list.remove_prefix(std::min(end + 2, list.size()));
  }
}

inline void ExpectEachKeyInOneRow(const std::set<std::string>& read,
                                  const std::vector<std::string>& rows) {
  const std::set<std::string> told(rows.begin(), rows.end());
  EXPECT_EQ(told.size(), rows.size()) << "a key stands in two rows";
  for (const std::string& key : read) {
    EXPECT_TRUE(told.contains(key))
        << key << " is in no row of the table: is it applied by a reload?";
  }
  for (const std::string& key : told) {
    EXPECT_TRUE(read.contains(key)) << key << " is in the table, and nobody reads it";
  }
}
