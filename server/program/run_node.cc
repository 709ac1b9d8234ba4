#include "server/program/run_node.h"

#include <malloc.h>
#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdlib>
#include <future>
#include <map>
#include <memory>
#include <optional>
#include <utility>

#include "net/base/clock.h"
#include "net/io/socket.h"
#include "net/report/log.h"
#include "net/report/log_output.h"
#include "net/service/service_manager.h"
#include "net/service/signals.h"
#include "net/service/state_file.h"
#include "server/dist/dist_node.h"
#include "server/im/letters.h"
#include "server/node/cluster_host.h"
#include "server/node/discovery.h"
#include "server/node/node_rpc.h"
#include "server/node/pages.h"
#include "server/program/ctl_service.h"
#include "server/program/ctl_wire.h"
#include "server/program/descriptors.h"
#include "server/program/drain_forecast.h"
#include "server/program/drain_watch.h"
#include "server/program/memory_watch.h"
#include "server/program/node_lock.h"
#include "server/program/node_log.h"
#include "server/program/session_table.h"
#include "server/program/source_commit.h"
#include "server/program/store_discovery.h"
#include "server/program/xmpp_node.h"

namespace server {
namespace {

constexpr std::initializer_list<int> kSignals = {SIGTERM, SIGINT, SIGHUP};
// Between telling the others that this node stops and closing the links.
constexpr net::Duration kGoodbyeTime = std::chrono::milliseconds(100);
constexpr net::Duration kMemoryEvery = std::chrono::milliseconds(100);
constexpr net::Duration kLoadEvery = std::chrono::seconds(1);

net::Duration ProcessorTime() {
  rusage used{};
  getrusage(RUSAGE_SELF, &used);
  const auto of = [](const timeval& t) {
    return std::chrono::seconds(t.tv_sec) + std::chrono::microseconds(t.tv_usec);
  };
  return of(used.ru_utime) + of(used.ru_stime);
}

// What the sessions are kept in.
std::vector<TableOptions> Tables() {
  return {{.id = kSessionTable, .name = "session", .unique = true},
          {.id = XmppCluster::kHomeTable, .name = "home", .unique = true}};
}

class Node {
 public:
  Node(NodeSetup setup, RunOptions options)
      : setup_(std::move(setup)), options_(std::move(options)), began_(clock_.Now()) {}

  RunResult Run();

 private:
  using Errors = std::vector<std::string>;

  Errors Prepare();
  Errors OpenPages();
  Errors Start();
  Errors StartXmpp();
  void End();
  // On the node's thread.
  void Assemble();
  void OnSignal(int number);
  void BeginStop(bool again);
  bool DrainFirst(bool again);
  void WaitForDrain(bool again, net::Time end);
  void StopNow(bool again);
  void TakeApart();
  void MeterLoad();
  void Account(AccountRequest request, AccountDone done);
  void Xmpp(XmppRequest request, CtlDone done);
  NodeHooks Hooks();
  void Pass(const std::string& node, PassedCommand command, CtlDone done);
  void Stats(std::move_only_function<void(NodeStats)> done);
  std::vector<KnownSession> KnownSessions();
  std::vector<std::pair<std::string, uint64_t>> MemoryCategories();
  void Discover(std::unique_ptr<DiscoverySource> source);
  void Drain(double per_s, net::Duration deadline);
  std::expected<void, std::string> EndDrain();
  std::optional<Pages::DrainAnswer> DrainByOrder(const Pages::DrainOrder& order);
  DrainState Drained();
  bool Alone() const;
  uint64_t DrainLeft();
  DrainForecast Forecast(double per_s, net::Duration deadline) const;
  std::vector<uint64_t> SessionCounts() const;
  void MeterMemory();
  void WriteMoreMetrics(net::MetricsWriter& out) const;
  std::string StatusLine() const;
  NodeFacts Facts() const;
  NodeLoad Load() const {
    return {.sessions = clients_ == nullptr ? 0 : clients_->sessions(),
            .max_sessions = setup_.max_ports.value,
            .load = load_,
            .draining = stopping_ || drain_.draining()};
  }
  void WriteStatus(std::string_view status) const;

  NodeSetup setup_;
  RunOptions options_;
  BootClock clock_;
  const net::Time began_;
  std::optional<NodeLock> lock_;
  std::unique_ptr<DistNode> node_;
  std::unique_ptr<ClusterHost> cluster_;
  std::unique_ptr<XmppCluster> xmpp_cluster_;
  std::vector<net::UniqueFd> listeners_;
  std::promise<bool> stop_asked_;
  size_t client_sockets_ = 0;
  bool assembled_ = false;
  // Made and ended by the thread that runs the node, which tells the node's.
  std::unique_ptr<XmppNode> xmpp_;

  // On the node's thread, made and destroyed there.
  XmppNode* clients_ = nullptr;  // while it serves them
  std::vector<std::unique_ptr<Pages>> pages_;
  std::unique_ptr<net::ServiceManager> service_;
  std::unique_ptr<net::SignalWatcher> signals_;
  std::unique_ptr<Discovery> discovery_;
  net::EventLoop::TimerId load_timer_{};
  net::EventLoop::TimerId memory_timer_{};
  net::EventLoop::TimerId drain_timer_{};  // the drain's deadline
  net::Time load_at_{};
  net::Duration load_used_{};
  double load_ = 0;
  std::optional<MemoryWatch> memory_;
  bool stopping_ = false;
  DrainWatch drain_;
  bool drains_to_stop_ = false;
  bool drain_late_ = false;
};

RunResult Node::Run() {
  for (auto step : {&Node::Prepare, &Node::OpenPages, &Node::Start, &Node::StartXmpp}) {
    if (Errors errors = (this->*step)(); !errors.empty()) {
      for (const std::string& error : errors) {
        net::Log(net::LogLevel::kError, "node", "cannot start", {{"reason", error}});
      }
      End();
      // Whoever holds the folder goes on with its status.
      if (lock_) WriteStatus("stopped");
      return {.end = RunEnd::kFailed, .errors = std::move(errors)};
    }
  }
  WriteStatus("started");
  options_.on_started();
  const bool again = stop_asked_.get_future().get();
  End();
  net::Log(net::LogLevel::kInfo, "node", "stopped", {{"node", setup_.dist.node}});
  WriteStatus("stopped");
  return {.end = again ? RunEnd::kRestart : RunEnd::kStopped};
}

// Clients first: what they had goes back to their homes, here and on other nodes, and into the
// store. Then the others hear that this node stops.
void Node::End() {
  if (!assembled_) return;
  const auto on_node = [&](const std::function<void()>& task) {
    std::promise<void> done;
    node_->Post([&] {
      task();
      done.set_value();
    });
    done.get_future().wait();
  };
  on_node([this] {
    if (clients_ != nullptr) clients_->EndCommands();
    clients_ = nullptr;
  });
  if (xmpp_ != nullptr) xmpp_->CloseClients();
  std::promise<void> said;
  on_node([&] {
    xmpp_cluster_->Detach();
    cluster_->Stop();
    node_->loop().After(kGoodbyeTime, [&said] { said.set_value(); });
  });
  if (xmpp_ != nullptr) xmpp_->Stop();
  said.get_future().wait();
  on_node([this] { TakeApart(); });
  node_->Stop();
  xmpp_.reset();
}

Node::Errors Node::Prepare() {
  auto lock = NodeLock::Take(setup_.folder.Lock());
  if (!lock) return {lock.error()};
  lock_ = std::move(*lock);
  const bool journal = std::getenv("JOURNAL_STREAM") != nullptr;
  const bool live = options_.mode == RunMode::kLive;
  const std::string& file = setup_.config.log.file;
  // The journal keeps what it is told; a second copy would only have to be rotated.
  const bool no_file = file.empty() || (live && journal);
  auto log = StartLog(setup_.config.log, no_file ? "" : setup_.folder.Path(file), live);
  if (!log) return {log.error()};
  WriteStatus("starting");
  const DescriptorLimit limit =
      RaiseDescriptorLimit(setup_.max_ports.value, setup_.max_ports.origin);
  const size_t needed = DistNode::SocketsNeeded(setup_.dist);
  if (needed > setup_.max_ports.value) {
    return {"dist.links_max of " + setup_.folder.Toml() + " needs " + std::to_string(needed) +
            " sockets, and ERL_MAX_PORTS is " + std::to_string(setup_.max_ports.value) + " (" +
            setup_.max_ports.origin + "); raise that, or lower dist.links_max"};
  }
  if (needed > limit.usable) {
    return {"not even " + std::to_string(needed) + " sockets for links and handshakes: " +
            limit.warning.value_or("the limit of open files is too low")};
  }
  if (limit.warning) setup_.warnings.push_back(*limit.warning);
  setup_.dist.sockets_max = limit.usable;
  client_sockets_ = limit.usable - needed;
  for (const std::string& warning : setup_.warnings) {
    net::Log(net::LogLevel::kWarn, "node", warning);
  }
  if (!setup_.args.unused.empty()) {
    std::string list;
    for (const std::string& flag : setup_.args.unused) list += (list.empty() ? "" : ", ") + flag;
    net::Log(net::LogLevel::kInfo, "node", "flags without a meaning here", {{"flags", list}});
  }
  auto node = DistNode::Create(setup_.dist);
  if (!node) return {node.error().what + "; " + node.error().remedy};
  node_ = std::move(*node);
  const NodeConfig::Cluster& times = setup_.config.cluster;
  auto cluster = ClusterHost::Create(*node_, setup_.folder.MemberFile(), Tables(), clock_,
                                     {.heartbeat = times.heartbeat,
                                      .silence = times.silence,
                                      .link_grace = times.link_grace,
                                      .isolate_after = times.isolate_after,
                                      .operation = times.operation_timeout},
                                     {.oldest = kLettersVersionMin, .newest = kLettersVersion});
  if (!cluster) return {cluster.error()};
  cluster_ = std::move(*cluster);
  xmpp_cluster_ = std::make_unique<XmppCluster>(*node_, *cluster_, clock_);
  AnswerNodeRpc(*node_, *cluster_,
                {.version = MONGOOSE_VERSION,
                 .commit = SourceCommit(),
                 .directory = setup_.folder.root,
                 .load = [this] { return Load(); },
                 .stop = [this] { BeginStop(false); }});
  AnswerCtl(
      *node_, *cluster_,
      {.facts = [this] { return Facts(); },
       .stats = [this](std::move_only_function<void(NodeStats)> done) { Stats(std::move(done)); },
       .discovered = [this] { return discovery_ ? discovery_->names() : Errors(); },
       .stop = [this](bool again) { BeginStop(again); },
       .account = [this](AccountRequest request,
                         AccountDone done) { Account(std::move(request), std::move(done)); },
       .xmpp = [this](XmppRequest request,
                      CtlDone done) { Xmpp(std::move(request), std::move(done)); }});
  return {};
}

Node::Errors Node::OpenPages() {
  for (const net::Address& address : setup_.config.http.listen) {
    const net::SocketName name = address.ToSocketName();
    auto fd = net::Listen(name.get(), name.size(), {.backlog = 128});
    if (!fd) {
      return {setup_.folder.Toml() + ": http.listen: " + address.ToString() + ": " + fd.error() +
              "; each node of a machine needs an address or a port of its own"};
    }
    listeners_.push_back(std::move(*fd));
  }
  return {};
}

Node::Errors Node::Start() {
  if (auto started = node_->Start(); !started) {
    return {started.error().what +
            (started.error().remedy.empty() ? "" : "; " + started.error().remedy)};
  }
  std::promise<void> assembled;
  node_->Post([&] {
    Assemble();
    assembled.set_value();
  });
  assembled.get_future().wait();
  assembled_ = true;
  return {};
}

Node::Errors Node::StartXmpp() {
  if (setup_.config.hosts.empty()) {
    net::Log(net::LogLevel::kWarn, "node",
             "there is no [[host]] in " + setup_.folder.Toml() + ": clients are not served");
    return {};
  }
  const auto on_sessions = [this](std::vector<SessionRecord> changed) {
    node_->Post([this, changed = std::move(changed)] {
      KeepSessions(cluster_->cluster(), changed);
      cluster_->cluster().Flush();
    });
  };
  auto xmpp = XmppNode::Start(setup_, client_sockets_, clock_,
                              {setup_.dist.node, on_sessions, *xmpp_cluster_}, Hooks());
  if (!xmpp) return std::move(xmpp.error());
  xmpp_ = std::move(*xmpp);
  node_->Post([this] {
    clients_ = xmpp_.get();
    xmpp_cluster_->Attach(xmpp_->service());
    if (setup_.config.cluster.discovery == NodeConfig::Cluster::Discovery::kStore) {
      Discover(DiscoveryStore(xmpp_->Keeper(node_->loop()), setup_.dist.node));
    }
  });
  return {};
}

void Node::Discover(std::unique_ptr<DiscoverySource> source) {
  discovery_ = std::make_unique<Discovery>(
      node_->loop(), *cluster_, std::move(source),
      Discovery::Options{.node = setup_.dist.node, .auto_join = setup_.config.cluster.auto_join});
}

NodeHooks Node::Hooks() {
  return {
      .sessions = [this] { return KnownSessions(); },
      .memory = [this] { return MemoryCategories(); },
      .drain = [this](double per_s, net::Duration deadline,
                      bool force) -> std::expected<void, std::string> {
        const auto answer = DrainByOrder({.per_s = per_s, .deadline = deadline, .force = force});
        if (answer && !answer->begun) {
          return std::unexpected(Forecast(per_s, deadline).ForOperators());
        }
        return {};
      },
      .undrain = [this] { return EndDrain(); },
      .drained = [this] { return Drained(); },
      .session_counts = [this] { return SessionCounts(); },
      .after = [this](net::Duration delay,
                      std::function<void()> task) { node_->loop().After(delay, std::move(task)); },
      .others =
          [this] {
            std::vector<std::string> others = cluster_->Status().running;
            std::erase(others, cluster_->cluster().self());
            return others;
          },
      .post =
          [this](std::move_only_function<void()> task) {
            node_->Post([this, task = std::move(task)]() mutable {
              if (clients_ != nullptr) task();
            });
          },
      .pass = [this](const std::string& node, PassedCommand command,
                     CtlDone done) { Pass(node, std::move(command), std::move(done)); }};
}

// Whoever waits is told by its call's end, where the node has ended its commands meanwhile.
void Node::Pass(const std::string& node, PassedCommand command, CtlDone done) {
  const XmppRequest request{.category = std::move(command.category),
                            .command = std::move(command.command),
                            .arguments = std::move(command.arguments),
                            .hops = command.hops};
  node_->Call(
      node, kCtlModule, "xmpp_here", PassedTerms(request), kPassTime,
      [this, node, done = std::move(done)](RpcResult result) mutable {
        if (clients_ == nullptr) return;
        auto answer = result ? ReadCtlAnswer(result->view()) : std::nullopt;
        if (answer) return done(std::move(*answer));
        CtlAnswer silent;
        silent.faults.push_back(
            {.message = "The node " + node + " did not answer: " +
                        (result ? "its words were not understood" : result.error().ToText()) +
                        ". It may have done it all the same",
             .extensions = {{"node", node}, {"code", std::string(kNotAnswering)}}});
        done(std::move(silent));
      });
}

void Node::Account(AccountRequest request, AccountDone done) {
  if (clients_ == nullptr) return done({.outcome = AccountOutcome::kNoXmpp});
  clients_->Account(std::move(request), [this, done = std::move(done)](AccountResult r) mutable {
    node_->Post([done = std::move(done), r = std::move(r)]() mutable { done(std::move(r)); });
  });
}

void Node::Xmpp(XmppRequest request, CtlDone done) {
  if (clients_ == nullptr) {
    CtlAnswer none;
    none.faults.push_back({.message = "The node has no [[host]] and does not speak XMPP",
                           .extensions = {{"code", std::string(kNoXmppThere)}}});
    return done(std::move(none));
  }
  PassedCommand command{.category = std::move(request.category),
                        .command = std::move(request.command),
                        .arguments = std::move(request.arguments),
                        .hops = request.hops};
  clients_->Command(std::move(command), [this, done = std::move(done)](CtlAnswer answer) mutable {
    node_->Post([done = std::move(done), answer = std::move(answer)]() mutable {
      done(std::move(answer));
    });
  });
}

// Accounts are counted by the store, now and then.
void Node::Stats(std::move_only_function<void(NodeStats)> done) {
  NodeStats stats{.uptime_s = Facts().uptime_s,
                  .online_users_node = clients_ == nullptr ? 0 : clients_->sessions(),
                  .online_users = cluster_->cluster().table(kSessionTable)->size()};
  if (clients_ == nullptr) return done(stats);
  clients_->CountAccounts([this, stats, done = std::move(done)](uint64_t accounts) mutable {
    stats.registered_users = accounts;
    node_->Post([stats, done = std::move(done)]() mutable { done(stats); });
  });
}

std::vector<KnownSession> Node::KnownSessions() {
  std::vector<KnownSession> known;
  cluster_->cluster().table(kSessionTable)->ForEachRecord([&](const RecordView& record) {
    known.push_back({.full = std::string(record.key), .node = std::string(record.owner)});
  });
  return known;
}

void Node::WriteMoreMetrics(net::MetricsWriter& out) const {
  out.Counter("mongooseim_log_dropped_total", "Lines that the log did not take.")
      .Add({}, net::LogLinesDropped());
  if (clients_ == nullptr) return;
  clients_->WriteMetrics(out);
  xmpp_cluster_->WriteMetrics(out);
  WriteSessionMetrics(*cluster_->cluster().table(kSessionTable), out);
  out.Gauge("mongooseim_memory_bound_bytes", "What the node may take ([limits] memory).")
      .Add({}, memory_->bound());
  out.Gauge("mongooseim_memory_resident_bytes", "What it takes.").Add({}, memory_->resident());
  auto pressure = out.Gauge("mongooseim_memory_pressure", "How near the two are.");
  constexpr std::array<std::string_view, 3> kNames = {"enough", "short", "full"};
  for (size_t state = 0; state < kNames.size(); ++state) {
    pressure.Add({{"state", kNames[state]}},
                 memory_->pressure() == static_cast<MemoryPressure>(state) ? 1 : 0);
  }
}

void Node::Assemble() {
  net::EventLoop& loop = node_->loop();
  cluster_->Start();
  for (net::UniqueFd& fd : listeners_) {
    pages_.push_back(std::make_unique<Pages>(
        *node_, *cluster_, [this] { return Load(); },
        [this](net::MetricsWriter& out) { WriteMoreMetrics(out); },
        Pages::Drain{setup_.drain_credentials,
                     [this](const Pages::DrainOrder& order) { return DrainByOrder(order); },
                     [this] { return EndDrain(); }},
        std::move(fd)));
  }
  service_ = std::make_unique<net::ServiceManager>(loop, [this] { return StatusLine(); });
  signals_ = std::make_unique<net::SignalWatcher>(loop, kSignals,
                                                  [this](int number) { OnSignal(number); });
  if (setup_.config.cluster.discovery == NodeConfig::Cluster::Discovery::kFile) {
    Discover(DiscoveryFile(setup_.folder.Path(setup_.config.cluster.discovery_file)));
  }
  load_at_ = clock_.Now();
  load_used_ = ProcessorTime();
  memory_.emplace(MemoryBound(setup_.config.limits.memory, ReadMemoryFacts()));
  MeterLoad();
  MeterMemory();
  service_->Ready();
  net::Log(net::LogLevel::kInfo, "node", "started",
           {{"node", setup_.dist.node},
            {"version", MONGOOSE_VERSION},
            {"dist_port", node_->port()},
            {"max_ports", setup_.max_ports.value},
            {"folder", setup_.folder.root}});
}

// What takes memory, as far as it is known apart; the rest is what stands behind all of it.
std::vector<std::pair<std::string, uint64_t>> Node::MemoryCategories() {
  std::vector<std::pair<std::string, uint64_t>> categories;
  categories.emplace_back("bound", memory_->bound());
  categories.emplace_back("resident", ReadMemoryFacts().resident);
  categories.emplace_back("heap", mallinfo2().uordblks + mallinfo2().hblkhd);
  uint64_t tables = 0;
  for (const uint32_t id : cluster_->table_ids()) {
    tables += cluster_->cluster().table(id)->memory_bytes();
  }
  categories.emplace_back("tables", tables);
  if (clients_ == nullptr) return categories;
  categories.emplace_back("storeQueue", clients_->store_metrics().waiting_bytes.load());
  categories.emplace_back("detachedSessions", clients_->service().parked_bytes());
  return categories;
}

// A second is long: a sender fills a hundred megabytes in it.
void Node::MeterMemory() {
  memory_timer_ = node_->loop().After(kMemoryEvery, [this] { MeterMemory(); });
  const MemoryPressure before = memory_->pressure();
  const MemoryPressure now = memory_->Look(ReadMemoryFacts().resident);
  if (clients_ != nullptr) clients_->service().SetPressure(now);
  if (now == before) return;
  const bool more = now > before;
  net::Log(more ? net::LogLevel::kWarn : net::LogLevel::kInfo, "node",
           now == MemoryPressure::kEnough  ? "there is memory again"
           : now == MemoryPressure::kShort ? "memory runs short: no new sessions"
                                           : "memory runs out: no new streams",
           {{"resident", memory_->resident()}, {"bound", memory_->bound()}});
}

void Node::Drain(double per_s, net::Duration deadline) {
  if (clients_ == nullptr) return;
  net::Log(net::LogLevel::kInfo, "node", "drains",
           {{"per_second", per_s}, {"connections", clients_->service().connections()}});
  drain_.Begin();
  drain_late_ = false;
  clients_->service().Drain(per_s);
  // The last order wins: a deadline of one before is none of it.
  node_->loop().CancelTimer(std::exchange(drain_timer_, {}));
  if (deadline <= net::Duration(0)) return;
  drain_timer_ = node_->loop().After(deadline, [this] {
    if (clients_ == nullptr || clients_->service().connections() == 0) return;
    drain_late_ = true;
    constexpr double kAll = 1e9;
    clients_->service().Drain(kAll);
  });
}

std::expected<void, std::string> Node::EndDrain() {
  if (clients_ == nullptr) return std::unexpected("clients are not served here");
  if (stopping_ || drains_to_stop_) return std::unexpected("the node stops");
  if (!drain_.draining()) return {};
  if (const XmppErrors errors = clients_->service().EndDrain(); !errors.empty()) {
    net::Log(net::LogLevel::kError, "node", "cannot take clients again",
             {{"reason", errors.front()}});
    return std::unexpected(errors.front());
  }
  node_->loop().CancelTimer(std::exchange(drain_timer_, {}));
  drain_.End();
  drain_late_ = false;
  net::Log(net::LogLevel::kInfo, "node", "drains no more",
           {{"connections", clients_->service().connections()}});
  return {};
}

// By whomever: what the others cannot carry is done by force alone.
std::optional<Pages::DrainAnswer> Node::DrainByOrder(const Pages::DrainOrder& order) {
  if (clients_ == nullptr) return std::nullopt;
  Pages::DrainAnswer answer{.connections = clients_->service().connections(), .forecast = {}};
  double per_s = order.per_s;
  if (per_s <= 0) {
    per_s = static_cast<double>(answer.connections) / net::Seconds(order.deadline) + 1;
  }
  const DrainForecast forecast = Forecast(per_s, order.deadline);
  answer.forecast = forecast.Json();
  answer.begun = order.force || forecast.carried();
  if (answer.begun) Drain(per_s, order.deadline);
  return answer;
}

DrainState Node::Drained() {
  return {.draining = drain_.draining(), .connections = DrainLeft(), .late = drain_late_};
}

bool Node::Alone() const { return cluster_->Status().running.size() <= 1; }

uint64_t Node::DrainLeft() {
  if (clients_ == nullptr) return 0;
  return drain_.Left({.connections = clients_->service().connections(),
                      .detached = clients_->service().detached(),
                      .alone = Alone()},
                     clock_.Now());
}

DrainForecast Node::Forecast(double per_s, net::Duration deadline) const {
  const ClusterStatus status = cluster_->Status();
  return ForecastDrain({.connections = clients_->service().connections(),
                        .per_s = per_s,
                        .deadline = deadline,
                        .members = status.members.size(),
                        .others = status.running.size() - 1,
                        .logins_per_s = clients_->service().login_budget()});
}

std::vector<uint64_t> Node::SessionCounts() const {
  std::map<std::string, uint64_t, std::less<>> counts;
  for (const std::string& node : cluster_->Status().running) counts[node] = 0;
  cluster_->cluster().table(kSessionTable)->ForEachRecord([&](const RecordView& record) {
    const auto it = counts.find(record.owner);
    if (it != counts.end()) ++it->second;
  });
  const auto own = counts.extract(cluster_->cluster().self());
  std::vector<uint64_t> all = {own ? own.mapped() : 0};
  for (const auto& [node, count] : counts) all.push_back(count);
  return all;
}

void Node::MeterLoad() {
  load_timer_ = node_->loop().After(kLoadEvery, [this] { MeterLoad(); });
  const net::Time now = clock_.Now();
  const net::Duration used = ProcessorTime();
  if (now > load_at_) {
    const auto share = static_cast<double>((used - load_used_).count()) /
                       static_cast<double>((now - load_at_).count());
    load_ = std::clamp(share / static_cast<double>(sysconf(_SC_NPROCESSORS_ONLN)), 0.0, 1.0);
  }
  load_at_ = now;
  load_used_ = used;
}

void Node::OnSignal(int number) {
  if (number == SIGHUP) {
    net::ReopenLogFile();
    net::Log(net::LogLevel::kInfo, "node", "the log was opened again");
    if (clients_ == nullptr) return;
    const XmppErrors errors = clients_->ReloadCertificates();
    for (const std::string& error : errors) {
      net::Log(net::LogLevel::kError, "node", "the certificates stay as they are",
               {{"reason", error}});
    }
    if (errors.empty()) {
      net::Log(net::LogLevel::kInfo, "node", "the certificates were read again");
    }
  } else if (stopping_) {
    _exit(1);
  } else {
    BeginStop(false);
  }
}

void Node::BeginStop(bool again) {
  if (!DrainFirst(again)) StopNow(again);
}

// Clients go one by one, where that is wanted, and the node behind them. Who is asked to stop once
// more stops at once.
bool Node::DrainFirst(bool again) {
  const net::Duration within = setup_.config.c2s.drain_on_stop;
  if (stopping_ || within <= net::Duration(0) || clients_ == nullptr) return false;
  if (DrainLeft() == 0 || std::exchange(drains_to_stop_, true)) return false;
  const net::Duration pace = DrainWatch::Pace(within, Alone());
  const auto connections = static_cast<double>(clients_->service().connections());
  Drain(connections / net::Seconds(pace) + 1, pace);
  const net::Time end = clock_.Now() + within;
  WaitForDrain(again, end);
  return true;
}

void Node::WaitForDrain(bool again, net::Time end) {
  constexpr net::Duration kLook = std::chrono::milliseconds(100);
  if (stopping_) return;
  const bool empty = DrainLeft() == 0;
  if (empty || clock_.Now() >= end) return StopNow(again);
  node_->loop().After(kLook, [this, again, end] { WaitForDrain(again, end); });
}

void Node::StopNow(bool again) {
  if (std::exchange(stopping_, true)) return;
  net::Log(net::LogLevel::kInfo, "node", "stopping", {{"restart", again}});
  WriteStatus("stopping");
  if (service_) service_->Stopping();
  // What was said to mongooseimctl is still on its way.
  node_->loop().After(kGoodbyeTime, [this, again] { stop_asked_.set_value(again); });
}

void Node::TakeApart() {
  discovery_.reset();
  node_->loop().CancelTimer(load_timer_);
  node_->loop().CancelTimer(memory_timer_);
  node_->loop().CancelTimer(drain_timer_);
  pages_.clear();
  signals_.reset();
  service_.reset();
}

std::string Node::StatusLine() const {
  const ClusterStatus status = cluster_->Status();
  return std::string(ToString(status.state)) + ", " + std::to_string(status.running.size()) +
         " of " + std::to_string(status.members.size()) + " members";
}

NodeFacts Node::Facts() const {
  const bool to_file = setup_.config.log.target == NodeConfig::Log::Target::kFile;
  const std::string& file = to_file ? setup_.config.log.file : "";
  return {
      .version = MONGOOSE_VERSION,
      .commit = SourceCommit(),
      .os_pid = getpid(),
      .uptime_s = std::chrono::duration_cast<std::chrono::seconds>(clock_.Now() - began_).count(),
      .status = stopping_ ? "stopping" : "started",
      .protocol = std::string(ToString(setup_.args.proto)),
      .log_path = file.empty() ? "" : setup_.folder.Path(file),
      .directory = setup_.folder.Data()};
}

void Node::WriteStatus(std::string_view status) const {
  const auto written = net::WriteStateFile(setup_.folder.Status(), std::string(status) + "\n");
  if (!written) {
    net::Log(net::LogLevel::kWarn, "node", "the status file is not written",
             {{"reason", written.error()}});
  }
}

}  // namespace

RunResult RunNode(const NodeFolder& folder, RunOptions options) {
  signal(SIGPIPE, SIG_IGN);
  net::BlockSignals(kSignals);
  auto setup = ReadNodeSetup(folder);
  if (!setup) return {.end = RunEnd::kFailed, .errors = std::move(setup.error())};
  return Node(std::move(*setup), std::move(options)).Run();
}

}  // namespace server
