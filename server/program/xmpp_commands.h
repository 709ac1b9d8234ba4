// The commands of the newer generation that a node's XMPP answers: sessions, rosters, stanzas,
// rooms, and what is stored of accounts. One table, a file a category, and for each command where
// in the cluster it is done (command_reach.cc): whichever node is asked, the answer is the same.
//
// A call answers once, from any thread; one that is dropped unanswered says that it was. Everything
// ends with the service.
#pragma once

#include <expected>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "server/c2s/xmpp_service.h"
#include "server/ctl/ctl_answer.h"
#include "server/im/home.h"
#include "server/xmpp/jid.h"

namespace server {

class BroadcastJobs;
class MucHost;
class StoreBackend;

using CtlDone = std::move_only_function<void(CtlAnswer answer)>;

// A session as the whole cluster knows it.
struct KnownSession {
  std::string full;
  std::string node;
};

// How far a node is that is taken out of service.
struct DrainState {
  bool draining = false;
  uint64_t connections = 0;  // with sessions that are about to be resumed elsewhere
  bool late = false;         // the deadline came before the last one went
};

// A command as it is passed on to another node.
struct PassedCommand {
  std::string category;
  std::string command;
  CtlArguments arguments;
  uint8_t hops = 0;  // nodes that it was passed on by; 0: an operator gave it
};

// What commands ask of the node around its XMPP. All on the node's thread.
struct NodeHooks {
  std::function<std::vector<KnownSession>()> sessions;
  // By category, in bytes.
  std::function<std::vector<std::pair<std::string, uint64_t>>()> memory;
  // So many connections a second; after `deadline` all at once (0: never). Or why not: the others
  // cannot carry it, and nobody says that it is to be all the same.
  std::function<std::expected<void, std::string>(double per_s, net::Duration deadline, bool force)>
      drain;
  // The node takes clients again; or why not.
  std::function<std::expected<void, std::string>()> undrain;
  std::function<DrainState()> drained;
  // Sessions of each node of our side, this one first.
  std::function<std::vector<uint64_t>()> session_counts;
  std::function<void(net::Duration delay, std::function<void()> task)> after;
  // The other nodes of our side.
  std::function<std::vector<std::string>()> others;
  // From any thread, to the node's. What comes when the node has ended its commands is dropped.
  std::function<void(std::move_only_function<void()> task)> post;
  // From any thread: the same command on that node. `done` comes on this node's thread, within
  // kPassTime, with the fault node_not_answering where that node did not answer.
  std::function<void(const std::string& node, PassedCommand command, CtlDone done)> pass;
};
inline constexpr net::Duration kPassTime = std::chrono::seconds(5);
inline constexpr std::string_view kNotAnswering = "node_not_answering";
inline constexpr std::string_view kNoXmppThere = "no_hosts";

// What commands stand on; outlives their calls.
struct CommandGround {
  XmppService& service;
  const std::vector<std::string>& domains;
  std::vector<std::string> services = {};  // of rooms
  std::string node = {};
  std::string folder = {};  // the node's, for files that operators name
  NodeHooks hooks = {};
  BroadcastJobs* broadcasts = nullptr;
  StoreBackend* store = nullptr;

  // `then` on one of the workers, for what is in the store alone.
  void OnStore(std::move_only_function<void(StoreClient& store)> then);
  // The account is no more: its sessions end, on all nodes, and what homes remember of it.
  void Expel(const std::string& user);
};

class CommandCall {
 public:
  CommandCall(CommandGround& ground, std::string_view category, CtlArguments arguments,
              CtlDone done)
      : ground_(ground),
        category_(category),
        arguments_(std::move(arguments)),
        done_(std::move(done)) {}
  CommandCall(CommandCall&&) noexcept = default;
  CommandCall& operator=(CommandCall&&) = delete;
  ~CommandCall();

  CommandGround& ground() const { return ground_; }
  const CtlArguments& arguments() const { return arguments_; }
  bool Has(std::string_view name) const { return arguments_.contains(name); }
  std::string Text(std::string_view name) const;
  uint64_t Number(std::string_view name, uint64_t fallback) const;
  // An address of an account of ours, or of one of its sessions; where it is none this has
  // answered, and nothing comes back.
  std::optional<Jid> User(std::string_view name);
  std::optional<Jid> Address(std::string_view name);  // of anybody
  std::optional<Jid> Room(std::string_view name);     // of a service of ours, bare
  // A domain of ours; "" where the argument is not there.
  std::optional<std::string> Domain(std::string_view name);
  // Microseconds; 0 where the argument is not there.
  std::optional<int64_t> Time(std::string_view name);

  void Result(CtlJson data);
  void Result(std::string_view text) { Result(CtlJson::Text(text)); }
  void Fault(std::string_view message, std::string_view code,
             std::vector<std::pair<std::string, std::string>> more = {});
  void StoreFailed(StoreError error);
  void NoSuchUser(const Jid& user);  // in the words of its category
  void Answer(CtlAnswer answer);

 private:
  CommandGround& ground_;
  std::string category_;
  CtlArguments arguments_;
  CtlDone done_;
};

// --- Where a command is done. Nothing but what is done at a home is given one, so what acts on
// users' sessions cannot be done on the wrong node.

// Of the store, of tables that all nodes hold, or made of other commands: any node is the right
// one.
struct Anywhere {
  void (*run)(CommandCall call);
};
// Of the node that is asked, and meant so.
struct ThisNode {
  void (*run)(CommandCall call);
};
struct HomeOf {
  Jid user;  // as it was named: a session's, or bare
  Home& home;
  StoreClient& store;  // of the home's worker: reads see what the home asked to be written
};
struct AtHome {
  std::optional<Jid> (*whose)(CommandCall& call);  // nothing: it has answered
  void (*run)(CommandCall call, const HomeOf& at);
};
// The usual `whose`: argument `user`.
inline std::optional<Jid> OfUser(CommandCall& call) { return call.User("user"); }
struct RoomsAt {
  Jid room;  // bare
  MucHost& rooms;
  StoreClient& store;
};
struct AtRoom {  // argument `room`
  void (*run)(CommandCall call, const RoomsAt& at);
};
// On the one node that deals with a domain now, so that two at once are one behind the other.
struct AtDomain {  // argument `domain`
  void (*run)(CommandCall call);
};
struct NodeAnswer {
  std::string node;
  CtlJson data;
};
// On every node, and put together where it was asked. A node that does not answer is a fault beside
// what the others said.
struct OnAllNodes {
  void (*here)(CommandCall call);
  CtlAnswer (*join)(const CommandCall& call, std::vector<NodeAnswer> answers);
};

struct XmppCommand {
  std::string_view category;
  std::string_view command;
  std::variant<Anywhere, ThisNode, AtHome, AtRoom, AtDomain, OnAllNodes> reach;
};
// One behind the other, sorted by nothing.
std::vector<std::span<const XmppCommand>> XmppCommands();
std::span<const XmppCommand> AccountCommands();
std::span<const XmppCommand> BroadcastCommands();
std::span<const XmppCommand> DomainCommands();
std::span<const XmppCommand> FileCommands();
std::span<const XmppCommand> LastCommands();
std::span<const XmppCommand> MucCommands();
std::span<const XmppCommand> NodeCommands();
std::span<const XmppCommand> OfflineCommands();
std::span<const XmppCommand> PrivateCommands();
std::span<const XmppCommand> RosterCommands();
std::span<const XmppCommand> SessionCommands();
std::span<const XmppCommand> StanzaCommands();
std::span<const XmppCommand> VcardCommands();

// On the node's thread.
void DoXmppCommand(CommandGround& ground, PassedCommand command, CtlDone done);
// One command as a part of another, from any thread.
void DoPart(CommandGround& ground, std::string_view category, std::string_view command,
            CtlArguments arguments, CtlDone done);

// --- What they have in common.

// The account as it is stored; where there is none the call has answered.
void WithAccount(CommandCall call, StoreClient& store, const Jid& user,
                 std::move_only_function<void(CommandCall call, LoadedUser loaded)> then);
// The accounts of `domains` one by one; `visit` calls `next` when it is done with one. Ends with
// nothing, or the store's error.
using AccountVisit = std::function<void(StoreClient& store, const std::string& user,
                                        std::move_only_function<void()> next)>;
void ForEachAccount(StoreClient& store, std::vector<std::string> domains, AccountVisit visit,
                    std::move_only_function<void(std::optional<StoreError>)> end);
// A stanza of the account's or of a session's of it, at its home; `done` with the answer's faults.
void SendFrom(CommandGround& ground, const Jid& from, std::string xml, CtlDone done);
CtlJson ArchiveEntryJson(const ArchiveEntry& entry);
// The condition of an <error/>: "item-not-found".
std::string ConditionOf(const std::string& error_xml);

}  // namespace server
