// Where commands are done: on this node, on the one that has a user's home or a room, on all.
//
//   node's thread ──DoXmppCommand──▶ worker, which knows the user's node ──▶ the home here
//                                         └──NodeHooks::pass──▶ the same on that node
//
// What is passed on goes kCommandHopsMax nodes far at most: a home may move while it is on its way.
// One that is on its way itself is waited for: where it was nobody hears of what is done there.
#include <algorithm>
#include <memory>
#include <utility>

#include "server/muc/muc_host.h"
#include "server/program/xmpp_commands.h"

namespace server {
namespace {

constexpr uint8_t kCommandHopsMax = 3;

struct Reached {
  CommandGround& ground;
  PassedCommand command;  // without arguments, which the call has
};

template <typename Run>
void Where(Reached to, CommandCall call, const Jid& bare, Run run);

template <typename Run>
void WhenThere(FarSide& far, Reached to, CommandCall call, const Jid& bare, Run run) {
  const auto waiting = std::make_shared<CommandCall>(std::move(call));
  const bool held = far.WhenThere(bare.full(), [to = std::move(to), waiting, bare, run]() mutable {
    Where(std::move(to), std::move(*waiting), bare, std::move(run));
  });
  if (!held) waiting->Fault(bare.full() + " is on its way to another node: try again", "moving");
}

// `run` where `bare` is dealt with: on its worker of this node, or all of it on another.
template <typename Run>
void Where(Reached to, CommandCall call, const Jid& bare, Run run) {
  CommandGround& ground = to.ground;
  ground.service.OnHomeOf(bare.full(), [to = std::move(to), call = std::move(call), bare,
                                        run = std::move(run)](XmppWorker& worker) mutable {
    FarSide& far = worker.far();
    if (far.Given(bare.full())) return WhenThere(far, std::move(to), std::move(call), bare, run);
    std::string node = far.NodeOf(bare.full());
    if (node.empty()) return run(std::move(call), worker);
    if (to.command.hops >= kCommandHopsMax) {
      return call.Fault(bare.full() + " moves from node to node: try again", "moving");
    }
    to.command.arguments = call.arguments();
    ++to.command.hops;
    to.ground.hooks.pass(
        node, std::move(to.command),
        [call = std::move(call)](CtlAnswer answer) mutable { call.Answer(std::move(answer)); });
  });
}

void Go(Reached, CommandCall call, const Anywhere& reach) { reach.run(std::move(call)); }
void Go(Reached, CommandCall call, const ThisNode& reach) { reach.run(std::move(call)); }

void Go(Reached to, CommandCall call, const AtHome& reach) {
  const auto user = reach.whose(call);
  if (!user) return;
  Where(std::move(to), std::move(call), user->Bare(),
        [user = *user, run = reach.run](CommandCall at, XmppWorker& worker) {
          Home* home = worker.home_box().home();
          if (home == nullptr) return at.Fault("The node has no homes", kNoXmppThere);
          run(std::move(at), {.user = user, .home = *home, .store = worker.store()});
        });
}

void Go(Reached to, CommandCall call, const AtRoom& reach) {
  const auto room = call.Room("room");
  if (!room) return;
  Where(std::move(to), std::move(call), *room,
        [room = *room, run = reach.run](CommandCall at, XmppWorker& worker) {
          MucHost* rooms = worker.home_box().rooms();
          if (rooms == nullptr) return at.Fault("The node has no rooms", kNoXmppThere);
          run(std::move(at), {.room = room, .rooms = *rooms, .store = worker.store()});
        });
}

void Go(Reached to, CommandCall call, const AtDomain& reach) {
  const auto domain = call.Domain("domain");
  if (!domain) return;
  Where(std::move(to), std::move(call), Jid::OfPrepared(*domain),
        [run = reach.run](CommandCall at, XmppWorker&) {
          CommandGround& ground = at.ground();
          ground.hooks.post([run, at = std::move(at)]() mutable { run(std::move(at)); });
        });
}

std::string CodeOf(const CtlFault& fault) {
  for (const auto& [key, value] : fault.extensions) {
    if (key == "code") return value;
  }
  return {};
}

// What nodes say, until all have; on the node's thread.
struct Gathering {
  CommandCall call;
  OnAllNodes reach;
  size_t open;
  std::vector<NodeAnswer> answers = {};
  std::vector<CtlFault> faults = {};  // of other nodes
  std::vector<CtlFault> own = {};

  void Take(const std::string& node, CtlAnswer answer) {
    if (answer.faults.empty()) {
      answers.push_back({node, std::move(answer.data)});
    } else if (node == call.ground().node) {
      own = std::move(answer.faults);
    } else if (CodeOf(answer.faults.front()) != kNoXmppThere) {
      std::ranges::move(answer.faults, std::back_inserter(faults));
    }
    if (--open > 0) return;
    // What is wrong here is wrong with the command, and the others say the same of it.
    if (!own.empty()) return call.Answer({.data = CtlJson::Null(), .faults = std::move(own)});
    std::ranges::sort(answers, {}, &NodeAnswer::node);
    CtlAnswer joined = reach.join(call, std::move(answers));
    std::ranges::move(faults, std::back_inserter(joined.faults));
    call.Answer(std::move(joined));
  }
};

void Gather(const Reached& to, CommandCall call, const OnAllNodes& reach) {
  CommandGround& ground = to.ground;
  const std::vector<std::string> others = ground.hooks.others();
  const CtlArguments arguments = call.arguments();
  const auto all = std::make_shared<Gathering>(
      Gathering{.call = std::move(call), .reach = reach, .open = others.size() + 1});
  for (const std::string& node : others) {
    PassedCommand command = to.command;
    command.arguments = arguments;
    command.hops = kCommandHopsMax;
    ground.hooks.pass(node, std::move(command),
                      [all, node](CtlAnswer answer) { all->Take(node, std::move(answer)); });
  }
  reach.here({ground, to.command.category, arguments, [&ground, all](CtlAnswer answer) {
                ground.hooks.post([&ground, all, answer = std::move(answer)]() mutable {
                  all->Take(ground.node, std::move(answer));
                });
              }});
}

void Go(Reached to, CommandCall call, const OnAllNodes& reach) {
  if (to.command.hops > 0) return reach.here(std::move(call));
  Gather(to, std::move(call), reach);
}

}  // namespace

void DoXmppCommand(CommandGround& ground, PassedCommand command, CtlDone done) {
  CommandCall call(ground, command.category, std::exchange(command.arguments, {}), std::move(done));
  for (const std::span<const XmppCommand> commands : XmppCommands()) {
    for (const XmppCommand& known : commands) {
      if (known.category != command.category || known.command != command.command) continue;
      return std::visit(
          [&](const auto& reach) { Go({ground, std::move(command)}, std::move(call), reach); },
          known.reach);
    }
  }
  call.Fault("The node does not know " + command.category + ' ' + command.command,
             "not_implemented");
}

void DoPart(CommandGround& ground, std::string_view category, std::string_view command,
            CtlArguments arguments, CtlDone done) {
  PassedCommand part{.category = std::string(category),
                     .command = std::string(command),
                     .arguments = std::move(arguments)};
  ground.hooks.post([&ground, part = std::move(part), done = std::move(done)]() mutable {
    DoXmppCommand(ground, std::move(part), std::move(done));
  });
}

}  // namespace server
