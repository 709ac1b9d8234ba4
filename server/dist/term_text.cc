// Terms as Erlang writes them, for logs and operators.
#include <algorithm>

#include "net/base/byte_reader.h"
#include "net/base/text.h"
#include "server/dist/term.h"
#include "server/dist/term_format.h"

namespace server {
namespace {

namespace tf = term_format;

// What is larger is not shown.
constexpr size_t kTextTermMax = 64U << 10U;

// ~p's rule: a lower-case letter, then letters, digits, '_' and '@'.
bool IsBareAtom(std::string_view text) {
  auto inner = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '@';
  };
  return !text.empty() && text[0] >= 'a' && text[0] <= 'z' && std::ranges::all_of(text, inner);
}

bool IsPrintable(std::string_view text) {
  return std::ranges::all_of(text, [](char c) {
    const auto byte = static_cast<uint8_t>(c);
    return byte >= 0x20 && byte != 0x7f;
  });
}

class Printer {
 public:
  explicit Printer(size_t bytes_max) : bytes_max_(bytes_max) {}

  std::string Take() && {
    if (full()) out_ += "...";
    return std::move(out_);
  }

  // Recursion is bounded by the depth that the term was checked for.
  void Put(const TermView& term) {
    if (full()) return;
    switch (term.kind()) {
      case TermKind::kInteger:
        return PutNumber(term);
      case TermKind::kFloat: {
        auto value = term.AsFloat();
        out_ += value ? std::to_string(*value) : "?";
        return;
      }
      case TermKind::kAtom:
        return PutName(*term.AsAtom());
      case TermKind::kTuple:
        return PutAll("{", term.AsTuple(), "}");
      case TermKind::kList:
        return PutAnyList(term);
      case TermKind::kMap:
        return PutPairs(term);
      case TermKind::kBinary:
        return PutBytes(term);
      default:
        out_ += '#';
        out_ += ToString(term.kind());
        out_ += '<';
        if (auto node = term.Node()) PutName(*node);
        out_ += '>';
    }
  }

 private:
  bool full() const { return out_.size() >= bytes_max_; }

  void PutNumber(const TermView& term) {
    if (auto value = term.AsInteger()) {
      out_ += std::to_string(*value);
    } else {
      out_ += "#integer<" + std::to_string(term.bytes().size()) + " bytes>";
    }
  }
  void PutName(std::string_view name) {
    if (IsBareAtom(name)) {
      out_ += name;
    } else {
      out_ += '\'';
      net::AppendPrintable(out_, name, bytes_max_);
      out_ += '\'';
    }
  }
  void PutQuoted(std::string_view text) {
    out_ += '"';
    net::AppendPrintable(out_, text, bytes_max_);
    out_ += '"';
  }
  void PutAll(std::string_view open, const std::optional<std::vector<TermView>>& elements,
              std::string_view close) {
    out_ += open;
    if (elements) {
      for (size_t i = 0; i < elements->size() && !full(); ++i) {
        if (i > 0) out_ += ',';
        Put((*elements)[i]);
      }
    } else {
      out_ += "...";
    }
    out_ += close;
  }
  void PutAnyList(const TermView& term) {
    if (term.bytes()[0] == tf::kString) {
      auto text = term.AsText();
      if (text && IsPrintable(*text)) return PutQuoted(*text);
    }
    PutAll("[", term.AsList(), "]");
  }
  void PutPairs(const TermView& term) {
    auto pairs = term.AsMap();
    out_ += "#{";
    for (size_t i = 0; pairs && i < pairs->size() && !full(); ++i) {
      if (i > 0) out_ += ',';
      Put((*pairs)[i].first);
      out_ += " => ";
      Put((*pairs)[i].second);
    }
    out_ += '}';
  }
  void PutBytes(const TermView& term) {
    out_ += "<<";
    auto bytes = *term.AsBinary();
    std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    if (!text.empty() && IsPrintable(text)) {
      PutQuoted(text);
    } else {
      for (size_t i = 0; i < bytes.size() && !full(); ++i) {
        if (i > 0) out_ += ',';
        out_ += std::to_string(bytes[i]);
      }
    }
    out_ += ">>";
  }

  const size_t bytes_max_;
  std::string out_;
};

}  // namespace

std::string TermView::ToText(size_t bytes_max) const {
  // Each level of a term is walked once more for the one above it.
  if (bytes_.size() > kTextTermMax) {
    return '#' + std::string(ToString(kind())) + '<' + std::to_string(bytes_.size()) + " bytes>";
  }
  Printer printer(bytes_max);
  printer.Put(*this);
  return std::move(printer).Take();
}

}  // namespace server
