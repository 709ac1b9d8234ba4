#include "dns/control/control.h"

#include <time.h>

#include <algorithm>

#include "dns/pool/pool_sets.h"
#include "dns/serve/now.h"
#include "net/report/log.h"

namespace dns {
namespace {

constexpr net::Duration kHousekeepingInterval = std::chrono::seconds(1);
// A peer's view older than so many of its intervals does not count.
constexpr int kPeerStaleIntervals = 5;
constexpr size_t kAcmeMax = 64;
constexpr uint32_t kAcmeTtl = 5;  // seconds

std::string BalancerKey(const PoolConfig& pool, size_t balancer) {
  return pool.name + "/" + pool.balancers[balancer].name;
}

bool SameView(const Selection& a, const Selection& b) {
  auto same = [](const Member& x, const Member& y) {
    return x.balancer == y.balancer && x.weight == y.weight;
  };
  return a.ttl == b.ttl && a.all_down == b.all_down && a.fallback == b.fallback &&
         std::ranges::equal(a.members, b.members, same);
}

bool SameView(const PoolView& a, const PoolView& b) {
  if (!SameView(a.addresses, b.addresses)) return false;
  for (size_t i = 0; i < kServices.size(); ++i) {
    if (!SameView(a.services[i], b.services[i])) return false;
  }
  return true;
}

// Does only the TTL differ? Then the content that secondaries have is still right.
bool SameContent(const PoolView& a, const PoolView& b) {
  PoolView copy = a;
  copy.addresses.ttl = b.addresses.ttl;
  for (size_t i = 0; i < kServices.size(); ++i) copy.services[i].ttl = b.services[i].ttl;
  return SameView(copy, b);
}

}  // namespace

Control::Control(net::EventLoop& loop, Config config)
    : loop_(loop),
      config_(std::make_unique<Config>(std::move(config))),
      signatures_(config_->signature_days * 86'400, config_->signature_days * 86'400 / 4),
      state_file_(config_->state_file),
      started_at_(loop.now()) {}

Control::~Control() {
  prober_.reset();
  serving_.Stop(false);
}

uint32_t Control::UnixNow() const { return static_cast<uint32_t>(time(nullptr)); }

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
  control->LoadState();
  control->views_.resize(control->config_->pools.size());
  control->lives_.resize(control->config_->pools.size());
  for (size_t i = 0; i < control->runtimes_.size(); ++i) control->RefreshPool(i, loop.now());
  control->compiler_ = control->MakeCompiler(*control->config_);
  control->TellCompiler();
  control->publisher_ = std::make_unique<Publisher>(
      control->compiler_->Build(control->views_, control->UnixNow(), control->signatures_));
  control->notifier_ = std::make_unique<Notifier>(loop);
  control->PublishTransferSource();
  return control;
}

std::string Control::Start() {
  if (std::string error = serving_.Start(*config_, *publisher_); !error.empty()) return error;
  StartChecks();
  started_ = true;
  for (const ZoneConfig& zone : config_->zones) {
    for (const net::Address& to : zone.notify) notifier_->Send(zone.zone->apex, to);
  }
  AskPeers();
  Housekeeping();
  return "";
}

void Control::Stop(bool handed_over, net::Task done) {
  stopping_ = true;
  prober_.reset();
  SaveState();
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

std::unique_ptr<Compiler> Control::MakeCompiler(const Config& config) const {
  std::vector<ZoneInput> inputs;
  for (const ZoneConfig& zone : config.zones) inputs.push_back({zone.zone, zone.keys});
  return std::make_unique<Compiler>(std::move(inputs), config.PoolConfigs(), SystemSeed());
}

// Tells the compiler what has changed beside the pools.
void Control::TellCompiler() {
  for (const ZoneConfig& zone : config_->zones) {
    compiler_->SetSerial(zone.zone->apex, SerialOf(zone));
  }
  compiler_->SetOverlay(OverlayRecords());
}

uint32_t Control::SerialOf(const ZoneConfig& zone) const {
  auto raised = serials_.find(zone.zone->apex.ToString());
  uint32_t serial = SoaSerial(zone.zone->names.at(zone.zone->apex).at(Type::kSoa).rdatas[0]);
  bool newer = raised != serials_.end() && SerialIsNewer(raised->second, serial);
  return newer ? raised->second : serial;
}

void Control::MakeRuntimes(const Config& config, std::vector<PoolRuntime>* out) const {
  for (const PoolSettings& settings : config.pools) {
    PoolRuntime runtime;
    for (size_t i = 0; i < settings.pool.balancers.size(); ++i) {
      runtime.balancers.emplace_back(settings.policy, settings.checks);
    }
    runtime.standings.resize(settings.pool.balancers.size(), Standing::kChecking);
    out->push_back(std::move(runtime));
  }
}

std::string Control::Reload() {
  auto loaded = LoadConfig(config_->path);
  std::string refused;
  if (!loaded) {
    for (const std::string& error : loaded.error())
      refused += (refused.empty() ? "" : "\n") + error;
  } else if (loaded->listen != config_->listen || loaded->tls.listen != config_->tls.listen ||
             loaded->workers != config_->workers) {
    refused = config_->path +
              ": server.listen, server.workers and tls.listen change by an upgrade or a restart, "
              "not by a reload (mongoosedns ctl upgrade)";
  }
  std::shared_ptr<const net::TlsServerContext> tls;
  if (refused.empty()) {
    auto read = Serving::LoadTls(*loaded);
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
  auto next = std::make_unique<Config>(std::move(*loaded));
  if (next->own_cookie_secret && config_->own_cookie_secret) {
    next->responder.cookie_secrets = config_->responder.cookie_secrets;
  }
  std::vector<PoolRuntime> runtimes;
  MakeRuntimes(*next, &runtimes);
  // What is known of balancers goes on, by name.
  for (size_t p = 0; p < next->pools.size(); ++p) {
    const PoolSettings& settings = next->pools[p];
    for (size_t old_p = 0; old_p < config_->pools.size(); ++old_p) {
      const PoolSettings& old = config_->pools[old_p];
      if (old.pool.name != settings.pool.name) continue;
      bool same_checks = std::ranges::equal(old.checks, settings.checks, {}, &CheckConfig::Describe,
                                            &CheckConfig::Describe);
      for (size_t b = 0; b < settings.pool.balancers.size(); ++b) {
        for (size_t old_b = 0; old_b < old.pool.balancers.size(); ++old_b) {
          if (old.pool.balancers[old_b].name != settings.pool.balancers[b].name) continue;
          BalancerHealth& from = runtimes_[old_p].balancers[old_b];
          BalancerHealth& to = runtimes[p].balancers[b];
          if (same_checks) {
            to = from;
            to.Rebind(settings.policy, settings.checks);
          } else {
            to.SetOverride(from.override_value(), loop_.now());
          }
          runtimes[p].standings[b] = runtimes_[old_p].standings[old_b];
        }
      }
    }
  }
  bool restart = next->responder != config_->responder ||
                 next->query_log_every != config_->query_log_every ||
                 next->udp.engine != config_->udp.engine ||
                 next->tcp.clients_max != config_->tcp.clients_max ||
                 next->tcp.clients_per_address_max != config_->tcp.clients_per_address_max ||
                 next->tcp.idle_timeout != config_->tcp.idle_timeout ||
                 next->tcp.queries_per_connection_max != config_->tcp.queries_per_connection_max;
  config_ = std::move(next);
  runtimes_ = std::move(runtimes);
  views_.resize(config_->pools.size());
  lives_.resize(config_->pools.size());
  serving_.SetTls(std::move(tls));
  net::ConfigureLog(config_->log);
  for (size_t i = 0; i < runtimes_.size(); ++i) RefreshPool(i, loop_.now());
  Rebuild();
  StartChecks();
  if (restart) {
    // The sockets stay open: what comes in between waits in their queues.
    serving_.Stop(true);
    if (std::string error = serving_.Start(*config_, *publisher_); !error.empty()) return error;
  }
  for (const ZoneConfig& zone : config_->zones) {
    for (const net::Address& to : zone.notify) notifier_->Send(zone.zone->apex, to);
  }
  ++reloads_ok_;
  net::Log(net::LogLevel::kInfo, "reload", "applied", {{"file", config_->path}});
  return "";
}

void Control::Rebuild() {
  compiler_ = MakeCompiler(*config_);
  TellCompiler();
  publisher_->Publish(compiler_->Build(views_, UnixNow(), signatures_));
  PublishTransferSource();
}

void Control::Update(uint64_t changed_pools) {
  TellCompiler();
  publisher_->Publish(compiler_->Update(views_, changed_pools, UnixNow(), signatures_));
  PublishTransferSource();
}

void Control::PublishTransferSource() {
  auto snapshot = std::make_shared<TransferSource::Snapshot>();
  snapshot->zones = config_->zones;
  snapshot->generation = publisher_->current();
  snapshot->signatures = &signatures_;
  transfers_.Set(std::move(snapshot));
}

// ---- Health ------------------------------------------------------------------------------------

void Control::StartChecks() {
  if (!prober_) {
    prober_ = std::make_unique<Prober>(
        loop_, probe_tls_,
        [this](size_t pool, size_t balancer, size_t check, CheckResult result) {
          OnResult(pool, balancer, check, std::move(result));
        },
        [this](size_t pool, size_t balancer, size_t check) {
          return runtimes_[pool].balancers[balancer].checks()[check].changing();
        });
  }
  std::vector<Prober::Target> targets;
  for (size_t p = 0; p < config_->pools.size(); ++p) {
    const PoolSettings& settings = config_->pools[p];
    for (size_t b = 0; b < settings.pool.balancers.size(); ++b) {
      for (size_t c = 0; c < settings.checks.size(); ++c) {
        targets.push_back({p, b, c, settings.pool.balancers[b].addresses[0], settings.checks[c]});
      }
    }
  }
  prober_->SetTargets(std::move(targets));
}

void Control::OnResult(size_t pool, size_t balancer, size_t check, CheckResult result) {
  BalancerHealth& health = runtimes_[pool].balancers[balancer];
  bool ok = result.ok;
  std::string reason = result.reason;
  if (health.OnResult(check, std::move(result), loop_.now())) {
    const PoolSettings& settings = config_->pools[pool];
    net::Log(ok ? net::LogLevel::kInfo : net::LogLevel::kWarn, "health",
             ok ? "check is up" : "check is down",
             {{"balancer", BalancerKey(settings.pool, balancer)},
              {"check", settings.checks[check].Describe()},
              {"reason", reason}});
  }
  Refresh();
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
    }
  }
  PoolView view = MakeView(config, lives, views_[pool]);
  lives_[pool] = std::move(lives);
  bool changed = !SameView(view, views_[pool]);
  if (changed && !SameContent(view, views_[pool])) {
    for (const ZoneConfig& zone : config_->zones) {
      bool uses = std::ranges::any_of(zone.zone->pools,
                                      [&](const PoolUse& use) { return use.pool == pool; });
      if (!uses || zone.notify.empty()) continue;
      uint32_t& serial = serials_[zone.zone->apex.ToString()];
      uint32_t configured =
          SoaSerial(zone.zone->names.at(zone.zone->apex).at(Type::kSoa).rdatas[0]);
      if (serial == 0 || SerialIsNewer(configured, serial)) serial = configured;
      ++serial;
    }
  }
  views_[pool] = std::move(view);
  return changed;
}

void Control::Refresh(bool force) {
  net::Time now = loop_.now();
  uint64_t changed = force ? ~uint64_t{0} : 0;
  for (size_t p = 0; p < runtimes_.size(); ++p) {
    if (RefreshPool(p, now)) changed |= uint64_t{1} << p;
  }
  if (changed != 0) {
    ++health_changes_;
    bool serial_moves = std::ranges::any_of(
        config_->zones, [](const ZoneConfig& zone) { return !zone.notify.empty(); });
    Update(changed);
    if (serial_moves) {
      for (const ZoneConfig& zone : config_->zones) {
        for (const net::Address& to : zone.notify) notifier_->Send(zone.zone->apex, to);
      }
    }
  }
  ArmStepTimer();
}

// The next step of a drain or a warm-up.
void Control::ArmStepTimer() {
  if (step_armed_) loop_.CancelTimer(step_timer_);
  step_armed_ = false;
  std::optional<net::Time> soonest;
  for (const PoolRuntime& runtime : runtimes_) {
    for (const BalancerHealth& balancer : runtime.balancers) {
      auto step = balancer.NextStep(loop_.now());
      if (step && (!soonest || *step < *soonest)) soonest = step;
    }
  }
  if (!soonest) return;
  step_armed_ = true;
  net::Duration wait =
      std::max<net::Duration>(*soonest - loop_.now(), std::chrono::milliseconds(10));
  step_timer_ = loop_.After(wait, [this] {
    step_armed_ = false;
    Refresh();
  });
}

// ---- The other DNS nodes
// -------------------------------------------------------------------------

void Control::AskPeers() {
  if (stopping_) return;
  for (const PeerConfig& peer : config_->peers) {
    PeerState& state = peers_[peer.name];
    state.running =
        StartFetch(loop_, peer.address, "/view", config_->peer_interval,
                   [this, name = peer.name](std::expected<std::string, std::string> body) {
                     PeerState& answered = peers_[name];
                     if (body) {
                       TakePeerView(name, *body);
                     } else {
                       answered.error = body.error();
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
      runtimes_[p].balancers[b].SetOverride(value, loop_.now());
      net::Log(net::LogLevel::kInfo, "override", "set by the operator",
               {{"balancer", BalancerKey(config, b)}, {"value", ToString(value)}, {"by", by}});
    }
  }
  if (!found) {
    return "there is no balancer '" + balancer + "'" +
           (pool.empty() ? "" : " in pool '" + pool + "'") + "; see: mongoosedns ctl states";
  }
  Refresh();
  SaveState();
  return "";
}

std::string Control::SetAcme(const std::string& name, const std::string& token, uint32_t seconds) {
  auto owner = Name::FromText(name, Name());
  if (!owner) return "'" + name + "' is not a name: it " + owner.error();
  auto challenge = owner->Child("_acme-challenge");
  if (!challenge) return "'" + name + "' is too long for a challenge";
  bool ours = std::ranges::any_of(
      config_->zones, [&](const ZoneConfig& zone) { return challenge->IsWithin(zone.zone->apex); });
  if (!ours) return "'" + name + "' is in no zone that is served here";
  if (token.empty() || token.size() > 255) return "the token must have 1 to 255 bytes";
  net::Time now = loop_.now();
  std::erase_if(acme_, [&](const Acme& acme) {
    return acme.until <= now || (acme.owner == *challenge && acme.token == token);
  });
  if (acme_.size() >= kAcmeMax)
    return "there are " + std::to_string(kAcmeMax) + " challenges already";
  acme_.push_back({*challenge, token, now + std::chrono::seconds(seconds)});
  Update(0);
  loop_.After(std::chrono::seconds(seconds) + std::chrono::milliseconds(1), [this] {
    size_t before = acme_.size();
    std::erase_if(acme_, [&](const Acme& acme) { return acme.until <= loop_.now(); });
    if (acme_.size() != before) Update(0);
  });
  return "";
}

// ---- What survives
// ---------------------------------------------------------------------------------

void Control::SaveState() {
  SavedState state;
  for (size_t p = 0; p < runtimes_.size(); ++p) {
    for (size_t b = 0; b < runtimes_[p].balancers.size(); ++b) {
      const BalancerHealth& health = runtimes_[p].balancers[b];
      SavedBalancer saved{health.override_value(), "", health.OwnDown()};
      if (saved.override_value == Override::kNone && !saved.down) continue;
      state.balancers[BalancerKey(config_->pools[p].pool, b)] = saved;
    }
  }
  std::string error = state_file_.Save(state);
  if (!error.empty()) {
    net::Log(net::LogLevel::kError, "state", "cannot be saved", {{"error", error}});
  }
}

void Control::LoadState() {
  auto state = state_file_.Load();
  if (!state) {
    net::Log(net::LogLevel::kError, "state", "cannot be read, starting without it",
             {{"error", state.error()}});
    return;
  }
  for (size_t p = 0; p < runtimes_.size(); ++p) {
    for (size_t b = 0; b < runtimes_[p].balancers.size(); ++b) {
      auto saved = state->balancers.find(BalancerKey(config_->pools[p].pool, b));
      if (saved == state->balancers.end()) continue;
      BalancerHealth& health = runtimes_[p].balancers[b];
      health.SetOverride(saved->second.override_value, loop_.now());
      if (!saved->second.down) continue;
      for (CheckState& check : health.checks()) check.Restore(CheckState::Verdict::kDown);
    }
  }
}

// ---- Now and then
// ----------------------------------------------------------------------------------

void Control::Housekeeping() {
  if (stopping_) return;
  serving_.DrainQueryLogs();
  if (signatures_.IsStale(UnixNow()) || KeysChanged()) Rebuild();
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

}  // namespace dns
