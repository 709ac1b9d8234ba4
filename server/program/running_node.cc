#include "server/program/running_node.h"

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>

#include "net/report/log.h"
#include "net/report/log_output.h"
#include "net/service/program.h"
#include "net/service/state_file.h"
#include "server/im/letters.h"
#include "server/node/node_rpc.h"
#include "server/program/descriptors.h"
#include "server/program/node_log.h"
#include "server/program/session_table.h"
#include "server/program/source_commit.h"
#include "server/program/store_discovery.h"

namespace server {
namespace {

// What the sessions are kept in.
std::vector<TableOptions> Tables() {
  return {{.id = kSessionTable, .name = "session", .unique = true},
          {.id = XmppCluster::kHomeTable, .name = "home", .unique = true}};
}

}  // namespace

RunResult RunningNode::Run() {
  for (auto step : {&RunningNode::Prepare, &RunningNode::OpenPages, &RunningNode::Start,
                    &RunningNode::StartXmpp}) {
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
void RunningNode::End() {
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
  // Its last words are among what it has said.
  std::promise<void> heard;
  on_node([&] {
    xmpp_cluster_->WhenHeard(clock_.Now() + kHeardTime, [&heard] { heard.set_value(); });
  });
  heard.get_future().wait();
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

RunningNode::Errors RunningNode::Prepare() {
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

RunningNode::Errors RunningNode::OpenPages() {
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

RunningNode::Errors RunningNode::Start() {
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

RunningNode::Errors RunningNode::StartXmpp() {
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

void RunningNode::Discover(std::unique_ptr<DiscoverySource> source) {
  discovery_ = std::make_unique<Discovery>(
      node_->loop(), *cluster_, std::move(source),
      Discovery::Options{.node = setup_.dist.node, .auto_join = setup_.config.cluster.auto_join});
}

void RunningNode::Assemble() {
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
  BeginMeters();
  service_->Ready();
  net::Log(net::LogLevel::kInfo, "node", "started",
           {{"node", setup_.dist.node},
            {"version", MONGOOSE_VERSION},
            {"dist_port", node_->port()},
            {"max_ports", setup_.max_ports.value},
            {"folder", setup_.folder.root}});
}

void RunningNode::OnSignal(int number) {
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

void RunningNode::TakeApart() {
  discovery_.reset();
  node_->loop().CancelTimer(load_timer_);
  memory_.reset();
  node_->loop().CancelTimer(drain_timer_);
  pages_.clear();
  signals_.reset();
  service_.reset();
}

std::string RunningNode::StatusLine() const {
  const ClusterStatus status = cluster_->Status();
  return std::string(ToString(status.state)) + ", " + std::to_string(status.running.size()) +
         " of " + std::to_string(status.members.size()) + " members";
}

NodeFacts RunningNode::Facts() const {
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

void RunningNode::WriteStatus(std::string_view status) const {
  const auto written = net::WriteStateFile(setup_.folder.Status(), std::string(status) + "\n");
  if (!written) {
    net::Log(net::LogLevel::kWarn, "node", "the status file is not written",
             {{"reason", written.error()}});
  }
}

RunResult RunNode(const NodeFolder& folder, RunOptions options) {
  net::Program::Prepare(RunningNode::kSignals);
  auto setup = ReadNodeSetup(folder);
  if (!setup) return {.end = RunEnd::kFailed, .errors = std::move(setup.error())};
  return RunningNode(std::move(*setup), std::move(options)).Run();
}

}  // namespace server
