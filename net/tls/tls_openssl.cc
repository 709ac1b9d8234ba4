#include "net/tls/tls_openssl.h"

#include <openssl/bio.h>
#include <openssl/crypto.h>
#include <openssl/ssl.h>

#include <algorithm>
#include <cstring>

#include "net/base/check.h"

namespace net {

namespace {

int BioRead(BIO* bio, char* to, int length) {
  BIO_clear_retry_flags(bio);
  int n = static_cast<TlsBio*>(BIO_get_data(bio))->Read(to, length);
  if (n <= 0) BIO_set_retry_read(bio);
  return n;
}

int BioWrite(BIO* bio, const char* from, int length) {
  BIO_clear_retry_flags(bio);
  return static_cast<TlsBio*>(BIO_get_data(bio))->Write(from, length);
}

long BioControl(BIO*, int command, long, void*) { return command == BIO_CTRL_FLUSH ? 1 : 0; }

const BIO_METHOD* Method() {
  static BIO_METHOD* const method = [] {
    BIO_METHOD* made = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "relay buffers");
    CHECK(made != nullptr);
    BIO_meth_set_read(made, BioRead);
    BIO_meth_set_write(made, BioWrite);
    BIO_meth_set_ctrl(made, BioControl);
    return made;
  }();
  return method;
}

}  // namespace

TlsOpenSsl::~TlsOpenSsl() {
  if (ssl != nullptr) {
    // Without this OpenSSL takes the end for an abortive one and drops the session it cached.
    SSL_set_shutdown(ssl, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
    SetTlsCapture(ssl, nullptr);
    SSL_free(ssl);
  }
}

size_t TlsOpenSsl::TakeSpill(std::span<uint8_t> out) {
  size_t n = std::min(spilled(), out.size());
  if (n == 0) return 0;
  std::memcpy(out.data(), spill.data() + spill_at, n);
  spill_at += n;
  if (spill_at == spill.size()) {
    spill = {};
    spill_at = 0;
  }
  return n;
}

TlsBio::TlsBio() {
  bio_ = BIO_new(Method());
  if (bio_ == nullptr) return;
  BIO_set_data(bio_, this);
  BIO_set_init(bio_, 1);
}

TlsBio::~TlsBio() { BIO_free(bio_); }

void TlsBio::Attach(TlsOpenSsl* session, std::span<uint8_t> in, std::span<uint8_t> out) {
  DCHECK(session_ == nullptr);
  session_ = session;
  in_ = in;
  out_ = out;
  produced_ = 0;
  if (session->capture) session->capture->count_wire = session->capture->own_key_set();
  BIO_up_ref(bio_);  // SSL_set_bio takes one reference for both directions
  SSL_set_bio(session->ssl, bio_, bio_);
}

void TlsBio::Detach() {
  if (session_->ssl != nullptr) SSL_set_bio(session_->ssl, nullptr, nullptr);
  session_ = nullptr;
  in_ = {};
  out_ = {};
}

int TlsBio::Read(char* to, int length) {
  size_t n = std::min(static_cast<size_t>(length), in_.size());
  if (n == 0) return -1;
  std::memcpy(to, in_.data(), n);
  in_ = in_.subspan(n);
  return static_cast<int>(n);
}

int TlsBio::Write(const char* from, int length) {
  if (length <= 0) return 0;
  session_->wrote = true;
  std::span<const uint8_t> bytes(reinterpret_cast<const uint8_t*>(from),
                                 static_cast<size_t>(length));
  if (session_->spilled() + bytes.size() > TlsOpenSsl::kSpillMax) return -1;
  if (session_->capture) session_->capture->OnWire(bytes);
  size_t direct = session_->spilled() > 0 ? 0 : std::min(bytes.size(), out_.size());
  if (direct > 0) std::memcpy(out_.data(), bytes.data(), direct);
  out_ = out_.subspan(direct);
  produced_ += direct;
  session_->spill.insert(session_->spill.end(), bytes.begin() + static_cast<long>(direct),
                         bytes.end());
  return length;
}

}  // namespace net
