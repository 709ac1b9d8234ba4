// The client's side of SCRAM (RFC 5802, 7677), without channel binding: what thousands of logins a
// second need and no more. Salting a password costs the client as much as everything else of a
// login together, so that salted passwords are kept: accounts that share salt, iterations and
// password share the work, others are salted once.
//
// Pure but for the hashes (OpenSSL). User names and passwords are taken as they are: ASCII, as
// test accounts have them (no SASLprep).
#pragma once

#include <cstdint>
#include <expected>
#include <string>
#include <string_view>
#include <unordered_map>

namespace bench {

enum class ScramHash : std::uint8_t { kSha1, kSha256 };
const char* MechanismName(ScramHash hash);

std::string Base64(std::string_view bytes);
std::expected<std::string, std::string> FromBase64(std::string_view text);

struct ScramKeys {
  std::string client_key;
  std::string stored_key;
  std::string server_key;
};

// Not bounded: one entry an account at most, 150 bytes each.
class SaltedPasswords {
 public:
  const ScramKeys& Get(ScramHash hash, std::string_view password, std::string_view salt,
                       std::uint32_t iterations);
  std::size_t Computed() const { return keys_.size(); }

 private:
  std::unordered_map<std::string, ScramKeys> keys_;
};

class ScramClient {
 public:
  // More would let a server stop the generator for seconds.
  static constexpr std::uint32_t kIterationsMax = 1'000'000;

  ScramClient(ScramHash hash, std::string_view user, std::string nonce);

  // client-first-message, with its GS2 header.
  std::string First() const { return "n,," + first_bare_; }
  // client-final-message in answer to the server's first.
  std::expected<std::string, std::string> Final(std::string_view server_first,
                                                std::string_view password, SaltedPasswords& salted);
  // Whether the server has proved that it knows the account.
  bool Verify(std::string_view server_final) const;

 private:
  ScramHash hash_;
  std::string nonce_;
  std::string first_bare_;
  std::string server_signature_;
};

}  // namespace bench
