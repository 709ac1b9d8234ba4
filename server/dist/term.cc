#include "server/dist/term.h"

#include <algorithm>
#include <array>
#include <bit>
#include <charconv>

#include "net/base/byte_reader.h"
#include "net/base/check.h"
#include "server/dist/term_format.h"
#include "server/dist/term_writer.h"

namespace server {
namespace {

using net::ByteReader;
using net::TextOf;
namespace tf = term_format;

constexpr std::array<uint8_t, 1> kEmptyList = {tf::kNil};

void AppendUtf8(std::string* out, uint32_t code) {
  auto put = [out](uint32_t byte) { out->push_back(static_cast<char>(byte)); };
  if (code < 0x80) {
    put(code);
  } else if (code < 0x800) {
    put(0xc0U | code >> 6);
    put(0x80U | (code & 0x3fU));
  } else if (code < 0x10000) {
    put(0xe0U | code >> 12);
    put(0x80U | (code >> 6 & 0x3fU));
    put(0x80U | (code & 0x3fU));
  } else {
    put(0xf0U | code >> 18);
    put(0x80U | (code >> 12 & 0x3fU));
    put(0x80U | (code >> 6 & 0x3fU));
    put(0x80U | (code & 0x3fU));
  }
}

// The text of an atom as it lies in the bytes, and whether that is Latin-1.
struct AtomBytes {
  std::span<const uint8_t> text;
  bool latin1;
};
std::optional<AtomBytes> AtomAt(std::span<const uint8_t> bytes) {
  ByteReader in(bytes);
  switch (in.Number(1)) {
    case tf::kAtomLatin1:
      return AtomBytes{in.Vector(2), true};
    case tf::kSmallAtomLatin1:
      return AtomBytes{in.Vector(1), true};
    case tf::kAtomUtf8:
      return AtomBytes{in.Vector(2), false};
    case tf::kSmallAtomUtf8:
      return AtomBytes{in.Vector(1), false};
    default:
      return std::nullopt;
  }
}

std::optional<int64_t> BigValue(std::span<const uint8_t> digits, bool negative) {
  while (!digits.empty() && digits.back() == 0) digits = digits.first(digits.size() - 1);
  if (digits.size() > 8) return std::nullopt;
  uint64_t magnitude = 0;
  for (size_t i = digits.size(); i-- > 0;) magnitude = magnitude << 8 | digits[i];
  if (negative) {
    if (magnitude > uint64_t{1} << 63) return std::nullopt;
    return static_cast<int64_t>(uint64_t{0} - magnitude);
  }
  if (magnitude > INT64_MAX) return std::nullopt;
  return static_cast<int64_t>(magnitude);
}

// Single bytes as terms, which the elements of a STRING_EXT are.
std::span<const uint8_t> ByteTerm(uint8_t byte) {
  static const std::array<std::array<uint8_t, 2>, 256> kTerms = [] {
    std::array<std::array<uint8_t, 2>, 256> terms{};
    for (size_t i = 0; i < terms.size(); ++i) {
      terms[i] = {tf::kSmallInteger, static_cast<uint8_t>(i)};
    }
    return terms;
  }();
  return kTerms[byte];
}

// The first of checked terms, taken off them.
std::span<const uint8_t> TakeChecked(std::span<const uint8_t>* bytes) {
  auto size = CheckTerm(*bytes, {.depth = kTermDepthMax});
  CHECK(size.has_value());
  std::span<const uint8_t> term = bytes->first(*size);
  *bytes = bytes->subspan(*size);
  return term;
}

}  // namespace

TermView::TermView() : bytes_(kEmptyList) {}

std::expected<TermView, TermError> TermView::Decode(std::span<const uint8_t> bytes,
                                                    TermLimits limits) {
  if (bytes.empty() || bytes[0] != kTermVersion) return std::unexpected(TermError::kVersion);
  return DecodeBare(bytes.subspan(1), limits);
}

std::expected<TermView, TermError> TermView::DecodeBare(std::span<const uint8_t> bytes,
                                                        TermLimits limits) {
  auto view = TakeBare(&bytes, limits);
  if (view && !bytes.empty()) return std::unexpected(TermError::kTrailing);
  return view;
}

std::expected<TermView, TermError> TermView::TakeBare(std::span<const uint8_t>* bytes,
                                                      TermLimits limits) {
  auto size = CheckTerm(*bytes, limits);
  if (!size) return std::unexpected(size.error());
  TermView view(bytes->first(*size));
  *bytes = bytes->subspan(*size);
  return view;
}

TermKind TermView::kind() const {
  switch (bytes_[0]) {
    case tf::kSmallInteger:
    case tf::kInteger:
    case tf::kSmallBig:
    case tf::kLargeBig:
      return TermKind::kInteger;
    case tf::kNewFloat:
    case tf::kFloat:
      return TermKind::kFloat;
    case tf::kSmallTuple:
    case tf::kLargeTuple:
      return TermKind::kTuple;
    case tf::kNil:
    case tf::kString:
    case tf::kList:
      return TermKind::kList;
    case tf::kMap:
      return TermKind::kMap;
    case tf::kBinary:
      return TermKind::kBinary;
    case tf::kBitBinary:
      return TermKind::kBits;
    case tf::kPid:
    case tf::kNewPid:
      return TermKind::kPid;
    case tf::kPort:
    case tf::kNewPort:
    case tf::kV4Port:
      return TermKind::kPort;
    case tf::kReference:
    case tf::kNewReference:
    case tf::kNewerReference:
      return TermKind::kReference;
    case tf::kNewFun:
    case tf::kExport:
      return TermKind::kFun;
    default:
      return TermKind::kAtom;
  }
}

bool TermView::IsAtom(std::string_view text) const {
  auto atom = AtomAt(bytes_);
  if (!atom) return false;
  if (TextOf(atom->text) == text) {
    return !atom->latin1 || std::ranges::all_of(atom->text, [](uint8_t c) { return c < 0x80; });
  }
  return atom->latin1 && AsAtom() == text;
}

std::optional<std::string> TermView::AsAtom() const {
  auto atom = AtomAt(bytes_);
  if (!atom) return std::nullopt;
  if (!atom->latin1) return std::string(TextOf(atom->text));
  std::string text;
  for (uint8_t c : atom->text) AppendUtf8(&text, c);
  return text;
}

std::optional<int64_t> TermView::AsInteger() const {
  ByteReader in(bytes_);
  switch (in.Number(1)) {
    case tf::kSmallInteger:
      return static_cast<int64_t>(in.Number(1));
    case tf::kInteger:
      return static_cast<int32_t>(static_cast<uint32_t>(in.Number(4)));
    case tf::kSmallBig:
    case tf::kLargeBig: {
      const size_t size = bytes_[0] == tf::kSmallBig ? in.Number(1) : in.Number(4);
      const bool negative = in.Number(1) != 0;
      return BigValue(in.Take(size), negative);
    }
    default:
      return std::nullopt;
  }
}

std::optional<double> TermView::AsFloat() const {
  ByteReader in(bytes_);
  switch (in.Number(1)) {
    case tf::kNewFloat:
      return std::bit_cast<double>(uint64_t{in.Number(8)});
    case tf::kFloat: {
      std::string_view text = TextOf(in.Take(31));
      double value = 0;
      auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
      if (error != std::errc()) return std::nullopt;
      return value;
    }
    default:
      return std::nullopt;
  }
}

std::optional<std::span<const uint8_t>> TermView::AsBinary() const {
  ByteReader in(bytes_);
  if (in.Number(1) != tf::kBinary) return std::nullopt;
  return in.Vector(4);
}

std::optional<std::string> TermView::AsText() const {
  if (auto binary = AsBinary()) return std::string(TextOf(*binary));
  if (kind() != TermKind::kList) return std::nullopt;
  auto characters = AsList();
  if (!characters) return std::nullopt;
  std::string text;
  for (const TermView& character : *characters) {
    auto code = character.AsInteger();
    if (!code || *code < 0 || *code > 0x10ffff) return std::nullopt;
    AppendUtf8(&text, static_cast<uint32_t>(*code));
  }
  return text;
}

std::optional<uint32_t> TermView::TupleArity() const {
  ByteReader in(bytes_);
  switch (in.Number(1)) {
    case tf::kSmallTuple:
      return static_cast<uint32_t>(in.Number(1));
    case tf::kLargeTuple:
      return static_cast<uint32_t>(in.Number(4));
    default:
      return std::nullopt;
  }
}

std::optional<std::vector<TermView>> TermView::AsTuple() const {
  auto arity = TupleArity();
  if (!arity || *arity > kTermElementsMax) return std::nullopt;
  std::span<const uint8_t> rest = bytes_.subspan(bytes_[0] == tf::kSmallTuple ? 2 : 5);
  std::vector<TermView> elements;
  elements.reserve(*arity);
  for (uint32_t i = 0; i < *arity; ++i) elements.push_back(TermView(TakeChecked(&rest)));
  return elements;
}

std::optional<std::vector<TermView>> TermView::AsList() const {
  std::vector<TermView> elements;
  ByteReader in(bytes_);
  switch (in.Number(1)) {
    case tf::kNil:
      return elements;
    case tf::kString:
      for (uint8_t byte : in.Vector(2)) elements.push_back(TermView(ByteTerm(byte)));
      return elements;
    case tf::kList: {
      const size_t size = in.Number(4);
      if (size > kTermElementsMax) return std::nullopt;
      std::span<const uint8_t> rest = bytes_.subspan(5);
      elements.reserve(size);
      for (size_t i = 0; i < size; ++i) elements.push_back(TermView(TakeChecked(&rest)));
      if (rest[0] != tf::kNil) return std::nullopt;
      return elements;
    }
    default:
      return std::nullopt;
  }
}

std::optional<std::vector<std::pair<TermView, TermView>>> TermView::AsMap() const {
  ByteReader in(bytes_);
  if (in.Number(1) != tf::kMap) return std::nullopt;
  const size_t size = in.Number(4);
  if (size > kTermElementsMax) return std::nullopt;
  std::span<const uint8_t> rest = bytes_.subspan(5);
  std::vector<std::pair<TermView, TermView>> pairs;
  pairs.reserve(size);
  for (size_t i = 0; i < size; ++i) {
    TermView key(TakeChecked(&rest));
    pairs.emplace_back(key, TermView(TakeChecked(&rest)));
  }
  return pairs;
}

std::optional<std::string> TermView::Node() const {
  switch (kind()) {
    case TermKind::kPid:
    case TermKind::kPort:
      break;
    case TermKind::kReference:
      if (bytes_[0] == tf::kReference) break;
      return TermView(bytes_.subspan(3)).AsAtom();
    default:
      return std::nullopt;
  }
  return TermView(bytes_.subspan(1)).AsAtom();
}

bool TermView::operator==(const TermView& other) const {
  return std::ranges::equal(bytes_, other.bytes_);
}

std::string_view ToString(TermKind kind) {
  switch (kind) {
    case TermKind::kInteger:
      return "integer";
    case TermKind::kFloat:
      return "float";
    case TermKind::kAtom:
      return "atom";
    case TermKind::kTuple:
      return "tuple";
    case TermKind::kList:
      return "list";
    case TermKind::kMap:
      return "map";
    case TermKind::kBinary:
      return "binary";
    case TermKind::kBits:
      return "bitstring";
    case TermKind::kPid:
      return "pid";
    case TermKind::kPort:
      return "port";
    case TermKind::kReference:
      return "reference";
    case TermKind::kFun:
      return "fun";
  }
  return "?";
}

Term::Term() { PutNil(&bytes_); }

Term Term::Atom(std::string_view text) {
  TermBuffer out;
  PutAtom(&out, text);
  return Term(std::move(out));
}

Term Term::Integer(int64_t value) {
  TermBuffer out;
  PutInteger(&out, value);
  return Term(std::move(out));
}

Term Term::Float(double value) {
  TermBuffer out;
  PutFloat(&out, value);
  return Term(std::move(out));
}

Term Term::Binary(std::span<const uint8_t> bytes) {
  TermBuffer out;
  PutBinary(&out, bytes);
  return Term(std::move(out));
}

Term Term::Binary(std::string_view text) { return Binary(net::BytesOf(text)); }

Term Term::String(std::string_view utf8) {
  TermBuffer out;
  PutString(&out, utf8);
  return Term(std::move(out));
}

Term Term::Tuple(std::initializer_list<Term> elements) {
  return Tuple(std::span(elements.begin(), elements.size()));
}

Term Term::Tuple(std::span<const Term> elements) {
  TermBuffer out;
  PutTuple(&out, static_cast<uint32_t>(elements.size()));
  for (const Term& element : elements) PutRaw(&out, element.bytes());
  return Term(std::move(out));
}

Term Term::List(std::initializer_list<Term> elements) {
  return List(std::span(elements.begin(), elements.size()));
}

Term Term::List(std::span<const Term> elements) {
  TermBuffer out;
  PutList(&out, static_cast<uint32_t>(elements.size()));
  for (const Term& element : elements) PutRaw(&out, element.bytes());
  if (!elements.empty()) PutNil(&out);
  return Term(std::move(out));
}

Term Term::Map(std::span<const std::pair<Term, Term>> pairs) {
  TermBuffer out;
  PutMap(&out, static_cast<uint32_t>(pairs.size()));
  for (const auto& [key, value] : pairs) {
    PutRaw(&out, key.bytes());
    PutRaw(&out, value.bytes());
  }
  return Term(std::move(out));
}

}  // namespace server
