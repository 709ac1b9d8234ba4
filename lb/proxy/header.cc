// The part of a Pair that speaks the PROXY protocol: reads the client's header before a node is
// chosen, and sends ours before the client's first byte.

#include "lb/proxy/header.h"

#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <vector>

#include "lb/proxy/pair.h"
#include "lb/proxy/proxy_worker.h"
#include "lb/proxy/tls_pair.h"
#include "net/proxy_protocol/proxy_protocol.h"
#include "net/tls/context/tls_facts.h"

namespace lb {
namespace {

net::ProxyEndpoint EndpointOf(const net::Address& address) {
  net::ProxyEndpoint endpoint;
  if (!address) return endpoint;
  endpoint.family = address.family() == net::AddressFamily::kIpv4 ? net::ProxyFamily::kInet
                                                                  : net::ProxyFamily::kInet6;
  const auto ip = address.ip();
  std::copy(ip.begin(), ip.end(), endpoint.ip.begin());
  endpoint.port = address.port();
  return endpoint;
}

net::Address AddressOf(const net::ProxyEndpoint& endpoint) {
  switch (endpoint.family) {
    case net::ProxyFamily::kInet: {
      std::array<uint8_t, 4> ip{};
      std::copy_n(endpoint.ip.begin(), 4, ip.begin());
      return net::Address::V4(ip, endpoint.port);
    }
    case net::ProxyFamily::kInet6:
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

std::span<const uint8_t> BytesOf(std::string_view text) {
  return {reinterpret_cast<const uint8_t*>(text.data()), text.size()};
}

// TLVs for applications, beside those that the specification names:
//   0xE0  tls-server-end-point (RFC 5929), the bytes of the channel binding
//   0xE1  tls-exporter (RFC 9266), likewise; absent where it would not be unique
// and of a client certificate that was verified, for SASL EXTERNAL (XEP-0178):
//   0xE2  an id-on-xmppAddr of it; once for each
//   0xE3  a dNSName; once for each
//   0xE4  an id-on-dnsSRV ("_xmpp-server.example.org"); once for each
//   0xE5  SHA-256 of the certificate (DER), verified or not
// A node that offers SCRAM-PLUS or EXTERNAL by these must take them from the balancer only.
constexpr uint8_t kTlvServerEndPoint = 0xe0;
constexpr uint8_t kTlvExporter = 0xe1;
constexpr uint8_t kTlvXmppAddr = 0xe2;
constexpr uint8_t kTlvDnsName = 0xe3;
constexpr uint8_t kTlvSrvName = 0xe4;
constexpr uint8_t kTlvCertificateHash = 0xe5;

// What the client's handshake established, as TLVs. Points into the facts.
class ClientFacts {
 public:
  ClientFacts(const net::TlsFacts& facts, const PoolSettings& settings)
      : facts_(facts), settings_(settings) {
    if (settings.proxy_channel_binding) {
      Add(kTlvServerEndPoint, facts.server_end_point);
      Add(kTlvExporter, facts.exporter);
    }
    bindings_ = more_.size();
    if (!settings.proxy_ssl) return;
    ssl_ = {
        .client = net::ProxySsl::kClientSsl, .version = facts.version_name, .cipher = facts.cipher};
    if (!facts.peer) return;
    const net::TlsPeerCertificate& peer = *facts.peer;
    ssl_.client |= net::ProxySsl::kClientCertSess;
    if (!facts.resumed) ssl_.client |= net::ProxySsl::kClientCertConn;
    ssl_.verify = peer.verified ? 0 : 1;
    Add(kTlvCertificateHash, peer.sha256);
    bindings_ = more_.size();
    if (!peer.verified) return;
    ssl_.cn = peer.common_name;
    for (const std::string& name : peer.xmpp_addrs) Add(kTlvXmppAddr, BytesOf(name));
    for (const std::string& name : peer.srv_names) Add(kTlvSrvName, BytesOf(name));
    for (const std::string& name : peer.dns_names) Add(kTlvDnsName, BytesOf(name));
  }
  ClientFacts(const ClientFacts&) = delete;
  ClientFacts& operator=(const ClientFacts&) = delete;

  void AddTo(net::ProxyTlvsOut* tlvs) const {
    if (settings_.proxy_alpn) tlvs->alpn = facts_.alpn;
    if (settings_.proxy_authority) tlvs->authority = facts_.sni;
    if (settings_.proxy_ssl) tlvs->ssl = &ssl_;
    tlvs->more = more_;
  }
  std::span<const net::ProxyTlv> bindings() const { return std::span(more_).first(bindings_); }

 private:
  void Add(uint8_t type, std::span<const uint8_t> value) {
    if (!value.empty()) more_.push_back({.type = type, .value = value});
  }

  const net::TlsFacts& facts_;
  const PoolSettings& settings_;
  net::ProxySsl ssl_;
  std::vector<net::ProxyTlv> more_;
  size_t bindings_ = 0;  // of more_, those that are always few
};

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
  net::ProxyHeader header;
  const net::ProxyDecoded decoded = net::DecodeProxyHeader(bytes, header);
  switch (decoded.status) {
    case net::ProxyDecoded::Status::kNeedMore:
      if (!InFlight(kRecv)) ArmRecv(0);
      return;
    case net::ProxyDecoded::Status::kReject:
      worker_.CountBadHeader(*this);
      End(EndReason::kProxyHeaderBad);
      return;
    case net::ProxyDecoded::Status::kHeader:
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

uint32_t& Pair::PreludeIndex() { return Has(kTls, 1) ? TlsOf().prelude : extra_; }

void Pair::SendHeaderOut(const net::Address& local) {
  const PoolSettings& settings = worker_.SettingsOf(*this);
  std::array<uint8_t, kPreludeMax> header;
  std::array<char, ProxyWorker::kUniqueIdMax> unique_id;
  net::ProxyTlvsOut tlvs{.crc32c = settings.proxy_crc32c};
  // As the access log has it.
  if (settings.proxy_unique_id) tlvs.unique_id = worker_.UniqueId(*this, unique_id);
  const net::ProxyEndpoint from = EndpointOf(client_);
  const net::ProxyEndpoint to = EndpointOf(local);
  auto encode = [&](const net::ProxyTlvsOut& with) {
    return settings.send_proxy == SendProxy::kV1 ? net::EncodeProxyV1(from, to, header)
                                                 : net::EncodeProxyV2(from, to, with, header);
  };
  std::expected<size_t, net::ProxyEncodeError> size =
      std::unexpected(net::ProxyEncodeError::kNoSpace);
  const net::TlsFacts* facts = Has(kTls, 1) ? TlsOf().opening->facts.get() : nullptr;
  if (facts != nullptr) {
    const ClientFacts said(*facts, settings);
    net::ProxyTlvsOut all = tlvs;
    said.AddTo(&all);
    size = encode(all);
    if (!size) {  // a certificate with hundreds of names: then without them
      all.more = said.bindings();
      size = encode(all);
    }
  }
  if (!size) size = encode(tlvs);
  CHECK(size.has_value());  // two addresses and a short id always fit
  uint32_t& index = PreludeIndex();
  index = worker_.preludes_.Allocate();
  if (index == net::kNoIndex) {
    EndForLack(ENOMEM);
    return;
  }
  Prelude& prelude = worker_.preludes_[index];
  prelude.size = static_cast<uint16_t>(*size);
  std::copy_n(header.begin(), *size, prelude.bytes.begin());
  worker_.ring().Send(slot_[1], std::span(prelude.bytes).first(*size), Begin(kHeaderOut));
}

void Pair::OnHeaderOut(int32_t result) {
  uint32_t& index = PreludeIndex();
  Prelude& prelude = worker_.preludes_[index];
  if (state_ != State::kClosing && result > 0) {
    prelude.sent = static_cast<uint16_t>(prelude.sent + result);
    if (prelude.sent < prelude.size) {
      worker_.ring().Send(slot_[1],
                          std::span(prelude.bytes).first(prelude.size).subspan(prelude.sent),
                          Begin(kHeaderOut));
      return;
    }
  }
  worker_.preludes_.Free(index);
  index = net::kNoIndex;
  if (state_ == State::kClosing) {
    FreeIfJoined();
  } else if (result < 0) {
    // Why it refused may stand in its socket: that is for the client to know.
    if (Has(kTls, 1) && state_ == State::kOpen) FreeOpening();
    Lose(1, result);
  } else {
    if (Has(kTls, 1) && state_ == State::kOpen) FreeOpening();
    MaybeSend(0);
  }
}

}  // namespace lb
