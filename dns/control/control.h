// The running server: configuration, health, answers, workers, and what operators ask of it.
//
// One control thread (an EventLoop) owns all of this. Workers see only what the Publisher gives
// them; the TCP thread has its own loop. Life: Create() binds or takes over the sockets and
// compiles the first generation → Start() → Reload(), overrides, upgrades → Stop() drains and ends
// the loop.
#pragma once

#include <atomic>
#include <expected>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "dns/answer/compile.h"
#include "dns/answer/publisher.h"
#include "dns/config/config.h"
#include "dns/control/fleet.h"
#include "dns/control/probe.h"
#include "dns/control/secondaries.h"
#include "dns/control/serials.h"
#include "dns/control/serving.h"
#include "dns/control/state_file.h"
#include "dns/control/zone_builder.h"
#include "dns/pool/health.h"
#include "dns/pool/pool_sets.h"
#include "dns/serve/notify.h"
#include "dns/serve/transfer.h"
#include "dns/serve/update_sink.h"
#include "dns/tsig/tsig.h"
#include "dns/update/update.h"
#include "net/io/event_loop.h"
#include "net/report/metrics.h"

namespace dns {

// "pool/balancer": what a balancer is called in files, logs and between nodes.
std::string BalancerKey(const PoolConfig& pool, size_t balancer);

constexpr size_t kAcmeMax = 64;  // challenges at the same time

class Control {
 public:
  static std::expected<std::unique_ptr<Control>, std::string> Create(net::EventLoop& loop,
                                                                     Config config,
                                                                     InheritedSockets inherited);
  ~Control();

  std::string Start();  // "" or why not

  // Applies the file again: whole, or not at all. It is read, and its zones are compiled, beside
  // the loop; then `done` gets "", or an error that names every mistake.
  using ReloadDone = std::move_only_function<void(const std::string& error)>;
  void Reload(ReloadDone done);
  // Stops accepting and answering, then calls `done` (on the loop). `handed_over`: the sockets live
  // on in another process, so what stands in their queues is not ours.
  void Stop(bool handed_over, net::Task done);

  // --- The operator's word. "" or why not. Written to the state file before they return.
  std::string SetOverride(const std::string& pool, const std::string& balancer, Override value,
                          const std::string& by);
  // Puts a TXT record at _acme-challenge.NAME for `seconds`. It goes to the secondaries, and
  // outlives restarts and upgrades.
  std::string SetAcme(const std::string& name, const std::string& token, uint32_t seconds);
  // Takes tokens away: this one, all of the name's (token empty), or all (name empty too).
  std::string ClearAcme(const std::string& name, const std::string& token);
  std::string AcmeJson() const;

  // Asks a zone's primary at once; `whole`: for all of it. "" or why not.
  std::string RefreshZone(const std::string& zone, bool whole) {
    return secondaries_.Refresh(zone, whole);
  }

  // --- Orders to all DNS nodes of the quorum.
  struct PeerAnswer {
    std::string name;
    std::string reply;  // a line of JSON, where there is one
    std::string error;
  };
  // Sends the ctl request to every peer; `done` once, with an answer of each. The error says why
  // there is nobody to order.
  std::string OrderPeers(const std::string& request,
                         std::move_only_function<void(std::vector<PeerAnswer>)> done);
  // An order from a peer: `execute` makes the reply to the ctl request.
  net::HttpResponse TakeOrder(const net::HttpRequest& request,
                              const std::function<std::string(const std::string&)>& execute);
  // The answer to a node that asks for ViewJson(), signed where it wants that.
  net::HttpResponse SignView(const net::HttpRequest& request, net::HttpResponse view) const;

  // --- Reports, as JSON text.
  std::string StatesJson() const;
  // Every key of every zone: its file, what it does now, its times.
  std::string KeysJson() const;
  std::string StatusJson() const;
  std::string StatsJson() const;
  std::string ViewJson() const;  // what peers ask for: which balancers are down as seen from here
  // The answer for a name: each address with its exact share, as it is, and if one were down.
  std::expected<std::string, std::string> ExplainJson(const std::string& name,
                                                      const std::string& if_down) const;
  std::string Metrics() const;
  // Judges an UPDATE of challenges, or a NOTIFY of a zone's primary, and does it; the response.
  Bytes AnswerOrder(ByteView message, const net::Address& client);
  bool ready() const { return started_ && !stopping_; }
  std::string StatusLine() const;  // for systemd

  const Config& config() const { return *config_; }
  // What a process that takes over gets: duplicates of the sockets, and what is known.
  net::Inheritance Inheritance() const { return {serving_.Share(), HandOverJson()}; }
  std::string HandOverJson() const;
  void Restore(const std::string& hand_over_json);

 private:
  struct PoolRuntime {
    std::vector<BalancerHealth> balancers;
    std::map<std::string, std::vector<bool>> peer_down;  // by peer, a balancer
    std::vector<Standing> standings;                     // as last logged
  };
  struct Acme {
    Name owner;
    std::string token;
    int64_t until_ms = 0;  // since 1970
  };
  // UPDATEs and NOTIFYs on their way here from the threads that received them.
  struct UpdateGate {
    std::atomic<size_t> waiting{0};
  };
  struct PeerState {
    std::map<std::string, bool> down;  // "pool/balancer"
    net::Time at;
    std::string error = "not asked yet";
    std::shared_ptr<ProbeHandle> running;
  };

  Control(net::EventLoop& loop, Config config);
  void MakeRuntimes(const Config& config, std::vector<PoolRuntime>* out) const;
  void StartChecks();
  void OnResult(const Prober::Target& target, CheckResult result);
  // Works out the verdicts of the pools that something happened to, and publishes a new generation
  // where what is given out changed. MarkDirty: at the end of this turn.
  void MarkDirty(size_t pool);
  void MarkAllDirty();
  void Refresh();
  bool RefreshPool(size_t pool, net::Time now);
  void ArmStepTimer();
  // Reads and compiles what is asked for, what primaries have sent, or what has come of age; one
  // after the other.
  void StartBuild();
  void BuildTransferred();
  std::string ApplyLoaded(ZoneBuilder::Built built);
  void TakeCompiler(ZoneBuilder::Built built);
  void WatchRateLimit();
  // Publishes what has changed: pools (bit i for pool i), serials, challenges.
  void Republish(uint64_t changed_pools);
  void TellCompiler();
  std::vector<Record> OverlayRecords() const;
  bool KeysChanged() const;
  // Gives new serials to those of the zones whose content is another one; they are saved when this
  // returns. The indexes of these zones.
  std::vector<size_t> StepSerials(const std::vector<size_t>& zones);
  std::vector<size_t> AllZones() const;
  uint64_t ContentOf(const ZoneConfig& zone) const;
  uint32_t SerialOf(const ZoneConfig& zone) const;
  void Notify(const std::vector<size_t>& zones);
  std::optional<net::Address> NotifySource(const ZoneConfig& zone, const net::Address& to) const;
  // The challenges changed.
  void PublishAcme();
  std::expected<Name, std::string> ChallengeOwner(const std::string& name) const;
  // The zone with the longest name that `name` is within, or null.
  const ZoneConfig* ZoneOf(const Name& name) const;
  // Names that exist beside the zones' own: of pools' sets, and of challenges.
  std::set<Name> NamesBeside(const PoolSets& sets) const;
  void ArmAcmeTimer();
  UpdateSink MakeUpdateSink();
  UpdateRcode JudgeSignedUpdate(const Update& update, const TsigCheck& tsig);
  Bytes AnswerUpdate(ByteView plain, TsigCheck& tsig, const net::Address& client, uint64_t now);
  Bytes AnswerNotify(ByteView plain, const TsigCheck& tsig, const net::Address& client);
  UpdateRcode DoUpdate(const Update& update, const ZoneConfig& zone);
  void PublishTransferSource();
  void AskPeers();
  void TakePeerView(const std::string& name, const std::string& json);
  void ApplyVotes();
  SavedState State() const;
  // Written when it returns; durable where a serial or the operator's word needs it.
  void SaveState(bool durable = false);
  void SaveStateSoon();
  void LoadState();
  void ApplyState(const SavedState& state);
  void TakeAbsent();
  void Housekeeping();
  void WriteSecondaryMetrics(net::MetricsWriter& out) const;
  uint32_t UnixNow() const;
  int64_t UnixNowMs() const;

  net::EventLoop& loop_;
  std::unique_ptr<Config> config_;
  std::vector<PoolRuntime> runtimes_;
  std::vector<PoolView> views_;
  std::vector<std::vector<BalancerLive>> lives_;
  std::shared_ptr<SignatureStore> signatures_;
  // Of the last time that signatures were made anew: secondaries get them as another content.
  uint32_t signed_at_ = 0;
  std::unique_ptr<Compiler> compiler_;
  std::unique_ptr<Publisher> publisher_;
  ProbeTls probe_tls_;
  std::unique_ptr<Prober> prober_;
  TransferSource transfers_;
  std::map<Name, ZoneJournal> journals_;  // of zones with secondaries
  std::unique_ptr<Notifier> notifier_;
  std::shared_ptr<UpdateGate> update_gate_ = std::make_shared<UpdateGate>();
  TsigReplays replays_;
  FleetGate fleet_gate_;
  Secondaries secondaries_{loop_, [this] { StartBuild(); }};
  uint64_t updates_done_ = 0;
  uint64_t updates_refused_ = 0;
  Serving serving_;
  std::vector<Acme> acme_;
  std::map<std::string, PeerState> peers_;
  Serials serials_;
  StateFile state_file_;
  // Of pools and balancers that are not in the configuration now: they may come back.
  std::map<std::string, SavedHealth> absent_;
  net::Time saved_at_{};
  bool save_armed_ = false;
  uint64_t dirty_pools_ = 0;
  bool refresh_posted_ = false;
  std::vector<std::optional<net::Time>> next_steps_;  // a pool
  net::EventLoop::TimerId acme_timer_{};
  bool acme_armed_ = false;
  net::EventLoop::TimerId step_timer_{};
  bool step_armed_ = false;
  std::vector<ReloadDone> reloads_waiting_;
  RateLimitWatch rate_limit_watch_;
  bool started_ = false;
  bool owns_state_ = false;  // the state file is ours to write
  bool stopping_ = false;
  uint64_t health_changes_ = 0;
  uint64_t reloads_ok_ = 0;
  uint64_t reloads_failed_ = 0;
  net::Time started_at_;
  ZoneBuilder builder_{loop_};
};

}  // namespace dns
