#include "dns/serve/reply_batch.h"

#include <netinet/in.h>
#include <netinet/udp.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "net/base/check.h"

#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#endif

namespace dns {
namespace {

// A message may not be larger than a datagram can be (with its headers).
constexpr size_t kMessageBytes = 65'000;

bool SameBytes(const void* a, size_t a_size, const void* b, size_t b_size) {
  return a_size == b_size && (a_size == 0 || std::memcmp(a, b, a_size) == 0);
}

}  // namespace

ReplyBatch::ReplyBatch() : bytes_(std::make_unique<uint8_t[]>(kUdpBatch * kUdpBytesMax)) {
  for (size_t i = 0; i < out_.size(); ++i) {
    out_[i].msg_hdr.msg_iov = &parts_[i];
    out_[i].msg_hdr.msg_iovlen = 1;
  }
}

bool ReplyBatch::Extends(const msghdr& query, size_t size) const {
  if (messages_ == 0 || pause_ != 0) return false;
  const msghdr& last = out_[messages_ - 1].msg_hdr;
  const Run& run = runs_[messages_ - 1];
  // Its control messages: those of a run's first query stand before ours.
  size_t control_size =
      run.count == 1 ? last.msg_controllen : last.msg_controllen - CMSG_SPACE(sizeof(uint16_t));
  return !run.closed && size <= run.segment && run.count < kRunMax &&
         parts_[messages_ - 1].iov_len + size <= kMessageBytes &&
         SameBytes(last.msg_name, last.msg_namelen, query.msg_name, query.msg_namelen) &&
         SameBytes(last.msg_control, control_size, query.msg_control, query.msg_controllen);
}

void ReplyBatch::Extend(size_t size) {
  msghdr& last = out_[messages_ - 1].msg_hdr;
  Run& run = runs_[messages_ - 1];
  if (run.count++ == 1) {
    auto& control = control_[messages_ - 1];
    size_t before = last.msg_controllen;
    if (before != 0) std::memcpy(control.data(), last.msg_control, before);
    auto* cut = reinterpret_cast<cmsghdr*>(control.data() + before);
    cut->cmsg_level = IPPROTO_UDP;
    cut->cmsg_type = UDP_SEGMENT;
    cut->cmsg_len = CMSG_LEN(sizeof(uint16_t));
    auto segment = static_cast<uint16_t>(run.segment);
    std::memcpy(CMSG_DATA(cut), &segment, sizeof segment);
    last.msg_control = control.data();
    last.msg_controllen = before + CMSG_SPACE(sizeof(uint16_t));
  }
  run.closed = size < run.segment;
  parts_[messages_ - 1].iov_len += size;
}

void ReplyBatch::Add(const msghdr& query, size_t size) {
  CHECK(size <= kUdpBytesMax && query.msg_controllen <= kQueryControlBytes);
  uint8_t* at = bytes_.get() + used_;
  used_ += size;
  if (Extends(query, size)) return Extend(size);
  CHECK(messages_ < out_.size());
  msghdr& message = out_[messages_].msg_hdr;
  message.msg_name = query.msg_name;
  message.msg_namelen = query.msg_namelen;
  message.msg_control = query.msg_controllen == 0 ? nullptr : query.msg_control;
  message.msg_controllen = query.msg_controllen;
  parts_[messages_] = {at, size};
  runs_[messages_] = {size, 1, false};
  ++messages_;
}

unsigned ReplyBatch::Send(int fd) {
  unsigned lost = 0;
  if (pause_ != 0) --pause_;
  for (size_t sent = 0; sent < messages_;) {
    int n = sendmmsg(fd, out_.data() + sent, static_cast<unsigned>(messages_ - sent), 0);
    if (n > 0) {
      sent += static_cast<size_t>(n);
    } else if (n == 0 || errno != EINTR) {
      // The first one cannot be sent: go on behind it.
      lost += runs_[sent].count == 1 ? 1 : SendOneByOne(fd, sent);
      ++sent;
    }
  }
  used_ = messages_ = 0;
  return lost;
}

// A run that was refused as one: by an interface without checksums, a path that is narrower than a
// segment, IPsec. Or its client cannot be reached at all, which says nothing of runs: who is behind
// a forged address must not end them for everybody.
unsigned ReplyBatch::SendOneByOne(int fd, size_t message) {
  msghdr one = out_[message].msg_hdr;
  one.msg_controllen -= CMSG_SPACE(sizeof(uint16_t));
  if (one.msg_controllen == 0) one.msg_control = nullptr;
  iovec all = parts_[message];
  unsigned lost = 0;
  for (unsigned i = 0; i < runs_[message].count; ++i) {
    size_t size = std::min(runs_[message].segment, all.iov_len);
    iovec part{all.iov_base, size};
    one.msg_iov = &part;
    ssize_t sent = 0;
    do {
      sent = sendmsg(fd, &one, 0);
    } while (sent < 0 && errno == EINTR);
    if (sent < 0) ++lost;
    all = {static_cast<uint8_t*>(all.iov_base) + size, all.iov_len - size};
  }
  if (lost < runs_[message].count) pause_ = kPauseTurns;
  return lost;
}

}  // namespace dns
