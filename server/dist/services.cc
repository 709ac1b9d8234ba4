#include "server/dist/services.h"

#include <algorithm>

#include "net/base/byte_reader.h"
#include "server/dist/flags.h"
#include "server/dist/link_hello.h"

namespace server {
namespace {

constexpr std::string_view kNetKernel = "net_kernel";
constexpr std::string_view kRexName = "rex";
// A binary's header, behind the version byte.
constexpr size_t kBinaryHeader = 6;
constexpr uint8_t kBinaryTag = 109;

std::vector<TermView> Fields(const TermView& term, size_t at_least) {
  auto fields = term.AsTuple();
  if (!fields || fields->size() < at_least) return {};
  return std::move(*fields);
}

// [{Module, Function, Args, []}]: where erl says that a call failed.
Term Stack(const Term& module, const Term& function, const Term& args) {
  return Term::List({Term::Tuple({module, function, args, Term()})});
}

Term BadRpc(Term reason) { return Term::Tuple({Term::Atom("badrpc"), std::move(reason)}); }

}  // namespace

void Services::SetRpc(std::string module, std::string function, RpcHandler handler) {
  handlers_[std::move(module)][std::move(function)] = std::move(handler);
}

bool Services::HasRpc(std::string_view module, std::string_view function) const {
  auto found = handlers_.find(module);
  return found != handlers_.end() && found->second.contains(function);
}

void Services::SetMailbox(std::string name, MessageHandler handler) {
  mailboxes_[std::move(name)] = std::move(handler);
}

Pid Services::NewPid() {
  if (++next_pid_ < 100) next_pid_ = 100;
  return {.id = next_pid_, .serial = 0};
}

Term Services::PidTerm(Pid pid) const {
  TermBuffer out;
  PutPid(&out, self_.node, pid, self_.creation);
  return Term(*TermView::DecodeBare(out));
}

std::expected<void, TermError> Services::OnFrame(PeerSession& session,
                                                 std::span<const uint8_t> body) {
  if (OnFastMessage(session, body)) return {};
  auto frame = ReadControlFrame(body);
  if (!frame) return std::unexpected(frame.error());
  if (frame->Is(ControlOp::kRegSend, 3)) return OnRegSend(session, *frame);
  if (frame->Is(ControlOp::kSend, 2) || frame->Is(ControlOp::kSendSender, 2)) {
    return OnPidSend(session, *frame);
  }
  if (frame->Is(ControlOp::kSpawnRequest, 5)) return OnSpawnRequest(session, *frame);
  if (frame->Is(ControlOp::kMonitor, 3)) OnMonitor(session, *frame);
  if (frame->Is(ControlOp::kDemonitor, 3)) OnDemonitor(session, *frame);
  if (frame->Is(ControlOp::kLink, 2)) OnLink(session, *frame);
  if (frame->Is(ControlOp::kUnlinkId, 3)) OnUnlinkId(session, *frame);
  return {};  // others concern processes, and we have none to be told
}

// --- Messages -----------------------------------------------------------------------------------

bool Services::OnFastMessage(PeerSession& session, std::span<const uint8_t> body) {
  const size_t size = session.last_control.size();
  if (size == 0 || body.size() < size ||
      !std::equal(session.last_control.begin(), session.last_control.end(), body.begin())) {
    return false;
  }
  return Deliver(session, body.subspan(size)).has_value();
}

Services::Result Services::Deliver(PeerSession& session, std::span<const uint8_t> payload) {
  DistMessage message{
      .from = session.peer, .mailbox = session.last_mailbox_name, .bytes = {}, .term = {}};
  // One of ours sends a binary and nothing else.
  if (session.peer.ours && payload.size() >= kBinaryHeader && payload[0] == kTermVersion &&
      payload[1] == kBinaryTag) {
    net::ByteReader in(payload.subspan(2));
    message.bytes = in.Vector(4);
    if (!in.done()) return std::unexpected(TermError::kTruncated);
  } else {
    auto term = TermView::Decode(payload);
    if (!term) return std::unexpected(term.error());
    message.term = *term;
  }
  hooks_.count(ServiceEvent::kMessage);
  (*session.last_mailbox)(message);
  return {};
}

Services::Result Services::OnRegSend(PeerSession& session, const ControlFrame& frame) {
  auto to = frame.field[2].AsAtom();
  if (!to) return std::unexpected(TermError::kMalformed);
  if (auto mailbox = mailboxes_.find(*to); mailbox != mailboxes_.end()) {
    session.last_control.assign(frame.control.begin(), frame.control.end());
    session.last_mailbox = &mailbox->second;
    session.last_mailbox_name = mailbox->first;
    return Deliver(session, frame.payload);
  }
  auto message = TermView::Decode(frame.payload);
  if (!message) return std::unexpected(message.error());
  if (*to == kLinkMailbox) {
    hooks_.on_link_message(session, *message);
  } else if (*to == kNetKernel || *to == kRexName) {
    OnCallMessage(session, *to, *message);
  } else {
    hooks_.count(ServiceEvent::kUnknownMailbox);
  }
  return {};
}

Services::Result Services::OnPidSend(PeerSession& session, const ControlFrame& frame) {
  static_cast<void>(session);
  auto message = TermView::Decode(frame.payload);
  if (!message) return std::unexpected(message.error());
  if (ReadPid(frame.field[1], self_) == caller_) OnAnswer(*message);
  return {};
}

// {'$gen_call', {Pid, Tag}, Request}, {'$gen_cast', Request}, and what older nodes send to rex.
void Services::OnCallMessage(PeerSession& session, std::string_view to, const TermView& message) {
  const auto fields = Fields(message, 2);
  if (fields.empty()) return;
  if (fields[0].IsAtom("$gen_cast")) {
    if (to == kRexName) OnRexCall(session, Form::kNone, TermView(), TermView(), fields[1]);
    return;
  }
  if (!fields[0].IsAtom("$gen_call")) {
    if (to == kRexName && fields[0].kind() == TermKind::kPid) {
      OnRexRequest(session, fields[0], fields[1]);
    }
    return;
  }
  if (fields.size() != 3) return;
  const auto from = Fields(fields[1], 2);
  if (from.empty() || from[0].kind() != TermKind::kPid) return;
  if (to == kRexName) return OnRexCall(session, Form::kCall, from[0], from[1], fields[2]);
  const auto request = Fields(fields[2], 2);
  if (!request.empty() && request[0].IsAtom("is_auth")) {
    SendTo(session.sink, from[0].bytes(), Term::Tuple({Term(from[1]), Term::Atom("yes")}));
  }
}

void Services::OnRexRequest(PeerSession& session, const TermView& to, const TermView& request) {
  if (request.IsAtom("features_request")) {
    SendTo(session.sink, to.bytes(),
           Term::Tuple({Term::Atom("features_reply"), Term::Atom(self_.node),
                        Term::List({Term::Atom("erpc")})}));
    return;
  }
  OnRexCall(session, Form::kRex, to, TermView(), request);
}

// {call | block_call | cast, Module, Function, Args, GroupLeader}
void Services::OnRexCall(PeerSession& session, Form form, const TermView& to, const TermView& tag,
                         const TermView& request) {
  const auto fields = Fields(request, 5);
  if (fields.empty()) return;
  const bool known =
      fields[0].IsAtom("call") || fields[0].IsAtom("block_call") || fields[0].IsAtom("cast");
  if (!known) return;
  Dispatch(
      session,
      {.session = session.id, .sink = session.sink, .form = form, .to = Term(to), .tag = Term(tag)},
      fields[1], fields[2], fields[3]);
}

// --- Calls of peers -----------------------------------------------------------------------------

void Services::Dispatch(PeerSession& session, Rpc rpc, const TermView& module,
                        const TermView& function, const TermView& args) {
  hooks_.count(ServiceEvent::kRpc);
  const uint64_t id = next_rpc_++;
  rpc.module = Term(module);
  rpc.function = Term(function);
  rpc.args = Term(args);
  const bool full = rpcs_.size() >= limits_.rpc_max;
  rpcs_.emplace(id, std::move(rpc));
  if (full) {
    hooks_.count(ServiceEvent::kRpcBusy);
    return Finish(id, std::unexpected(RpcError::Error(Term::Atom("system_limit"))));
  }
  const auto module_name = module.AsAtom();
  const auto function_name = function.AsAtom();
  const auto arguments = args.AsList();
  if (module_name && function_name && arguments) {
    auto of_module = handlers_.find(*module_name);
    if (of_module != handlers_.end()) {
      auto handler = of_module->second.find(*function_name);
      if (handler != of_module->second.end()) {
        handler->second({.caller = session.peer.node,
                         .module = *module_name,
                         .function = *function_name,
                         .args = *arguments},
                        RpcReply(hooks_.reply_sink, id));
        return;
      }
    }
  }
  if (module_name == "shell" && function_name && function_name->starts_with("start")) {
    return Finish(id, StartShell());
  }
  Finish(id, std::unexpected(RpcError{RpcError::Kind::kUndef, Term::Atom("undef")}));
}

void Services::Finish(uint64_t id, RpcResult result) {
  auto node = rpcs_.extract(id);
  if (node.empty()) return;
  const Rpc& rpc = node.mapped();
  using Kind = RpcError::Kind;
  const bool undef = !result && result.error().kind == Kind::kUndef;
  if (undef) hooks_.count(ServiceEvent::kRpcUndef);
  const Term stack = Stack(rpc.module, rpc.function, rpc.args);
  switch (rpc.form) {
    case Form::kNone:
      return;
    case Form::kErpc: {
      Term reason;
      if (result) {
        reason = Term::Tuple({rpc.tag, Term::Atom("return"), *result});
      } else if (result.error().kind == Kind::kThrow) {
        reason = Term::Tuple({rpc.tag, Term::Atom("throw"), result.error().reason});
      } else if (result.error().kind == Kind::kExit) {
        reason = Term::Tuple({rpc.tag, Term::Atom("exit"), result.error().reason});
      } else {
        reason = Term::Tuple({rpc.tag, Term::Atom("error"), result.error().reason, stack});
      }
      SendMonitorExit(rpc.sink, PidTerm(rpc.process), rpc.to.bytes(), rpc.monitor.bytes(), reason);
      return;
    }
    case Form::kCall:
    case Form::kRex: {
      Term value;
      if (result) {
        value = *result;
      } else if (result.error().kind == Kind::kThrow) {
        value = result.error().reason;
      } else if (result.error().kind == Kind::kExit) {
        value = BadRpc(Term::Tuple({Term::Atom("EXIT"), result.error().reason}));
      } else {
        value =
            BadRpc(Term::Tuple({Term::Atom("EXIT"), Term::Tuple({result.error().reason, stack})}));
      }
      const Term tag = rpc.form == Form::kRex ? Term::Atom(kRexName) : rpc.tag;
      SendTo(rpc.sink, rpc.to.bytes(), Term::Tuple({tag, value}));
      return;
    }
  }
}

Services::SpawnOptions Services::ReadSpawnOptions(const TermView& options) {
  SpawnOptions read;
  for (const TermView& option : options.AsList().value_or(std::vector<TermView>())) {
    if (option.IsAtom("monitor")) read.monitor = true;
    if (option.IsAtom("link")) read.link = true;
    const auto pair = Fields(option, 2);
    if (pair.empty()) continue;
    if (pair[0].IsAtom("monitor")) read.monitor = true;
    if (pair[0].IsAtom("reply") && pair[1].IsAtom("no")) read.reply = false;
  }
  return read;
}

// {ReqId, From, GroupLeader, {Module, Function, Arity}, Options} and the arguments. What rpc and
// erpc send is erpc:execute_call([Result, M, F, A]), what a cast sends erpc:execute_cast([M, F,
// A]).
Services::Result Services::OnSpawnRequest(PeerSession& session, const ControlFrame& frame) {
  auto args = TermView::Decode(frame.payload);
  if (!args) return std::unexpected(args.error());
  const auto function = Fields(frame.field[3], 3);
  const auto list = args->AsList();
  if (function.empty() || !list || frame.field[1].kind() != TermKind::kPid) {
    return std::unexpected(TermError::kMalformed);
  }
  const SpawnOptions options = ReadSpawnOptions(frame.field[4]);
  const bool call = function[1].IsAtom("execute_call") && list->size() == 4;
  const bool cast = function[1].IsAtom("execute_cast") && list->size() == 3;
  if (!function[0].IsAtom("erpc") || !(call || cast)) {
    if (options.reply) SendSpawnReply(session.sink, frame, 0, Term::Atom("notsup"));
    return {};
  }
  Rpc rpc{.session = session.id,
          .sink = session.sink,
          .form = call && options.monitor ? Form::kErpc : Form::kNone,
          .to = Term(frame.field[1]),
          .tag = call ? Term((*list)[0]) : Term(),
          .monitor = Term(frame.field[0]),
          .process = NewPid()};
  if (options.reply || options.monitor) {
    constexpr int64_t kMonitorSet = 2;
    SendSpawnReply(session.sink, frame, options.monitor ? kMonitorSet : 0, PidTerm(rpc.process));
  }
  const size_t first = call ? 1 : 0;
  Dispatch(session, std::move(rpc), (*list)[first], (*list)[first + 1], (*list)[first + 2]);
  return {};
}

void Services::OnLost(const PeerSession& session) {
  std::erase_if(rpcs_, [&](const auto& item) { return item.second.session == session.id; });
  std::vector<uint64_t> lost;
  for (const auto& [id, call] : calls_) {
    if (call.session == session.id) lost.push_back(id);
  }
  for (uint64_t id : lost) {
    auto call = TakeCall(id);
    if (!call) continue;
    call->done(std::unexpected(RpcError{RpcError::Kind::kNodeDown, Term::Atom("nodedown")}));
  }
}

// --- Monitors and links -------------------------------------------------------------------------

bool Services::IsAlive(const TermView& process) const {
  if (auto name = process.AsAtom()) {
    return *name == kNetKernel || *name == kRexName || *name == kLinkMailbox ||
           mailboxes_.contains(*name);
  }
  auto pid = ReadPid(process, self_);
  if (!pid) return false;
  if (*pid == caller_) return true;
  return std::ranges::any_of(rpcs_, [&](const auto& item) {
    return item.second.form == Form::kErpc && item.second.process == *pid;
  });
}

// {From, To, Ref}
void Services::OnMonitor(PeerSession& session, const ControlFrame& frame) {
  if (IsAlive(frame.field[1])) return;
  SendMonitorExit(session.sink, Term(frame.field[1]), frame.field[0].bytes(),
                  frame.field[2].bytes(), Term::Atom("noproc"));
}

// {From, To, Ref}: who no longer waits for a call takes its monitor back.
void Services::OnDemonitor(PeerSession& session, const ControlFrame& frame) {
  std::erase_if(rpcs_, [&](const auto& item) {
    return item.second.session == session.id && item.second.form == Form::kErpc &&
           item.second.monitor.view() == frame.field[2];
  });
}

// {From, To}
void Services::OnLink(PeerSession& session, const ControlFrame& frame) {
  if (auto pid = ReadPid(frame.field[1], self_); pid && std::erase(shells_, *pid) > 0) {
    return EndShell(session, *pid, frame.field[0]);
  }
  if (IsAlive(frame.field[1])) return;
  TermBuffer out;
  {
    FrameWriter frame_out(&out, ControlOp::kPayloadExit, 2);
    PutRaw(&out, frame.field[1].bytes());
    PutRaw(&out, frame.field[0].bytes());
    frame_out.Payload();
    PutAtom(&out, "noproc");
  }
  session.sink->Put(out);
}

Term Services::StartShell() {
  if (shells_.size() >= kShellsMax) shells_.erase(shells_.begin());
  shells_.push_back(NewPid());
  return PidTerm(shells_.back());
}

void Services::EndShell(PeerSession& session, Pid shell, const TermView& group) {
  const Term pid = PidTerm(shell);
  TermBuffer reference;
  PutReference(&reference, self_.node, NewReference(), self_.creation);
  const std::string text = self_.node +
                           " is no Erlang node and has no shell. Use mongooseimctl, or "
                           "rpc:call/4 from a node of your own.\n";
  SendTo(session.sink, group.bytes(),
         Term::Tuple({Term::Atom("io_request"), pid, Term(*TermView::DecodeBare(reference)),
                      Term::Tuple({Term::Atom("put_chars"), Term::Atom("unicode"),
                                   Term::Binary(text)})}));
  TermBuffer out;
  {
    FrameWriter frame(&out, ControlOp::kPayloadExit, 2);
    PutRaw(&out, pid.bytes());
    PutRaw(&out, group.bytes());
    frame.Payload();
    PutAtom(&out, "no_shell");
  }
  session.sink->Put(out);
}

// {Id, From, To}: acknowledged before anything else goes to From.
void Services::OnUnlinkId(PeerSession& session, const ControlFrame& frame) {
  TermBuffer out;
  {
    FrameWriter frame_out(&out, ControlOp::kUnlinkIdAck, 3);
    PutRaw(&out, frame.field[0].bytes());
    PutRaw(&out, frame.field[2].bytes());
    PutRaw(&out, frame.field[1].bytes());
  }
  session.sink->Put(out);
}

// --- Our own calls ------------------------------------------------------------------------------

namespace {

// A reference's first word has 18 bits where a peer is old.
constexpr uint32_t kFirstWordBits = 18;

Reference ReferenceOf(uint64_t call) {
  return {static_cast<uint32_t>(call & ((1U << kFirstWordBits) - 1)),
          static_cast<uint32_t>(call >> kFirstWordBits),
          static_cast<uint32_t>(call >> (kFirstWordBits + 32))};
}

uint64_t CallOf(const Reference& reference) {
  return uint64_t{reference[0]} | uint64_t{reference[1]} << kFirstWordBits |
         uint64_t{reference[2]} << (kFirstWordBits + 32);
}

RpcResult ReadRexResult(const TermView& value) {
  const auto bad = Fields(value, 2);
  if (bad.size() != 2 || !bad[0].IsAtom("badrpc")) return Term(value);
  const auto exit = Fields(bad[1], 2);
  if (exit.size() == 2 && exit[0].IsAtom("EXIT")) {
    const auto reason = Fields(exit[1], 2);
    if (reason.size() == 2 && reason[0].IsAtom("undef")) {
      return std::unexpected(RpcError{RpcError::Kind::kUndef, Term::Atom("undef")});
    }
    return std::unexpected(RpcError{RpcError::Kind::kExit, Term(exit[1])});
  }
  return std::unexpected(RpcError::Error(Term(bad[1])));
}

}  // namespace

Reference Services::NewReference() { return ReferenceOf(next_call_++); }

bool Services::StartCall(PeerSession& session, std::string_view to, const Term& request,
                         net::Time deadline, CallDone* done) {
  if (calls_.size() >= limits_.calls_max) return false;
  const uint64_t call = next_call_++;
  TermBuffer out;
  {
    FrameWriter frame(&out, ControlOp::kRegSend, 3);
    PutPid(&out, self_.node, caller_, self_.creation);
    PutAtom(&out, "");
    PutAtom(&out, to);
    frame.Payload();
    PutTuple(&out, 3);
    PutAtom(&out, "$gen_call");
    PutTuple(&out, 2);
    PutPid(&out, self_.node, caller_, self_.creation);
    PutReference(&out, self_.node, ReferenceOf(call), self_.creation);
    PutRaw(&out, request.bytes());
  }
  auto at = call_deadlines_.emplace(deadline, call);
  calls_.emplace(call, OwnCall{session.id, at, std::move(*done)});
  session.sink->Put(out);
  return true;
}

bool Services::Call(PeerSession& session, std::string_view module, std::string_view function,
                    std::span<const Term> args, net::Time deadline, CallDone* done) {
  return StartCall(session, kRexName,
                   Term::Tuple({Term::Atom("call"), Term::Atom(module), Term::Atom(function),
                                Term::List(args), Term::Atom("user")}),
                   deadline, done);
}

bool Services::Ping(PeerSession& session, net::Time deadline, CallDone* done) {
  return StartCall(session, kNetKernel,
                   Term::Tuple({Term::Atom("is_auth"), Term::Atom(self_.node)}), deadline, done);
}

// {Ref, Result}
void Services::OnAnswer(const TermView& message) {
  const auto fields = Fields(message, 2);
  if (fields.size() != 2) return;
  auto reference = ReadReference(fields[0], self_);
  if (!reference) return;
  if (auto call = TakeCall(CallOf(*reference))) call->done(ReadRexResult(fields[1]));
}

std::optional<Services::OwnCall> Services::TakeCall(uint64_t call) {
  auto node = calls_.extract(call);
  if (node.empty()) return std::nullopt;
  call_deadlines_.erase(node.mapped().deadline);
  return std::move(node.mapped());
}

void Services::Expire(net::Time now) {
  while (!call_deadlines_.empty() && call_deadlines_.begin()->first <= now) {
    auto call = TakeCall(call_deadlines_.begin()->second);
    call->done(std::unexpected(RpcError{RpcError::Kind::kTimeout, Term::Atom("timeout")}));
  }
}

// --- Frames -------------------------------------------------------------------------------------

void Services::SendTo(PeerSession::Sink* sink, std::span<const uint8_t> pid, const Term& message) {
  TermBuffer out;
  {
    FrameWriter frame(&out, ControlOp::kSend, 2);
    PutAtom(&out, "");
    PutRaw(&out, pid);
    frame.Payload();
    PutRaw(&out, message.bytes());
  }
  sink->Put(out);
}

void Services::SendMonitorExit(PeerSession::Sink* sink, const Term& process,
                               std::span<const uint8_t> to, std::span<const uint8_t> reference,
                               const Term& reason) {
  TermBuffer out;
  {
    FrameWriter frame(&out, ControlOp::kPayloadMonitorExit, 3);
    PutRaw(&out, process.bytes());
    PutRaw(&out, to);
    PutRaw(&out, reference);
    frame.Payload();
    PutRaw(&out, reason.bytes());
  }
  sink->Put(out);
}

void Services::SendSpawnReply(PeerSession::Sink* sink, const ControlFrame& request, int64_t flags,
                              const Term& result) {
  TermBuffer out;
  {
    FrameWriter frame(&out, ControlOp::kSpawnReply, 4);
    PutRaw(&out, request.field[0].bytes());
    PutRaw(&out, request.field[1].bytes());
    PutInteger(&out, flags);
    PutRaw(&out, result.bytes());
  }
  sink->Put(out);
}

}  // namespace server
