// Internal to net_tls: a certificate with its key, chain and staple, as read from files, and owners
// for OpenSSL's objects.
#pragma once

#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>

#include <cstdint>
#include <expected>
#include <memory>
#include <string>
#include <vector>

#include "net/tls/context/tls_context.h"
#include "net/tls/context/tls_error.h"

namespace net {

template <auto kFree>
struct OpenSslDeleter {
  template <typename T>
  void operator()(T* object) const {
    kFree(object);
  }
};
inline void FreeX509Stack(STACK_OF(X509) * chain) { sk_X509_pop_free(chain, X509_free); }

using SslContextPtr = std::unique_ptr<SSL_CTX, OpenSslDeleter<SSL_CTX_free>>;
using X509Ptr = std::unique_ptr<X509, OpenSslDeleter<X509_free>>;
using KeyPtr = std::unique_ptr<EVP_PKEY, OpenSslDeleter<EVP_PKEY_free>>;
using BioPtr = std::unique_ptr<BIO, OpenSslDeleter<BIO_free>>;
using ChainPtr = std::unique_ptr<STACK_OF(X509), OpenSslDeleter<FreeX509Stack>>;

// Reads `text`, which outlives it.
BioPtr MemoryBio(const std::string& text);

struct TlsCertificate {
  X509Ptr leaf;
  ChainPtr chain;
  KeyPtr key;
  std::string ocsp;
  int64_t ocsp_next_update = 0;
  std::vector<uint8_t> end_point;  // tls-server-end-point
  std::string file;
};

std::expected<TlsCertificate, TlsConfigError> LoadTlsCertificate(const TlsCertificateFiles& files);
// The end of its validity, in seconds since 1970.
int64_t TlsNotAfter(const X509* certificate);
TlsCertificateInfo InfoOf(const TlsCertificate& certificate);

// What server and client contexts have in common. Mistakes are added to `errors`.
void ApplyTlsPolicy(SSL_CTX* context, const TlsPolicy& policy, TlsConfigErrors* errors);
void LoadTlsVerification(SSL_CTX* context, const std::string& ca, const std::string& crl,
                         TlsConfigErrors* errors);
std::string AlpnWire(const std::vector<std::string>& names, TlsConfigErrors* errors);

}  // namespace net
