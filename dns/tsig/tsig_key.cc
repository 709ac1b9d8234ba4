#include "dns/tsig/tsig_key.h"

#include <fcntl.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include "net/base/check.h"

namespace dns {
namespace {

constexpr size_t kKeyFileBytesMax = 64 * 1024;
constexpr std::array kAlgorithms = {TsigAlgorithm::kHmacSha256, TsigAlgorithm::kHmacSha384,
                                    TsigAlgorithm::kHmacSha512};

const EVP_MD* Digest(TsigAlgorithm algorithm) {
  switch (algorithm) {
    case TsigAlgorithm::kHmacSha256:
      return EVP_sha256();
    case TsigAlgorithm::kHmacSha384:
      return EVP_sha384();
    case TsigAlgorithm::kHmacSha512:
      return EVP_sha512();
  }
  return nullptr;
}

std::optional<Bytes> SecretFromBase64(std::string_view text) {
  if (text.empty() || text.size() % 4 != 0 || text.size() > 2 * kTsigSecretBytesMax) {
    return std::nullopt;
  }
  Bytes out(text.size() / 4 * 3);
  int size = EVP_DecodeBlock(out.data(), reinterpret_cast<const unsigned char*>(text.data()),
                             static_cast<int>(text.size()));
  if (size < 0) return std::nullopt;
  size_t padding = text.ends_with("==") ? 2 : text.ends_with("=") ? 1 : 0;
  out.resize(static_cast<size_t>(size) - padding);
  return out;
}

// Words, "strings" and the signs { } ; of a key file; comments as BIND has them.
class KeyText {
 public:
  explicit KeyText(std::string_view text) : text_(text) {}

  // "" at the end.
  std::string_view Next() {
    SkipBlank();
    if (at_ == text_.size()) return "";
    if (text_[at_] == '"') {
      size_t end = text_.find('"', at_ + 1);
      if (end == std::string_view::npos) end = text_.size();
      std::string_view word = text_.substr(at_ + 1, end - at_ - 1);
      at_ = std::min(end + 1, text_.size());
      return word;
    }
    if (kSigns.find(text_[at_]) != std::string_view::npos) return text_.substr(at_++, 1);
    size_t end = at_;
    while (end < text_.size() && !IsBlank(text_[end]) &&
           kSigns.find(text_[end]) == std::string_view::npos && text_[end] != '"') {
      ++end;
    }
    std::string_view word = text_.substr(at_, end - at_);
    at_ = end;
    return word;
  }
  size_t line() const {
    return 1 + static_cast<size_t>(std::ranges::count(text_.substr(0, at_), '\n'));
  }

 private:
  static constexpr std::string_view kSigns = "{};";
  static bool IsBlank(char c) { return c == ' ' || c == '\t' || c == '\r' || c == '\n'; }
  void SkipBlank() {
    while (at_ < text_.size()) {
      if (IsBlank(text_[at_])) {
        ++at_;
      } else if (text_[at_] == '#' || text_.substr(at_).starts_with("//")) {
        at_ = std::min(text_.find('\n', at_), text_.size());
      } else {
        return;
      }
    }
  }

  std::string_view text_;
  size_t at_ = 0;
};

std::unexpected<std::string> Wrong(const KeyText& text, const std::string& what) {
  return std::unexpected("line " + std::to_string(text.line()) + ": " + what +
                         "; a key is: key \"NAME\" { algorithm hmac-sha256; secret \"BASE64\"; };");
}

std::expected<TsigKey, std::string> ReadOne(KeyText& text) {
  TsigKey key;
  auto name = Name::FromText(text.Next(), Name());
  if (!name || name->is_root()) return Wrong(text, "the key's name is not a domain name");
  key.name = *name;
  if (text.Next() != "{") return Wrong(text, "{ is missing");
  bool has_algorithm = false;
  for (std::string_view word = text.Next(); word != "}"; word = text.Next()) {
    std::string_view value = text.Next();
    if (text.Next() != ";") return Wrong(text, "; is missing");
    if (word == "algorithm") {
      auto algorithm_name = Name::FromText(value, Name());
      auto algorithm = algorithm_name ? TsigAlgorithmOf(*algorithm_name) : std::nullopt;
      if (!algorithm) return Wrong(text, "the algorithm is not hmac-sha256, -sha384 or -sha512");
      key.algorithm = *algorithm;
      has_algorithm = true;
    } else if (word == "secret") {
      auto secret = SecretFromBase64(value);
      if (!secret) return Wrong(text, "the secret is not Base64");
      key.secret = std::move(*secret);
    } else {
      return Wrong(text, "a key has an algorithm and a secret, nothing else");
    }
  }
  if (!has_algorithm) return Wrong(text, "the algorithm is missing");
  if (key.secret.size() < kTsigSecretBytesMin || key.secret.size() > kTsigSecretBytesMax) {
    return Wrong(text, "the secret has not " + std::to_string(kTsigSecretBytesMin) + " to " +
                           std::to_string(kTsigSecretBytesMax) + " bytes");
  }
  std::string_view end = text.Next();
  if (end != ";") return Wrong(text, "; is missing behind }");
  return key;
}

}  // namespace

TsigKey::~TsigKey() {
  if (!secret.empty()) OPENSSL_cleanse(secret.data(), secret.size());
}

std::string_view ToString(TsigAlgorithm algorithm) {
  switch (algorithm) {
    case TsigAlgorithm::kHmacSha256:
      return "hmac-sha256";
    case TsigAlgorithm::kHmacSha384:
      return "hmac-sha384";
    case TsigAlgorithm::kHmacSha512:
      return "hmac-sha512";
  }
  return "?";
}

const Name& AlgorithmName(TsigAlgorithm algorithm) {
  static const std::array<Name, kAlgorithms.size()> kNames = [] {
    std::array<Name, kAlgorithms.size()> names;
    for (TsigAlgorithm a : kAlgorithms)
      names[static_cast<size_t>(a)] = *Name::FromText(ToString(a));
    return names;
  }();
  return kNames[static_cast<size_t>(algorithm)];
}

std::optional<TsigAlgorithm> TsigAlgorithmOf(const Name& name) {
  for (TsigAlgorithm algorithm : kAlgorithms) {
    if (AlgorithmName(algorithm) == name) return algorithm;
  }
  return std::nullopt;
}

size_t MacBytes(TsigAlgorithm algorithm) {
  return static_cast<size_t>(EVP_MD_get_size(Digest(algorithm)));
}

Bytes Mac(const TsigKey& key, ByteView data) {
  Bytes mac(EVP_MAX_MD_SIZE);
  unsigned size = 0;
  const unsigned char* made =
      HMAC(Digest(key.algorithm), key.secret.data(), static_cast<int>(key.secret.size()),
           data.data(), data.size(), mac.data(), &size);
  CHECK(made != nullptr);
  mac.resize(size);
  return mac;
}

const TsigKey* TsigKeys::Find(ByteView name) const {
  auto it = std::ranges::find_if(
      keys_, [&](const TsigKey& key) { return std::ranges::equal(key.name.wire(), name); });
  return it == keys_.end() ? nullptr : &*it;
}

std::expected<void, std::string> TsigKeys::Add(TsigKey key) {
  if (Find(key.name.wire()) != nullptr) {
    return std::unexpected("the key " + key.name.ToString() + " is there twice");
  }
  if (keys_.size() == kTsigKeysMax) {
    return std::unexpected("there are more than " + std::to_string(kTsigKeysMax) + " keys");
  }
  keys_.push_back(std::move(key));
  return {};
}

std::expected<std::vector<TsigKey>, std::string> ReadTsigKeys(std::string_view text) {
  KeyText words(text);
  std::vector<TsigKey> keys;
  for (std::string_view word = words.Next(); !word.empty(); word = words.Next()) {
    if (word != "key") return Wrong(words, "there is something else than a key");
    auto key = ReadOne(words);
    if (!key) return std::unexpected(key.error());
    if (keys.size() == kTsigKeysMax) return Wrong(words, "there are too many keys");
    keys.push_back(std::move(*key));
  }
  if (keys.empty()) return Wrong(words, "there is no key");
  return keys;
}

std::expected<std::vector<TsigKey>, std::string> ReadTsigKeyFile(const std::string& path) {
  int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return std::unexpected(path + ": " + std::strerror(errno));
  struct stat info{};
  std::string text(kKeyFileBytesMax + 1, '\0');
  ssize_t size = fstat(fd, &info) == 0 ? read(fd, text.data(), text.size()) : -1;
  int error = errno;
  close(fd);
  if (size < 0) return std::unexpected(path + ": " + std::strerror(error));
  if ((info.st_mode & 077) != 0) {
    OPENSSL_cleanse(text.data(), text.size());
    return std::unexpected(path + ": others may read the secret; chmod 600 " + path);
  }
  if (static_cast<size_t>(size) > kKeyFileBytesMax) return std::unexpected(path + ": is too large");
  auto keys = ReadTsigKeys(std::string_view(text).substr(0, static_cast<size_t>(size)));
  OPENSSL_cleanse(text.data(), text.size());
  if (!keys) return std::unexpected(path + ": " + keys.error());
  return keys;
}

}  // namespace dns
