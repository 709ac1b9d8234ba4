// What connections are made from: server contexts (certificates by SNI, policy, tickets, client
// certificates) and client contexts (how nodes are verified).
//
// A context is immutable and shared: all workers use the same one, a reload makes a new one and
// swaps the shared_ptr, connections that began with the old one keep it until they end or leave
// OpenSSL. Create() reads every file and reports all mistakes at once; it is for start-up and
// reload, never for the data path.
//
// Server contexts choose the site from the raw ClientHello, before any session ticket is looked at,
// and the session id context of each site is a hash of its certificates and of its client
// certificate policy: a ticket of one site is never taken at another (CVE-2025-23419), nor after
// its certificate, CA or CRL changed. Then a full handshake follows. Nor under another name than
// the one that it was made under (RFC 6066 section 3): the name is a part of that hash.
//
// Each SSL_CTX derives its secrets through tls_kdf, which tells tls_engine those it takes over.
// Nothing here writes those lines anywhere.
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <expected>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "net/tls/context/tls_error.h"
#include "net/tls/context/tls_tickets.h"

struct ssl_ctx_st;
struct ssl_session_st;
struct ssl_st;

namespace net {

struct TlsHandshakePlan;

enum class TlsVersion : uint8_t { kTls12, kTls13 };

enum class TlsClientAuth : uint8_t {
  kOff,       // not asked for
  kOptional,  // asked for; a missing or unverifiable one is a fact, not an error (XMPP s2s)
  kRequired,  // must be there and verify, else the handshake fails
};
std::string_view ToString(TlsClientAuth auth);

// Modern defaults: forward secrecy and AEAD only.
inline constexpr std::string_view kTlsDefaultCiphers =
    "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-CHACHA20-POLY1305:"
    "ECDHE-RSA-CHACHA20-POLY1305:ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384";
inline constexpr std::string_view kTlsDefaultSuites =
    "TLS_AES_128_GCM_SHA256:TLS_CHACHA20_POLY1305_SHA256:TLS_AES_256_GCM_SHA384";
inline constexpr std::string_view kTlsDefaultGroups = "X25519:P-256:P-384";

struct TlsPolicy {
  TlsVersion min_version = TlsVersion::kTls12;
  TlsVersion max_version = TlsVersion::kTls13;
  std::string ciphers{kTlsDefaultCiphers};  // TLS 1.2, OpenSSL's names
  std::string suites{kTlsDefaultSuites};    // TLS 1.3
  std::string groups{kTlsDefaultGroups};
  // TLS 1.3 connections leave OpenSSL after the handshake (tls_record_layer.h).
  bool take_over = true;
  // Servers shake hands themselves in the usual form of TLS 1.3 (tls_handshake.h); needs take_over.
  bool own_handshake = true;
};

struct TlsCertificateFiles {
  std::string chain = {};  // PEM: the certificate, then its intermediates
  std::string key = {};    // PEM, not encrypted, not readable for others
  std::string ocsp = {};   // DER response to staple; "" for none
};

struct TlsSite {
  // Host names, "*.example.org" for one label. Empty: the names in its certificates.
  std::vector<std::string> names = {};
  std::vector<TlsCertificateFiles> certificates = {};  // one a key type: ECDSA and RSA side by side
  TlsClientAuth client_auth = TlsClientAuth::kOff;
  std::string client_ca = {};   // PEM; "" with kOptional: the system's
  std::string client_crl = {};  // PEM; "" for none
  // Accept certificates that are for servers only, as XMPP servers present to each other.
  bool client_any_purpose = false;
};

struct TlsServerOptions {
  TlsPolicy policy;
  std::vector<TlsSite> sites = {};  // the first is the default
  bool strict_sni = false;          // an unknown name gets unrecognized_name instead of the default
  // In order of our preference. A client that offers only others gets no_application_protocol; one
  // that offers none is served, unless alpn_required.
  std::vector<std::string> alpn = {};
  bool alpn_required = false;
  std::shared_ptr<TlsTicketKeys> tickets;  // null: no resumption
  unsigned tickets_per_handshake = 1;
  // Of a session, from its full handshake on: a ticket that is given out at a resumption ends with
  // the one it replaces, and none outlives the client's certificate.
  std::chrono::seconds ticket_lifetime{7200};
  // Seconds since 1970, thread-safe; null for the system's.
  std::function<int64_t()> wall_clock;
};

// One certificate as loaded, for status and metrics.
struct TlsCertificateInfo {
  static constexpr int kWarnDays = 21;

  std::string file;
  std::string subject;
  std::string key_type;  // "EC", "RSA", "ED25519"
  std::vector<std::string> names;
  int64_t not_before = 0;  // seconds since 1970
  int64_t not_after = 0;
  int64_t ocsp_next_update = 0;  // 0: no staple

  // Whole days until it expires, rounded down; negative when it has.
  int64_t DaysLeft(int64_t now) const;
  bool ExpiresSoon(int64_t now) const { return DaysLeft(now) < kWarnDays; }
};

class TlsServerContext {
 public:
  static std::expected<std::shared_ptr<const TlsServerContext>, TlsConfigErrors> Create(
      const TlsServerOptions& options);
  ~TlsServerContext();

  const std::vector<TlsCertificateInfo>& certificates() const { return certificates_; }
  bool take_over() const { return take_over_; }
  // The site that a name chooses: index into the options' sites, or -1 (strict_sni only). "" is a
  // client without SNI and gets the default.
  int SiteFor(std::string_view server_name) const;

  // tls-server-end-point of the certificate that the client of this connection has been shown, be
  // it when the session began that it resumes. Empty where that is not known.
  std::span<const uint8_t> EndPointOf(ssl_st* ssl) const;

  ssl_ctx_st* native() const;  // the default site's; for tls_engine
  const TlsHandshakePlan& plan() const;
  struct Impl;

 private:
  TlsServerContext();
  std::unique_ptr<Impl> impl_;
  std::vector<TlsCertificateInfo> certificates_;
  bool take_over_ = true;
};

struct TlsClientOptions {
  TlsPolicy policy = {};
  bool verify = true;    // chain and name
  std::string ca = {};   // PEM; "" for the system's
  std::string crl = {};  // PEM; "" for none
  std::vector<std::string> alpn = {};
  TlsCertificateFiles certificate = {};  // our own; empty chain for none
  // Sessions kept for resumption, over all nodes and names; 0 for none.
  size_t sessions_max = 256;
};

class TlsClientContext {
 public:
  static std::expected<std::shared_ptr<const TlsClientContext>, TlsConfigErrors> Create(
      const TlsClientOptions& options);
  ~TlsClientContext();

  bool take_over() const { return take_over_; }
  bool verify() const { return verify_; }
  ssl_ctx_st* native() const;

  // Sessions by a key that names node, SNI and verified name; each is given out once (RFC 8446
  // appendix C.4). Thread-safe. TakeSession returns null or an owned session.
  ssl_session_st* TakeSession(const std::string& key) const;
  void StoreSession(const std::string& key, ssl_session_st* session) const;  // takes it over
  // The new sessions of a connection of this context are stored under this key, which outlives it
  // as the context does; "" for nowhere.
  static void StoreSessionsOf(ssl_st* ssl, const std::string* key);
  size_t sessions() const;
  struct Impl;

 private:
  TlsClientContext();
  std::unique_ptr<Impl> impl_;
  bool take_over_ = true;
  bool verify_ = true;
};

}  // namespace net
