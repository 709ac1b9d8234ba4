// SCRAM (RFC 5802, 7677) as the server has it, with SHA-1, SHA-256 and SHA-512, with and without
// channel binding (tls-exporter, RFC 9266; tls-server-end-point, RFC 5929): messages in, messages
// out, over keys from which no password can be had.
//
// Who is asked for and does not exist meets the same exchange as who does: a salt that is always
// the same for a name, and a failure at the end. Proofs are compared in constant time.
//
// Pure: the nonce is given. One thread at a time.
#pragma once

#include <array>
#include <cstdint>
#include <expected>
#include <optional>
#include <string>
#include <string_view>

namespace server {

enum class ScramHash : uint8_t { kSha1, kSha256, kSha512 };
inline constexpr size_t kScramHashes = 3;
// "SCRAM-SHA-256", without "-PLUS".
std::string_view ScramName(ScramHash hash);
size_t ScramDigestBytes(ScramHash hash);

// What is stored of a password.
struct ScramKeys {
  std::string salt;  // bytes
  uint32_t iterations = 0;
  std::string stored_key;
  std::string server_key;

  friend bool operator==(const ScramKeys&, const ScramKeys&) = default;
};

inline constexpr uint32_t kScramIterations = 10'000;
inline constexpr uint32_t kScramIterationsMax = 10'000'000;  // of imported accounts

// Takes milliseconds, which is the point. Nothing where SASLprep forbids the password.
std::optional<ScramKeys> MakeScramKeys(ScramHash hash, std::string_view password,
                                       std::string_view salt, uint32_t iterations);
// Whether these are this password's keys, for PLAIN.
bool ScramMatches(ScramHash hash, const ScramKeys& keys, std::string_view password);
// For a name that nobody has: the salt that it would have. `secret`: the server's own.
ScramKeys DecoyScramKeys(ScramHash hash, std::string_view secret, std::string_view name,
                         uint32_t iterations);

// What the connection can be bound to; "" where it cannot.
struct ChannelBindings {
  std::string exporter;
  std::string server_end_point;
};

// RFC 6120 section 6.5.
enum class SaslFailure : uint8_t {
  kAborted,
  kAccountDisabled,
  kIncorrectEncoding,
  kInvalidAuthzid,
  kInvalidMechanism,
  kMalformedRequest,
  kMechanismTooWeak,
  kNotAuthorized,
  kTemporaryAuthFailure,
};
std::string_view ToString(SaslFailure failure);

class ScramServer {
 public:
  struct Options {
    ScramHash hash = ScramHash::kSha256;
    bool plus = false;              // the client chose "-PLUS"
    bool plus_was_offered = false;  // then "y" means that somebody took it out of the offer
    std::string nonce;              // at least 18 random bytes as text without commas
  };
  ScramServer(Options options, const ChannelBindings* bindings);

  struct First {
    std::string name;     // SASLprep is the caller's
    std::string authzid;  // "" where none was asked for
  };
  // client-first-message, decoded. Then the caller looks the keys up.
  std::expected<First, SaslFailure> ReadFirst(std::string_view message);
  // server-first-message. `exists` false: the keys are a decoy, and the exchange fails at its end.
  std::string Challenge(const ScramKeys& keys, bool exists);
  // client-final-message; what is returned goes out with <success/>.
  std::expected<std::string, SaslFailure> ReadFinal(std::string_view message);

 private:
  Options options_;
  const ChannelBindings* bindings_;
  std::string gs2_header_;
  std::string client_first_bare_;
  std::string server_first_;
  std::string nonce_;
  std::string_view binding_;  // what "c=" must hold behind the header
  ScramKeys keys_;
  bool exists_ = false;
};

}  // namespace server
