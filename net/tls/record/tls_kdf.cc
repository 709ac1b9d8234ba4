#include "net/tls/record/tls_kdf.h"

#include <openssl/core_dispatch.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/kdf.h>
#include <openssl/params.h>
#include <openssl/provider.h>
#include <openssl/ssl.h>
#include <strings.h>

#include <array>
#include <optional>

#include "net/tls/record/tls_hkdf.h"

namespace net {

namespace {

using Bytes = std::span<const uint8_t>;
using Hash = std::array<uint8_t, kTlsHashMax>;

TlsHkdf& ThreadHkdf() {
  thread_local TlsHkdf mine;
  return mine;
}

// What libssl passes to one derivation.
struct Request {
  std::optional<TlsDigest> digest;
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
    request->digest = TlsDigest::kSha256;
  } else if (strcasecmp(name, "SHA2-384") == 0 || strcasecmp(name, "SHA384") == 0) {
    request->digest = TlsDigest::kSha384;
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

// A stage of the schedule: HKDF-Extract with what is derived from the stage before as salt; zeros
// stand in for what is missing.
bool ExtractStage(const Request& request, TlsDigest digest, std::span<uint8_t> out) {
  const size_t size = TlsHashBytes(digest);
  if (out.size() != size) return false;
  Hash salt = kTlsZeros;
  const auto used = std::span(salt).first(size);
  const Bytes key = request.key.empty() ? Bytes(kTlsZeros).first(size) : request.key;
  const bool ok = (request.salt.empty() ||
                   ThreadHkdf().ExpandLabel(digest, request.salt, request.prefix, request.label,
                                            TlsEmptyHash(digest), used)) &&
                  ThreadHkdf().Hmac(digest, used, {key}, out);
  OPENSSL_cleanse(salt.data(), salt.size());
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

void ForgetTlsKdfKeys() { ThreadHkdf().ForgetKeys(); }

namespace {

// --- What OpenSSL asks a provider for ---------------------------------------------------------

// A derivation keeps nothing between calls, but a context must be something.
char g_context = 0;

void* NewKdf(void*) { return &g_context; }
void FreeContext(void*) {}

int Derive(void*, unsigned char* out, size_t size, const OSSL_PARAM params[]) {
  const Request request = ReadRequest(params);
  if (!request.valid || !request.digest || out == nullptr || size == 0) return 0;
  const std::span<uint8_t> to(out, size);
  switch (request.mode) {
    case EVP_KDF_HKDF_MODE_EXTRACT_ONLY:
      return ExtractStage(request, *request.digest, to) ? 1 : 0;
    case EVP_KDF_HKDF_MODE_EXPAND_ONLY:
      if (!ThreadHkdf().ExpandLabel(*request.digest, request.key, request.prefix, request.label,
                                    request.data, to)) {
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
      Entry(OSSL_FUNC_KDF_NEWCTX, NewKdf),
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
