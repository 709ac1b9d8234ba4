// Internal to net_tls: what a connection needs until the record layer has it: our own handshake, or
// an OpenSSL connection without a socket for as long as OpenSSL is needed: its handshake, and all
// of a connection that cannot leave it (TLS 1.2, take_over = false).
//
// A worker has one BIO (TlsBio). It is attached to an SSL for one call, reads straight from the
// caller's buffer and writes straight into the caller's other one; what does not fit there spills
// into the session. An idle SSL owns no BIO and, with SSL_MODE_RELEASE_BUFFERS, no buffers.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "net/tls/context/tls_context.h"
#include "net/tls/context/tls_facts.h"
#include "net/tls/record/tls_capture.h"
#include "net/tls/tls_engine.h"
#include "net/tls/tls_handshake.h"

struct bio_st;
struct ssl_st;

namespace net {

struct TlsOpenSsl {
  // Output above this ends the connection: nothing we say by ourselves is that long.
  static constexpr size_t kSpillMax = size_t{1} << 20;

  // One of the two, or neither once the connection has left. A handshake that is declined is
  // replaced by an SSL.
  std::unique_ptr<TlsHandshake> handshake;
  ssl_st* ssl = nullptr;
  TlsState state = TlsState::kHandshaking;
  TlsTakeOver reason = TlsTakeOver::kPending;
  bool is_server = true;
  bool close_sent = false;
  bool wrote = false;       // OpenSSL has said something to the peer
  std::string client_name;  // KeepClientNameIn
  std::shared_ptr<const TlsServerContext> server;
  std::shared_ptr<const TlsClientContext> client;
  std::optional<TlsCapture> capture;  // until the take-over is decided
  std::vector<uint8_t> spill;
  size_t spill_at = 0;
  size_t handshake_bytes = 0;
  std::unique_ptr<TlsFacts> facts;
  std::string error;
  std::string session_key;  // client: where its session is stored; "" for nowhere

  ~TlsOpenSsl();
  size_t spilled() const { return spill.size() - spill_at; }
  size_t TakeSpill(std::span<uint8_t> out);
};

class TlsBio {
 public:
  TlsBio();
  ~TlsBio();
  TlsBio(const TlsBio&) = delete;
  TlsBio& operator=(const TlsBio&) = delete;
  bool ok() const { return bio_ != nullptr; }

  // Between Attach and Detach `session` reads from `in` and writes to `out`, then to its spill.
  void Attach(TlsOpenSsl* session, std::span<uint8_t> in, std::span<uint8_t> out);
  void Detach();
  std::span<uint8_t> unread() const { return in_; }
  size_t produced() const { return produced_; }

  // Called by OpenSSL.
  int Read(char* to, int length);
  int Write(const char* from, int length);

 private:
  bio_st* bio_ = nullptr;
  TlsOpenSsl* session_ = nullptr;
  std::span<uint8_t> in_;
  std::span<uint8_t> out_;
  size_t produced_ = 0;
};

}  // namespace net
