// Terms of Erlang's external format: values in, bytes out, and back, within named limits.
//
//   TermView  a term that lies in somebody's bytes and was checked as a whole when it was made: its
//             accessors cannot run over. Valid as long as the bytes are.
//   Term      a term that owns its bytes; what answers and calls are built of.
//   Put…()    the same at the end of a buffer, for what is sent often (term_writer.h).
//
// Pure; values, so thread-safe as values are. Nothing is allocated by checking, whatever a peer
// sends: lengths are compared with the bytes that are there, depth with TermLimits::depth.
//
// Format: https://www.erlang.org/doc/apps/erts/erl_ext_dist.html. Not taken, since nobody sends
// them to us: compressed terms, references into the atom cache (not negotiated), FUN_EXT and
// LOCAL_EXT.
#pragma once

#include <cstdint>
#include <expected>
#include <initializer_list>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "server/dist/term_writer.h"

namespace server {

struct TermLimits {
  // Nested terms, at most kTermDepthMax. A handler that walks a term recursively is safe with it.
  uint16_t depth = 128;
};
inline constexpr uint16_t kTermDepthMax = 256;
// What AsTuple() and AsList() hand out at once.
inline constexpr size_t kTermElementsMax = 65'536;

enum class TermError : uint8_t {
  kTruncated,  // a length that the bytes do not hold
  kVersion,    // no version byte
  kTag,        // unknown, or one that we do not take
  kDepth,      // deeper than the limit
  kAtom,       // too long, or no UTF-8
  kMalformed,  // against the format otherwise
  kTrailing,   // bytes behind the term
};
std::string_view ToString(TermError error);

enum class TermKind : uint8_t {
  kInteger,  // of any size
  kFloat,
  kAtom,
  kTuple,
  kList,  // [] included; STRING_EXT too
  kMap,
  kBinary,
  kBits,  // a bitstring that is no binary
  kPid,
  kPort,
  kReference,
  kFun,
};
std::string_view ToString(TermKind kind);

// The size of the term that begins `bytes` (no version byte), checked whole.
std::expected<size_t, TermError> CheckTerm(std::span<const uint8_t> bytes, TermLimits limits = {});

class TermView {
 public:
  TermView();  // the empty list
  // All of `bytes` is one term, with or without the version byte in front.
  static std::expected<TermView, TermError> Decode(std::span<const uint8_t> bytes,
                                                   TermLimits limits = {});
  static std::expected<TermView, TermError> DecodeBare(std::span<const uint8_t> bytes,
                                                       TermLimits limits = {});
  // The term that begins `*bytes`, which is moved behind it.
  static std::expected<TermView, TermError> TakeBare(std::span<const uint8_t>* bytes,
                                                     TermLimits limits = {});

  TermKind kind() const;
  // The term's own bytes, without version; to be copied into another term.
  std::span<const uint8_t> bytes() const { return bytes_; }

  bool IsAtom(std::string_view text) const;
  std::optional<std::string> AsAtom() const;  // UTF-8
  std::optional<int64_t> AsInteger() const;   // nullopt too where it does not fit
  std::optional<double> AsFloat() const;
  std::optional<std::span<const uint8_t>> AsBinary() const;
  // A binary, or a list of characters (kTermElementsMax at most), as UTF-8.
  std::optional<std::string> AsText() const;
  // nullopt for other kinds, for improper lists, and above kTermElementsMax. The elements of a
  // STRING_EXT are integers of their own.
  std::optional<std::vector<TermView>> AsTuple() const;
  std::optional<std::vector<TermView>> AsList() const;
  std::optional<std::vector<std::pair<TermView, TermView>>> AsMap() const;
  // The arity of a tuple, without its elements.
  std::optional<uint32_t> TupleArity() const;
  // The node of a pid, port or reference.
  std::optional<std::string> Node() const;

  // As Erlang writes it, cut at about `bytes_max`; for logs and operators.
  std::string ToText(size_t bytes_max = 1024) const;

  // Byte by byte: two encodings of one value differ.
  bool operator==(const TermView& other) const;

 private:
  friend class Term;
  explicit TermView(std::span<const uint8_t> checked) : bytes_(checked) {}
  std::span<const uint8_t> bytes_;
};

class Term {
 public:
  Term();  // the empty list
  explicit Term(TermView view) : bytes_(view.bytes().begin(), view.bytes().end()) {}

  // At most kAtomCharactersMax characters of UTF-8; what is longer is cut.
  static Term Atom(std::string_view text);
  static Term Boolean(bool value) { return Atom(value ? "true" : "false"); }
  static Term Integer(int64_t value);
  static Term Float(double value);
  static Term Binary(std::span<const uint8_t> bytes);
  static Term Binary(std::string_view text);
  // A list of characters, as `"text"` in Erlang.
  static Term String(std::string_view utf8);
  static Term Tuple(std::initializer_list<Term> elements);
  static Term Tuple(std::span<const Term> elements);
  static Term List(std::initializer_list<Term> elements);
  static Term List(std::span<const Term> elements);
  static Term Map(std::span<const std::pair<Term, Term>> pairs);

  TermView view() const { return TermView(bytes_); }
  std::span<const uint8_t> bytes() const { return bytes_; }
  std::string ToText(size_t bytes_max = 1024) const { return view().ToText(bytes_max); }
  bool operator==(const Term&) const = default;

 private:
  explicit Term(std::vector<uint8_t> bytes) : bytes_(std::move(bytes)) {}
  std::vector<uint8_t> bytes_;
};

}  // namespace server
