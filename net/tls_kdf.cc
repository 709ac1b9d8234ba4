#include "net/tls_kdf.h"

#include <openssl/core_dispatch.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>
#include <openssl/params.h>
#include <openssl/provider.h>
#include <openssl/ssl.h>
#include <strings.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <optional>
#include <string>

namespace net {

namespace {

constexpr size_t kHashMax = 48;
// HkdfLabel: length, label and context with a length byte each (RFC 8446 section 7.1).
constexpr size_t kLabelMax = 255;
constexpr size_t kContextMax = 255;
constexpr size_t kInfoMax = 2 + 1 + kLabelMax + 1 + kContextMax;

using Bytes = std::span<const uint8_t>;
using Hash = std::array<uint8_t, kHashMax>;

enum class Digest : uint8_t { kSha256, kSha384 };

size_t HashBytes(Digest digest) { return digest == Digest::kSha256 ? 32 : 48; }

// SHA-256 and SHA-384 of nothing, which the schedule extracts with between its stages.
constexpr std::array<uint8_t, 32> kEmptySha256 = {
    0xe3, 0xb0, 0xc4, 0x42, 0x98, 0xfc, 0x1c, 0x14, 0x9a, 0xfb, 0xf4, 0xc8, 0x99, 0x6f, 0xb9, 0x24,
    0x27, 0xae, 0x41, 0xe4, 0x64, 0x9b, 0x93, 0x4c, 0xa4, 0x95, 0x99, 0x1b, 0x78, 0x52, 0xb8, 0x55};
constexpr std::array<uint8_t, 48> kEmptySha384 = {
    0x38, 0xb0, 0x60, 0xa7, 0x51, 0xac, 0x96, 0x38, 0x4c, 0xd9, 0x32, 0x7e, 0xb1, 0xb1, 0xe3, 0x6a,
    0x21, 0xfd, 0xb7, 0x11, 0x14, 0xbe, 0x07, 0x43, 0x4c, 0x0c, 0xc7, 0xbf, 0x63, 0xf6, 0xe1, 0xda,
    0x27, 0x4e, 0xde, 0xbf, 0xe7, 0x6f, 0x65, 0xfb, 0xd5, 0x1a, 0xd2, 0xf1, 0x48, 0x98, 0xb9, 0x5b};

Bytes EmptyHash(Digest digest) {
  return digest == Digest::kSha256 ? Bytes(kEmptySha256) : Bytes(kEmptySha384);
}

constexpr std::array<uint8_t, kHashMax> kZeros{};

// HMAC contexts of one thread, keyed anew for each use.
class ThreadHmac {
 public:
  ThreadHmac() {
    EVP_MAC* mac = EVP_MAC_fetch(nullptr, "HMAC", nullptr);
    if (mac == nullptr) return;
    for (size_t i = 0; i < contexts_.size(); ++i) {
      std::string digest = i == 0 ? "SHA256" : "SHA384";
      const std::array<OSSL_PARAM, 2> params = {
          OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest.data(), 0),
          OSSL_PARAM_construct_end()};
      contexts_[i] = EVP_MAC_CTX_new(mac);
      if (contexts_[i] != nullptr && EVP_MAC_CTX_set_params(contexts_[i], params.data()) != 1) {
        EVP_MAC_CTX_free(contexts_[i]);
        contexts_[i] = nullptr;
      }
    }
    EVP_MAC_free(mac);
  }
  ~ThreadHmac() {
    for (EVP_MAC_CTX* context : contexts_) EVP_MAC_CTX_free(context);
  }
  ThreadHmac(const ThreadHmac&) = delete;
  ThreadHmac& operator=(const ThreadHmac&) = delete;

  static ThreadHmac& Mine() {
    thread_local ThreadHmac mine;
    return mine;
  }

  bool Compute(Digest digest, Bytes key, std::initializer_list<Bytes> parts, Hash* out) {
    const auto index = static_cast<size_t>(digest);
    EVP_MAC_CTX* context = contexts_[index];
    if (context == nullptr || EVP_MAC_init(context, key.data(), key.size(), nullptr) != 1) {
      return false;
    }
    keyed_[index] = true;
    for (const Bytes& part : parts) {
      if (EVP_MAC_update(context, part.data(), part.size()) != 1) return false;
    }
    size_t written = 0;
    return EVP_MAC_final(context, out->data(), &written, out->size()) == 1 &&
           written == HashBytes(digest);
  }

  void ForgetKeys() {
    for (size_t i = 0; i < contexts_.size(); ++i) {
      if (keyed_[i]) EVP_MAC_init(contexts_[i], kZeros.data(), kZeros.size(), nullptr);
      keyed_[i] = false;
    }
  }

 private:
  std::array<EVP_MAC_CTX*, 2> contexts_{};
  std::array<bool, 2> keyed_{};
};

// What libssl passes to one derivation.
struct Request {
  std::optional<Digest> digest;
  int mode = -1;
  Bytes key, salt, prefix, label, data;
  bool valid = true;  // all that was understood had the right type
};

void ReadBytes(const OSSL_PARAM& param, Bytes* out, bool* valid) {
  if (param.data_type != OSSL_PARAM_OCTET_STRING) {
    *valid = false;
    return;
  }
  *out = Bytes(static_cast<const uint8_t*>(param.data), param.data_size);
}

void ReadDigest(const OSSL_PARAM& param, Request* request) {
  const auto* name = static_cast<const char*>(param.data);
  if (param.data_type != OSSL_PARAM_UTF8_STRING || name == nullptr) {
    request->valid = false;
  } else if (strcasecmp(name, "SHA2-256") == 0 || strcasecmp(name, "SHA256") == 0) {
    request->digest = Digest::kSha256;
  } else if (strcasecmp(name, "SHA2-384") == 0 || strcasecmp(name, "SHA384") == 0) {
    request->digest = Digest::kSha384;
  }
}

Request ReadRequest(const OSSL_PARAM* params) {
  Request request;
  for (const OSSL_PARAM* param = params; param != nullptr && param->key != nullptr; ++param) {
    const std::string_view key = param->key;
    if (key == OSSL_KDF_PARAM_MODE) {
      request.valid &= OSSL_PARAM_get_int(param, &request.mode) == 1;
    } else if (key == OSSL_KDF_PARAM_DIGEST) {
      ReadDigest(*param, &request);
    } else if (key == OSSL_KDF_PARAM_KEY) {
      ReadBytes(*param, &request.key, &request.valid);
    } else if (key == OSSL_KDF_PARAM_SALT) {
      ReadBytes(*param, &request.salt, &request.valid);
    } else if (key == OSSL_KDF_PARAM_PREFIX) {
      ReadBytes(*param, &request.prefix, &request.valid);
    } else if (key == OSSL_KDF_PARAM_LABEL) {
      ReadBytes(*param, &request.label, &request.valid);
    } else if (key == OSSL_KDF_PARAM_DATA) {
      ReadBytes(*param, &request.data, &request.valid);
    }
  }
  return request;
}

// HKDF-Expand-Label.
bool ExpandLabel(Digest digest, Bytes secret, Bytes prefix, Bytes label, Bytes data,
                 std::span<uint8_t> out) {
  if (prefix.size() + label.size() > kLabelMax || data.size() > kContextMax ||
      out.size() > 255 * HashBytes(digest)) {
    return false;
  }
  std::array<uint8_t, kInfoMax> info;
  size_t n = 0;
  auto append = [&](Bytes bytes) {
    n = static_cast<size_t>(
        std::copy(bytes.begin(), bytes.end(), info.begin() + static_cast<ptrdiff_t>(n)) -
        info.begin());
  };
  info[n++] = static_cast<uint8_t>(out.size() >> 8U);
  info[n++] = static_cast<uint8_t>(out.size());
  info[n++] = static_cast<uint8_t>(prefix.size() + label.size());
  append(prefix);
  append(label);
  info[n++] = static_cast<uint8_t>(data.size());
  append(data);

  Hash block;
  Bytes before;
  bool ok = true;
  for (uint8_t counter = 1; ok && !out.empty(); ++counter) {
    ok = ThreadHmac::Mine().Compute(digest, secret, {before, Bytes(info).first(n), {&counter, 1}},
                                    &block);
    const size_t take = std::min(out.size(), HashBytes(digest));
    if (ok) std::copy_n(block.begin(), take, out.begin());
    out = out.subspan(take);
    before = Bytes(block).first(HashBytes(digest));
  }
  OPENSSL_cleanse(block.data(), block.size());
  return ok;
}

// A stage of the schedule: HKDF-Extract with what is derived from the stage before as salt; zeros
// stand in for what is missing.
bool ExtractStage(const Request& request, Digest digest, std::span<uint8_t> out) {
  const size_t size = HashBytes(digest);
  if (out.size() != size) return false;
  Hash salt = kZeros;
  bool ok = request.salt.empty() || ExpandLabel(digest, request.salt, request.prefix, request.label,
                                                EmptyHash(digest), std::span(salt).first(size));
  const Bytes key = request.key.empty() ? Bytes(kZeros).first(size) : request.key;
  Hash extracted;
  ok = ok && ThreadHmac::Mine().Compute(digest, Bytes(salt).first(size), {key}, &extracted);
  if (ok) std::copy_n(extracted.begin(), size, out.begin());
  OPENSSL_cleanse(salt.data(), salt.size());
  OPENSSL_cleanse(extracted.data(), extracted.size());
  return ok;
}

thread_local TlsKdfListener* t_listener = nullptr;

void Tell(Bytes label, Bytes secret) {
  if (t_listener == nullptr) return;
  t_listener->OnSecret({reinterpret_cast<const char*>(label.data()), label.size()}, secret);
}

}  // namespace

TlsKdfListener::TlsKdfListener() : outer_(t_listener) { t_listener = this; }
TlsKdfListener::~TlsKdfListener() { t_listener = outer_; }

void ForgetTlsKdfKeys() { ThreadHmac::Mine().ForgetKeys(); }

namespace {

// --- What OpenSSL asks a provider for ---------------------------------------------------------

// A derivation keeps nothing between calls, but a context must be something.
char g_context = 0;

void* NewContext(void*) { return &g_context; }
void FreeContext(void*) {}

int Derive(void*, unsigned char* out, size_t size, const OSSL_PARAM params[]) {
  const Request request = ReadRequest(params);
  if (!request.valid || !request.digest || out == nullptr || size == 0) return 0;
  const std::span<uint8_t> to(out, size);
  switch (request.mode) {
    case EVP_KDF_HKDF_MODE_EXTRACT_ONLY:
      return ExtractStage(request, *request.digest, to) ? 1 : 0;
    case EVP_KDF_HKDF_MODE_EXPAND_ONLY:
      if (!ExpandLabel(*request.digest, request.key, request.prefix, request.label, request.data,
                       to)) {
        return 0;
      }
      Tell(request.label, to);
      return 1;
    default:
      return 0;
  }
}

template <typename Function>
OSSL_DISPATCH Entry(int id, Function* function) {
  return {id, reinterpret_cast<void (*)()>(function)};
}

const OSSL_ALGORITHM* Query(void*, int operation, int* no_cache) {
  static const std::array<OSSL_DISPATCH, 4> kKdf = {
      Entry(OSSL_FUNC_KDF_NEWCTX, NewContext),
      Entry(OSSL_FUNC_KDF_FREECTX, FreeContext),
      Entry(OSSL_FUNC_KDF_DERIVE, Derive),
      OSSL_DISPATCH{0, nullptr},
  };
  static const std::array<OSSL_ALGORITHM, 2> kAlgorithms = {{
      {"TLS13-KDF", "provider=mongoose", kKdf.data(), "TLS 1.3 key schedule"},
      {nullptr, nullptr, nullptr, nullptr},
  }};
  *no_cache = 0;
  return operation == OSSL_OP_KDF ? kAlgorithms.data() : nullptr;
}

int InitProvider(const OSSL_CORE_HANDLE* handle, const OSSL_DISPATCH*, const OSSL_DISPATCH** out,
                 void** context) {
  static const std::array<OSSL_DISPATCH, 2> kProvider = {
      Entry(OSSL_FUNC_PROVIDER_QUERY_OPERATION, Query),
      OSSL_DISPATCH{0, nullptr},
  };
  *out = kProvider.data();
  *context = const_cast<OSSL_CORE_HANDLE*>(handle);
  return 1;
}

class Provider {
 public:
  // Beside the providers that are loaded by default or by openssl.cnf, not in their place.
  Provider()
      : loaded_(OSSL_PROVIDER_add_builtin(nullptr, "mongoose", InitProvider) == 1
                    ? OSSL_PROVIDER_try_load(nullptr, "mongoose", 1)
                    : nullptr) {}
  ~Provider() {
    if (loaded_ != nullptr) OSSL_PROVIDER_unload(loaded_);
  }
  Provider(const Provider&) = delete;
  Provider& operator=(const Provider&) = delete;

  // Until the process ends: OpenSSL, in use before this, ends after it.
  static bool Loaded() {
    static const Provider provider;
    return provider.loaded_ != nullptr;
  }

 private:
  OSSL_PROVIDER* loaded_;
};

}  // namespace

SSL_CTX* NewTlsContext(const SSL_METHOD* method) {
  if (!Provider::Loaded()) return nullptr;
  // The question mark makes it a preference, not a demand.
  return SSL_CTX_new_ex(nullptr, "?provider=mongoose", method);
}

}  // namespace net
