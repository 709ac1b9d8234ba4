#include "server/program/xmpp_node.h"

#include <sys/random.h>
#include <unistd.h>

#include <algorithm>
#include <optional>
#include <thread>
#include <utility>

#include "net/base/check.h"
#include "net/base/wall_clock.h"
#include "net/report/log.h"
#include "server/c2s/door_of_home.h"
#include "server/im/home.h"
#include "server/muc/muc_host.h"
#include "server/program/memory_facts.h"
#include "server/program/module_options.h"
#include "server/store/open_store.h"

namespace server {
namespace {

// Sockets that are neither links nor clients.
constexpr size_t kOtherSockets = 64;

uint64_t Random() {
  uint64_t value = 0;
  CHECK(getrandom(&value, sizeof value, 0) == sizeof value);
  return value;
}

MucOptions RoomsOf(const NodeConfig& config) {
  MucOptions options;
  options.services = config.muc.services;
  std::ranges::sort(options.services);
  const auto [first, last] = std::ranges::unique(options.services);
  options.services.erase(first, last);
  options.anyone_creates = config.muc.anyone_creates;
  options.lock_new = config.muc.lock_new;
  options.rooms_max = config.muc.rooms_max;
  options.limits.occupants = config.muc.occupants_max;
  options.limits.history = config.muc.history_max;
  options.defaults.history = std::min(options.defaults.history, config.muc.history_max);
  options.defaults.archive = config.muc.archive;
  return options;
}

ModulesOptions ModulesOf(const NodeConfig& config) {
  ModulesOptions options = ModulesOptionsOf(config);
  for (size_t i = 0; i < config.muc.services.size(); ++i) {
    options.disco.items.push_back(
        {.jid = config.muc.services[i], .name = "Rooms", .domain = config.hosts[i].domain});
  }
  return options;
}

// The home of a worker's users with its rooms, and what answers for them.
class HomeWithModules final : public DoorOfHome<HomeBox> {
 public:
  // What all homes of the node are made with.
  struct Plan {
    HomeOptions home;
    std::shared_ptr<ArchiveIds> archive_ids;
    ModulesOptions modules;
    MucOptions muc;
    RoomDirectory& rooms;
    HousekeeperOptions housekeeping;
    HousekeeperCounters& housekept;
    StoreBackend& store;
    const net::Clock& clock;
  };

  HomeWithModules(const HomeGround& ground, const Plan& plan)
      : ground_{.store = ground.store,
                .clock = plan.clock,
                .unix_us = net::UnixUs,
                .domains = ground.domains,
                .aside = ground.aside},
        home_(OptionsFor(ground, plan), ground.sessions, ground.homes, ground.store, table_,
              plan.clock, net::UnixUs, Random),
        rooms_(plan.muc, plan.archive_ids, plan.rooms, ground.sessions, ground.homes, ground.store,
               plan.clock, net::UnixUs, Random) {
    rooms_.OnRooms(ground.took, [left = ground.left](const std::string& jid) { left(jid, false); });
    AddHomeFeatures(table_, plan.home);
    AddModules(table_, ground_, plan.modules);
    if (plan.modules.disco.enabled) features_ = ServerCaps(table_, plan.modules.disco);
    if (ground.worker != 0) return;  // one of the node's keeps house
    keeper_ = plan.store.Keeper(ground.loop);
    housekeeper_.emplace(plan.housekeeping, *keeper_, plan.clock, net::UnixUs, plan.housekept);
  }
  HomeGate& gate() override { return gate_; }
  void Tick() override {
    home_.Tick();
    rooms_.Tick();
    if (housekeeper_) housekeeper_->Tick();
  }
  void Ease() override {
    home_.Ease();
    rooms_.Ease();
  }
  void BeginStop() override { rooms_.Shutdown(); }
  bool Busy() const override { return home_.Busy(); }
  Home* home() override { return &home_; }
  MucHost* rooms() override { return &rooms_; }
  void RoomsLost(const std::vector<std::string>& rooms) override { home_.RoomsLost(rooms); }
  StoreKeeper* keeper() override { return keeper_.get(); }
  std::string StreamFeatures() override { return features_; }
  void Expel(const Jid& user, net::StreamError error, const std::string& text) override {
    if (rooms_.Serves(user.domain())) return rooms_.Close(user.full());
    DoorOfHome::Expel(user, error, text);
  }
  bool Has(const std::string& bare) override { return home_.Has(bare) || rooms_.Has(bare); }

 private:
  Home& behind() override { return home_; }
  static HomeOptions OptionsFor(const HomeGround& ground, const Plan& plan) {
    HomeOptions options = plan.home;
    options.services = plan.muc.services;
    options.domains = ground.domains;
    options.archive_ids = plan.archive_ids;
    options.may_stay = ground.may_stay;
    options.left = ground.left;
    return options;
  }

  ModuleGround ground_;
  IqTable table_;
  Home home_;
  MucHost rooms_;
  MucGate gate_{home_, rooms_};
  std::string features_;
  std::unique_ptr<StoreKeeper> keeper_;
  std::optional<Housekeeper> housekeeper_;
};

std::vector<XmppHost> HostsOf(const NodeSetup& setup) {
  std::vector<XmppHost> hosts;
  const auto path = [&](const std::string& file) {
    return file.empty() ? "" : setup.folder.Path(file);
  };
  for (const NodeConfig::Host& host : setup.config.hosts) {
    hosts.push_back({.domain = host.domain,
                     .certificate = {.chain = path(host.certificate), .key = path(host.key)},
                     .client_ca = path(host.client_ca)});
  }
  return hosts;
}

SaslPolicy PolicyOf(const NodeConfig::Auth& auth) {
  const auto has = [&](std::string_view name) {
    return std::ranges::find(auth.mechanisms, name) != auth.mechanisms.end();
  };
  SaslPolicy policy{.plain = has("PLAIN"), .external = has("EXTERNAL")};
  for (size_t hash = 0; hash < kScramHashes; ++hash) {
    policy.scram[hash] = has(ScramName(static_cast<ScramHash>(hash)));
  }
  return policy;
}

// Receive buffers become as many as were ever needed at once, and stay: all have a sixteenth of
// what the node may take.
uint32_t BuffersMax(const NodeSetup& setup, size_t workers, const net::ConnOptions& conn) {
  const uint64_t bound = MemoryBoundsOf(setup.config.limits.memory, ReadMemoryFacts()).process;
  if (bound == 0) return conn.buffers_max;
  const uint64_t most = bound / 16 / workers / conn.buffer_bytes;
  return static_cast<uint32_t>(std::clamp<uint64_t>(most, conn.buffers_initial, conn.buffers_max));
}

XmppOptions OptionsOf(const NodeSetup& setup, size_t sockets) {
  const NodeConfig::C2s& c2s = setup.config.c2s;
  XmppOptions options;
  options.workers = c2s.workers != 0 ? c2s.workers : std::thread::hardware_concurrency();
  options.workers = std::max<size_t>(options.workers, 1);
  for (const NodeConfig::Host& host : setup.config.hosts) options.domains.push_back(host.domain);
  options.services = setup.config.muc.services;
  ClientLimits& limits = options.limits;
  limits.after_login = {.stanza_bytes = c2s.stanza_bytes_max,
                        .depth = static_cast<int>(c2s.stanza_depth_max)};
  limits.login_timeout = c2s.login_timeout;
  limits.stanzas_per_s = c2s.stanza_rate;
  limits.stanza_burst = c2s.stanza_burst;
  limits.idle_ping = c2s.idle_ping;
  limits.ping_timeout = c2s.ping_timeout;
  limits.resume_timeout = c2s.resume_timeout;
  limits.bound.unacked_bytes_max = c2s.unacked_bytes_max;
  options.sasl = PolicyOf(setup.config.auth);
  options.tls_need = c2s.tls_required ? TlsNeed::kRequired : TlsNeed::kOptional;
  options.features =
      "<ver xmlns='urn:xmpp:features:rosterver'/><sub xmlns='urn:xmpp:features:pre-approval'/>";
  const size_t all = std::min<size_t>(c2s.connections_max, sockets);
  // The kernel spreads connections, but not evenly.
  options.conn.conns_max =
      static_cast<uint32_t>(std::min(all, all / options.workers + all / 4 + net::kConnsReserve));
  options.conn.buffers_max = BuffersMax(setup, options.workers, options.conn);
  options.unauthenticated_max = c2s.unauthenticated_max;
  options.parked_bytes_max = c2s.resume_bytes_max / options.workers;
  options.sign_up = ModulesOptionsOf(setup.config).registration.sign_up;
  options.login_cpu = setup.config.limits.login_cpu;
  options.sasl_limits.account_per_s = setup.config.auth.failures_per_account;
  options.sasl_limits.address_per_s = setup.config.auth.failures_per_address;
  return options;
}

}  // namespace

XmppErrors CheckXmpp(const NodeSetup& setup) {
  auto tls = MakeTls(HostsOf(setup), nullptr);
  return tls ? XmppErrors() : std::move(tls.error());
}

std::expected<std::unique_ptr<XmppNode>, XmppErrors> XmppNode::Start(const NodeSetup& setup,
                                                                     size_t sockets,
                                                                     const net::Clock& clock,
                                                                     Ways ways, NodeHooks hooks) {
  const NodeConfig& config = setup.config;
  auto store = OpenStore(
      {.url = config.store.url, .folder = setup.folder.root, .readers = config.store.readers});
  if (!store) return std::unexpected(XmppErrors{"store.url: " + store.error()});
  const NodeConfig::C2s& c2s = config.c2s;
  auto housekept = std::make_unique<HousekeeperCounters>();
  auto rooms = std::make_unique<RoomDirectory>();
  XmppSetup xmpp{
      .options = OptionsOf(setup, sockets > kOtherSockets ? sockets - kOtherSockets : 1),
      .hosts = HostsOf(setup),
      .listen = {.plain = c2s.listen,
                 .tls = c2s.listen_tls,
                 .proxy = c2s.listen_proxy,
                 .proxy_from = c2s.proxy_from,
                 .connections_max = c2s.connections_max},
      .make_store = [store = store->get()](net::EventLoop& loop) { return store->Client(loop); },
      .make_home =
          [plan = HomeWithModules::Plan{.home = HomeOptionsOf(config),
                                        .archive_ids = std::make_shared<ArchiveIds>(
                                            (*store)->identity().opening),
                                        .modules = ModulesOf(config),
                                        .muc = RoomsOf(config),
                                        .rooms = *rooms,
                                        .housekeeping = HousekeeperOptionsOf(config),
                                        .housekept = *housekept,
                                        .store = **store,
                                        .clock = clock}](const HomeGround& ground) {
            return std::make_unique<HomeWithModules>(ground, plan);
          },
      .on_sessions = std::move(ways.on_sessions),
      .node = std::move(ways.node),
      .on_homes = [&c = ways.cluster](auto changed) { c.OnHomes(std::move(changed)); },
      .to_nodes = [&c = ways.cluster](auto mail) { c.OnMail(std::move(mail)); },
      .crowded = [&c = ways.cluster](NodeNumber at) { return c.Crowded(at); }};
  const bool certificates = std::ranges::any_of(
      xmpp.hosts, [](const XmppHost& host) { return !host.certificate.chain.empty(); });
  if (!certificates) {
    xmpp.listen.tls.clear();
    net::Log(net::LogLevel::kWarn, "node", "no [[host]] has a certificate: there is no TLS");
  }
  std::vector<std::string> domains = xmpp.options.domains;
  auto service = XmppService::Start(std::move(xmpp), clock);
  if (!service) return std::unexpected(std::move(service.error()));
  for (const net::Address& address : (*service)->addresses()) {
    net::Log(net::LogLevel::kInfo, "node", "listens to clients", {{"address", address.ToString()}});
  }
  return std::unique_ptr<XmppNode>(new XmppNode({.domains = std::move(domains),
                                                 .services = RoomsOf(config).services,
                                                 .folder = setup.folder.root,
                                                 .store = std::move(*store),
                                                 .housekept = std::move(housekept),
                                                 .rooms = std::move(rooms),
                                                 .service = std::move(*service),
                                                 .node = setup.dist.node,
                                                 .hooks = std::move(hooks),
                                                 .clock = clock}));
}

XmppNode::XmppNode(Parts parts)
    : domains_(std::move(parts.domains)),
      store_(std::move(parts.store)),
      housekept_(std::move(parts.housekept)),
      rooms_(std::move(parts.rooms)),
      service_(std::move(parts.service)),
      commands_{.service = *service_,
                .domains = domains_,
                .services = std::move(parts.services),
                .node = std::move(parts.node),
                .folder = std::move(parts.folder),
                .hooks = std::move(parts.hooks)},
      accounts_(std::make_shared<AccountCount>(domains_, parts.clock)) {
  commands_.broadcasts = broadcasts_.get();
  commands_.store = store_.get();
}

XmppNode::~XmppNode() { Stop(); }

void XmppNode::EndCommands() {
  commands_.broadcasts = nullptr;
  broadcasts_.reset();
}

void XmppNode::Stop() { service_->Stop(); }

XmppErrors XmppNode::ReloadCertificates() {
  auto reloaded = service_->ReloadCertificates();
  return reloaded ? XmppErrors() : std::move(reloaded.error());
}

void XmppNode::WriteMetrics(net::MetricsWriter& out) const {
  service_->WriteMetrics(out);
  out.Gauge("mongooseim_muc_rooms", "Rooms in memory.").Add({}, rooms_->size());
  const StoreMetrics& store = store_->metrics();
  const auto read = [](const auto& value) { return value.load(std::memory_order_relaxed); };
  out.Counter("mongooseim_store_transactions_total", "Committed, each with a sync of the disk.")
      .Add({}, read(store.transactions));
  out.Counter("mongooseim_store_failures_total", "Calls that the store did not do.")
      .Add({}, read(store.failures));
  out.Counter("mongooseim_login_store_roundtrips_total", "Reads of whole users, for logins.")
      .Add({}, read(store.login_store_roundtrips));
  out.Counter("mongooseim_store_retired_archive_total",
              "Archived messages that were too old or too many.")
      .Add({}, read(housekept_->archive));
  out.Counter("mongooseim_store_retired_offline_total", "Offline messages that expired.")
      .Add({}, read(housekept_->offline));
  out.Gauge("mongooseim_store_waiting", "Batches that wait to be written.")
      .Add({}, read(store.waiting));
}

void XmppNode::Account(AccountRequest request, AccountDone done) {
  DoAccount(*service_, domains_, std::move(request), std::move(done));
}

void XmppNode::Command(PassedCommand command, CtlDone done) {
  DoXmppCommand(commands_, std::move(command), std::move(done));
}

void XmppNode::CountAccounts(std::move_only_function<void(uint64_t accounts)> done) {
  accounts_->Get(*service_, std::move(done));
}

}  // namespace server
