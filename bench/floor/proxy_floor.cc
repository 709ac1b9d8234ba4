// proxy_floor LISTEN NODE...: the bare loop of a TCP proxy, as the floor that a balancer is
// measured against: bytes pass, in the fewest calls that the kernel offers for it, and nothing else
// is done. No time-outs, limits, checks, logs, half-closes or back-pressure: never for production.
//
// One thread, one ring: multishot accept and receive, provided buffers, direct descriptors; socket
// and connect as one chain. It ends both sides when either ends and all that it said was passed on.
//
// ADDRESS:PORT, IPv4. Ends with 2 and words when anything at start fails; else by a signal.

#include <arpa/inet.h>
#include <liburing.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace bench {
namespace {

constexpr unsigned kConnectionsMax = 9000;
constexpr unsigned kBuffers = 4096;  // a power of two
constexpr unsigned kBufferBytes = 4096;
constexpr unsigned kEntries = 4096;
constexpr int kNone = -1;

enum class Op : uint8_t { kAccept, kConnect, kReceive, kSend, kClose, kCancel };

[[noreturn]] void Fail(const char* what, int error) {
  std::fprintf(stderr, "proxy_floor: %s: %s\n", what, std::strerror(error));
  std::exit(2);
}

std::optional<sockaddr_in> ParseEndpoint(std::string_view text) {
  const size_t colon = text.rfind(':');
  if (colon == std::string_view::npos) return std::nullopt;
  sockaddr_in address{};
  address.sin_family = AF_INET;
  const std::string host(text.substr(0, colon));
  const int port = std::atoi(std::string(text.substr(colon + 1)).c_str());
  if (inet_pton(AF_INET, host.c_str(), &address.sin_addr) != 1 || port < 1 || port > 65535) {
    return std::nullopt;
  }
  address.sin_port = htons(static_cast<uint16_t>(port));
  return address;
}

// One direction: what was received from a side and waits to be sent to the other.
struct Direction {
  int head = kNone;  // the buffer being sent
  int tail = kNone;
  unsigned offset = 0;
  bool ended = false;
  bool receiving = false;
};

struct Connection {
  std::array<Direction, 2> from;  // [0]: from the client
  unsigned in_flight = 0;
  bool closing = false;
};

class Proxy {
 public:
  Proxy(int listener, std::vector<sockaddr_in> nodes)
      : listener_(listener), nodes_(std::move(nodes)), connections_(kConnectionsMax) {
    io_uring_params params{};
    params.flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_CQSIZE;
    params.cq_entries = 4 * kEntries;
    Check("io_uring_queue_init", io_uring_queue_init_params(kEntries, &ring_, &params));
    Check("register_files", io_uring_register_files_sparse(&ring_, 2 * kConnectionsMax));
    // Accepted sockets take the lower half of the table; a node's stands kConnectionsMax above.
    Check("register_file_alloc_range",
          io_uring_register_file_alloc_range(&ring_, 0, kConnectionsMax));
    io_uring_register_ring_fd(&ring_);
    buffers_.resize(size_t{kBuffers} * kBufferBytes);
    lengths_.resize(kBuffers);
    next_.resize(kBuffers, kNone);
    const size_t ring_bytes = kBuffers * sizeof(io_uring_buf);
    if (posix_memalign(reinterpret_cast<void**>(&buffer_ring_), 4096, ring_bytes) != 0) {
      Fail("buffers", ENOMEM);
    }
    io_uring_buf_reg registration{};
    registration.ring_addr = reinterpret_cast<uint64_t>(buffer_ring_);
    registration.ring_entries = kBuffers;
    Check("register_buf_ring", io_uring_register_buf_ring(&ring_, &registration, 0));
    io_uring_buf_ring_init(buffer_ring_);
    for (unsigned i = 0; i < kBuffers; ++i) GiveBack(static_cast<int>(i));
  }

  [[noreturn]] void Run() {
    Accept();
    while (true) {
      const int submitted = io_uring_submit_and_wait(&ring_, 1);
      if (submitted < 0 && submitted != -EINTR) Fail("io_uring_enter", -submitted);
      unsigned head = 0;
      unsigned count = 0;
      io_uring_cqe* completion = nullptr;
      io_uring_for_each_cqe(&ring_, head, completion) {
        ++count;
        OnCompletion(*completion);
      }
      io_uring_cq_advance(&ring_, count);
      for (const uint32_t waiting : std::exchange(starved_, {})) Receive(waiting / 2, waiting % 2);
    }
  }

 private:
  static void Check(const char* what, int result) {
    if (result < 0) Fail(what, -result);
  }

  static uint64_t Data(Op op, unsigned side, unsigned slot) {
    return uint64_t{static_cast<uint8_t>(op)} << 56 | uint64_t{side} << 48 | slot;
  }

  static int Descriptor(unsigned slot, unsigned side) {
    return static_cast<int>(slot + side * kConnectionsMax);
  }

  io_uring_sqe* Entry(uint64_t data) {
    io_uring_sqe* entry = io_uring_get_sqe(&ring_);
    if (entry == nullptr) {
      Check("io_uring_submit", io_uring_submit(&ring_));
      entry = io_uring_get_sqe(&ring_);
      if (entry == nullptr) Fail("io_uring_get_sqe", EBUSY);
    }
    entry->user_data = data;
    return entry;
  }

  void GiveBack(int buffer) {
    io_uring_buf_ring_add(buffer_ring_, &buffers_[static_cast<size_t>(buffer) * kBufferBytes],
                          kBufferBytes, static_cast<uint16_t>(buffer),
                          io_uring_buf_ring_mask(kBuffers), 0);
    io_uring_buf_ring_advance(buffer_ring_, 1);
  }

  // prep_* clears the entry, so that its data is set behind it.
  static void Mark(io_uring_sqe* entry, uint64_t data, unsigned flags) {
    entry->flags = static_cast<uint8_t>(entry->flags | flags);
    entry->user_data = data;
  }

  void Accept() {
    io_uring_sqe* entry = Entry(0);
    io_uring_prep_multishot_accept_direct(entry, listener_, nullptr, nullptr, 0);
    Mark(entry, Data(Op::kAccept, 0, 0), 0);
  }

  void Connect(unsigned slot) {
    connections_[slot] = {};
    connections_[slot].in_flight = 1;
    io_uring_sqe* entry = Entry(0);
    io_uring_prep_socket_direct(entry, AF_INET, SOCK_STREAM, 0, slot + kConnectionsMax, 0);
    Mark(entry, Data(Op::kClose, 1, slot), IOSQE_IO_LINK | IOSQE_CQE_SKIP_SUCCESS);
    entry = Entry(0);
    io_uring_prep_connect(entry, Descriptor(slot, 1),
                          reinterpret_cast<const sockaddr*>(&nodes_[turn_++ % nodes_.size()]),
                          sizeof(sockaddr_in));
    Mark(entry, Data(Op::kConnect, 1, slot), IOSQE_FIXED_FILE);
  }

  void Receive(unsigned slot, unsigned side) {
    Connection& connection = connections_[slot];
    if (connection.closing || connection.from[side].receiving) return;
    connection.from[side].receiving = true;
    ++connection.in_flight;
    io_uring_sqe* entry = Entry(0);
    io_uring_prep_recv_multishot(entry, Descriptor(slot, side), nullptr, 0, 0);
    entry->ioprio = static_cast<uint16_t>(entry->ioprio | IORING_RECVSEND_POLL_FIRST);
    entry->buf_group = 0;
    Mark(entry, Data(Op::kReceive, side, slot), IOSQE_FIXED_FILE | IOSQE_BUFFER_SELECT);
  }

  void Send(unsigned slot, unsigned side) {
    Direction& direction = connections_[slot].from[side];
    const auto buffer = static_cast<size_t>(direction.head);
    ++connections_[slot].in_flight;
    io_uring_sqe* entry = Entry(0);
    io_uring_prep_send(entry, Descriptor(slot, 1 - side),
                       &buffers_[buffer * kBufferBytes + direction.offset],
                       lengths_[buffer] - direction.offset, MSG_NOSIGNAL);
    Mark(entry, Data(Op::kSend, side, slot), IOSQE_FIXED_FILE);
  }

  void Close(unsigned slot) {
    Connection& connection = connections_[slot];
    if (connection.closing) return;
    connection.closing = true;
    for (unsigned side = 0; side < 2; ++side) {
      if (!connection.from[side].receiving) continue;
      io_uring_sqe* entry = Entry(0);
      io_uring_prep_cancel64(entry, Data(Op::kReceive, side, slot), 0);
      Mark(entry, Data(Op::kCancel, side, slot), IOSQE_CQE_SKIP_SUCCESS);
    }
  }

  // The slot of the table is free for the next accept only when nothing of this one is in flight.
  void CloseIfJoined(unsigned slot) {
    Connection& connection = connections_[slot];
    if (!connection.closing || connection.in_flight > 0) return;
    for (Direction& direction : connection.from) {
      while (direction.head != kNone) {
        GiveBack(std::exchange(direction.head, next_[static_cast<size_t>(direction.head)]));
      }
    }
    for (unsigned side : {1U, 0U}) {
      io_uring_sqe* entry = Entry(0);
      io_uring_prep_close_direct(entry, static_cast<unsigned>(Descriptor(slot, side)));
      Mark(entry, Data(Op::kClose, side, slot), IOSQE_CQE_SKIP_SUCCESS);
    }
    connection.closing = false;
  }

  void OnReceived(unsigned slot, unsigned side, const io_uring_cqe& completion) {
    Connection& connection = connections_[slot];
    Direction& direction = connection.from[side];
    if ((completion.flags & IORING_CQE_F_MORE) == 0) {
      direction.receiving = false;
      --connection.in_flight;
    }
    if (completion.res > 0) {
      const int buffer = static_cast<int>(completion.flags >> IORING_CQE_BUFFER_SHIFT);
      lengths_[static_cast<size_t>(buffer)] = static_cast<unsigned>(completion.res);
      next_[static_cast<size_t>(buffer)] = kNone;
      const bool idle = direction.head == kNone;
      if (idle) {
        direction.head = buffer;
      } else {
        next_[static_cast<size_t>(direction.tail)] = buffer;
      }
      direction.tail = buffer;
      if (idle && !connection.closing) Send(slot, side);
      if (!direction.receiving) Receive(slot, side);
    } else if (completion.res == -ENOBUFS) {
      starved_.push_back(slot * 2 + side);
    } else {
      direction.ended = true;
      if (direction.head == kNone) Close(slot);
    }
    CloseIfJoined(slot);
  }

  void OnSent(unsigned slot, unsigned side, int result) {
    Connection& connection = connections_[slot];
    Direction& direction = connection.from[side];
    --connection.in_flight;
    if (result <= 0) {
      Close(slot);
    } else {
      direction.offset += static_cast<unsigned>(result);
      const auto buffer = static_cast<size_t>(direction.head);
      if (direction.offset == lengths_[buffer]) {
        direction.offset = 0;
        direction.head = next_[buffer];
        GiveBack(static_cast<int>(buffer));
      }
      if (!connection.closing && direction.head != kNone) {
        Send(slot, side);
      } else if (direction.head == kNone && direction.ended) {
        Close(slot);
      }
    }
    CloseIfJoined(slot);
  }

  void OnCompletion(const io_uring_cqe& completion) {
    const auto op = static_cast<Op>(completion.user_data >> 56);
    const auto side = static_cast<unsigned>(completion.user_data >> 48 & 1);
    const auto slot = static_cast<unsigned>(completion.user_data & 0xffffffff);
    switch (op) {
      case Op::kAccept:
        if (completion.res >= 0) Connect(static_cast<unsigned>(completion.res));
        if ((completion.flags & IORING_CQE_F_MORE) == 0) Accept();
        break;
      case Op::kConnect:
        --connections_[slot].in_flight;
        if (completion.res < 0) {
          Close(slot);
          CloseIfJoined(slot);
          break;
        }
        Receive(slot, 0);
        Receive(slot, 1);
        break;
      case Op::kReceive:
        OnReceived(slot, side, completion);
        break;
      case Op::kSend:
        OnSent(slot, side, completion.res);
        break;
      case Op::kClose:
      case Op::kCancel:
        break;  // only failures come here, and they change nothing
    }
  }

  int listener_;
  std::vector<sockaddr_in> nodes_;
  std::vector<Connection> connections_;
  io_uring ring_{};
  io_uring_buf_ring* buffer_ring_ = nullptr;
  std::vector<char> buffers_;
  std::vector<unsigned> lengths_;
  std::vector<int> next_;
  std::vector<uint32_t> starved_;
  size_t turn_ = 0;
};

int Main(int count, char** words) {
  std::vector<sockaddr_in> endpoints;
  for (int i = 1; i < count; ++i) {
    const std::optional<sockaddr_in> endpoint = ParseEndpoint(words[i]);
    if (!endpoint) {
      std::fprintf(stderr, "proxy_floor: '%s' is no ADDRESS:PORT of IPv4\n", words[i]);
      return 2;
    }
    endpoints.push_back(*endpoint);
  }
  if (endpoints.size() < 2) {
    std::fprintf(stderr, "usage: proxy_floor LISTEN NODE...\n");
    return 2;
  }
  rlimit limit{};
  getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_cur = limit.rlim_max;  // the table of direct descriptors is bounded by it
  setrlimit(RLIMIT_NOFILE, &limit);
  const int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const int one = 1;
  setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
  setsockopt(listener, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);  // accepted ones inherit it
  if (bind(listener, reinterpret_cast<sockaddr*>(&endpoints[0]), sizeof(sockaddr_in)) != 0 ||
      listen(listener, 4096) != 0) {
    Fail("listen", errno);
  }
  Proxy(listener, {endpoints.begin() + 1, endpoints.end()}).Run();
}

}  // namespace
}  // namespace bench

int main(int count, char** words) { return bench::Main(count, words); }
