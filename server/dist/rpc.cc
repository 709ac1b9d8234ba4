#include "server/dist/rpc.h"

namespace server {

std::string RpcError::ToText() const {
  switch (kind) {
    case Kind::kUndef:
      return "undef";
    case Kind::kNodeDown:
      return "nodedown";
    case Kind::kTimeout:
      return "timeout";
    case Kind::kBusy:
      return "too many calls wait for an answer";
    case Kind::kError:
    case Kind::kExit:
    case Kind::kThrow:
      break;
  }
  return reason.ToText();
}

RpcReply& RpcReply::operator=(RpcReply&& other) noexcept {
  std::swap(sink_, other.sink_);
  std::swap(call_, other.call_);
  return *this;
}

RpcReply::~RpcReply() {
  if (sink_ != nullptr) Error(Term::Atom("no_answer"));
}

void RpcReply::Answer(RpcResult result) {
  if (auto sink = std::exchange(sink_, nullptr)) sink->Answer(call_, std::move(result));
}

}  // namespace server
