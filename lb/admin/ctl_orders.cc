#include "lb/admin/ctl_orders.h"

#include <array>
#include <utility>

#include "lb/admin/views_json.h"
#include "net/base/address.h"
#include "net/base/text.h"
#include "net/ctl/ctl_line.h"

namespace lb {
namespace {

struct Context {
  Control& control;
  const CtlHooks& hooks;
  const CtlRequest& request;
};

CtlReply FromDone(const Done& done) {
  if (done) return {.message = *done};
  return {.exit = done.error().unknown ? CtlExit::kNotFound : CtlExit::kRefused,
          .message = done.error().why};
}

net::Duration ToDuration(double seconds) {
  return std::chrono::duration_cast<net::Duration>(std::chrono::duration<double>(seconds));
}

CtlReply List(const Context& c) {
  if (c.request.connections) {
    return {.object = ConnectionsJson(c.control.Connections(c.request.after, c.request.node))};
  }
  return {.object = StatusJson(c.control.Process(), c.control.Listeners(), c.control.Pools(),
                               c.control.Absent(), c.control.Rollouts())};
}

CtlReply Explain(const Context& c) {
  std::vector<PoolView> pools = c.control.Pools();
  if (!c.request.pool.empty()) {
    std::string names;
    for (const PoolView& pool : pools) names += (names.empty() ? "" : ", ") + pool.name;
    std::erase_if(pools, [&](const PoolView& pool) { return pool.name != c.request.pool; });
    if (pools.empty()) {
      return {
          .exit = CtlExit::kNotFound,
          .message = "there is no pool " + net::Quoted(c.request.pool) + "; there are " + names};
    }
  }
  return {.object = PoolsJson(pools)};
}

CtlReply Why(const Context& c) {
  auto address = net::Address::FromIp(c.request.address, 0);
  if (!address) {
    if (auto with_port = net::Address::Parse(c.request.address)) address = *with_port;
  }
  if (!address) {
    return {.exit = CtlExit::kUsage,
            .message = net::Quoted(c.request.address) +
                       " is no IP address; write it as 192.0.2.1 or 2001:db8::1"};
  }
  return {.object = WhyJson(c.control.Why(address->Unmapped()))};
}

CtlReply Stats(const Context& c) { return {.object = CountersJson(c.control.Counters())}; }

CtlReply Maint(const Context& c) { return FromDone(c.control.Maint(c.request.node)); }

CtlReply Shut(const Context& c) {
  if (c.request.node.empty() == c.request.connection.empty()) {
    return {.exit = CtlExit::kUsage,
            .message = "shut needs a node, or --connection with an ID of `list --connections`"};
  }
  if (!c.request.connection.empty())
    return FromDone(c.control.ShutConnection(c.request.connection));
  return FromDone(c.control.Shut(c.request.node, c.request.rate.value_or(0)));
}

CtlReply Weight(const Context& c) {
  if (c.request.weight || c.request.weight_default) {
    return FromDone(c.control.SetWeight(c.request.node, c.request.weight));
  }
  const std::vector<PoolView> pools = c.control.Pools();
  const NodeView* node = FindNodeView(pools, c.request.node);
  if (node == nullptr) {
    return {.exit = CtlExit::kNotFound,
            .message = "there is no one node " + net::Quoted(c.request.node) +
                       "; `list` shows all, POOL/NODE names one of several"};
  }
  return {.message = node->name + " has weight " + std::to_string(node->weight) +
                     (node->weight_overridden ? ", set by an operator" : "")};
}

CtlReply Prewarm(const Context& c) {
  return FromDone(c.control.Prewarm(c.request.rate.value_or(0)));
}

CtlReply Reload(const Context& c) {
  auto done = c.hooks.reload ? c.hooks.reload() : c.control.Reload();
  if (done) return {.message = *done};
  const size_t count = done.error().size();
  return {.exit = CtlExit::kRefused,
          .message = "the configuration has " + std::to_string(count) +
                     (count == 1 ? " mistake" : " mistakes") + "; nothing was changed",
          .object = ConfigErrorsJson(done.error())};
}

CtlReply RolloutStatus(const Context& c) {
  std::vector<RolloutView> rollouts = c.control.Rollouts();
  if (!c.request.pool.empty()) {
    std::erase_if(rollouts, [&](const RolloutView& one) { return one.pool != c.request.pool; });
  }
  return {.object = RolloutsJson(rollouts)};
}

CtlReply RolloutPause(const Context& c) {
  return FromDone(c.control.OrderRollout(c.request.pool, RolloutOrderKind::kPause));
}
CtlReply RolloutResume(const Context& c) {
  return FromDone(c.control.OrderRollout(c.request.pool, RolloutOrderKind::kResume));
}
CtlReply RolloutAbort(const Context& c) {
  return FromDone(c.control.OrderRollout(c.request.pool, RolloutOrderKind::kAbort));
}

CtlReply RolloutReported(const Context& c) {
  const auto wanted = c.control.ReportRollout({.pool = c.request.pool,
                                               .leader = c.request.leader,
                                               .text = c.request.text,
                                               .ended = c.request.ended,
                                               .paused = c.request.paused,
                                               .resumes = c.request.resumes});
  if (!wanted) return FromDone(std::unexpected(wanted.error()));
  return {.object = std::string("{\"paused\":") + (wanted->paused ? "true" : "false") +
                    ",\"aborted\":" + (wanted->aborted ? "true" : "false") +
                    ",\"resumes\":" + std::to_string(wanted->resumes) + "}"};
}

CtlReply Describe(const Context&) { return {.object = CtlDescription()}; }

constexpr std::pair<std::string_view, CtlReply (*)(const Context&)> kHandlers[] = {
    {"list", List},
    {"explain", Explain},
    {"why", Why},
    {"stats", Stats},
    {"maint", Maint},
    {"weight", Weight},
    {"shut", Shut},
    {"prewarm", Prewarm},
    {"reload", Reload},
    {"describe", Describe},
    {"rollout status", RolloutStatus},
    {"rollout pause", RolloutPause},
    {"rollout resume", RolloutResume},
    {"rollout abort", RolloutAbort},
    {"rollout report", RolloutReported},
};

CtlReply AfterNode(const std::string& words, const Control::NodeAnswer& answer) {
  const auto flag = [](bool value) { return std::string(value ? "true" : "false"); };
  return {.message = words + "; " + answer.words,
          .object = "{\"node_asked\":" + flag(answer.asked) +
                    ",\"node_drains\":" + flag(answer.drains) +
                    ",\"node_drain_revocable\":" + flag(answer.revocable) + "}"};
}

// The node's own answer, where it was asked, comes later.
std::optional<CtlReply> Drain(const Context& c, CtlLater& later) {
  DrainOrder order{.rate = c.request.rate.value_or(0),
                   .deadline = ToDuration(c.request.deadline_s.value_or(0)),
                   .force = c.request.force,
                   .dry_run = c.request.dry_run};
  order.node_is_asked = !c.request.forwarded && c.control.AsksNode(c.request.node, order);
  const Done done = c.control.Drain(c.request.node, order);
  if (!done || !order.node_is_asked) return FromDone(done);
  c.control.AskNodeToDrain(
      c.request.node, order,
      [later = std::move(later), words = *done](const Control::NodeAnswer& answer) mutable {
        later(AfterNode(words, answer));
      });
  return std::nullopt;
}

// Likewise, where it drains by itself. Of one that goes on with that the order is done as far as it
// can be here, and is no success: it gets no connections.
std::optional<CtlReply> Ready(const Context& c, CtlLater& later) {
  const Done done = c.control.Ready(c.request.node);
  if (!done || c.request.forwarded || !c.control.AsksNodeBack(c.request.node)) {
    CtlReply reply = FromDone(done);
    if (done && c.control.DrainsForGood(c.request.node)) reply.exit = CtlExit::kRefused;
    return reply;
  }
  c.control.AskNodeBack(c.request.node, [later = std::move(later),
                                         words = *done](const Control::NodeAnswer& answer) mutable {
    CtlReply reply = AfterNode(words, answer);
    if (answer.drains) reply.exit = CtlExit::kRefused;
    later(std::move(reply));
  });
  return std::nullopt;
}

}  // namespace

std::optional<CtlReply> RunCtlRequest(Control& control, const CtlHooks& hooks,
                                      const CtlRequest& request, CtlLater later) {
  if (request.command->name == "upgrade") {
    if (!hooks.upgrade) {
      return CtlReply{.exit = CtlExit::kRefused, .message = "this process cannot hand over"};
    }
    hooks.upgrade([later = std::move(later)](Done done) mutable { later(FromDone(done)); });
    return std::nullopt;
  }
  const Context context{control, hooks, request};
  if (request.command->name == "drain") return Drain(context, later);
  if (request.command->name == "ready") return Ready(context, later);
  for (const auto& [name, handler] : kHandlers) {
    if (name == request.command->name) return handler(context);
  }
  return CtlReply{.exit = CtlExit::kUsage,
                  .message = "the command is not known: " + std::string(request.command->name)};
}

void RunForwardedRequest(Control& control, std::string_view line) {
  auto request = ParseCtlRequest(line);
  if (!request) return;
  const std::string_view name = request->command->name;
  if (name != "drain" && name != "shut" && name != "ready" && name != "maint") return;
  request->force = true;
  request->forwarded = true;
  static_cast<void>(RunCtlRequest(control, {}, *request, [](CtlReply) {}));
}

std::string DrainLine(const std::string& node, const DrainOrder& order) {
  net::CtlValues values{.command = FindCtlCommand("drain"), .values = {}};
  values.values["node"].text = node;
  if (order.rate > 0) values.values["rate"].number = order.rate;
  if (order.deadline > net::Duration::zero()) {
    values.values["deadline"].number = net::Seconds(order.deadline);
  }
  return net::CtlRequestLine(values);
}

std::vector<std::string> LinesForward(const CtlRequest& request, std::string_view line,
                                      const std::optional<CtlReply>& reply) {
  if (request.dry_run) return {};
  const std::string_view name = request.command->name;
  if (reply) {
    // One that a node does not follow is given all the same.
    const bool given =
        reply->exit == CtlExit::kDone || (name == "ready" && reply->exit == CtlExit::kRefused);
    return given ? std::vector{std::string(line)} : std::vector<std::string>();
  }
  if (name == "ready") return {std::string(line)};
  if (name != "drain") return {};
  // While a node ends its connections itself, nobody does beside it, nor goes on with what an order
  // before has begun; what is ended here after all follows (Control::SetOnPace).
  net::CtlValues ready{.command = FindCtlCommand("ready"), .values = {}};
  ready.values["node"].text = request.node;
  return {net::CtlRequestLine(ready), DrainLine(request.node, {})};
}

const NodeView* FindNodeView(const std::vector<PoolView>& pools, std::string_view node) {
  const size_t slash = node.find('/');
  const std::string_view pool = slash == std::string_view::npos ? "" : node.substr(0, slash);
  const std::string_view name = slash == std::string_view::npos ? node : node.substr(slash + 1);
  const NodeView* found = nullptr;
  for (const PoolView& one : pools) {
    if (!pool.empty() && pool != one.name) continue;
    for (const NodeView& candidate : one.nodes) {
      if (candidate.name != name) continue;
      if (found != nullptr) return nullptr;
      found = &candidate;
    }
  }
  return found;
}

}  // namespace lb
