#include "dns/control/serving.h"

#include <fcntl.h>

#include <algorithm>
#include <array>
#include <thread>

#include "net/io/socket.h"
#include "net/report/log.h"

namespace dns {
namespace {

constexpr net::Duration kTcpFinish = std::chrono::seconds(5);

// A duplicate that no program which we start inherits: a socket that lives on there unseen would
// take its share of the queries.
net::UniqueFd Duplicate(const net::UniqueFd& fd) {
  return net::UniqueFd(fcntl(fd.get(), F_DUPFD_CLOEXEC, 3));
}

}  // namespace

void Totals::Add(const Counters& c) {
  for (size_t i = 0; i < queries.size(); ++i) queries[i] += c.queries[i].Get();
  for (size_t i = 0; i < responses.size(); ++i) responses[i] += c.responses[i].Get();
  for (size_t i = 0; i < types.size(); ++i) types[i] += c.types[i].Get();
  dropped += c.dropped.Get();
  malformed += c.malformed.Get();
  truncated += c.truncated.Get();
  additional_left_out += c.additional_left_out.Get();
  rrl_dropped += c.rrl_dropped.Get();
  rrl_slipped += c.rrl_slipped.Get();
  cookies_valid += c.cookies_valid.Get();
  cookies_bad += c.cookies_bad.Get();
  dnssec_ok += c.dnssec_ok.Get();
  signed_on_demand += c.signed_on_demand.Get();
  sign_budget_spent += c.sign_budget_spent.Get();
  transfers += c.transfers.Get();
  transfers_incremental += c.transfers_incremental.Get();
  transfers_refused += c.transfers_refused.Get();
  tsig_refused += c.tsig_refused.Get();
  tsig_good += c.tsig_good.Get();
  receive_errors += c.receive_errors.Get();
  send_errors += c.send_errors.Get();
  batches += c.batches.Get();
}

std::string Serving::Open(const Config& config, InheritedSockets inherited) {
  uint32_t workers =
      config.workers != 0 ? config.workers : std::max(1u, std::thread::hardware_concurrency());
  for (const net::Address& address : config.listen) {
    // All inherited sockets of an address are served on: closing one would lose what is in its
    // queue.
    uint32_t have = 0;
    for (auto& udp : inherited.udp) {
      if (udp.local != address || !udp.fd) continue;
      udp_sockets_.push_back({std::move(udp.fd), address});
      ++have;
    }
    for (; have < workers; ++have) {
      auto fd = BindUdp(address, config.udp);
      if (!fd) return fd.error();
      udp_sockets_.push_back({std::move(*fd), address});
    }
  }
  if (std::string error = OpenTcp(config.listen, false, inherited); !error.empty()) return error;
  return OpenTcp(config.tls.listen, true, inherited);
}

std::string Serving::OpenTcp(const std::vector<net::Address>& addresses, bool tls,
                             InheritedSockets& inherited) {
  for (const net::Address& address : addresses) {
    auto old = std::ranges::find_if(inherited.tcp, [&](const TcpListenerFd& fd) {
      return fd.local == address && fd.tls == tls && fd.fd;
    });
    if (old != inherited.tcp.end()) {
      tcp_sockets_.push_back(std::move(*old));
      continue;
    }
    net::SocketName name = address.ToSocketName();
    auto fd = net::Listen(name.get(), name.size(), {.backlog = 1024, .reuse_port = true});
    if (!fd) return fd.error();
    tcp_sockets_.push_back({std::move(*fd), address, tls});
  }
  return "";
}

std::expected<std::shared_ptr<const net::TlsServerContext>, std::string> Serving::LoadTls(
    const Config& config) {
  if (config.tls.listen.empty()) return nullptr;
  net::TlsServerOptions options;
  net::TlsSite site;
  site.certificates.push_back({.chain = config.tls.certificate, .key = config.tls.key});
  if (!config.tls.transfer_client_ca.empty()) {
    site.client_auth = net::TlsClientAuth::kOptional;
    site.client_ca = config.tls.transfer_client_ca;
  }
  options.sites.push_back(std::move(site));
  options.alpn = {"dot"};
  auto context = net::TlsServerContext::Create(options);
  if (context) return *context;
  std::string text;
  for (const auto& error : context.error()) {
    text += (text.empty() ? "" : "\n") + config.path + ": tls: " + error.ToString();
  }
  return std::unexpected(text);
}

void Serving::SetTls(std::shared_ptr<const net::TlsServerContext> tls) {
  tls_ = std::move(tls);
  if (tcp_) tcp_->tcp->SetTls(tls_);
}

void Serving::StartUdp(const Config& config, Publisher& publisher) {
  size_t cpus = std::max(1u, std::thread::hardware_concurrency());
  uint32_t per_address = 0;
  for (const Bound& bound : udp_sockets_) {
    per_address += bound.local == udp_sockets_[0].local ? 1u : 0u;
  }
  for (size_t i = 0; i < udp_sockets_.size(); ++i) {
    ApplyUdpOptions(udp_sockets_[i].fd.get(), udp_sockets_[i].local, config.udp);
    Slot slot;
    slot.config = std::make_unique<ResponderConfig>(config.responder);
    // The limit is that of the server; the kernel spreads a network's queries over the workers.
    uint32_t& rate = slot.config->rate_limit.per_second;
    if (rate != 0) rate = std::max(1u, rate / std::max(1u, per_address));
    slot.log = std::make_unique<QueryLog>(config.query_log_every);
    slot.reader = publisher.AddReader();
    UdpWorkerOptions options = config.udp;
    options.updates = &updates_;
    if (config.pin_cpus) options.cpu = static_cast<int>(i % cpus);
    net::UniqueFd fd = Duplicate(udp_sockets_[i].fd);
    slot.udp = std::make_unique<UdpWorker>(std::move(fd), udp_sockets_[i].local, options,
                                           *slot.config, slot.reader, slot.log.get());
    slot.udp->Start();
    workers_.push_back(std::move(slot));
  }
}

std::string Serving::StartTcp(const Config& config, Publisher& publisher) {
  auto slot = std::make_unique<Slot>();
  slot->config = std::make_unique<ResponderConfig>(config.responder);
  slot->log = std::make_unique<QueryLog>(config.query_log_every);
  slot->reader = publisher.AddReader();
  std::vector<TcpListenerFd> listeners;
  for (const TcpListenerFd& socket : tcp_sockets_) {
    listeners.push_back({Duplicate(socket.fd), socket.local, socket.tls});
  }
  slot->tcp = std::make_unique<TcpServer>(std::move(listeners), config.tcp, tls_, *slot->config,
                                          slot->reader, slot->log.get(), &transfers_, &updates_);
  std::string error = slot->tcp->Start();
  if (error.empty()) tcp_ = std::move(slot);
  return error;
}

std::string Serving::Start(const Config& config, Publisher& publisher) {
  publisher_ = &publisher;
  StartUdp(config, publisher);
  return StartTcp(config, publisher);
}

void Serving::Stop(bool drain) {
  for (Slot& slot : workers_) slot.udp->Stop(drain);
  if (tcp_) tcp_->tcp->Stop(drain ? kTcpFinish : net::Duration::zero());
  for (Slot& slot : workers_) {
    slot.udp->Join();
    retired_.Add(slot.udp->counters());
    publisher_->RemoveReader(slot.reader);
  }
  workers_.clear();
  if (!tcp_) return;
  tcp_->tcp->Join();
  retired_.Add(tcp_->tcp->counters());
  publisher_->RemoveReader(tcp_->reader);
  tcp_.reset();
}

void Serving::DrainQueryLogs() {
  auto drain = [](QueryLog& log) {
    while (const QueryLogEntry* entry = log.Front()) {
      net::Log(net::LogLevel::kInfo, "query", ToText(*entry));
      log.Pop();
    }
  };
  for (Slot& slot : workers_) drain(*slot.log);
  if (tcp_) drain(*tcp_->log);
}

Totals Serving::Sum() const {
  Totals totals = retired_;
  for (const Slot& slot : workers_) totals.Add(slot.udp->counters());
  if (tcp_) totals.Add(tcp_->tcp->counters());
  return totals;
}

std::string Serving::LastLimited() const {
  for (const Slot& slot : workers_) {
    std::vector<uint8_t> ip = slot.udp->counters().rrl_last.Get();
    if (ip.size() == 4) return net::Address::V4({ip[0], ip[1], ip[2], ip[3]}, 0).IpToString();
    if (ip.size() == 16) {
      std::array<uint8_t, 16> v6;
      std::ranges::copy(ip, v6.begin());
      return net::Address::V6(v6, 0).IpToString();
    }
  }
  return "";
}

std::vector<net::Inheritance::Socket> Serving::Share() const {
  std::vector<net::Inheritance::Socket> shared;
  for (const Bound& bound : udp_sockets_) {
    shared.push_back({"udp " + bound.local.ToString(), Duplicate(bound.fd)});
  }
  for (const TcpListenerFd& socket : tcp_sockets_) {
    shared.push_back(
        {(socket.tls ? "tls " : "tcp ") + socket.local.ToString(), Duplicate(socket.fd)});
  }
  return shared;
}

InheritedSockets TakeSockets(net::Inheritance& inheritance) {
  InheritedSockets taken;
  for (net::Inheritance::Socket& socket : inheritance.sockets) {
    std::string kind = socket.name.substr(0, socket.name.find(' '));
    if (kind != "udp" && kind != "tcp" && kind != "tls") continue;
    auto address = net::Address::Parse(std::string_view(socket.name).substr(kind.size() + 1));
    if (!address) continue;
    if (kind == "udp") {
      taken.udp.push_back({std::move(socket.fd), *address});
    } else {
      taken.tcp.push_back({std::move(socket.fd), *address, kind == "tls"});
    }
  }
  return taken;
}

}  // namespace dns
