#include "dns/serve/udp_uring.h"

#include <sys/socket.h>

#include <array>
#include <memory>
#include <vector>

#include "dns/serve/now.h"
#include "dns/serve/udp.h"
#include "dns/serve/udp_return.h"
#include "net/base/address.h"
#include "net/io/ring.h"

namespace dns {
namespace {

constexpr uint32_t kBuffers = 1024;
constexpr uint32_t kControlBytes = 64;
// With what brings the control data behind it to its alignment.
constexpr uint32_t kNameBytes =
    (sizeof(sockaddr_in6) + alignof(cmsghdr) - 1) / alignof(cmsghdr) * alignof(cmsghdr);
// The kernel's header, the sender's name, control data, and a query.
constexpr uint32_t kBufferBytes = 2048;
constexpr uint16_t kGroup = 0;

class RingServer final : private net::Target {
 public:
  RingServer(net::Ring& ring, int fd, bool wildcard, Responder& responder,
             Publisher::Reader& reader, QueryLog* log, const UpdateSink* updates)
      : ring_(ring),
        fd_(fd),
        responder_(responder),
        reader_(reader),
        log_(log),
        updates_(updates),
        buffers_(size_t{kBuffers} * kBufferBytes),
        replies_(kBuffers) {
    shape_.msg_namelen = kNameBytes;
    shape_.msg_controllen = wildcard ? kControlBytes : 0;
    for (size_t i = 0; i < kBuffers; ++i) replies_[i].server = this;
  }

  std::expected<void, std::string> Run(const std::atomic<bool>& stop) {
    auto registered = ring_.RegisterBuffers(kGroup, kBuffers);
    if (!registered) return registered;
    for (uint16_t id = 0; id < kBuffers; ++id) Provide(id);
    ring_.PublishBuffers(kGroup);
    Arm();
    while (!stop.load(std::memory_order_relaxed)) Turn();
    ring_.Cancel({this, 0});
    while (armed_ || sending_ > 0) Turn();
    return {};
  }

 private:
  // A reply on its way. Its buffer of the query is held, since the kernel reads the name from
  // there.
  struct alignas(16) ReplySlot final : net::Target {
    RingServer* server = nullptr;
    msghdr header{};
    iovec vector{};
    std::array<uint8_t, kUdpBytesMax> bytes;

    void OnCompletion(unsigned op, net::Completion completion) override {
      static_cast<void>(op);
      server->OnSent(static_cast<uint16_t>(this - server->replies_.data()), completion.result);
    }
  };

  void Turn() {
    ring_.Wait(kWakeInterval);
    now_ = ReadNow();
    generation_ = &reader_.Acquire();
    if (ring_.Deliver().completions > 0) responder_.counters().batches.Add();
    reader_.Release();
    if (provided_ > 0) ring_.PublishBuffers(kGroup);
    provided_ = 0;
    if (!armed_ && !stopping_) Arm();
  }

  void Provide(uint16_t id) {
    ring_.ProvideBuffer(kGroup, buffers_.data() + size_t{id} * kBufferBytes, kBufferBytes, id);
    ++provided_;
  }

  void Arm() {
    ring_.RecvMsgMultishot(fd_, &shape_, kGroup, {this, 0});
    armed_ = true;
  }

  void OnCompletion(unsigned op, net::Completion completion) override {
    static_cast<void>(op);
    if (!completion.more()) armed_ = false;
    if (completion.result == -ECANCELED) stopping_ = true;
    if (!completion.has_buffer()) {
      if (completion.result < 0 && completion.result != -ENOBUFS) {
        responder_.counters().receive_errors.Add();
      }
      return;
    }
    uint16_t id = completion.buffer();
    if (completion.result < 0 || !AnswerBuffer(id, static_cast<size_t>(completion.result))) {
      Provide(id);
    }
  }

  bool AnswerBuffer(uint16_t id, size_t size) {
    uint8_t* buffer = buffers_.data() + size_t{id} * kBufferBytes;
    net::ReceivedMessage message = net::ReadReceivedMessage({buffer, size}, shape_);
    if (!message.valid) return false;
    auto client =
        net::Address::FromSockaddr(static_cast<const sockaddr*>(message.name), message.name_size);
    if (!client || client->port() == 0) return false;
    ReplySlot& slot = replies_[id];
    Client from{*client, Transport::kUdp};
    Reply reply = responder_.Respond(*generation_, from, message.payload, slot.bytes, now_);
    if (reply.order && updates_ != nullptr) [[unlikely]] {
      msghdr from_header{};
      from_header.msg_name = message.name;
      from_header.msg_namelen = message.name_size;
      from_header.msg_control = message.control_size == 0 ? nullptr : message.control;
      from_header.msg_controllen = message.control_size;
      LeaveByRoute(from_header);
      if (OfferUdpUpdate(*updates_, fd_, message.payload, *client, from_header)) return false;
    }
    if (reply.size == 0) return false;
    if (log_->Due()) LogQuery(*log_, responder_, from, reply.size);
    slot.vector = {slot.bytes.data(), reply.size};
    slot.header = {};
    slot.header.msg_name = message.name;
    slot.header.msg_namelen = message.name_size;
    slot.header.msg_iov = &slot.vector;
    slot.header.msg_iovlen = 1;
    slot.header.msg_control = message.control_size == 0 ? nullptr : message.control;
    slot.header.msg_controllen = message.control_size;
    LeaveByRoute(slot.header);
    ring_.SendMsg(fd_, &slot.header, {&slot, 0});
    ++sending_;
    return true;
  }

  void OnSent(uint16_t id, int32_t result) {
    if (result < 0) responder_.counters().send_errors.Add();
    --sending_;
    Provide(id);
  }

  net::Ring& ring_;
  int fd_;
  Responder& responder_;
  Publisher::Reader& reader_;
  QueryLog* log_;
  const UpdateSink* updates_;
  msghdr shape_{};
  std::vector<uint8_t> buffers_;
  std::vector<ReplySlot> replies_;
  const Generation* generation_ = nullptr;
  Now now_;
  uint32_t provided_ = 0;
  uint32_t sending_ = 0;
  bool armed_ = false;
  bool stopping_ = false;
};

}  // namespace

std::expected<void, std::string> ServeUdpOverRing(int fd, bool wildcard, Responder& responder,
                                                  Publisher::Reader& reader, QueryLog* log,
                                                  const UpdateSink* updates,
                                                  const std::atomic<bool>& stop) {
  net::RingOptions options;
  options.submission_entries = kBuffers;
  options.completion_entries = 4 * kBuffers;
  options.accept_slots = 1;
  options.outgoing_slots = 1;
  auto ring = net::Ring::Create(options);
  if (!ring) return std::unexpected(ring.error());
  auto server = std::make_unique<RingServer>(**ring, fd, wildcard, responder, reader, log, updates);
  return server->Run(stop);
}

}  // namespace dns
