// The running server: configuration, health, answers, workers, and what operators ask of it.
//
// One control thread (an EventLoop) owns all of this. Workers see only what the Publisher gives
// them; the TCP thread has its own loop. Life: Create() binds or takes over the sockets and
// compiles the first generation → Start() → Reload(), overrides, upgrades → Stop() drains and ends
// the loop.
#pragma once

#include <expected>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "dns/answer/compile.h"
#include "dns/answer/publisher.h"
#include "dns/config/config.h"
#include "dns/control/probe.h"
#include "dns/control/serving.h"
#include "dns/control/state_file.h"
#include "dns/pool/health.h"
#include "dns/serve/notify.h"
#include "dns/serve/transfer.h"
#include "net/io/event_loop.h"

namespace dns {

class Control {
 public:
  static std::expected<std::unique_ptr<Control>, std::string> Create(net::EventLoop& loop,
                                                                     Config config,
                                                                     InheritedSockets inherited);
  ~Control();

  std::string Start();  // "" or why not

  // Applies the file again: whole, or not at all. The error names every mistake.
  std::string Reload();
  // Stops accepting and answering, then calls `done` (on the loop). `handed_over`: the sockets live
  // on in another process, so what stands in their queues is not ours.
  void Stop(bool handed_over, net::Task done);

  // --- The operator's word. "" or why not. Written to the state file before they return.
  std::string SetOverride(const std::string& pool, const std::string& balancer, Override value,
                          const std::string& by);
  // Puts a TXT record at _acme-challenge.NAME for `seconds`.
  std::string SetAcme(const std::string& name, const std::string& token, uint32_t seconds);

  // --- Reports, as JSON text.
  std::string StatesJson() const;
  std::string StatusJson() const;
  std::string StatsJson() const;
  std::string ViewJson() const;  // what peers ask for: which balancers are down as seen from here
  // The answer for a name: each address with its exact share, as it is, and if one were down.
  std::expected<std::string, std::string> ExplainJson(const std::string& name,
                                                      const std::string& if_down) const;
  std::string Metrics() const;
  bool ready() const { return started_ && !stopping_; }
  std::string StatusLine() const;  // for systemd

  const Config& config() const { return *config_; }
  // Duplicates of the sockets with their description, for a process that takes over.
  InheritedSockets ShareSockets() const { return serving_.Share(); }
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
    net::Time until;
  };
  struct PeerState {
    std::map<std::string, bool> down;  // "pool/balancer"
    net::Time at;
    std::string error = "not asked yet";
    std::shared_ptr<ProbeHandle> running;
  };

  Control(net::EventLoop& loop, Config config);
  void MakeRuntimes(const Config& config, std::vector<PoolRuntime>* out) const;
  std::unique_ptr<Compiler> MakeCompiler(const Config& config) const;
  void StartChecks();
  void OnResult(size_t pool, size_t balancer, size_t check, CheckResult result);
  // Works out all verdicts, and publishes a new generation where something changed.
  void Refresh(bool force = false);
  bool RefreshPool(size_t pool, net::Time now);
  void ArmStepTimer();
  void Rebuild();
  // Publishes what has changed: pools (bit i for pool i), serials, challenges.
  void Update(uint64_t changed_pools);
  void TellCompiler();
  std::vector<Record> OverlayRecords() const;
  uint32_t SerialOf(const ZoneConfig& zone) const;
  bool KeysChanged() const;
  void PublishTransferSource();
  void AskPeers();
  void TakePeerView(const std::string& name, const std::string& json);
  void ApplyVotes();
  void SaveState();
  void LoadState();
  void Housekeeping();
  uint32_t UnixNow() const;

  net::EventLoop& loop_;
  std::unique_ptr<Config> config_;
  std::vector<PoolRuntime> runtimes_;
  std::vector<PoolView> views_;
  std::vector<std::vector<BalancerLive>> lives_;
  SignatureStore signatures_;
  std::unique_ptr<Compiler> compiler_;
  std::unique_ptr<Publisher> publisher_;
  ProbeTls probe_tls_;
  std::unique_ptr<Prober> prober_;
  TransferSource transfers_;
  std::unique_ptr<Notifier> notifier_;
  Serving serving_{transfers_};
  std::vector<Acme> acme_;
  std::map<std::string, PeerState> peers_;
  std::map<std::string, uint32_t> serials_;  // by zone: raised when a pool changes its content
  StateFile state_file_;
  net::EventLoop::TimerId step_timer_{};
  bool step_armed_ = false;
  bool started_ = false;
  bool stopping_ = false;
  uint64_t health_changes_ = 0;
  uint64_t reloads_ok_ = 0;
  uint64_t reloads_failed_ = 0;
  net::Time started_at_;
};

}  // namespace dns
