// A term of Erlang's external format from a peer. The first byte chooses the depth.
#include <cstdint>
#include <span>

#include "net/base/check.h"
#include "server/dist/term.h"

namespace {

// All that handlers may ask of a term.
void Walk(const server::TermView& term, int depth) {
  // Held against the term's own text: a constant to compare with is soon learnt by the fuzzer.
  if (auto atom = term.AsAtom()) {
    CHECK(term.IsAtom(*atom));
    CHECK(!term.IsAtom(*atom + 'x'));
  } else {
    CHECK(!term.IsAtom(""));
  }
  static_cast<void>(term.AsInteger());
  static_cast<void>(term.AsFloat());
  static_cast<void>(term.AsBinary());
  static_cast<void>(term.AsText());
  static_cast<void>(term.Node());
  if (depth == 0) return;
  if (auto elements = term.AsTuple()) {
    CHECK(elements->size() == term.TupleArity());
    for (const auto& element : *elements) Walk(element, depth - 1);
  }
  if (auto elements = term.AsList()) {
    for (const auto& element : *elements) Walk(element, depth - 1);
  }
  if (auto pairs = term.AsMap()) {
    for (const auto& [key, value] : *pairs) {
      Walk(key, depth - 1);
      Walk(value, depth - 1);
    }
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  std::span<const uint8_t> bytes(data, size);
  server::TermLimits limits;
  if (bytes[0] != server::kTermVersion) {
    limits.depth = bytes[0];
    bytes = bytes.subspan(1);
  }
  auto view = server::TermView::Decode(bytes, limits);
  if (!view) return 0;
  CHECK(view->bytes().size() + 1 == bytes.size());
  CHECK(view->ToText(256).size() < 2048);
  Walk(*view, 4);
  const server::Term copy(*view);
  CHECK(server::TermView::DecodeBare(copy.bytes(), limits).value() == *view);
  return 0;
}
