// Internal to net_tls: HKDF as TLS 1.3 uses it (RFC 5869; RFC 8446 section 7.1), over two pooled
// HMAC contexts that are keyed anew for each use. One thread at a time.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <span>

struct evp_mac_ctx_st;

namespace net {

enum class TlsDigest : uint8_t { kSha256, kSha384 };

inline constexpr size_t kTlsHashMax = 48;
inline constexpr std::array<uint8_t, kTlsHashMax> kTlsZeros{};  // where the schedule has no secret
constexpr size_t TlsHashBytes(TlsDigest digest) { return digest == TlsDigest::kSha256 ? 32 : 48; }
// The hash of nothing.
std::span<const uint8_t> TlsEmptyHash(TlsDigest digest);

class TlsHkdf {
 public:
  TlsHkdf();
  ~TlsHkdf();
  TlsHkdf(const TlsHkdf&) = delete;
  TlsHkdf& operator=(const TlsHkdf&) = delete;

  // OpenSSL offers what is needed. All else fails otherwise.
  bool ok() const;

  // HMAC over the parts in their order; `out` is as long as the hash. HKDF-Extract is this with the
  // salt as key.
  bool Hmac(TlsDigest digest, std::span<const uint8_t> key,
            std::initializer_list<std::span<const uint8_t>> parts, std::span<uint8_t> out);

  // HKDF-Expand-Label, with the label in two parts ("tls13 " and the rest), together up to 255
  // bytes, as the context; false when they are longer, or `out` is longer than 255 hashes.
  bool ExpandLabel(TlsDigest digest, std::span<const uint8_t> secret,
                   std::span<const uint8_t> prefix, std::span<const uint8_t> label,
                   std::span<const uint8_t> context, std::span<uint8_t> out);

  // The last keys stay in the contexts until this puts zeros in their place.
  void ForgetKeys();

 private:
  std::array<evp_mac_ctx_st*, 2> contexts_{};  // by TlsDigest
  std::array<bool, 2> keyed_{};                // with something other than zeros
};

}  // namespace net
