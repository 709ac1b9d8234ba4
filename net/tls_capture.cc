#include "net/tls_capture.h"

#include <openssl/crypto.h>
#include <openssl/ssl.h>

#include <algorithm>
#include <cstring>
#include <string_view>

namespace net {

namespace {

constexpr std::string_view kClientLabel = "CLIENT_TRAFFIC_SECRET_0 ";
constexpr std::string_view kServerLabel = "SERVER_TRAFFIC_SECRET_0 ";
constexpr std::string_view kExporterLabel = "EXPORTER_SECRET ";
constexpr size_t kRandomHex = 64;

int CaptureIndex() {
  static const int index = SSL_get_ex_new_index(0, nullptr, nullptr, nullptr, nullptr);
  return index;
}

int HexValue(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

// "<64 hex of the client random> <secret in hex>"; 0 bytes when it is anything else.
uint8_t ParseSecret(std::string_view line, std::array<uint8_t, 48>* secret) {
  if (line.size() < kRandomHex + 1 || line[kRandomHex] != ' ') return 0;
  for (size_t i = 0; i < kRandomHex; ++i) {
    if (HexValue(line[i]) < 0) return 0;
  }
  line.remove_prefix(kRandomHex + 1);
  if (line.size() != 64 && line.size() != 96) return 0;
  for (size_t i = 0; i < line.size(); i += 2) {
    int high = HexValue(line[i]);
    int low = HexValue(line[i + 1]);
    if (high < 0 || low < 0) return 0;
    (*secret)[i / 2] = static_cast<uint8_t>(high << 4 | low);
  }
  return static_cast<uint8_t>(line.size() / 2);
}

void OnKeylog(const SSL* ssl, const char* line) {
  auto* capture = static_cast<TlsCapture*>(SSL_get_ex_data(ssl, CaptureIndex()));
  if (capture != nullptr) capture->OnKeylogLine(line);
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

void TlsCapture::OnKeylogLine(const char* line) {
  std::string_view text(line);
  if (text.starts_with(kExporterLabel)) {
    // Only a shortcut: without it OpenSSL computes the exporter.
    exporter_bytes = ParseSecret(text.substr(kExporterLabel.size()), &exporter_secret);
    return;
  }
  bool client = text.starts_with(kClientLabel);
  if (!client && !text.starts_with(kServerLabel)) return;
  text.remove_prefix(kClientLabel.size());
  uint8_t& bytes = client ? client_bytes : server_bytes;
  if (bytes != 0) {
    bad = true;
    return;
  }
  bytes = ParseSecret(text, client ? &client_secret : &server_secret);
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

void InstallTlsCapture(SSL_CTX* context) { SSL_CTX_set_keylog_callback(context, OnKeylog); }

void SetTlsCapture(SSL* ssl, TlsCapture* capture) {
  SSL_set_ex_data(ssl, CaptureIndex(), capture);
  SSL_set_msg_callback(ssl, capture == nullptr ? nullptr : OnMessage);
  SSL_set_msg_callback_arg(ssl, capture);
}

}  // namespace net
