#include "dns/serve/udp_worker.h"

#include <netinet/in.h>
#include <pthread.h>
#include <sched.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <vector>

#include "dns/serve/now.h"
#include "dns/serve/reply_batch.h"
#include "dns/serve/udp_return.h"
#include "dns/serve/udp_uring.h"
#include "net/base/check.h"
#include "net/report/log.h"

namespace dns {

std::string_view ToString(UdpEngine engine) {
  switch (engine) {
    case UdpEngine::kRecvmmsg:
      return "recvmmsg";
    case UdpEngine::kIoUring:
      return "io_uring";
  }
  return "?";
}

void ApplyUdpOptions(int fd, const net::Address& address, const UdpWorkerOptions& options) {
  auto set = [&](int level, int option, int value) {
    return setsockopt(fd, level, option, &value, sizeof value) == 0;
  };
  if (!set(SOL_SOCKET, SO_RCVBUFFORCE, options.receive_buffer_bytes)) {
    set(SOL_SOCKET, SO_RCVBUF, options.receive_buffer_bytes);
  }
  // Both ignore what (spoofed) ICMP messages say of the path's MTU.
  int discover = options.dont_fragment ? IP_PMTUDISC_PROBE : IP_PMTUDISC_OMIT;
  static_assert(IP_PMTUDISC_PROBE == IPV6_PMTUDISC_PROBE && IP_PMTUDISC_OMIT == IPV6_PMTUDISC_OMIT);
  const bool v4 = address.family() == net::AddressFamily::kIpv4;
  set(v4 ? IPPROTO_IP : IPPROTO_IPV6, v4 ? IP_MTU_DISCOVER : IPV6_MTU_DISCOVER, discover);
}

std::expected<net::UniqueFd, std::string> BindUdp(const net::Address& address,
                                                  const UdpWorkerOptions& options) {
  net::SocketName name = address.ToSocketName();
  net::UniqueFd fd(socket(name.family(), SOCK_DGRAM | SOCK_CLOEXEC, 0));
  auto failed = [&](const char* what, const char* remedy) {
    return std::unexpected(address.ToString() + " (udp): " + what + ": " + std::strerror(errno) +
                           remedy);
  };
  if (!fd) return failed("socket", "");
  auto set = [&](int level, int option, int value) {
    return setsockopt(fd.get(), level, option, &value, sizeof value) == 0;
  };
  if (!set(SOL_SOCKET, SO_REUSEPORT, 1)) return failed("SO_REUSEPORT", "");
  if (name.family() == AF_INET6) set(IPPROTO_IPV6, IPV6_V6ONLY, 1);
  ApplyUdpOptions(fd.get(), address, options);
  if (address.IsUnspecified()) {
    if (name.family() == AF_INET) set(IPPROTO_IP, IP_PKTINFO, 1);
    if (name.family() == AF_INET6) set(IPPROTO_IPV6, IPV6_RECVPKTINFO, 1);
  }
  timeval wake{0, std::chrono::microseconds(kWakeInterval).count()};
  setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &wake, sizeof wake);
  if (bind(fd.get(), name.get(), name.size()) != 0) {
    return failed("bind", errno == EADDRINUSE ? "; is another DNS server running there?"
                          : errno == EACCES   ? "; ports below 1024 need CAP_NET_BIND_SERVICE"
                                              : "");
  }
  return fd;
}

// What is received into: descriptors stay as they are between turns, so that a turn writes only
// what changes.
struct UdpWorker::Batch {
  // A query larger than this is malformed anyway: what is cut off is found missing by the parser.
  static constexpr size_t kQueryBytes = 2048;
  // A line more, or the beginnings of all queries would have few places in the processor's cache.
  static constexpr size_t kStride = kQueryBytes + 64;

  std::array<mmsghdr, kUdpBatch> in;
  std::array<iovec, kUdpBatch> in_iov;
  std::array<sockaddr_storage, kUdpBatch> names;
  alignas(8) std::array<std::array<uint8_t, ReplyBatch::kQueryControlBytes>, kUdpBatch> control;
  std::array<std::array<uint8_t, kStride>, kUdpBatch> in_bytes;
  ReplyBatch replies;

  explicit Batch(bool wildcard) {
    for (size_t i = 0; i < kUdpBatch; ++i) {
      in_iov[i] = {in_bytes[i].data(), kQueryBytes};
      in[i] = {};
      in[i].msg_hdr.msg_name = &names[i];
      in[i].msg_hdr.msg_iov = &in_iov[i];
      in[i].msg_hdr.msg_iovlen = 1;
      if (wildcard) in[i].msg_hdr.msg_control = control[i].data();
      Rearm(i);
    }
  }

  void Rearm(size_t i) {
    in[i].msg_hdr.msg_namelen = sizeof(sockaddr_storage);
    in[i].msg_hdr.msg_controllen = in[i].msg_hdr.msg_control == nullptr ? 0 : control[i].size();
  }
};

UdpWorker::UdpWorker(net::UniqueFd socket, const net::Address& local,
                     const UdpWorkerOptions& options, const ResponderConfig& config,
                     Publisher::Reader* reader, QueryLog* log)
    : socket_(std::move(socket)),
      local_(local),
      options_(options),
      wildcard_(local.IsUnspecified()),
      responder_(config, SystemSeed()),
      reader_(reader),
      log_(log) {}

UdpWorker::~UdpWorker() {
  Stop(false);
  Join();
}

void UdpWorker::Start() {
  thread_ = std::thread([this] { Run(); });
}

void UdpWorker::Stop(bool drain) {
  drain_.store(drain, std::memory_order_relaxed);
  stop_.store(true, std::memory_order_relaxed);
}

void UdpWorker::Join() {
  if (thread_.joinable()) thread_.join();
}

void UdpWorker::Run() {
  pthread_setname_np(pthread_self(), "dns-udp");
  if (options_.cpu >= 0) {
    cpu_set_t cpus;
    CPU_ZERO(&cpus);
    CPU_SET(static_cast<size_t>(options_.cpu), &cpus);
    pthread_setaffinity_np(pthread_self(), sizeof cpus, &cpus);
  }
  if (options_.engine == UdpEngine::kIoUring) {
    RunIoUring();
  } else {
    RunRecvmmsg();
  }
}

void UdpWorker::RunIoUring() {
  auto served = ServeUdpOverRing(socket_.get(), wildcard_, responder_, *reader_, log_,
                                 options_.updates, stop_);
  if (!served) {
    net::Log(net::LogLevel::kWarn, "udp", "io_uring is not to be had, recvmmsg instead",
             {{"address", local_.ToString()}, {"error", served.error()}});
    RunRecvmmsg();
  }
}

void UdpWorker::RunRecvmmsg() {
  auto batch = std::make_unique<Batch>(wildcard_);
  while (!stop_.load(std::memory_order_relaxed)) {
    int received = Receive(*batch, true);
    if (received > 0) Answer(*batch, received);
  }
  if (!drain_.load(std::memory_order_relaxed)) return;
  for (int received = Receive(*batch, false); received > 0; received = Receive(*batch, false)) {
    Answer(*batch, received);
  }
}

int UdpWorker::Receive(Batch& batch, bool wait) {
  int flags = wait ? MSG_WAITFORONE : MSG_DONTWAIT;
  int received = recvmmsg(socket_.get(), batch.in.data(), kUdpBatch, flags, nullptr);
  if (received >= 0) return received;
  if (errno != EAGAIN && errno != EINTR) {
    responder_.counters().receive_errors.Add();
    // ECONNREFUSED and the like belong to an earlier send; anything else would spin.
    if (errno == EBADF || errno == ENOTSOCK) stop_.store(true);
  }
  return 0;
}

void UdpWorker::Answer(Batch& batch, int received) {
  Counters& counters = responder_.counters();
  counters.batches.Add();
  Now now = ReadNow();
  const Generation& generation = reader_->Acquire();
  for (size_t i = 0; i < static_cast<size_t>(received); ++i) {
    msghdr& in = batch.in[i].msg_hdr;
    if (wildcard_) LeaveByRoute(in);
    auto client =
        net::Address::FromSockaddr(static_cast<const sockaddr*>(in.msg_name), in.msg_namelen);
    // Port 0 cannot be answered: sending to it fails.
    if (!client || client->port() == 0) continue;
    std::span<const uint8_t> packet(batch.in_bytes[i].data(), batch.in[i].msg_len);
    Reply reply = responder_.Respond(generation, {*client, Transport::kUdp}, packet,
                                     batch.replies.Room(), now);
    if (reply.order && options_.updates != nullptr &&
        OfferUdpUpdate(*options_.updates, socket_.get(), packet, *client, in)) [[unlikely]] {
      continue;  // answered by the control thread
    }
    if (reply.size == 0) continue;
    batch.replies.Add(in, reply.size);
    if (log_->Due()) LogQuery(*log_, responder_, {*client, Transport::kUdp}, reply.size);
  }
  reader_->Release();
  if (unsigned lost = batch.replies.Send(socket_.get()); lost != 0) counters.send_errors.Add(lost);
  for (size_t i = 0; i < static_cast<size_t>(received); ++i) batch.Rearm(i);
}

}  // namespace dns
