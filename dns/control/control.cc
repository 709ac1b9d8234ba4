#include "dns/control/control.h"

#include <time.h>

#include <algorithm>
#include <numeric>
#include <utility>

#include "dns/config/reload_table.h"
#include "dns/pool/pool_sets.h"
#include "dns/serve/now.h"
#include "dns/zone/digest.h"
#include "net/report/log.h"

namespace dns {
namespace {

constexpr net::Duration kHousekeepingInterval = std::chrono::seconds(1);
// A peer's view older than so many of its intervals does not count.
constexpr int kPeerStaleIntervals = 5;

bool SameView(const Selection& a, const Selection& b) {
  return a.ttl == b.ttl && a.all_down == b.all_down && a.fallback == b.fallback &&
         a.members == b.members;
}

bool SameView(const PoolView& a, const PoolView& b) {
  if (!SameView(a.addresses, b.addresses) || a.addresses_down != b.addresses_down) return false;
  for (size_t i = 0; i < kServices.size(); ++i) {
    if (!SameView(a.services[i], b.services[i])) return false;
  }
  return true;
}

bool HasSecondaries(const ZoneConfig& zone) { return !zone.secondaries.empty(); }

std::vector<Selection*> SelectionsOf(PoolView& view) {
  std::vector<Selection*> all = {&view.addresses};
  for (Selection& selection : view.services) all.push_back(&selection);
  return all;
}

// Those of the balancers that were fit last and are still there, by name.
void TakeLastKnown(const PoolConfig& old, const PoolConfig& now, Selection& selection) {
  std::vector<Member> kept;
  for (Member member : selection.last_known) {
    const std::string& name = old.balancers[member.balancer].name;
    auto at = std::ranges::find(now.balancers, name, &BalancerConfig::name);
    if (at == now.balancers.end()) continue;
    member.balancer = static_cast<size_t>(at - now.balancers.begin());
    kept.push_back(member);
  }
  selection = {};
  selection.last_known = std::move(kept);
}

std::vector<std::string> AddressTexts(const BalancerConfig& balancer) {
  std::vector<std::string> texts;
  for (const net::Address& address : balancer.addresses) texts.push_back(address.IpToString());
  return texts;
}

constexpr uint32_t kAcmeTtl = 5;  // seconds

}  // namespace

std::string BalancerKey(const PoolConfig& pool, size_t balancer) {
  return pool.name + "/" + pool.balancers[balancer].name;
}

Control::Control(net::EventLoop& loop, Config config)
    : loop_(loop),
      config_(std::make_unique<Config>(std::move(config))),
      signatures_(ZoneBuilder::MakeSignatures(*config_)),
      serving_(transfers_, MakeUpdateSink()),
      state_file_(config_->state_file),
      started_at_(loop.now()) {}

Control::~Control() {
  prober_.reset();
  serving_.Stop(false);
}

uint32_t Control::UnixNow() const { return static_cast<uint32_t>(time(nullptr)); }

int64_t Control::UnixNowMs() const {
  timespec now{};
  clock_gettime(CLOCK_REALTIME, &now);
  return now.tv_sec * int64_t{1000} + now.tv_nsec / 1'000'000;
}

std::expected<std::unique_ptr<Control>, std::string> Control::Create(net::EventLoop& loop,
                                                                     Config config,
                                                                     InheritedSockets inherited) {
  std::unique_ptr<Control> control(new Control(loop, std::move(config)));
  if (std::string error = control->serving_.Open(*control->config_, std::move(inherited));
      !error.empty()) {
    return std::unexpected(error);
  }
  auto probe_tls = ProbeTls::Create();
  if (!probe_tls) return std::unexpected(probe_tls.error());
  control->probe_tls_ = std::move(*probe_tls);
  auto tls = Serving::LoadTls(*control->config_);
  if (!tls) return std::unexpected(tls.error());
  control->serving_.SetTls(std::move(*tls));
  control->MakeRuntimes(*control->config_, &control->runtimes_);
  control->next_steps_.resize(control->config_->pools.size());
  control->LoadState();
  control->views_.resize(control->config_->pools.size());
  control->lives_.resize(control->config_->pools.size());
  for (size_t i = 0; i < control->runtimes_.size(); ++i) control->RefreshPool(i, loop.now());
  control->signed_at_ = control->UnixNow();
  control->StepSerials(control->AllZones());
  control->compiler_ =
      ZoneBuilder::MakeCompiler(control->config_->zones, control->config_->PoolConfigs());
  control->TellCompiler();
  control->publisher_ = std::make_unique<Publisher>(
      control->compiler_->Build(control->views_, control->UnixNow(), *control->signatures_));
  control->notifier_ = std::make_unique<Notifier>(loop, [self = control.get()](const Name& apex) {
    self->serials_.Announced(apex.ToString());
    self->SaveState();  // at once: who is told again asks again
  });
  control->PublishTransferSource();
  control->secondaries_.Configure(*control->config_);
  return control;
}

std::string Control::Start() {
  // What Create() made is saved before it can be seen; until here the file is an older process's.
  owns_state_ = true;
  SaveState();
  if (std::string error = serving_.Start(*config_, *publisher_); !error.empty()) return error;
  StartChecks();
  started_ = true;
  // Also what an older process had no time to tell.
  std::vector<size_t> untold = AllZones();
  std::erase_if(untold, [&](size_t z) {
    return serials_.IsAnnounced(config_->zones[z].zone->apex.ToString());
  });
  Notify(untold);
  ArmAcmeTimer();
  ArmStepTimer();
  AskPeers();
  secondaries_.Start();
  Housekeeping();
  return "";
}

void Control::Stop(bool handed_over, net::Task done) {
  stopping_ = true;
  prober_.reset();
  secondaries_.Stop();
  // After an upgrade the file is the new process's.
  if (!handed_over) SaveState(true);
  owns_state_ = false;
  serving_.Stop(!handed_over);
  loop_.Post(std::move(done));
}

// ---- Configuration -----------------------------------------------------------------------------

// What stands beside the zones' records: the ACME challenges.
std::vector<Record> Control::OverlayRecords() const {
  std::vector<Record> records;
  for (const Acme& acme : acme_) {
    Bytes rdata = {static_cast<uint8_t>(acme.token.size())};
    rdata.insert(rdata.end(), acme.token.begin(), acme.token.end());
    records.push_back({acme.owner, Type::kTxt, kAcmeTtl, rdata});
  }
  return records;
}

// Tells the compiler what has changed beside the pools.
void Control::TellCompiler() {
  for (const ZoneConfig& zone : config_->zones) {
    compiler_->SetSerial(zone.zone->apex, SerialOf(zone));
  }
  compiler_->SetOverlay(OverlayRecords());
}

void Control::MakeRuntimes(const Config& config, std::vector<PoolRuntime>* out) const {
  for (const PoolSettings& settings : config.pools) {
    PoolRuntime runtime;
    for (size_t i = 0; i < settings.pool.balancers.size(); ++i) {
      runtime.balancers.emplace_back(settings.policy, settings.checks,
                                     AddressTexts(settings.pool.balancers[i]));
    }
    runtime.standings.resize(settings.pool.balancers.size(), Standing::kChecking);
    out->push_back(std::move(runtime));
  }
}

void Control::Reload(ReloadDone done) {
  reloads_waiting_.push_back(std::move(done));
  StartBuild();
}

void Control::StartBuild() {
  if (builder_.busy() || stopping_) return;
  if (!reloads_waiting_.empty()) {
    builder_.Load(
        config_->path, signatures_,
        [this, waiting = std::exchange(reloads_waiting_, {})](ZoneBuilder::Built built) mutable {
          std::string error = ApplyLoaded(std::move(built));
          for (ReloadDone& done : waiting) done(error);
          StartBuild();
        });
  } else if (secondaries_.has_changes()) {
    BuildTransferred();
  } else if (signatures_->IsStale(UnixNow()) || KeysChanged()) {
    builder_.Rebuild(config_->zones, config_->PoolConfigs(), views_, signatures_,
                     [this](ZoneBuilder::Built built) {
                       signed_at_ = UnixNow();
                       std::vector<size_t> stepped = StepSerials(AllZones());
                       TakeCompiler(std::move(built));
                       Notify(stepped);
                       StartBuild();
                     });
  }
}

// What primaries have sent is compiled beside the loop, and becomes the configuration's when it is
// served: until then a reload, or another transfer, waits.
void Control::BuildTransferred() {
  auto zones = std::make_shared<std::vector<ZoneConfig>>(config_->zones);
  for (Secondaries::Change& change : secondaries_.TakeChanges()) {
    for (ZoneConfig& zone : *zones) {
      if (zone.zone->apex != change.apex) continue;
      zone.zone = change.zone;
      zone.content = change.content;
    }
  }
  builder_.Rebuild(*zones, config_->PoolConfigs(), views_, signatures_,
                   [this, zones](ZoneBuilder::Built built) {
                     config_->zones = std::move(*zones);
                     std::vector<size_t> stepped = StepSerials(AllZones());
                     TakeCompiler(std::move(built));
                     Notify(stepped);
                     StartBuild();
                   });
}

// The loop went on while this was built: what is given out now, and what stands beside the zones,
// is told here.
void Control::TakeCompiler(ZoneBuilder::Built built) {
  journals_.clear();
  signatures_ = std::move(built.signatures);
  compiler_ = std::move(built.compiler);
  Republish(~uint64_t{0});
}

std::string Control::ApplyLoaded(ZoneBuilder::Built built) {
  std::string refused;
  std::vector<std::string> errors = std::move(built.errors);
  if (built.config) errors = RefusedKeys(*config_, *built.config);
  for (const std::string& error : errors) refused += (refused.empty() ? "" : "\n") + error;
  std::shared_ptr<const net::TlsServerContext> tls;
  if (refused.empty()) {
    auto read = Serving::LoadTls(*built.config);
    if (read) {
      tls = std::move(*read);
    } else {
      refused = read.error();
    }
  }
  if (!refused.empty()) {
    ++reloads_failed_;
    net::Log(net::LogLevel::kError, "reload", "refused, the old configuration stays",
             {{"why", refused}});
    return refused;
  }
  auto next = std::move(built.config);
  for (const std::string& warning : next->warnings) {
    net::Log(net::LogLevel::kWarn, "zone", warning);
  }
  // The same keys are the same object: workers go on with it.
  if (next->tsig_keys && config_->tsig_keys && *next->tsig_keys == *config_->tsig_keys) {
    next->tsig_keys = next->responder.tsig_keys = config_->tsig_keys;
  }
  if (next->own_cookie_secret && config_->own_cookie_secret) {
    next->responder.cookie_secrets = config_->responder.cookie_secrets;
  }
  // What the balancers that leave the file have been told is kept, by name.
  absent_ = State().balancers;
  std::vector<PoolRuntime> runtimes;
  MakeRuntimes(*next, &runtimes);
  std::vector<PoolView> views(next->pools.size());
  // What is known of balancers goes on, by name.
  for (size_t p = 0; p < next->pools.size(); ++p) {
    const PoolSettings& settings = next->pools[p];
    for (size_t old_p = 0; old_p < config_->pools.size(); ++old_p) {
      const PoolSettings& old = config_->pools[old_p];
      if (old.pool.name != settings.pool.name) continue;
      for (size_t b = 0; b < settings.pool.balancers.size(); ++b) {
        for (size_t old_b = 0; old_b < old.pool.balancers.size(); ++old_b) {
          if (old.pool.balancers[old_b].name != settings.pool.balancers[b].name) continue;
          runtimes[p].balancers[b].TakeFrom(runtimes_[old_p].balancers[old_b]);
          runtimes[p].standings[b] = runtimes_[old_p].standings[old_b];
        }
      }
      views[p] = views_[old_p];  // for what was fit last
      for (Selection* selection : SelectionsOf(views[p])) {
        TakeLastKnown(old.pool, settings.pool, *selection);
      }
    }
  }
  bool restart = next->responder != config_->responder ||
                 next->query_log_every != config_->query_log_every ||
                 next->udp.engine != config_->udp.engine || next->pin_cpus != config_->pin_cpus ||
                 next->udp.receive_buffer_bytes != config_->udp.receive_buffer_bytes ||
                 next->tcp.clients_max != config_->tcp.clients_max ||
                 next->tcp.clients_per_address_max != config_->tcp.clients_per_address_max ||
                 next->tcp.idle_timeout != config_->tcp.idle_timeout ||
                 next->tcp.queries_per_connection_max != config_->tcp.queries_per_connection_max;
  bool moved = next->state_file != config_->state_file;
  config_ = std::move(next);
  if (moved) state_file_ = StateFile(config_->state_file);
  runtimes_ = std::move(runtimes);
  views_ = std::move(views);
  lives_.resize(config_->pools.size());
  next_steps_.assign(config_->pools.size(), std::nullopt);
  TakeAbsent();
  serving_.SetTls(std::move(tls));
  net::ConfigureLog(config_->log);
  if (auto error = net::SetLogTarget(config_->log_target, "mongoosedns"); !error.empty()) {
    net::Log(net::LogLevel::kError, "server", "the log goes where it went", {{"reason", error}});
  }
  for (size_t i = 0; i < runtimes_.size(); ++i) RefreshPool(i, loop_.now());
  std::vector<size_t> stepped = StepSerials(AllZones());
  if (moved) SaveState(true);
  TakeCompiler(std::move(built));
  secondaries_.Configure(*config_);
  StartChecks();
  ArmStepTimer();
  if (restart) {
    // The sockets stay open: what comes in between waits in their queues.
    serving_.Stop(true);
    if (std::string error = serving_.Start(*config_, *publisher_); !error.empty()) return error;
  }
  Notify(stepped);
  ++reloads_ok_;
  net::Log(net::LogLevel::kInfo, "reload", "applied", {{"file", config_->path}});
  return "";
}

void Control::Republish(uint64_t changed_pools) {
  TellCompiler();
  publisher_->Publish(compiler_->Update(views_, changed_pools, UnixNow(), *signatures_));
  PublishTransferSource();
}

void Control::PublishTransferSource() {
  auto snapshot = std::make_shared<TransferSource::Snapshot>();
  snapshot->zones = config_->zones;
  snapshot->generation = publisher_->current();
  snapshot->signatures = signatures_;
  const Generation& generation = *snapshot->generation;
  for (size_t i = 0; i < generation.contents.size(); ++i) {
    const Name& apex = generation.contents[i]->zone->apex;
    auto zone =
        std::ranges::find(config_->zones, apex, [](const ZoneConfig& z) { return z.zone->apex; });
    if (zone == config_->zones.end() || !HasSecondaries(*zone)) continue;
    ZoneJournal& journal = journals_[apex];
    journal.Publish(generation.contents[i], generation.zones[i], *signatures_);
    snapshot->steps[apex] = journal.steps();
  }
  transfers_.Set(std::move(snapshot));
}

// ---- Health ------------------------------------------------------------------------------------

void Control::StartChecks() {
  if (!prober_) {
    prober_ = std::make_unique<Prober>(
        loop_, probe_tls_,
        [this](const Prober::Target& target, CheckResult result) {
          OnResult(target, std::move(result));
        },
        [this](const Prober::Target& target) {
          return runtimes_[target.pool]
              .balancers[target.balancer]
              .check(target.check, target.address_index)
              .changing();
        });
  }
  std::vector<Prober::Target> targets;
  for (size_t p = 0; p < config_->pools.size(); ++p) {
    const PoolSettings& settings = config_->pools[p];
    for (size_t b = 0; b < settings.pool.balancers.size(); ++b) {
      for (size_t c = 0; c < settings.checks.size(); ++c) {
        const auto& addresses = settings.pool.balancers[b].addresses;
        for (size_t a = 0; a < addresses.size(); ++a) {
          targets.push_back({p, b, c, a, addresses[a], settings.checks[c]});
        }
      }
    }
  }
  prober_->SetTargets(std::move(targets));
}

void Control::OnResult(const Prober::Target& target, CheckResult result) {
  BalancerHealth& health = runtimes_[target.pool].balancers[target.balancer];
  bool ok = result.ok;
  std::string reason = result.reason;
  if (health.OnResult(target.check, std::move(result), loop_.now(), target.address_index)) {
    const PoolSettings& settings = config_->pools[target.pool];
    net::Log(ok ? net::LogLevel::kInfo : net::LogLevel::kWarn, "health",
             ok ? "check is up" : "check is down",
             {{"balancer", BalancerKey(settings.pool, target.balancer)},
              {"address", target.address.IpToString()},
              {"check", settings.checks[target.check].Describe()},
              {"reason", reason}});
    SaveStateSoon();
  }
  MarkDirty(target.pool);
}

void Control::MarkDirty(size_t pool) {
  dirty_pools_ |= uint64_t{1} << pool;
  if (refresh_posted_) return;
  refresh_posted_ = true;
  loop_.Post([this] {
    refresh_posted_ = false;
    Refresh();
  });
}

void Control::MarkAllDirty() {
  for (size_t p = 0; p < runtimes_.size(); ++p) dirty_pools_ |= uint64_t{1} << p;
}

bool Control::RefreshPool(size_t pool, net::Time now) {
  PoolRuntime& runtime = runtimes_[pool];
  const PoolConfig& config = config_->pools[pool].pool;
  std::vector<BalancerLive> lives;
  for (size_t b = 0; b < runtime.balancers.size(); ++b) {
    lives.push_back(runtime.balancers[b].Live(now));
    if (lives[b].standing != runtime.standings[b]) {
      net::Log(net::LogLevel::kInfo, "health", "balancer's standing changed",
               {{"balancer", BalancerKey(config, b)},
                {"from", ToString(runtime.standings[b])},
                {"to", ToString(lives[b].standing)},
                {"reason", lives[b].reason}});
      runtime.standings[b] = lives[b].standing;
      SaveStateSoon();
    }
  }
  next_steps_[pool].reset();
  for (const BalancerHealth& balancer : runtime.balancers) {
    auto step = balancer.NextStep(now);
    if (step && (!next_steps_[pool] || *step < *next_steps_[pool])) next_steps_[pool] = step;
  }
  PoolView view = MakeView(config, lives, views_[pool]);
  lives_[pool] = std::move(lives);
  bool changed = !SameView(view, views_[pool]);
  views_[pool] = std::move(view);
  return changed;
}

void Control::Refresh() {
  net::Time now = loop_.now();
  uint64_t dirty = std::exchange(dirty_pools_, 0);
  uint64_t changed = 0;
  for (size_t p = 0; p < runtimes_.size(); ++p) {
    if ((dirty >> p & 1u) != 0 && RefreshPool(p, now)) changed |= uint64_t{1} << p;
  }
  if (changed != 0) {
    ++health_changes_;
    std::vector<size_t> concerned;  // where the serial follows: secondaries have the pool's records
    for (size_t z = 0; z < config_->zones.size(); ++z) {
      const ZoneConfig& zone = config_->zones[z];
      bool uses = std::ranges::any_of(
          zone.zone->pools, [&](const PoolUse& use) { return (changed >> use.pool & 1u) != 0; });
      if (uses && HasSecondaries(zone)) concerned.push_back(z);
    }
    std::vector<size_t> stepped = StepSerials(concerned);
    Republish(changed);
    Notify(stepped);
  }
  ArmStepTimer();
}

// The next step of a drain or a warm-up.
void Control::ArmStepTimer() {
  if (step_armed_) loop_.CancelTimer(step_timer_);
  step_armed_ = false;
  std::optional<net::Time> soonest;
  for (const auto& step : next_steps_) {
    if (step && (!soonest || *step < *soonest)) soonest = step;
  }
  if (!soonest) return;
  step_armed_ = true;
  net::Duration wait =
      std::max<net::Duration>(*soonest - loop_.now(), std::chrono::milliseconds(10));
  step_timer_ = loop_.After(wait, [this] {
    step_armed_ = false;
    for (size_t p = 0; p < next_steps_.size(); ++p) {
      if (next_steps_[p] && *next_steps_[p] <= loop_.now()) dirty_pools_ |= uint64_t{1} << p;
    }
    Refresh();
  });
}

// Secondaries believe a NOTIFY by where it comes from: the address that is asked, where there is
// one.
std::optional<net::Address> Control::NotifySource(const ZoneConfig& zone,
                                                  const net::Address& to) const {
  if (zone.notify_source && zone.notify_source->family() == to.family()) {
    return zone.notify_source;
  }
  for (const net::Address& address : config_->listen) {
    if (address.family() == to.family() && !address.IsUnspecified()) return address.WithPort(0);
  }
  return std::nullopt;
}

void Control::Notify(const std::vector<size_t>& zones) {
  for (size_t z : zones) {
    const ZoneConfig& zone = config_->zones[z];
    for (const SecondaryConfig& secondary : zone.secondaries) {
      if (!secondary.notify) continue;
      std::optional<TsigSigner> signer;
      const TsigKey* key =
          secondary.key ? config_->tsig_keys->Find(secondary.key->wire()) : nullptr;
      if (key != nullptr) signer.emplace(config_->tsig_keys, *key);
      notifier_->Send(zone.zone->apex, *secondary.notify, NotifySource(zone, *secondary.notify),
                      std::move(signer));
    }
  }
}

// ---- The other DNS nodes
// -------------------------------------------------------------------------

void Control::AskPeers() {
  if (stopping_) return;
  for (const PeerConfig& peer : config_->peers) {
    PeerState& state = peers_[peer.name];
    net::HttpClientRequest request = MakeFleetQuestion("/view");
    // Without a key of the fleet whoever answers there is believed. A copy: a reload may come.
    std::optional<TsigKey> key;
    if (config_->fleet_key) key = *config_->tsig_keys->Find(config_->fleet_key->wire());
    std::string nonce = NonceOf(request);
    state.running = StartFetch(loop_, peer.address, std::move(request), config_->peer_interval,
                               [this, name = peer.name, key = std::move(key),
                                nonce](std::expected<net::HttpReply, std::string> reply) {
                                 PeerState& answered = peers_[name];
                                 auto signed_well =
                                     reply && key
                                         ? CheckFleetAnswer(*key, FleetAnswer::kView, nonce, *reply)
                                         : std::expected<void, std::string>();
                                 if (!reply) {
                                   answered.error = reply.error();
                                 } else if (!signed_well) {
                                   answered.error = signed_well.error();
                                 } else if (reply->status != 200) {
                                   answered.error = "HTTP status " + std::to_string(reply->status);
                                 } else {
                                   TakePeerView(name, reply->body);
                                 }
                                 ApplyVotes();
                               });
  }
  loop_.After(config_->peer_interval, [this] { AskPeers(); });
}

void Control::ApplyVotes() {
  net::Time now = loop_.now();
  for (size_t p = 0; p < runtimes_.size(); ++p) {
    for (size_t b = 0; b < runtimes_[p].balancers.size(); ++b) {
      uint32_t up = 0;
      uint32_t down = 0;
      for (const auto& [name, peer] : peers_) {
        if (!peer.error.empty() || now - peer.at > kPeerStaleIntervals * config_->peer_interval) {
          continue;
        }
        auto vote = peer.down.find(BalancerKey(config_->pools[p].pool, b));
        if (vote == peer.down.end()) continue;
        ++(vote->second ? down : up);
      }
      runtimes_[p].balancers[b].SetPeerVotes(up, down);
    }
  }
  MarkAllDirty();
  Refresh();
}

// ---- The operator's word
// -------------------------------------------------------------------------

std::string Control::SetOverride(const std::string& pool, const std::string& balancer,
                                 Override value, const std::string& by) {
  bool found = false;
  for (size_t p = 0; p < config_->pools.size(); ++p) {
    const PoolConfig& config = config_->pools[p].pool;
    if (!pool.empty() && config.name != pool) continue;
    for (size_t b = 0; b < config.balancers.size(); ++b) {
      if (config.balancers[b].name != balancer) continue;
      found = true;
      runtimes_[p].balancers[b].SetOverride(value, loop_.now(), by);
      dirty_pools_ |= uint64_t{1} << p;
      net::Log(net::LogLevel::kInfo, "override", "set by the operator",
               {{"balancer", BalancerKey(config, b)}, {"value", ToString(value)}, {"by", by}});
    }
  }
  if (!found) {
    return "there is no balancer '" + balancer + "'" +
           (pool.empty() ? "" : " in pool '" + pool + "'") + "; see: mongoosedns ctl states";
  }
  Refresh();
  SaveState(true);
  return "";
}

// ---- Now and then
// ----------------------------------------------------------------------------------

void Control::Housekeeping() {
  if (stopping_) return;
  serving_.DrainQueryLogs();
  StartBuild();
  WatchRateLimit();
  loop_.After(kHousekeepingInterval, [this] { Housekeeping(); });
}

// Has a moment come at which a key does something else?
bool Control::KeysChanged() const {
  const Generation& generation = *publisher_->current();
  for (const ZoneConfig& zone : config_->zones) {
    for (size_t i = 0; zone.keys && i < generation.contents.size(); ++i) {
      if (generation.contents[i]->zone->apex != zone.zone->apex) continue;
      if (generation.zones[i]->keys != zone.keys->At(UnixNow())) return true;
    }
  }
  return false;
}

void Control::WatchRateLimit() {
  Totals totals = serving_.Sum();
  auto event = rate_limit_watch_.Step(totals.rrl_dropped + totals.rrl_slipped, ReadNow().ms);
  if (event == RateLimitWatch::Event::kBegan) {
    net::Log(net::LogLevel::kWarn, "rate_limit", "equal responses are limited",
             {{"client", serving_.LastLimited()},
              {"responses_per_second", config_->responder.rate_limit.per_second}});
  } else if (event == RateLimitWatch::Event::kEnded) {
    net::Log(net::LogLevel::kInfo, "rate_limit", "no response is limited any more",
             {{"limited", rate_limit_watch_.count()}});
  }
}

}  // namespace dns
