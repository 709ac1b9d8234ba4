// A node of Erlang's distribution: the one way our nodes, mongooseimctl and stock `erl` reach each
// other. It registers with epmd, listens in the port range, holds a link to each peer, answers
// pings, rpc and erpc, and carries our own messages to mailboxes by name.
//
//   auto node = DistNode::Create(options);
//   node->OnMessage("mongoose_cluster", [](const DistMessage& m) { ... });
//   node->OnRpc("mnesia", "system_info", [](const RpcCall& call, RpcReply reply) { ... });
//   node->OnNodeUp(...); node->OnNodeDown(...);
//   node->Start();                       // error: what, and the remedy
//   node->Connect("mongooseim2@localhost", [](std::expected<void, ConnectError> r) { ... });
//   node->Send("mongooseim2@localhost", "mongoose_cluster", bytes);
//
// Threads: it runs one of its own, with one loop, from Start() to Stop(). All callbacks come on
// that thread and must not block. Handlers are set before Start(). Send(), Connect(), Disconnect(),
// Call(), Ping(), Links(), Sum() and Post() are for all threads.
//
// Order: what is sent to a node from one thread arrives in that order, or the link ends and
// OnNodeDown says so; nothing is delivered twice or with a hole. OnNodeUp of a link comes before
// its first message, OnNodeDown after its last, and they alternate for each node.
//
// Errors: a peer's faults end its link, with a counter and a log line that names the peer.
#pragma once

#include <cstdint>
#include <expected>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "net/base/address.h"
#include "net/base/clock.h"
#include "net/io/event_loop.h"
#include "net/report/metrics.h"
#include "server/dist/dist_options.h"
#include "server/dist/dist_types.h"
#include "server/dist/rpc.h"
#include "server/dist/term.h"

namespace server {

class DistNode {
 public:
  using MessageHandler = server::MessageHandler;
  using UpHandler = server::UpHandler;
  using DownHandler = server::DownHandler;
  using WritableHandler = server::WritableHandler;
  using ConnectDone = server::ConnectDone;
  using CallDone = server::CallDone;

  // Checks what can be checked without a socket: the name, the range, the bounds.
  static std::expected<std::unique_ptr<DistNode>, DistError> Create(DistOptions options);
  // The fewest sockets that these bounds can do with; sockets_max is at least this.
  static size_t SocketsNeeded(const DistOptions& options);
  ~DistNode();  // stops
  DistNode(const DistNode&) = delete;
  DistNode& operator=(const DistNode&) = delete;

  // --- Before Start().
  // Any arity; a handler that does not know the arguments calls reply.Undef(). erlang:node/0,
  // erlang:nodes/0,1 and net_adm:ping/1 are answered unless they are set here.
  void OnRpc(std::string module, std::string function, RpcHandler handler);
  // Mailboxes are registered names: our nodes reach them by Send(), erl by `{Name, Node} ! Term`.
  void OnMessage(std::string mailbox, MessageHandler handler);
  // Every peer, ours or not: erl is up as soon as the handshake is done, one of ours when its hello
  // came. Several handlers are called in the order in which they were set.
  void OnNodeUp(UpHandler handler);
  void OnNodeDown(DownHandler handler);
  // After kFull, when half of the queue is free again.
  void OnWritable(WritableHandler handler);

  // Listens, registers, and returns when others can connect.
  std::expected<void, DistError> Start();
  // Ends all links and the thread. Callbacks end with it; calls that wait hear nodedown.
  void Stop();

  const std::string& node() const { return options_.node; }
  uint32_t creation() const;  // 0 before Start() has registered it
  uint16_t port() const { return port_; }

  // --- From all threads, between Start() and Stop().
  // Looks the node up, dials it and shakes hands. Done at once when there is a link. `done` comes
  // on the node's thread; the error is for people ("no node mongooseim2 at host", "the cookie
  // differs"), and says whether the node is known not to be there.
  void Connect(std::string node, ConnectDone done = nullptr);
  void Disconnect(std::string node, std::string why);
  // To our own nodes. Copies the bytes.
  SendResult Send(std::string_view node, std::string_view mailbox, std::span<const uint8_t> bytes);
  // To any node, as a term of its own.
  SendResult SendTerm(std::string_view node, std::string_view mailbox, const Term& term);
  // Dials where there is no link.
  void Call(std::string node, std::string_view module, std::string_view function,
            std::span<const Term> args, net::Duration timeout, CallDone done);
  // net_adm:ping: true is pong.
  void Ping(std::string node, net::Duration timeout, std::move_only_function<void(bool)> done);

  std::vector<DistPeer> Links() const;
  std::vector<std::string> NodesUp() const;  // names only
  uint64_t Sum(DistCounter counter) const;
  void WriteMetrics(net::MetricsWriter& out) const;

  // Runs on the node's thread; what is posted after Stop() is dropped.
  void Post(net::Task task);
  // On the node's thread only: timers and the time of the turn.
  net::EventLoop& loop();

 private:
  class Impl;
  explicit DistNode(DistOptions options);

  DistOptions options_;
  uint16_t port_ = 0;
  std::unique_ptr<Impl> impl_;
};

}  // namespace server
