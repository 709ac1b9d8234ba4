#include "net/tls/context/tls_ticket_sealer.h"

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/params.h>

#include <algorithm>

#include "net/base/byte_reader.h"

namespace net {

namespace {

using Bytes = std::span<const uint8_t>;

constexpr size_t kNameBytes = 16;
constexpr size_t kNonceBytes = 12;
constexpr size_t kTagBytes = 16;
constexpr uint8_t kTicketFormat = 1;
constexpr size_t kContentMax = kTlsTicketBytesMax - kNameBytes - kNonceBytes - kTagBytes;
constexpr std::array<uint8_t, 32> kZeros{};

struct Content {
  std::array<uint8_t, kContentMax> bytes;
  size_t size = 0;
  ~Content() { OPENSSL_cleanse(bytes.data(), bytes.size()); }
};

EVP_CIPHER_CTX* NewContext(EVP_CIPHER* cipher, int encrypt) {
  EVP_CIPHER_CTX* context = EVP_CIPHER_CTX_new();
  if (context != nullptr &&
      EVP_CipherInit_ex(context, cipher, nullptr, kZeros.data(), kZeros.data(), encrypt) == 1) {
    return context;
  }
  EVP_CIPHER_CTX_free(context);
  return nullptr;
}

bool Cipher(EVP_CIPHER_CTX* context, Bytes in, uint8_t* out) {
  int written = 0;
  return EVP_CipherUpdate(context, out, &written, in.data(), static_cast<int>(in.size())) == 1;
}

std::array<OSSL_PARAM, 2> Tag(uint8_t* tag) {
  return {OSSL_PARAM_construct_octet_string(OSSL_CIPHER_PARAM_AEAD_TAG, tag, kTagBytes),
          OSSL_PARAM_construct_end()};
}

void Write(const TlsTicket& ticket, Content* content) {
  auto at = content->bytes.begin();
  *at++ = kTicketFormat;
  *at++ = static_cast<uint8_t>(ticket.suite);
  *at++ = ticket.signer;
  for (int shift = 56; shift >= 0; shift -= 8) *at++ = static_cast<uint8_t>(ticket.issued >> shift);
  at = std::ranges::copy(ticket.site, at).out;
  at = std::copy_n(ticket.psk.begin(), TlsSecretBytes(ticket.suite), at);
  content->size = static_cast<size_t>(at - content->bytes.begin());
}

std::optional<TlsTicket> Read(Bytes content) {
  ByteReader reader(content);
  const bool known = reader.Number(1) == kTicketFormat;
  const size_t suite = reader.Number(1);
  if (!known || suite > static_cast<size_t>(TlsSuite::kChaCha20Poly1305Sha256)) return {};
  TlsTicket ticket;
  ticket.suite = static_cast<TlsSuite>(suite);
  ticket.signer = static_cast<uint8_t>(reader.Number(1));
  ticket.issued = static_cast<int64_t>(reader.Number(8));
  std::ranges::copy(reader.Take(ticket.site.size()), ticket.site.begin());
  std::ranges::copy(reader.Take(TlsSecretBytes(ticket.suite)), ticket.psk.begin());
  if (!reader.done()) return {};
  return ticket;
}

}  // namespace

TlsTicket::~TlsTicket() { OPENSSL_cleanse(psk.data(), psk.size()); }

TlsTicketSealer::TlsTicketSealer() {
  EVP_CIPHER* cipher = EVP_CIPHER_fetch(nullptr, "AES-256-GCM", nullptr);
  if (cipher == nullptr) return;
  seal_ = NewContext(cipher, 1);
  open_ = NewContext(cipher, 0);
  EVP_CIPHER_free(cipher);
}

TlsTicketSealer::~TlsTicketSealer() {
  EVP_CIPHER_CTX_free(seal_);
  EVP_CIPHER_CTX_free(open_);
}

size_t TlsTicketSealer::Seal(const TlsTicketKeySet& keys, const TlsTicket& ticket,
                             std::span<const uint8_t, 12> nonce,
                             std::span<uint8_t, kTlsTicketBytesMax> out) {
  const TlsTicketSeal& with = keys.seals[TlsTicketKeySet::kCurrent];
  Content content;
  Write(ticket, &content);
  auto at = std::ranges::copy(with.name, out.begin()).out;
  at = std::ranges::copy(nonce, at).out;
  auto* sealed = &*at;
  uint8_t* tag = sealed + content.size;
  int none = 0;
  auto params = Tag(tag);
  keyed_ = true;
  if (EVP_CipherInit_ex(seal_, nullptr, nullptr, with.key.data(), nonce.data(), 1) != 1 ||
      !Cipher(seal_, with.name, nullptr) ||
      !Cipher(seal_, Bytes(content.bytes).first(content.size), sealed) ||
      EVP_CipherFinal_ex(seal_, tag, &none) != 1 ||
      EVP_CIPHER_CTX_get_params(seal_, params.data()) != 1) {
    return 0;
  }
  return kNameBytes + kNonceBytes + content.size + kTagBytes;
}

std::optional<TlsTicket> TlsTicketSealer::Open(const TlsTicketKeySet& keys, Bytes sealed) {
  if (sealed.size() <= kNameBytes + kNonceBytes + kTagBytes || sealed.size() > kTlsTicketBytesMax) {
    return {};
  }
  const Bytes name = sealed.first(kNameBytes);
  const auto with = std::ranges::find_if(
      keys.seals, [&](const TlsTicketSeal& seal) { return std::ranges::equal(seal.name, name); });
  if (with == keys.seals.end()) return {};
  const Bytes nonce = sealed.subspan(kNameBytes, kNonceBytes);
  const Bytes inner = sealed.subspan(kNameBytes + kNonceBytes,
                                     sealed.size() - kNameBytes - kNonceBytes - kTagBytes);
  std::array<uint8_t, kTagBytes> tag;
  std::ranges::copy(sealed.last(kTagBytes), tag.begin());
  auto params = Tag(tag.data());
  Content content;
  content.size = inner.size();
  int none = 0;
  std::array<uint8_t, kTagBytes> rest;
  keyed_ = true;
  if (EVP_CipherInit_ex(open_, nullptr, nullptr, with->key.data(), nonce.data(), 0) != 1 ||
      EVP_CIPHER_CTX_set_params(open_, params.data()) != 1 || !Cipher(open_, name, nullptr) ||
      !Cipher(open_, inner, content.bytes.data()) ||
      EVP_CipherFinal_ex(open_, rest.data(), &none) != 1) {
    return {};
  }
  return Read(Bytes(content.bytes).first(content.size));
}

void TlsTicketSealer::ForgetKeys() {
  if (!keyed_) return;
  EVP_CipherInit_ex(seal_, nullptr, nullptr, kZeros.data(), kZeros.data(), 1);
  EVP_CipherInit_ex(open_, nullptr, nullptr, kZeros.data(), kZeros.data(), 0);
  keyed_ = false;
}

}  // namespace net
