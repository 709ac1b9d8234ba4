// Peers for tests of the TLS engine: plain OpenSSL on memory BIOs, and helpers that move bytes
// between it and an engine, or between two engines.
#pragma once

#include <openssl/ssl.h>

#include <functional>
#include <initializer_list>
#include <string>
#include <string_view>
#include <vector>

#include "net/tls/tls_engine.h"

namespace net {

using Bytes = std::vector<uint8_t>;

inline Bytes ToBytes(std::string_view text) { return Bytes(text.begin(), text.end()); }
inline std::string ToText(const Bytes& bytes) { return std::string(bytes.begin(), bytes.end()); }
// Braces, unlike +, fix the order in which parts are made.
inline Bytes Cat(std::initializer_list<Bytes> parts) {
  Bytes all;
  for (const Bytes& part : parts) all.insert(all.end(), part.begin(), part.end());
  return all;
}

// One end in plain OpenSSL.
class OpenSslPeer {
 public:
  OpenSslPeer(SSL_CTX* context, bool server) : ssl_(SSL_new(context)) {
    in_ = BIO_new(BIO_s_mem());
    out_ = BIO_new(BIO_s_mem());
    BIO_set_mem_eof_return(in_, -1);
    BIO_set_mem_eof_return(out_, -1);
    SSL_set_bio(ssl_, in_, out_);
    if (server) {
      SSL_set_accept_state(ssl_);
    } else {
      SSL_set_connect_state(ssl_);
    }
  }
  ~OpenSslPeer() {
    SSL_set_shutdown(ssl_, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
    SSL_free(ssl_);
  }
  OpenSslPeer(const OpenSslPeer&) = delete;
  OpenSslPeer& operator=(const OpenSslPeer&) = delete;

  SSL* ssl() { return ssl_; }
  void Give(const Bytes& bytes) {
    if (!bytes.empty()) BIO_write(in_, bytes.data(), static_cast<int>(bytes.size()));
  }
  Bytes Take() {
    Bytes bytes(BIO_ctrl_pending(out_));
    if (!bytes.empty()) BIO_read(out_, bytes.data(), static_cast<int>(bytes.size()));
    return bytes;
  }
  int Handshake() { return SSL_do_handshake(ssl_); }
  void Write(const Bytes& bytes) {
    size_t at = 0;
    while (at < bytes.size()) {
      size_t n = 0;
      if (SSL_write_ex(ssl_, bytes.data() + at, bytes.size() - at, &n) != 1) return;
      at += n;
    }
  }
  // Reads what there is; the last error is kept in read_error().
  Bytes Read() {
    Bytes all;
    Bytes block(20'000);
    size_t n = 0;
    int result = 0;
    while ((result = SSL_read_ex(ssl_, block.data(), block.size(), &n)) == 1) {
      all.insert(all.end(), block.begin(), block.begin() + static_cast<long>(n));
    }
    read_error_ = SSL_get_error(ssl_, result);
    return all;
  }
  int read_error() const { return read_error_; }

 private:
  SSL* ssl_;
  BIO* in_ = nullptr;
  BIO* out_ = nullptr;
  int read_error_ = 0;
};

// Feeds all of `wire` in pieces of at most `piece` bytes; returns the plaintext.
inline Bytes FeedAll(TlsEngine& engine, const Bytes& wire, size_t piece = SIZE_MAX,
                     bool* handshake_done = nullptr) {
  Bytes got;
  for (size_t at = 0; at < wire.size();) {
    size_t n = std::min(piece, wire.size() - at);
    Bytes copy(wire.begin() + static_cast<long>(at), wire.begin() + static_cast<long>(at + n));
    std::span<uint8_t> rest(copy);
    TlsNext next = TlsNext::kAgain;
    while (next == TlsNext::kAgain) {
      TlsPlaintext plain;
      TlsFeed feed = engine.Feed(rest, &plain);
      for (std::span<uint8_t> span : plain.view()) got.insert(got.end(), span.begin(), span.end());
      if (handshake_done != nullptr) *handshake_done |= feed.handshake_done;
      rest = rest.subspan(feed.consumed);
      next = feed.next;
      if (feed.state == TlsState::kFailed) return got;
    }
    at += n;
  }
  engine.Release();
  return got;
}

inline Bytes FlushAll(TlsEngine& engine) {
  Bytes all;
  Bytes block(4096);
  while (engine.wants_output()) {
    size_t n = engine.Flush(block);
    if (n == 0) break;
    all.insert(all.end(), block.begin(), block.begin() + static_cast<long>(n));
  }
  return all;
}

inline Bytes WriteAll(TlsEngine& engine, const Bytes& plain, size_t room = 20'000) {
  Bytes all;
  Bytes block(room);
  std::span<const uint8_t> rest(plain);
  while (!rest.empty()) {
    TlsSealed sealed = engine.Write(std::span(&rest, 1), block);
    all.insert(all.end(), block.begin(), block.begin() + static_cast<long>(sealed.produced));
    rest = rest.subspan(sealed.consumed);
    if (sealed.consumed == 0 && sealed.produced == 0) break;
  }
  return all;
}

}  // namespace net
