// JSON to print: objects keep the order of their keys, and the layout is that of mongooseimctl.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace server {

class CtlJson {
 public:
  static CtlJson Null() { return CtlJson("null"); }
  static CtlJson Bool(bool value) { return CtlJson(value ? "true" : "false"); }
  static CtlJson Number(int64_t value) { return CtlJson(std::to_string(value)); }
  static CtlJson Count(uint64_t value) { return CtlJson(std::to_string(value)); }
  static CtlJson Text(std::string_view value);
  static CtlJson Texts(const std::vector<std::string>& values);
  static CtlJson List() { return CtlJson(Kind::kList); }
  static CtlJson Object() { return CtlJson(Kind::kObject); }

  CtlJson& Add(CtlJson value) {
    values_.emplace_back("", std::move(value));
    return *this;
  }
  CtlJson& Set(std::string_view key, CtlJson value) {
    values_.emplace_back(key, std::move(value));
    return *this;
  }
  std::string Pretty(int depth = 0) const;

  bool scalar() const { return kind_ == Kind::kScalar; }
  bool list() const { return kind_ == Kind::kList; }
  // Of an object with its keys, of a list with empty ones.
  const std::vector<std::pair<std::string, CtlJson>>& values() const { return values_; }

 private:
  enum class Kind : uint8_t { kScalar, kList, kObject };
  explicit CtlJson(std::string text) : scalar_(std::move(text)) {}
  explicit CtlJson(Kind kind) : kind_(kind) {}

  Kind kind_ = Kind::kScalar;
  std::string scalar_;
  std::vector<std::pair<std::string, CtlJson>> values_;
};

}  // namespace server
