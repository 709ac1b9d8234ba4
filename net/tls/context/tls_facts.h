// What a finished handshake established: for the access log, for routing, for PROXY protocol v2
// TLVs and for SASL EXTERNAL and SCRAM-PLUS at the node. Taken from the engine once, then dropped:
// nothing of it is needed to move data.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

struct ssl_st;
struct x509_st;

namespace net {

// The peer's certificate, for SASL EXTERNAL (XEP-0178, RFC 6120 section 13.7).
struct TlsPeerCertificate {
  bool verified = false;                // by chain, time, purpose (and CRL, name where asked for)
  std::string verify_error;             // OpenSSL's words when not verified
  std::string subject;                  // RFC 2253
  std::string common_name;              // the last CN, or ""
  std::vector<std::string> dns_names;   // SAN dNSName
  std::vector<std::string> xmpp_addrs;  // SAN otherName id-on-xmppAddr (1.3.6.1.5.5.7.8.5)
  std::vector<std::string> srv_names;   // SAN otherName id-on-dnsSRV (1.3.6.1.5.5.7.8.7)
  std::vector<std::string> emails;
  // Names with a NUL or another control character inside are left out of all of the above and
  // counted here: they match nothing.
  unsigned rejected_names = 0;
  std::array<uint8_t, 32> sha256{};  // of the DER
  std::vector<uint8_t> der;
};

struct TlsFacts {
  int version = 0;           // 0x0304
  std::string version_name;  // "TLSv1.3"
  std::string cipher;        // "TLS_AES_128_GCM_SHA256"
  std::string alpn;          // "xmpp-client", or "" for none
  // As the client sent it now, resumed or not (server); as we sent it (client). "" for none, and
  // for what is no name (IsTlsServerName).
  std::string sni;
  bool resumed = false;
  std::optional<TlsPeerCertificate> peer;

  // Channel bindings. tls-server-end-point (RFC 5929 section 4): hash of the server's certificate;
  // empty where undefined (certificates whose signature has no single hash, e.g. Ed25519).
  std::vector<uint8_t> server_end_point;
  // tls-exporter (RFC 9266): empty for TLS 1.2 without the extended master secret, where it would
  // not be unique. tls-unique is never offered: it is broken below that and gone in TLS 1.3.
  std::vector<uint8_t> exporter;
};

// Where the name of a server connection's ClientHello is kept until its facts are read: OpenSSL
// tells another one, or none, where it resumes. Null, the default, for nowhere; it outlives the
// SSL.
void KeepClientNameIn(ssl_st* ssl, std::string* name);
std::string* ClientNameOf(const ssl_st* ssl);
// A name that may be shown, logged and compared: ASCII, with nothing that does not print.
bool IsTlsServerName(std::string_view name);

// Reads the facts of a finished handshake but for the channel bindings, which cost more and which
// the engine often knows already.
std::unique_ptr<TlsFacts> CollectTlsFacts(ssl_st* ssl);

// The channel bindings, the long way.
std::vector<uint8_t> TlsServerEndPoint(x509_st* certificate);
std::vector<uint8_t> TlsExporterBinding(ssl_st* ssl);
inline constexpr std::string_view kTlsExporterLabel = "EXPORTER-Channel-Binding";

// Exposed for tests: names and fingerprint of a certificate, `verified` untouched.
TlsPeerCertificate DescribeCertificate(x509_st* certificate);

// True if a host name equals the pattern, or the pattern is "*.x" and the name is one label in
// front of x. ASCII case is ignored, one trailing dot of the name as well.
bool TlsNameMatches(std::string_view pattern, std::string_view name);

}  // namespace net
