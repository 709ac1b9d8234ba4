#include "net/io/ring.h"

#include <fcntl.h>
#include <liburing.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <thread>

#include "net/base/check.h"
#include "net/io/quiet_sends.h"
#include "net/io/submit.h"

namespace net {
namespace {

// Newer than liburing 2.3 knows; the kernel's numbers (include/uapi/linux/io_uring.h).
constexpr uint8_t kOpUringCmd = 46;
constexpr uint8_t kOpFixedFdInstall = 54;
constexpr uint8_t kOpBind = 56;
constexpr uint32_t kCmdUnsent = 1;  // as ioctl SIOCOUTQ
constexpr uint32_t kCmdGetSockOpt = 2;
constexpr uint32_t kCmdSetSockOpt = 3;
constexpr uint32_t kFeatureMinTimeout = 1U << 15U;
constexpr uint32_t kFeatureNoIoWait = 1U << 17U;
constexpr uint32_t kEnterRegisteredRing = 1U << 4U;
constexpr uint32_t kEnterNoIoWait = 1U << 7U;
// struct io_uring_getevents_arg with the field that 6.12 made of its padding.
struct WaitArgument {
  uint64_t signal_mask;
  uint32_t signal_mask_size;
  uint32_t min_wait_usec;
  uint64_t timeout;  // address of a __kernel_timespec
};

// Room for the longest linked chain, so that no chain is cut by a full queue.
constexpr unsigned kChainMax = 5;

// So many completions end a gathering early: what one pass over them finds still warm.
constexpr unsigned kGatherMax = 128;

constexpr int kOne = 1;

uint64_t Encode(Tag tag) {
  DCHECK(tag.op < kMaxOps);
  return reinterpret_cast<uint64_t>(tag.target) | tag.op;
}

[[noreturn]] void Broken(int error) {
  std::fprintf(stderr, "<2>io_uring_enter: %s; this process cannot go on and ends\n",
               std::strerror(error));
  std::abort();
}

std::string Failed(const char* call, int error, const char* remedy) {
  return std::string(call) + ": " + std::strerror(error) + (*remedy != '\0' ? "; " : "") + remedy;
}

const char* SetupRemedy(int error) {
  switch (error) {
    case EPERM:
    case EACCES:
      return "io_uring is switched off for this user: see /proc/sys/kernel/io_uring_disabled and "
             "the "
             "container's seccomp profile";
    case ENOSYS:
    case EINVAL:
      return "a Linux kernel of 6.1 or later is needed";
    case ENOMEM:
      return "raise the locked-memory limit (ulimit -l, LimitMEMLOCK=infinity)";
    case EMFILE:
    case ENFILE:
      return "raise the limit of open files (ulimit -n, LimitNOFILE=1048576)";
    default:
      return "";
  }
}

}  // namespace

struct Ring::Impl {
  io_uring ring{};
  bool open = false;
  uint32_t enter_flags = 0;  // of every wait
  uint32_t accept_slots = 0;

  struct BufferRing {
    io_uring_buf_ring* ring = nullptr;
    uint32_t count = 0;
    int pending = 0;
  };
  std::vector<BufferRing> groups;

  // Shutdowns under way; a close waits for them. Where the kernel does them in a thread of its own,
  // that looks the slot up only when it runs: by then the slot could belong to another connection.
  struct SlotState {
    uint8_t shutdowns : 7 = 0;
    uint8_t close_after : 1 = 0;
  };
  std::vector<SlotState> slots;

  ~Impl() {
    if (!open) return;
    for (uint16_t group = 0; group < groups.size(); ++group) Unregister(group);
    io_uring_queue_exit(&ring);
  }

  void Unregister(uint16_t group) {
    if (group >= groups.size() || groups[group].ring == nullptr) return;
    io_uring_unregister_buf_ring(&ring, group);
    munmap(groups[group].ring, groups[group].count * sizeof(io_uring_buf));
    groups[group] = {};
  }

  // Completions that had to make room for others, in order; they are delivered first.
  struct Stashed {
    uint64_t data;
    Completion completion;
  };
  std::vector<Stashed> stash;

  // Takes what is there out of the kernel's queue, so that it can put in what it kept besides.
  void Stash() {
    for (unsigned ready = io_uring_cq_ready(&ring); ready > 0; --ready) {
      const io_uring_cqe* cqe = &ring.cq.cqes[*ring.cq.khead & ring.cq.ring_mask];
      stash.push_back({cqe->user_data, {cqe->res, cqe->flags}});
      io_uring_cq_advance(&ring, 1);
    }
    io_uring_get_events(&ring);
  }

  void Submit(RingStats& stats) {
    const int error = SubmitAll(
        [&] {
          ++stats.enters;
          return io_uring_submit(&ring);
        },
        [&] { return io_uring_sq_ready(&ring) > 0; }, [&] { Stash(); },
        [] { std::this_thread::sleep_for(kSubmitPause); }, &stats.enter_errors);
    if (error != 0) Broken(error);
  }

  QuietSends quiet;
  // Something besides quiet sends was queued, or somebody waits for the end of one: Wait() must not
  // sleep before these were told.
  bool hurry = false;

  io_uring_sqe* Get(RingStats& stats) {
    hurry = true;
    return GetQuietly(stats);
  }

  io_uring_sqe* GetQuietly(RingStats& stats) {
    io_uring_sqe* sqe = io_uring_get_sqe(&ring);
    if (sqe == nullptr) [[unlikely]] {
      Submit(stats);
      sqe = io_uring_get_sqe(&ring);
      CHECK(sqe != nullptr);
    }
    return sqe;
  }

  // A plain socket in the slot, ready to connect; else the errno.
  int PutSocket(Slot slot, int family, const ConnectOptions& options, bool bind) {
    const int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) return errno;
    if (options.no_delay && family != AF_UNIX) {
      setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &kOne, sizeof kOne);
    }
    int error = 0;
    if (bind) {
      setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &kOne, sizeof kOne);
      if (::bind(fd, options.source, options.source_size) != 0) error = errno;
    }
    if (error == 0) {
      const int put = io_uring_register_files_update(&ring, slot, &fd, 1);
      if (put < 0) error = -put;
    }
    close(fd);
    return error;
  }

  bool Overflown() const { return (*ring.sq.kflags & IORING_SQ_CQ_OVERFLOW) != 0; }

  // What liburing's submit-and-wait does, with what 2.3 does not know besides: a minimal wait,
  // after which any completion ends it, and none of the time counted as waiting for a disk. Returns
  // with `count` completions, or with any after `gather`, or at the timeout.
  int SubmitAndWait(__kernel_timespec* timeout, unsigned count, Duration gather) {
    io_uring_sq& sq = ring.sq;
    unsigned tail = *sq.ktail;
    for (; sq.sqe_head != sq.sqe_tail; ++sq.sqe_head, ++tail) {
      sq.array[tail & sq.ring_mask] = sq.sqe_head & sq.ring_mask;
    }
    __atomic_store_n(sq.ktail, tail, __ATOMIC_RELEASE);
    const unsigned submit = tail - __atomic_load_n(sq.khead, __ATOMIC_ACQUIRE);
    WaitArgument argument{
        .signal_mask = 0,
        .signal_mask_size = _NSIG / 8,
        .min_wait_usec = static_cast<uint32_t>(gather / std::chrono::microseconds(1)),
        .timeout = reinterpret_cast<uint64_t>(timeout),
    };
    return io_uring_enter2(static_cast<unsigned>(ring.enter_ring_fd), submit, count, enter_flags,
                           reinterpret_cast<sigset_t*>(&argument), sizeof argument);
  }

  void Reserve(unsigned count, RingStats& stats) {
    if (io_uring_sq_space_left(&ring) < count) [[unlikely]]
      Submit(stats);
  }
};

namespace {

void SocketCommand(io_uring_sqe* sqe, Slot slot, uint32_t command, int level, int option,
                   const void* value, int32_t size) {
  std::memset(sqe, 0, sizeof *sqe);
  sqe->opcode = kOpUringCmd;
  sqe->fd = static_cast<int32_t>(slot);
  sqe->flags = IOSQE_FIXED_FILE;
  sqe->off = command;
  sqe->addr = static_cast<uint64_t>(static_cast<uint32_t>(level)) |
              static_cast<uint64_t>(static_cast<uint32_t>(option)) << 32U;
  sqe->splice_fd_in = size;
  sqe->addr3 = reinterpret_cast<uint64_t>(value);
}

// The two ways to half-close a direct descriptor. IORING_OP_SHUTDOWN always runs in a thread of the
// kernel, whose waking costs more than the FIN. A plain descriptor for the moment, shutdown(2) and
// close(2) cost less, where the kernel can give one.
//
// These mark their completions, with the slot below and `how` between; no address has these bits.
constexpr uint64_t kShutdownDone = uint64_t{1} << 63U;
constexpr uint64_t kShutdownFd = uint64_t{1} << 62U;
constexpr unsigned kShutdownHowShift = 32;

void PrepareInstall(io_uring_sqe* sqe, Slot slot, uint64_t data) {
  std::memset(sqe, 0, sizeof *sqe);
  sqe->opcode = kOpFixedFdInstall;  // close-on-exec is its default
  sqe->fd = static_cast<int32_t>(slot);
  sqe->flags = IOSQE_FIXED_FILE;
  sqe->user_data = data;
}

// This marks the failure of a quiet send.
constexpr uint64_t kQuiet = uint64_t{1} << 61U;

// Nobody waits for this one: no completion when it succeeds.
void Silent(io_uring_sqe* sqe) {
  sqe->flags |= IOSQE_CQE_SKIP_SUCCESS;
  sqe->user_data = 0;
}

// One step of a chain that ends in an operation with this tag. A step that fails completes under
// the tag, and the kernel then stays silent about the rest of the chain; so the whole brings
// exactly one completion.
void ChainStep(io_uring_sqe* sqe, uint64_t tag) {
  sqe->flags |= IOSQE_IO_LINK | IOSQE_CQE_SKIP_SUCCESS;
  sqe->user_data = tag;
}

}  // namespace

Ring::Ring(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Ring::~Ring() = default;

std::expected<std::unique_ptr<Ring>, std::string> Ring::Create(const RingOptions& options) {
  auto impl = std::make_unique<Impl>();
  io_uring_params params{};
  params.flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_SUBMIT_ALL |
                 IORING_SETUP_CQSIZE | IORING_SETUP_CLAMP;
  params.cq_entries = options.completion_entries;
  int result = io_uring_queue_init_params(options.submission_entries, &impl->ring, &params);
  if (result < 0) return std::unexpected(Failed("io_uring_setup", -result, SetupRemedy(-result)));
  impl->open = true;
  impl->accept_slots = options.accept_slots;
  // Saves a file look-up a call; fine without.
  const bool registered = io_uring_register_ring_fd(&impl->ring) == 1;
  impl->enter_flags =
      IORING_ENTER_GETEVENTS | IORING_ENTER_EXT_ARG | (registered ? kEnterRegisteredRing : 0);

  uint32_t slots = options.accept_slots + options.outgoing_slots;
  result = io_uring_register_files_sparse(&impl->ring, slots);
  if (result < 0) {
    return std::unexpected(Failed(
        ("io_uring_register_files of " + std::to_string(slots) + " sockets").c_str(), -result,
        "the table of a ring is bounded by the limit of open files: raise it (ulimit -n, "
        "LimitNOFILE=1048576), run more workers, or lower connections_max"));
  }
  result = io_uring_register_file_alloc_range(&impl->ring, 0, options.accept_slots);
  if (result < 0) return std::unexpected(Failed("io_uring_register_file_alloc_range", -result, ""));

  std::unique_ptr<Ring> ring(new Ring(std::move(impl)));
  ring->impl_->slots.resize(options.accept_slots + options.outgoing_slots);
  ring->free_slots_.reserve(options.outgoing_slots);
  for (uint32_t i = options.outgoing_slots; i > 0; --i) {
    ring->free_slots_.push_back(options.accept_slots + i - 1);
  }
  if (options.baseline_only) return ring;
  ring->features_.gather = (params.features & kFeatureMinTimeout) != 0;
  ring->features_.quiet_sends = ring->features_.gather;  // as new, and nothing else tells of it
  if ((params.features & kFeatureNoIoWait) != 0) ring->impl_->enter_flags |= kEnterNoIoWait;
  io_uring_probe* probe = io_uring_get_probe_ring(&ring->impl_->ring);
  if (probe != nullptr) {
    auto has = [&](unsigned op) {
      return op <= probe->last_op && (probe->ops[op].flags & IO_URING_OP_SUPPORTED) != 0;
    };
    ring->features_.bind = has(kOpBind);
    ring->features_.fd_install = has(kOpFixedFdInstall);
    // Socket options came as a command of URING_CMD, which the probe does not list; 6.8's
    // FIXED_FD_INSTALL is the first operation that is surely there with them.
    ring->features_.socket_options = has(kOpUringCmd) && has(kOpFixedFdInstall);
    io_uring_free_probe(probe);
  }
  return ring;
}

Slot Ring::AllocateSlot() {
  if (free_slots_.empty()) return kNoSlot;
  Slot slot = free_slots_.back();
  free_slots_.pop_back();
  return slot;
}

void Ring::AcceptMultishot(int listener, Tag tag) {
  io_uring_sqe* sqe = impl_->Get(stats_);
  io_uring_prep_multishot_accept_direct(sqe, listener, nullptr, nullptr, 0);
  sqe->user_data = Encode(tag);
}

void Ring::AcceptOnce(int listener, sockaddr* peer, socklen_t* peer_size, Tag tag) {
  io_uring_sqe* sqe = impl_->Get(stats_);
  io_uring_prep_accept(sqe, listener, peer, peer_size, 0);
  // liburing 2.3 turns FILE_INDEX_ALLOC into slot 0 in its own direct variant; set it by hand.
  sqe->file_index = IORING_FILE_INDEX_ALLOC;
  sqe->user_data = Encode(tag);
}

void Ring::Connect(Slot slot, const ConnectOptions& options, Tag tag) {
  impl_->Reserve(kChainMax, stats_);
  const int family = options.address->sa_family;
  const bool tcp = family == AF_INET || family == AF_INET6;
  const bool bind = options.source != nullptr && tcp;
  const bool by_ring =
      (!bind || features_.bind) && (!options.no_delay || !tcp || features_.socket_options);
  const uint64_t data = Encode(tag);
  if (by_ring) {
    io_uring_sqe* sqe = impl_->Get(stats_);
    io_uring_prep_socket_direct(sqe, family, SOCK_STREAM, 0, slot, 0);
    ChainStep(sqe, data);
    if (options.no_delay && tcp) {
      sqe = impl_->Get(stats_);
      SocketCommand(sqe, slot, kCmdSetSockOpt, IPPROTO_TCP, TCP_NODELAY, &kOne, sizeof kOne);
      ChainStep(sqe, data);
    }
    if (bind) {
      // The port is chosen at connect(), per destination; else all 64k ports are shared by all.
      sqe = impl_->Get(stats_);
      SocketCommand(sqe, slot, kCmdSetSockOpt, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &kOne,
                    sizeof kOne);
      ChainStep(sqe, data);
      sqe = impl_->Get(stats_);
      std::memset(sqe, 0, sizeof *sqe);
      sqe->opcode = kOpBind;
      sqe->fd = static_cast<int32_t>(slot);
      sqe->flags = IOSQE_FIXED_FILE;
      sqe->addr = reinterpret_cast<uint64_t>(options.source);
      sqe->off = options.source_size;
      ChainStep(sqe, data);
    }
  } else {
    // Kernels before 6.8 (6.11 for bind): a plain socket, set up by system calls and moved into the
    // slot. A failure here comes back as the connect's own, with its errno. This does not stand in
    // the queue, so what does goes first: the close of who had the slot before.
    if (io_uring_sq_ready(&impl_->ring) > 0) impl_->Submit(stats_);
    if (const int error = impl_->PutSocket(slot, family, options, bind); error != 0) {
      impl_->stash.push_back({data, {-error, 0}});
      return;
    }
  }
  io_uring_sqe* sqe = impl_->Get(stats_);
  io_uring_prep_connect(sqe, static_cast<int>(slot), options.address, options.address_size);
  sqe->flags |= IOSQE_FIXED_FILE;
  sqe->user_data = data;
}

void Ring::PeerName(Slot slot, void* peer, int32_t peer_size, Tag tag) {
  DCHECK(features_.socket_options);
  io_uring_sqe* sqe = impl_->Get(stats_);
  SocketCommand(sqe, slot, kCmdGetSockOpt, SOL_SOCKET, SO_PEERNAME, peer, peer_size);
  sqe->user_data = Encode(tag);
}

void Ring::SetOption(Slot slot, int level, int option, const int* value) {
  DCHECK(features_.socket_options);
  io_uring_sqe* sqe = impl_->Get(stats_);
  SocketCommand(sqe, slot, kCmdSetSockOpt, level, option, value, sizeof *value);
  Silent(sqe);
}

void Ring::RecvMultishot(Slot slot, uint16_t group, bool expect_data, Tag tag) {
  io_uring_sqe* sqe = impl_->Get(stats_);
  io_uring_prep_recv_multishot(sqe, static_cast<int>(slot), nullptr, 0, 0);
  sqe->flags |= IOSQE_FIXED_FILE | IOSQE_BUFFER_SELECT;
  sqe->buf_group = group;
  if (!expect_data) sqe->ioprio |= IORING_RECVSEND_POLL_FIRST;
  sqe->user_data = Encode(tag);
}

void Ring::Recv(Slot slot, std::span<uint8_t> into, Tag tag) {
  io_uring_sqe* sqe = impl_->Get(stats_);
  io_uring_prep_recv(sqe, static_cast<int>(slot), into.data(), into.size(), 0);
  sqe->flags |= IOSQE_FIXED_FILE;
  sqe->user_data = Encode(tag);
}

void Ring::Send(Slot slot, std::span<const uint8_t> data, Tag tag) {
  io_uring_sqe* sqe = impl_->Get(stats_);
  io_uring_prep_send(sqe, static_cast<int>(slot), data.data(), data.size(),
                     MSG_NOSIGNAL | MSG_WAITALL);
  sqe->flags |= IOSQE_FIXED_FILE;
  sqe->user_data = Encode(tag);
}

void Ring::SendQuietly(Slot slot, std::span<const uint8_t> data, Tag tag) {
  if (!features_.quiet_sends) {
    Send(slot, data, tag);
    return;
  }
  // MSG_DONTWAIT: as it is submitted it succeeds or fails. MSG_WAITALL: a part is a failure.
  io_uring_sqe* sqe = impl_->GetQuietly(stats_);
  io_uring_prep_send(sqe, static_cast<int>(slot), data.data(), data.size(),
                     MSG_NOSIGNAL | MSG_WAITALL | MSG_DONTWAIT);
  sqe->flags |= IOSQE_FIXED_FILE | IOSQE_CQE_SKIP_SUCCESS;
  sqe->user_data = Encode(tag) | kQuiet;
  impl_->quiet.Add({.data = sqe->user_data, .slot = slot, .bytes = data});
}

void Ring::Hurry() { impl_->hurry = true; }

void Ring::SendParts(Slot slot, const msghdr* parts, Tag tag) {
  DCHECK(parts->msg_iovlen > 0 && parts->msg_iovlen <= kPartsMax);
  io_uring_sqe* sqe = impl_->Get(stats_);
  io_uring_prep_sendmsg(sqe, static_cast<int>(slot), parts, MSG_NOSIGNAL | MSG_WAITALL);
  sqe->flags |= IOSQE_FIXED_FILE;
  sqe->user_data = Encode(tag);
}

void Ring::Shutdown(Slot slot, int how) {
  ++impl_->slots[slot].shutdowns;
  if (features_.fd_install) {
    const uint64_t parameter = static_cast<uint64_t>(how) << kShutdownHowShift;
    PrepareInstall(impl_->Get(stats_), slot, kShutdownFd | parameter | slot);
  } else {
    ShutdownByThread(slot, how);
  }
}

void Ring::ShutdownByThread(Slot slot, int how) {
  io_uring_sqe* sqe = impl_->Get(stats_);
  io_uring_prep_shutdown(sqe, static_cast<int>(slot), how);
  sqe->flags |= IOSQE_FIXED_FILE;
  sqe->user_data = kShutdownDone | slot;
}

void Ring::OnShutdownFd(Slot slot, int how, int fd) {
  if (fd < 0) {  // no descriptor is free
    ShutdownByThread(slot, how);
    return;
  }
  OnShutdownDone(slot, ::shutdown(fd, how));
  close(fd);
}

void Ring::OnShutdownDone(Slot slot, int result) {
  if (result < 0) ++stats_.silent_errors;
  Impl::SlotState& state = impl_->slots[slot];
  --state.shutdowns;
  if (state.shutdowns > 0 || state.close_after == 0) return;
  state.close_after = 0;
  Close(slot);
}

void Ring::Poll(Slot slot, uint32_t events, Tag tag) {
  io_uring_sqe* sqe = impl_->Get(stats_);
  io_uring_prep_poll_add(sqe, static_cast<int>(slot), events);
  sqe->flags |= IOSQE_FIXED_FILE;
  sqe->user_data = Encode(tag);
}

void Ring::InstallFd(Slot slot, Tag tag) {
  DCHECK(features_.fd_install);
  PrepareInstall(impl_->Get(stats_), slot, Encode(tag));
}

void Ring::Close(Slot slot) {
  if (impl_->slots[slot].shutdowns > 0) {
    impl_->slots[slot].close_after = 1;
    return;
  }
  io_uring_sqe* sqe = impl_->Get(stats_);
  io_uring_prep_close_direct(sqe, slot);
  Silent(sqe);
  // Operations start in the order of the queue, so a slot may be named again before this one ran.
  // (The later steps of a chain do not: see Close() in the header.) The accept range is the
  // kernel's to give.
  if (slot >= impl_->accept_slots) free_slots_.push_back(slot);
}

void Ring::Reset(Slot slot) {
  // To connect to nobody is to disconnect: the kernel sends the reset at once, in the order of the
  // queue, on all kernels; SO_LINGER would wait for the last who holds the socket.
  static constexpr sockaddr kNobody{.sa_family = AF_UNSPEC, .sa_data = {}};
  io_uring_sqe* sqe = impl_->Get(stats_);
  io_uring_prep_connect(sqe, static_cast<int>(slot), &kNobody, sizeof kNobody);
  sqe->flags |= IOSQE_FIXED_FILE;
  Silent(sqe);
  Close(slot);
}

void Ring::Unsent(Slot slot, Tag tag) {
  io_uring_sqe* sqe = impl_->Get(stats_);
  SocketCommand(sqe, slot, kCmdUnsent, 0, 0, nullptr, 0);
  sqe->user_data = Encode(tag);
}

void Ring::PollFd(int fd, uint32_t events, Tag tag) {
  io_uring_sqe* sqe = impl_->Get(stats_);
  io_uring_prep_poll_multishot(sqe, fd, events);
  sqe->user_data = Encode(tag);
}

void Ring::PollFdOnce(int fd, uint32_t events, Tag tag) {
  io_uring_sqe* sqe = impl_->Get(stats_);
  io_uring_prep_poll_add(sqe, fd, events);
  sqe->user_data = Encode(tag);
}

void Ring::RecvMsgMultishot(int fd, const msghdr* shape, uint16_t group, Tag tag) {
  io_uring_sqe* sqe = impl_->Get(stats_);
  // The kernel only reads the lengths.
  io_uring_prep_recvmsg_multishot(sqe, fd, const_cast<msghdr*>(shape), 0);
  sqe->flags |= IOSQE_BUFFER_SELECT;
  sqe->buf_group = group;
  sqe->user_data = Encode(tag);
}

void Ring::SendMsg(int fd, const msghdr* message, Tag tag) {
  io_uring_sqe* sqe = impl_->Get(stats_);
  io_uring_prep_sendmsg(sqe, fd, message, 0);
  sqe->user_data = Encode(tag);
}

ReceivedMessage ReadReceivedMessage(std::span<uint8_t> buffer, const msghdr& shape) {
  ReceivedMessage message;
  io_uring_recvmsg_out out;
  size_t fixed = sizeof out + shape.msg_namelen + shape.msg_controllen;
  if (buffer.size() < fixed) return message;
  std::memcpy(&out, buffer.data(), sizeof out);
  if (out.namelen > shape.msg_namelen || out.controllen > shape.msg_controllen ||
      (out.flags & MSG_TRUNC) != 0) {
    return message;
  }
  message.valid = true;
  message.name = buffer.data() + sizeof out;
  message.name_size = out.namelen;
  message.control = buffer.data() + sizeof out + shape.msg_namelen;
  message.control_size = out.controllen;
  message.payload = buffer.subspan(fixed);
  return message;
}

void Ring::Cancel(Tag tag) {
  io_uring_sqe* sqe = impl_->Get(stats_);
  io_uring_prep_cancel64(sqe, Encode(tag), 0);
  Silent(sqe);
}

std::expected<void, std::string> Ring::RegisterBuffers(uint16_t group, uint32_t count) {
  CHECK(count > 0 && (count & (count - 1)) == 0 && count <= 32'768);
  size_t size = count * sizeof(io_uring_buf);
  void* memory = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) return std::unexpected(Failed("mmap of a buffer ring", errno, ""));
  io_uring_buf_reg registration{};
  registration.ring_addr = reinterpret_cast<uint64_t>(memory);
  registration.ring_entries = count;
  registration.bgid = group;
  int result = io_uring_register_buf_ring(&impl_->ring, &registration, 0);
  if (result < 0) {
    munmap(memory, size);
    return std::unexpected(Failed("io_uring_register_buf_ring", -result, SetupRemedy(-result)));
  }
  if (impl_->groups.size() <= group) impl_->groups.resize(group + 1U);
  auto* buffer_ring = static_cast<io_uring_buf_ring*>(memory);
  io_uring_buf_ring_init(buffer_ring);
  impl_->groups[group] = {buffer_ring, count, 0};
  return {};
}

void Ring::UnregisterBuffers(uint16_t group) { impl_->Unregister(group); }

void Ring::ProvideBuffer(uint16_t group, uint8_t* data, uint32_t size, uint16_t id) {
  Impl::BufferRing& g = impl_->groups[group];
  io_uring_buf_ring_add(g.ring, data, size, id, io_uring_buf_ring_mask(g.count), g.pending++);
}

void Ring::PublishBuffers(uint16_t group) {
  Impl::BufferRing& g = impl_->groups[group];
  if (g.pending == 0) return;
  io_uring_buf_ring_advance(g.ring, g.pending);
  g.pending = 0;
}

void Ring::Wait(Duration timeout, Duration gather) {
  io_uring* ring = &impl_->ring;
  int result = 0;
  const bool untold = impl_->quiet.any() && impl_->hurry;
  if (io_uring_cq_ready(ring) == 0 && impl_->stash.empty() && !untold) {
    __kernel_timespec spec{};
    spec.tv_sec = timeout.count() / 1'000'000'000;
    spec.tv_nsec = timeout.count() % 1'000'000'000;
    const bool gathers = features_.gather && gather > Duration::zero() && gather < timeout;
    result = gathers ? impl_->SubmitAndWait(&spec, kGatherMax, gather)
                     : impl_->SubmitAndWait(&spec, 1, Duration::zero());
  } else {
    result = io_uring_submit_and_get_events(ring);
  }
  ++stats_.enters;
  const EnterError error = EnterErrorOf(result);
  if (error != EnterError::kNone) [[unlikely]] {
    ++stats_.enter_errors;
    if (error == EnterError::kBroken) Broken(-result);
    if (error == EnterError::kFull) impl_->Stash();
  }
  if (io_uring_sq_ready(ring) > 0) [[unlikely]]
    impl_->Submit(stats_);
  impl_->hurry = false;
  if (impl_->Overflown()) [[unlikely]] {
    ++stats_.overflows;
    impl_->hurry = true;
  }
}

// What is done of the quiet sends: those whose failure is not here. Where the kernel still holds
// completions back, that is not known yet.
unsigned Ring::DeliverQuiet() {
  QuietSends& quiet = impl_->quiet;
  if (!quiet.any() || impl_->Overflown()) return 0;
  quiet.Begin();
  for (const Impl::Stashed& stashed : impl_->stash) {
    if ((stashed.data & kQuiet) != 0) quiet.Failed(stashed.data, stashed.completion.result);
  }
  const io_uring_cq& cq = impl_->ring.cq;
  const unsigned ready = io_uring_cq_ready(&impl_->ring);
  for (unsigned i = 0; i < ready; ++i) {
    const io_uring_cqe& cqe = cq.cqes[(*cq.khead + i) & cq.ring_mask];
    if ((cqe.user_data & kQuiet) != 0) quiet.Failed(cqe.user_data, cqe.res);
  }
  // Before anybody acts: who cancels it then cancels this one.
  for (const QuietSend& send : quiet.Again()) SendAgain(send.slot, send.bytes, send.data);
  unsigned done = 0;
  for (const QuietSend& send : quiet.Taken()) {
    if (send.data == 0) continue;
    ++done;
    const uint64_t data = send.data & ~kQuiet;
    Tell(data, {.result = static_cast<int32_t>(send.bytes.size())});
  }
  return done;
}

// The receiver has no room: as Send().
void Ring::SendAgain(Slot slot, std::span<const uint8_t> bytes, uint64_t data) {
  io_uring_sqe* sqe = impl_->Get(stats_);
  io_uring_prep_send(sqe, static_cast<int>(slot), bytes.data(), bytes.size(),
                     MSG_NOSIGNAL | MSG_WAITALL);
  sqe->flags |= IOSQE_FIXED_FILE;
  sqe->user_data = data & ~kQuiet;
}

// The failure of a quiet send; false when it is being sent again instead of told.
bool Ring::IsTold(uint64_t data, int32_t result) {
  const std::optional<QuietSend> early = impl_->quiet.Remove(data);
  if (early && result == -EAGAIN) SendAgain(early->slot, early->bytes, data);
  return result != -EAGAIN;
}

void Ring::Tell(uint64_t data, Completion completion) {
  constexpr uint64_t kOpBits = kMaxOps - 1;
  // Who is told of something may from then on wait for what it sent.
  if (impl_->quiet.any() && impl_->quiet.Concerns(data & ~kOpBits, kQuiet | kOpBits)) {
    impl_->hurry = true;
  }
  auto* target = reinterpret_cast<Target*>(data & ~kOpBits);
  target->OnCompletion(static_cast<unsigned>(data & kOpBits), completion);
}

Delivered Ring::Deliver() {
  io_uring* ring = &impl_->ring;
  Delivered delivered;
  uint64_t last = 0;
  unsigned run = 0;
  int alone = 0;
  const unsigned quiet = DeliverQuiet();
  // A handler may fill the submission queue, and what that takes out of the kernel's queue stands
  // behind what was stashed before it.
  size_t stashed = 0;
  for (unsigned ready = io_uring_cq_ready(ring); ready > 0 || stashed < impl_->stash.size();) {
    uint64_t data = 0;
    Completion completion;
    if (stashed < impl_->stash.size()) [[unlikely]] {
      data = impl_->stash[stashed].data;
      completion = impl_->stash[stashed++].completion;
    } else {
      --ready;
      if (io_uring_cq_ready(ring) == 0) break;  // stashed meanwhile, and delivered
      const io_uring_cqe* cqe = &ring->cq.cqes[*ring->cq.khead & ring->cq.ring_mask];
      data = cqe->user_data;
      completion = {cqe->res, cqe->flags};
      io_uring_cq_advance(ring, 1);
    }
    ++delivered.completions;
    run = data == last ? run + 1 : 1;
    last = data;
    if (run == 1) {
      ++alone;
    } else if (run == 2) {
      alone -= 2;  // it was counted as alone, and is one that brought several
    }
    if ((data & (kShutdownDone | kShutdownFd)) != 0) {
      const Slot slot = static_cast<Slot>(data);
      if ((data & kShutdownFd) != 0) {
        OnShutdownFd(slot, static_cast<int>(data >> kShutdownHowShift & 3U), completion.result);
      } else {
        OnShutdownDone(slot, completion.result);
      }
      continue;
    }
    if (data == 0) {
      ++stats_.silent_errors;
      continue;
    }
    if ((data & kQuiet) != 0) [[unlikely]] {
      if (!IsTold(data, completion.result)) continue;
      data &= ~kQuiet;
    }
    Tell(data, completion);
  }
  impl_->stash.clear();
  delivered.completions += quiet;
  delivered.alone = static_cast<unsigned>(std::max(alone, 0)) + quiet;
  stats_.completions += delivered.completions;
  return delivered;
}

}  // namespace net
