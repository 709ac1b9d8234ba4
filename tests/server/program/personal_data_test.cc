// What personal data is written as, and users are read from: CSV and ZIP.
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "server/program/csv.h"
#include "server/program/zip_file.h"

namespace server {
namespace {

using Lines = std::vector<std::vector<std::string>>;

TEST(Csv, WhatIsWrittenIsRead) {
  const Lines lines = {{"jid", "xml"},
                       {"a@d", "<a b='c'>\"quoted\", with\r\nlines</a>"},
                       {"", "empty before"},
                       {"a\"b", "c"}};
  std::string text;
  for (const auto& line : lines) AppendCsv(text, line);
  EXPECT_EQ(ReadCsv(text), lines);
}

TEST(Csv, LinesEndAsTheyMayAndEmptyOnesAreNone) {
  EXPECT_EQ(ReadCsv("a,b,c\nd,e\r\n\n\r\nf"), (Lines{{"a", "b", "c"}, {"d", "e"}, {"f"}}));
  EXPECT_EQ(ReadCsv(",\n"), (Lines{{"", ""}}));
  EXPECT_EQ(ReadCsv("\"open,\nb"), (Lines{{"open,\nb"}}));
  EXPECT_EQ(ReadCsv(""), Lines{});
}

TEST(Zip, HasTheFormatsChecksum) {
  EXPECT_EQ(Crc32("123456789"), 0xCBF43926U);
  EXPECT_EQ(Crc32(""), 0U);
}

TEST(Zip, EndsWithItsDirectory) {
  const std::string empty = ZipOf({});
  EXPECT_EQ(empty.size(), 22U);
  EXPECT_TRUE(empty.starts_with("PK\5\6"));
  const std::string two = ZipOf({{"a.csv", "12345"}, {"b.csv", ""}});
  // Two local headers of 30 bytes and two of the directory of 46, each with its name.
  EXPECT_EQ(two.size(), 2U * (30 + 5 + 46 + 5) + 5 + 22);
  EXPECT_TRUE(two.starts_with("PK\3\4"));
}

}  // namespace
}  // namespace server
