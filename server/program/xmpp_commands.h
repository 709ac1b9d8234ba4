// The commands of the newer generation that a node's XMPP answers: sessions, rosters, stanzas, and
// what is stored of accounts. One table, a file a category.
//
//   Node's thread ──DoXmppCommand──▶ a CommandCall ──▶ the worker that has the user's home
//        ◀────────────────done──────────────────────────────┘
//
// A call answers once, from any thread; one that is dropped unanswered says that it was. Everything
// ends with the service.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "server/c2s/xmpp_service.h"
#include "server/ctl/ctl_answer.h"
#include "server/im/home.h"
#include "server/xmpp/jid.h"

namespace server {

class BroadcastJobs;

using CtlDone = std::move_only_function<void(CtlAnswer answer)>;

// A session as the whole cluster knows it.
struct KnownSession {
  std::string full;
  std::string node;
};

// How far a node is that is taken out of service.
struct DrainState {
  bool draining = false;
  uint64_t connections = 0;
  bool late = false;  // the deadline came before the last one went
};

// What commands ask of the node around its XMPP. All on the node's thread.
struct NodeHooks {
  std::function<std::vector<KnownSession>()> sessions;
  // By category, in bytes.
  std::function<std::vector<std::pair<std::string, uint64_t>>()> memory;
  // So many connections a second; after `deadline` all at once (0: never).
  std::function<void(double per_s, net::Duration deadline)> drain;
  std::function<DrainState()> drained;
  std::function<void(net::Duration delay, std::function<void()> task)> after;
  // From any thread, to the node's.
  std::function<void(std::move_only_function<void()> task)> post;
};

// What commands stand on; outlives their calls.
struct CommandGround {
  XmppService& service;
  const std::vector<std::string>& domains;
  std::string node;
  NodeHooks hooks;
  BroadcastJobs* broadcasts = nullptr;
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
  bool Has(std::string_view name) const { return arguments_.contains(name); }
  std::string Text(std::string_view name) const;
  uint64_t Number(std::string_view name, uint64_t fallback) const;
  // An address of an account of ours, or of one of its sessions; where it is none this has
  // answered, and nothing comes back.
  std::optional<Jid> User(std::string_view name);
  std::optional<Jid> Address(std::string_view name);  // of anybody
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

struct XmppCommand {
  std::string_view category;
  std::string_view command;
  void (*run)(CommandCall call);
};
// One behind the other, sorted by nothing.
std::vector<std::span<const XmppCommand>> XmppCommands();
std::span<const XmppCommand> AccountCommands();
std::span<const XmppCommand> BroadcastCommands();
std::span<const XmppCommand> DomainCommands();
std::span<const XmppCommand> LastCommands();
std::span<const XmppCommand> NodeCommands();
std::span<const XmppCommand> PrivateCommands();
std::span<const XmppCommand> RosterCommands();
std::span<const XmppCommand> SessionCommands();
std::span<const XmppCommand> StanzaCommands();
std::span<const XmppCommand> VcardCommands();

// On the node's thread.
void DoXmppCommand(CommandGround& ground, std::string_view category, std::string_view command,
                   CtlArguments arguments, CtlDone done);

// --- What they have in common.

// `then` on the worker that has the home of `user`, with it.
void AtHome(CommandGround& ground, const Jid& user,
            std::move_only_function<void(XmppWorker& worker, Home& home)> then);
// The account as it is stored; where there is none the call has answered.
void WithAccount(
    CommandCall call, const Jid& user,
    std::move_only_function<void(CommandCall call, XmppWorker& worker, LoadedUser loaded)> then);
// The accounts of `domains` one by one, on one worker; `visit` calls `next` when it is done with
// one. Ends with nothing, or the store's error.
using AccountVisit = std::function<void(XmppWorker& worker, const std::string& user,
                                        std::move_only_function<void()> next)>;
void ForEachAccount(XmppWorker& worker, std::vector<std::string> domains, AccountVisit visit,
                    std::move_only_function<void(std::optional<StoreError>)> end);
int64_t NowUnixUs();
// The condition of an <error/>: "item-not-found".
std::string ConditionOf(const std::string& error_xml);

}  // namespace server
