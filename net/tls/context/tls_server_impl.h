// Internal to net_tls: what a server context is made of, for its two halves: certificates and sites
// (tls_server_context.cc), and OpenSSL's tickets (tls_server_tickets.cc).
#pragma once

#include <openssl/sha.h>

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "net/tls/context/tls_certificate.h"
#include "net/tls/context/tls_context.h"
#include "net/tls/context/tls_handshake_plan.h"

namespace net {

struct TlsServerContext::Impl {
  struct Site {
    SslContextPtr context;
    std::vector<TlsCertificate> certificates;
    int verify_mode = SSL_VERIFY_NONE;
    SSL_verify_cb verify_callback = nullptr;
    std::array<uint8_t, SHA256_DIGEST_LENGTH> session_id_context{};
    const TlsHandshakePlan* plan = nullptr;
  };

  // Sites are stored by pointer: OpenSSL holds their address as callback argument.
  std::vector<std::unique_ptr<Site>> sites;
  TlsHandshakePlan plan;  // its sites are these, in their order
  // Fetched once: EVP_aes_256_cbc() would search for it in every handshake.
  std::unique_ptr<EVP_CIPHER, OpenSslDeleter<EVP_CIPHER_free>> ticket_cipher{
      EVP_CIPHER_fetch(nullptr, "AES-256-CBC", nullptr)};

  // The site whose context the SSL uses; null for none of these.
  const Site* SiteOf(const SSL* ssl) const;
};

// Session tickets of OpenSSL's handshakes, or none, as the options have it.
void UseTlsTickets(const TlsServerOptions& options, TlsServerContext::Impl* impl, SSL_CTX* context);
// The certificate that this connection's client was shown: now, or when the session that it resumes
// was made. Null where that is not known.
const TlsCertificate* ShownTlsCertificate(const TlsServerContext::Impl::Site& site, SSL* ssl);

}  // namespace net
