// What mongooseimctl's own commands ask of the node: memory, drain.
#include <array>
#include <atomic>
#include <memory>
#include <utility>

#include "server/program/drain_forecast.h"
#include "server/program/xmpp_commands.h"

namespace server {
namespace {

constexpr net::Duration kLookEvery = std::chrono::milliseconds(200);
constexpr int kLooks = 5;  // of one call that waits

void Memory(CommandCall call) {
  auto categories = call.ground().hooks.memory();
  XmppService& service = call.ground().service;
  // What sessions hold is known to their workers.
  struct Sum {
    CommandCall call;
    std::vector<std::pair<std::string, uint64_t>> categories;
    std::atomic<uint64_t> bytes{0};
    std::atomic<uint64_t> count{0};
    std::atomic<size_t> open;
    Sum(CommandCall c, std::vector<std::pair<std::string, uint64_t>> known, size_t workers)
        : call(std::move(c)), categories(std::move(known)), open(workers) {}
  };
  const auto sum = std::make_shared<Sum>(std::move(call), std::move(categories), service.workers());
  service.OnEachWorker([sum](XmppWorker& worker) {
    sum->bytes += worker.SessionBytes();
    sum->count += worker.worker_counters().sessions.load(std::memory_order_relaxed);
    if (--sum->open > 0) return;
    sum->categories.emplace_back("sessions", sum->bytes.load());
    CtlJson result = CtlJson::Object();
    for (const auto& [name, bytes] : sum->categories) result.Set(name, CtlJson::Count(bytes));
    result.Set("sessionCount", CtlJson::Count(sum->count.load()));
    sum->call.Result(std::move(result));
  });
}

CtlJson StateJson(const DrainState& state) {
  CtlJson json = CtlJson::Object();
  json.Set("draining", CtlJson::Bool(state.draining));
  json.Set("connections", CtlJson::Count(state.connections));
  json.Set("late", CtlJson::Bool(state.late));
  return json;
}

void Drain(CommandCall call) {
  const NodeHooks& hooks = call.ground().hooks;
  const auto per_s = static_cast<double>(call.Number("rate", 100));
  const auto deadline = std::chrono::seconds(call.Number("deadline", 0));
  if (auto begun = hooks.drain(per_s, deadline, call.Has("force")); !begun) {
    return call.Fault(begun.error(), "drain_refused");
  }
  call.Result(StateJson(hooks.drained()));
}

void Undrain(CommandCall call) {
  const NodeHooks& hooks = call.ground().hooks;
  if (auto ended = hooks.undrain(); !ended) {
    return call.Fault("It drains on: " + ended.error(), "still_draining");
  }
  call.Result(StateJson(hooks.drained()));
}

// Answers when there is something to say, or after a second.
void Look(const std::shared_ptr<CommandCall>& call, int looks) {
  const NodeHooks& hooks = call->ground().hooks;
  const DrainState state = hooks.drained();
  if (state.connections == 0 || looks == 0) return call->Result(StateJson(state));
  hooks.after(kLookEvery, [call, looks] { Look(call, looks - 1); });
}

void DrainStatus(CommandCall call) { Look(std::make_shared<CommandCall>(std::move(call)), kLooks); }

// --- What is above this node's share goes to the others: those who may resume, the idlest first.

CtlJson SheddingJson(const XmppService::Shedding& now) {
  CtlJson json = CtlJson::Object();
  json.Set("left", CtlJson::Count(now.left));
  json.Set("drained", CtlJson::Count(now.drained));
  json.Set("resumable", CtlJson::Count(now.resumable));
  return json;
}

void Rebalance(CommandCall call) {
  const std::vector<uint64_t> counts = call.ground().hooks.session_counts();
  XmppService& service = call.ground().service;
  const uint64_t surplus =
      Surplus(counts, service.detached(), static_cast<double>(call.Number("permille", 50)) / 1000);
  CtlJson json = SheddingJson(service.shedding());
  json.Set("sessions", CtlJson::Count(counts.front()));
  json.Set("mean", CtlJson::Count(static_cast<uint64_t>(MeanOf(counts))));
  json.Set("surplus", CtlJson::Count(surplus));
  if (surplus > 0) service.Shed(surplus, static_cast<double>(call.Number("rate", 50)));
  call.Result(std::move(json));
}

// Answers when all are gone, or after a second.
void LookAtShedding(const std::shared_ptr<CommandCall>& call, int looks) {
  call->ground().hooks.after(kLookEvery, [call, looks] {
    const auto now = call->ground().service.shedding();
    if (now.left > 0 && looks > 1) return LookAtShedding(call, looks - 1);
    call->Result(SheddingJson(now));
  });
}

void RebalanceStatus(CommandCall call) {
  LookAtShedding(std::make_shared<CommandCall>(std::move(call)), kLooks);
}

constexpr std::array kNodeCommands = std::to_array<XmppCommand>({
    {"flat", "memory", ThisNode{Memory}},
    {"flat", "drain", ThisNode{Drain}},
    {"flat", "drainStatus", ThisNode{DrainStatus}},
    {"flat", "rebalance", ThisNode{Rebalance}},
    {"flat", "rebalanceStatus", ThisNode{RebalanceStatus}},
    {"flat", "undrain", ThisNode{Undrain}},
});

}  // namespace

std::span<const XmppCommand> NodeCommands() { return kNodeCommands; }

}  // namespace server
