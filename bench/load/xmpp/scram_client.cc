#include "bench/load/xmpp/scram_client.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>

#include <array>
#include <charconv>

namespace bench {
namespace {

const EVP_MD* Digest(ScramHash hash) {
  return hash == ScramHash::kSha1 ? EVP_sha1() : EVP_sha256();
}

const unsigned char* Bytes(std::string_view text) {
  return reinterpret_cast<const unsigned char*>(text.data());
}

std::string Text(const unsigned char* bytes, std::size_t size) {
  return {reinterpret_cast<const char*>(bytes), size};
}

std::string Hmac(ScramHash hash, std::string_view key, std::string_view data) {
  std::array<unsigned char, EVP_MAX_MD_SIZE> out{};
  unsigned int size = 0;
  HMAC(Digest(hash), key.data(), static_cast<int>(key.size()), Bytes(data), data.size(), out.data(),
       &size);
  return Text(out.data(), size);
}

std::string Hash(ScramHash hash, std::string_view data) {
  std::array<unsigned char, EVP_MAX_MD_SIZE> out{};
  unsigned int size = 0;
  EVP_Digest(data.data(), data.size(), out.data(), &size, Digest(hash), nullptr);
  return Text(out.data(), size);
}

std::string Salted(ScramHash hash, std::string_view password, std::string_view salt,
                   std::uint32_t iterations) {
  std::array<unsigned char, EVP_MAX_MD_SIZE> out{};
  const int size = EVP_MD_get_size(Digest(hash));
  PKCS5_PBKDF2_HMAC(password.data(), static_cast<int>(password.size()), Bytes(salt),
                    static_cast<int>(salt.size()), static_cast<int>(iterations), Digest(hash), size,
                    out.data());
  return Text(out.data(), static_cast<std::size_t>(size));
}

// The value of `key`= in a SCRAM message.
std::string_view Field(std::string_view message, char key) {
  while (!message.empty()) {
    const std::size_t comma = message.find(',');
    const std::string_view part = message.substr(0, comma);
    if (part.size() >= 2 && part[0] == key && part[1] == '=') return part.substr(2);
    if (comma == std::string_view::npos) return {};
    message.remove_prefix(comma + 1);
  }
  return {};
}

std::string EscapedName(std::string_view user) {
  std::string out;
  for (const char c : user) {
    if (c == ',') {
      out += "=2C";
    } else if (c == '=') {
      out += "=3D";
    } else {
      out += c;
    }
  }
  return out;
}

}  // namespace

const char* MechanismName(ScramHash hash) {
  return hash == ScramHash::kSha1 ? "SCRAM-SHA-1" : "SCRAM-SHA-256";
}

std::string Base64(std::string_view bytes) {
  std::string out((bytes.size() + 2) / 3 * 4 + 1, '\0');
  const int size = EVP_EncodeBlock(reinterpret_cast<unsigned char*>(out.data()), Bytes(bytes),
                                   static_cast<int>(bytes.size()));
  out.resize(static_cast<std::size_t>(size));
  return out;
}

std::expected<std::string, std::string> FromBase64(std::string_view text) {
  std::string out(text.size() / 4 * 3 + 1, '\0');
  const int size = EVP_DecodeBlock(reinterpret_cast<unsigned char*>(out.data()), Bytes(text),
                                   static_cast<int>(text.size()));
  if (size < 0 || text.size() % 4 != 0) return std::unexpected("no base64");
  std::size_t padding = 0;
  while (padding < 2 && padding < text.size() && text[text.size() - 1 - padding] == '=') ++padding;
  out.resize(static_cast<std::size_t>(size) - padding);
  return out;
}

const ScramKeys& SaltedPasswords::Get(ScramHash hash, std::string_view password,
                                      std::string_view salt, std::uint32_t iterations) {
  std::string key(1, static_cast<char>(hash));
  key.append(std::to_string(iterations)).append(1, '\0').append(salt).append(1, '\0');
  key.append(password);
  const auto found = keys_.find(key);
  if (found != keys_.end()) return found->second;
  const std::string salted = Salted(hash, password, salt, iterations);
  ScramKeys keys;
  keys.client_key = Hmac(hash, salted, "Client Key");
  keys.stored_key = Hash(hash, keys.client_key);
  keys.server_key = Hmac(hash, salted, "Server Key");
  return keys_.emplace(std::move(key), std::move(keys)).first->second;
}

ScramClient::ScramClient(ScramHash hash, std::string_view user, std::string nonce)
    : hash_(hash),
      nonce_(std::move(nonce)),
      first_bare_("n=" + EscapedName(user) + ",r=" + nonce_) {}

std::expected<std::string, std::string> ScramClient::Final(std::string_view server_first,
                                                           std::string_view password,
                                                           SaltedPasswords& salted) {
  const std::string_view nonce = Field(server_first, 'r');
  if (!nonce.starts_with(nonce_) || nonce.size() == nonce_.size()) {
    return std::unexpected("the server's nonce does not continue ours");
  }
  const auto salt = FromBase64(Field(server_first, 's'));
  if (!salt || salt->empty()) return std::unexpected("the server's salt is missing or no base64");
  const std::string_view count = Field(server_first, 'i');
  std::uint32_t iterations = 0;
  const auto [end, error] = std::from_chars(count.data(), count.data() + count.size(), iterations);
  if (error != std::errc() || end != count.data() + count.size() || iterations == 0 ||
      iterations > kIterationsMax) {
    return std::unexpected("the server's iteration count is none, or above 1000000");
  }
  const ScramKeys& keys = salted.Get(hash_, password, *salt, iterations);
  std::string final = "c=biws,r=" + std::string(nonce);
  const std::string message = first_bare_ + "," + std::string(server_first) + "," + final;
  std::string proof = Hmac(hash_, keys.stored_key, message);
  for (std::size_t i = 0; i < proof.size(); ++i) {
    proof[i] = static_cast<char>(proof[i] ^ keys.client_key[i]);
  }
  server_signature_ = Base64(Hmac(hash_, keys.server_key, message));
  return final + ",p=" + Base64(proof);
}

bool ScramClient::Verify(std::string_view server_final) const {
  return !server_signature_.empty() && Field(server_final, 'v') == server_signature_;
}

}  // namespace bench
