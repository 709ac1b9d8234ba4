#include "net/tls/record/tls_record.h"

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/params.h>

#include <cstdlib>
#include <cstring>

#include "net/base/check.h"
#include "net/tls/record/tls_hkdf.h"

namespace net {

namespace {

struct SuiteInfo {
  const char* cipher;
  uint16_t code;
  uint8_t key_bytes;
  uint8_t secret_bytes;
};

constexpr std::array<SuiteInfo, 3> kSuites = {{
    {"AES-128-GCM", 0x1301, 16, 32},
    {"AES-256-GCM", 0x1302, 32, 48},
    {"ChaCha20-Poly1305", 0x1303, 32, 32},
}};

const SuiteInfo& Info(TlsSuite suite) { return kSuites[static_cast<size_t>(suite)]; }

constexpr std::array<size_t, 4> kStagingBytes = {512, 2048, 8192, kTlsMaxRecordBytes};

// Up to here a record is gathered behind its header and sealed in one call; above, each piece is
// sealed from where it lies, since copying would cost more than another call.
constexpr size_t kGatherBytes = 2048;

struct CipherSlot {
  EVP_CIPHER_CTX* context = nullptr;
  std::array<uint8_t, 32> key{};
  bool keyed = false;  // holds a key other than zeros
};

std::array<uint8_t, 12> Nonce(const TlsDirection& direction) {
  std::array<uint8_t, 12> nonce = direction.iv;
  for (size_t i = 0; i < 8; ++i) {
    nonce[11 - i] = static_cast<uint8_t>(nonce[11 - i] ^ (direction.seq >> (8 * i)));
  }
  return nonce;
}

bool Update(EVP_CIPHER_CTX* context, uint8_t* out, const uint8_t* in, size_t length) {
  int written = 0;
  return EVP_CipherUpdate(context, out, &written, in, static_cast<int>(length)) == 1;
}

}  // namespace

std::string_view ToString(TlsSuite suite) {
  switch (suite) {
    case TlsSuite::kAes128GcmSha256:
      return "TLS_AES_128_GCM_SHA256";
    case TlsSuite::kAes256GcmSha384:
      return "TLS_AES_256_GCM_SHA384";
    case TlsSuite::kChaCha20Poly1305Sha256:
      return "TLS_CHACHA20_POLY1305_SHA256";
  }
  return "?";
}

std::string_view ToString(TlsAlert alert) {
  switch (alert) {
    case TlsAlert::kCloseNotify:
      return "close_notify";
    case TlsAlert::kUnexpectedMessage:
      return "unexpected_message";
    case TlsAlert::kBadRecordMac:
      return "bad_record_mac";
    case TlsAlert::kRecordOverflow:
      return "record_overflow";
    case TlsAlert::kHandshakeFailure:
      return "handshake_failure";
    case TlsAlert::kIllegalParameter:
      return "illegal_parameter";
    case TlsAlert::kDecodeError:
      return "decode_error";
    case TlsAlert::kDecryptError:
      return "decrypt_error";
    case TlsAlert::kInternalError:
      return "internal_error";
    case TlsAlert::kUserCanceled:
      return "user_canceled";
    case TlsAlert::kNone:
      return "none";
  }
  return "other";
}

uint16_t TlsSuiteCode(TlsSuite suite) { return Info(suite).code; }
TlsDigest TlsDigestOf(TlsSuite suite) {
  return suite == TlsSuite::kAes256GcmSha384 ? TlsDigest::kSha384 : TlsDigest::kSha256;
}
size_t TlsSecretBytes(TlsSuite suite) { return Info(suite).secret_bytes; }
size_t TlsKeyBytes(TlsSuite suite) { return Info(suite).key_bytes; }

void WipeTlsState(TlsRecordState* state) {
  OPENSSL_cleanse(&state->rx, sizeof(state->rx));
  OPENSSL_cleanse(&state->tx, sizeof(state->tx));
  state->rx.seq = UINT64_MAX;
  state->tx.seq = UINT64_MAX;
}

struct TlsRecordPool::Crypto {
  std::array<CipherSlot, 3> seal;
  std::array<CipherSlot, 3> open;
  TlsHkdf hkdf;

  ~Crypto() {
    for (CipherSlot& slot : seal) Free(&slot);
    for (CipherSlot& slot : open) Free(&slot);
  }

  static void Free(CipherSlot* slot) {
    EVP_CIPHER_CTX_free(slot->context);
    OPENSSL_cleanse(slot->key.data(), slot->key.size());
  }

  static bool Init(CipherSlot* slot, EVP_CIPHER* cipher, int encrypt) {
    const std::array<uint8_t, 32> zeros{};
    slot->context = EVP_CIPHER_CTX_new();
    return slot->context != nullptr && EVP_CipherInit_ex(slot->context, cipher, nullptr,
                                                         zeros.data(), zeros.data(), encrypt) == 1;
  }

  bool InitCiphers() {
    for (size_t i = 0; i < kSuites.size(); ++i) {
      EVP_CIPHER* cipher = EVP_CIPHER_fetch(nullptr, kSuites[i].cipher, nullptr);
      bool ok = cipher != nullptr && Init(&seal[i], cipher, 1) && Init(&open[i], cipher, 0);
      EVP_CIPHER_free(cipher);  // the contexts hold their own reference
      if (!ok) return false;
    }
    return true;
  }
};

// What the primitives need of the pool's inside.
struct TlsRecordOps {
  // Sets nonce and, where the slot holds another one, the key.
  static EVP_CIPHER_CTX* Load(CipherSlot* slot, TlsSuite suite, const TlsDirection& direction,
                              int encrypt) {
    size_t key_bytes = Info(suite).key_bytes;
    const uint8_t* key = nullptr;
    if (!slot->keyed || std::memcmp(slot->key.data(), direction.key.data(), key_bytes) != 0) {
      key = direction.key.data();
      std::memcpy(slot->key.data(), key, key_bytes);
      slot->keyed = true;
    }
    std::array<uint8_t, 12> nonce = Nonce(direction);
    if (EVP_CipherInit_ex(slot->context, nullptr, nullptr, key, nonce.data(), encrypt) != 1) {
      slot->keyed = false;
      return nullptr;
    }
    return slot->context;
  }
  static EVP_CIPHER_CTX* LoadSeal(TlsRecordPool& pool, const TlsRecordState& state) {
    return Load(&pool.crypto_->seal[static_cast<size_t>(state.suite)], state.suite, state.tx, 1);
  }
  static EVP_CIPHER_CTX* LoadOpen(TlsRecordPool& pool, const TlsRecordState& state) {
    return Load(&pool.crypto_->open[static_cast<size_t>(state.suite)], state.suite, state.rx, 0);
  }

  static bool ExpandLabel(TlsRecordPool& pool, TlsSuite suite, const uint8_t* secret,
                          std::string_view label, std::span<uint8_t> out,
                          std::span<const uint8_t> context = {}) {
    constexpr std::array<uint8_t, 6> kPrefix = {'t', 'l', 's', '1', '3', ' '};
    return pool.crypto_->hkdf.ExpandLabel(
        TlsDigestOf(suite), {secret, Info(suite).secret_bytes}, kPrefix,
        {reinterpret_cast<const uint8_t*>(label.data()), label.size()}, context, out);
  }

  static bool Derive(TlsRecordPool& pool, TlsSuite suite, TlsDirection* direction) {
    direction->seq = 0;
    return ExpandLabel(pool, suite, direction->secret.data(), "key",
                       std::span(direction->key).first(Info(suite).key_bytes)) &&
           ExpandLabel(pool, suite, direction->secret.data(), "iv", direction->iv);
  }
};

TlsRecordPool::TlsRecordPool() : crypto_(std::make_unique<Crypto>()) {}

TlsRecordPool::~TlsRecordPool() {
  for (TlsStaging*& list : free_) {
    while (list != nullptr) {
      TlsStaging* next = list->next;
      std::free(list);
      list = next;
    }
  }
}

std::expected<std::unique_ptr<TlsRecordPool>, std::string> TlsRecordPool::Create() {
  std::unique_ptr<TlsRecordPool> pool(new TlsRecordPool);
  if (!pool->crypto_->InitCiphers() || !pool->crypto_->hkdf.ok()) {
    return std::unexpected(
        "OpenSSL does not offer AES-GCM, ChaCha20-Poly1305 and HMAC; check the providers in "
        "openssl.cnf");
  }
  return pool;
}

void TlsRecordPool::EndTurn() {
  const std::array<uint8_t, 32> zeros{};
  auto rekey = [&zeros](CipherSlot* slot, int encrypt) {
    if (!slot->keyed) return;
    EVP_CipherInit_ex(slot->context, nullptr, nullptr, zeros.data(), zeros.data(), encrypt);
    OPENSSL_cleanse(slot->key.data(), slot->key.size());
    slot->keyed = false;
  };
  for (CipherSlot& slot : crypto_->seal) rekey(&slot, 1);
  for (CipherSlot& slot : crypto_->open) rekey(&slot, 0);
  crypto_->hkdf.ForgetKeys();
}

TlsStaging* TlsRecordPool::GetStaging(size_t bytes) {
  size_t size_class = 0;
  while (size_class < kStagingBytes.size() && kStagingBytes[size_class] < bytes) ++size_class;
  DCHECK(size_class < kStagingBytes.size());
  if (size_class == kStagingBytes.size()) return nullptr;
  TlsStaging* staging = free_[size_class];
  if (staging != nullptr) {
    free_[size_class] = staging->next;
    --free_count_[size_class];
  } else {
    staging = static_cast<TlsStaging*>(std::malloc(sizeof(TlsStaging) + kStagingBytes[size_class]));
    if (staging == nullptr) return nullptr;
  }
  *staging = {.next = nullptr,
              .used = 0,
              .size_class = static_cast<uint16_t>(size_class),
              .delivered = false};
  ++staging_in_use_;
  return staging;
}

void TlsRecordPool::ReturnStaging(TlsStaging* staging) {
  DCHECK(staging_in_use_ > 0);
  --staging_in_use_;
  OPENSSL_cleanse(staging->data(), staging->used);
  size_t size_class = staging->size_class;
  if (free_count_[size_class] >= kMaxFree) {
    std::free(staging);
    return;
  }
  staging->next = free_[size_class];
  free_[size_class] = staging;
  ++free_count_[size_class];
}

size_t TlsRecordPool::StagingCapacity(const TlsStaging& staging) {
  return kStagingBytes[staging.size_class];
}

bool StartTlsRecords(TlsRecordPool& pool, TlsSuite suite, bool is_client,
                     std::span<const uint8_t> rx_secret, std::span<const uint8_t> tx_secret,
                     TlsRecordState* state) {
  size_t secret_bytes = TlsSecretBytes(suite);
  *state = TlsRecordState{};
  if (rx_secret.size() != secret_bytes || tx_secret.size() != secret_bytes) return false;
  state->suite = suite;
  state->is_client = is_client ? 1 : 0;
  state->max_plaintext = kTlsMaxPlaintext;
  std::memcpy(state->rx.secret.data(), rx_secret.data(), secret_bytes);
  std::memcpy(state->tx.secret.data(), tx_secret.data(), secret_bytes);
  if (TlsRecordOps::Derive(pool, suite, &state->rx) &&
      TlsRecordOps::Derive(pool, suite, &state->tx)) {
    return true;
  }
  OPENSSL_cleanse(state, sizeof(*state));
  return false;
}

bool NextTlsKey(TlsRecordPool& pool, TlsSuite suite, TlsDirection* direction) {
  std::array<uint8_t, 48> next;
  std::span<uint8_t> used = std::span(next).first(TlsSecretBytes(suite));
  bool ok = TlsRecordOps::ExpandLabel(pool, suite, direction->secret.data(), "traffic upd", used);
  if (ok) std::memcpy(direction->secret.data(), used.data(), used.size());
  OPENSSL_cleanse(next.data(), next.size());
  return ok && TlsRecordOps::Derive(pool, suite, direction);
}

bool TlsExport(TlsRecordPool& pool, TlsSuite suite, std::span<const uint8_t> exporter_secret,
               std::string_view label, std::span<uint8_t> out) {
  size_t secret_bytes = TlsSecretBytes(suite);
  if (exporter_secret.size() != secret_bytes || label.size() > 32 || out.size() > 32) return false;
  const std::span<const uint8_t> empty_hash = TlsEmptyHash(TlsDigestOf(suite));
  std::array<uint8_t, 48> derived;
  bool ok = TlsRecordOps::ExpandLabel(pool, suite, exporter_secret.data(), label,
                                      std::span(derived).first(secret_bytes), empty_hash) &&
            TlsRecordOps::ExpandLabel(pool, suite, derived.data(), "exporter", out, empty_hash);
  OPENSSL_cleanse(derived.data(), derived.size());
  return ok;
}

namespace {

// Everything of the record but its header and tag. The content type and the padding follow the
// plaintext; both are part of what is encrypted.
bool SealInner(EVP_CIPHER_CTX* context, TlsContentType type, TlsInput* input, size_t length,
               size_t padding, uint8_t* inner) {
  if (length + padding <= kGatherBytes) {
    for (size_t at = 0; at < length;) {
      std::span<const uint8_t> piece = input->Next(length - at);
      std::memmove(inner + at, piece.data(), piece.size());
      at += piece.size();
    }
    inner[length] = static_cast<uint8_t>(type);
    std::memset(inner + length + 1, 0, padding);
    return Update(context, inner, inner, length + 1 + padding);
  }
  for (size_t at = 0; at < length;) {
    std::span<const uint8_t> piece = input->Next(length - at);
    if (!Update(context, inner + at, piece.data(), piece.size())) return false;
    at += piece.size();
  }
  inner[length] = static_cast<uint8_t>(type);
  std::memset(inner + length + 1, 0, padding);
  return Update(context, inner + length, inner + length, 1 + padding);
}

bool FinishSeal(EVP_CIPHER_CTX* context, uint8_t* tag) {
  int none = 0;
  std::array<OSSL_PARAM, 2> params = {
      OSSL_PARAM_construct_octet_string(OSSL_CIPHER_PARAM_AEAD_TAG, tag, kTlsTagBytes),
      OSSL_PARAM_construct_end()};
  return EVP_CipherFinal_ex(context, tag, &none) == 1 &&
         EVP_CIPHER_CTX_get_params(context, params.data()) == 1;
}

}  // namespace

size_t SealTlsRecord(TlsRecordPool& pool, TlsRecordState* state, TlsContentType type,
                     TlsInput* input, size_t length, size_t padding, std::span<uint8_t> out) {
  DCHECK(input->remaining() >= length);
  size_t payload = length + 1 + padding + kTlsTagBytes;
  if (length + padding > state->max_plaintext || out.size() < kTlsHeaderBytes + payload ||
      state->tx.seq == UINT64_MAX) {
    return 0;
  }
  uint8_t* record = out.data();
  // In-place input may stand right behind the header, so the header is written where it belongs
  // without touching a byte of it.
  record[0] = static_cast<uint8_t>(TlsContentType::kApplicationData);
  record[1] = 3;
  record[2] = 3;
  record[3] = static_cast<uint8_t>(payload >> 8);
  record[4] = static_cast<uint8_t>(payload);
  uint8_t* inner = record + kTlsHeaderBytes;
  EVP_CIPHER_CTX* context = TlsRecordOps::LoadSeal(pool, *state);
  if (context == nullptr || !Update(context, nullptr, record, kTlsHeaderBytes) ||
      !SealInner(context, type, input, length, padding, inner) ||
      !FinishSeal(context, inner + length + 1 + padding)) {
    OPENSSL_cleanse(record, kTlsHeaderBytes + payload);
    WipeTlsState(state);
    return 0;
  }
  ++state->tx.seq;
  return kTlsHeaderBytes + payload;
}

namespace {

// The two pieces of a record's payload, seen as one.
struct Pieces {
  std::span<uint8_t> head;
  std::span<uint8_t> tail;

  size_t size() const { return head.size() + tail.size(); }
  uint8_t at(size_t i) const { return i < head.size() ? head[i] : tail[i - head.size()]; }
  void Cleanse() const {
    if (!head.empty()) OPENSSL_cleanse(head.data(), head.size());
    if (!tail.empty()) OPENSSL_cleanse(tail.data(), tail.size());
  }
};

// AES-GCM and ChaCha20-Poly1305 decrypt as they go and check the tag at the end: 1 verified,
// 0 forged, -1 OpenSSL failed.
int Decrypt(EVP_CIPHER_CTX* context, std::span<const uint8_t, kTlsHeaderBytes> header,
            const Pieces& pieces, size_t inner) {
  std::array<uint8_t, kTlsTagBytes> tag;
  for (size_t i = 0; i < kTlsTagBytes; ++i) tag[i] = pieces.at(inner + i);
  std::array<OSSL_PARAM, 2> params = {
      OSSL_PARAM_construct_octet_string(OSSL_CIPHER_PARAM_AEAD_TAG, tag.data(), kTlsTagBytes),
      OSSL_PARAM_construct_end()};
  if (EVP_CIPHER_CTX_set_params(context, params.data()) != 1) return -1;
  if (!Update(context, nullptr, header.data(), kTlsHeaderBytes)) return -1;
  size_t in_head = inner < pieces.head.size() ? inner : pieces.head.size();
  size_t in_tail = inner - in_head;
  if (in_head > 0 && !Update(context, pieces.head.data(), pieces.head.data(), in_head)) return 0;
  if (in_tail > 0 && !Update(context, pieces.tail.data(), pieces.tail.data(), in_tail)) return 0;
  int none = 0;
  std::array<uint8_t, kTlsTagBytes> rest;
  return EVP_CipherFinal_ex(context, rest.data(), &none) == 1 ? 1 : 0;
}

}  // namespace

TlsOpened OpenTlsRecord(TlsRecordPool& pool, TlsRecordState* state,
                        std::span<const uint8_t, kTlsHeaderBytes> header, std::span<uint8_t> head,
                        std::span<uint8_t> tail) {
  Pieces pieces{.head = head, .tail = tail};
  size_t payload = pieces.size();
  if (payload > kTlsMaxCiphertext) return {.error = TlsAlert::kRecordOverflow};
  if (payload < kTlsTagBytes + 1) return {.error = TlsAlert::kBadRecordMac};
  if (state->rx.seq == UINT64_MAX) return {.error = TlsAlert::kInternalError};
  size_t inner = payload - kTlsTagBytes;
  EVP_CIPHER_CTX* context = TlsRecordOps::LoadOpen(pool, *state);
  int verified = context == nullptr ? -1 : Decrypt(context, header, pieces, inner);
  if (verified != 1) {
    pieces.Cleanse();
    return {.error = verified == 0 ? TlsAlert::kBadRecordMac : TlsAlert::kInternalError};
  }
  ++state->rx.seq;
  if (inner > kTlsMaxPlaintext + 1) return {.error = TlsAlert::kRecordOverflow};
  while (inner > 0 && pieces.at(inner - 1) == 0) --inner;
  if (inner == 0) return {.error = TlsAlert::kUnexpectedMessage};
  TlsOpened opened{.type = pieces.at(inner - 1), .length = inner - 1};
  if (opened.length > state->max_plaintext) return {.error = TlsAlert::kRecordOverflow};
  return opened;
}

}  // namespace net
