// What operators order of one node, one pool or one connection, and nodes that are asked
// themselves.
#include <algorithm>

#include "lb/control/control.h"
#include "lb/control/drain_pace.h"
#include "lb/proxy/connection_name.h"
#include "net/report/log.h"

namespace lb {

std::expected<Control::Found, Refusal> Control::FindNode(const std::string& node) const {
  const size_t slash = node.find('/');
  const std::string pool = slash == std::string::npos ? "" : node.substr(0, slash);
  const std::string name = slash == std::string::npos ? node : node.substr(slash + 1);
  std::vector<PoolControl*> having;
  std::string known;
  for (const auto& [pool_name, control] : pools_) {
    if (!pool.empty() && pool != pool_name) continue;
    if (control->HasNode(name)) having.push_back(control.get());
    for (const std::string& other : control->NodeNames()) {
      known += (known.empty() ? "" : ", ") + pool_name + "/" + other;
    }
  }
  if (having.size() == 1) {
    return Found{having.front(), registry_.Find(having.front()->name(), name), name};
  }
  if (having.empty()) {
    if (NodeRecord* absent = registry_.FindAbsent(pool, name)) return Found{nullptr, absent, name};
    return std::unexpected(Refusal{"there is no node '" + node + "'; there are " + known, true});
  }
  return std::unexpected(Refusal{"several pools have a node '" + name + "'; name it as pool/node"});
}

Done Control::AfterOrder(Done done) {
  if (done) {
    net::Log(net::LogLevel::kInfo, "lb", "order carried out", {{"what", *done}});
    SaveStateFile();
  }
  return done;
}

Done Control::Ready(const std::string& node) {
  auto found = FindNode(node);
  if (!found) return std::unexpected(found.error());
  Done done =
      AfterOrder(found->pool != nullptr
                     ? found->pool->Ready(found->node)
                     : registry_.OrderAbsent(*found->record, AdminState::kReady, {}, loop_.now()));
  const std::optional<SelfDrain>& drains = found->record->self_drain;
  if (!done || !drains || drains->revocable) return done;
  return *done + (drains->maybe_over
                      ? "; the node drained by itself: unless it was restarted meanwhile, it gets "
                        "no connections until it was"
                      : "; but the node drains by itself and cannot take that back: it gets no "
                        "connections until it was restarted");
}

bool Control::DrainsForGood(const std::string& node) const {
  const auto found = FindNode(node);
  const std::optional<SelfDrain> drains = found ? found->record->self_drain : std::nullopt;
  return drains && !drains->revocable && !drains->maybe_over;
}

Done Control::Maint(const std::string& node) {
  auto found = FindNode(node);
  if (!found) return std::unexpected(found.error());
  return AfterOrder(
      found->pool != nullptr
          ? found->pool->Maint(found->node)
          : registry_.OrderAbsent(*found->record, AdminState::kMaint, {}, loop_.now()));
}

Done Control::Drain(const std::string& node, const DrainOrder& order) {
  auto found = FindNode(node);
  if (!found) return std::unexpected(found.error());
  Done done = found->pool != nullptr
                  ? found->pool->Drain(found->node, order)
                  : registry_.OrderAbsent(*found->record, AdminState::kDrain, order, loop_.now());
  return order.dry_run ? done : AfterOrder(std::move(done));
}

PoolControl::NodeAsked Control::AskedOf(const std::string& node) const {
  const auto found = FindNode(node);
  return found && found->pool != nullptr ? found->pool->AskedToDrain(found->node)
                                         : PoolControl::NodeAsked{};
}

bool Control::AsksNode(const std::string& node, const DrainOrder& order) const {
  return order.paced() && !order.dry_run && AskedOf(node).status != nullptr;
}

bool Control::AsksNodeBack(const std::string& node) const {
  const auto found = FindNode(node);
  return found && found->record->self_drain && found->record->self_drain->revocable &&
         AskedOf(node).status != nullptr;
}

void Control::Ask(const PoolControl::NodeAsked& asked, std::string method, std::string target,
                  NodeDrain::Done answered) {
  const auto place = asked_.emplace(asked_.end());
  *place = std::make_unique<NodeDrain>(
      loop_, asked.address, *asked.status, std::move(method), std::move(target),
      [this, place, answered = std::move(answered)](NodeDrain::Answer body) mutable {
        const std::unique_ptr<NodeDrain> keep = std::move(*place);
        asked_.erase(place);
        answered(std::move(body));
      });
}

void Control::AskNodeToDrain(const std::string& node, const DrainOrder& order,
                             NodeAnswered answered) {
  const auto asked = AskedOf(node);
  const auto found = FindNode(node);
  if (asked.status == nullptr || !found) {
    return answered({.asked = false, .words = "nobody can be asked any more"});
  }
  const NodeKey key{found->pool->name(), found->node};
  ++found->record->asked_to_drain;
  SaveStateFile();
  Ask(asked, "POST",
      NodeDrainTarget(asked.status->drain, order.rate, NodesPart(order.deadline), order.force),
      [this, key, order, pace = found->record->paces,
       answered = std::move(answered)](const NodeDrain::Answer& body) mutable {
        const auto answer = body ? ReadNodeDrainAnswer(*body) : std::unexpected(body.error().why);
        const bool maybe = !body && body.error().maybe_done;
        answered(OnDrainAnswer(key, order, pace, answer, maybe));
      });
}

Control::NodeAnswer Control::OnDrainAnswer(
    const NodeKey& key, const DrainOrder& order, uint64_t pace,
    const std::expected<NodeDrainAnswer, std::string>& answer, bool maybe) {
  const auto& [pool, name] = key;
  net::Log(answer ? net::LogLevel::kInfo : net::LogLevel::kWarn, "lb",
           answer ? "node drains by itself" : "node does not drain by itself",
           {{"pool", pool},
            {"node", name},
            {"connections", answer ? answer->connections : 0},
            {"reason", answer ? std::string() : answer.error()}});
  const auto words = NodeAnswerText(order, answer);
  NodeAnswer told{.drains = answer.has_value(),
                  .revocable = answer && answer->revocable,
                  .words = words ? *words : words.error()};
  if (maybe) told.words += "; it may have heard that all the same: `ready` asks it back";
  NodeRecord* const record = registry_.Find(pool, name);
  if (record == nullptr) return told;
  if (record->asked_to_drain > 0) --record->asked_to_drain;
  PaceAfterNode(key, order, pace, told.drains);
  // Of one that drained already, a lost answer says nothing new.
  if (told.drains || (maybe && !record->self_drain)) {
    const auto at = pools_.find(pool);
    record->self_drain =
        SelfDrain{.revocable = told.revocable || maybe,
                  .incarnation = at == pools_.end() ? "" : at->second->Incarnation(name),
                  .maybe_over = maybe || record->admin == AdminState::kMaint};
  }
  SaveStateFile();
  if (!told.drains && !maybe) return told;
  const std::string full = pool + "/" + name;
  if (record->admin == AdminState::kReady && AsksNodeBack(full)) {
    // Made ready while the node was being asked: it does not know yet.
    told.words += "; but it was made ready meanwhile, and is asked to take clients again";
    AskNodeBack(full, [](const NodeAnswer&) {});
  }
  return told;
}

// Its own connections, that is; who has others of the same node is told.
void Control::PaceAfterNode(const NodeKey& key, const DrainOrder& order, uint64_t pace,
                            bool node_drains) {
  const auto wanted = [this, key, pace]() -> NodeRecord* {
    NodeRecord* record = registry_.Find(key.first, key.second);
    const bool holds =
        record != nullptr && record->paces == pace && record->admin == AdminState::kDrain;
    return holds ? record : nullptr;
  };
  NodeRecord* const record = wanted();
  if (record == nullptr) return;
  const std::string full = key.first + "/" + key.second;
  if (!node_drains) {
    const auto at = pools_.find(key.first);
    const double safe = order.force || at == pools_.end() ? net::kRateUnlimited
                                                          : at->second->SafeRate(key.second, order);
    record->pace = DrainPace::ForDrain({.rate = order.rate, .deadline = order.deadline},
                                       record->node->active(), safe, loop_.now());
    if (on_pace_) on_pace_(full, order);
  } else if (order.deadline > net::Duration::zero()) {
    const net::Duration nodes_part = NodesPart(order.deadline);
    const net::Duration rest = order.deadline - nodes_part;
    record->pace = DrainPace::AfterNode(rest, loop_.now() + nodes_part);
    loop_.After(nodes_part, [this, alive = std::weak_ptr(alive_), wanted, full, rest] {
      if (alive.expired() || wanted() == nullptr || !on_pace_) return;
      on_pace_(full, {.deadline = rest});
    });
  }
}

void Control::AskNodeBack(const std::string& node, NodeAnswered answered) {
  const auto asked = AskedOf(node);
  const auto found = FindNode(node);
  if (asked.status == nullptr || !found) {
    return answered({.asked = false, .words = "the node cannot be asked to take clients again"});
  }
  const NodeKey key{found->pool->name(), found->node};
  Ask(asked, "DELETE", asked.status->drain,
      [this, key, pace = found->record->paces,
       answered = std::move(answered)](const NodeDrain::Answer& body) mutable {
        const auto answer = body ? ReadNodeBackAnswer(*body) : std::unexpected(body.error().why);
        net::Log(answer ? net::LogLevel::kInfo : net::LogLevel::kWarn, "lb",
                 answer ? "node takes clients again" : "node does not take its drain back",
                 {{"pool", key.first},
                  {"node", key.second},
                  {"reason", answer ? std::string() : answer.error()}});
        NodeRecord* const record = registry_.Find(key.first, key.second);
        if (answer) {
          // Unless it was told to drain again behind this.
          if (record != nullptr && record->paces == pace) record->self_drain.reset();
          SaveStateFile();
          return answered({.words = "the node was asked to take clients again, and does"});
        }
        const bool maybe_over =
            record == nullptr || !record->self_drain || record->self_drain->maybe_over;
        answered(
            {.drains = !maybe_over,
             .words = maybe_over
                          ? "the node may drain by itself, and does not say that this is over: " +
                                answer.error() +
                                "; unless it was restarted meanwhile, it gets no connections until "
                                "it was"
                          : "but the node drains by itself, and was asked to take clients again in "
                            "vain: " +
                                answer.error() +
                                "; it gets no connections until it was restarted, or `ready` is "
                                "said again and the node does it"});
      });
}

Done Control::Shut(const std::string& node, double rate) {
  auto found = FindNode(node);
  if (!found) return std::unexpected(found.error());
  return AfterOrder(found->pool != nullptr
                        ? found->pool->Shut(found->node, rate)
                        : registry_.ShutAbsent(*found->record, rate, loop_.now()));
}

Done Control::ShutConnection(const std::string& id) {
  const auto name = ConnectionName::Parse(id);
  if (!name || !engine_->ShutConnection(*name, EndReason::kShut)) {
    return std::unexpected(Refusal{
        "there is no connection " + id + " now; `list --connections` shows all that are open",
        true});
  }
  net::Log(net::LogLevel::kInfo, "lb", "a connection was ended by an order", {{"connection", id}});
  return "connection " + id + " ends";
}

Done Control::SetWeight(const std::string& node, std::optional<uint32_t> weight) {
  auto found = FindNode(node);
  if (!found) return std::unexpected(found.error());
  if (found->pool == nullptr) {
    found->record->weight = weight;
    return AfterOrder("node " + found->node +
                      " is in no pool now; the weight holds when it returns");
  }
  return AfterOrder(found->pool->SetWeight(found->node, weight));
}

Done Control::Prewarm(double rate) {
  if (!budget_ || !budget_->warming()) return "the balancer is warm already";
  budget_->Prewarm(rate > 0 ? rate : AcceptBudget::kDoneRate, loop_.now());
  return budget_->warming()
             ? "accepts " + std::to_string(static_cast<uint64_t>(budget_->rate())) + " a second"
             : std::string("the balancer is warm now");
}

std::expected<RolloutWanted, Refusal> Control::ReportRollout(const RolloutReport& report) {
  if (!pools_.contains(report.pool)) {
    std::string known;
    for (const auto& [name, pool] : pools_) known += (known.empty() ? "" : ", ") + name;
    return std::unexpected(
        Refusal{"there is no pool '" + report.pool + "'; there are " + known, true});
  }
  return rollouts_.Report(report, loop_.now());
}

Done Control::OrderRollout(const std::string& pool, RolloutOrderKind kind) {
  return rollouts_.Order(pool, kind, loop_.now());
}

std::optional<DrainProgress> Control::DrainOf(const std::string& node) const {
  auto found = FindNode(node);
  if (!found) return std::nullopt;
  const NodeRecord& record = *found->record;
  return DrainProgress{.remaining = record.node->active(),
                       .ended = record.pace ? record.pace->ended() : record.ended,
                       .drained = record.admin == AdminState::kDrain};
}

}  // namespace lb
