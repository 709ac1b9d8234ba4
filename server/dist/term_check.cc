// The check of a whole term, in one pass and without recursion: a stack of counts, one a level.
#include <array>

#include "net/base/byte_reader.h"
#include "server/dist/term.h"
#include "server/dist/term_format.h"

namespace server {
namespace {

using net::ByteReader;
namespace tf = term_format;

// Whether it is UTF-8 of at most kAtomCharactersMax characters. Overlong forms and surrogates are
// none.
bool IsAtomText(std::span<const uint8_t> text) {
  size_t characters = 0;
  for (size_t i = 0; i < text.size();) {
    const uint8_t lead = text[i];
    const size_t size = lead < 0x80   ? 1
                        : lead < 0xc2 ? 0
                        : lead < 0xe0 ? 2
                        : lead < 0xf0 ? 3
                        : lead < 0xf5 ? 4
                                      : 0;
    if (size == 0 || i + size > text.size()) return false;
    for (size_t k = 1; k < size; ++k) {
      if ((text[i + k] & 0xc0U) != 0x80) return false;
    }
    if (lead == 0xe0 && text[i + 1] < 0xa0) return false;
    if (lead == 0xed && text[i + 1] >= 0xa0) return false;
    if (lead == 0xf0 && text[i + 1] < 0x90) return false;
    if (lead == 0xf4 && text[i + 1] >= 0x90) return false;
    i += size;
    if (++characters > kAtomCharactersMax) return false;
  }
  return true;
}

class Checker {
 public:
  Checker(std::span<const uint8_t> bytes, TermLimits limits)
      : bytes_(bytes),
        left_(bytes),
        depth_max_(limits.depth < kTermDepthMax ? limits.depth : kTermDepthMax) {}

  std::expected<size_t, TermError> Run() {
    pending_[0] = 1;
    while (true) {
      while (pending_[depth_] == 0) {
        if (depth_ == 0) return bytes_.size() - left_.size();
        --depth_;
      }
      --pending_[depth_];
      if (auto error = One()) return std::unexpected(*error);
    }
  }

 private:
  using Result = std::optional<TermError>;

  bool Take(size_t size, std::span<const uint8_t>* out) {
    if (size > left_.size()) return false;
    *out = left_.first(size);
    left_ = left_.subspan(size);
    return true;
  }
  Result Skip(size_t size) {
    std::span<const uint8_t> skipped;
    if (!Take(size, &skipped)) return TermError::kTruncated;
    return std::nullopt;
  }
  // A length of `size` bytes, which is put into length_.
  Result Length(size_t size) {
    std::span<const uint8_t> field;
    if (!Take(size, &field)) return TermError::kTruncated;
    length_ = tf::Big(field);
    return std::nullopt;
  }
  // Length and then so many bytes.
  Result Sized(size_t size, size_t more = 0) {
    if (auto error = Length(size)) return error;
    return Skip(length_ + more);
  }
  // So many terms come below this one. Each has a byte at least, so a length beyond what is left is
  // refused before anything is done for it.
  Result Children(uint64_t count) {
    if (count == 0) return std::nullopt;
    if (count > left_.size()) return TermError::kTruncated;
    if (depth_ + 1 >= depth_max_) return TermError::kDepth;
    pending_[++depth_] = count;
    return std::nullopt;
  }
  Result Atom(size_t length_size, bool utf8) {
    if (auto error = Length(length_size)) return error;
    std::span<const uint8_t> text;
    if (!Take(length_, &text)) return TermError::kTruncated;
    const bool good = utf8 ? IsAtomText(text) : text.size() <= kAtomCharactersMax;
    if (!good) return TermError::kAtom;
    return std::nullopt;
  }
  // The name of a node inside a pid, port or reference.
  Result NodeName() {
    std::span<const uint8_t> tag;
    if (!Take(1, &tag)) return TermError::kTruncated;
    switch (tag[0]) {
      case tf::kAtomLatin1:
        return Atom(2, false);
      case tf::kSmallAtomLatin1:
        return Atom(1, false);
      case tf::kAtomUtf8:
        return Atom(2, true);
      case tf::kSmallAtomUtf8:
        return Atom(1, true);
      default:
        return TermError::kMalformed;
    }
  }
  Result Named(size_t behind) {
    if (auto error = NodeName()) return error;
    return Skip(behind);
  }
  Result Reference(size_t creation_size) {
    if (auto error = Length(2)) return error;
    const uint64_t words = length_;
    if (words == 0 || words > tf::kReferenceWordsMax) return TermError::kMalformed;
    return Named(creation_size + 4 * words);
  }
  Result Bits() {
    if (auto error = Length(4)) return error;
    std::span<const uint8_t> bits;
    const uint64_t size = length_;
    if (!Take(1, &bits)) return TermError::kTruncated;
    if (bits[0] < 1 || bits[0] > 8 || size == 0) return TermError::kMalformed;
    return Skip(size);
  }
  // Arity, unique and index, then the count of free variables; module, old index, old unique and
  // pid are terms.
  Result Fun() {
    const size_t before = left_.size();
    if (auto error = Length(4)) return error;
    if (length_ < 29 || length_ > before) return TermError::kTruncated;
    if (auto error = Skip(1 + 16 + 4)) return error;
    if (auto error = Length(4)) return error;
    return Children(4 + length_);
  }

  Result One();

  std::span<const uint8_t> bytes_;
  std::span<const uint8_t> left_;
  uint64_t length_ = 0;
  size_t depth_ = 0;
  const size_t depth_max_;
  std::array<uint64_t, kTermDepthMax + 1> pending_;
};

Checker::Result Checker::One() {
  std::span<const uint8_t> tag;
  if (!Take(1, &tag)) return TermError::kTruncated;
  switch (tag[0]) {
    case tf::kSmallInteger:
      return Skip(1);
    case tf::kInteger:
      return Skip(4);
    case tf::kNewFloat:
      return Skip(8);
    case tf::kFloat:
      return Skip(31);
    case tf::kSmallBig:
      return Sized(1, 1);
    case tf::kLargeBig:
      return Sized(4, 1);
    case tf::kAtomLatin1:
      return Atom(2, false);
    case tf::kSmallAtomLatin1:
      return Atom(1, false);
    case tf::kAtomUtf8:
      return Atom(2, true);
    case tf::kSmallAtomUtf8:
      return Atom(1, true);
    case tf::kNil:
      return std::nullopt;
    case tf::kString:
      return Sized(2);
    case tf::kBinary:
      return Sized(4);
    case tf::kBitBinary:
      return Bits();
    case tf::kSmallTuple:
      if (auto error = Length(1)) return error;
      return Children(length_);
    case tf::kLargeTuple:
      if (auto error = Length(4)) return error;
      return Children(length_);
    case tf::kList:
      if (auto error = Length(4)) return error;
      return Children(length_ + 1);
    case tf::kMap:
      if (auto error = Length(4)) return error;
      return Children(2 * length_);
    case tf::kNewPid:
      return Named(12);
    case tf::kPid:
      return Named(9);
    case tf::kNewPort:
      return Named(8);
    case tf::kV4Port:
      return Named(12);
    case tf::kPort:
      return Named(5);
    case tf::kReference:
      return Named(5);
    case tf::kNewReference:
      return Reference(1);
    case tf::kNewerReference:
      return Reference(4);
    case tf::kExport:
      return Children(3);
    case tf::kNewFun:
      return Fun();
    default:
      return TermError::kTag;
  }
}

}  // namespace

std::expected<size_t, TermError> CheckTerm(std::span<const uint8_t> bytes, TermLimits limits) {
  return Checker(bytes, limits).Run();
}

std::string_view ToString(TermError error) {
  switch (error) {
    case TermError::kTruncated:
      return "a length goes over the end";
    case TermError::kVersion:
      return "not the external term format";
    case TermError::kTag:
      return "an unknown kind of term";
    case TermError::kDepth:
      return "nested too deep";
    case TermError::kAtom:
      return "an atom that is too long or no UTF-8";
    case TermError::kMalformed:
      return "malformed";
    case TermError::kTrailing:
      return "bytes behind the term";
  }
  return "?";
}

}  // namespace server
