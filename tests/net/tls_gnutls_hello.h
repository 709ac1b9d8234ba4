// A real ClientHello of GnuTLS, for tests that read hellos.
#pragma once

#include <gnutls/gnutls.h>

#include <cerrno>
#include <string>

#include "net/base/check.h"
#include "tests/net/tls_test_hello.h"

namespace net {

// What GnuTLS says first: two key shares, and other extensions in another order than OpenSSL's.
inline Bytes GnuTlsHello(const std::string& priority, const std::string& name = "example.org") {
  gnutls_session_t session = nullptr;
  gnutls_certificate_credentials_t credentials = nullptr;
  CHECK(gnutls_certificate_allocate_credentials(&credentials) == 0);
  CHECK(gnutls_init(&session, GNUTLS_CLIENT | GNUTLS_NONBLOCK) == 0);
  CHECK(gnutls_priority_set_direct(session, priority.c_str(), nullptr) == 0);
  gnutls_credentials_set(session, GNUTLS_CRD_CERTIFICATE, credentials);
  gnutls_server_name_set(session, GNUTLS_NAME_DNS, name.data(), name.size());
  std::string protocol = "xmpp-server";
  const gnutls_datum_t alpn = {reinterpret_cast<unsigned char*>(protocol.data()), 11};
  CHECK(gnutls_alpn_set_protocols(session, &alpn, 1, 0) == 0);
  Bytes sent;
  gnutls_transport_set_ptr(session, &sent);
  gnutls_transport_set_push_function(
      session, [](gnutls_transport_ptr_t to, const void* data, size_t size) {
        AddBytes(static_cast<Bytes*>(to), {static_cast<const uint8_t*>(data), size});
        return static_cast<ssize_t>(size);
      });
  gnutls_transport_set_pull_function(session, [](gnutls_transport_ptr_t, void*, size_t) {
    errno = EAGAIN;
    return ssize_t{-1};
  });
  gnutls_handshake(session);
  gnutls_deinit(session);
  gnutls_certificate_free_credentials(credentials);
  return sent;
}

}  // namespace net
