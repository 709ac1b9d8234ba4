// JSON to print and to read: objects keep the order of their keys, and the layout is that of
// mongooseimctl.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace server {

inline constexpr int kCtlJsonDepthMax = 16;  // of what is read

class CtlJson {
 public:
  static CtlJson Null() { return CtlJson("null"); }
  static CtlJson Bool(bool value) { return CtlJson(value ? "true" : "false"); }
  static CtlJson Number(int64_t value) { return CtlJson(std::to_string(value)); }
  static CtlJson Count(uint64_t value) { return CtlJson(std::to_string(value)); }
  static CtlJson Text(std::string_view value) {
    CtlJson text(Kind::kText);
    text.scalar_ = value;
    return text;
  }
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
  // Nothing where it is no JSON, nested deeper than kCtlJsonDepthMax, or has a number that is not
  // whole.
  static std::optional<CtlJson> Parse(std::string_view text);
  std::string Pretty(int depth = 0) const;

  bool scalar() const { return kind_ == Kind::kScalar || kind_ == Kind::kText; }
  bool text() const { return kind_ == Kind::kText; }
  bool list() const { return kind_ == Kind::kList; }
  bool null() const { return kind_ == Kind::kScalar && scalar_ == "null"; }
  // Of a scalar as people read it; "" for null and what is none.
  std::string Plain() const { return null() ? std::string() : scalar_; }
  // Of an object; null where it has no such key.
  const CtlJson* Find(std::string_view key) const {
    for (const auto& [name, value] : values_) {
      if (kind_ == Kind::kObject && name == key) return &value;
    }
    return nullptr;
  }
  std::string PlainOf(std::string_view key) const {
    const CtlJson* value = Find(key);
    return value == nullptr ? std::string() : value->Plain();
  }
  // Of an object with its keys, of a list with empty ones.
  const std::vector<std::pair<std::string, CtlJson>>& values() const { return values_; }

 private:
  enum class Kind : uint8_t { kScalar, kText, kList, kObject };
  explicit CtlJson(std::string written) : scalar_(std::move(written)) {}
  explicit CtlJson(Kind kind) : kind_(kind) {}

  Kind kind_ = Kind::kScalar;
  std::string scalar_;  // of kText: unescaped
  std::vector<std::pair<std::string, CtlJson>> values_;
};

}  // namespace server
