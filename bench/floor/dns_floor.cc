// dns_floor ADDRESS:PORT [--no-runs]: the bare loop of a DNS server over UDP, as the floor that a
// server is measured against: recvmmsg, the question back with eight A records behind it, sendmmsg,
// where replies of one size to one client that stand behind each other are one message
// (UDP_SEGMENT; --no-runs: each is its own). It looks at nothing in the query but its length and
// the end of its name: never for production.
//
// One thread. Ends with 2 and words when anything at start fails; else by a signal.

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <string_view>

#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#endif

namespace {

constexpr unsigned kBatch = 64;
constexpr size_t kHeaderBytes = 12;
constexpr size_t kDatagramBytes = 512;
constexpr unsigned kAddresses = 8;
constexpr size_t kRecordBytes = 16;

constexpr size_t kControlBytes = CMSG_SPACE(sizeof(uint16_t));

struct Batch {
  std::array<std::array<uint8_t, kDatagramBytes>, kBatch> in_bytes;
  std::array<uint8_t, kDatagramBytes * kBatch> out_bytes;  // without gaps
  std::array<sockaddr_in, kBatch> names;
  std::array<iovec, kBatch> in_parts;
  std::array<iovec, kBatch> out_parts;
  std::array<mmsghdr, kBatch> in;
  std::array<mmsghdr, kBatch> out;
  alignas(cmsghdr) std::array<std::array<uint8_t, kControlBytes>, kBatch> control;
};

// The eight records, each with a pointer to the name of the question (RFC 1035 §4.1.4).
std::array<uint8_t, kAddresses * kRecordBytes> Records() {
  std::array<uint8_t, kAddresses * kRecordBytes> all{};
  for (unsigned i = 0; i < kAddresses; ++i) {
    const std::array<uint8_t, kRecordBytes> record = {
        0xc0, 0x0c, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, static_cast<uint8_t>(i + 1)};
    std::memcpy(&all[i * kRecordBytes], record.data(), kRecordBytes);
  }
  return all;
}

// The reply's length, at `to`; 0: no query.
size_t Answer(const std::array<uint8_t, kDatagramBytes>& query, size_t length,
              const std::array<uint8_t, kAddresses * kRecordBytes>& records, uint8_t* to) {
  if (length < kHeaderBytes + 5 || length > kDatagramBytes - records.size()) return 0;
  const void* end = std::memchr(&query[kHeaderBytes], 0, length - kHeaderBytes - 4);
  if (end == nullptr) return 0;
  const size_t question_end =
      static_cast<size_t>(static_cast<const uint8_t*>(end) - query.data()) + 5;
  std::memcpy(to, query.data(), question_end);
  to[2] = static_cast<uint8_t>(0x84 | (to[2] & 1));  // QR, AA, RD as it came
  to[3] = 0;
  to[7] = kAddresses;
  to[9] = 0;
  to[11] = 0;
  std::memcpy(to + question_end, records.data(), records.size());
  return question_end + records.size();
}

void Cut(msghdr& message, std::array<uint8_t, kControlBytes>& control, size_t segment) {
  auto* cut = reinterpret_cast<cmsghdr*>(control.data());
  *cut = {
      .cmsg_len = CMSG_LEN(sizeof(uint16_t)), .cmsg_level = IPPROTO_UDP, .cmsg_type = UDP_SEGMENT};
  const auto bytes = static_cast<uint16_t>(segment);
  std::memcpy(CMSG_DATA(cut), &bytes, sizeof bytes);
  message.msg_control = control.data();
  message.msg_controllen = kControlBytes;
}

// Writes the replies to what was received; how many messages hold them.
unsigned Fill(Batch& batch, unsigned received, bool runs,
              const std::array<uint8_t, kAddresses * kRecordBytes>& records) {
  unsigned messages = 0;
  size_t used = 0;
  size_t segment = 0;
  for (unsigned i = 0; i < received; ++i) {
    uint8_t* at = &batch.out_bytes[used];
    const size_t bytes = Answer(batch.in_bytes[i], batch.in[i].msg_len, records, at);
    if (bytes == 0) continue;
    used += bytes;
    if (runs && messages > 0 && bytes == segment &&
        std::memcmp(batch.out[messages - 1].msg_hdr.msg_name, &batch.names[i],
                    sizeof(sockaddr_in)) == 0) {
      batch.out_parts[messages - 1].iov_len += bytes;
      Cut(batch.out[messages - 1].msg_hdr, batch.control[messages - 1], segment);
      continue;
    }
    segment = bytes;
    batch.out_parts[messages] = {at, bytes};
    batch.out[messages].msg_hdr = {};
    batch.out[messages].msg_hdr.msg_name = &batch.names[i];
    batch.out[messages].msg_hdr.msg_namelen = sizeof(sockaddr_in);
    batch.out[messages].msg_hdr.msg_iov = &batch.out_parts[messages];
    batch.out[messages].msg_hdr.msg_iovlen = 1;
    ++messages;
  }
  return messages;
}

[[noreturn]] void Serve(int fd, bool runs) {
  static Batch batch;
  const auto records = Records();
  for (unsigned i = 0; i < kBatch; ++i) {
    batch.in_parts[i] = {batch.in_bytes[i].data(), kDatagramBytes};
    batch.in[i].msg_hdr = {};
    batch.in[i].msg_hdr.msg_name = &batch.names[i];
    batch.in[i].msg_hdr.msg_iov = &batch.in_parts[i];
    batch.in[i].msg_hdr.msg_iovlen = 1;
  }
  while (true) {
    for (mmsghdr& in : batch.in) in.msg_hdr.msg_namelen = sizeof(sockaddr_in);
    const int received = recvmmsg(fd, batch.in.data(), kBatch, MSG_WAITFORONE, nullptr);
    const unsigned messages =
        Fill(batch, static_cast<unsigned>(received < 0 ? 0 : received), runs, records);
    for (unsigned sent = 0; sent < messages;) {
      const int count = sendmmsg(fd, &batch.out[sent], messages - sent, 0);
      if (count <= 0) break;
      sent += static_cast<unsigned>(count);
    }
  }
}

int Fail(const char* what) {
  std::fprintf(stderr, "dns_floor: %s: %s\n", what, std::strerror(errno));
  return 2;
}

}  // namespace

int main(int count, char** words) {
  const bool runs = count != 3 || std::string_view(words[2]) != "--no-runs";
  const std::string_view text = count == 2 || !runs ? words[1] : "";
  const size_t colon = text.rfind(':');
  sockaddr_in address{};
  address.sin_family = AF_INET;
  if (colon == std::string_view::npos ||
      inet_pton(AF_INET, std::string(text.substr(0, colon)).c_str(), &address.sin_addr) != 1) {
    std::fprintf(stderr, "usage: dns_floor ADDRESS:PORT [--no-runs] (IPv4)\n");
    return 2;
  }
  address.sin_port =
      htons(static_cast<uint16_t>(std::atoi(std::string(text.substr(colon + 1)).c_str())));
  const int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return Fail("socket");
  const int receive_bytes = 4 << 20;
  setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &receive_bytes, sizeof receive_bytes);
  if (bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    return Fail("bind");
  }
  // As servers do that never fragment; it spares the kernel the search for an IP identification.
  const int discover = IP_PMTUDISC_PROBE;
  setsockopt(fd, IPPROTO_IP, IP_MTU_DISCOVER, &discover, sizeof discover);
  Serve(fd, runs);
}
