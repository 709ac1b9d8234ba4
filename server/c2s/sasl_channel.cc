#include "server/c2s/sasl_channel.h"

namespace server {
namespace {

constexpr uint8_t kServerEndPoint = 0xe0;
constexpr uint8_t kExporter = 0xe1;
constexpr uint8_t kXmppAddr = 0xe2;

std::string Text(const std::vector<uint8_t>& bytes) { return {bytes.begin(), bytes.end()}; }

}  // namespace

SaslChannel ChannelOf(const net::TlsFacts& facts) {
  SaslChannel channel{.secure = true,
                      .bindings = {.exporter = Text(facts.exporter),
                                   .server_end_point = Text(facts.server_end_point)}};
  if (facts.peer && facts.peer->verified) channel.xmpp_addrs = facts.peer->xmpp_addrs;
  return channel;
}

SaslChannel ChannelOf(const net::ProxyHeader& header) {
  SaslChannel channel;
  if (header.local || !header.ssl || (header.ssl->client & net::ProxySsl::kClientSsl) == 0) {
    return channel;
  }
  channel.secure = true;
  constexpr uint8_t kShown = net::ProxySsl::kClientCertConn | net::ProxySsl::kClientCertSess;
  const bool verified = (header.ssl->client & kShown) != 0 && header.ssl->verify == 0;
  for (size_t i = 0; i < header.tlv_count; ++i) {
    const net::ProxyTlv& tlv = header.tlvs[i];
    if (tlv.type == kServerEndPoint) channel.bindings.server_end_point = tlv.text();
    if (tlv.type == kExporter) channel.bindings.exporter = tlv.text();
    if (tlv.type == kXmppAddr && verified) channel.xmpp_addrs.emplace_back(tlv.text());
  }
  return channel;
}

}  // namespace server
