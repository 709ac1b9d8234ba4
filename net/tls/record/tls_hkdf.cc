#include "net/tls/record/tls_hkdf.h"

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/params.h>

#include <algorithm>
#include <string>

namespace net {

namespace {

constexpr size_t kLabelMax = 255;
constexpr size_t kContextMax = 255;
// HkdfLabel: the output's length, label and context with a length byte each; then the counter of
// HKDF-Expand's blocks.
constexpr size_t kInfoMax = 2 + 1 + kLabelMax + 1 + kContextMax + 1;
constexpr size_t kBlocksMax = 255;

constexpr std::array<uint8_t, 32> kEmptySha256 = {
    0xe3, 0xb0, 0xc4, 0x42, 0x98, 0xfc, 0x1c, 0x14, 0x9a, 0xfb, 0xf4, 0xc8, 0x99, 0x6f, 0xb9, 0x24,
    0x27, 0xae, 0x41, 0xe4, 0x64, 0x9b, 0x93, 0x4c, 0xa4, 0x95, 0x99, 0x1b, 0x78, 0x52, 0xb8, 0x55};
constexpr std::array<uint8_t, 48> kEmptySha384 = {
    0x38, 0xb0, 0x60, 0xa7, 0x51, 0xac, 0x96, 0x38, 0x4c, 0xd9, 0x32, 0x7e, 0xb1, 0xb1, 0xe3, 0x6a,
    0x21, 0xfd, 0xb7, 0x11, 0x14, 0xbe, 0x07, 0x43, 0x4c, 0x0c, 0xc7, 0xbf, 0x63, 0xf6, 0xe1, 0xda,
    0x27, 0x4e, 0xde, 0xbf, 0xe7, 0x6f, 0x65, 0xfb, 0xd5, 0x1a, 0xd2, 0xf1, 0x48, 0x98, 0xb9, 0x5b};

EVP_MAC_CTX* NewContext(EVP_MAC* mac, std::string digest) {
  const std::array<OSSL_PARAM, 2> params = {
      OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest.data(), 0),
      OSSL_PARAM_construct_end()};
  EVP_MAC_CTX* context = EVP_MAC_CTX_new(mac);
  if (context != nullptr && EVP_MAC_CTX_set_params(context, params.data()) == 1) return context;
  EVP_MAC_CTX_free(context);
  return nullptr;
}

}  // namespace

std::span<const uint8_t> TlsEmptyHash(TlsDigest digest) {
  if (digest == TlsDigest::kSha256) return kEmptySha256;
  return kEmptySha384;
}

TlsHkdf::TlsHkdf() {
  EVP_MAC* mac = EVP_MAC_fetch(nullptr, "HMAC", nullptr);
  if (mac == nullptr) return;
  contexts_ = {NewContext(mac, "SHA256"), NewContext(mac, "SHA384")};
  EVP_MAC_free(mac);
}

TlsHkdf::~TlsHkdf() {
  for (EVP_MAC_CTX* context : contexts_) EVP_MAC_CTX_free(context);
}

bool TlsHkdf::ok() const { return contexts_[0] != nullptr && contexts_[1] != nullptr; }

bool TlsHkdf::Hmac(TlsDigest digest, std::span<const uint8_t> key,
                   std::initializer_list<std::span<const uint8_t>> parts, std::span<uint8_t> out) {
  const auto index = static_cast<size_t>(digest);
  EVP_MAC_CTX* context = contexts_[index];
  if (context == nullptr || EVP_MAC_init(context, key.data(), key.size(), nullptr) != 1) {
    return false;
  }
  keyed_[index] = true;
  for (const auto& part : parts) {
    if (!part.empty() && EVP_MAC_update(context, part.data(), part.size()) != 1) return false;
  }
  size_t written = 0;
  return EVP_MAC_final(context, out.data(), &written, out.size()) == 1 &&
         written == TlsHashBytes(digest);
}

bool TlsHkdf::ExpandLabel(TlsDigest digest, std::span<const uint8_t> secret,
                          std::span<const uint8_t> prefix, std::span<const uint8_t> label,
                          std::span<const uint8_t> context, std::span<uint8_t> out) {
  const size_t hash_bytes = TlsHashBytes(digest);
  if (prefix.size() + label.size() > kLabelMax || context.size() > kContextMax ||
      out.size() > kBlocksMax * hash_bytes) {
    return false;
  }
  std::array<uint8_t, kInfoMax> info;
  auto end = info.begin();
  *end++ = static_cast<uint8_t>(out.size() >> 8U);
  *end++ = static_cast<uint8_t>(out.size());
  *end++ = static_cast<uint8_t>(prefix.size() + label.size());
  end = std::ranges::copy(prefix, end).out;
  end = std::ranges::copy(label, end).out;
  *end++ = static_cast<uint8_t>(context.size());
  end = std::ranges::copy(context, end).out;
  uint8_t& counter = *end++;

  std::array<uint8_t, kTlsHashMax> block;
  std::span<const uint8_t> before;
  bool ok = true;
  for (counter = 1; ok && !out.empty(); ++counter) {
    ok = Hmac(digest, secret, {before, {info.begin(), end}}, std::span(block).first(hash_bytes));
    const size_t take = std::min(out.size(), hash_bytes);
    if (ok) std::copy_n(block.begin(), take, out.begin());
    out = out.subspan(take);
    before = std::span(block).first(hash_bytes);
  }
  OPENSSL_cleanse(block.data(), block.size());
  return ok;
}

void TlsHkdf::ForgetKeys() {
  for (size_t i = 0; i < contexts_.size(); ++i) {
    if (keyed_[i]) EVP_MAC_init(contexts_[i], kTlsZeros.data(), kTlsZeros.size(), nullptr);
    keyed_[i] = false;
  }
}

}  // namespace net
