// TLS for the generator: one context, full or resumed handshakes.
//
// Resumption fails silently if done naively: with TLS 1.3 a server sends several tickets, and a
// session object that was offered once may be changed by the library. Here the session comes from
// one priming connection, is never replaced, and every connection offers a copy of its own; whether
// it was accepted is counted, and a run whose handshakes were not all resumed is INVALID.
#pragma once

#include <openssl/ssl.h>

#include <expected>
#include <memory>
#include <string>
#include <string_view>

#include "bench/load/endpoint.h"

namespace bench {

struct TlsOptions {
  bool enabled = false;
  bool resume = false;
  std::string server_name;  // SNI; empty = none
  std::string ca_file;      // verify the server by it; empty = no verification
  std::string version;      // "1.2", "1.3"; empty = what both sides prefer
};

class TlsClient {
 public:
  static std::expected<std::unique_ptr<TlsClient>, std::string> Create(const TlsOptions& options);

  // Takes the session to resume from a connection of its own: handshake, one request of
  // `request` echoed back, close. Blocking, at most five seconds.
  std::expected<void, std::string> Prime(const Endpoint& to, const Endpoint* from,
                                         std::string_view request);

  // A client over a connected socket; the caller owns it. Null when out of memory.
  SSL* NewConnection(int fd);

  // The library's oldest queued error in words.
  static std::string LastError();

 private:
  explicit TlsClient(TlsOptions options) : options_(std::move(options)) {}
  static int KeepSession(SSL* ssl, SSL_SESSION* session);

  struct FreeContext {
    void operator()(SSL_CTX* context) const { SSL_CTX_free(context); }
  };
  struct FreeSession {
    void operator()(SSL_SESSION* session) const { SSL_SESSION_free(session); }
  };

  TlsOptions options_;
  std::unique_ptr<SSL_CTX, FreeContext> context_;
  std::unique_ptr<SSL_SESSION, FreeSession> session_;
};

}  // namespace bench
