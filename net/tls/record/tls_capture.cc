#include "net/tls/record/tls_capture.h"

#include <openssl/crypto.h>
#include <openssl/ssl.h>

#include <algorithm>
#include <string_view>

namespace net {

namespace {

constexpr std::string_view kClientLabel = "c ap traffic";
constexpr std::string_view kServerLabel = "s ap traffic";
constexpr std::string_view kExporterLabel = "exp master";

// The secret's size; 0 when no hash of TLS 1.3 has it.
uint8_t Copy(std::span<const uint8_t> secret, std::array<uint8_t, 48>* to) {
  if (secret.size() != 32 && secret.size() != 48) return 0;
  std::copy(secret.begin(), secret.end(), to->begin());
  return static_cast<uint8_t>(secret.size());
}

// OpenSSL calls this with SSL3_RT_HEADER once for each record, either way.
void OnMessage(int write, int, int content_type, const void* data, size_t length, SSL*, void* arg) {
  auto* capture = static_cast<TlsCapture*>(arg);
  if (capture == nullptr || length == 0) return;
  uint8_t first = *static_cast<const uint8_t*>(data);
  if (content_type == SSL3_RT_HANDSHAKE && first == SSL3_MT_KEY_UPDATE) capture->key_update = true;
  if (content_type != SSL3_RT_HEADER || first != SSL3_RT_APPLICATION_DATA) return;
  if (write != 0) {
    if (capture->own_key_set()) ++capture->tx_records;
  } else if (capture->peer_key_set()) {
    ++capture->rx_records;
  }
}

}  // namespace

TlsCapture::~TlsCapture() {
  OPENSSL_cleanse(client_secret.data(), client_secret.size());
  OPENSSL_cleanse(server_secret.data(), server_secret.size());
  OPENSSL_cleanse(exporter_secret.data(), exporter_secret.size());
}

void TlsCapture::OnSecret(std::string_view label, std::span<const uint8_t> secret) {
  if (label == kExporterLabel) {
    // Only a shortcut: without it OpenSSL computes the exporter.
    exporter_bytes = Copy(secret, &exporter_secret);
    return;
  }
  const bool client = label == kClientLabel;
  if (!client && label != kServerLabel) return;
  uint8_t& bytes = client ? client_bytes : server_bytes;
  if (bytes != 0) {
    bad = true;
    return;
  }
  bytes = Copy(secret, client ? &client_secret : &server_secret);
  if (bytes == 0) bad = true;
}

void TlsCapture::OnWire(std::span<const uint8_t> bytes) {
  while (!bytes.empty()) {
    if (body_left > 0) {
      size_t skip = std::min(body_left, bytes.size());
      body_left -= skip;
      bytes = bytes.subspan(skip);
      continue;
    }
    header[header_bytes++] = bytes[0];
    bytes = bytes.subspan(1);
    if (header_bytes < header.size()) continue;
    header_bytes = 0;
    body_left = static_cast<size_t>(header[3]) << 8 | header[4];
    if (count_wire && header[0] == SSL3_RT_APPLICATION_DATA) ++tx_records_on_wire;
  }
}

void SetTlsCapture(SSL* ssl, TlsCapture* capture) {
  SSL_set_msg_callback(ssl, capture == nullptr ? nullptr : OnMessage);
  SSL_set_msg_callback_arg(ssl, capture);
}

}  // namespace net
