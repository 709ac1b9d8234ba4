// One io_uring: the only way the data path touches the kernel.
//
// Who: one thread owns a Ring and all that is submitted to it (SINGLE_ISSUER, DEFER_TASKRUN).
//
// Sockets live in the ring's table of direct descriptors and are named by a Slot. They take no file
// descriptor of the process, so a process holds more sockets than RLIMIT_NOFILE; the limit bounds
// the table of one ring. Accepted sockets get slots that the kernel picks; outgoing ones get slots
// from AllocateSlot().
//
// An operation ends in OnCompletion() of its Target, with the operation number given in its Tag.
// The Target, and every buffer handed in, must live until then, cancelled or not: close only after
// the join. Operations without a Tag report nothing when they succeed and count an error when they
// fail.
//
// Calls that queue an operation never fail and never block: with a full submission queue they
// submit what is there first. Nothing else reaches the kernel before Wait(), and all of it has when
// Wait() returns. A ring that cannot submit any more ends the process, with words (submit.h).
//
// ring_uring.cc is the only file that includes liburing.h. Tests link a twin (tests/sim) that has
// the same class over a simulated network with seeded faults.
#pragma once

#include <sys/socket.h>

#include <cstdint>
#include <expected>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "net/base/clock.h"

namespace net {

using Slot = uint32_t;
inline constexpr Slot kNoSlot = UINT32_MAX;

struct Completion {
  int32_t result = 0;  // as the system call's: a count, a slot, or -errno
  uint32_t flags = 0;

  bool more() const { return (flags & 2U) != 0; }  // a multishot operation goes on
  bool has_buffer() const { return (flags & 1U) != 0; }
  uint16_t buffer() const { return static_cast<uint16_t>(flags >> 16U); }
};

// Where completions arrive. Sixteen-byte alignment leaves room for the operation number in the
// address that travels through the kernel.
class alignas(16) Target {
 public:
  virtual void OnCompletion(unsigned op, Completion completion) = 0;

 protected:
  ~Target() = default;
};

struct Tag {
  Target* target = nullptr;
  unsigned op = 0;  // below kMaxOps
};
inline constexpr unsigned kMaxOps = 16;

struct RingOptions {
  uint32_t submission_entries = 1024;
  uint32_t completion_entries = 8192;
  uint32_t accept_slots = 1024;    // direct descriptors for accepted sockets
  uint32_t outgoing_slots = 1024;  // and for those that we open
  bool baseline_only = false;      // no features() beyond Linux 6.1, for tests of what stands in
};

// What the running kernel can do beyond the 6.1 baseline; probed once for each ring.
struct RingFeatures {
  bool socket_options = false;  // setsockopt and getsockopt on direct descriptors (6.7)
  bool bind = false;            // bind on direct descriptors (6.11)
  bool fd_install = false;      // a plain descriptor for a direct one (6.8)
  bool gather = false;          // a minimal time to wait (6.12)
  bool quiet_sends = false;     // SendQuietly() is more than Send(): used from 6.12 on
};

// What a new outgoing socket gets before it connects.
struct ConnectOptions {
  // Both must live until the ring has run once more; the kernel copies them as they are submitted.
  const sockaddr* address = nullptr;
  socklen_t address_size = 0;
  const sockaddr* source = nullptr;  // bound first where given
  socklen_t source_size = 0;
  bool no_delay = true;  // TCP_NODELAY
};

// What a turn brought.
struct Delivered {
  unsigned completions = 0;
  // Of these, those that no other of the same operation stood beside, less one for each operation
  // that brought several: a multishot receive with a run of buffers is a stream in its flow, not
  // several that had something to say, and as a rule one of the others is the send that follows it.
  unsigned alone = 0;
};

// Counters since the start, for metrics.
struct RingStats {
  uint64_t enters = 0;  // io_uring_enter calls
  uint64_t completions = 0;
  uint64_t overflows = 0;      // completion queue overflows that the kernel kept for us
  uint64_t silent_errors = 0;  // failures of operations without a Tag
  uint64_t enter_errors = 0;   // of io_uring_enter, all but a wait whose time was over
};

// What a buffer of RecvMsgMultishot() holds; points into that buffer.
struct ReceivedMessage {
  bool valid = false;  // false: the kernel's layout does not fit, or the payload was cut off
  void* name = nullptr;
  uint32_t name_size = 0;
  void* control = nullptr;
  uint32_t control_size = 0;
  std::span<const uint8_t> payload;
};
ReceivedMessage ReadReceivedMessage(std::span<uint8_t> buffer, const msghdr& shape);

class Ring {
 public:
  struct Impl;

  // The error names the call, the reason and the remedy (limits, kernel, io_uring_disabled).
  static std::expected<std::unique_ptr<Ring>, std::string> Create(const RingOptions& options);
  ~Ring();
  Ring(const Ring&) = delete;
  Ring& operator=(const Ring&) = delete;

  const RingFeatures& features() const { return features_; }
  const RingStats& stats() const { return stats_; }

  // --- Slots for outgoing sockets. kNoSlot when all are in use.
  Slot AllocateSlot();
  uint32_t free_slots() const { return static_cast<uint32_t>(free_slots_.size()); }

  // --- Listening sockets are plain descriptors.
  // Each completion's result is the slot of an accepted socket or -errno.
  void AcceptMultishot(int listener, Tag tag);
  // One connection; the peer's address is written where told.
  void AcceptOnce(int listener, sockaddr* peer, socklen_t* peer_size, Tag tag);

  // --- Sockets.
  // Opens a socket in `slot`, sets its options, binds and connects it, as one linked chain: one
  // completion, at `tag`, for the whole.
  void Connect(Slot slot, const ConnectOptions& options, Tag tag);
  // The peer's address of an accepted socket (needs features().socket_options); the result is its
  // size. `peer_size` must be the exact size of an address of that family, else -EINVAL; `peer`
  // must live until the completion.
  void PeerName(Slot slot, void* peer, int32_t peer_size, Tag tag);
  // An int socket option, without a completion (needs features().socket_options). `value` must live
  // until the ring has run once more: give a static or a member.
  void SetOption(Slot slot, int level, int option, const int* value);
  // Receives into provided buffers of `group` until end of stream, an error, or no buffer
  // (-ENOBUFS). `expect_data`: try at once instead of waiting for readiness first.
  //
  // A reset may never be told: where it is there already when the receive begins, behind data, the
  // kernel (6.1 to 6.18) gives the data and then nothing. With `expect_data` it tells, behind up to
  // kToldBehind buffers. Whoever needs to know asks once with Poll() after the receive was begun.
  static constexpr uint32_t kToldBehind = 32;
  void RecvMultishot(Slot slot, uint16_t group, bool expect_data, Tag tag);
  void Recv(Slot slot, std::span<uint8_t> into, Tag tag);
  // Sends all of it unless the peer fails; the result may still be short.
  void Send(Slot slot, std::span<const uint8_t> data, Tag tag);
  // The same, for who has nothing to do when it is done but to give the bytes back: when it goes
  // out at once, as all but the ones to slow readers do, that is told with whatever comes next, and
  // no wait ends for it. This is so only while nothing else is queued in the turn and the target is
  // told of nothing else: who then may wait for its end is told at once.
  void SendQuietly(Slot slot, std::span<const uint8_t> data, Tag tag);
  // Somebody does wait for such an end, in this turn.
  void Hurry();
  // The same from several places in one call, in order. `parts` (at most kPartsMax) must live until
  // the completion, as what they point to must.
  static constexpr size_t kPartsMax = 1024;  // IOV_MAX
  void SendParts(Slot slot, const msghdr* parts, Tag tag);
  void Shutdown(Slot slot, int how);
  // Waits for poll(2) events; one completion with the events as result. Errors and hang-ups
  // (POLLERR, POLLHUP) are always among them.
  void Poll(Slot slot, uint32_t events, Tag tag);
  // A plain descriptor for the socket, as result (needs features().fd_install).
  void InstallFd(Slot slot, Tag tag);
  // Ends a TCP connection by a reset, whoever else still holds the socket, and closes as Close()
  // does. What was sent and is not acknowledged is dropped: see Unsent(). Another kind of socket is
  // only closed.
  void Reset(Slot slot);
  // How many bytes that were sent the peer has not acknowledged yet; -EOPNOTSUPP where the kernel
  // cannot tell (needs features().socket_options), and on other than TCP and Unix sockets.
  void Unsent(Slot slot, Tag tag);
  // Closes the socket, once its shutdowns are done, and frees the slot; receives and sends that are
  // in flight should be cancelled and still complete. A Connect() must have completed before: its
  // later steps run after operations queued behind it, and would meet whoever got the slot next.
  void Close(Slot slot);

  // --- Datagrams, on a plain descriptor.
  // Receives into provided buffers of `group` until an error or no buffer (-ENOBUFS). Each buffer
  // holds the sender's name, control data and payload, laid out as ReadReceivedMessage() reads
  // them; `shape` says how much room names and control data have, and must live until the last
  // completion.
  void RecvMsgMultishot(int fd, const msghdr* shape, uint16_t group, Tag tag);
  // `message` and all that it points to must live until the completion.
  void SendMsg(int fd, const msghdr* message, Tag tag);

  // --- Plain descriptors (event and signal descriptors).
  void PollFd(int fd, uint32_t events, Tag tag);  // multishot
  void PollFdOnce(int fd, uint32_t events, Tag tag);

  // Cancels the operation of that tag; it then completes, with -ECANCELED or with what it had got.
  // Without effect on a Connect() queued in the same turn, whose chain has not begun.
  void Cancel(Tag tag);

  // --- Provided buffers. `count` is a power of two up to 32,768. The memory stays the caller's.
  std::expected<void, std::string> RegisterBuffers(uint16_t group, uint32_t count);
  void UnregisterBuffers(uint16_t group);
  void ProvideBuffer(uint16_t group, uint8_t* data, uint32_t size, uint16_t id);
  void PublishBuffers(uint16_t group);  // makes what was provided visible to the kernel

  // Submits what is queued and waits up to `timeout` for a completion. With `gather` it collects
  // more for that long from now, unless none comes until then (without effect where
  // features().gather is missing; below `timeout`, in whole microseconds).
  void Wait(Duration timeout, Duration gather = Duration::zero());
  // Delivers the completions that are there. Handlers may queue operations; what these bring is for
  // the next turn.
  Delivered Deliver();

 private:
  explicit Ring(std::unique_ptr<Impl> impl);
  void ShutdownByThread(Slot slot, int how);
  void OnShutdownFd(Slot slot, int how, int fd);
  void OnShutdownDone(Slot slot, int result);
  unsigned DeliverQuiet();
  void SendAgain(Slot slot, std::span<const uint8_t> bytes, uint64_t data);
  bool IsTold(uint64_t data, int32_t result);
  void Tell(uint64_t data, Completion completion);

  std::unique_ptr<Impl> impl_;
  RingFeatures features_;
  RingStats stats_;
  std::vector<Slot> free_slots_;
};

}  // namespace net
