// Internal to net_tls: what our own handshakes (tls_handshake.h) need of a server context, prepared
// when it is loaded: which certificate, suite, protocol and site go before which, and certificates
// and keys in the form in which they are used. Immutable and shared by all workers.
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "net/tls/context/tls_certificate.h"
#include "net/tls/context/tls_context.h"
#include "net/tls/context/tls_tickets.h"
#include "net/tls/record/tls_hkdf.h"
#include "net/tls/record/tls_record.h"

namespace net {

using PkeyContextPtr = std::unique_ptr<EVP_PKEY_CTX, OpenSslDeleter<EVP_PKEY_CTX_free>>;

// A certificate as it is shown, with its key ready to sign.
struct TlsSigner {
  uint16_t scheme = 0;  // RFC 8446 section 4.2.3
  TlsDigest digest = TlsDigest::kSha256;
  PkeyContextPtr prepared;           // each handshake signs with a copy
  std::vector<uint8_t> certificate;  // the Certificate message
  std::vector<uint8_t> end_point;    // tls-server-end-point
  bool has_staple = false;
};
// A signer without `prepared` for a kind of key that is left to OpenSSL (Ed25519, RSA-PSS, P-521).
TlsSigner MakeTlsSigner(const TlsCertificate& certificate);

// What a ticket is bound to: a site with its certificates and its policy, and the name that the
// client asked for.
using TlsTicketBinding = std::array<uint8_t, 32>;

struct TlsHandshakePlan {
  struct Site {
    std::vector<std::string> names;
    std::vector<TlsSigner> signers;  // in order of preference
    std::array<uint8_t, 32> id{};    // its part of what its tickets are bound to
    bool asks_clients = false;       // for their certificates

    void Add(TlsSigner signer);
  };

  void UsePolicy(const TlsPolicy& policy);
  // TlsServerContext::SiteFor(), and whether the name is one of the site's: else it is the default.
  struct Choice {
    int site;
    bool named;
  };
  Choice Choose(std::string_view name) const;
  int SiteFor(std::string_view name) const { return Choose(name).site; }
  TlsTicketBinding Binding(size_t site, std::string_view name) const;

  bool enabled = false;          // else all is declined
  std::vector<TlsSuite> suites;  // in order of preference
  bool x25519 = false;           // is the first of the groups
  std::vector<Site> sites;
  bool strict_sni = false;
  std::string alpn;  // wire form, in order of preference; "" takes no part
  bool alpn_required = false;
  std::shared_ptr<TlsTicketKeys> tickets;  // null for none
  unsigned tickets_per_handshake = 1;
  std::chrono::seconds ticket_lifetime{0};
  std::function<int64_t()> now;  // seconds since 1970
  std::unique_ptr<EVP_MD, OpenSslDeleter<EVP_MD_free>> sha256{
      EVP_MD_fetch(nullptr, "SHA256", nullptr)};

  TlsHandshakePlan();
};

}  // namespace net
