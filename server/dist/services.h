// What a node does with the messages of its peers, and the processes that it shows them: net_kernel
// (pings), rex and erpc (calls), mailboxes (our own messages), and the caller of our own calls.
// Nothing else lives here, and whoever monitors or links to something else hears noproc.
//
// Pure: frames in, frames out through the session's sink. One thread, that of the DistNode; answers
// to calls are brought to it by whoever made the RpcReply.
#pragma once

#include <cstdint>
#include <expected>
#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "net/base/clock.h"
#include "server/dist/control.h"
#include "server/dist/dist_types.h"
#include "server/dist/rpc.h"

namespace server {

// A link as the services see it.
struct PeerSession {
  class Sink {
   public:
    virtual void Put(std::span<const uint8_t> frame) = 0;

   protected:
    ~Sink() = default;
  };

  uint64_t id = 0;  // never used again
  DistPeer peer;
  Sink* sink = nullptr;

  // The control part of the last message to a mailbox and whose it was: most are alike.
  std::vector<uint8_t> last_control;
  const MessageHandler* last_mailbox = nullptr;
  std::string last_mailbox_name;
};

enum class ServiceEvent : uint8_t { kMessage, kUnknownMailbox, kRpc, kRpcUndef, kRpcBusy };

class Services {
 public:
  struct Hooks {
    // A term for kLinkMailbox.
    std::function<void(PeerSession&, const TermView&)> on_link_message;
    std::function<void(ServiceEvent)> count;
    // Where RpcReplys bring their answers; Finish() is to be called with them.
    std::shared_ptr<RpcReply::Sink> reply_sink;
  };
  struct Limits {
    size_t rpc_max = 1024;
    size_t calls_max = 4096;
  };

  Services(Hooks hooks, Limits limits) : hooks_(std::move(hooks)), limits_(limits) {}

  // Before the first frame.
  void SetSelf(Identity self) { self_ = std::move(self); }
  const Identity& self() const { return self_; }
  void SetRpc(std::string module, std::string function, RpcHandler handler);
  bool HasRpc(std::string_view module, std::string_view function) const;
  void SetMailbox(std::string name, MessageHandler handler);

  // An error is the peer's fault and ends the link.
  std::expected<void, TermError> OnFrame(PeerSession& session, std::span<const uint8_t> body);
  // The link is gone: our calls over it hear nodedown, its own are forgotten.
  void OnLost(const PeerSession& session);

  // Calls M:F(Args) there. False: calls_max, and `done` was not taken.
  bool Call(PeerSession& session, std::string_view module, std::string_view function,
            std::span<const Term> args, net::Time deadline, CallDone* done);
  // net_kernel's is_auth, which is what pings ask.
  bool Ping(PeerSession& session, net::Time deadline, CallDone* done);
  // Ends calls whose time is up.
  void Expire(net::Time now);
  size_t calls() const { return calls_.size(); }

  // The answer to call `id` of a peer.
  void Finish(uint64_t id, RpcResult result);
  size_t rpcs() const { return rpcs_.size(); }

 private:
  // How a peer wants its answer.
  enum class Form : uint8_t {
    kCall,  // {Tag, Result} of a gen_server's call
    kRex,   // {rex, Result}, as C nodes ask
    kErpc,  // the spawned process ends with it
    kNone,
  };
  struct Rpc {
    uint64_t session;
    PeerSession::Sink* sink;
    Form form;
    Term to;   // the caller's pid
    Term tag;  // of kCall; of kErpc: that of the result
    // Of kErpc.
    Term monitor;
    Pid process;
    Term module, function, args;  // for undef's stack
  };
  using Deadlines = std::multimap<net::Time, uint64_t>;
  struct OwnCall {
    uint64_t session;
    Deadlines::iterator deadline;
    CallDone done;
  };
  struct SpawnOptions {
    bool monitor = false;
    bool link = false;
    bool reply = true;
  };

  using Result = std::expected<void, TermError>;

  Result OnRegSend(PeerSession& session, const ControlFrame& frame);
  Result OnPidSend(PeerSession& session, const ControlFrame& frame);
  bool OnFastMessage(PeerSession& session, std::span<const uint8_t> body);
  Result Deliver(PeerSession& session, std::span<const uint8_t> payload);
  void OnCallMessage(PeerSession& session, std::string_view to, const TermView& message);
  void OnRexCall(PeerSession& session, Form form, const TermView& to, const TermView& tag,
                 const TermView& request);
  void OnRexRequest(PeerSession& session, const TermView& to, const TermView& request);
  Result OnSpawnRequest(PeerSession& session, const ControlFrame& frame);
  void OnMonitor(PeerSession& session, const ControlFrame& frame);
  void OnDemonitor(PeerSession& session, const ControlFrame& frame);
  void OnLink(PeerSession& session, const ControlFrame& frame);
  void OnUnlinkId(PeerSession& session, const ControlFrame& frame);
  void OnAnswer(const TermView& message);
  // Takes a call out; it is to be told its result.
  std::optional<OwnCall> TakeCall(uint64_t call);

  static SpawnOptions ReadSpawnOptions(const TermView& options);
  void Dispatch(PeerSession& session, Rpc rpc, const TermView& module, const TermView& function,
                const TermView& args);
  bool IsAlive(const TermView& process) const;
  // What `erl -remsh` starts: a process that says in words that there is no shell, and ends.
  Term StartShell();
  void EndShell(PeerSession& session, Pid shell, const TermView& group);
  Pid NewPid();
  Reference NewReference();
  bool StartCall(PeerSession& session, std::string_view to, const Term& request, net::Time deadline,
                 CallDone* done);

  // --- Frames.
  void SendTo(PeerSession::Sink* sink, std::span<const uint8_t> pid, const Term& message);
  void SendMonitorExit(PeerSession::Sink* sink, const Term& process, std::span<const uint8_t> to,
                       std::span<const uint8_t> reference, const Term& reason);
  void SendSpawnReply(PeerSession::Sink* sink, const ControlFrame& request, int64_t flags,
                      const Term& result);
  Term PidTerm(Pid pid) const;

  Hooks hooks_;
  Limits limits_;
  Identity self_;
  std::map<std::string, std::map<std::string, RpcHandler, std::less<>>, std::less<>> handlers_;
  std::map<std::string, MessageHandler, std::less<>> mailboxes_;
  std::map<uint64_t, Rpc> rpcs_;
  std::map<uint64_t, OwnCall> calls_;  // by what their reference counts
  Deadlines call_deadlines_;
  uint64_t next_rpc_ = 1;
  uint64_t next_call_ = 1;
  uint32_t next_pid_ = 100;
  Pid caller_{.id = 1, .serial = 0};
  static constexpr size_t kShellsMax = 16;
  std::vector<Pid> shells_;  // started and not linked to yet, oldest first
};

}  // namespace server
