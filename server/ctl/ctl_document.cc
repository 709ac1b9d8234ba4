#include "server/ctl/ctl_document.h"

#include <algorithm>

#include "net/base/text.h"

namespace server {
namespace {

bool NameStart(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; }
bool NameGoesOn(char c) { return NameStart(c) || (c >= '0' && c <= '9'); }

class Parser {
 public:
  explicit Parser(std::string_view text) : text_(text) {}

  std::expected<CtlDocument, std::string> Parse() {
    CtlDocument document;
    if (text_.size() > kDocumentBytesMax) {
      Fail("the document is longer than " + std::to_string(kDocumentBytesMax) + " bytes");
    }
    if (Peek() != '{') {
      const std::string kind = Name("query or mutation");
      document.kind = kind == "query" ? 'Q' : kind == "mutation" ? 'M' : 'S';
      if (kind != "query" && kind != "mutation")
        Fail("'" + kind + "' is neither query nor mutation");
      if (NameStart(Peek())) Name("a name");
      if (Peek() == '(') Fail("variables are not understood: write the values into the document");
    }
    document.fields = Selection(0);
    if (error_.empty() && Peek() != '\0') Fail("one operation, and nothing behind it");
    if (!error_.empty()) return std::unexpected(error_);
    return document;
  }

 private:
  // The next character that means something; '\0' at the end and after an error.
  char Peek() {
    if (!error_.empty()) return '\0';
    while (at_ < text_.size()) {
      const char c = text_[at_];
      if (c == '#') {
        at_ = std::min(text_.find('\n', at_), text_.size());
      } else if (c == ' ' || c == '\t' || c == '\r' || c == '\n' || c == ',') {
        ++at_;
      } else {
        return c;
      }
    }
    return '\0';
  }
  bool Skip(char wanted) {
    if (Peek() != wanted) return false;
    ++at_;
    return true;
  }
  void Expect(char wanted) {
    if (!Skip(wanted)) Fail(std::string("'") + wanted + "' is missing");
  }
  void Fail(std::string what) {
    if (!error_.empty()) return;
    const auto line = std::count(text_.begin(), text_.begin() + static_cast<long>(at_), '\n') + 1;
    error_ = "Syntax error in line " + std::to_string(line) + ": " + std::move(what);
  }

  std::string Name(std::string_view what) {
    std::string name;
    if (!NameStart(Peek())) {
      Fail(std::string(what) + " is missing");
      return name;
    }
    while (at_ < text_.size() && NameGoesOn(text_[at_])) name += text_[at_++];
    return name;
  }

  std::vector<DocumentField> Selection(int depth) {
    std::vector<DocumentField> fields;
    if (depth > kDocumentDepthMax) Fail("it is nested too deep");
    Expect('{');
    while (error_.empty() && Peek() != '}') {
      DocumentField field;
      if (Peek() == '.') Fail("fragments are not understood");
      field.name = Name("a field's name");
      if (Peek() == ':') Fail("aliases are not understood");
      if (Skip('(')) {
        while (error_.empty() && Peek() != ')') {
          std::string name = Name("an argument's name");
          Expect(':');
          field.arguments.emplace_back(std::move(name), Value(depth + 1, false));
        }
        Expect(')');
      }
      if (Peek() == '@') Fail("directives are not understood");
      if (Peek() == '{') field.fields = Selection(depth + 1);
      fields.push_back(std::move(field));
    }
    Expect('}');
    if (fields.empty()) Fail("a selection is empty");
    return fields;
  }

  // `inside` a list or an object strings keep their quotes, and names get some: JSON.
  std::string Value(int depth, bool inside) {
    const char c = Peek();
    if (depth > kDocumentDepthMax) Fail("it is nested too deep");
    if (c == '"') return String(inside);
    if (c == '[' || c == '{') return Compound(depth, c);
    if (c == '$') Fail("variables are not understood: write the value into the document");
    if (NameStart(c)) {
      std::string name = Name("a value");
      const bool bare = !inside || name == "true" || name == "false" || name == "null";
      return bare ? name : '"' + name + '"';
    }
    std::string number;
    while (at_ < text_.size() &&
           (NameGoesOn(text_[at_]) ||
            std::string_view("+-.").find(text_[at_]) != std::string_view::npos)) {
      number += text_[at_++];
    }
    if (number.empty()) Fail("a value is missing");
    return number;
  }

  std::string Compound(int depth, char open) {
    const char close = open == '[' ? ']' : '}';
    std::string out(1, open);
    Expect(open);
    while (error_.empty() && Peek() != close) {
      if (out.size() > 1) out += ',';
      if (open == '{') {
        out += '"' + Name("a key") + "\":";
        Expect(':');
      }
      out += Value(depth + 1, true);
    }
    Expect(close);
    return out + close;
  }

  std::string String(bool inside) {
    ++at_;
    std::string text;
    while (at_ < text_.size() && text_[at_] != '"' && text_[at_] != '\n') {
      char c = text_[at_++];
      if (c == '\\' && at_ < text_.size()) {
        c = text_[at_++];
        if (c == 'n' || c == 't') {
          c = c == 'n' ? '\n' : '\t';
        } else if (c != '"' && c != '\\' && c != '/') {
          Fail(std::string("\\") + c + " in a string is not understood");
        }
      }
      text += c;
    }
    if (at_ >= text_.size() || text_[at_] != '"') Fail("a string does not end");
    ++at_;
    if (!inside) return text;
    std::string quoted;
    net::AppendJsonString(quoted, text);
    return quoted;
  }

  const std::string_view text_;
  size_t at_ = 0;
  std::string error_;
};

}  // namespace

std::expected<CtlDocument, std::string> ParseDocument(std::string_view text) {
  return Parser(text).Parse();
}

std::expected<CtlJson, std::string> Choose(const CtlJson& value,
                                           const std::vector<DocumentField>& fields) {
  if (fields.empty() || value.scalar()) return value;
  CtlJson out = value.list() ? CtlJson::List() : CtlJson::Object();
  if (value.list()) {
    for (const auto& [key, element] : value.values()) {
      auto chosen = Choose(element, fields);
      if (!chosen) return chosen;
      out.Add(std::move(*chosen));
    }
    return out;
  }
  for (const DocumentField& field : fields) {
    const auto at =
        std::ranges::find(value.values(), field.name, [](const auto& v) { return v.first; });
    if (at == value.values().end()) return std::unexpected(field.name);
    auto chosen = Choose(at->second, field.fields);
    if (!chosen) return chosen;
    out.Set(field.name, std::move(*chosen));
  }
  return out;
}

}  // namespace server
