#include "server/config/ssl_optfile.h"

#include <algorithm>
#include <cctype>
#include <optional>

namespace server {
namespace {

constexpr int kDepthMax = 16;

bool IsWord(char c) {
  return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_' || c == '@' || c == '.' ||
         c == '-' || c == '+';
}

class Parser {
 public:
  using Pairs = std::vector<std::pair<std::string, std::string>>;

  explicit Parser(std::string_view text) : text_(text) {}

  std::expected<Pairs, std::string> Read() {
    Pairs pairs;
    if (!Sides(pairs)) return std::unexpected(Line() + error_);
    return pairs;
  }

 private:
  // "[{server, OPTIONS}, {client, OPTIONS}]."
  bool Sides(Pairs& pairs) {
    if (!Take('[')) return Expected("[");
    for (bool more = !Take(']'); more;) {
      const auto side = Take('{') ? Word() : std::nullopt;
      if (!side || (*side != "server" && *side != "client")) {
        return Expected("{server, [...]} or {client, [...]}");
      }
      if (!Take(',') || !Options(*side + "_", pairs)) return Expected("a list of options");
      if (!Take('}')) return Expected("}");
      more = Take(',');
      if (!more && !Take(']')) return Expected(", or ]");
    }
    if (!Take('.')) return Expected("a full stop at the end");
    Skip();
    return at_ == text_.size() || Expected("nothing behind the full stop");
  }

  // "[{certfile, "a.pem"}, {verify, verify_peer}, …]"
  bool Options(const std::string& prefix, Pairs& pairs) {
    if (!Take('[')) return Expected("[");
    for (bool more = !Take(']'); more;) {
      if (!Take('{')) return Expected("{option, value}");
      auto name = Word();
      if (!name || !Take(',')) return Expected("{option, value}");
      auto value = Value(0);
      if (!value || !Take('}')) return Expected("{option, value}");
      pairs.emplace_back(prefix + *name, std::move(*value));
      more = Take(',');
      if (!more && !Take(']')) return Expected(", or ]");
    }
    return true;
  }

  // Of a list or a tuple: "".
  std::optional<std::string> Value(int depth) {
    Skip();
    if (depth > kDepthMax || at_ == text_.size()) return std::nullopt;
    const char open = text_[at_];
    if (open == '"') return Quoted('"');
    if (open != '[' && open != '{') return Word();
    const char close = open == '[' ? ']' : '}';
    ++at_;
    for (bool more = !Take(close); more;) {
      if (!Value(depth + 1)) return std::nullopt;
      more = Take(',');
      if (!more && !Take(close)) return std::nullopt;
    }
    return std::string();
  }

  std::optional<std::string> Word() {
    Skip();
    if (at_ < text_.size() && text_[at_] == '\'') return Quoted('\'');
    const size_t begin = at_;
    while (at_ < text_.size() && IsWord(text_[at_])) ++at_;
    // A full stop ends the file, it is no part of the last word.
    if (at_ == begin) return std::nullopt;
    return std::string(text_.substr(begin, at_ - begin));
  }

  std::optional<std::string> Quoted(char quote) {
    std::string value;
    for (++at_; at_ < text_.size(); ++at_) {
      char c = text_[at_];
      if (c == quote) {
        ++at_;
        return value;
      }
      if (c == '\\') {
        if (++at_ == text_.size()) break;
        c = text_[at_];
        if (c == 'n') c = '\n';
        if (c == 't') c = '\t';
      }
      value += c;
    }
    return std::nullopt;
  }

  bool Take(char c) {
    Skip();
    if (at_ == text_.size() || text_[at_] != c) return false;
    ++at_;
    return true;
  }

  void Skip() {
    while (at_ < text_.size()) {
      if (std::isspace(static_cast<unsigned char>(text_[at_])) != 0) {
        ++at_;
      } else if (text_[at_] == '%') {
        at_ = std::min(text_.find('\n', at_), text_.size());
      } else {
        return;
      }
    }
  }

  // The innermost expectation is told.
  bool Expected(std::string_view what) {
    if (error_.empty()) error_ = "expected " + std::string(what);
    return false;
  }

  std::string Line() const {
    const auto lines = std::ranges::count(text_.substr(0, std::min(at_, text_.size())), '\n') + 1;
    return "line " + std::to_string(lines) + ": ";
  }

  std::string_view text_;
  size_t at_ = 0;
  std::string error_;
};

}  // namespace

std::expected<std::vector<std::pair<std::string, std::string>>, std::string> ParseSslOptfile(
    std::string_view text) {
  if (text.size() > kSslOptfileBytesMax) {
    return std::unexpected("is larger than " + std::to_string(kSslOptfileBytesMax) + " bytes");
  }
  return Parser(text).Read();
}

}  // namespace server
