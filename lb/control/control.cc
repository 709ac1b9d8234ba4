#include "lb/control/control.h"

#include <fcntl.h>
#include <sys/random.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <ctime>
#include <thread>

#include "lb/control/report.h"
#include "lb/control/saved_state.h"
#include "net/base/check.h"
#include "net/report/log.h"
#include "net/service/state_file.h"

namespace lb {
namespace {

constexpr net::Duration kMeasureEvery = std::chrono::seconds(1);
// How long a start waits for the first results of all checks.
constexpr net::Duration kFirstLookWithin = std::chrono::seconds(3);
constexpr net::Duration kFirstLookEvery = std::chrono::milliseconds(10);
constexpr net::Duration kDrainLook = std::chrono::milliseconds(100);

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

std::expected<net::UniqueFd, net::ConfigError> OpenAccessLog(const LogConfig& log) {
  switch (log.access) {
    case AccessLogTarget::kOff:
      return net::UniqueFd();
    case AccessLogTarget::kStderr:
      return net::UniqueFd(fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3));
    case AccessLogTarget::kFile:
      break;
  }
  net::UniqueFd fd(open(log.access_file.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0640));
  if (!fd) {
    return std::unexpected(log.access_origin.Error(
        "cannot be opened: " + std::string(std::strerror(errno)),
        "make its folder writable for the user that the balancer runs as, or set \"off\""));
  }
  return fd;
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

Control::Control(net::EventLoop& loop, std::string config_path)
    : loop_(loop),
      config_path_(std::move(config_path)),
      started_(loop.now()),
      seed_(Secret()),
      listeners_({Secret(), Secret()}) {}

Control::~Control() {
  loop_.CancelTimer(measure_);
  loop_.CancelTimer(start_);
  loop_.CancelTimer(look_at_tls_);
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

  auto engine =
      Engine::Start({.workers = WorkersOf(config.process),
                     .connections_max = config.process.connections_max,
                     .buffer_bytes = config.process.buffer_bytes,
                     .buffers_max = config.process.buffers,
                     .large_buffers = config.process.large_buffers,
                     .access_log_fd = access_log_ ? access_log_.get() : -1,
                     .access_log_format = config.log.access_format == net::LogFormat::kJson
                                              ? AccessLogFormat::kJson
                                              : AccessLogFormat::kText,
                     .seed = seed_},
                    budget_.get(), [this](Node& node, uint32_t errors) {
                      // From a worker. The pool looks the node up by its address, which may be gone
                      // by then.
                      loop_.Post([this, pool = node.pool, raw = &node, errors] {
                        auto found = pools_.find(pool);
                        if (found != pools_.end()) found->second->OnPassiveErrors(raw, errors);
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
  measure_ = loop_.After(kMeasureEvery, [this] { Measure(); });
  LookAtStart(loop_.now() + kFirstLookWithin);
  LookAtTls();
  return {};
}

void Control::LookAtStart(net::Time give_up) {
  const bool settled = std::all_of(pools_.begin(), pools_.end(),
                                   [](const auto& pool) { return pool.second->Settled(); });
  if (!settled && loop_.now() < give_up) {
    start_ = loop_.After(kFirstLookEvery, [this, give_up] { LookAtStart(give_up); });
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
  auto config = LoadConfig(config_path_);
  if (!config) return fail(config.error());
  const ProcessConfig& now = config_.process;
  const ProcessConfig& next = config->process;
  if (WorkersOf(now) != WorkersOf(next) || now.connections_max != next.connections_max ||
      now.buffer_bytes != next.buffer_bytes || now.buffers != next.buffers ||
      now.user != next.user || now.ctl_socket != next.ctl_socket ||
      now.admin_listen != next.admin_listen || !(config_.log == config->log) ||
      !(config_.warmup == config->warmup)) {
    return fail({{.file = config->file,
                  .key = "process, log, warmup",
                  .what = "cannot change while the process runs",
                  .remedy = "take the change over without losing a connection by `mongooselb ctl "
                            "upgrade`"}});
  }
  auto prepared = Prepare(*config, nullptr);
  if (!prepared) return fail(prepared.error());
  Commit(std::move(*config), std::move(*prepared));
  ++reloads_;
  last_reload_at_s_ = static_cast<int64_t>(std::time(nullptr));
  last_reload_error_.clear();
  expiry_warned_.clear();
  net::Log(net::LogLevel::kInfo, "lb", "configuration reloaded", {{"file", config_path_}});
  return "reloaded " + config_path_;
}

// Everything that can fail, so that what follows cannot: names are looked up, sockets are bound.
std::expected<Control::Prepared, std::vector<net::ConfigError>> Control::Prepare(
    const Config& config, net::Inheritance* inherited) {
  Prepared prepared;
  std::vector<net::ConfigError> errors;
  for (const PoolConfig& pool : config.pools) {
    for (const NodeConfig& node : pool.nodes) {
      auto endpoint = ResolveNode(node);
      if (!endpoint) {
        errors.push_back(endpoint.error());
        continue;
      }
      prepared.nodes[pool.name].push_back({.name = node.name,
                                           .address = endpoint->ToSocketName(),
                                           .address_text = endpoint->ToString(),
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
    const bool gone = std::none_of(config.pools.begin(), config.pools.end(),
                                   [&](const PoolConfig& c) { return c.name == pool.first; });
    if (gone) pool.second->HandOver(retired_);
    return gone;
  });
  config_ = std::move(config);
}

void Control::CommitPools(const Config& config, Prepared& prepared) {
  for (const PoolConfig& pool : config.pools) {
    const auto id = pool_ids_.try_emplace(pool.name, static_cast<uint16_t>(pool_ids_.size()));
    const std::vector<ResolvedNode>& nodes = prepared.nodes[pool.name];
    auto present = pools_.find(pool.name);
    if (present != pools_.end()) {
      present->second->Reconfigure(pool, nodes, SourcesOf(pool), prepared.clients[pool.name]);
    } else {
      pools_[pool.name] = std::make_unique<PoolControl>(
          loop_, *engine_, id.first->second, pool, nodes, seed_ ^ id.first->second, SourcesOf(pool),
          prepared.clients[pool.name]);
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

std::vector<CounterView> Control::Counters() const {
  std::vector<CounterView> views;
  auto add = [&](std::string name, std::string help, bool counter, double value) {
    views.push_back({std::move(name), std::move(help), counter, {{{}, value}}});
  };
  add("mongooselb_connections_active", "Proxied connections that are open now", false,
      static_cast<double>(engine_->open()));
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

void Control::Measure() {
  measure_ = loop_.After(kMeasureEvery, [this] { Measure(); });
  const uint64_t accepted = engine_->Sum(&WorkerStats::accepted);
  accepts_per_s_ = static_cast<double>(accepted - accepted_seen_) / net::Seconds(kMeasureEvery);
  accepted_seen_ = accepted;
  if (budget_) budget_->Tick(loop_.now());
  retired_.Sweep(loop_.now());
}

// --- Orders -----------------------------------------------------------------------------------

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
  if (having.size() == 1) return Found{having.front(), name};
  if (having.empty()) {
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
  return AfterOrder(found->pool->Ready(found->node));
}

Done Control::Maint(const std::string& node) {
  auto found = FindNode(node);
  if (!found) return std::unexpected(found.error());
  return AfterOrder(found->pool->Maint(found->node));
}

Done Control::Drain(const std::string& node, const DrainOrder& order) {
  auto found = FindNode(node);
  if (!found) return std::unexpected(found.error());
  return AfterOrder(found->pool->Drain(found->node, order));
}

Done Control::Shut(const std::string& node, double rate) {
  auto found = FindNode(node);
  if (!found) return std::unexpected(found.error());
  return AfterOrder(found->pool->Shut(found->node, rate));
}

Done Control::SetWeight(const std::string& node, std::optional<uint32_t> weight) {
  auto found = FindNode(node);
  if (!found) return std::unexpected(found.error());
  return AfterOrder(found->pool->SetWeight(found->node, weight));
}

Done Control::Prewarm(double rate) {
  if (!budget_ || !budget_->warming()) return "the balancer is warm already";
  budget_->Prewarm(rate > 0 ? rate : AcceptBudget::kDoneRate, loop_.now());
  return budget_->warming()
             ? "accepts " + std::to_string(static_cast<uint64_t>(budget_->rate())) + " a second"
             : std::string("the balancer is warm now");
}

std::optional<uint64_t> Control::DrainRemaining(const std::string& node) const {
  auto found = FindNode(node);
  if (!found) return std::nullopt;
  return found->pool->Active(found->node);
}

// --- The end ----------------------------------------------------------------------------------

void Control::BeginDrain(net::Duration deadline, std::function<void(uint64_t)> done) {
  if (state_ == ProcessState::kDraining) return;
  loop_.CancelTimer(start_);
  state_ = ProcessState::kDraining;
  drained_ = std::move(done);
  drain_deadline_ = loop_.now() + deadline;
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
    start_ = loop_.After(kDrainLook, [this] { LookAtDrain(); });  // (free since BeginDrain)
    return;
  }
  state_ = ProcessState::kStopping;
  std::exchange(drained_, nullptr)(open);
}

void Control::EndNow() {
  drain_deadline_ = loop_.now();
  LookAtDrain();
}

// --- Handing over -----------------------------------------------------------------------------

std::string Control::SaveState(bool warm) const {
  SavedState state;
  for (const auto& [name, pool] : pools_) state.pools[name] = pool->Save();
  if (warm && budget_ && budget_->warming()) state.accept_rate = budget_->rate();
  return SavedStateToJson(state);
}

void Control::RestoreState(const std::string& json, bool warm) {
  auto state = SavedStateFromJson(json);
  if (!state) {
    net::Log(net::LogLevel::kWarn, "lb", "saved state is not used", {{"reason", state.error()}});
    return;
  }
  for (auto& [name, nodes] : state->pools) {
    auto pool = pools_.find(name);
    if (pool != pools_.end()) pool->second->Restore(nodes, warm);
  }
  if (warm && budget_) {
    budget_->RestoreRate(state->accept_rate > 0 ? state->accept_rate : AcceptBudget::kDoneRate,
                         loop_.now());
  }
}

void Control::SaveStateFile() {
  if (config_.process.state_file.empty()) return;
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
