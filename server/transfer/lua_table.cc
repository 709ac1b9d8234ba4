#include "server/transfer/lua_table.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <utility>

namespace server {
namespace {

constexpr std::array<std::pair<char, char>, 10> kEscapes = {{{'a', '\a'},
                                                             {'b', '\b'},
                                                             {'f', '\f'},
                                                             {'n', '\n'},
                                                             {'r', '\r'},
                                                             {'t', '\t'},
                                                             {'v', '\v'},
                                                             {'\\', '\\'},
                                                             {'"', '"'},
                                                             {'\'', '\''}}};

bool IsDigit(char c) { return c >= '0' && c <= '9'; }
bool IsWordStart(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; }

class Reader {
 public:
  explicit Reader(std::string_view text) : text_(text) {}

  bool AtEnd() {
    SkipSpace();
    return at_ == text_.size();
  }
  bool TakeWord(std::string_view word) {
    SkipSpace();
    if (!text_.substr(at_).starts_with(word)) return false;
    const size_t end = at_ + word.size();
    if (end < text_.size() && (IsWordStart(text_[end]) || IsDigit(text_[end]))) return false;
    at_ = end;
    return true;
  }
  bool Take(char c) {
    SkipSpace();
    if (at_ == text_.size() || text_[at_] != c) return false;
    ++at_;
    return true;
  }
  bool Value(LuaValue& to, int depth = 0) {
    SkipSpace();
    if (at_ == text_.size()) return Fail("it ends in the middle");
    const char c = text_[at_];
    if (c == '{') return Table(to, depth);
    if (c == '"' || c == '\'') return Text(to, c);
    if (IsDigit(c) || c == '-' || c == '.') return Number(to);
    if (TakeWord("nil")) return true;
    to.kind = LuaValue::Kind::kBoolean;
    to.boolean = TakeWord("true");
    return to.boolean || TakeWord("false") || Fail("no value");
  }
  bool Fail(std::string_view what) {
    if (error_.empty()) {
      const auto line = 1 + std::count(text_.begin(), text_.begin() + static_cast<long>(at_), '\n');
      error_ = "line " + std::to_string(line) + ": " + std::string(what);
    }
    return false;
  }
  std::string TakeError() { return std::move(error_); }

 private:
  void SkipSpace() {
    while (at_ < text_.size() &&
           (text_[at_] == ' ' || text_[at_] == '\t' || text_[at_] == '\n' || text_[at_] == '\r')) {
      ++at_;
    }
  }

  bool Table(LuaValue& to, int depth) {
    if (depth == kLuaDepthMax) return Fail("too deep");
    to.kind = LuaValue::Kind::kTable;
    ++at_;  // {
    double next = 1;
    while (!Take('}')) {
      LuaField field;
      if (Take('[')) {
        if (!Value(field.key, depth + 1) || !Take(']') || !Take('=')) return Fail("no key");
      } else if (!Name(field.key)) {
        field.key.kind = LuaValue::Kind::kNumber;
        field.key.number = next++;
      }
      if (!Value(field.value, depth + 1)) return false;
      to.fields.push_back(std::move(field));
      if (Take(';') || Take(',')) continue;
      if (Take('}')) return true;
      return Fail("';' or '}' is missing");
    }
    return true;
  }

  // name = …; not the words that are values.
  bool Name(LuaValue& to) {
    SkipSpace();
    size_t end = at_;
    while (end < text_.size() && (IsWordStart(text_[end]) || (end > at_ && IsDigit(text_[end])))) {
      ++end;
    }
    if (end == at_) return false;
    const size_t before = std::exchange(at_, end);
    if (!Take('=')) {
      at_ = before;
      return false;
    }
    to.kind = LuaValue::Kind::kText;
    to.text = text_.substr(before, end - before);
    return true;
  }

  bool Text(LuaValue& to, char quote) {
    to.kind = LuaValue::Kind::kText;
    for (++at_; at_ < text_.size(); ++at_) {
      const char c = text_[at_];
      if (c == quote) {
        ++at_;
        return true;
      }
      if (c != '\\') {
        to.text += c;
      } else if (!Escape(to.text)) {
        return false;
      }
    }
    return Fail("a string does not end");
  }

  // Leaves at its last character.
  bool Escape(std::string& to) {
    if (++at_ == text_.size()) return Fail("a string does not end");
    const char c = text_[at_];
    if (IsDigit(c)) {
      int value = 0;
      size_t digits = 0;
      for (; digits < 3 && at_ + digits < text_.size() && IsDigit(text_[at_ + digits]); ++digits) {
        value = value * 10 + (text_[at_ + digits] - '0');
      }
      if (value > 255) return Fail("no such character");
      at_ += digits - 1;
      to += static_cast<char>(value);
      return true;
    }
    if (c == '\n') {  // as %q has it
      to += c;
      return true;
    }
    const auto* escape = std::ranges::find(kEscapes, c, &std::pair<char, char>::first);
    if (escape == kEscapes.end()) return Fail("no such escape");
    to += escape->second;
    return true;
  }

  bool Number(LuaValue& to) {
    to.kind = LuaValue::Kind::kNumber;
    const char* const begin = text_.data() + at_;
    const auto [end, error] = std::from_chars(begin, text_.data() + text_.size(), to.number);
    if (error != std::errc() || end == begin) return Fail("no number");
    at_ += static_cast<size_t>(end - begin);
    return true;
  }

  std::string_view text_;
  size_t at_ = 0;
  std::string error_;
};

}  // namespace

const LuaValue* LuaValue::Find(std::string_view key) const {
  for (const LuaField& field : fields) {
    if (field.key.kind == Kind::kText && field.key.text == key) return &field.value;
  }
  return nullptr;
}

const LuaValue* LuaValue::FindFalse() const {
  for (const LuaField& field : fields) {
    if (field.key.kind == Kind::kBoolean && !field.key.boolean) return &field.value;
  }
  return nullptr;
}

std::string_view LuaValue::Text(std::string_view key) const {
  const LuaValue* value = Find(key);
  return value == nullptr ? std::string_view() : std::string_view(value->text);
}

double LuaValue::Number(std::string_view key) const {
  const LuaValue* value = Find(key);
  return value == nullptr ? 0 : value->number;
}

std::expected<LuaValue, std::string> ReadLuaTable(std::string_view text) {
  Reader reader(text);
  LuaValue value;
  if (!reader.TakeWord("return")) {
    reader.Fail("it does not begin with 'return'");
  } else if (reader.Value(value)) {
    reader.Take(';');
    if (!reader.AtEnd()) reader.Fail("more than one value");
  }
  if (auto error = reader.TakeError(); !error.empty()) return std::unexpected(std::move(error));
  return value;
}

std::expected<std::vector<LuaValue>, std::string> ReadLuaList(std::string_view text) {
  Reader reader(text);
  std::vector<LuaValue> items;
  while (!reader.AtEnd()) {
    LuaValue& item = items.emplace_back();
    if (!reader.TakeWord("item") || !reader.Take('(') || !reader.Value(item) || !reader.Take(')')) {
      reader.Fail("no item(…)");
      return std::unexpected(reader.TakeError());
    }
    reader.Take(';');
  }
  return items;
}

}  // namespace server
