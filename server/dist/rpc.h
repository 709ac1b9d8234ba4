// Calls between nodes: rpc:call(Node, Module, Function, Args) and its kin, in both directions.
#pragma once

#include <expected>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "server/dist/term.h"

namespace server {

// What came of a call that a peer made, or of one that we made.
struct RpcError {
  enum class Kind : uint8_t {
    kError,     // erlang:error(Reason) in the callee
    kExit,      // exit(Reason)
    kThrow,     // throw(Reason): for rpc:call the value, for erpc:call an exception
    kUndef,     // no such function
    kNodeDown,  // no link to the node, or it was lost before the answer
    kTimeout,
    kBusy,  // calls_max
  };
  Kind kind = Kind::kError;
  Term reason = Term::Atom("error");
  static RpcError Error(Term reason) { return {Kind::kError, std::move(reason)}; }
  std::string ToText() const;  // "nodedown", "timeout", "undef", or the reason
};
using RpcResult = std::expected<Term, RpcError>;

// Points into the frame that brought it: copy what is kept beyond the handler's call.
struct RpcCall {
  std::string_view caller;  // the node
  std::string_view module;
  std::string_view function;
  std::span<const TermView> args;
};

// The answer to one call, given once, from any thread, at any time. Dropped without one, the caller
// hears an error. After the link or the DistNode has ended, an answer is dropped silently.
class RpcReply {
 public:
  class Sink {
   public:
    virtual ~Sink() = default;
    virtual void Answer(uint64_t call, RpcResult result) = 0;
  };
  RpcReply(std::shared_ptr<Sink> sink, uint64_t call) : sink_(std::move(sink)), call_(call) {}
  RpcReply(RpcReply&&) noexcept = default;
  RpcReply& operator=(RpcReply&& other) noexcept;
  ~RpcReply();

  void Return(Term value) { Answer(std::move(value)); }
  void Undef() { Answer(std::unexpected(RpcError{RpcError::Kind::kUndef, Term::Atom("undef")})); }
  void Error(Term reason) { Answer(std::unexpected(RpcError::Error(std::move(reason)))); }
  void Answer(RpcResult result);

 private:
  std::shared_ptr<Sink> sink_;
  uint64_t call_;
};

// On the DistNode's thread; must not block.
using RpcHandler = std::function<void(const RpcCall& call, RpcReply reply)>;

}  // namespace server
