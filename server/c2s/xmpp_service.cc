#include "server/c2s/xmpp_service.h"

#include <sys/random.h>
#include <sys/socket.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <ctime>
#include <future>
#include <numeric>
#include <thread>
#include <utility>

#include "net/base/check.h"
#include "net/conn/conn_metrics.h"
#include "net/io/socket.h"
#include "server/c2s/share_out.h"

namespace server {
namespace {

void Random(std::span<uint8_t> bytes) {
  CHECK(getrandom(bytes.data(), bytes.size(), 0) == static_cast<ssize_t>(bytes.size()));
}

std::string RandomText() {
  static constexpr std::string_view kDigits =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
  std::array<uint8_t, 24> bytes{};
  Random(bytes);
  std::string text;
  for (const uint8_t byte : bytes) text += kDigits[byte & 63U];
  return text;
}

int64_t UnixUs() {
  timespec now{};
  clock_gettime(CLOCK_REALTIME, &now);
  return int64_t{now.tv_sec} * 1'000'000 + now.tv_nsec / 1000;
}

// Of a stop: for homes to go to other nodes, and for those that stay to hear the last.
constexpr auto kMoveGuests = std::chrono::seconds(2);
constexpr auto kEndGuests = std::chrono::seconds(1);
constexpr auto kLookAtGuests = std::chrono::milliseconds(10);

XmppOptions Completed(XmppOptions options) {
  options.workers = std::max<size_t>(options.workers, 1);
  options.sasl.nonce = RandomText;
  if (options.sasl.secret.empty()) options.sasl.secret = RandomText();
  return options;
}

net::HashKey RandomKey() {
  net::HashKey key{};
  Random({reinterpret_cast<uint8_t*>(&key), sizeof key});
  return key;
}

net::Address BoundTo(int fd, const net::Address& asked) {
  sockaddr_storage name{};
  socklen_t size = sizeof name;
  if (getsockname(fd, reinterpret_cast<sockaddr*>(&name), &size) != 0) return asked;
  return net::Address::FromSockaddr(reinterpret_cast<sockaddr*>(&name), size).value_or(asked);
}

}  // namespace

std::expected<TlsByDomain, XmppErrors> MakeTls(const std::vector<XmppHost>& hosts,
                                               std::shared_ptr<net::TlsTicketKeys> tickets) {
  TlsByDomain by_domain;
  XmppErrors errors;
  for (size_t first = 0; first < hosts.size(); ++first) {
    if (hosts[first].certificate.chain.empty()) continue;
    net::TlsServerOptions options{.alpn = {"xmpp-client"}, .tickets = tickets};
    // The default, for clients that name nobody, goes first.
    for (size_t i = 0; i < hosts.size(); ++i) {
      const XmppHost& host = hosts[(first + i) % hosts.size()];
      if (host.certificate.chain.empty()) continue;
      net::TlsSite site{.names = {host.domain}, .certificates = {host.certificate}};
      if (!host.client_ca.empty()) {
        site.client_auth = net::TlsClientAuth::kOptional;
        site.client_ca = host.client_ca;
      }
      options.sites.push_back(std::move(site));
    }
    auto context = net::TlsServerContext::Create(options);
    if (!context) {
      for (const net::TlsConfigError& error : context.error()) {
        if (std::ranges::find(errors, error.ToString()) == errors.end()) {
          errors.push_back(error.ToString());
        }
      }
      break;  // the others have the same files
    }
    by_domain.emplace(hosts[first].domain, std::move(*context));
  }
  if (!errors.empty()) return std::unexpected(std::move(errors));
  return by_domain;
}

XmppService::XmppService(XmppSetup setup, const net::Clock& clock)
    : hosts_(std::move(setup.hosts)),
      listen_(std::move(setup.listen)),
      shared_(Completed(std::move(setup.options)), clock, RandomKey()),
      tickets_(net::TlsTicketKeys::Random()),
      counters_(shared_.options.workers) {
  shared_.unix_us = UnixUs;
  shared_.random = Random;
  shared_.make_store = std::move(setup.make_store);
  shared_.make_home = std::move(setup.make_home);
  shared_.on_sessions = std::move(setup.on_sessions);
  shared_.node = std::move(setup.node);
  shared_.on_homes = std::move(setup.on_homes);
  shared_.to_nodes = std::move(setup.to_nodes);
  shared_.crowded = std::move(setup.crowded);
}

XmppService::~XmppService() { Stop(); }

std::expected<std::unique_ptr<XmppService>, XmppErrors> XmppService::Start(
    XmppSetup setup, const net::Clock& clock) {
  std::unique_ptr<XmppService> service(new XmppService(std::move(setup), clock));
  auto tls = MakeTls(service->hosts_, service->tickets_);
  if (!tls) return std::unexpected(std::move(tls.error()));
  service->tls_ = std::move(*tls);
  for (auto step : {&XmppService::StartThreads, &XmppService::StartListening}) {
    if (XmppErrors errors = (service.get()->*step)(); !errors.empty()) {
      return std::unexpected(std::move(errors));
    }
  }
  return service;
}

XmppErrors XmppService::StartThreads() {
  const Threads::Options options{
      .workers = shared_.options.workers,
      .name = "xmpp",
      .ring = {.accept_slots = shared_.options.conn.conns_max + net::kConnsReserve,
               .outgoing_slots = 16}};
  auto threads = Threads::Start(
      options, shared_.clock,
      [this](net::EventLoop& loop,
             size_t index) -> std::expected<std::unique_ptr<XmppWorker>, std::string> {
        auto worker = XmppWorker::Create(shared_, loop, index);
        if (!worker) return std::unexpected(worker.error());
        (*worker)->UseTls(tls_);
        counters_[index] = {.streams = &(*worker)->counters(),
                            .worker = &(*worker)->worker_counters(),
                            .conns = &(*worker)->conn_stats(),
                            .far = &(*worker)->far().counters()};
        return worker;
      },
      [](XmppWorker& worker) { return worker.Close(kStopTime); });
  if (!threads) return {"XMPP: " + threads.error()};
  threads_ = std::move(*threads);
  threads_->AskAll([&](XmppWorker& worker) { slots_.push_back(worker.slot()); });
  threads_->AskAll([&](XmppWorker& worker) { worker.Connect(slots_); });
  return {};
}

std::expected<std::vector<XmppService::Opened>, XmppErrors> XmppService::OpenAll() {
  XmppErrors errors;
  std::vector<Opened> opened;
  std::vector<net::Address> now;
  const auto open = [&](const std::vector<net::Address>& addresses, bool tls, bool proxy) {
    for (const net::Address& address : addresses) {
      // Behind a drain: a port that was asked for as 0 is the one that it became.
      const net::Address& as = addresses_.empty() ? address : addresses_[now.size()];
      const auto at = Open(as, tls, proxy, opened);
      if (!at) errors.insert(errors.end(), at.error().begin(), at.error().end());
      now.push_back(at.value_or(as));
    }
  };
  open(listen_.plain, false, false);
  open(listen_.tls, true, false);
  open(listen_.proxy, false, true);
  if (!errors.empty()) return std::unexpected(std::move(errors));
  addresses_ = std::move(now);
  return opened;
}

XmppErrors XmppService::StartListening() {
  auto opened = OpenAll();
  if (!opened) return std::move(opened.error());
  Accept(std::move(*opened));
  return {};
}

XmppErrors XmppService::EndDrain() {
  auto opened = OpenAll();
  if (!opened) return std::move(opened.error());
  // Who comes is none of the drain's.
  threads_->AskAll([](XmppWorker& worker) { worker.EndDrain(); });
  Accept(std::move(*opened));
  return {};
}

std::expected<net::Address, XmppErrors> XmppService::Open(const net::Address& address, bool tls,
                                                          bool proxy,
                                                          std::vector<Opened>& opened) const {
  net::Address at = address;
  for (size_t worker = 0; worker < threads_->size(); ++worker) {
    const net::SocketName name = at.ToSocketName();
    auto socket = net::Listen(name.get(), name.size(), {.reuse_port = true});
    if (!socket) {
      return std::unexpected(
          XmppErrors{"c2s: " + at.ToString() + ": " + socket.error() +
                     "; is another server there? Each node of a machine needs an address of its "
                     "own"});
    }
    if (worker == 0) at = BoundTo(socket->get(), at);  // of port 0 the one that it became
    opened.push_back({worker, std::move(*socket), at, tls, proxy});
  }
  return at;
}

void XmppService::Accept(std::vector<Opened> opened) {
  for (Opened& one : opened) {
    net::ConnListenerOptions options{.name = one.at.ToString(),
                                     .full_remedy =
                                         "raise c2s.connections_max; where that is high "
                                         "enough, ERL_MAX_PORTS and the limit of open "
                                         "files (LimitNOFILE)",
                                     .connections_max = listen_.connections_max,
                                     .accept_proxy = one.proxy,
                                     .proxy_trusted = listen_.proxy_from};
    threads_->Ask(one.worker, [&](XmppWorker& w) {
      if (one.tls) options.tls_now = [&w] { return net::ConnTls{.server = w.TlsFor("")}; };
      w.Listen(std::move(one.socket), std::move(options), counts_);
    });
  }
}

std::expected<void, XmppErrors> XmppService::ReloadCertificates() {
  auto tls = MakeTls(hosts_, tickets_);
  if (!tls) return std::unexpected(std::move(tls.error()));
  tls_ = std::move(*tls);
  threads_->AskAll([&](XmppWorker& worker) { worker.UseTls(tls_); });
  return {};
}

void XmppService::CloseClients() {
  if (threads_ == nullptr || std::exchange(closed_, true)) return;
  std::vector<std::future<void>> empty;
  for (size_t worker = 0; worker < threads_->size(); ++worker) {
    auto done = std::make_shared<std::promise<void>>();
    empty.push_back(done->get_future());
    threads_->Ask(worker, [&](XmppWorker& w) { w.BeginStop([done] { done->set_value(); }); });
  }
  const auto deadline = std::chrono::steady_clock::now() + kStopTime;
  for (std::future<void>& one : empty) one.wait_until(deadline);
  EndGuests();
}

// Sessions of other nodes that are at home here: their homes go there. Those that cannot are told
// to end. What they have taken, and what became of messages that went to other nodes, is heard of
// before anybody else is given it.
void XmppService::EndGuests() {
  const auto within = [this](std::chrono::milliseconds limit, auto&& step) {
    const auto end = std::chrono::steady_clock::now() + limit;
    for (bool any = true; any && std::chrono::steady_clock::now() < end;) {
      std::atomic<bool> left{false};
      threads_->AskAll([&](XmppWorker& worker) { left = step(worker) || left; });
      any = left;
      if (any) std::this_thread::sleep_for(kLookAtGuests);
    }
  };
  within(kMoveGuests, [](XmppWorker& worker) {
    worker.far().MoveHomes(FarSide::kMovesMax);
    return worker.far().counters().to_move > 0;
  });
  threads_->AskAll([](XmppWorker& worker) { worker.far().CloseGuests(); });
  within(kEndGuests,
         [](XmppWorker& worker) { return worker.far().guests() > 0 || worker.far().routed() > 0; });
  // What is on its way into the store is told to be there before this node is gone to the others:
  // they would give it to the store as well.
  threads_->AskAll([](XmppWorker& worker) { worker.far().TakeNoMore(); });
  within(kEndGuests, [](XmppWorker& worker) { return worker.home_box().Busy(); });
}

void XmppService::Stop() {
  if (threads_ == nullptr) return;
  CloseClients();
  // What other nodes still had is nobody's from here on.
  threads_->AskAll([](XmppWorker& w) { w.Leave(); });
  // What was given back goes from session to home, and from there to the store and to other homes:
  // each is a letter, and is there when the worker has been asked once more.
  constexpr int kLetters = 4;
  for (int i = 0; i < kLetters; ++i) threads_->AskAll([](XmppWorker&) {});
  counters_.clear();
  threads_->Stop();
  threads_.reset();
}

template <typename Of>
uint64_t XmppService::Sum(Of of) const {
  uint64_t sum = 0;
  for (const Counters& one : counters_) sum += of(one).load(std::memory_order_relaxed);
  return sum;
}

uint64_t XmppService::sessions() const {
  return Sum([](const Counters& c) -> const auto& { return c.worker->sessions; });
}

void XmppService::Shed(uint64_t count, double per_s) {
  std::vector<uint64_t> attached;
  threads_->AskAll([&](XmppWorker& worker) { attached.push_back(worker.Attached()); });
  const std::vector<uint64_t> shares = ShareOut(count, attached);
  const auto all = static_cast<double>(
      std::max<uint64_t>(std::accumulate(attached.begin(), attached.end(), uint64_t{0}), 1));
  for (size_t index = 0; index < shares.size(); ++index) {
    const double each = per_s * static_cast<double>(attached[index]) / all;
    threads_->Ask(index, [&](XmppWorker& worker) { worker.Shed(shares[index], each); });
  }
}

void XmppService::EndHeaviest(uint64_t bytes, std::move_only_function<void(Ordered ordered)> done) {
  struct Gathered {
    std::vector<std::vector<HeavySession>> of;  // by worker, each written by its own
    std::atomic<size_t> open;
    std::move_only_function<void(Ordered ordered)> done;
    Gathered(size_t workers, std::move_only_function<void(Ordered ordered)> d)
        : of(workers), open(workers), done(std::move(d)) {}
  };
  const auto gathered = std::make_shared<Gathered>(threads_->size(), std::move(done));
  for (size_t index = 0; index < threads_->size(); ++index) {
    threads_->Post(index, [this, index, bytes, gathered](XmppWorker& worker) {
      gathered->of[index] = worker.Heaviest(bytes);
      if (--gathered->open > 0) return;
      // All have said theirs.
      std::vector<HeavySession> all;
      for (const auto& own : gathered->of) all.insert(all.end(), own.begin(), own.end());
      Ordered ordered;
      std::vector<std::vector<HeavySession>> by_worker(gathered->of.size());
      for (const HeavySession& one : ChooseHeaviest(std::move(all), bytes)) {
        ++ordered.sessions;
        ordered.bytes += one.bytes;
        by_worker[one.worker].push_back(one);
      }
      gathered->done(ordered);
      for (size_t at = 0; at < by_worker.size(); ++at) {
        if (by_worker[at].empty()) continue;
        threads_->Post(at,
                       [own = std::move(by_worker[at])](XmppWorker& w) { w.EndForMemory(own); });
      }
    });
  }
}

uint64_t XmppService::output_bytes() const {
  return Sum([](const Counters& c) -> const auto& { return c.conns->output_bytes; });
}

XmppService::MemoryShed XmppService::memory_shed() const {
  const auto streams = [this](auto member) {
    return Sum([member](const Counters& c) -> const auto& { return c.streams->*member; });
  };
  const auto worker = [this](auto member) {
    return Sum([member](const Counters& c) -> const auto& { return c.worker->*member; });
  };
  return {.heavy = worker(&WorkerCounters::heavy_ended),
          .detached = worker(&WorkerCounters::parked_ended),
          .streams = streams(&ClientCounters::streams_shed),
          .bindings = streams(&ClientCounters::bindings_shed),
          .stanzas = streams(&ClientCounters::stanzas_shed)};
}

XmppService::Shedding XmppService::shedding() const {
  return {.left = Sum([](const Counters& c) -> const auto& { return c.worker->to_shed; }),
          .drained = Sum([](const Counters& c) -> const auto& { return c.worker->drained; }),
          .resumable =
              Sum([](const Counters& c) -> const auto& { return c.worker->drained_resumable; })};
}

uint64_t XmppService::detached() const {
  return Sum([](const Counters& c) -> const auto& { return c.worker->parked; });
}

uint64_t XmppService::guests_to_move() const {
  return Sum([](const Counters& c) -> const auto& { return c.far->to_move; });
}

uint64_t XmppService::guests() const {
  return Sum([](const Counters& c) -> const auto& { return c.far->guests; });
}

double XmppService::login_budget() const {
  const uint64_t cost =
      Sum([](const Counters& c) -> const auto& { return c.worker->login_cost_ns; });
  const auto workers = static_cast<double>(counters_.size());
  // The mean of the workers', as each pays for its own.
  return shared_.options.login_cpu * workers * workers * 1e9 /
         static_cast<double>(std::max<uint64_t>(cost, 1));
}

uint64_t XmppService::connections() const {
  return Sum([](const Counters& c) -> const auto& { return c.conns->open; });
}

uint64_t XmppService::parked_bytes() const {
  return Sum([](const Counters& c) -> const auto& { return c.worker->parked_bytes; });
}

// MongooseIM's names, so that its dashboards go on; a domain of the file is its own host type.
void XmppService::WriteHostMetrics(net::MetricsWriter& out) const {
  const std::vector<std::string>& domains = shared_.options.domains;
  const size_t hosts = std::min(domains.size(), ClientCounters::kHostsMax);
  const auto write = [&](net::MetricsWriter::Family family, bool c2s, auto of) {
    for (size_t host = 0; host < hosts; ++host) {
      const uint64_t sum =
          Sum([&](const Counters& c) -> const auto& { return of(c.streams->hosts[host]); });
      if (c2s) {
        family.Add({{"connection_type", "c2s"}, {"host_type", domains[host]}}, sum);
      } else {
        family.Add({{"host_type", domains[host]}}, sum);
      }
    }
  };
  using Host = ClientCounters::Host;
  write(out.Gauge("sm_session_logins", "Sessions bound since the start."), false,
        [](const Host& host) -> const auto& { return host.bound; });
  write(out.Gauge("c2s_auth_failed_count", "Failed authentications since the start."), false,
        [](const Host& host) -> const auto& { return host.auth_failed; });
  constexpr std::array<std::string_view, 3> kKinds = {"message", "presence", "iq"};
  for (size_t kind = 0; kind < kKinds.size(); ++kind) {
    const std::string name = "_" + std::string(kKinds[kind]) + "_count";
    write(out.Gauge("xmpp_element_in" + name, "From clients."), true,
          [kind](const Host& host) -> const auto& { return host.in[kind]; });
    write(out.Gauge("xmpp_element_out" + name, "To clients."), true,
          [kind](const Host& host) -> const auto& { return host.out[kind]; });
  }
}

void XmppService::WriteMetrics(net::MetricsWriter& out) const {
  const auto streams = [&](auto member) {
    return Sum([member](const Counters& c) -> const auto& { return c.streams->*member; });
  };
  const auto worker = [&](auto member) {
    return Sum([member](const Counters& c) -> const auto& { return c.worker->*member; });
  };
  out.Gauge("sm_node_sessions_count", "Bound sessions of this node.")
      .Add({}, worker(&WorkerCounters::sessions));
  WriteHostMetrics(out);
  out.Counter("mongooseim_c2s_streams_total", "Streams opened, restarts too.")
      .Add({}, streams(&ClientCounters::streams));
  out.Counter("mongooseim_c2s_authenticated_total", "Successful authentications.")
      .Add({}, streams(&ClientCounters::logins));
  out.Counter("mongooseim_c2s_auth_limited_total", "Not tried: too many failures before.")
      .Add({}, streams(&ClientCounters::auth_limited));
  out.Counter("mongooseim_c2s_resumed_total", "Sessions resumed (XEP-0198).")
      .Add({}, streams(&ClientCounters::resumed));
  out.Counter("mongooseim_c2s_resume_failed_total", "Resumptions of what is not there.")
      .Add({}, streams(&ClientCounters::resume_failed));
  out.Counter("mongooseim_c2s_throttled_total", "Times that a client was read more slowly.")
      .Add({}, streams(&ClientCounters::throttled));
  out.Counter("mongooseim_c2s_dead_total", "Clients that did not answer a ping.")
      .Add({}, streams(&ClientCounters::dead));
  out.Counter("mongooseim_c2s_moved_total", "Sessions resumed on another worker.")
      .Add({}, worker(&WorkerCounters::moved));
  out.Counter("mongooseim_c2s_refused_unauthenticated_total",
              "Connections closed at once: too many are not authenticated.")
      .Add({}, worker(&WorkerCounters::refused_unauthenticated));
  const MemoryShed shed_now = memory_shed();
  out.Counter("mongooseim_c2s_shed_total", "Streams and bindings refused for want of memory.")
      .Add({}, shed_now.streams + shed_now.bindings);
  auto reasons =
      out.Counter("mongooseim_memory_shed_total", "What was ended or refused for want of memory.");
  reasons.Add({{"reason", "heavy_session"}}, shed_now.heavy);
  reasons.Add({{"reason", "detached_session"}}, shed_now.detached);
  reasons.Add({{"reason", "stream"}}, shed_now.streams);
  reasons.Add({{"reason", "binding"}}, shed_now.bindings);
  reasons.Add({{"reason", "stanza"}}, shed_now.stanzas);
  out.Gauge("mongooseim_c2s_logins_waiting", "Logins that wait for their turn.")
      .Add({}, worker(&WorkerCounters::logins_waiting));
  out.Counter("mongooseim_c2s_logins_waited_total", "Logins that had to wait.")
      .Add({}, worker(&WorkerCounters::logins_waited));
  out.Gauge("mongooseim_c2s_login_cost_microseconds",
            "Of the processor, by a login without its TLS, lately; the mean of the workers.")
      .Add({}, worker(&WorkerCounters::login_cost_ns) / 1'000 /
                   std::max<uint64_t>(counters_.size(), 1));
  out.Counter("mongooseim_c2s_drained_total", "Connections closed because the node drains.")
      .Add({}, worker(&WorkerCounters::drained));
  out.Counter("mongooseim_c2s_drained_resumable_total",
              "Of those, whose sessions wait to be resumed on another node.")
      .Add({}, worker(&WorkerCounters::drained_resumable));
  const auto far = [&](auto member) {
    return Sum([member](const Counters& c) -> const auto& { return c.far->*member; });
  };
  out.Counter("mongooseim_letters_out_total", "Stanzas and answers to other nodes.")
      .Add({}, far(&FarCounters::letters_out));
  out.Counter("mongooseim_letters_in_total", "Stanzas and answers from other nodes.")
      .Add({}, far(&FarCounters::letters_in));
  out.Counter("mongooseim_letters_malformed_total", "That could not be read.")
      .Add({}, far(&FarCounters::letters_malformed));
  out.Counter("mongooseim_messages_rerouted_total", "Whose node went before they were settled.")
      .Add({}, far(&FarCounters::rerouted));
  out.Counter("mongooseim_messages_refused_total", "To a node for which too much waits.")
      .Add({}, far(&FarCounters::refused));
  out.Counter("mongooseim_lodgers_lost_total", "Sessions ended since their account's node went.")
      .Add({}, far(&FarCounters::lodgers_lost));
  out.Gauge("mongooseim_guests", "Sessions of other nodes whose account is at home here.")
      .Add({}, far(&FarCounters::guests));
  out.Counter("mongooseim_homes_moved_total", "Accounts that went to be at home on other nodes.")
      .Add({}, far(&FarCounters::homes_moved));
  out.Counter("mongooseim_home_moves_failed_total", "Put off, or lost where they went.")
      .Add({}, far(&FarCounters::moves_failed));
  out.Counter("mongooseim_held_refused_total",
              "Stanzas, bindings and orders: too much was held for an account on its way.")
      .Add({}, far(&FarCounters::held_refused));
  out.Gauge("mongooseim_c2s_unauthenticated", "Connections that have not said who they are.")
      .Add({}, shared_.unauthenticated.load(std::memory_order_relaxed));
  out.Gauge("mongooseim_c2s_detached", "Sessions without a connection, that may come back.")
      .Add({}, worker(&WorkerCounters::parked));
  out.Gauge("mongooseim_c2s_detached_bytes", "Memory that they hold.")
      .Add({}, worker(&WorkerCounters::parked_bytes));
  out.Counter("mongooseim_c2s_detached_expired_total", "That did not come back in time.")
      .Add({}, worker(&WorkerCounters::parked_expired));
  out.Counter("mongooseim_c2s_detached_evicted_total", "That went for want of memory.")
      .Add({}, worker(&WorkerCounters::parked_evicted) + shed_now.detached);
  out.Gauge("mongooseim_c2s_connections", "Open connections.")
      .Add({}, Sum([](const Counters& c) -> const auto& { return c.conns->open; }));
  std::vector<const net::ConnStats*> conns;
  for (const Counters& one : counters_) conns.push_back(one.conns);
  net::WriteConnMetrics("mongooseim_c2s", conns, out);
  net::WriteListenerMetrics("mongooseim_c2s", *counts_, out);
  auto errors = out.Counter("mongooseim_c2s_stream_errors_total", "Streams ended with an error.");
  for (size_t error = 1; error < net::kStreamErrors; ++error) {
    errors.Add(
        {{"condition", net::ToString(static_cast<net::StreamError>(error))}},
        Sum([error](const Counters& c) -> const auto& { return c.streams->stream_errors[error]; }));
  }
  auto days = out.Gauge("tls_cert_remaining_days", "Until a certificate ends.");
  const int64_t now = UnixUs() / 1'000'000;
  for (const auto& [domain, context] : tls_) {
    days.Add({{"domain", domain}}, context->certificates().front().DaysLeft(now));
  }
}

}  // namespace server
