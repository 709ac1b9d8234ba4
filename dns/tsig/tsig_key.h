// Keys of transaction signatures (RFC 8945): their names, algorithms and secrets.
//
// HMAC-SHA-256, -384 and -512 alone: MD5 and SHA-1 must not be used any more (RFC 8945 §6). Secrets
// come from files that nobody else may read, and are wiped when a table goes. Tables are immutable
// and shared by threads.
#pragma once

#include <expected>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "dns/wire/name.h"

namespace dns {

constexpr size_t kTsigKeysMax = 64;
constexpr size_t kTsigSecretBytesMax = 512;
// RFC 8945 §8: a key should be as long as the digest; shorter ones than this can be guessed.
constexpr size_t kTsigSecretBytesMin = 16;

enum class TsigAlgorithm { kHmacSha256, kHmacSha384, kHmacSha512 };
std::string_view ToString(TsigAlgorithm algorithm);  // "hmac-sha256"
std::optional<TsigAlgorithm> TsigAlgorithmOf(const Name& name);
const Name& AlgorithmName(TsigAlgorithm algorithm);
size_t MacBytes(TsigAlgorithm algorithm);

struct TsigKey {
  Name name;
  TsigAlgorithm algorithm = TsigAlgorithm::kHmacSha256;
  Bytes secret;

  TsigKey() = default;
  TsigKey(const TsigKey&) = default;
  TsigKey(TsigKey&&) = default;
  TsigKey& operator=(const TsigKey&) = default;
  TsigKey& operator=(TsigKey&&) = default;
  ~TsigKey();  // wipes the secret

  bool operator==(const TsigKey&) const = default;
};

// The MAC of `data`, as long as the algorithm makes it.
Bytes Mac(const TsigKey& key, ByteView data);

class TsigKeys {
 public:
  // Of the lower-case name in wire form; null when there is none.
  const TsigKey* Find(ByteView name) const;
  std::expected<void, std::string> Add(TsigKey key);
  bool empty() const { return keys_.empty(); }
  size_t size() const { return keys_.size(); }

  bool operator==(const TsigKeys&) const = default;

 private:
  std::vector<TsigKey> keys_;
};

// Keys as tsig-keygen writes them and BIND and NSD's tools read them, any number:
//   key "ns2.example.org" { algorithm hmac-sha256; secret "BASE64"; };
// Pure; the error says the line, never the secret.
std::expected<std::vector<TsigKey>, std::string> ReadTsigKeys(std::string_view text);
// The same from a file that only its owner may read (0600 or less).
std::expected<std::vector<TsigKey>, std::string> ReadTsigKeyFile(const std::string& path);

}  // namespace dns
