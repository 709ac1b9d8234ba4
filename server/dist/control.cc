#include "server/dist/control.h"

#include "net/base/byte_reader.h"
#include "server/dist/term_format.h"

namespace server {
namespace {

using net::ByteReader;
namespace tf = term_format;

// Skips the node's name: what is behind it.
std::span<const uint8_t> BehindNode(std::span<const uint8_t> bytes) {
  auto size = CheckTerm(bytes);
  return size ? bytes.subspan(*size) : std::span<const uint8_t>();
}

}  // namespace

std::expected<ControlFrame, TermError> ReadControlFrame(std::span<const uint8_t> body) {
  if (body.size() < 2 || body[0] != kPassThrough) return std::unexpected(TermError::kTag);
  if (body[1] != kTermVersion) return std::unexpected(TermError::kVersion);
  std::span<const uint8_t> rest = body.subspan(2);
  auto control = TermView::TakeBare(&rest);
  if (!control) return std::unexpected(control.error());
  ControlFrame frame;
  frame.payload = rest;
  frame.control = body.first(body.size() - rest.size());
  auto arity = control->TupleArity();
  if (!arity || *arity == 0 || *arity > kControlFieldsMax + 1) {
    return std::unexpected(TermError::kMalformed);
  }
  std::span<const uint8_t> fields = control->bytes();
  fields = fields.subspan(fields[0] == tf::kSmallTuple ? 2 : 5);
  auto op = TermView::TakeBare(&fields)->AsInteger();
  if (!op) return std::unexpected(TermError::kMalformed);
  frame.op = *op;
  frame.fields = *arity - 1;
  for (size_t i = 0; i < frame.fields; ++i) frame.field[i] = *TermView::TakeBare(&fields);
  return frame;
}

FrameWriter::FrameWriter(TermBuffer* out, ControlOp op, uint32_t fields)
    : out_(out), length_(out, kFrameLengthBytes) {
  out->push_back(kPassThrough);
  PutVersion(out);
  PutTuple(out, fields + 1);
  PutInteger(out, static_cast<int64_t>(op));
}

void FrameWriter::Payload() { PutVersion(out_); }

std::optional<Pid> ReadPid(const TermView& term, const Identity& self) {
  if (term.kind() != TermKind::kPid || term.Node() != self.node) return std::nullopt;
  ByteReader in(BehindNode(term.bytes().subspan(1)));
  Pid pid;
  pid.id = static_cast<uint32_t>(in.Number(4));
  pid.serial = static_cast<uint32_t>(in.Number(4));
  const size_t creation = in.Number(term.bytes()[0] == tf::kNewPid ? 4 : 1);
  if (!in.ok() || creation != self.creation) return std::nullopt;
  return pid;
}

std::optional<Reference> ReadReference(const TermView& term, const Identity& self) {
  if (term.bytes()[0] != tf::kNewerReference || term.Node() != self.node) return std::nullopt;
  ByteReader length(term.bytes().subspan(1));
  Reference reference{};
  if (length.Number(2) != reference.size()) return std::nullopt;
  ByteReader in(BehindNode(term.bytes().subspan(3)));
  if (in.Number(4) != self.creation) return std::nullopt;
  for (uint32_t& word : reference) word = static_cast<uint32_t>(in.Number(4));
  if (!in.ok()) return std::nullopt;
  return reference;
}

}  // namespace server
