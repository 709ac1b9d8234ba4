#include "net/tls/context/tls_handshake_plan.h"

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/rsa.h>

#include <algorithm>
#include <ctime>

#include "net/base/byte_writer.h"
#include "net/base/check.h"
#include "net/tls/context/tls_facts.h"

namespace net {

namespace {

using Output = std::vector<uint8_t>;

constexpr uint8_t kCertificate = 11;

// SignatureScheme, RFC 8446 section 4.2.3.
constexpr uint16_t kEcdsaP256Sha256 = 0x0403;
constexpr uint16_t kEcdsaP384Sha384 = 0x0503;
constexpr uint16_t kRsaPssSha256 = 0x0804;

void AppendDer(Output* out, const X509* certificate) {
  const int size = i2d_X509(certificate, nullptr);
  if (size <= 0) return;
  const Sized entry(out, 3);
  const size_t at = out->size();
  out->resize(at + static_cast<size_t>(size));
  uint8_t* to = out->data() + at;
  i2d_X509(certificate, &to);
}

// RFC 8446 section 4.4.2, the same in every handshake.
Output CertificateMessage(const TlsCertificate& from) {
  Output message = {kCertificate};
  {
    const Sized body(&message, 3);
    AppendNumber(&message, 0, 1);  // certificate_request_context
    const Sized list(&message, 3);
    auto entry = [&message](const X509* certificate) {
      AppendDer(&message, certificate);
      AppendNumber(&message, 0, 2);  // extensions
    };
    entry(from.leaf.get());
    for (int i = 0; i < sk_X509_num(from.chain.get()); ++i) {
      entry(sk_X509_value(from.chain.get(), i));
    }
  }
  return message;
}

// 0 for keys that are left to OpenSSL.
uint16_t SchemeOf(EVP_PKEY* key) {
  if (EVP_PKEY_is_a(key, "RSA") == 1) return kRsaPssSha256;
  if (EVP_PKEY_is_a(key, "EC") != 1) return 0;
  std::array<char, 32> group{};
  size_t size = 0;
  if (EVP_PKEY_get_group_name(key, group.data(), group.size(), &size) != 1) return 0;
  const std::string_view name(group.data(), size);
  if (name == "prime256v1") return kEcdsaP256Sha256;
  if (name == "secp384r1") return kEcdsaP384Sha384;
  return 0;
}

PkeyContextPtr PrepareToSign(EVP_PKEY* key, uint16_t scheme, TlsDigest digest) {
  PkeyContextPtr context(EVP_PKEY_CTX_new_from_pkey(nullptr, key, nullptr));
  const EVP_MD* md = digest == TlsDigest::kSha384 ? EVP_sha384() : EVP_sha256();
  bool ok = context != nullptr && EVP_PKEY_sign_init(context.get()) == 1 &&
            EVP_PKEY_CTX_set_signature_md(context.get(), md) == 1;
  if (ok && scheme == kRsaPssSha256) {
    ok = EVP_PKEY_CTX_set_rsa_padding(context.get(), RSA_PKCS1_PSS_PADDING) == 1 &&
         EVP_PKEY_CTX_set_rsa_pss_saltlen(context.get(), RSA_PSS_SALTLEN_DIGEST) == 1 &&
         EVP_PKEY_CTX_set_rsa_mgf1_md(context.get(), md) == 1;
  }
  if (!ok) {
    ERR_clear_error();
    return nullptr;
  }
  return context;
}

std::vector<std::string_view> SplitList(std::string_view list) {
  std::vector<std::string_view> parts;
  while (!list.empty()) {
    const size_t end = std::min(list.find(':'), list.size());
    parts.push_back(list.substr(0, end));
    list.remove_prefix(std::min(end + 1, list.size()));
  }
  return parts;
}

}  // namespace

TlsSigner MakeTlsSigner(const TlsCertificate& certificate) {
  TlsSigner signer;
  signer.end_point = certificate.end_point;
  signer.has_staple = !certificate.ocsp.empty();
  signer.scheme = SchemeOf(certificate.key.get());
  if (signer.scheme == 0) return signer;
  signer.digest = signer.scheme == kEcdsaP384Sha384 ? TlsDigest::kSha384 : TlsDigest::kSha256;
  signer.prepared = PrepareToSign(certificate.key.get(), signer.scheme, signer.digest);
  signer.certificate = CertificateMessage(certificate);
  return signer;
}

void TlsHandshakePlan::Site::Add(TlsSigner signer) {
  // OpenSSL's default order of signature algorithms.
  auto rank = [](const TlsSigner& one) {
    constexpr std::array<uint16_t, 4> kOrder = {kEcdsaP256Sha256, kEcdsaP384Sha384, 0,
                                                kRsaPssSha256};
    return std::ranges::find(kOrder, one.scheme) - kOrder.begin();
  };
  auto before = std::ranges::find_if(signers, [&](auto& one) { return rank(one) > rank(signer); });
  signers.insert(before, std::move(signer));
}

// A later site with the exact name wins over an earlier one with a wildcard.
TlsHandshakePlan::Choice TlsHandshakePlan::Choose(std::string_view name) const {
  if (name.empty()) return {.site = 0, .named = false};
  for (bool wildcard : {false, true}) {
    for (size_t i = 0; i < sites.size(); ++i) {
      for (const std::string& pattern : sites[i].names) {
        if (pattern.starts_with("*.") == wildcard && TlsNameMatches(pattern, name)) {
          return {.site = static_cast<int>(i), .named = true};
        }
      }
    }
  }
  return {.site = strict_sni ? -1 : 0, .named = false};
}

TlsTicketBinding TlsHandshakePlan::Binding(size_t site, std::string_view name) const {
  // As names are compared: case does not count, nor does a trailing dot.
  if (!name.empty() && name.back() == '.') name.remove_suffix(1);
  std::array<uint8_t, 32 + 256> all;
  auto at = std::ranges::copy(sites[site].id, all.begin()).out;
  for (const char c : name.substr(0, 256)) {
    *at++ = static_cast<uint8_t>(c >= 'A' && c <= 'Z' ? c + 32 : c);
  }
  TlsTicketBinding binding;
  CHECK(EVP_Digest(all.data(), static_cast<size_t>(at - all.begin()), binding.data(), nullptr,
                   sha256.get(), nullptr) == 1);
  return binding;
}

TlsHandshakePlan::TlsHandshakePlan() : now([] { return int64_t{std::time(nullptr)}; }) {}

void TlsHandshakePlan::UsePolicy(const TlsPolicy& policy) {
  enabled = policy.take_over && policy.own_handshake && policy.max_version == TlsVersion::kTls13;
  constexpr std::array<TlsSuite, 3> kOurs = {TlsSuite::kAes128GcmSha256, TlsSuite::kAes256GcmSha384,
                                             TlsSuite::kChaCha20Poly1305Sha256};
  for (std::string_view name : SplitList(policy.suites)) {
    const auto suite = std::ranges::find(kOurs, name, [](TlsSuite one) { return ToString(one); });
    if (suite == kOurs.end()) break;  // it goes before the rest, and only OpenSSL has it
    suites.push_back(*suite);
  }
  // A client may have a share for a group that is preferred, too. OpenSSL has two spellings.
  const std::string_view first = std::string_view(policy.groups).substr(0, policy.groups.find(':'));
  x25519 = first == "X25519" || first == "x25519";
}

}  // namespace net
