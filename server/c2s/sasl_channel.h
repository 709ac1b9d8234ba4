// What SASL may know of a connection: from our own handshake, or from a balancer in front that made
// it (mongooselb's TLVs, lb/README.md).
//
// Pure.
#pragma once

#include "net/proxy_protocol/proxy_protocol.h"
#include "net/tls/context/tls_facts.h"
#include "server/sasl/sasl_dispatch.h"

namespace server {

SaslChannel ChannelOf(const net::TlsFacts& facts);
// Secure where the client came over TLS to the balancer. Whoever calls it has made sure that the
// header is a balancer's.
SaslChannel ChannelOf(const net::ProxyHeader& header);

}  // namespace server
