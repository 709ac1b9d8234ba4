// dns_floor ADDRESS:PORT: the bare loop of a DNS server over UDP, as the floor that a server is
// measured against: recvmmsg, the question back with eight A records behind it, sendmmsg. It looks
// at nothing in the query but its length and the end of its name: never for production.
//
// One thread. Ends with 2 and words when anything at start fails; else by a signal.

#include <arpa/inet.h>
#include <netinet/in.h>
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

namespace {

constexpr unsigned kBatch = 64;
constexpr size_t kHeaderBytes = 12;
constexpr size_t kDatagramBytes = 512;
constexpr unsigned kAddresses = 8;
constexpr size_t kRecordBytes = 16;

struct Batch {
  std::array<std::array<uint8_t, kDatagramBytes>, kBatch> bytes;
  std::array<sockaddr_in, kBatch> names;
  std::array<iovec, kBatch> parts;
  std::array<mmsghdr, kBatch> in;
  std::array<mmsghdr, kBatch> out;
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

// The reply's length, made in place; 0: no query.
size_t Answer(std::array<uint8_t, kDatagramBytes>& bytes, size_t length,
              const std::array<uint8_t, kAddresses * kRecordBytes>& records) {
  if (length < kHeaderBytes + 5 || length > kDatagramBytes - records.size()) return 0;
  const void* end = std::memchr(&bytes[kHeaderBytes], 0, length - kHeaderBytes - 4);
  if (end == nullptr) return 0;
  const size_t question_end =
      static_cast<size_t>(static_cast<const uint8_t*>(end) - bytes.data()) + 5;
  bytes[2] = static_cast<uint8_t>(0x84 | (bytes[2] & 1));  // QR, AA, RD as it came
  bytes[3] = 0;
  bytes[7] = kAddresses;
  bytes[9] = 0;
  bytes[11] = 0;
  std::memcpy(&bytes[question_end], records.data(), records.size());
  return question_end + records.size();
}

[[noreturn]] void Serve(int fd) {
  static Batch batch;
  const auto records = Records();
  for (unsigned i = 0; i < kBatch; ++i) {
    batch.in[i].msg_hdr = {};
    batch.in[i].msg_hdr.msg_name = &batch.names[i];
    batch.in[i].msg_hdr.msg_iov = &batch.parts[i];
    batch.in[i].msg_hdr.msg_iovlen = 1;
  }
  while (true) {
    for (unsigned i = 0; i < kBatch; ++i) {
      batch.parts[i] = {batch.bytes[i].data(), kDatagramBytes};
      batch.in[i].msg_hdr.msg_namelen = sizeof(sockaddr_in);
    }
    const int received = recvmmsg(fd, batch.in.data(), kBatch, MSG_WAITFORONE, nullptr);
    unsigned replies = 0;
    for (unsigned i = 0; i < static_cast<unsigned>(received < 0 ? 0 : received); ++i) {
      const size_t bytes = Answer(batch.bytes[i], batch.in[i].msg_len, records);
      if (bytes == 0) continue;
      batch.parts[i].iov_len = bytes;
      batch.out[replies++] = batch.in[i];
    }
    for (unsigned sent = 0; sent < replies;) {
      const int count = sendmmsg(fd, &batch.out[sent], replies - sent, 0);
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
  const std::string_view text = count == 2 ? words[1] : "";
  const size_t colon = text.rfind(':');
  sockaddr_in address{};
  address.sin_family = AF_INET;
  if (colon == std::string_view::npos ||
      inet_pton(AF_INET, std::string(text.substr(0, colon)).c_str(), &address.sin_addr) != 1) {
    std::fprintf(stderr, "usage: dns_floor ADDRESS:PORT (IPv4)\n");
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
  Serve(fd);
}
