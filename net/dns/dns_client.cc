#include "net/dns/dns_client.h"

#include <poll.h>
#include <resolv.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "net/base/check.h"

namespace net {
namespace {

class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  ~Descriptor() {
    if (fd_ >= 0) close(fd_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int get() const { return fd_; }

 private:
  int fd_;
};

uint16_t RandomId() {
  uint16_t id = 0;
  CHECK(getrandom(&id, sizeof(id), 0) == sizeof(id));
  return id;
}

bool IsAnswer(DnsFailure failure) {
  return failure == DnsFailure::kNoSuchName || failure == DnsFailure::kNoRecords ||
         failure == DnsFailure::kNoService || failure == DnsFailure::kStopped ||
         failure == DnsFailure::kBadName;
}

}  // namespace

struct DnsClient::Query {
  DnsQuestion question;
  uint16_t id = 0;
  std::vector<uint8_t> bytes;
};

DnsClient::DnsClient(DnsClientOptions options)
    : options_(options), stop_fd_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {}

DnsClient::~DnsClient() {
  if (stop_fd_ >= 0) close(stop_fd_);
}

void DnsClient::Stop() {
  uint64_t one = 1;
  // Fails only when the counter is full: then it is readable already.
  [[maybe_unused]] ssize_t written = write(stop_fd_, &one, sizeof(one));
}

std::expected<void, DnsFailure> DnsClient::Await(int fd, short events, Time deadline) {
  while (true) {
    Duration left = deadline - clock_.Now();
    if (left <= Duration(0)) return std::unexpected(DnsFailure::kTimeout);
    auto ms = std::chrono::ceil<std::chrono::milliseconds>(left).count();
    std::array<pollfd, 2> fds = {{{fd, events, 0}, {stop_fd_, POLLIN, 0}}};
    int ready = poll(fds.data(), fds.size(), static_cast<int>(std::min<int64_t>(ms, 60'000)));
    if (ready < 0 && errno != EINTR) return std::unexpected(DnsFailure::kUnreachable);
    if (ready <= 0) continue;
    if (fds[1].revents != 0) return std::unexpected(DnsFailure::kStopped);
    return {};
  }
}

DnsClient::Message DnsClient::OverUdp(const Address& resolver, const Query& query) {
  SocketName name = resolver.ToSocketName();
  // Connected, so that only the resolver's packets come, and its absence is told.
  Descriptor fd(socket(name.family(), SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (fd.get() < 0 || connect(fd.get(), name.get(), name.size()) != 0 ||
      send(fd.get(), query.bytes.data(), query.bytes.size(), MSG_NOSIGNAL) < 0) {
    return std::unexpected(DnsFailure::kUnreachable);
  }
  Time deadline = clock_.Now() + options_.timeout;
  std::vector<uint8_t> answer;
  while (true) {
    if (auto ready = Await(fd.get(), POLLIN, deadline); !ready) {
      return std::unexpected(ready.error());
    }
    answer.resize(kDnsMessageMax);
    ssize_t size = recv(fd.get(), answer.data(), answer.size(), 0);
    if (size < 0 && (errno == EAGAIN || errno == EINTR)) continue;
    if (size < 0) return std::unexpected(DnsFailure::kUnreachable);
    answer.resize(static_cast<size_t>(size));
    if (AnswersDnsQuery(answer, query.question, query.id)) return answer;
  }
}

DnsClient::Message DnsClient::OverTcp(const Address& resolver, const Query& query) {
  SocketName name = resolver.ToSocketName();
  Descriptor fd(socket(name.family(), SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (fd.get() < 0) return std::unexpected(DnsFailure::kUnreachable);
  if (connect(fd.get(), name.get(), name.size()) != 0 && errno != EINPROGRESS) {
    return std::unexpected(DnsFailure::kUnreachable);
  }
  Time deadline = clock_.Now() + options_.timeout;
  std::vector<uint8_t> out = {static_cast<uint8_t>(query.bytes.size() >> 8),
                              static_cast<uint8_t>(query.bytes.size())};
  out.insert(out.end(), query.bytes.begin(), query.bytes.end());
  for (size_t sent = 0; sent < out.size();) {
    if (auto ready = Await(fd.get(), POLLOUT, deadline); !ready) {
      return std::unexpected(ready.error());
    }
    ssize_t size = send(fd.get(), out.data() + sent, out.size() - sent, MSG_NOSIGNAL);
    if (size < 0 && (errno == EAGAIN || errno == EINTR)) continue;
    if (size < 0) return std::unexpected(DnsFailure::kUnreachable);
    sent += static_cast<size_t>(size);
  }
  std::vector<uint8_t> in(2);  // the length first (RFC 1035, 4.2.2), then as much as it says
  size_t got = 0;
  while (true) {
    if (auto ready = Await(fd.get(), POLLIN, deadline); !ready) {
      return std::unexpected(ready.error());
    }
    ssize_t size = recv(fd.get(), in.data() + got, in.size() - got, 0);
    if (size < 0 && (errno == EAGAIN || errno == EINTR)) continue;
    if (size < 0) return std::unexpected(DnsFailure::kUnreachable);
    if (size == 0) return std::unexpected(DnsFailure::kGarbage);  // closed in the middle
    got += static_cast<size_t>(size);
    if (got < in.size()) continue;
    size_t length = static_cast<size_t>((in[0] << 8) | in[1]);
    if (in.size() == 2 && length > 0) {
      in.resize(2 + length);
      continue;
    }
    in.erase(in.begin(), in.begin() + 2);
    if (!AnswersDnsQuery(in, query.question, query.id)) {
      return std::unexpected(DnsFailure::kGarbage);
    }
    return in;
  }
}

std::expected<DnsAnswer, DnsFailure> DnsClient::Ask(std::span<const Address> resolvers,
                                                    const DnsQuestion& question) {
  DnsFailure last = DnsFailure::kNoResolver;
  for (uint32_t attempt = 0; attempt < options_.attempts; ++attempt) {
    for (const Address& resolver : resolvers) {
      Query query{.question = question, .id = RandomId(), .bytes = {}};
      auto bytes = BuildDnsQuery(question, query.id);
      if (!bytes) return std::unexpected(bytes.error());
      query.bytes = std::move(*bytes);
      Message message = OverUdp(resolver, query);
      if (message && IsDnsTruncated(*message)) message = OverTcp(resolver, query);
      std::expected<DnsAnswer, DnsFailure> answer = std::unexpected(DnsFailure::kGarbage);
      if (message) {
        answer = ParseDnsAnswer(*message, question);
      } else {
        answer = std::unexpected(message.error());
      }
      if (answer || IsAnswer(answer.error())) return answer;
      last = answer.error();
    }
  }
  return std::unexpected(last);
}

std::vector<Address> SystemResolvers() {
  std::vector<Address> out;
  struct __res_state state{};
  if (res_ninit(&state) != 0) return out;
  for (int i = 0; i < state.nscount && i < MAXNS; ++i) {
    const sockaddr_in& v4 = state.nsaddr_list[i];
    // The C library keeps IPv6 resolvers beside the list, and leaves their place in it empty.
    const sockaddr_in6* v6 = state._u._ext.nsaddrs[i];
    auto address = v4.sin_family == AF_INET
                       ? Address::FromSockaddr(reinterpret_cast<const sockaddr*>(&v4), sizeof(v4))
                       : Address::FromSockaddr(reinterpret_cast<const sockaddr*>(v6),
                                               v6 == nullptr ? 0 : sizeof(*v6));
    if (address) out.push_back(*address);
  }
  res_nclose(&state);
  return out;
}

}  // namespace net
