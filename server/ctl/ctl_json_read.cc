// JSON that operators write as values of arguments: lists and input objects.
#include <charconv>

#include "server/ctl/ctl_json.h"

namespace server {
namespace {

class Reader {
 public:
  explicit Reader(std::string_view text) : text_(text) {}

  std::optional<CtlJson> Whole() {
    auto value = Value(0);
    if (!value || Peek() != '\0' || at_ != text_.size()) return std::nullopt;
    return value;
  }

 private:
  char Peek() {
    while (at_ < text_.size() && std::string_view(" \t\r\n").find(text_[at_]) != std::string::npos)
      ++at_;
    return at_ < text_.size() ? text_[at_] : '\0';
  }
  bool Skip(char wanted) {
    if (Peek() != wanted) return false;
    ++at_;
    return true;
  }

  std::optional<CtlJson> Value(int depth) {
    if (depth > kCtlJsonDepthMax) return std::nullopt;
    switch (Peek()) {
      case '[':
        return List(depth);
      case '{':
        return Object(depth);
      case '"': {
        auto text = String();
        return text ? std::optional(CtlJson::Text(*text)) : std::nullopt;
      }
      default:
        return Word();
    }
  }

  std::optional<CtlJson> List(int depth) {
    CtlJson list = CtlJson::List();
    ++at_;
    if (Skip(']')) return list;
    do {
      auto value = Value(depth + 1);
      if (!value) return std::nullopt;
      list.Add(std::move(*value));
    } while (Skip(','));
    return Skip(']') ? std::optional(std::move(list)) : std::nullopt;
  }

  std::optional<CtlJson> Object(int depth) {
    CtlJson object = CtlJson::Object();
    ++at_;
    if (Skip('}')) return object;
    do {
      if (Peek() != '"') return std::nullopt;
      const auto key = String();
      if (!key || !Skip(':')) return std::nullopt;
      auto value = Value(depth + 1);
      if (!value) return std::nullopt;
      object.Set(*key, std::move(*value));
    } while (Skip(','));
    return Skip('}') ? std::optional(std::move(object)) : std::nullopt;
  }

  std::optional<CtlJson> Word() {
    const size_t from = at_;
    while (at_ < text_.size() &&
           std::string_view(",]} \t\r\n").find(text_[at_]) == std::string::npos)
      ++at_;
    const std::string_view word = text_.substr(from, at_ - from);
    if (word == "null") return CtlJson::Null();
    if (word == "true" || word == "false") return CtlJson::Bool(word == "true");
    int64_t number = 0;
    const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), number);
    if (error != std::errc() || end != word.data() + word.size()) return std::nullopt;
    return CtlJson::Number(number);
  }

  std::optional<uint32_t> Hex4() {
    uint32_t code = 0;
    if (text_.size() - at_ < 4) return std::nullopt;
    const char* from = text_.data() + at_;
    const auto [end, error] = std::from_chars(from, from + 4, code, 16);
    if (error != std::errc() || end != from + 4) return std::nullopt;
    at_ += 4;
    return code;
  }

  static void AppendUtf8(std::string& out, uint32_t code) {
    const auto put = [&out](uint32_t byte) { out += static_cast<char>(byte); };
    if (code < 0x80) return put(code);
    if (code < 0x800) {
      put(0xC0U | code >> 6U);
    } else {
      if (code < 0x10000) {
        put(0xE0U | code >> 12U);
      } else {
        put(0xF0U | code >> 18U);
        put(0x80U | (code >> 12U & 0x3FU));
      }
      put(0x80U | (code >> 6U & 0x3FU));
    }
    put(0x80U | (code & 0x3FU));
  }

  bool Escape(std::string& out) {
    const char c = text_[at_++];
    static constexpr std::string_view kFrom = "\"\\/bfnrt";
    static constexpr std::string_view kTo = "\"\\/\b\f\n\r\t";
    if (const size_t known = kFrom.find(c); known != std::string_view::npos) {
      out += kTo[known];
      return true;
    }
    if (c != 'u') return false;
    auto code = Hex4();
    if (!code) return false;
    if (*code >= 0xD800 && *code < 0xDC00) {
      if (text_.substr(at_, 2) != "\\u") return false;
      at_ += 2;
      const auto low = Hex4();
      if (!low || *low < 0xDC00 || *low > 0xDFFF) return false;
      code = 0x10000U + ((*code - 0xD800U) << 10U) + (*low - 0xDC00U);
    } else if (*code >= 0xDC00 && *code <= 0xDFFF) {
      return false;
    }
    AppendUtf8(out, *code);
    return true;
  }

  std::optional<std::string> String() {
    ++at_;
    std::string out;
    while (at_ < text_.size() && text_[at_] != '"') {
      const char c = text_[at_++];
      if (static_cast<unsigned char>(c) < 0x20) return std::nullopt;
      if (c != '\\') {
        out += c;
      } else if (at_ == text_.size() || !Escape(out)) {
        return std::nullopt;
      }
    }
    if (at_ == text_.size()) return std::nullopt;
    ++at_;
    return out;
  }

  const std::string_view text_;
  size_t at_ = 0;
};

}  // namespace

std::optional<CtlJson> CtlJson::Parse(std::string_view text) { return Reader(text).Whole(); }

}  // namespace server
