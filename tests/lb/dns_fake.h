// Answers made by hand, and a resolver on loopback that gives them. For tests.
#pragma once

#include <arpa/inet.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cstdint>
#include <functional>
#include <mutex>
#include <span>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "net/base/address.h"
#include "net/base/check.h"
#include "net/dns/dns_message.h"

namespace lb {

using Bytes = std::vector<uint8_t>;
using Packets = std::vector<Bytes>;

inline void Put16(Bytes& out, size_t value) {
  out.push_back(static_cast<uint8_t>(value >> 8));
  out.push_back(static_cast<uint8_t>(value));
}

inline void PutName(Bytes& out, std::string_view name) {
  while (!name.empty()) {
    size_t dot = std::min(name.find('.'), name.size());
    out.push_back(static_cast<uint8_t>(dot));
    out.insert(out.end(), name.begin(), name.begin() + static_cast<ptrdiff_t>(dot));
    name.remove_prefix(std::min(dot + 1, name.size()));
  }
  out.push_back(0);
}

// An answer, put together record by record.
class FakeAnswer {
 public:
  // To `query`: with its id and question. Flags: a recursive answer without error.
  explicit FakeAnswer(std::span<const uint8_t> query, size_t rcode = 0, size_t extra_flags = 0) {
    size_t end = 12;
    while (query[end] != 0) end += query[end] + size_t{1};
    end += 5;
    bytes_.assign(query.begin(), query.begin() + static_cast<ptrdiff_t>(end));
    size_t flags = 0x8180U | rcode | extra_flags;
    bytes_[2] = static_cast<uint8_t>(flags >> 8);
    bytes_[3] = static_cast<uint8_t>(flags);
    for (size_t i = 6; i < 12; ++i) bytes_[i] = 0;
  }

  FakeAnswer& Record(std::string_view owner, size_t type, const Bytes& data, size_t ttl = 60) {
    if (owner.empty()) {
      Put16(bytes_, 0xc00c);  // points at the question
    } else {
      PutName(bytes_, owner);
    }
    Put16(bytes_, type);
    Put16(bytes_, 1);
    Put16(bytes_, ttl >> 16);
    Put16(bytes_, ttl & 0xffff);
    Put16(bytes_, data.size());
    bytes_.insert(bytes_.end(), data.begin(), data.end());
    ++count_;
    bytes_[6] = static_cast<uint8_t>(count_ >> 8);
    bytes_[7] = static_cast<uint8_t>(count_);
    return *this;
  }
  FakeAnswer& Ip(std::string_view ip, size_t ttl = 60, std::string_view owner = "") {
    auto address = net::Address::FromIp(ip, 0);
    CHECK(address);
    bool v4 = address->family() == net::AddressFamily::kIpv4;
    return Record(owner, v4 ? 1 : 28, Bytes(address->ip().begin(), address->ip().end()), ttl);
  }
  FakeAnswer& Srv(size_t priority, size_t weight, size_t port, std::string_view target,
                  size_t ttl = 60) {
    Bytes data;
    Put16(data, priority);
    Put16(data, weight);
    Put16(data, port);
    PutName(data, target);
    return Record("", 33, data, ttl);
  }
  FakeAnswer& Cname(std::string_view owner, std::string_view target, size_t ttl = 60) {
    Bytes data;
    PutName(data, target);
    return Record(owner, 5, data, ttl);
  }

  const Bytes& bytes() const { return bytes_; }

 private:
  Bytes bytes_;
  size_t count_ = 0;
};

// The name and type that a query asks for, as "name/TYPE".
inline std::string QuestionOf(std::span<const uint8_t> query) {
  std::string name;
  size_t at = 12;
  while (query[at] != 0) {
    if (!name.empty()) name += '.';
    name.append(reinterpret_cast<const char*>(query.data()) + at + 1, query[at]);
    at += query[at] + size_t{1};
  }
  size_t type = static_cast<size_t>((query[at + 1] << 8) | query[at + 2]);
  return name + "/" + std::string(net::DnsTypeName(static_cast<net::DnsType>(type)));
}

// A resolver on 127.0.0.1, UDP and TCP on one port, in a thread of its own. The handler says what
// comes back: nothing, one packet, or several (over TCP the first).
class FakeResolver {
 public:
  using Handler = std::function<Packets(std::span<const uint8_t> query, bool tcp)>;

  FakeResolver() : stop_(eventfd(0, EFD_CLOEXEC)) {
    tcp_ = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    udp_ = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    sockaddr_in name{};
    name.sin_family = AF_INET;
    name.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof(name);
    auto* any = reinterpret_cast<sockaddr*>(&name);
    // UDP may have the port that TCP was given taken already: then another pair.
    while (true) {
      name.sin_port = 0;
      CHECK(bind(tcp_, any, size) == 0 && getsockname(tcp_, any, &size) == 0);
      if (bind(udp_, any, size) == 0) break;
      close(tcp_);
      tcp_ = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    }
    CHECK(listen(tcp_, 8) == 0);
    address_ = *net::Address::FromSockaddr(any, size);
    thread_ = std::jthread([this] { Run(); });
  }
  ~FakeResolver() {
    uint64_t one = 1;
    CHECK(write(stop_, &one, sizeof(one)) == sizeof(one));
    thread_.join();
    for (int fd : {stop_, tcp_, udp_}) close(fd);
    for (int fd : held_) close(fd);
  }
  FakeResolver(const FakeResolver&) = delete;
  FakeResolver& operator=(const FakeResolver&) = delete;

  const net::Address& address() const { return address_; }
  void Handle(Handler handler) {
    std::lock_guard lock(mutex_);
    handler_ = std::move(handler);
  }
  std::vector<std::string> questions() const {
    std::lock_guard lock(mutex_);
    return questions_;
  }

 private:
  Packets Answers(std::span<const uint8_t> query, bool tcp) {
    std::lock_guard lock(mutex_);
    questions_.push_back(QuestionOf(query) + (tcp ? " tcp" : ""));
    return handler_ ? handler_(query, tcp) : Packets{};
  }

  void Run() {
    std::array<pollfd, 3> fds = {{{stop_, POLLIN, 0}, {udp_, POLLIN, 0}, {tcp_, POLLIN, 0}}};
    while (poll(fds.data(), fds.size(), -1) > 0 && fds[0].revents == 0) {
      if (fds[1].revents != 0) OnUdp();
      if (fds[2].revents != 0) OnTcp();
    }
  }

  void OnUdp() {
    Bytes query(65'536);
    sockaddr_in peer{};
    socklen_t peer_size = sizeof(peer);
    auto* any = reinterpret_cast<sockaddr*>(&peer);
    ssize_t size = recvfrom(udp_, query.data(), query.size(), 0, any, &peer_size);
    if (size < 12) return;
    query.resize(static_cast<size_t>(size));
    for (const Bytes& answer : Answers(query, false)) {
      sendto(udp_, answer.data(), answer.size(), 0, any, peer_size);
    }
  }

  void OnTcp() {
    int fd = accept4(tcp_, nullptr, nullptr, SOCK_CLOEXEC);
    if (fd < 0) return;
    held_.push_back(fd);  // a resolver that does not answer keeps the connection
    Bytes query(65'538);
    ssize_t size = recv(fd, query.data(), query.size(), 0);
    if (size < 14) return;
    auto answers = Answers(std::span(query).subspan(2, static_cast<size_t>(size) - 2), true);
    if (answers.empty()) return;
    Bytes framed;
    Put16(framed, answers[0].size());
    framed.insert(framed.end(), answers[0].begin(), answers[0].end());
    CHECK(send(fd, framed.data(), framed.size(), MSG_NOSIGNAL) > 0);
    shutdown(fd, SHUT_WR);
  }

  int stop_ = -1;
  int udp_ = -1;
  int tcp_ = -1;
  net::Address address_;
  std::vector<int> held_;
  mutable std::mutex mutex_;
  Handler handler_;
  std::vector<std::string> questions_;
  std::jthread thread_;
};

}  // namespace lb
