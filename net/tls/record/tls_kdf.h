// Internal to net_tls: the key schedule of TLS 1.3 as an OpenSSL provider of our own.
//
// Why: OpenSSL 3 derives each of a handshake's two dozen secrets through a chain of look-ups by
// name, which together cost about as much as the signature; and its other way to tell the traffic
// secrets, the key log, formats each of them as text. Here a derivation is one pooled HMAC, and
// whoever listens on this thread is told the secret as it is made.
//
// The provider has one algorithm, TLS13-KDF (RFC 8446 section 7.1, as libssl asks for it since
// OpenSSL 3.0; SHA-256 and SHA-384). Contexts made by NewTlsContext() prefer it; all else,
// and all other contexts, keep OpenSSL's own algorithms.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

struct ssl_ctx_st;
struct ssl_method_st;

namespace net {

// A context whose handshakes use it. Null when OpenSSL refuses; its error queue says why. Any
// thread.
ssl_ctx_st* NewTlsContext(const ssl_method_st* method);

// The last keys stay in this thread's HMAC contexts until this overwrites them.
void ForgetTlsKdfKeys();

// Hears what is derived on this thread while it lives: the secrets that an expansion gave, by their
// label without its prefix ("c ap traffic").
class TlsKdfListener {
 public:
  TlsKdfListener();
  TlsKdfListener(const TlsKdfListener&) = delete;
  TlsKdfListener& operator=(const TlsKdfListener&) = delete;

  virtual void OnSecret(std::string_view label, std::span<const uint8_t> secret) = 0;

 protected:
  ~TlsKdfListener();

 private:
  TlsKdfListener* outer_;
};

}  // namespace net
