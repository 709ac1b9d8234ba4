// What operators order of a pool's nodes.
#include <algorithm>

#include "lb/control/pool_control.h"
#include "net/report/log.h"

namespace lb {

void PoolControl::SetAdmin(PoolNode& entry, AdminState admin) {
  entry.record->admin = admin;
  AfterHealth(entry, entry.health->SetAdmin(admin));
}

Done PoolControl::Ready(std::string_view node) {
  Done result;
  PoolNode* entry = FindOrRefuse(node, result);
  if (entry == nullptr) return result;
  // Whom the pace has told to end is ended; nobody else is, from this moment on.
  const bool ending = entry->record->pace.has_value();
  entry->record->NewPace();
  entry->record->EndPace();
  SetAdmin(*entry, AdminState::kReady);
  // What stands against it is not the operator's word any more.
  const bool why = !entry->health->choosable() && !entry->health->why().empty();
  return "node " + entry->config.name +
         " is ready: " + std::string(NodeConditionName(entry->health->condition())) +
         (why ? " (" + entry->health->why() + ")" : std::string()) +
         (ending ? "; its drain ends here: " + std::to_string(entry->record->ended) +
                       " connections were ended, " + std::to_string(entry->node->active()) + " stay"
                 : std::string());
}

Done PoolControl::Maint(std::string_view node) {
  Done result;
  PoolNode* entry = FindOrRefuse(node, result);
  if (entry == nullptr) return result;
  if (entry->record->self_drain) entry->record->self_drain->maybe_over = true;
  // As with `ready`, a drain that ends connections ends here.
  entry->record->NewPace();
  entry->record->EndPace();
  SetAdmin(*entry, AdminState::kMaint);
  return "node " + entry->config.name +
         " is in maintenance: it gets no connections and no checks; " +
         std::to_string(entry->node->active()) + " connections stay";
}

DrainVerdict PoolControl::JudgeDrain(const PoolNode& entry, const DrainRequest& request) const {
  std::vector<DrainNode> nodes;
  size_t target = 0;
  for (size_t i = 0; i < entries_.size(); ++i) {
    const PoolNode& other = *entries_[i];
    if (&other == &entry) target = i;
    net::Duration warm_in{};
    if (other.warmup.warming()) {
      warm_in = std::max(net::Duration::zero(),
                         config_.warmup.duration - other.warmup.Elapsed(loop_.now()));
    }
    nodes.push_back({.name = other.config.name,
                     .choosable = other.health->choosable() && other.Weight() > 0,
                     .backup = other.config.backup,
                     .active = other.node->active(),
                     .connections_max = other.node->connections_max(),
                     .admission_rate = other.step.done ? net::kRateUnlimited : other.step.rate,
                     .warm_in = warm_in});
  }
  return CheckDrain(nodes, target, request);
}

Done PoolControl::Drain(std::string_view node, const DrainOrder& order) {
  Done result;
  PoolNode* entry = FindOrRefuse(node, result);
  if (entry == nullptr) return result;
  const DrainRequest request{.rate = order.rate, .deadline = order.deadline};
  const DrainVerdict verdict = JudgeDrain(*entry, request);
  if (!verdict.allowed && !order.force) {
    return std::unexpected(Refusal{verdict.why + "; --force drains all the same"});
  }
  if (order.dry_run) {
    return "node " + entry->config.name + " would drain " + std::to_string(entry->node->active()) +
           " connections; " + verdict.why + "; nothing was done";
  }
  if (order.paced()) entry->record->NewPace();
  if (order.node_is_asked) {
    entry->record->pace.reset();  // until it has answered
    entry->record->ended = 0;
  } else if (order.paced()) {
    entry->record->pace =
        DrainPace::ForDrain(request, entry->node->active(),
                            order.force ? net::kRateUnlimited : verdict.safe_rate, loop_.now());
  } else if (!entry->record->pace) {
    entry->record->ended = 0;  // what a drain before ended is not this one's
  }
  SetAdmin(*entry, AdminState::kDrain);
  return "node " + entry->config.name + " drains " + std::to_string(entry->node->active()) +
         " connections; " + verdict.why;
}

PoolControl::NodeAsked PoolControl::AskedToDrain(std::string_view node) const {
  const PoolNode* entry = Find(node);
  if (entry == nullptr || !entry->config.resolved()) return {};
  if (!config_.status || config_.status->drain.empty()) return {};
  return {entry->config.address, &*config_.status};
}

double PoolControl::SafeRate(std::string_view node, const DrainOrder& order) const {
  const PoolNode* entry = Find(node);
  if (entry == nullptr) return net::kRateUnlimited;
  return JudgeDrain(*entry, {.rate = order.rate, .deadline = order.deadline}).safe_rate;
}

std::string PoolControl::Incarnation(std::string_view node) const {
  const PoolNode* entry = Find(node);
  return entry == nullptr ? std::string() : std::string(entry->health->incarnation());
}

Done PoolControl::Shut(std::string_view node, double rate) {
  Done result;
  PoolNode* entry = FindOrRefuse(node, result);
  if (entry == nullptr) return result;
  const uint64_t connections = entry->node->active();
  entry->record->NewPace();
  entry->record->pace = DrainPace::ForShut(rate, connections, loop_.now());
  return "ending " + std::to_string(connections) + " connections to " + entry->config.name;
}

Done PoolControl::SetWeight(std::string_view node, std::optional<uint32_t> weight) {
  Done result;
  PoolNode* entry = FindOrRefuse(node, result);
  if (entry == nullptr) return result;
  if (weight && *weight > kWeightMax) {
    return std::unexpected(Refusal{"a weight is at most " + std::to_string(kWeightMax)});
  }
  entry->record->weight = weight;
  Publish(false);
  return "node " + entry->config.name + " has weight " + std::to_string(entry->Weight());
}

}  // namespace lb
