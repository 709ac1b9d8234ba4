// What Prosody writes into its data folder: Lua tables of strings, numbers, booleans and tables, as
// "return { … };" or as a list of "item({ … });". Nothing is run: it is read, bounded in depth.
//
// Pure; thread-safe.
#pragma once

#include <cstdint>
#include <expected>
#include <string>
#include <string_view>
#include <vector>

namespace server {

inline constexpr int kLuaDepthMax = 130;  // Prosody writes 127

struct LuaField;

struct LuaValue {
  enum class Kind : uint8_t { kNil, kBoolean, kNumber, kText, kTable };
  Kind kind = Kind::kNil;
  bool boolean = false;
  double number = 0;
  std::string text;
  std::vector<LuaField> fields;  // in order; the first of what has no key has the key 1

  bool is_table() const { return kind == Kind::kTable; }
  bool IsTrue() const { return kind == Kind::kBoolean && boolean; }
  const LuaValue* Find(std::string_view key) const;  // of a string
  const LuaValue* FindFalse() const;                 // [false]
  std::string_view Text(std::string_view key) const;
  double Number(std::string_view key) const;
};

struct LuaField {
  LuaValue key;
  LuaValue value;
};

// The error says where: "line 3: …".
std::expected<LuaValue, std::string> ReadLuaTable(std::string_view text);              // return …
std::expected<std::vector<LuaValue>, std::string> ReadLuaList(std::string_view text);  // item(…)

}  // namespace server
