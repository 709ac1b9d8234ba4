#include "server/node/node_rpc.h"

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include "server/dist/node_name.h"

namespace server {
namespace {

Term NodeList(const std::vector<std::string>& names) {
  std::vector<Term> atoms;
  for (const std::string& name : names) atoms.push_back(Term::Atom(name));
  return Term::List(atoms);
}

// A node's name as an atom, or as text, which is how mongooseimctl passes it.
std::optional<std::string> NodeArgument(const RpcCall& call) {
  if (call.args.size() != 1) return std::nullopt;
  if (auto atom = call.args[0].AsAtom()) return atom;
  return call.args[0].AsText();
}

// What the newer generation calls an outcome.
std::string_view Code(Outcome outcome) {
  switch (outcome) {
    case Outcome::kDone:
    case Outcome::kDoneDead:
      return "ok";
    case Outcome::kAlreadyJoined:
      return "already_joined";
    case Outcome::kUnreachable:
      return "pang";
    case Outcome::kNotInCluster:
      return "not_in_cluster";
    case Outcome::kUnknownNode:
    case Outcome::kPeersDown:
    case Outcome::kFailed:
      break;
  }
  return "error";
}

// {ok, Text} or {Code, Text}.
ClusterHost::OrderDone AnswerWithText(RpcReply reply, std::string self) {
  return
      [reply = std::move(reply), self = std::move(self)](const ClusterHost::OrderEnd& end) mutable {
        const OrderAnswer answer = AnswerOf(end.kind, end.outcome, self, end.target, end.detail);
        reply.Return(Term::Tuple({Term::Atom(Code(end.outcome)), Term::String(answer.text)}));
      };
}

// mongoose_cluster's own: `ok`, or an error of the caller's process.
ClusterHost::OrderDone AnswerOrFail(RpcReply reply) {
  return [reply = std::move(reply)](const ClusterHost::OrderEnd& end) mutable {
    if (end.outcome == Outcome::kDone || end.outcome == Outcome::kDoneDead) {
      return reply.Return(Term::Atom("ok"));
    }
    reply.Error(Term::Tuple({Term::Atom(Code(end.outcome)), Term::String(end.detail)}));
  };
}

constexpr net::Duration kLookAgain = std::chrono::milliseconds(50);
// Of who waits for ever: its caller has gone by then.
constexpr net::Duration kReadyWaitMax = std::chrono::minutes(10);

class NodeRpc {
 public:
  NodeRpc(DistNode& node, ClusterHost& cluster, NodeRpcFacts facts)
      : node_(node), cluster_(cluster), facts_(std::move(facts)) {}

  void SystemInfo(const RpcCall& call, RpcReply reply) const {
    if (call.args.size() != 1) return reply.Undef();
    const ClusterStatus status = cluster_.Status();
    const TermView& key = call.args[0];
    if (key.IsAtom("is_running")) return reply.Return(Term::Atom("yes"));
    if (key.IsAtom("db_nodes")) return reply.Return(NodeList(status.members));
    if (key.IsAtom("running_db_nodes")) return reply.Return(NodeList(status.running));
    reply.Answer(std::unexpected(RpcError{
        RpcError::Kind::kExit,
        Term::Tuple({Term::Atom("aborted"), Term::Tuple({Term::Atom("badarg"), Term(key)})})}));
  }

  void Status(const RpcCall& call, RpcReply reply) const {
    if (!call.args.empty()) return reply.Undef();
    reply.Return(
        Term::Tuple({Term::Atom("ok"),
                     Term::Tuple({Term::Boolean(true),
                                  Term::String(StatusSentence(cluster_.Status(), facts_.version)),
                                  Term::String(facts_.version), Term::String(facts_.commit)})}));
  }

  void Join(const RpcCall& call, RpcReply reply, bool with_text) {
    const auto target = NodeArgument(call);
    if (!target) return reply.Undef();
    cluster_.Join(*target, with_text ? AnswerWithText(std::move(reply), node_.node())
                                     : AnswerOrFail(std::move(reply)));
  }

  void Leave(const RpcCall& call, RpcReply reply, bool with_text) {
    if (!call.args.empty()) return reply.Undef();
    cluster_.Leave(false, with_text ? AnswerWithText(std::move(reply), node_.node())
                                    : AnswerOrFail(std::move(reply)));
  }

  void Remove(const RpcCall& call, RpcReply reply) {
    const auto target = NodeArgument(call);
    if (!target) return reply.Undef();
    cluster_.Remove(*target, AnswerWithText(std::move(reply), node_.node()));
  }

  void Applications(const RpcCall& call, RpcReply reply) const {
    if (call.args.size() > 1) return reply.Undef();  // a time-out may come with it
    reply.Return(Term::List({Term::Tuple(
        {Term::Atom("mongooseim"), Term::String("MongooseIM"), Term::String(facts_.version)})}));
  }

  // init:stop answers before it stops.
  void Stop(const RpcCall& call, RpcReply reply) const {
    if (!call.args.empty()) return reply.Undef();
    reply.Return(Term::Atom("ok"));
    facts_.stop();
  }

  // cets_discovery:wait_for_ready(Name, Timeout): ok as soon as the tables of our side are whole.
  static void WaitForReady(const std::shared_ptr<NodeRpc>& self, net::Time deadline,
                           RpcReply reply) {
    if (self->cluster_.Status().ready) return reply.Return(Term::Atom("ok"));
    net::EventLoop& loop = self->node_.loop();
    if (loop.now() >= deadline) {
      return reply.Answer(std::unexpected(RpcError{RpcError::Kind::kExit, Term::Atom("timeout")}));
    }
    loop.After(kLookAgain, [self, deadline, reply = std::move(reply)]() mutable {
      WaitForReady(self, deadline, std::move(reply));
    });
  }
  static void WaitForReady(const std::shared_ptr<NodeRpc>& self, const RpcCall& call,
                           RpcReply reply) {
    if (call.args.size() != 2) return reply.Undef();
    const auto ms = call.args[1].AsInteger();
    if (!ms && !call.args[1].IsAtom("infinity")) return reply.Undef();
    const net::Duration wait =
        std::min<net::Duration>(kReadyWaitMax, std::chrono::milliseconds(ms.value_or(INT32_MAX)));
    WaitForReady(self, self->node_.loop().now() + wait, std::move(reply));
  }

  void WorkingDirectory(const RpcCall& call, RpcReply reply) const {
    if (!call.args.empty()) return reply.Undef();
    reply.Return(Term::Tuple({Term::Atom("ok"), Term::String(facts_.directory)}));
  }

  void Sessions(const RpcCall& call, RpcReply reply) const {
    if (!call.args.empty()) return reply.Undef();
    reply.Return(Term::Integer(static_cast<int64_t>(facts_.load().sessions)));
  }

 private:
  DistNode& node_;
  ClusterHost& cluster_;
  const NodeRpcFacts facts_;
};

}  // namespace

std::string StatusSentence(const ClusterStatus& status, const std::string& version) {
  const std::string is = status.state == NodeState::kStarting   ? "starting"
                         : status.state == NodeState::kStopping ? "stopping"
                                                                : "started";
  return "The node " + QuotedNodeName(status.node) + " is " + is + ". Status: " + is +
         ". MongooseIM " + version + " is running in that node.";
}

void AnswerNodeRpc(DistNode& node, ClusterHost& cluster, NodeRpcFacts facts) {
  // Shared by the handlers, which the node keeps.
  const auto rpc = std::make_shared<NodeRpc>(node, cluster, std::move(facts));
  const auto on = [&](const char* module, const char* function, auto answer) {
    node.OnRpc(module, function, [rpc, answer](const RpcCall& call, RpcReply reply) {
      answer(*rpc, call, std::move(reply));
    });
  };
  using Call = const RpcCall&;
  on("mnesia", "system_info",
     [](NodeRpc& r, Call call, RpcReply reply) { r.SystemInfo(call, std::move(reply)); });
  on("mongoose_cluster", "join",
     [](NodeRpc& r, Call call, RpcReply reply) { r.Join(call, std::move(reply), false); });
  on("mongoose_cluster", "leave",
     [](NodeRpc& r, Call call, RpcReply reply) { r.Leave(call, std::move(reply), false); });
  on("mongoose_server_api", "join_cluster",
     [](NodeRpc& r, Call call, RpcReply reply) { r.Join(call, std::move(reply), true); });
  on("mongoose_server_api", "leave_cluster",
     [](NodeRpc& r, Call call, RpcReply reply) { r.Leave(call, std::move(reply), true); });
  on("mongoose_server_api", "remove_from_cluster",
     [](NodeRpc& r, Call call, RpcReply reply) { r.Remove(call, std::move(reply)); });
  on("mongoose_server_api", "status",
     [](NodeRpc& r, Call call, RpcReply reply) { r.Status(call, std::move(reply)); });
  on("ejabberd_sm", "sm_backend", [](NodeRpc&, Call call, RpcReply reply) {
    if (!call.args.empty()) return reply.Undef();
    reply.Return(Term::Atom("ejabberd_sm_mnesia"));
  });
  on("ejabberd_sm", "get_total_sessions_number",
     [](NodeRpc& r, Call call, RpcReply reply) { r.Sessions(call, std::move(reply)); });
  on("application", "which_applications",
     [](NodeRpc& r, Call call, RpcReply reply) { r.Applications(call, std::move(reply)); });
  on("file", "get_cwd",
     [](NodeRpc& r, Call call, RpcReply reply) { r.WorkingDirectory(call, std::move(reply)); });
  node.OnRpc("cets_discovery", "wait_for_ready", [rpc](const RpcCall& call, RpcReply reply) {
    NodeRpc::WaitForReady(rpc, call, std::move(reply));
  });
  on("init", "stop", [](NodeRpc& r, Call call, RpcReply reply) { r.Stop(call, std::move(reply)); });
}

}  // namespace server
