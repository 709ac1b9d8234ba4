// A connection of an SQL database that is read from. One thread at a time.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "server/store/sql.h"

namespace server {

// How a statement's rows, which may be large, are cut where answers come whole: rows with columns
// `id` and `xml`, in the order of `id`, of which the texts `xml` before a row are kReadBytesMax at
// most. Where rows are made as they are read, who reads stops.
enum class SqlCut : uint8_t {
  kNone,
  kUp,    // ids go up
  kDown,  // ids go down
};

struct SqlAsk {
  const char* sql = nullptr;  // a constant
  std::vector<SqlValue> values;
  SqlCut cut = SqlCut::kNone;  // the same of a statement each time
};

// The rows of one statement behind the other's. Ends what it read in when it goes; one at a time.
class SqlAnswers {
 public:
  virtual ~SqlAnswers() = default;
  // To the rows of the next statement, the first at the beginning; what is left of the one before
  // is skipped.
  virtual void Next() = 0;
  // A row of it is there. False: no more, or good() is false.
  virtual bool Row() = 0;
  virtual bool good() const = 0;
  virtual std::string_view Text(int column) const = 0;  // until the next Row()
  virtual int64_t Int(int column) const = 0;
};

class SqlSource {
 public:
  virtual ~SqlSource() = default;
  // All of one moment, and in one round trip where there are such. The values are used within.
  virtual std::unique_ptr<SqlAnswers> Ask(const std::vector<SqlAsk>& asked) = 0;
  // Of what was asked last and was not good.
  virtual std::string ErrorText() const = 0;
  // Was it the connection? Then another may know the answer.
  virtual bool lost() const = 0;
};

}  // namespace server
