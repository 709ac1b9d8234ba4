#include "lb/control/control.h"

#include <fcntl.h>
#include <sys/random.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <ctime>
#include <fstream>
#include <iterator>
#include <thread>

#include "lb/config/follow_packets.h"
#include "lb/config/log_setup.h"
#include "lb/config/reload_table.h"
#include "lb/control/report.h"
#include "lb/control/saved_state.h"
#include "net/base/check.h"
#include "net/report/log.h"
#include "net/service/state_file.h"

namespace lb {
namespace {

constexpr net::Duration kAcceptsMeasuredEvery = std::chrono::seconds(1);
// How long a start waits for the first results of all checks.
constexpr net::Duration kFirstLookWithin = std::chrono::seconds(3);
// And before that, for the first look-up of names and of DNS-discovered pools.
constexpr net::Duration kNamesWithin = std::chrono::seconds(15);
constexpr net::Duration kStepEvery = std::chrono::milliseconds(100);
constexpr net::Duration kFirstLookEvery = std::chrono::milliseconds(10);
constexpr net::Duration kDrainLook = std::chrono::milliseconds(100);
// A rate that ends nobody before the deadline asks for it.
constexpr double kLeftBe = 1e-9;

uint64_t Secret() {
  uint64_t value = 0;
  CHECK(getrandom(&value, sizeof value, 0) == sizeof value);
  return value;
}

uint32_t WorkersOf(const ProcessConfig& process) {
  return process.workers > 0 ? process.workers : std::max(1U, std::thread::hardware_concurrency());
}

std::vector<net::SocketName> SourcesOf(const PoolConfig& pool) {
  std::vector<net::SocketName> names;
  for (const net::Address& address : pool.source_addresses) {
    names.push_back(address.ToSocketName());
  }
  return names;
}

}  // namespace

std::string_view ProcessStateName(ProcessState state) {
  switch (state) {
    case ProcessState::kStarting:
      return "starting";
    case ProcessState::kRunning:
      return "running";
    case ProcessState::kDraining:
      return "draining";
    case ProcessState::kStopping:
      return "stopping";
  }
  return "unknown";
}

Control::Control(net::EventLoop& loop, std::string config_path, net::NameLookup::Resolver resolver)
    : loop_(loop),
      config_path_(std::move(config_path)),
      started_(loop.now()),
      seed_(Secret()),
      names_({}, std::move(resolver)),
      listeners_({Secret(), Secret()}) {}

Control::~Control() {
  loop_.CancelTimer(measure_);
  loop_.CancelTimer(start_);
  loop_.CancelTimer(step_);
  loop_.CancelTimer(look_at_tls_);
  asked_.clear();
  if (engine_) engine_->Stop();  // its connections name nodes of the pools
  pools_.clear();
  engine_.reset();
}

// --- Start and reload -------------------------------------------------------------------------

std::expected<void, std::vector<net::ConfigError>> Control::Start(Config config,
                                                                  net::Inheritance* inherited) {
  auto prepared = Prepare(config, inherited);
  if (!prepared) return std::unexpected(prepared.error());
  auto access_log = OpenAccessLog(config.log);
  if (!access_log) return std::unexpected(std::vector{access_log.error()});
  access_log_ = std::move(*access_log);
  if (config.warmup.enabled) budget_ = std::make_unique<AcceptBudget>(config.warmup, loop_.now());

  auto engine = Engine::Start(
      {.workers = WorkersOf(config.process),
       .connections_max = config.process.connections_max,
       .buffer_bytes = config.process.buffer_bytes,
       .buffers_max = config.process.buffers,
       .large_buffers = config.process.large_buffers,
       .access_log_fd = access_log_ ? access_log_.get() : -1,
       .access_log_options = AccessLogOptionsOf(config.log),
       .seed = seed_,
       .cpus = WorkerCpus(config.process.follow_packets, WorkersOf(config.process), AllowedCpus())},
      budget_.get(), [this](Node& node, uint32_t errors, std::string how) {
        // From a worker. The pool looks the node up by its address, which may be gone
        // by then.
        loop_.Post([this, pool = node.pool, raw = &node, errors, how = std::move(how)] {
          auto found = pools_.find(pool);
          if (found == pools_.end()) return;
          found->second->OnPassiveErrors(raw, errors, how);
        });
      });
  if (!engine) {
    return std::unexpected(std::vector<net::ConfigError>{
        {.file = config.file, .key = "process", .what = engine.error()}});
  }
  engine_ = std::move(*engine);
  const std::string state_file = config.process.state_file;
  Commit(std::move(config), std::move(*prepared));
  if (inherited != nullptr) {
    RestoreState(inherited->state, true);
  } else if (!state_file.empty()) {
    if (auto text = net::ReadStateFile(state_file)) RestoreState(*text, false);
  }
  measure_ = loop_.After(kAcceptsMeasuredEvery, [this] { Measure(); });
  step_ = loop_.After(kStepEvery, [this] { Step(); });
  LookAtStart(loop_.now() + kNamesWithin, loop_.now() + kFirstLookWithin);
  LookAtTls();
  return {};
}

// Names first, and what DNS says: a pool without its nodes has nothing to look at.
void Control::LookAtStart(net::Time names_until, net::Time looks_until) {
  const net::Time now = loop_.now();
  const bool named =
      std::ranges::all_of(pools_, [](const auto& pool) { return pool.second->NamesKnown(); });
  if (!named && now < names_until) looks_until = now + kFirstLookWithin;
  const bool settled =
      std::ranges::all_of(pools_, [](const auto& pool) { return pool.second->Settled(); });
  if (!settled && now < looks_until) {
    start_ = loop_.After(kFirstLookEvery, [=, this] { LookAtStart(names_until, looks_until); });
    return;
  }
  state_ = ProcessState::kRunning;
  listeners_.StartAccepting(*engine_);
  if (on_running_) loop_.Post([on_running = std::move(on_running_)] { on_running(); });
}

std::expected<std::string, std::vector<net::ConfigError>> Control::Reload() {
  auto fail = [&](std::vector<net::ConfigError> errors) {
    ++reloads_failed_;
    last_reload_at_s_ = static_cast<int64_t>(std::time(nullptr));
    last_reload_error_ = errors.front().ToString();
    net::Log(net::LogLevel::kError, "lb", "reload refused; the old configuration stays",
             {{"error", last_reload_error_}, {"errors", errors.size()}});
    return std::unexpected(std::move(errors));
  };
  if (state_ == ProcessState::kDraining || state_ == ProcessState::kStopping) {
    // Fresh sockets would take connections that nobody accepts.
    return fail({{.file = config_path_,
                  .what = "is not read: this process is " + std::string(ProcessStateName(state_)) +
                          " and takes no connections any more",
                  .remedy = "reload the process that runs instead of it"}});
  }
  auto config = LoadConfig(config_path_);
  if (!config) return fail(config.error());
  std::ifstream file(config_path_);
  const std::string text((std::istreambuf_iterator<char>(file)), {});
  auto refused = net::RefusedByReload(ReloadTable(), config_, *config, config->file, text);
  if (!refused.empty()) return fail(std::move(refused));
  auto prepared = Prepare(*config, nullptr);
  if (!prepared) return fail(prepared.error());
  Commit(std::move(*config), std::move(*prepared));
  engine_->Settle();  // "reloaded" is said when it holds in every worker
  ++reloads_;
  last_reload_at_s_ = static_cast<int64_t>(std::time(nullptr));
  last_reload_error_.clear();
  expiry_warned_.clear();
  net::Log(net::LogLevel::kInfo, "lb", "configuration reloaded", {{"file", config_path_}});
  return "reloaded " + config_path_;
}

// Everything that can fail, so that what follows cannot: sockets are bound, certificates are read.
// Names are looked up later, by the pools: one that cannot be is a node that is down.
std::expected<Control::Prepared, std::vector<net::ConfigError>> Control::Prepare(
    const Config& config, net::Inheritance* inherited) {
  Prepared prepared;
  std::vector<net::ConfigError> errors;
  for (const PoolConfig& pool : config.pools) {
    for (const NodeConfig& node : pool.nodes) {
      const bool host = node.address.kind == net::Endpoint::Kind::kHost;
      prepared.nodes[pool.name].push_back(
          {.name = node.name,
           .address = host ? net::SocketName() : node.address.ToSocketName(),
           .address_text = node.address.ToString(),
           .host = host ? node.address.name : "",
           .port = host ? node.address.port : uint16_t{0},
           .weight = node.weight,
           .backup = node.backup,
           .connections_max = node.connections_max});
    }
  }
  listeners_.Prepare(config, WorkersOf(config.process), inherited, &prepared.listeners, &errors);
  PrepareTls(config, &prepared, &errors);
  if (!errors.empty()) return std::unexpected(std::move(errors));
  return prepared;
}

void Control::Commit(Config config, Prepared prepared) {
  CommitPools(config, prepared);
  listeners_.Commit(config, prepared.listeners, pool_ids_, *engine_);
  if (state_ == ProcessState::kRunning) listeners_.StartAccepting(*engine_);
  // Pools that are gone: no listener names them any more. Their connections keep their settings
  // and their nodes.
  std::erase_if(pools_, [&](const auto& pool) {
    return std::none_of(config.pools.begin(), config.pools.end(),
                        [&](const PoolConfig& c) { return c.name == pool.first; });
  });
  rollouts_.Keep([this](const std::string& pool) { return pools_.contains(pool); });
  config_ = std::move(config);
}

void Control::CommitPools(const Config& config, Prepared& prepared) {
  for (const PoolConfig& pool : config.pools) {
    const auto id = pool_ids_.try_emplace(pool.name, static_cast<uint16_t>(pool_ids_.size()));
    std::shared_ptr<PoolShared>& counts = pool_counts_[pool.name];
    if (counts == nullptr) counts = std::make_shared<PoolShared>();
    const std::vector<ResolvedNode>& nodes = prepared.nodes[pool.name];
    auto present = pools_.find(pool.name);
    if (present != pools_.end()) {
      present->second->Reconfigure(pool, nodes, SourcesOf(pool), prepared.clients[pool.name]);
    } else {
      pools_[pool.name] = std::make_unique<PoolControl>(
          PoolControl::Shared{loop_, *engine_, registry_, names_, counts}, id.first->second, pool,
          nodes, seed_ ^ id.first->second, SourcesOf(pool), prepared.clients[pool.name]);
    }
  }
}

// --- Views ------------------------------------------------------------------------------------

ProcessView Control::Process() const {
  ProcessView view;
  view.state = state_;
  view.version = MONGOOSE_VERSION;
  view.pid = getpid();
  view.uptime_s = net::Seconds(loop_.now() - started_);
  view.workers = engine_->workers();
  view.connections = engine_->open();
  view.connections_elsewhere = registry_.elsewhere();
  view.connections_max = engine_->connections_max();
  view.accepts_per_s = accepts_per_s_;
  if (budget_ && budget_->warming()) {
    view.accept_rate = budget_->rate();
    view.warmup = std::min(1.0, budget_->rate() / AcceptBudget::kDoneRate);
  }
  for (const auto& [name, pool] : pools_) {
    const PoolView one = pool->View();
    view.nodes_up += one.nodes_up;
    view.nodes_total += one.nodes.size();
    view.split |= one.split;
  }
  view.reloads = reloads_;
  view.reloads_failed = reloads_failed_;
  view.last_reload_error = last_reload_error_;
  view.last_reload_at_s = last_reload_at_s_;
  return view;
}

std::vector<ListenerView> Control::Listeners() const { return ListenerViews(listeners_); }

std::vector<AbsentNodeView> Control::Absent() const {
  std::vector<AbsentNodeView> views;
  for (const NodeRecord* record : registry_.Absent()) {
    views.push_back({.pool = record->node->pool,
                     .name = record->node->name,
                     .admin = std::string(AdminStateName(record->admin)),
                     .weight = record->weight,
                     .active = record->node->active(),
                     .elsewhere = record->elsewhere});
  }
  return views;
}

std::vector<PoolView> Control::Pools() const {
  std::vector<PoolView> views;
  for (const auto& [name, pool] : pools_) views.push_back(pool->View());
  return views;
}

WhyView Control::Why(const net::Address& source) const {
  WhyView view;
  view.address = source.IpToString();
  for (const auto& [name, pool] : pools_) {
    WhyPool why{.pool = name, .answer = pool->WhyFrom(source)};
    for (const auto& [listener_name, listener] : listeners_.all()) {
      if (listener->config.pool == name) why.listeners.push_back(listener_name);
    }
    view.pools.push_back(std::move(why));
  }
  AddConnectionsFrom(source, *engine_, listeners_, pool_ids_, &view);
  return view;
}

ConnectionPage Control::Connections(const std::string& after, const std::string& node) const {
  return ConnectionsAfter(after, node, *engine_, listeners_, pool_ids_);
}

std::vector<CounterView> Control::Counters() const {
  std::vector<CounterView> views;
  auto add = [&](std::string name, std::string help, bool counter, double value) {
    views.push_back({std::move(name), std::move(help), counter, {{{}, value}}});
  };
  add("mongooselb_connections_active", "Proxied connections that are open now", false,
      static_cast<double>(engine_->open()));
  add("mongooselb_connections_elsewhere",
      "Connections that the old process still carries after an upgrade", false,
      static_cast<double>(registry_.elsewhere()));
  add("mongooselb_connections_max", "The most that the process takes", false,
      engine_->connections_max());
  add("mongooselb_accepts_per_second", "New connections in the last second", false, accepts_per_s_);
  add("mongooselb_reloads_total", "Configurations applied", true, static_cast<double>(reloads_));
  add("mongooselb_reloads_failed_total", "Configurations refused", true,
      static_cast<double>(reloads_failed_));
  AddWorkerCounters(*engine_, &views);
  AddListenerCounters(listeners_, &views);
  AddTlsCounters(*engine_, listeners_, &views);
  return views;
}

void Control::Step() {
  step_ = loop_.After(kStepEvery, [this] { Step(); });
  registry_.Step(*engine_, loop_.now());
}

void Control::SetElsewhere(const std::string& counts) {
  registry_.SetElsewhere(NodeCountsFromJson(counts), loop_.now());
}

std::string Control::CountsElsewhere() const { return NodeCountsToJson(registry_.Counts()); }

void Control::Measure() {
  measure_ = loop_.After(kAcceptsMeasuredEvery, [this] { Measure(); });
  const uint64_t accepted = engine_->Sum(&WorkerStats::accepted);
  accepts_per_s_ =
      static_cast<double>(accepted - accepted_seen_) / net::Seconds(kAcceptsMeasuredEvery);
  accepted_seen_ = accepted;
  if (budget_) budget_->Tick(loop_.now());
}

// --- The end ----------------------------------------------------------------------------------

void Control::BeginDrain(net::Duration deadline, std::function<void(uint64_t)> done) {
  if (state_ == ProcessState::kDraining) return;
  loop_.CancelTimer(start_);
  state_ = ProcessState::kDraining;
  drained_ = std::move(done);
  drain_deadline_ = loop_.now() + deadline;
  // A rate of none: all are left be in the first half of the time, and then ended evenly.
  drain_plan_.emplace(DrainRequest{.rate = kLeftBe, .deadline = deadline}, engine_->open(),
                      net::kRateUnlimited, loop_.now());
  listeners_.Clear();  // our duplicates; the workers close theirs
  engine_->AskAll([](ProxyWorker& worker) { worker.StopAccepting(); });
  net::Log(net::LogLevel::kInfo, "lb", "draining",
           {{"connections", engine_->open()}, {"deadline", deadline}});
  LookAtDrain();
}

void Control::LookAtDrain() {
  if (!drained_) return;
  const uint64_t open = engine_->open();
  if (open > 0 && loop_.now() < drain_deadline_) {
    const uint64_t due = drain_plan_->Ask(open, loop_.now()).now;
    if (due > 0) {
      drain_ended_ += engine_->ShutNode(nullptr, ShutCount(due), EndReason::kDrained);
    }
    start_ = loop_.After(kDrainLook, [this] { LookAtDrain(); });  // (free since BeginDrain)
    return;
  }
  state_ = ProcessState::kStopping;
  std::exchange(drained_, nullptr)(drain_ended_ + open);
}

void Control::EndNow() {
  drain_deadline_ = loop_.now();
  LookAtDrain();
}

// --- Handing over -----------------------------------------------------------------------------

std::string Control::SaveState(bool warm) const {
  SavedState state;
  for (const auto& [name, pool] : pools_) state.pools[name] = pool->Save();
  for (const NodeRecord* absent : registry_.Absent()) {
    state.pools[absent->node->pool].push_back({.name = absent->node->name,
                                               .admin = absent->admin,
                                               .weight = absent->weight,
                                               .active = absent->node->active(),
                                               .self_drain = absent->SelfDrainToSave()});
  }
  if (!warm) {  // connections end with the process, and so do what DNS said and how warm a node is
    for (auto& [name, nodes] : state.pools) {
      for (PoolControl::SavedNode& node : nodes) {
        node.active = 0;
        node.address.clear();
      }
    }
  }
  if (warm && budget_ && budget_->warming()) state.accept_rate = budget_->rate();
  return SavedStateToJson(state);
}

void Control::RestoreState(const std::string& json, bool warm) {
  auto state = SavedStateFromJson(json);
  if (!state) {
    net::Log(net::LogLevel::kWarn, "lb", "saved state is not used", {{"reason", state.error()}});
    return;
  }
  NodeCounts counts;
  for (auto& [name, nodes] : state->pools) {
    for (const PoolControl::SavedNode& node : nodes) {
      if (warm && node.active > 0) counts[{name, node.name}] = node.active;
    }
    auto pool = pools_.find(name);
    if (pool != pools_.end()) {
      pool->second->Restore(nodes, warm);
      continue;
    }
    for (const PoolControl::SavedNode& node : nodes) {  // of a pool that may return
      NodeRecord& record = registry_.FindOrMake(name, node.name, loop_.now());
      record.admin = node.admin;
      record.weight = node.weight;
      record.self_drain = node.self_drain;
    }
  }
  registry_.SetElsewhere(counts, loop_.now());
  if (warm && budget_) {
    budget_->RestoreRate(state->accept_rate > 0 ? state->accept_rate : AcceptBudget::kDoneRate,
                         loop_.now());
  }
}

void Control::SaveStateFile() {
  if (config_.process.state_file.empty() || !keeps_state_file_) return;
  if (auto written = net::WriteStateFile(config_.process.state_file, SaveState(false)); !written) {
    net::Log(net::LogLevel::kError, "lb", "overrides will not survive a restart",
             {{"reason", written.error()}});
  }
}

void Control::ReopenLogs() {
  auto fd = OpenAccessLog(config_.log);
  if (!fd) {
    net::Log(net::LogLevel::kError, "lb", "access log stays as it is",
             {{"reason", fd.error().ToString()}});
    return;
  }
  // The workers still write to the old one until they have taken the new: let it be closed later.
  auto old = std::make_shared<net::UniqueFd>(std::move(access_log_));
  access_log_ = std::move(*fd);
  engine_->ReopenAccessLog(access_log_.get());
  loop_.After(std::chrono::seconds(5), [old] {});
}

}  // namespace lb
