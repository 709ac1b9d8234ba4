#include "lb/control/pool_control.h"

#include <netinet/in.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "net/base/check.h"
#include "net/proxy_protocol/proxy_protocol.h"
#include "net/report/log.h"
#include "net/xmpp/starttls.h"

namespace lb {
namespace {

constexpr net::Duration kTick = std::chrono::milliseconds(100);
constexpr net::Duration kMeasureEvery = std::chrono::seconds(1);
// A ramped weight is followed in steps of this time: each is a new snapshot.
constexpr net::Duration kRampStep = std::chrono::seconds(1);
// Operations that name a node's address have long been submitted by then.
constexpr net::Duration kRetireAfter = std::chrono::seconds(5);

int Seconds(net::Duration duration) {
  return static_cast<int>((duration + std::chrono::milliseconds(999)) / std::chrono::seconds(1));
}

CheckTiming TimingOf(const CheckConfig& config) {
  HealthStart start = HealthStart::kChecking;
  if (config.start == CheckStart::kUp) start = HealthStart::kUp;
  if (config.start == CheckStart::kDown) start = HealthStart::kDown;
  return {.interval = config.interval,
          .fast_interval = config.fast_interval,
          .timeout = config.timeout,
          .rise = config.rise,
          .fall = config.fall,
          .jitter = config.jitter,
          .start = start};
}

// The PROXY header of a connection that is the balancer's own (PROXY protocol, 2.1 and 2.2).
std::string OwnProxyHeader(SendProxy version) {
  switch (version) {
    case SendProxy::kOff:
      return {};
    case SendProxy::kV1:
      return "PROXY UNKNOWN\r\n";
    case SendProxy::kV2:
      break;
  }
  std::array<uint8_t, 16> header{};
  auto size = net::EncodeProxyV2Local(header);
  CHECK(size.has_value());
  return {reinterpret_cast<const char*>(header.data()), *size};
}

net::CheckSpec SpecOf(const CheckConfig& config) {
  net::CheckSpec spec{.type = config.type,
                      .preamble = OwnProxyHeader(config.send_proxy),
                      .method = config.method,
                      .path = config.path,
                      .host = config.host,
                      .body = config.body,
                      .user = config.user,
                      .password = config.password,
                      .expect_status = config.expect_status,
                      .expect_json = config.expect_json,
                      .expect_value = config.expect_value,
                      .to = config.to,
                      .xmlns = config.xmlns};
  for (const net::HttpHeader& header : config.headers) {
    spec.headers.emplace_back(header.name, header.value);
  }
  return spec;
}

// The node's address on another port; a Unix socket has no other.
net::SocketName OnPort(const net::SocketName& address, uint16_t port) {
  if (port == 0 || address.family() == AF_UNIX) return address;
  auto ip = net::Address::FromSockaddr(address.get(), address.size());
  CHECK(ip.has_value());
  return ip->WithPort(port).ToSocketName();
}

void SetNodeTls(const PoolConfig& config, std::shared_ptr<const net::TlsClientContext> tls,
                PoolSettings& settings) {
  settings.node_tls = config.tls;
  settings.tls = std::move(tls);
  settings.tls_verify_name = config.tls_verify ? config.tls_verify_name : "";
  settings.tls_sni = config.tls_sni;
  if (config.tls != NodeTls::kStartTls) return;
  auto starttls = std::make_shared<net::StartTlsClientOptions>();
  starttls->kind = config.starttls_server ? net::StreamKind::kServer : net::StreamKind::kClient;
  starttls->to = config.starttls_to;
  settings.starttls = std::move(starttls);
}

std::shared_ptr<PoolSettings> SettingsOf(const PoolConfig& config,
                                         const std::vector<net::SocketName>& sources,
                                         std::shared_ptr<const net::TlsClientContext> tls) {
  auto settings = std::make_shared<PoolSettings>();
  settings->name = config.name;
  settings->connect_timeout = config.connect_timeout;
  settings->queue_timeout = config.queue_timeout;
  settings->idle_timeout = config.idle_timeout;
  settings->fin_timeout = config.fin_timeout;
  settings->retries = config.retries;
  settings->redispatch = config.redispatch;
  settings->queue_max = config.queue_max;
  settings->pending_bytes_max = config.pending_bytes_max;
  settings->splice_after = config.splice_after;
  settings->passive_errors = config.passive_errors;
  settings->hashes_source = config.balance == Policy::kSource || config.balance == Policy::kMaglev;
  settings->keepalive_idle_s = Seconds(config.keepalive_idle);
  settings->keepalive_interval_s = Seconds(config.keepalive_interval);
  settings->keepalive_count = static_cast<int>(config.keepalive_count);
  settings->user_timeout_ms =
      static_cast<int>(config.tcp_user_timeout / std::chrono::milliseconds(1));
  settings->send_proxy = config.send_proxy;
  settings->proxy_unique_id = config.proxy_unique_id;
  settings->proxy_crc32c = config.proxy_crc32c;
  settings->proxy_ssl = config.proxy_ssl;
  settings->proxy_alpn = config.proxy_alpn;
  settings->proxy_authority = config.proxy_authority;
  settings->proxy_channel_binding = config.proxy_channel_binding;
  SetNodeTls(config, std::move(tls), *settings);
  for (const net::SocketName& source : sources) {
    (source.family() == AF_INET6 ? settings->sources_v6 : settings->sources_v4).push_back(source);
  }
  return settings;
}

bool SameAddress(const net::SocketName& a, const net::SocketName& b) {
  return net::AddressText(a.get(), a.size()) == net::AddressText(b.get(), b.size());
}

}  // namespace

PoolControl::PoolControl(net::EventLoop& loop, Engine& engine, uint16_t id, PoolConfig config,
                         const std::vector<ResolvedNode>& nodes, uint64_t seed,
                         const std::vector<net::SocketName>& sources,
                         std::shared_ptr<const net::TlsClientContext> tls)
    : loop_(loop),
      engine_(engine),
      id_(id),
      config_(std::move(config)),
      sources_(sources),
      tls_(std::move(tls)),
      random_(seed),
      last_measure_(loop.now()) {
  SetNodes(nodes, false);
  Publish(true);
  StartDiscovery();
  tick_ = loop_.After(kTick, [this] { Tick(); });
}

PoolControl::~PoolControl() {
  *alive_ = false;
  discovery_.reset();
  loop_.CancelTimer(tick_);
  for (const EntryPtr& entry : entries_) Retire(*entry);
}

void PoolControl::HandOver(RetiredNodes& to) {
  for (const EntryPtr& entry : entries_) to.Add(loop_.now(), entry->node);
  to.TakeAll(retired_);
}

// --- Nodes ------------------------------------------------------------------------------------

void RetiredNodes::Sweep(net::Time now) {
  nodes_.remove_if([&](const auto& retired) {
    return now - retired.first > kRetireAfter && retired.second.use_count() == 1 &&
           retired.second->unused();
  });
}

PoolControl::Entry* PoolControl::Find(std::string_view node) const {
  for (const EntryPtr& entry : entries_) {
    if (entry->config.name == node) return entry.get();
  }
  return nullptr;
}

PoolControl::Entry* PoolControl::FindOrRefuse(std::string_view node, Done& refusal) const {
  Entry* entry = Find(node);
  if (entry == nullptr) {
    refusal = std::unexpected(
        Refusal{"pool '" + name() + "' has no node '" + std::string(node) + "'", true});
  }
  return entry;
}

std::vector<std::string> PoolControl::NodeNames() const {
  std::vector<std::string> names;
  for (const EntryPtr& entry : entries_) names.push_back(entry->config.name);
  return names;
}

NodeHealthConfig PoolControl::HealthConfig(bool was_up) const {
  NodeHealthConfig health{.cluster_status = config_.status.has_value(),
                          .cluster_fall = config_.status ? config_.status->fall : 3,
                          .passive_errors = config_.passive_errors};
  for (const CheckConfig& check : config_.checks) {
    health.checks.push_back(TimingOf(check));
    // New checks must prove what they say of a node that serves.
    if (was_up) health.checks.back().start = HealthStart::kUp;
  }
  return health;
}

PoolControl::EntryPtr PoolControl::MakeEntry(const ResolvedNode& config, bool discovered) {
  auto entry = std::make_unique<Entry>();
  entry->config = config;
  entry->discovered = discovered;
  entry->node = std::make_shared<Node>(name(), config.name, config.address, config.weight,
                                       config.connections_max);
  if (balancer_ != nullptr) entry->warmup.Observe(false, "", loop_.now());  // joins a running pool
  SetUpHealth(*entry, false, AdminState::kReady);
  return entry;
}

void PoolControl::SetUpHealth(Entry& entry, bool was_up, AdminState admin) {
  Retire(entry);  // its running checks
  entry.health = std::make_unique<NodeHealth>(HealthConfig(was_up));
  if (admin != AdminState::kReady) entry.health->SetAdmin(admin);
  entry.checks.clear();
  for (const CheckConfig& check : config_.checks) {
    entry.checks.push_back({.spec = SpecOf(check),
                            .address = OnPort(entry.config.address, check.port),
                            .timeout = check.timeout});
  }
  for (size_t i = 0; i < entry.checks.size(); ++i) {
    ScheduleCheck(entry, i, entry.health->check(i).FirstIn(random_));
  }
  if (config_.status) ScheduleFetch(entry, net::Duration::zero());
  ObserveWarmup(entry);
}

// A node that is still being looked at for the first time is neither up nor down: with the balancer
// itself it starts warm. One that joined later starts cold (MakeEntry).
bool PoolControl::ObserveWarmup(Entry& entry) {
  if (entry.health->condition() == NodeCondition::kChecking) return false;
  return entry.warmup.Observe(entry.health->choosable(), entry.health->incarnation(), loop_.now());
}

void PoolControl::Retire(Entry& entry) {
  for (CheckRun& check : entry.checks) {
    if (check.scheduled) loop_.CancelTimer(check.timer);
    check.scheduled = false;
    check.probe.reset();
  }
  if (entry.fetch_scheduled) loop_.CancelTimer(entry.fetch_timer);
  entry.fetch_scheduled = false;
  entry.fetch.reset();
}

void PoolControl::SetNodes(const std::vector<ResolvedNode>& nodes, bool discovered) {
  std::vector<EntryPtr> kept;
  for (EntryPtr& entry : entries_) {
    if (entry->discovered != discovered) kept.push_back(std::move(entry));
  }
  std::erase(entries_, nullptr);
  for (const ResolvedNode& config : nodes) {
    auto same = std::find_if(entries_.begin(), entries_.end(), [&](const EntryPtr& entry) {
      return entry && entry->config.name == config.name &&
             SameAddress(entry->config.address, config.address);
    });
    if (same != entries_.end()) {
      Entry& entry = **same;
      entry.config = config;
      entry.node->SetConnectionsMax(config.connections_max);
      kept.push_back(std::move(*same));
    } else {
      kept.push_back(MakeEntry(config, discovered));
    }
  }
  std::erase(entries_, nullptr);
  for (EntryPtr& gone : entries_) {
    Retire(*gone);
    net::Log(
        net::LogLevel::kInfo, "lb", "node left the pool; its connections stay",
        {{"pool", name()}, {"node", gone->config.name}, {"connections", gone->node->active()}});
    retired_.Add(loop_.now(), std::move(gone->node));
  }
  entries_ = std::move(kept);
  split_filter_.Reset();
  dirty_ = true;
}

void PoolControl::Reconfigure(PoolConfig config, const std::vector<ResolvedNode>& nodes,
                              const std::vector<net::SocketName>& sources,
                              std::shared_ptr<const net::TlsClientContext> tls) {
  const bool discovery_changed = config.discover != config_.discover;
  const bool checks_changed = config.checks != config_.checks || config.status != config_.status ||
                              config.passive_errors != config_.passive_errors;
  config_ = std::move(config);
  sources_ = sources;
  tls_ = std::move(tls);
  SetNodes(nodes, false);
  if (!config_.discover) SetNodes({}, true);
  if (checks_changed) {
    for (const EntryPtr& entry : entries_) {
      SetUpHealth(*entry, entry->health->choosable(), entry->health->admin());
    }
  }
  Publish(true);
  if (discovery_changed) StartDiscovery();
}

void PoolControl::StartDiscovery() {
  discovery_.reset();
  if (!config_.discover) return;
  discovery_ = std::make_unique<Discovery>(
      name(), *config_.discover,
      [this, &loop = loop_, alive = alive_](const std::vector<DiscoveredNode>& found) {
        std::vector<ResolvedNode> nodes;
        for (const DiscoveredNode& node : found) {
          nodes.push_back({.name = node.name,
                           .address = node.address.ToSocketName(),
                           .address_text = node.address.ToString(),
                           .weight = node.weight,
                           .backup = node.backup});
        }
        loop.Post([this, alive, nodes = std::move(nodes)] {
          if (*alive) Discovered(nodes);
        });
      });
}

void PoolControl::Discovered(const std::vector<ResolvedNode>& nodes) {
  SetNodes(nodes, true);
  Publish(false);
}

// --- Checks -----------------------------------------------------------------------------------

void PoolControl::ScheduleCheck(Entry& entry, size_t index, net::Duration in) {
  CheckRun& check = entry.checks[index];
  check.scheduled = true;
  check.timer = loop_.After(in, [this, &entry, index] {
    entry.checks[index].scheduled = false;
    RunCheck(entry, index);
  });
}

void PoolControl::RunCheck(Entry& entry, size_t index) {
  CheckRun& check = entry.checks[index];
  if (!entry.health->checks_wanted()) {
    ScheduleCheck(entry, index, entry.health->check(index).NextIn(random_));
    return;
  }
  check.probe = std::make_unique<net::Probe>(
      loop_, check.address, check.spec.preamble,
      net::MakeCheckScript(check.spec, net::AddressText(check.address.get(), check.address.size())),
      check.timeout, [this, &entry, index](bool ok, const std::string& why) {
        // The probe may not destroy itself from inside its own report.
        auto keep = std::shared_ptr<net::Probe>(std::move(entry.checks[index].probe));
        loop_.Post([keep] {});
        auto changed = entry.health->OnCheckResult(index, ok, why);
        ScheduleCheck(entry, index, entry.health->check(index).NextIn(random_));
        AfterHealth(entry, std::move(changed));
      });
}

void PoolControl::ScheduleFetch(Entry& entry, net::Duration in) {
  entry.fetch_scheduled = true;
  entry.fetch_timer = loop_.After(in, [this, &entry] {
    entry.fetch_scheduled = false;
    if (!entry.health->checks_wanted()) {
      ScheduleFetch(entry, config_.status->interval);
      return;
    }
    const net::SocketName address = OnPort(entry.config.address, config_.status->port);
    entry.fetch = std::make_unique<net::HttpFetch>(
        loop_, address, net::AddressText(address.get(), address.size()), config_.status->path,
        config_.status->timeout, kClusterStatusMax,
        [this, &entry](std::expected<std::string, std::string> body) {
          auto keep = std::shared_ptr<net::HttpFetch>(std::move(entry.fetch));
          loop_.Post([keep] {});
          ScheduleFetch(entry, config_.status->interval);
          OnCluster(entry, std::move(body));
        });
  });
}

void PoolControl::OnCluster(Entry& entry, std::expected<std::string, std::string> body) {
  NodeHealth::Changed changed;
  if (body) {
    auto status = ParseClusterStatus(*body);
    if (status) {
      entry.cluster_error.clear();
      changed = entry.health->OnClusterStatus(*status);
    } else {
      entry.cluster_error = status.error().ToString();
      changed = entry.health->OnClusterError(entry.cluster_error);
    }
  } else {
    entry.cluster_error = body.error();
    changed = entry.health->OnClusterError(entry.cluster_error);
  }
  AfterHealth(entry, std::move(changed));
  if (config_.status && config_.status->netsplit) JudgeSplit();
}

void PoolControl::JudgeSplit() {
  std::vector<ClusterReport> reports;
  for (const EntryPtr& entry : entries_) {
    reports.push_back({.name = entry->config.name,
                       .status = entry->health->cluster(),
                       .error = entry->cluster_error});
  }
  const bool was_split = split_.split;
  split_ = split_filter_.Apply(DecideNetsplit(reports));
  if (split_.split != was_split) {
    net::Log(split_.split ? net::LogLevel::kError : net::LogLevel::kInfo, "lb",
             split_.split ? "netsplit" : "netsplit is over",
             {{"pool", name()}, {"views", split_.summary}});
  }
  for (size_t i = 0; i < entries_.size() && i < split_.nodes.size(); ++i) {
    AfterHealth(*entries_[i],
                entries_[i]->health->OnSplit(split_.nodes[i].verdict, split_.nodes[i].why));
  }
}

void PoolControl::OnPassiveErrors(const Node* node, uint32_t errors) {
  size_t down = 0;
  for (const EntryPtr& entry : entries_) down += entry->health->down_passively() ? 1U : 0U;
  for (const EntryPtr& entry : entries_) {
    if (entry->node.get() != node) continue;
    AfterHealth(*entry, entry->health->OnConnectErrors(
                            errors, MayMarkDownPassively(down, entries_.size())));
  }
}

void PoolControl::Log(const Entry& entry, const NodeHealth::Changed& changed) {
  const bool good = changed->to == NodeCondition::kUp;
  net::Log(good ? net::LogLevel::kInfo : net::LogLevel::kWarn, "lb",
           "node is " + std::string(NodeConditionName(changed->to)),
           {{"pool", name()},
            {"node", entry.config.name},
            {"was", NodeConditionName(changed->from)},
            {"why", changed->why},
            {"connections", entry.node->active()}});
}

void PoolControl::AfterHealth(Entry& entry, NodeHealth::Changed changed) {
  if (changed) Log(entry, changed);
  if (ObserveWarmup(entry)) {
    if (config_.warmup.mode == WarmupMode::kOff) {
      entry.warmup.Stop();
    } else {
      net::Log(net::LogLevel::kInfo, "lb", "node warms up",
               {{"pool", name()}, {"node", entry.config.name}, {"for", config_.warmup.duration}});
    }
    entry.node->ResetErrors();
    StepWarmups();
    dirty_ = true;
  }
  // At once: the workers must not send another connection to a node that is down.
  if (changed || dirty_) Publish(false);
}

// --- The clock --------------------------------------------------------------------------------

void PoolControl::Tick() {
  tick_ = loop_.After(kTick, [this] { Tick(); });
  StepWarmups();
  StepPaces();
  if (loop_.now() - last_measure_ >= kMeasureEvery) MeasureArrivals();
  if (dirty_) Publish(false);
  retired_.Sweep(loop_.now());
}

void PoolControl::StepWarmups() {
  for (const EntryPtr& entry : entries_) {
    const WarmupStep before = entry->step;
    entry->step = entry->warmup.At(config_.warmup, loop_.now());
    if (entry->step.done && before.done) continue;
    entry->node->SetAdmissionRate(entry->step.rate, loop_.now());
    const bool ramped = entry->step.weight_factor != before.weight_factor &&
                        loop_.now() - last_publish_ >= kRampStep;
    if (entry->step.done != before.done || entry->step.share_cap != before.share_cap || ramped) {
      dirty_ = true;
    }
    if (entry->step.done) {
      net::Log(
          net::LogLevel::kInfo, "lb", "node is warm",
          {{"pool", name()}, {"node", entry->config.name}, {"connections", entry->node->active()}});
    }
  }
}

void PoolControl::StepPaces() {
  for (const EntryPtr& entry : entries_) {
    if (!entry->pace) continue;
    Pace& pace = *entry->pace;
    const uint64_t left = entry->node->active();
    const ShutPlan::Due due = pace.plan.Ask(left, loop_.now());
    if (due.now > 0) {
      // Each worker's part, in turn: who has fewer leaves the rest to the next.
      uint64_t wanted = due.now;
      const Node* node = entry->node.get();
      engine_.AskAll([&](ProxyWorker& worker) {
        if (wanted == 0) return;
        wanted -= worker.ShutNode(node, static_cast<uint32_t>(std::min<uint64_t>(wanted, 1U << 30)),
                                  pace.reason);
      });
    }
    const uint64_t now_left = entry->node->active();
    if (now_left == 0 && !pace.drain) entry->pace.reset();
  }
}

void PoolControl::MeasureArrivals() {
  const double seconds = net::Seconds(loop_.now() - last_measure_);
  last_measure_ = loop_.now();
  for (const EntryPtr& entry : entries_) {
    const uint64_t arrivals = entry->node->arrivals();
    entry->arrivals_per_s = static_cast<double>(arrivals - entry->arrivals_seen) / seconds;
    entry->arrivals_seen = arrivals;
  }
}

void PoolControl::Publish(bool settings_too) {
  dirty_ = false;
  last_publish_ = loop_.now();
  std::vector<BalancerNode> nodes;
  for (const EntryPtr& entry : entries_) {
    const double factor = entry->step.done ? 1.0 : entry->step.weight_factor;
    const double scaled = std::round(WeightOf(*entry) * kWeightScale * factor);
    // A ramp never rounds a node out of the choice.
    const uint32_t least = WeightOf(*entry) > 0 ? 1U : 0U;
    entry->node->SetEffectiveWeight(std::max(least, static_cast<uint32_t>(scaled)));
    nodes.push_back({.name = entry->config.name,
                     .state = entry->node,
                     .weight = WeightOf(*entry),
                     .backup = entry->config.backup,
                     .availability = entry->health->availability(),
                     .why = entry->health->why(),
                     .share_cap = entry->step.done ? 0 : entry->step.share_cap});
  }
  balancer_ = std::make_shared<const Balancer>(
      std::move(nodes), BalancerOptions{.policy = config_.balance,
                                        .bounded_load = config_.bounded_load,
                                        .panic_threshold = config_.panic_threshold});
  if (settings_too) {
    std::shared_ptr<const PoolSettings> settings = SettingsOf(config_, sources_, tls_);
    engine_.PostAll([id = id_, settings, balancer = balancer_](ProxyWorker& worker) {
      worker.SetPool(id, settings, balancer);
    });
  } else {
    engine_.PostAll([id = id_, balancer = balancer_](ProxyWorker& worker) {
      worker.SetBalancer(id, balancer);
    });
  }
}

// --- Views ------------------------------------------------------------------------------------

NodeView PoolControl::ViewOf(const Entry& entry, const NodeExplanation& explanation) const {
  const Node& node = *entry.node;
  NodeView view;
  view.name = entry.config.name;
  view.address = entry.config.address_text;
  view.state = NodeConditionName(entry.health->condition());
  if (entry.health->choosable() && entry.warmup.warming()) view.state = "warming";
  view.why = entry.health->why();
  view.admin = AdminStateName(entry.health->admin());
  view.weight = WeightOf(entry);
  view.weight_overridden = entry.weight.has_value();
  view.effective_weight = explanation.effective_weight;
  view.share_expected = explanation.share_expected;
  view.active = node.active();
  view.connections_max = node.connections_max();
  view.arrivals_per_s = entry.arrivals_per_s;
  if (entry.warmup.warming()) {
    view.warmup = std::clamp(net::Seconds(entry.warmup.Elapsed(loop_.now())) /
                                 std::max(net::Seconds(config_.warmup.duration), 1e-9),
                             0.0, 1.0);
    if (entry.step.rate < net::kRateUnlimited) view.warmup_rate = entry.step.rate;
  }
  view.arrivals = node.arrivals();
  view.connects = node.connects();
  view.connect_failures = node.connect_failures();
  view.forced = node.forced();
  view.passed_warmup = node.passed_no_token() + node.passed_share_cap();
  view.passed_full = node.passed_full() + node.passed_bound();
  view.explanation = explanation.why;
  for (size_t i = 0; i < entry.health->checks(); ++i) {
    const HealthState& check = entry.health->check(i);
    view.checks.push_back({std::string(net::CheckTypeName(entry.checks[i].spec.type)),
                           std::string(HealthStatusName(check.status())), check.why()});
  }
  if (config_.status) {
    const auto& cluster = entry.health->cluster();
    view.cluster_state = cluster ? ClusterStateName(cluster->state) : "unknown";
    view.cluster_sessions = cluster ? cluster->sessions : 0;
    view.cluster_error = entry.cluster_error;
  }
  if (entry.pace) {
    view.drain_active = true;
    view.drain_remaining = node.active();
    view.drain_rate = entry.pace->rate;
  }
  return view;
}

bool PoolControl::Settled() const {
  return std::all_of(entries_.begin(), entries_.end(), [](const EntryPtr& entry) {
    return entry->health->condition() != NodeCondition::kChecking;
  });
}

PoolView PoolControl::View() const {
  PoolView view;
  view.name = name();
  view.balance = PolicyName(config_.balance);
  view.split = split_.split;
  if (split_.split) view.summary = split_.summary;
  view.panic = balancer_->panic();
  view.on_backups = balancer_->on_backups();
  view.candidates = balancer_->candidates();
  for (const EntryPtr& entry : entries_) view.arrivals_per_s += entry->arrivals_per_s;
  const auto explanations = balancer_->Explain(loop_.now(), view.arrivals_per_s);
  for (size_t i = 0; i < entries_.size(); ++i) {
    view.nodes.push_back(ViewOf(*entries_[i], explanations[i]));
    if (entries_[i]->health->choosable()) ++view.nodes_up;
  }
  return view;
}

std::string PoolControl::WhyFrom(const net::Address& source) const {
  // A choice of our own, given back at once. It costs a warming node a token, no more.
  PickLocal local(random_.Peek());
  local.Adopt(*balancer_);
  const PickResult picked =
      balancer_->Pick({.source_hash = source.HashIp(0), .now = loop_.now()}, local);
  if (picked.node == nullptr) {
    return "nowhere: " + std::string(PickFailureName(picked.failure));
  }
  picked.node->Release();
  const std::string node = entries_[picked.index]->config.name;
  if (config_.balance == Policy::kSource || config_.balance == Policy::kMaglev) {
    return "to " + node + ": " + std::string(PolicyName(config_.balance)) +
           " sends this address there while it is up and not over its bound";
  }
  std::string shares;
  for (const NodeExplanation& one : balancer_->Explain(loop_.now(), View().arrivals_per_s)) {
    if (!one.candidate) continue;
    shares += (shares.empty() ? "" : ", ") + one.name + " " +
              std::to_string(static_cast<int>(std::round(100 * one.share_expected))) + "%";
  }
  return "to " + node + " by " + std::string(PolicyName(config_.balance)) +
         ", this time; the chances are " + shares;
}

uint64_t PoolControl::Active(std::string_view node) const {
  const Entry* entry = Find(node);
  return entry == nullptr ? 0 : entry->node->active();
}

// --- Operators --------------------------------------------------------------------------------

Done PoolControl::Ready(std::string_view node) {
  Done result;
  Entry* entry = FindOrRefuse(node, result);
  if (entry == nullptr) return result;
  entry->pace.reset();
  AfterHealth(*entry, entry->health->SetAdmin(AdminState::kReady));
  return "node " + entry->config.name +
         " is ready: " + std::string(NodeConditionName(entry->health->condition()));
}

Done PoolControl::Maint(std::string_view node) {
  Done result;
  Entry* entry = FindOrRefuse(node, result);
  if (entry == nullptr) return result;
  AfterHealth(*entry, entry->health->SetAdmin(AdminState::kMaint));
  return "node " + entry->config.name +
         " is in maintenance: it gets no connections and no checks; " +
         std::to_string(entry->node->active()) + " connections stay";
}

Done PoolControl::Drain(std::string_view node, const DrainOrder& order) {
  Done result;
  Entry* entry = FindOrRefuse(node, result);
  if (entry == nullptr) return result;
  std::vector<DrainNode> nodes;
  size_t target = 0;
  for (size_t i = 0; i < entries_.size(); ++i) {
    const Entry& other = *entries_[i];
    if (&other == entry) target = i;
    net::Duration warm_in{};
    if (other.warmup.warming()) {
      warm_in = std::max(net::Duration::zero(),
                         config_.warmup.duration - other.warmup.Elapsed(loop_.now()));
    }
    nodes.push_back({.name = other.config.name,
                     .choosable = other.health->choosable() && WeightOf(other) > 0,
                     .backup = other.config.backup,
                     .active = other.node->active(),
                     .connections_max = other.node->connections_max(),
                     .admission_rate = other.step.done ? net::kRateUnlimited : other.step.rate,
                     .warm_in = warm_in});
  }
  const DrainRequest request{.rate = order.rate, .deadline = order.deadline};
  const DrainVerdict verdict = CheckDrain(nodes, target, request);
  if (!verdict.allowed && !order.force) {
    return std::unexpected(Refusal{verdict.why + "; --force drains all the same"});
  }
  if (order.rate > 0 || order.deadline > net::Duration::zero()) {
    entry->pace =
        Pace{.reason = EndReason::kDrained,
             .rate = order.rate,
             .plan = ShutPlan(request, entry->node->active(),
                              order.force ? net::kRateUnlimited : verdict.safe_rate, loop_.now()),
             .drain = true};
  }
  AfterHealth(*entry, entry->health->SetAdmin(AdminState::kDrain));
  return "node " + entry->config.name + " drains " + std::to_string(entry->node->active()) +
         " connections; " + verdict.why;
}

Done PoolControl::Shut(std::string_view node, double rate) {
  Done result;
  Entry* entry = FindOrRefuse(node, result);
  if (entry == nullptr) return result;
  const uint64_t connections = entry->node->active();
  const double pace = rate > 0 ? rate : net::kRateUnlimited;
  entry->pace =
      Pace{.reason = EndReason::kShut,
           .rate = pace < net::kRateUnlimited ? pace : 0,
           .plan = ShutPlan({.rate = pace}, connections, net::kRateUnlimited, loop_.now())};
  return "ending " + std::to_string(connections) + " connections to " + entry->config.name;
}

Done PoolControl::SetWeight(std::string_view node, std::optional<uint32_t> weight) {
  Done result;
  Entry* entry = FindOrRefuse(node, result);
  if (entry == nullptr) return result;
  if (weight && *weight > kWeightMax) {
    return std::unexpected(Refusal{"a weight is at most " + std::to_string(kWeightMax)});
  }
  entry->weight = weight;
  Publish(false);
  return "node " + entry->config.name + " has weight " + std::to_string(WeightOf(*entry));
}

// --- What outlives the process ----------------------------------------------------------------

std::vector<PoolControl::SavedNode> PoolControl::Save() const {
  std::vector<SavedNode> saved;
  for (const EntryPtr& entry : entries_) {
    saved.push_back({.name = entry->config.name,
                     .admin = entry->health->admin(),
                     .weight = entry->weight,
                     .warmup = entry->warmup.Save(loop_.now()),
                     .was_up = entry->health->choosable()});
  }
  return saved;
}

void PoolControl::Restore(const std::vector<SavedNode>& saved, bool warm) {
  for (const SavedNode& node : saved) {
    Entry* entry = Find(node.name);
    if (entry == nullptr) continue;
    entry->weight = node.weight;
    if (warm && node.was_up) SetUpHealth(*entry, true, node.admin);
    if (node.admin != entry->health->admin()) entry->health->SetAdmin(node.admin);
    if (warm) entry->warmup.Restore(node.warmup, loop_.now());
  }
  StepWarmups();
  Publish(false);
}

}  // namespace lb
