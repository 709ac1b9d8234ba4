// dns_blaster: UDP queries as fast as a server takes them, over many flows, every answer checked.
//
//   dns_blaster SERVER:PORT NAME... [--type N] [--answers N] [--flows N] [--window N] [--seconds S]
//               [--rate N] [--watch PID]...
//
// Prints one JSON line: queries sent, answers that were right, wrong ones, lost ones, and the CPU
// time of the watched processes and of itself in the window. An answer is right when it repeats the
// question, is authoritative, has no error, is not truncated and has the expected number of records
// (0: any but none).
#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <charconv>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "bench/load/cpu_clock.h"

namespace bench {
namespace {

constexpr size_t kBatch = 64;
constexpr size_t kPacketBytes = 1500;
constexpr int64_t kNsPerSecond = 1'000'000'000;
// Outstanding queries of a flow that is silent for so long are lost.
constexpr int64_t kLostAfterNs = 200'000'000;

struct Options {
  std::string server;
  std::vector<std::string> names;
  unsigned type = 1;
  unsigned answers = 8;
  unsigned flows = 64;
  unsigned window = 1024;  // outstanding, all flows together
  double seconds = 3;
  double rate = 0;  // 0: as fast as answers come
  std::vector<pid_t> watch;
};

struct Counts {
  uint64_t sent = 0;
  uint64_t right = 0;
  uint64_t wrong = 0;
  uint64_t lost = 0;
};

using Packet = std::vector<uint8_t>;

Packet MakeQuery(std::string_view name, unsigned type) {
  Packet out = {0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0};
  while (!name.empty()) {
    size_t dot = name.find('.');
    std::string_view label = name.substr(0, dot);
    if (!label.empty()) {
      out.push_back(static_cast<uint8_t>(label.size()));
      out.insert(out.end(), label.begin(), label.end());
    }
    name = dot == std::string_view::npos ? std::string_view() : name.substr(dot + 1);
  }
  out.push_back(0);
  out.push_back(static_cast<uint8_t>(type >> 8));
  out.push_back(static_cast<uint8_t>(type));
  out.push_back(0);
  out.push_back(1);
  return out;
}

class Blaster {
 public:
  explicit Blaster(const Options& options) : options_(options) {
    for (const std::string& name : options.names) {
      queries_.push_back(MakeQuery(name, options.type));
    }
    for (size_t i = 0; i < kBatch; ++i) {
      in_iov_[i] = {in_[i].data(), in_[i].size()};
      in_messages_[i].msg_hdr.msg_iov = &in_iov_[i];
      in_messages_[i].msg_hdr.msg_iovlen = 1;
      out_messages_[i].msg_hdr.msg_iov = &out_iov_[i];
      out_messages_[i].msg_hdr.msg_iovlen = 1;
    }
  }
  ~Blaster() {
    for (const Flow& flow : flows_) close(flow.fd);
  }

  bool Open() {
    size_t colon = options_.server.rfind(':');
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_port = htons(static_cast<uint16_t>(std::atoi(options_.server.c_str() + colon + 1)));
    if (colon == std::string::npos ||
        inet_pton(AF_INET, options_.server.substr(0, colon).c_str(), &to.sin_addr) != 1) {
      return false;
    }
    for (unsigned i = 0; i < options_.flows; ++i) {
      Flow flow;
      flow.fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
      int bytes = 1 << 20;
      setsockopt(flow.fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof bytes);
      if (flow.fd < 0 || connect(flow.fd, reinterpret_cast<const sockaddr*>(&to), sizeof to) != 0) {
        return false;
      }
      flows_.push_back(flow);
    }
    return true;
  }

  // Sends and receives until `end_ns`; counts what comes in that time.
  void Run(int64_t end_ns) {
    counts_ = {};
    int64_t begin = MonotonicNs();
    while (true) {
      int64_t now = MonotonicNs();
      if (now >= end_ns) return;
      bool idle = true;
      for (Flow& flow : flows_) {
        if (ReceiveAll(flow, now)) idle = false;
        if (MaySend(now - begin) && SendBatch(flow, now)) idle = false;
      }
      if (idle) Wait(now);
    }
  }
  const Counts& counts() const { return counts_; }

 private:
  struct Flow {
    int fd = -1;
    unsigned outstanding = 0;
    int64_t heard_ns = 0;
  };

  bool MaySend(int64_t elapsed_ns) const {
    if (options_.rate <= 0) return true;
    return static_cast<double>(counts_.sent) <
           options_.rate * static_cast<double>(elapsed_ns) / kNsPerSecond;
  }

  bool SendBatch(Flow& flow, int64_t now) {
    unsigned allowed = std::max(1u, options_.window / options_.flows);
    if (flow.outstanding >= allowed) return false;
    auto count = std::min<unsigned>(allowed - flow.outstanding, kBatch);
    for (unsigned i = 0; i < count; ++i) {
      Packet& query = queries_[next_++ % queries_.size()];
      // The same bytes may stand in the batch twice: the id is the flow's, not the query's.
      out_iov_[i] = {query.data(), query.size()};
    }
    int sent = sendmmsg(flow.fd, out_messages_.data(), count, 0);
    if (sent <= 0) return false;
    if (flow.outstanding == 0) flow.heard_ns = now;
    flow.outstanding += static_cast<unsigned>(sent);
    counts_.sent += static_cast<uint64_t>(sent);
    return true;
  }

  bool ReceiveAll(Flow& flow, int64_t now) {
    if (flow.outstanding == 0) return false;
    int received = recvmmsg(flow.fd, in_messages_.data(), kBatch, 0, nullptr);
    if (received <= 0) {
      if (now - flow.heard_ns > kLostAfterNs) {
        counts_.lost += flow.outstanding;
        flow.outstanding = 0;
      }
      return false;
    }
    flow.heard_ns = now;
    for (size_t i = 0; i < static_cast<size_t>(received); ++i) {
      ++(IsRight(in_[i].data(), in_messages_[i].msg_len) ? counts_.right : counts_.wrong);
    }
    auto got = static_cast<unsigned>(received);
    flow.outstanding -= std::min(flow.outstanding, got);
    return true;
  }

  bool IsRight(const uint8_t* answer, size_t size) const {
    if (size < 12 || (answer[2] & 0x86) != 0x84 || (answer[3] & 0x0f) != 0) return false;
    unsigned records = static_cast<unsigned>(answer[6]) << 8 | answer[7];
    if (options_.answers != 0 ? records != options_.answers : records == 0) return false;
    for (const Packet& query : queries_) {
      if (size >= query.size() &&
          std::memcmp(answer + 12, query.data() + 12, query.size() - 12) == 0) {
        return true;
      }
    }
    return false;
  }

  void Wait(int64_t now) {
    std::vector<pollfd> waiting;
    for (const Flow& flow : flows_) waiting.push_back({flow.fd, POLLIN, 0});
    poll(waiting.data(), waiting.size(), 1);
    static_cast<void>(now);
  }

  const Options& options_;
  std::vector<Packet> queries_;
  std::vector<Flow> flows_;
  size_t next_ = 0;
  Counts counts_;
  std::array<std::array<uint8_t, kPacketBytes>, kBatch> in_;
  std::array<iovec, kBatch> in_iov_{};
  std::array<iovec, kBatch> out_iov_{};
  std::array<mmsghdr, kBatch> in_messages_{};
  std::array<mmsghdr, kBatch> out_messages_{};
};

std::optional<Options> Parse(int argc, char** argv) {
  Options options;
  for (int i = 1; i < argc; ++i) {
    std::string_view argument = argv[i];
    auto value = [&]() -> const char* { return i + 1 < argc ? argv[++i] : "0"; };
    if (argument == "--type") {
      options.type = static_cast<unsigned>(std::atoi(value()));
    } else if (argument == "--answers") {
      options.answers = static_cast<unsigned>(std::atoi(value()));
    } else if (argument == "--flows") {
      options.flows = static_cast<unsigned>(std::atoi(value()));
    } else if (argument == "--window") {
      options.window = static_cast<unsigned>(std::atoi(value()));
    } else if (argument == "--seconds") {
      options.seconds = std::atof(value());
    } else if (argument == "--rate") {
      options.rate = std::atof(value());
    } else if (argument == "--watch") {
      options.watch.push_back(std::atoi(value()));
    } else if (argument.starts_with("--")) {
      return std::nullopt;
    } else if (options.server.empty()) {
      options.server = argument;
    } else {
      options.names.emplace_back(argument);
    }
  }
  if (options.names.empty() || options.flows == 0 || options.seconds <= 0) return std::nullopt;
  return options;
}

int Main(int argc, char** argv) {
  auto options = Parse(argc, argv);
  if (!options) {
    std::fprintf(stderr,
                 "dns_blaster SERVER:PORT NAME... [--type N] [--answers N] [--flows N]\n"
                 "            [--window N] [--seconds S] [--rate N] [--watch PID]...\n");
    return 2;
  }
  Blaster blaster(*options);
  if (!blaster.Open()) {
    std::fprintf(stderr, "dns_blaster: cannot reach %s: %s\n", options->server.c_str(),
                 std::strerror(errno));
    return 2;
  }
  blaster.Run(MonotonicNs() + kNsPerSecond / 4);  // caches and queues get warm
  CpuWindow window(options->watch);
  window.Start();
  blaster.Run(MonotonicNs() + static_cast<int64_t>(options->seconds * kNsPerSecond));
  CpuWindow::Reading reading = window.Stop();
  const Counts& counts = blaster.counts();
  int64_t watched_ns = 0;
  bool good = true;
  for (int64_t ns : reading.watched_ns) {
    good = good && ns >= 0;
    watched_ns += ns;
  }
  double seconds = static_cast<double>(reading.wall_ns) / kNsPerSecond;
  std::printf(
      "{\"sent\":%llu,\"right\":%llu,\"wrong\":%llu,\"lost\":%llu,\"seconds\":%.4f,"
      "\"queries_per_s\":%.1f,\"server_cpu_s\":%.6f,\"own_cpu_s\":%.6f,\"valid\":%s}\n",
      static_cast<unsigned long long>(counts.sent), static_cast<unsigned long long>(counts.right),
      static_cast<unsigned long long>(counts.wrong), static_cast<unsigned long long>(counts.lost),
      seconds, static_cast<double>(counts.right) / seconds,
      static_cast<double>(watched_ns) / kNsPerSecond,
      static_cast<double>(reading.own_ns) / kNsPerSecond,
      good && counts.right > 0 && counts.wrong == 0 ? "true" : "false");
  return 0;
}

}  // namespace
}  // namespace bench

int main(int argc, char** argv) { return bench::Main(argc, argv); }
