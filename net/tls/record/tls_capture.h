// Internal to net_tls: what is overheard of OpenSSL's handshake so that its keys can be taken over.
// Lives for the time of the handshake. The secrets are wiped with it.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "net/tls/record/tls_kdf.h"

struct ssl_st;

namespace net {

struct TlsCapture {
  std::array<uint8_t, 48> client_secret{};  // client_application_traffic_secret_0
  std::array<uint8_t, 48> server_secret{};
  std::array<uint8_t, 48> exporter_secret{};  // exporter_master_secret, for channel binding
  uint8_t exporter_bytes = 0;
  uint8_t client_bytes = 0;
  uint8_t server_bytes = 0;
  bool is_server = true;
  bool bad = false;         // a secret of no known size, or twice: never take over
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
  void OnSecret(std::string_view label, std::span<const uint8_t> secret);
};

// Listens to the SSL's records for `capture`; to nothing, with null.
void SetTlsCapture(ssl_st* ssl, TlsCapture* capture);

// While it lives, secrets that are derived on this thread are those of `capture` (null: nobody's).
// Stands around each call that may take a handshake on; the context must be one of NewTlsContext().
class TlsOverhear final : private TlsKdfListener {
 public:
  explicit TlsOverhear(TlsCapture* capture) : capture_(capture) {}

 private:
  void OnSecret(std::string_view label, std::span<const uint8_t> secret) override {
    if (capture_ != nullptr) capture_->OnSecret(label, secret);
  }

  TlsCapture* capture_;
};

}  // namespace net
