#include "dns/zone/dnssec.h"

#include <fcntl.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/param_build.h>
#include <openssl/sha.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <fstream>

#include "dns/zone/secret_file.h"
#include "net/base/check.h"

namespace dns {

struct SigningKey::Impl {
  EVP_PKEY* pkey = nullptr;
  explicit Impl(EVP_PKEY* key) : pkey(key) {}
  ~Impl() { EVP_PKEY_free(pkey); }
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;
};

namespace {

constexpr size_t kPrivateBytes = 32;

// The public key as DNSKEY wants it: x and y for P-256 (RFC 6605 §4), the 32 bytes for Ed25519.
Bytes PublicKey(EVP_PKEY* pkey, Algorithm algorithm) {
  if (algorithm == Algorithm::kEd25519) {
    Bytes out(32);
    size_t size = out.size();
    CHECK(EVP_PKEY_get_raw_public_key(pkey, out.data(), &size) == 1);
    return out;
  }
  std::array<uint8_t, 65> point;
  size_t size = 0;
  CHECK(EVP_PKEY_get_octet_string_param(pkey, OSSL_PKEY_PARAM_PUB_KEY, point.data(), point.size(),
                                        &size) == 1);
  CHECK(size == 65);
  return {point.begin() + 1, point.end()};
}

// A P-256 key from its private number alone: the public point is computed.
EVP_PKEY* EcKeyFromPrivate(ByteView secret) {
  EVP_PKEY* pkey = nullptr;
  EC_GROUP* group = EC_GROUP_new_by_curve_name(NID_X9_62_prime256v1);
  BIGNUM* number = BN_bin2bn(secret.data(), static_cast<int>(secret.size()), nullptr);
  EC_POINT* point = EC_POINT_new(group);
  std::array<uint8_t, 65> encoded;
  OSSL_PARAM_BLD* builder = OSSL_PARAM_BLD_new();
  EVP_PKEY_CTX* context = EVP_PKEY_CTX_new_from_name(nullptr, "EC", nullptr);
  OSSL_PARAM* params = nullptr;
  bool ok = !BN_is_zero(number) && BN_cmp(number, EC_GROUP_get0_order(group)) < 0 &&
            EC_POINT_mul(group, point, number, nullptr, nullptr, nullptr) == 1 &&
            EC_POINT_point2oct(group, point, POINT_CONVERSION_UNCOMPRESSED, encoded.data(),
                               encoded.size(), nullptr) == encoded.size() &&
            OSSL_PARAM_BLD_push_utf8_string(builder, OSSL_PKEY_PARAM_GROUP_NAME, "P-256", 0) == 1 &&
            OSSL_PARAM_BLD_push_BN(builder, OSSL_PKEY_PARAM_PRIV_KEY, number) == 1 &&
            OSSL_PARAM_BLD_push_octet_string(builder, OSSL_PKEY_PARAM_PUB_KEY, encoded.data(),
                                             encoded.size()) == 1;
  if (ok) params = OSSL_PARAM_BLD_to_param(builder);
  ok = ok && params != nullptr && EVP_PKEY_fromdata_init(context) == 1 &&
       EVP_PKEY_fromdata(context, &pkey, EVP_PKEY_KEYPAIR, params) == 1;
  OSSL_PARAM_free(params);
  OSSL_PARAM_BLD_free(builder);
  EVP_PKEY_CTX_free(context);
  EC_POINT_free(point);
  BN_clear_free(number);
  EC_GROUP_free(group);
  return ok ? pkey : nullptr;
}

// The private number, 32 bytes for both algorithms.
Bytes PrivateKey(EVP_PKEY* pkey, Algorithm algorithm) {
  Bytes out(kPrivateBytes);
  if (algorithm == Algorithm::kEd25519) {
    size_t size = out.size();
    CHECK(EVP_PKEY_get_raw_private_key(pkey, out.data(), &size) == 1);
    return out;
  }
  BIGNUM* number = nullptr;
  CHECK(EVP_PKEY_get_bn_param(pkey, OSSL_PKEY_PARAM_PRIV_KEY, &number) == 1);
  CHECK(BN_bn2binpad(number, out.data(), static_cast<int>(out.size())) ==
        static_cast<int>(out.size()));
  BN_clear_free(number);
  return out;
}

std::string ToBase64(ByteView bytes) {
  std::string text(4 * ((bytes.size() + 2) / 3) + 1, '\0');
  int size = EVP_EncodeBlock(reinterpret_cast<uint8_t*>(text.data()), bytes.data(),
                             static_cast<int>(bytes.size()));
  text.resize(static_cast<size_t>(size));
  return text;
}

std::optional<Bytes> PrivateKeyFromBase64(std::string_view text) {
  Bytes out(text.size());
  int size = EVP_DecodeBlock(out.data(), reinterpret_cast<const uint8_t*>(text.data()),
                             static_cast<int>(text.size()));
  if (size < 0) return std::nullopt;
  size_t padding = text.ends_with("==") ? 2 : text.ends_with("=") ? 1 : 0;
  out.resize(static_cast<size_t>(size) - padding);
  return out;
}

// r and s of a DER signature, 32 bytes each (RFC 6605 §4).
Bytes RawEcdsa(ByteView der) {
  const uint8_t* at = der.data();
  ECDSA_SIG* sig = d2i_ECDSA_SIG(nullptr, &at, static_cast<long>(der.size()));
  CHECK(sig != nullptr);
  Bytes raw(kSignatureBytes);
  CHECK(BN_bn2binpad(ECDSA_SIG_get0_r(sig), raw.data(), 32) == 32);
  CHECK(BN_bn2binpad(ECDSA_SIG_get0_s(sig), raw.data() + 32, 32) == 32);
  ECDSA_SIG_free(sig);
  return raw;
}

// The flags of the DNSKEY record in the .key file that belongs to a .private one.
uint16_t FlagsBeside(const std::string& private_path) {
  constexpr std::string_view kSuffix = ".private";
  if (!private_path.ends_with(kSuffix)) return kFlagsSep;
  std::ifstream file(private_path.substr(0, private_path.size() - kSuffix.size()) + ".key");
  for (std::string line; std::getline(file, line);) {
    constexpr std::string_view kType = " DNSKEY ";
    size_t at = line.find(kType);
    if (line.starts_with(';') || at == std::string::npos) continue;
    unsigned flags = 0;
    const char* digits = line.data() + at + kType.size();
    std::from_chars(digits, line.data() + line.size(), flags);
    return flags == kFlagsZsk ? kFlagsZsk : kFlagsSep;
  }
  return kFlagsSep;
}

bool WriteFile(const std::string& path, const std::string& text, mode_t mode) {
  int fd = open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
  if (fd < 0) return false;
  bool ok = write(fd, text.data(), text.size()) == static_cast<ssize_t>(text.size());
  ok = fsync(fd) == 0 && ok;
  return close(fd) == 0 && ok;
}

}  // namespace

std::string_view ToString(Algorithm algorithm) {
  switch (algorithm) {
    case Algorithm::kEcdsaP256Sha256:
      return "ECDSAP256SHA256";
    case Algorithm::kEd25519:
      return "ED25519";
  }
  return "?";
}

SigningKey::SigningKey(const Name& zone, Algorithm algorithm, std::shared_ptr<const Impl> impl,
                       Bytes public_key, uint16_t flags)
    : zone_(zone), algorithm_(algorithm), impl_(std::move(impl)) {
  Append16(dnskey_, flags);
  dnskey_.push_back(3);  // the protocol, always
  dnskey_.push_back(static_cast<uint8_t>(algorithm));
  Append(dnskey_, public_key);
  tag_ = KeyTag(dnskey_);
}

SigningKey SigningKey::Generate(const Name& zone, Algorithm algorithm, uint16_t flags) {
  EVP_PKEY* pkey = algorithm == Algorithm::kEd25519
                       ? EVP_PKEY_Q_keygen(nullptr, nullptr, "ED25519")
                       : EVP_PKEY_Q_keygen(nullptr, nullptr, "EC", "P-256");
  CHECK(pkey != nullptr);
  return {zone, algorithm, std::make_shared<const Impl>(pkey), PublicKey(pkey, algorithm), flags};
}

std::expected<SigningKey, std::string> SigningKey::FromFile(const std::string& private_path,
                                                            const Name& zone) {
  SecretFile file(private_path);
  if (!file) return std::unexpected(private_path + ": cannot be read");
  int number = 0;
  std::optional<Bytes> secret;
  for (std::string_view line; file.NextLine(line);) {
    size_t colon = line.find(": ");
    if (colon == std::string_view::npos) continue;
    std::string_view value = line.substr(colon + 2);
    if (line.starts_with("Algorithm:")) {
      std::from_chars(value.data(), value.data() + value.size(), number);
    } else if (line.starts_with("PrivateKey:")) {
      secret = PrivateKeyFromBase64(value);
    }
  }
  if (number != 13 && number != 15) {
    return std::unexpected(private_path + ": algorithm " + std::to_string(number) +
                           " is not served; use ECDSAP256SHA256 (13) or ED25519 (15)");
  }
  if (!secret || secret->size() != kPrivateBytes) {
    return std::unexpected(private_path + ": PrivateKey is not 32 bytes of base64");
  }
  auto algorithm = static_cast<Algorithm>(number);
  EVP_PKEY* pkey =
      algorithm == Algorithm::kEd25519
          ? EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, nullptr, secret->data(), secret->size())
          : EcKeyFromPrivate(*secret);
  OPENSSL_cleanse(secret->data(), secret->size());
  if (pkey == nullptr) return std::unexpected(private_path + ": PrivateKey is not a valid key");
  return SigningKey(zone, algorithm, std::make_shared<const Impl>(pkey), PublicKey(pkey, algorithm),
                    FlagsBeside(private_path));
}

std::string SigningKey::BaseName() const {
  std::array<char, 32> suffix;
  std::snprintf(suffix.data(), suffix.size(), "+%03u+%05u", static_cast<unsigned>(algorithm_),
                static_cast<unsigned>(tag_));
  return "K" + zone_.ToString() + suffix.data();
}

std::expected<std::string, std::string> SigningKey::Write(const std::string& directory,
                                                          const std::string& times) const {
  std::string base = directory + "/" + BaseName();
  Bytes secret = PrivateKey(impl_->pkey, algorithm_);
  std::string text =
      "Private-key-format: v1.3\nAlgorithm: " + std::to_string(static_cast<int>(algorithm_)) +
      " (" + std::string(ToString(algorithm_)) + ")\nPrivateKey: " + ToBase64(secret) + "\n" +
      times;
  OPENSSL_cleanse(secret.data(), secret.size());
  bool written = WriteFile(base + ".private", text, 0600);
  OPENSSL_cleanse(text.data(), text.size());
  if (!written) return std::unexpected(base + ".private: cannot be written, or is there already");
  ByteView public_key = ByteView(dnskey_).subspan(4);
  std::string record = zone_.ToString() + " IN DNSKEY " + std::to_string(flags()) + " 3 " +
                       std::to_string(static_cast<int>(algorithm_)) + " " + ToBase64(public_key) +
                       "\n";
  if (!WriteFile(base + ".key", record, 0644)) {
    return std::unexpected(base + ".key: cannot be written, or is there already");
  }
  return base + ".private";
}

Bytes SigningKey::Ds() const {
  Bytes input(zone_.wire().begin(), zone_.wire().end());
  Append(input, dnskey_);
  Bytes ds;
  Append16(ds, tag_);
  ds.push_back(static_cast<uint8_t>(algorithm_));
  ds.push_back(2);  // SHA-256
  std::array<uint8_t, SHA256_DIGEST_LENGTH> digest;
  SHA256(input.data(), input.size(), digest.data());
  Append(ds, digest);
  return ds;
}

Bytes SigningKey::Sign(ByteView data) const {
  EVP_MD_CTX* context = EVP_MD_CTX_new();
  const EVP_MD* digest = algorithm_ == Algorithm::kEd25519 ? nullptr : EVP_sha256();
  CHECK(EVP_DigestSignInit(context, nullptr, digest, nullptr, impl_->pkey) == 1);
  std::array<uint8_t, 128> signature;
  size_t size = signature.size();
  CHECK(EVP_DigestSign(context, signature.data(), &size, data.data(), data.size()) == 1);
  EVP_MD_CTX_free(context);
  ByteView made = ByteView(signature).first(size);
  if (algorithm_ == Algorithm::kEd25519) return {made.begin(), made.end()};
  return RawEcdsa(made);
}

namespace {

// The set as it is signed (RFC 4034 §6): records in canonical order, behind each other.
Bytes CanonicalSet(const Rrset& set) {
  std::vector<Bytes> sorted = set.rdatas;
  std::ranges::sort(sorted);
  Bytes out;
  for (const Bytes& rdata : sorted) {
    Append(out, set.owner.wire());
    Append16(out, static_cast<uint16_t>(set.type));
    Append16(out, kClassIn);
    Append32(out, set.ttl);
    Append16(out, rdata.size());
    Append(out, rdata);
  }
  return out;
}

}  // namespace

Bytes MakeRrsig(const SigningKey& key, const Rrset& set, Validity validity) {
  Bytes rdata;
  Append16(rdata, static_cast<uint16_t>(set.type));
  rdata.push_back(static_cast<uint8_t>(key.algorithm()));
  size_t labels = set.owner.label_count() - (set.owner.is_wildcard() ? 1 : 0);
  rdata.push_back(static_cast<uint8_t>(labels));
  Append32(rdata, set.ttl);
  Append32(rdata, validity.expiration);
  Append32(rdata, validity.inception);
  Append16(rdata, key.tag());
  Append(rdata, key.zone().wire());
  Bytes input = rdata;
  Append(input, CanonicalSet(set));
  Append(rdata, key.Sign(input));
  return rdata;
}

uint16_t KeyTag(ByteView dnskey) {
  uint32_t sum = 0;
  for (size_t i = 0; i < dnskey.size(); ++i) {
    sum += i % 2 == 0 ? static_cast<uint32_t>(dnskey[i]) << 8 : dnskey[i];
  }
  sum += sum >> 16;
  return static_cast<uint16_t>(sum);
}

Bytes TypeBitmap(std::vector<Type> types) {
  std::ranges::sort(types);
  Bytes out;
  for (size_t i = 0; i < types.size();) {
    unsigned window = static_cast<unsigned>(types[i]) >> 8;
    std::array<uint8_t, 32> bits{};
    size_t used = 0;
    for (; i < types.size() && static_cast<unsigned>(types[i]) >> 8 == window; ++i) {
      unsigned low = static_cast<unsigned>(types[i]) & 0xff;
      bits[low / 8] = static_cast<uint8_t>(bits[low / 8] | 0x80u >> low % 8);
      used = low / 8 + 1;
    }
    out.push_back(static_cast<uint8_t>(window));
    out.push_back(static_cast<uint8_t>(used));
    Append(out, ByteView(bits).first(used));
  }
  return out;
}

namespace {

// The name that follows `owner` in canonical order.
Bytes NextName(const Name& owner) {
  ByteView wire = owner.wire();
  Bytes next;
  if (wire.size() + 2 <= kNameBytesMax) {
    next = {1, 0};
    Append(next, wire);
    return next;
  }
  next.assign(wire.begin(), wire.end());
  if (next.size() < kNameBytesMax && next[0] < kLabelBytesMax) {
    next.insert(next.begin() + 1 + next[0], 0);
    ++next[0];
    return next;
  }
  // No room for one more byte: the last byte that can grow does, the ones behind it go.
  while (next.size() > 1) {
    for (size_t last = next[0]; last > 0; --last) {
      if (next[last] == 0xff) continue;
      // '@' is followed by '[': upper-case letters compare as lower-case ones.
      next[last] = next[last] == '@' ? '[' : static_cast<uint8_t>(next[last] + 1);
      next.erase(next.begin() + static_cast<std::ptrdiff_t>(last) + 1, next.begin() + 1 + next[0]);
      next[0] = static_cast<uint8_t>(last);
      return next;
    }
    next.erase(next.begin(), next.begin() + 1 + next[0]);
  }
  return next;
}

}  // namespace

Bytes CompactNsec(const Name& owner, std::vector<Type> types) {
  Bytes rdata = NextName(owner);
  Append(rdata, TypeBitmap(std::move(types)));
  return rdata;
}

uint64_t SignatureStore::Begin(uint32_t now) {
  std::lock_guard lock(mutex_);
  now_ = now;
  if (entries_.size() > whole_size_ + kOthersMax) {
    std::erase_if(entries_, [&](const auto& entry) {
      return entry.second.round > whole_round_ && entry.second.round < round_;
    });
  }
  return ++round_;
}

void SignatureStore::ForgetBefore(uint64_t round) {
  std::lock_guard lock(mutex_);
  uint64_t keep = round - std::min(round, kRoundsKept);
  std::erase_if(entries_, [&](const auto& entry) {
    return entry.second.round < round &&
           (entry.second.round < keep || !IsGood(entry.second.validity));
  });
  whole_round_ = round;
  whole_size_ = entries_.size();
  soonest_end_ = UINT32_MAX;
  latest_begin_ = 0;
  for (const auto& [id, entry] : entries_) {
    soonest_end_ = std::min(soonest_end_, entry.validity.expiration);
    latest_begin_ = std::max(latest_begin_, entry.validity.inception);
  }
}

// A signature from the future is one that a clock made which has been set back since.
bool SignatureStore::IsGood(const Validity& validity) const {
  return validity.expiration >= now_ + refresh_ && validity.inception <= now_;
}

Bytes SignatureStore::Get(const SigningKey& key, const Rrset& set) {
  Bytes id;
  Append16(id, key.tag());
  id.push_back(static_cast<uint8_t>(key.algorithm()));
  Append(id, key.zone().wire());
  Append(id, CanonicalSet(set));
  // The digest keeps the store small: sets may be large.
  Bytes digest(SHA256_DIGEST_LENGTH);
  SHA256(id.data(), id.size(), digest.data());
  Validity validity;
  {
    std::lock_guard lock(mutex_);
    auto it = entries_.find(digest);
    if (it != entries_.end()) {
      it->second.round = round_;
      if (IsGood(it->second.validity)) return it->second.rrsig;
    }
    validity = ValidityAt(now_);
  }
  Bytes rrsig = MakeRrsig(key, set, validity);
  std::lock_guard lock(mutex_);
  entries_[digest] = {rrsig, validity, round_};
  soonest_end_ = std::min(soonest_end_, validity.expiration);
  latest_begin_ = std::max(latest_begin_, validity.inception);
  ++made_;
  return rrsig;
}

uint32_t SignatureStore::RefreshAt() const {
  std::lock_guard lock(mutex_);
  return soonest_end_ == UINT32_MAX ? 0 : soonest_end_ - refresh_;
}

bool SignatureStore::IsStale(uint32_t now) const {
  std::lock_guard lock(mutex_);
  return !entries_.empty() && (soonest_end_ < now + refresh_ || latest_begin_ > now);
}

uint64_t SignatureStore::signatures_made() const {
  std::lock_guard lock(mutex_);
  return made_;
}

}  // namespace dns
