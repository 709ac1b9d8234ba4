// Makes the checks: connects to a balancer, speaks as the check says, and reports in words.
//
// One thread, the control loop's. Every check is bounded in time (its timeout) and in bytes.
#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "dns/pool/health.h"
#include "net/base/address.h"
#include "net/http/http.h"
#include "net/io/event_loop.h"
#include "net/tls/tls_engine.h"

namespace dns {

// What a peer may send before it has said what it should.
constexpr size_t kProbeBytesMax = 64 * 1024;

// What all probes share: TLS without verification of the peer's certificate, since a check asks
// whether the balancer works, by its address.
struct ProbeTls {
  std::unique_ptr<net::TlsWorker> worker;
  std::shared_ptr<const net::TlsClientContext> context;

  static std::expected<ProbeTls, std::string> Create();
};

using ProbeDone = std::move_only_function<void(CheckResult)>;

// Starts a check; `done` is called once, from the loop, unless the handle is dropped before.
class ProbeHandle;
std::shared_ptr<ProbeHandle> StartProbe(net::EventLoop& loop, ProbeTls& tls,
                                        const CheckConfig& config, const net::Address& address,
                                        ProbeDone done);
// One request over plain HTTP; for the peers' views, and orders to them. An answer of whatever
// status is no error.
using FetchDone = std::move_only_function<void(std::expected<net::HttpReply, std::string>)>;
std::shared_ptr<ProbeHandle> StartFetch(net::EventLoop& loop, const net::Address& address,
                                        net::HttpClientRequest request, net::Duration timeout,
                                        FetchDone done);

// Judges an HTTP answer and an XMPP stream's first bytes. Pure; for tests and fuzzing.
CheckResult JudgeHttp(const CheckConfig& config, int status, const std::string& body);
enum class StreamVerdict { kMore, kGood, kBad };
StreamVerdict JudgeStream(std::string_view received, std::string* reason);

// Checks that are under way at the same time; more wait for their turn.
constexpr size_t kProbesMax = 512;
// Sockets of the loop that checks leave to others (the peers, the admin pages).
constexpr uint32_t kSlotsKept = 128;

// Was it for want of something of ours that no connection came about? Then nothing is known of the
// peer. `why` as a Channel has it.
bool IsOurFault(std::string_view why);

// Runs the checks of all pools, each at its interval with ±10 % jitter, faster while its verdict is
// changing. At most kProbesMax at a time: where that is too few for the intervals, these stretch,
// and no time-out runs before a check has begun.
class Prober {
 public:
  struct Target {
    size_t pool = 0;
    size_t balancer = 0;
    size_t check = 0;
    size_t address_index = 0;
    net::Address address;
    CheckConfig config;
  };
  using OnResult = std::function<void(const Target&, CheckResult)>;
  using IsChanging = std::function<bool(const Target&)>;

  Prober(net::EventLoop& loop, ProbeTls& tls, OnResult on_result, IsChanging is_changing);
  ~Prober();

  // Replaces the list; checks that are under way are dropped.
  void SetTargets(std::vector<Target> targets);
  uint64_t started() const { return started_; }
  uint64_t not_made() const { return not_made_; }
  size_t running() const { return running_; }
  size_t waiting() const { return waiting_.size(); }

 private:
  struct Slot;
  void Schedule(size_t index, net::Duration after);
  void Run(size_t index);
  bool HasRoom() const;
  void Start(size_t index);
  void StartWaiting();
  void Done(size_t index, CheckResult result);

  net::EventLoop& loop_;
  ProbeTls& tls_;
  OnResult on_result_;
  IsChanging is_changing_;
  std::vector<Slot> slots_;
  uint64_t round_ = 0;          // of SetTargets: what belongs to an older one is ignored
  std::deque<size_t> waiting_;  // the longest first
  size_t running_ = 0;
  bool retry_armed_ = false;
  uint64_t started_ = 0;
  uint64_t not_made_ = 0;
  net::Time not_made_logged_{};
  uint64_t jitter_ = 1;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace dns
