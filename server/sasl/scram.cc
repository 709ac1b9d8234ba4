#include "server/sasl/scram.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include <utility>

#include "net/base/base64.h"
#include "net/base/check.h"
#include "server/xmpp/jid.h"

namespace server {
namespace {

const EVP_MD* Digest(ScramHash hash) {
  switch (hash) {
    case ScramHash::kSha1:
      return EVP_sha1();
    case ScramHash::kSha256:
      return EVP_sha256();
    case ScramHash::kSha512:
      return EVP_sha512();
  }
  return nullptr;
}

const unsigned char* Bytes(std::string_view text) {
  return reinterpret_cast<const unsigned char*>(text.data());
}
unsigned char* Bytes(std::string& text) { return reinterpret_cast<unsigned char*>(text.data()); }

std::string Hmac(ScramHash hash, std::string_view key, std::string_view text) {
  std::string mac(ScramDigestBytes(hash), '\0');
  unsigned size = 0;
  CHECK(HMAC(Digest(hash), key.data(), static_cast<int>(key.size()), Bytes(text), text.size(),
             Bytes(mac), &size) != nullptr);
  return mac;
}

std::string Hash(ScramHash hash, std::string_view text) {
  std::string digest(ScramDigestBytes(hash), '\0');
  CHECK(EVP_Digest(text.data(), text.size(), Bytes(digest), nullptr, Digest(hash), nullptr) == 1);
  return digest;
}

std::string Xor(std::string a, std::string_view b) {
  for (size_t i = 0; i < a.size(); ++i) a[i] = static_cast<char>(a[i] ^ b[i]);
  return a;
}

bool Same(std::string_view a, std::string_view b) {
  return a.size() == b.size() && CRYPTO_memcmp(a.data(), b.data(), a.size()) == 0;
}

// "=2C" and "=3D" (RFC 5802 section 5.1); nothing for any other "=".
std::optional<std::string> DecodeName(std::string_view text) {
  std::string name;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '=') {
      name += text[i];
    } else if (text.substr(i, 3) == "=2C") {
      name += ',';
      i += 2;
    } else if (text.substr(i, 3) == "=3D") {
      name += '=';
      i += 2;
    } else {
      return std::nullopt;
    }
  }
  return name.empty() ? std::nullopt : std::optional(std::move(name));
}

// Takes "k=value" off the front, up to the next comma.
std::optional<std::string_view> Take(std::string_view& text, char key) {
  if (text.size() < 2 || text[0] != key || text[1] != '=') return std::nullopt;
  const size_t comma = text.find(',');
  const std::string_view value = text.substr(2, comma == text.npos ? text.npos : comma - 2);
  text.remove_prefix(comma == text.npos ? text.size() : comma + 1);
  return value;
}

bool IsNonce(std::string_view nonce) {
  if (nonce.empty()) return false;
  for (const char c : nonce) {
    if (c < 0x21 || c > 0x7e || c == ',') return false;
  }
  return true;
}

constexpr size_t kMessageMax = 4096;

}  // namespace

std::string_view ScramName(ScramHash hash) {
  static constexpr std::array<std::string_view, kScramHashes> kNames = {
      "SCRAM-SHA-1", "SCRAM-SHA-256", "SCRAM-SHA-512"};
  return kNames[static_cast<size_t>(hash)];
}

size_t ScramDigestBytes(ScramHash hash) {
  static constexpr std::array<size_t, kScramHashes> kBytes = {20, 32, 64};
  return kBytes[static_cast<size_t>(hash)];
}

std::string_view ToString(SaslFailure failure) {
  switch (failure) {
    case SaslFailure::kAborted:
      return "aborted";
    case SaslFailure::kAccountDisabled:
      return "account-disabled";
    case SaslFailure::kIncorrectEncoding:
      return "incorrect-encoding";
    case SaslFailure::kInvalidAuthzid:
      return "invalid-authzid";
    case SaslFailure::kInvalidMechanism:
      return "invalid-mechanism";
    case SaslFailure::kMalformedRequest:
      return "malformed-request";
    case SaslFailure::kMechanismTooWeak:
      return "mechanism-too-weak";
    case SaslFailure::kNotAuthorized:
      return "not-authorized";
    case SaslFailure::kTemporaryAuthFailure:
      return "temporary-auth-failure";
  }
  return "?";
}

std::optional<ScramKeys> MakeScramKeys(ScramHash hash, std::string_view password,
                                       std::string_view salt, uint32_t iterations) {
  auto prepared = PreparePassword(password);
  if (!prepared || iterations == 0) return std::nullopt;
  std::string salted(ScramDigestBytes(hash), '\0');
  CHECK(PKCS5_PBKDF2_HMAC(prepared->data(), static_cast<int>(prepared->size()), Bytes(salt),
                          static_cast<int>(salt.size()), static_cast<int>(iterations), Digest(hash),
                          static_cast<int>(salted.size()), Bytes(salted)) == 1);
  std::string client_key = Hmac(hash, salted, "Client Key");
  ScramKeys keys{.salt = std::string(salt),
                 .iterations = iterations,
                 .stored_key = Hash(hash, client_key),
                 .server_key = Hmac(hash, salted, "Server Key")};
  OPENSSL_cleanse(salted.data(), salted.size());
  OPENSSL_cleanse(client_key.data(), client_key.size());
  OPENSSL_cleanse(prepared->data(), prepared->size());
  return keys;
}

bool ScramMatches(ScramHash hash, const ScramKeys& keys, std::string_view password) {
  const auto given = MakeScramKeys(hash, password, keys.salt, keys.iterations);
  return given && Same(given->stored_key, keys.stored_key);
}

ScramKeys DecoyScramKeys(ScramHash hash, std::string_view secret, std::string_view name,
                         uint32_t iterations) {
  const std::string digest = Hmac(ScramHash::kSha256, secret, name);
  return {.salt = digest.substr(0, 16),
          .iterations = iterations,
          .stored_key = std::string(ScramDigestBytes(hash), '\0'),
          .server_key = std::string(ScramDigestBytes(hash), '\0')};
}

ScramServer::ScramServer(Options options, const ChannelBindings* bindings)
    : options_(std::move(options)), bindings_(bindings) {}

std::expected<ScramServer::First, SaslFailure> ScramServer::ReadFirst(std::string_view message) {
  const auto malformed = std::unexpected(SaslFailure::kMalformedRequest);
  if (message.size() > kMessageMax) return malformed;
  std::string_view rest = message;
  const size_t flag_end = rest.find(',');
  if (flag_end == rest.npos) return malformed;
  const std::string_view flag = rest.substr(0, flag_end);
  rest.remove_prefix(flag_end + 1);
  if (flag.starts_with("p=")) {
    if (!options_.plus) return malformed;
    const std::string_view kind = flag.substr(2);
    binding_ = kind == "tls-exporter"           ? std::string_view(bindings_->exporter)
               : kind == "tls-server-end-point" ? std::string_view(bindings_->server_end_point)
                                                : std::string_view();
    if (binding_.empty()) return malformed;
  } else if (options_.plus || (flag != "n" && flag != "y")) {
    return malformed;
  } else if (flag == "y" && options_.plus_was_offered) {
    // The client saw no -PLUS: it was taken out on the way (RFC 5802 section 6).
    return std::unexpected(SaslFailure::kNotAuthorized);
  }
  First first;
  const size_t authzid_end = rest.find(',');
  if (authzid_end == rest.npos) return malformed;
  if (authzid_end > 0) {
    auto field = rest.substr(0, authzid_end);
    const auto value = Take(field, 'a');
    auto name = value ? DecodeName(*value) : std::nullopt;
    if (!name) return malformed;
    first.authzid = std::move(*name);
  }
  rest.remove_prefix(authzid_end + 1);
  gs2_header_ = message.substr(0, message.size() - rest.size());
  client_first_bare_ = rest;
  // "m=" is an extension that must be understood.
  const auto name = Take(rest, 'n');
  const auto nonce = name ? Take(rest, 'r') : std::nullopt;
  auto decoded = name ? DecodeName(*name) : std::nullopt;
  if (!decoded || !nonce || !IsNonce(*nonce)) return malformed;
  first.name = std::move(*decoded);
  nonce_ = std::string(*nonce) + options_.nonce;
  return first;
}

std::string ScramServer::Challenge(const ScramKeys& keys, bool exists) {
  keys_ = keys;
  exists_ = exists;
  server_first_ = "r=" + nonce_ + ",s=" + net::Base64Encode(keys.salt) +
                  ",i=" + std::to_string(keys.iterations);
  return server_first_;
}

std::expected<std::string, SaslFailure> ScramServer::ReadFinal(std::string_view message) {
  CHECK(!server_first_.empty());
  const auto malformed = std::unexpected(SaslFailure::kMalformedRequest);
  if (message.size() > kMessageMax) return malformed;
  const size_t proof_at = message.rfind(",p=");
  if (proof_at == message.npos) return malformed;
  const std::string_view without_proof = message.substr(0, proof_at);
  const auto proof = net::Base64Decode(message.substr(proof_at + 3));
  std::string_view rest = without_proof;
  const auto binding = Take(rest, 'c');
  const auto nonce = binding ? Take(rest, 'r') : std::nullopt;
  const auto bound = binding ? net::Base64Decode(*binding) : std::nullopt;
  if (!proof || !nonce || !bound || proof->size() != ScramDigestBytes(options_.hash)) {
    return malformed;
  }
  const auto refused = std::unexpected(SaslFailure::kNotAuthorized);
  if (!Same(*nonce, nonce_)) return refused;
  if (!Same(*bound, gs2_header_ + std::string(binding_))) return refused;
  const std::string signed_text =
      client_first_bare_ + "," + server_first_ + "," + std::string(without_proof);
  const std::string client_signature = Hmac(options_.hash, keys_.stored_key, signed_text);
  const std::string client_key = Xor(*proof, client_signature);
  const bool proven = Same(Hash(options_.hash, client_key), keys_.stored_key);
  if (!proven || !exists_) return refused;
  return "v=" + net::Base64Encode(Hmac(options_.hash, keys_.server_key, signed_text));
}

}  // namespace server
