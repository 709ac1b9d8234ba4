// Internal to net_tls: what is overheard of OpenSSL's handshake so that its keys can be taken over.
// Hangs on the SSL as ex_data for the time of the handshake. The secrets are wiped with it.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

struct ssl_st;
struct ssl_ctx_st;

namespace net {

struct TlsCapture {
  std::array<uint8_t, 48> client_secret{};  // CLIENT_TRAFFIC_SECRET_0
  std::array<uint8_t, 48> server_secret{};
  std::array<uint8_t, 48> exporter_secret{};  // EXPORTER_SECRET, for channel binding
  uint8_t exporter_bytes = 0;
  uint8_t client_bytes = 0;
  uint8_t server_bytes = 0;
  bool is_server = true;
  bool bad = false;         // malformed or doubled lines: never take over
  bool key_update = false;  // one went either way: OpenSSL's keys are no longer generation 0
  // Records under the application keys so far, told by OpenSSL's message callback.
  uint64_t tx_records = 0;
  uint64_t rx_records = 0;

  // The same for tx, counted in the bytes that OpenSSL wrote; the two must agree, since an
  // undercount would be a reused nonce.
  uint64_t tx_records_on_wire = 0;
  bool count_wire = false;  // the call began after our application key was set
  std::array<uint8_t, 5> header{};
  uint8_t header_bytes = 0;
  size_t body_left = 0;

  ~TlsCapture();
  bool own_key_set() const { return (is_server ? server_bytes : client_bytes) != 0; }
  bool peer_key_set() const { return (is_server ? client_bytes : server_bytes) != 0; }
  void OnWire(std::span<const uint8_t> bytes);
  void OnKeylogLine(const char* line);
};

// Installs the keylog callback. Every context that SNI may switch to needs it.
void InstallTlsCapture(ssl_ctx_st* context);
// Hangs `capture` (or nothing, with null) on the SSL and listens to its records.
void SetTlsCapture(ssl_st* ssl, TlsCapture* capture);

}  // namespace net
