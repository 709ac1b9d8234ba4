// A node's XMPP for clients: its workers, listeners on all of them, certificates by domain, and the
// numbers of it all.
//
// For one thread, the node's, which is none of its workers'. Stop() takes up to kStopTime, since
// clients are told first and what they had not is given back to their homes. The store is made
// before it and ends behind it.
#pragma once

#include <atomic>
#include <cstdint>
#include <expected>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "net/base/address.h"
#include "net/base/hash.h"
#include "net/conn/worker_threads.h"
#include "net/report/metrics.h"
#include "server/c2s/xmpp_worker.h"

namespace server {

// A domain that is served.
struct XmppHost {
  std::string domain;  // prepared
  net::TlsCertificateFiles certificate;
  std::string client_ca;  // PEM; clients may show a certificate of theirs (EXTERNAL). "": none
};

struct XmppListen {
  std::vector<net::Address> plain;  // STARTTLS
  std::vector<net::Address> tls;    // at once (XEP-0368)
  std::vector<net::Address> proxy;  // behind a balancer that says who the client is
  std::vector<net::Cidr> proxy_from;
  uint32_t connections_max = 0;
};

struct XmppSetup {
  XmppOptions options;
  std::vector<XmppHost> hosts;
  XmppListen listen;
  MakeStore make_store;
  MakeHome make_home;
  std::function<void(std::vector<SessionRecord> changed)> on_sessions;
  // Of a cluster: XmppShared's of those names.
  std::string node = {};
  std::function<void(std::vector<HomeRecord> changed)> on_homes = nullptr;
  std::function<void(std::vector<NodeMail> mail)> to_nodes = nullptr;
  std::function<bool(NodeNumber node)> crowded = nullptr;
};

using XmppErrors = std::vector<std::string>;

// By domain, each with its own certificate first.
std::expected<TlsByDomain, XmppErrors> MakeTls(const std::vector<XmppHost>& hosts,
                                               std::shared_ptr<net::TlsTicketKeys> tickets);

class XmppService {
 public:
  static constexpr net::Duration kStopTime = std::chrono::seconds(5);

  // `clock` outlives it.
  static std::expected<std::unique_ptr<XmppService>, XmppErrors> Start(XmppSetup setup,
                                                                       const net::Clock& clock);
  ~XmppService();
  XmppService(const XmppService&) = delete;
  XmppService& operator=(const XmppService&) = delete;

  // As they are in the files now; nothing changes where one of them is wrong. Sessions go on.
  std::expected<void, XmppErrors> ReloadCertificates();
  // Clients are told and closed; what they had goes back to their homes, on other nodes as well.
  // Behind it nobody but Stop() may call.
  void CloseClients();
  void Stop();
  // In one line with what other workers have for it: what was told here first is first there.
  void OnWorker(size_t worker, XmppWorker::Item task) { slots_[worker].AddAlways(std::move(task)); }
  // On one of the workers.
  void OnWorker(XmppWorker::Item task) { OnWorker(0, std::move(task)); }
  // On the one that has the home of a user.
  void OnHomeOf(std::string_view bare, XmppWorker::Item task) {
    OnWorker(net::StableHash(bare) % threads_->size(), std::move(task));
  }
  size_t workers() const { return threads_->size(); }
  // Each worker knows it at the end of its next turn.
  void SetPressure(MemoryPressure pressure) { shared_.pressure = pressure; }
  // What is kept for nobody in particular leaves memory: homes of who is away, empty rooms.
  void Ease() {
    threads_->PostAll([](XmppWorker& worker) { worker.Ease(); });
  }
  // The heaviest of all workers' sessions end for want of memory, as far as `bytes` go
  // (heaviest.h): each worker is asked for its own, then they are chosen among all. `done` hears on
  // one of the workers what is about to end, and never where the service stops before.
  struct Ordered {
    uint64_t sessions = 0;
    uint64_t bytes = 0;
  };
  void EndHeaviest(uint64_t bytes, std::move_only_function<void(Ordered ordered)> done);
  // What sessions wait with: not acknowledged; buffers of what the kernel has not taken.
  uint64_t waiting_bytes() const { return shared_.waiting_bytes.load(std::memory_order_relaxed); }
  uint64_t output_bytes() const;
  // By reason, since the start: what was ended or refused for want of memory.
  struct MemoryShed {
    uint64_t heavy = 0;     // sessions that waited with much
    uint64_t detached = 0;  // sessions without a connection
    uint64_t streams = 0;   // refused
    uint64_t bindings = 0;  // refused
    uint64_t stanzas = 0;   // sent back
  };
  MemoryShed memory_shed() const;
  // Listeners close, and so many sessions a second, of all workers.
  void Drain(double per_s) {
    threads_->PostAll([each = per_s / static_cast<double>(threads_->size())](XmppWorker& worker) {
      worker.Drain(each);
    });
  }
  // It takes clients again, where it did before; who was not told to go stays. An error: nothing
  // has changed, it drains on.
  XmppErrors EndDrain();
  // `count` of the sessions whose connection is here, over all workers: first who may resume
  // elsewhere, of these who has been idle for the longest. shedding() knows them behind it.
  void Shed(uint64_t count, double per_s);
  struct Shedding {
    uint64_t left = 0;
    uint64_t drained = 0;    // since the start, with those of drains
    uint64_t resumable = 0;  // of them
  };
  Shedding shedding() const;
  uint64_t connections() const;
  uint64_t detached() const;  // sessions that may be resumed
  // Sessions of other nodes whose homes may yet move there.
  uint64_t guests_to_move() const;
  // All of them.
  uint64_t guests() const;
  // Logins a second that its share of the processors pays for, by what they cost lately.
  double login_budget() const;
  uint64_t parked_bytes() const;
  void OnEachWorker(const std::function<void(XmppWorker& worker)>& task) {
    for (size_t worker = 0; worker < slots_.size(); ++worker) OnWorker(worker, task);
  }

  // Where it listens, in the order of the setup: plain, tls, proxy.
  const std::vector<net::Address>& addresses() const { return addresses_; }
  uint64_t sessions() const;
  void WriteMetrics(net::MetricsWriter& out) const;

 private:
  using Threads = net::WorkerThreads<XmppWorker>;
  // Of a worker; they live as long as the threads.
  struct Counters {
    const ClientCounters* streams = nullptr;
    const WorkerCounters* worker = nullptr;
    const net::ConnStats* conns = nullptr;
    const FarCounters* far = nullptr;
  };

  XmppService(XmppSetup setup, const net::Clock& clock);
  XmppErrors StartThreads();
  // A worker's socket that listens, and that nobody accepts from yet.
  struct Opened {
    size_t worker;
    net::UniqueFd socket;
    net::Address at;
    bool tls;
    bool proxy;
  };
  // All that is to be, or what is wrong.
  std::expected<std::vector<Opened>, XmppErrors> OpenAll();
  // One of each worker is added; the answer is where they are.
  std::expected<net::Address, XmppErrors> Open(const net::Address& address, bool tls, bool proxy,
                                               std::vector<Opened>& opened) const;
  void Accept(std::vector<Opened> opened);
  void EndGuests();
  XmppErrors StartListening();
  template <typename Of>
  uint64_t Sum(Of of) const;
  void WriteHostMetrics(net::MetricsWriter& out) const;

  const std::vector<XmppHost> hosts_;
  const XmppListen listen_;
  XmppShared shared_;
  std::shared_ptr<net::TlsTicketKeys> tickets_;
  TlsByDomain tls_;
  // Written by each worker as it is made, which Start() waits for.
  std::vector<Counters> counters_;
  std::shared_ptr<net::ListenerCounts> counts_ = std::make_shared<net::ListenerCounts>();
  std::vector<net::Address> addresses_;
  std::unique_ptr<Threads> threads_;
  std::vector<XmppWorker::Box::Slot> slots_;  // by worker
  bool closed_ = false;
};

}  // namespace server
