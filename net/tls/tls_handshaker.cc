#include "net/tls/tls_handshaker.h"

#include <openssl/evp.h>

#include <string>

#include "net/base/byte_reader.h"
#include "net/base/byte_writer.h"
#include "net/base/check.h"
#include "net/tls/context/tls_handshake_plan.h"

namespace net {

namespace {

using Bytes = std::span<const uint8_t>;
using Output = std::vector<uint8_t>;

constexpr uint8_t kCertificateVerify = 15;

}  // namespace

TlsHandshaker::TlsHandshaker(TlsRecordPool* records)
    : records_(records),
      digests_{EVP_MD_fetch(nullptr, "SHA256", nullptr), EVP_MD_fetch(nullptr, "SHA384", nullptr)},
      transcript_(EVP_MD_CTX_new()),
      scratch_(EVP_MD_CTX_new()),
      keygen_(EVP_PKEY_CTX_new_from_name(nullptr, "X25519", nullptr)) {
  if (keygen_ != nullptr && EVP_PKEY_keygen_init(keygen_.get()) != 1) keygen_.reset();
  EVP_PKEY* peer = nullptr;
  if (keygen_ != nullptr && EVP_PKEY_generate(keygen_.get(), &peer) == 1) peer_.reset(peer);
  for (TlsDigest digest : {TlsDigest::kSha256, TlsDigest::kSha384}) {
    const size_t size = TlsHashBytes(digest);
    Secret early;
    const std::span<uint8_t> used = std::span(early).first(size);
    if (!hkdf_.ok() ||
        !hkdf_.Hmac(digest, Bytes(kTlsZeros).first(size), {Bytes(kTlsZeros).first(size)}, used) ||
        !Expand(digest, used, "derived", TlsEmptyHash(digest),
                std::span(no_psk_[static_cast<size_t>(digest)]).first(size))) {
      keygen_.reset();
    }
  }
}

TlsHandshaker::~TlsHandshaker() {
  for (EVP_MD* digest : digests_) EVP_MD_free(digest);
  EVP_MD_CTX_free(transcript_);
  EVP_MD_CTX_free(scratch_);
}

bool TlsHandshaker::ok() const {
  return keygen_ != nullptr && peer_ != nullptr && hkdf_.ok() && sealer_.ok() &&
         digests_[0] != nullptr && digests_[1] != nullptr && transcript_ != nullptr &&
         scratch_ != nullptr;
}

void TlsHandshaker::EndTurn() {
  hkdf_.ForgetKeys();
  sealer_.ForgetKeys();
}

bool TlsHandshaker::Begin(TlsDigest digest) {
  digest_ = digest;
  return EVP_DigestInit_ex2(transcript_, digests_[static_cast<size_t>(digest)], nullptr) == 1;
}

bool TlsHandshaker::Add(Bytes bytes) {
  return EVP_DigestUpdate(transcript_, bytes.data(), bytes.size()) == 1;
}

bool TlsHandshaker::HashSoFar(std::span<uint8_t> out) {
  DCHECK(out.size() == TlsHashBytes(digest_));
  return EVP_MD_CTX_copy_ex(scratch_, transcript_) == 1 &&
         EVP_DigestFinal_ex(scratch_, out.data(), nullptr) == 1;
}

bool TlsHandshaker::Exchange(Bytes theirs, std::span<uint8_t, 32> share,
                             std::span<uint8_t, 32> secret) {
  EVP_PKEY* made = nullptr;
  if (EVP_PKEY_generate(keygen_.get(), &made) != 1) return false;
  const KeyPtr own(made);
  size_t share_size = share.size();
  size_t secret_size = secret.size();
  const PkeyContextPtr derive(EVP_PKEY_CTX_new_from_pkey(nullptr, own.get(), nullptr));
  // Fails for a share of low order, whose secret would be zeros (RFC 7748 section 6.1).
  return derive != nullptr &&
         EVP_PKEY_set1_encoded_public_key(peer_.get(), theirs.data(), theirs.size()) == 1 &&
         EVP_PKEY_get_raw_public_key(own.get(), share.data(), &share_size) == 1 &&
         EVP_PKEY_derive_init(derive.get()) == 1 &&
         EVP_PKEY_derive_set_peer_ex(derive.get(), peer_.get(), 0) == 1 &&
         EVP_PKEY_derive(derive.get(), secret.data(), &secret_size) == 1 &&
         share_size == share.size() && secret_size == secret.size();
}

// RFC 8446 section 4.4.3.
bool TlsHandshaker::Sign(const TlsSigner& signer, Bytes transcript, Output* message) {
  static const std::string kBefore =
      std::string(64, ' ') + "TLS 1.3, server CertificateVerify" + std::string(1, '\0');
  std::array<uint8_t, kTlsHashMax> hash;
  const std::span<uint8_t> used = std::span(hash).first(TlsHashBytes(signer.digest));
  const PkeyContextPtr context(EVP_PKEY_CTX_dup(signer.prepared.get()));
  size_t size = 0;
  if (context == nullptr ||
      EVP_DigestInit_ex2(scratch_, digests_[static_cast<size_t>(signer.digest)], nullptr) != 1 ||
      EVP_DigestUpdate(scratch_, kBefore.data(), kBefore.size()) != 1 ||
      EVP_DigestUpdate(scratch_, transcript.data(), transcript.size()) != 1 ||
      EVP_DigestFinal_ex(scratch_, hash.data(), nullptr) != 1 ||
      EVP_PKEY_sign(context.get(), nullptr, &size, used.data(), used.size()) != 1) {
    return false;
  }
  message->push_back(kCertificateVerify);
  const Sized body(message, 3);
  AppendNumber(message, signer.scheme, 2);
  const Sized signature(message, 2);
  const size_t at = message->size();
  message->resize(at + size);
  const bool ok =
      EVP_PKEY_sign(context.get(), message->data() + at, &size, used.data(), used.size()) == 1;
  message->resize(at + (ok ? size : 0));
  return ok;
}

bool TlsHandshaker::Expand(TlsDigest digest, Bytes secret, std::string_view label, Bytes context,
                           std::span<uint8_t> out) {
  return hkdf_.ExpandLabel(digest, secret, BytesOf("tls13 "), BytesOf(label), context, out);
}

}  // namespace net
