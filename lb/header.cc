// The part of a Pair that speaks the PROXY protocol: reads the client's header before a node is
// chosen, and sends ours before the client's first byte.

#include "lb/header.h"

#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>

#include "lb/pair.h"
#include "lb/proxy_protocol.h"
#include "lb/proxy_worker.h"

namespace lb {
namespace {

ProxyEndpoint EndpointOf(const net::Address& address) {
  ProxyEndpoint endpoint;
  if (!address) return endpoint;
  endpoint.family =
      address.family() == net::AddressFamily::kIpv4 ? ProxyFamily::kInet : ProxyFamily::kInet6;
  const auto ip = address.ip();
  std::copy(ip.begin(), ip.end(), endpoint.ip.begin());
  endpoint.port = address.port();
  return endpoint;
}

net::Address AddressOf(const ProxyEndpoint& endpoint) {
  switch (endpoint.family) {
    case ProxyFamily::kInet: {
      std::array<uint8_t, 4> ip{};
      std::copy_n(endpoint.ip.begin(), 4, ip.begin());
      return net::Address::V4(ip, endpoint.port);
    }
    case ProxyFamily::kInet6:
      return net::Address::V6(endpoint.ip, endpoint.port);
    default:
      return {};
  }
}

net::Address LocalAddress(int fd) {
  sockaddr_storage name{};
  socklen_t size = sizeof name;
  if (getsockname(fd, reinterpret_cast<sockaddr*>(&name), &size) != 0) return {};
  return net::Address::FromSockaddr(reinterpret_cast<sockaddr*>(&name), size)
      .value_or(net::Address())
      .Unmapped();
}

}  // namespace

// --- In ---------------------------------------------------------------------------------------

void Pair::OnHeaderBytes() {
  // Rare, short and bounded: the chain is laid out in one piece, whatever pieces it came in.
  std::vector<uint8_t> bytes;
  for (uint16_t id = chain_[0].head, left = chain_[0].count; left > 0; --left) {
    const auto part = worker_.buffers_->Bytes(id);
    bytes.insert(bytes.end(), part.begin(), part.end());
    id = worker_.buffers_->Next(id);
  }
  ProxyHeader header;
  const ProxyDecoded decoded = DecodeProxyHeader(bytes, header);
  switch (decoded.status) {
    case ProxyDecoded::Status::kNeedMore:
      if (!InFlight(kRecv)) ArmRecv(0);
      return;
    case ProxyDecoded::Status::kReject:
      WorkerStats::Add(worker_.stats_.proxy_headers_bad);
      End(EndReason::kProxyHeaderBad);
      return;
    case ProxyDecoded::Status::kHeader:
      break;
  }
  if (!header.local) {
    const net::Address source = AddressOf(header.source).Unmapped();
    if (source) client_ = source;
  }
  Consume(decoded.size);
  bytes_[0] = bytes.size() - decoded.size;
  AdmitSource();
}

// What follows the header is payload and stays, from chain_[0].offset on.
void Pair::Consume(size_t bytes) {
  while (bytes > 0) {
    const size_t here = worker_.buffers_->Length(chain_[0].head);
    if (bytes < here) {
      chain_[0].offset = static_cast<uint16_t>(bytes);
      return;
    }
    bytes -= here;
    DropHead(0);
  }
}

// --- Out --------------------------------------------------------------------------------------

void Pair::StartHeaderOut() {
  // Only after a reload that asks for the header: else the name was there before the node.
  if (InFlight(kName)) {
    Set(kNoName, 1);
    return;
  }
  // The client's view of us is a property of its socket, which the ring can hand out but not ask.
  if (worker_.ring().features().fd_install) {
    worker_.ring().InstallFd(slot_[0], Begin(kLocal));
  } else {
    SendHeaderOut(worker_.ListenerOf(*this)->bound);
  }
}

void Pair::OnLocalFd(int32_t result) {
  const net::Address local = result >= 0 ? LocalAddress(result) : net::Address();
  if (result >= 0) close(result);
  if (state_ == State::kClosing) {
    FreeIfJoined();
  } else {
    SendHeaderOut(local);
  }
}

void Pair::SendHeaderOut(const net::Address& local) {
  const PoolSettings& settings = worker_.SettingsOf(*this);
  std::array<uint8_t, 512> header;
  std::array<char, 40> unique_id;
  ProxyTlvsOut tlvs{.crc32c = settings.proxy_crc32c};
  if (settings.proxy_unique_id) {
    // Unique over workers, restarts and machines for all practical purposes, and short.
    char* end = unique_id.data();
    char* last = end + unique_id.size();
    end = std::to_chars(end, last, worker_.options_.seed, 16).ptr;
    *end++ = '-';
    end = std::to_chars(end, last, ++worker_.unique_id_, 16).ptr;
    tlvs.unique_id = {unique_id.data(), static_cast<size_t>(end - unique_id.data())};
  }
  const auto size = settings.send_proxy == SendProxy::kV1
                        ? EncodeProxyV1(EndpointOf(client_), EndpointOf(local), header)
                        : EncodeProxyV2(EndpointOf(client_), EndpointOf(local), tlvs, header);
  CHECK(size.has_value());  // two addresses and a short id always fit
  extra_ = worker_.preludes_.Allocate();
  if (extra_ == net::kNoIndex) {
    End(EndReason::kExhausted);
    return;
  }
  Prelude& prelude = worker_.preludes_[extra_];
  prelude.size = static_cast<uint16_t>(*size);
  std::copy_n(header.begin(), *size, prelude.bytes.begin());
  worker_.ring().Send(slot_[1], std::span(prelude.bytes).first(*size), Begin(kHeaderOut));
}

void Pair::OnHeaderOut(int32_t result) {
  Prelude& prelude = worker_.preludes_[extra_];
  if (state_ != State::kClosing && result > 0) {
    prelude.sent = static_cast<uint16_t>(prelude.sent + result);
    if (prelude.sent < prelude.size) {
      worker_.ring().Send(slot_[1],
                          std::span(prelude.bytes).first(prelude.size).subspan(prelude.sent),
                          Begin(kHeaderOut));
      return;
    }
  }
  worker_.preludes_.Free(extra_);
  extra_ = net::kNoIndex;
  if (state_ == State::kClosing) {
    FreeIfJoined();
  } else if (result < 0) {
    End(EndReason::kNodeReset);
  } else {
    MaybeSend(0);
  }
}

}  // namespace lb
