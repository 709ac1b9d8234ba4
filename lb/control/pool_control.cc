#include "lb/control/pool_control.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "net/report/log.h"
#include "net/xmpp/starttls.h"

namespace lb {
namespace {

constexpr net::Duration kTick = std::chrono::milliseconds(100);
constexpr net::Duration kArrivalsMeasuredEvery = std::chrono::seconds(1);
// A ramped weight is followed in steps of this time: each is a new snapshot.
constexpr net::Duration kRampStep = std::chrono::seconds(1);
// A name that cannot be looked up is asked for again after 1, 2, 4 … seconds, up to this.
constexpr net::Duration kLookUpAgainMax = std::chrono::seconds(30);

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
          .start = start,
          .after_maint = start};
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
  settings->client_idle_timeout = config.client_idle_timeout;
  settings->node_idle_timeout = config.node_idle_timeout;
  settings->max_age = config.max_age;
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

}  // namespace

PoolControl::PoolControl(const Shared& shared, uint16_t id, PoolConfig config,
                         const std::vector<ResolvedNode>& nodes, uint64_t seed,
                         const std::vector<net::SocketName>& sources,
                         std::shared_ptr<const net::TlsClientContext> tls)
    : loop_(shared.loop),
      engine_(shared.engine),
      registry_(shared.registry),
      names_(shared.names),
      counts_(shared.counts),
      id_(id),
      config_(std::move(config)),
      sources_(sources),
      tls_(std::move(tls)),
      random_(seed),
      last_measure_(shared.loop.now()) {
  SetNodes(nodes, false);
  Publish(true);
  StartDiscovery();
  tick_ = loop_.After(kTick, [this] { Tick(); });
}

PoolControl::~PoolControl() {
  *alive_ = false;
  discovery_.reset();
  loop_.CancelTimer(tick_);
  for (const EntryPtr& entry : entries_) Leave(*entry);
}

// --- Nodes ------------------------------------------------------------------------------------

PoolNode* PoolControl::Find(std::string_view node) const {
  for (const EntryPtr& entry : entries_) {
    if (entry->config.name == node) return entry.get();
  }
  return nullptr;
}

PoolNode* PoolControl::FindOrRefuse(std::string_view node, Done& refusal) const {
  PoolNode* entry = Find(node);
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
                          .serves = was_up,
                          .passive_errors = config_.passive_errors};
  for (const CheckConfig& check : config_.checks) {
    health.checks.push_back(TimingOf(check));
    // New checks must prove what they say of a node that serves.
    if (was_up) health.checks.back().start = HealthStart::kUp;
  }
  return health;
}

PoolControl::EntryPtr PoolControl::MakeEntry(const ResolvedNode& config, bool discovered) {
  auto entry = std::make_unique<PoolNode>();
  entry->config = config;
  entry->discovered = discovered;
  entry->record =
      &registry_.Take(name(), config.name, config.address, config.weight, config.connections_max);
  entry->node = entry->record->node;
  entry->arrivals_seen = entry->node->arrivals();
  if (balancer_ != nullptr) entry->warmup.Observe(false, "", loop_.now());  // joins a running pool
  if (auto saved = std::exchange(entry->record->warmup, std::nullopt)) {
    entry->warmup.Restore(*saved, loop_.now());
  }
  SetUpHealth(*entry, false, entry->record->admin);
  ObserveWarmup(*entry);
  return entry;
}

// What belongs to the node's name stays: its connections, orders, and how far it was warm.
void PoolControl::Leave(PoolNode& entry) {
  loop_.CancelTimer(entry.lookup_again);
  registry_.Leave(*entry.record, loop_.now());
}

void PoolControl::SetUpHealth(PoolNode& entry, bool was_up, AdminState admin) {
  entry.checks.reset();  // they look at the health
  entry.health = std::make_unique<NodeHealth>(HealthConfig(was_up));
  if (admin != AdminState::kReady) entry.health->SetAdmin(admin);
  if (entry.config.resolved()) {
    StartChecks(entry);
  } else {
    entry.health->OnName(NodeHealth::Name::kPending,
                         "the name " + entry.config.host + " is being looked up");
  }
}

void PoolControl::StartChecks(PoolNode& entry) {
  entry.checks = std::make_unique<NodeChecks>(
      loop_, random_, *entry.health, config_, entry.config.address,
      NodeChecks::Events{
          .on_result =
              [this, &entry](size_t index, bool ok, const std::string& why) {
                AfterHealth(entry, entry.health->OnCheckResult(index, ok, why));
              },
          .on_status = [this, &entry](auto body) { OnCluster(entry, std::move(body)); },
          .on_not_checked =
              [this, &entry](const std::string& why) {
                entry.health->OnNotChecked(why);
                LOG_EVERY(std::chrono::seconds(10), net::LogLevel::kError, "lb",
                          "checks cannot be made; nodes stay as they are",
                          {{"pool", name()}, {"node", entry.config.name}, {"reason", why}});
              },
          .tls = [this] { return TlsOfChecks(); }});
}

// A node that is still being looked at for the first time is neither up nor down: with the balancer
// itself it starts warm. One that joined later starts cold (MakeEntry).
bool PoolControl::ObserveWarmup(PoolNode& entry) {
  if (entry.health->condition() == NodeCondition::kChecking) return false;
  return entry.warmup.Observe(entry.health->choosable(), entry.health->incarnation(), loop_.now());
}

void PoolControl::SetNodes(std::vector<ResolvedNode> nodes, bool discovered) {
  std::vector<EntryPtr> kept;
  for (EntryPtr& entry : entries_) {
    if (entry->discovered != discovered) kept.push_back(std::move(entry));
  }
  std::erase(entries_, nullptr);
  const auto named = [](const std::string& name) {
    return [&name](const EntryPtr& entry) { return entry && entry->config.name == name; };
  };
  // Of one name there is one node; what the file says of it holds.
  if (discovered) {
    std::erase_if(nodes, [&](const ResolvedNode& node) {
      return std::ranges::any_of(kept, named(node.name));
    });
  } else {
    std::erase_if(kept, [&](const EntryPtr& entry) {
      return std::ranges::any_of(
          nodes, [&](const ResolvedNode& node) { return node.name == entry->config.name; });
    });
  }
  for (ResolvedNode& config : nodes) {
    auto same = std::ranges::find_if(entries_, named(config.name));
    if (same != entries_.end() && !config.host.empty() && config.host == (*same)->config.host &&
        config.port == (*same)->config.port) {
      // Its name is looked up again; until then it stays where it was.
      config.address = (*same)->config.address;
      config.address_text = (*same)->config.address_text;
    }
    if (same != entries_.end() && config.resolved() &&
        SameAddress((*same)->config.address, config.address)) {
      PoolNode& entry = **same;
      entry.config = config;
      entry.node->SetConnectionsMax(config.connections_max);
      kept.push_back(std::move(*same));
    } else {
      if (same != entries_.end()) loop_.CancelTimer((*same)->lookup_again);
      kept.push_back(MakeEntry(config, discovered));
    }
  }
  for (EntryPtr& gone : entries_) {
    if (!gone || std::ranges::any_of(kept, named(gone->config.name))) continue;
    net::Log(
        net::LogLevel::kInfo, "lb", "node left the pool; its connections stay",
        {{"pool", name()}, {"node", gone->config.name}, {"connections", gone->node->active()}});
    Leave(*gone);
  }
  entries_ = std::move(kept);
  split_filter_.Reset();
  dirty_ = true;
  for (const EntryPtr& entry : entries_) {
    if (entry->discovered == discovered && !entry->config.host.empty()) LookUp(*entry);
  }
}

// --- Host names -------------------------------------------------------------------------------

void PoolControl::LookUp(PoolNode& entry) {
  names_.Ask(entry.config.host, [this, &loop = loop_, alive = alive_, node = entry.config.name,
                                 host = entry.config.host](net::NameLookup::Result found) {
    loop.Post([this, alive, node, host, found = std::move(found)]() mutable {
      if (*alive) OnLookedUp(node, host, std::move(found));
    });
  });
}

void PoolControl::OnLookedUp(const std::string& node, const std::string& host,
                             net::NameLookup::Result found) {
  PoolNode* entry = Find(node);
  if (entry == nullptr || entry->config.host != host) return;
  if (found) {
    entry->lookups_failed = 0;
    // Where it is now, if the name still says so; else the system's first choice.
    const auto present = std::ranges::find_if(*found, [&](const net::Address& address) {
      return SameAddress(address.WithPort(entry->config.port).ToSocketName(),
                         entry->config.address);
    });
    const net::Address chosen = present == found->end() ? found->front() : *present;
    if (present == found->end()) OnAddress(*entry, chosen.WithPort(entry->config.port));
    return;
  }
  const std::string why = "the name " + host + " cannot be looked up: " + found.error();
  if (entry->lookups_failed == 0) {
    net::Log(net::LogLevel::kWarn, "lb",
             entry->config.resolved() ? "node stays where it was" : "node has no address",
             {{"pool", name()}, {"node", node}, {"why", why}});
  }
  const uint32_t failed = std::min(entry->lookups_failed++, 16U);
  const net::Duration again =
      std::min<net::Duration>(kLookUpAgainMax, std::chrono::seconds(1) * (int64_t{1} << failed));
  entry->lookup_again = loop_.After(again, [this, alive = alive_, node] {
    if (PoolNode* waiting = *alive ? Find(node) : nullptr) LookUp(*waiting);
  });
  if (!entry->config.resolved()) {
    AfterHealth(*entry, entry->health->OnName(NodeHealth::Name::kFailed, why));
  }
}

// It is where its name says, from now on: checked anew there.
void PoolControl::OnAddress(PoolNode& entry, const net::Address& address) {
  const bool moved = entry.config.resolved();
  entry.config.address = address.ToSocketName();
  entry.config.address_text = address.ToString();
  entry.node->SetAddress(entry.config.address);
  entry.node->ResetErrors();
  net::Log(net::LogLevel::kInfo, "lb", "node has an address",
           {{"pool", name()},
            {"node", entry.config.name},
            {"host", entry.config.host},
            {"address", entry.config.address_text}});
  const NodeCondition before = entry.health->condition();
  dirty_ = true;
  if (moved) entry.warmup.Observe(false, "", loop_.now());  // another instance, perhaps
  SetUpHealth(entry, false, entry.record->admin);
  NodeHealth::Changed changed;
  if (entry.health->condition() != before) {
    changed = NodeTransition{before, entry.health->condition(), entry.health->why()};
  }
  AfterHealth(entry, std::move(changed));
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
  if (!config_.discover) discovered_.clear();
  SetNodes(discovered_, true);  // one that the file named until now may be DNS's again
  if (checks_changed) {
    split_ = {};  // of the status before
    for (const EntryPtr& entry : entries_) {
      SetUpHealth(*entry, entry->health->choosable(), entry->health->admin());
      ObserveWarmup(*entry);
    }
  }
  Publish(true);
  if (discovery_changed) StartDiscovery();
}

void PoolControl::StartDiscovery() {
  discovery_.reset();
  discovery_answered_ = !config_.discover;
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
      },
      net::DnsClientOptions{},
      [this, &loop = loop_, alive = alive_](net::DnsFailure) {
        loop.Post([this, alive] {
          if (*alive) discovery_answered_ = true;
        });
      });
}

void PoolControl::Discovered(const std::vector<ResolvedNode>& nodes) {
  discovery_answered_ = true;
  discovered_ = nodes;
  SetNodes(nodes, true);
  Publish(false);
}

// --- Checks -----------------------------------------------------------------------------------

void PoolControl::OnCluster(PoolNode& entry, std::expected<std::string, std::string> body) {
  NodeHealth::Changed changed;
  if (body) {
    auto status = ParseClusterStatus(*body);
    if (status) {
      entry.cluster_error.clear();
      entry.record->SeenIncarnation(status->incarnation);
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

// As the workers speak to the nodes, but that nothing is resumed.
net::CheckTls PoolControl::TlsOfChecks() {
  if (check_tls_ == nullptr) {
    if (auto made = net::TlsWorker::Create()) check_tls_ = std::move(*made);
  }
  PoolSettings settings;
  SetNodeTls(config_, tls_, settings);
  net::CheckTls tls{
      .worker = settings.tls == nullptr ? nullptr : check_tls_,
      .context = settings.tls,
      .peer = {.server_name = settings.tls_sni, .verify_name = settings.tls_verify_name}};
  if (settings.starttls != nullptr) tls.starttls = *settings.starttls;
  return tls;
}

void PoolControl::OnPassiveErrors(const Node* node, uint32_t errors, std::string_view how) {
  size_t down = 0;
  for (const EntryPtr& entry : entries_) down += entry->health->down_passively() ? 1U : 0U;
  for (const EntryPtr& entry : entries_) {
    if (entry->node.get() != node) continue;
    AfterHealth(*entry, entry->health->OnConnectErrors(
                            errors, MayMarkDownPassively(down, entries_.size()), loop_.now(), how));
  }
}

void PoolControl::Log(const PoolNode& entry, const NodeHealth::Changed& changed) {
  const bool good = changed->to == NodeCondition::kUp;
  net::Log(good ? net::LogLevel::kInfo : net::LogLevel::kWarn, "lb",
           "node is " + std::string(NodeConditionName(changed->to)),
           {{"pool", name()},
            {"node", entry.config.name},
            {"was", NodeConditionName(changed->from)},
            {"why", changed->why},
            {"connections", entry.node->active()}});
}

void PoolControl::AfterHealth(PoolNode& entry, NodeHealth::Changed changed) {
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
  for (const EntryPtr& entry : entries_) {
    if (auto changed = entry->health->OnTime(loop_.now())) {
      entry->node->ResetErrors();
      AfterHealth(*entry, std::move(changed));
    }
  }
  StepWarmups();
  StepPaces();
  if (loop_.now() - last_measure_ >= kArrivalsMeasuredEvery) MeasureArrivals();
  if (dirty_) Publish(false);
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

// A node that is down or cut off serves nobody, and who stays with it learns of that by its own
// timeouts only.
void PoolControl::StepDown(PoolNode& entry) {
  if (!config_.close_on_down || !entry.health->loses_sessions()) {
    if (entry.down_pace && entry.down_pace->ended() > 0) {
      net::Log(net::LogLevel::kInfo, "lb", "sessions of a node that was down were ended",
               {{"pool", name()},
                {"node", entry.config.name},
                {"ended", entry.down_pace->ended()},
                {"connections", entry.node->active()}});
    }
    entry.down_pace.reset();
    return;
  }
  if (!entry.down_pace) {
    entry.down_pace = DrainPace::ForDown(config_.on_down_rate, entry.node->active(), loop_.now());
  }
  entry.down_pace->Step(*entry.node, engine_, loop_.now());
}

void PoolControl::StepPaces() {
  for (const EntryPtr& entry : entries_) {
    StepDown(*entry);
    std::optional<DrainPace>& pace = entry->record->pace;
    if (pace && pace->Step(*entry->node, engine_, loop_.now())) entry->record->EndPace();
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
    const double scaled = std::round(entry->Weight() * kWeightScale * factor);
    // A ramp never rounds a node out of the choice.
    const uint32_t least = entry->Weight() > 0 ? 1U : 0U;
    entry->node->SetEffectiveWeight(std::max(least, static_cast<uint32_t>(scaled)));
    nodes.push_back({.name = entry->config.name,
                     .state = entry->node,
                     .weight = entry->Weight(),
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
    std::shared_ptr<PoolSettings> made = SettingsOf(config_, sources_, tls_);
    made->shared = counts_;
    const std::shared_ptr<const PoolSettings> settings = std::move(made);
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

bool PoolControl::NamesKnown() const {
  return discovery_answered_ && std::ranges::all_of(entries_, [](const EntryPtr& entry) {
           return entry->config.resolved() || entry->lookups_failed > 0;
         });
}

bool PoolControl::Settled() const {
  return NamesKnown() && std::all_of(entries_.begin(), entries_.end(), [](const EntryPtr& entry) {
           return entry->health->condition() != NodeCondition::kChecking;
         });
}

PoolFacts PoolControl::Facts() const {
  return {config_, entries_,    *balancer_,
          split_,  loop_.now(), counts_->queued.load(std::memory_order_relaxed)};
}

PoolView PoolControl::View() const { return ViewOf(Facts()); }

std::string PoolControl::WhyFrom(const net::Address& source) const {
  return lb::WhyFrom(Facts(), source, random_);
}

uint64_t PoolControl::Active(std::string_view node) const {
  const PoolNode* entry = Find(node);
  return entry == nullptr ? 0 : entry->node->active();
}

// --- What outlives the process ----------------------------------------------------------------

std::vector<PoolControl::SavedNode> PoolControl::Save() const {
  std::vector<SavedNode> saved;
  for (const EntryPtr& entry : entries_) {
    saved.push_back({.name = entry->config.name,
                     .admin = entry->record->admin,
                     .weight = entry->record->weight,
                     .warmup = entry->warmup.Save(loop_.now()),
                     .was_up = entry->health->choosable(),
                     .active = entry->node->active(),
                     .self_drain = entry->record->SelfDrainToSave()});
    if (!entry->discovered) continue;
    saved.back().address = entry->config.address_text;
    saved.back().dns_weight = entry->config.weight;
    saved.back().dns_backup = entry->config.backup;
  }
  return saved;
}

void PoolControl::Restore(const std::vector<SavedNode>& saved, bool warm) {
  // Nodes that DNS brought: those of the process before, until the first answer.
  for (const SavedNode& node : saved) {
    if (!warm || node.address.empty() || !config_.discover) continue;
    auto address = net::Address::Parse(node.address);
    if (!address) continue;
    discovered_.push_back({.name = node.name,
                           .address = address->ToSocketName(),
                           .address_text = node.address,
                           .weight = node.dns_weight,
                           .backup = node.dns_backup});
  }
  if (!discovered_.empty()) SetNodes(discovered_, true);
  for (const SavedNode& node : saved) {
    PoolNode* entry = Find(node.name);
    NodeRecord& record =
        entry != nullptr ? *entry->record : registry_.FindOrMake(name(), node.name, loop_.now());
    record.weight = node.weight;
    record.admin = node.admin;
    record.self_drain = node.self_drain;
    if (entry == nullptr) {  // it may come yet
      if (warm && node.warmup.warming) record.warmup = node.warmup;
      continue;
    }
    if (warm && node.was_up && entry->config.resolved()) {
      SetUpHealth(*entry, true, node.admin);
      ObserveWarmup(*entry);
    }
    if (node.admin != entry->health->admin()) entry->health->SetAdmin(node.admin);
    if (warm) entry->warmup.Restore(node.warmup, loop_.now());
  }
  StepWarmups();
  Publish(false);
}

}  // namespace lb
