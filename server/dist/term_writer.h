// Terms put together at the end of a buffer; the counterpart of TermView. Headers promise: whoever
// writes a tuple of three puts three terms behind it.
//
// Pure. No call fails; atoms are cut at kAtomCharactersMax (names that peers choose were judged
// before).
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

namespace server {

// The byte in front of a term that stands alone.
inline constexpr uint8_t kTermVersion = 131;
// Erlang's own bound.
inline constexpr size_t kAtomCharactersMax = 255;
inline constexpr size_t kAtomBytesMax = 4 * kAtomCharactersMax;

using TermBuffer = std::vector<uint8_t>;

void PutVersion(TermBuffer* out);
void PutAtom(TermBuffer* out, std::string_view text);
void PutInteger(TermBuffer* out, int64_t value);
void PutUnsigned(TermBuffer* out, uint64_t value);
void PutFloat(TermBuffer* out, double value);
void PutBinary(TermBuffer* out, std::span<const uint8_t> bytes);
void PutTuple(TermBuffer* out, uint32_t arity);
// With elements, a PutNil() must follow the last of them. PutList(0) is PutNil().
void PutList(TermBuffer* out, uint32_t elements);
void PutNil(TermBuffer* out);
void PutMap(TermBuffer* out, uint32_t pairs);
// "text" as a list of its characters.
void PutString(TermBuffer* out, std::string_view utf8);
void PutRaw(TermBuffer* out, std::span<const uint8_t> term);

// Names of processes and calls of a node's life.
struct Pid {
  uint32_t id = 0;
  uint32_t serial = 0;
  bool operator==(const Pid&) const = default;
};
using Reference = std::array<uint32_t, 3>;
void PutPid(TermBuffer* out, std::string_view node, Pid pid, uint32_t creation);
void PutReference(TermBuffer* out, std::string_view node, const Reference& reference,
                  uint32_t creation);

}  // namespace server
