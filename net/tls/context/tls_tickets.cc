#include "net/tls/context/tls_tickets.h"

#include <fcntl.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <span>
#include <string_view>
#include <vector>

#include "net/base/byte_reader.h"
#include "net/base/check.h"
#include "net/tls/record/tls_hkdf.h"

namespace net {

namespace {

constexpr std::string_view kRemedy =
    "write three or more lines, each made by: openssl rand -base64 80 | tr -d '\\n'; echo";

using Bytes = std::span<const uint8_t>;

// Keys on their way into a set; wiped.
struct Keys {
  std::array<TlsTicketKey, 3> all;
  ~Keys() { OPENSSL_cleanse(all.data(), sizeof(all)); }
};

void Randomize(TlsTicketKey* key) {
  // RAND_bytes fails only when the system has no entropy source; there is no safe way on.
  CHECK(RAND_bytes(reinterpret_cast<uint8_t*>(key), sizeof(*key)) == 1);
}

bool DecodeKey(std::string_view line, TlsTicketKey* key) {
  // 80 bytes are 108 characters with one '=' of padding.
  if (line.size() != 108) return false;
  std::array<uint8_t, 81> bytes;
  int n = EVP_DecodeBlock(bytes.data(), reinterpret_cast<const uint8_t*>(line.data()), 108);
  bool ok = n == 81 && line.back() == '=' && line[106] != '=';
  if (ok) std::memcpy(key, bytes.data(), sizeof(*key));
  OPENSSL_cleanse(bytes.data(), bytes.size());
  return ok;
}

std::expected<std::shared_ptr<const TlsTicketKeySet>, TlsConfigError> Parse(const std::string& path,
                                                                            std::string_view text) {
  std::vector<std::string_view> lines;
  size_t number = 0;
  while (!text.empty()) {
    ++number;
    size_t end = std::min(text.find('\n'), text.size());
    std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    if (!line.empty() && line.back() == '\r') line.remove_suffix(1);
    if (!line.empty()) lines.push_back(line);
    TlsTicketKey key;
    if (!line.empty() && !DecodeKey(line, &key)) {
      return std::unexpected(TlsConfigError{path + ":" + std::to_string(number),
                                            "is not a ticket key of 80 bytes in base64",
                                            std::string(kRemedy)});
    }
  }
  if (lines.size() < 3) {
    return std::unexpected(TlsConfigError{
        path, "has " + std::to_string(lines.size()) + " ticket keys, three are needed",
        std::string(kRemedy)});
  }
  Keys keys;
  for (size_t i = 0; i < 3; ++i) CHECK(DecodeKey(lines[lines.size() - 3 + i], &keys.all[i]));
  return std::make_shared<TlsTicketKeySet>(keys.all);
}

std::expected<std::shared_ptr<const TlsTicketKeySet>, TlsConfigError> Load(
    const std::string& path) {
  if (auto mode = CheckSecretFileMode(path); !mode) return std::unexpected(mode.error());
  auto text = ReadTlsFile(path);
  if (!text) return std::unexpected(text.error());
  auto set = Parse(path, *text);
  OPENSSL_cleanse(text->data(), text->size());
  return set;
}

}  // namespace

TlsTicketKeySet::TlsTicketKeySet(const std::array<TlsTicketKey, 3>& from) : keys(from), seals{} {
  TlsHkdf hmac;
  for (size_t i = 0; i < keys.size(); ++i) {
    const auto whole = std::as_bytes(std::span(&keys[i], 1));
    const Bytes key(reinterpret_cast<const uint8_t*>(whole.data()), whole.size());
    std::array<uint8_t, 32> name;
    CHECK(hmac.Hmac(TlsDigest::kSha256, key, {BytesOf("TLS 1.3 ticket name")}, name));
    CHECK(hmac.Hmac(TlsDigest::kSha256, key, {BytesOf("TLS 1.3 ticket key")}, seals[i].key));
    std::copy_n(name.begin(), seals[i].name.size(), seals[i].name.begin());
  }
}

TlsTicketKeySet::~TlsTicketKeySet() {
  OPENSSL_cleanse(keys.data(), sizeof(keys));
  OPENSSL_cleanse(seals.data(), sizeof(seals));
}

std::shared_ptr<TlsTicketKeys> TlsTicketKeys::Random() {
  Keys random;
  for (TlsTicketKey& key : random.all) Randomize(&key);
  auto keys = std::make_shared<TlsTicketKeys>();
  keys->set_ = std::make_shared<TlsTicketKeySet>(random.all);
  return keys;
}

std::expected<std::shared_ptr<TlsTicketKeys>, TlsConfigError> TlsTicketKeys::FromFile(
    const std::string& path) {
  auto set = Load(path);
  if (!set) return std::unexpected(set.error());
  auto keys = std::make_shared<TlsTicketKeys>();
  keys->set_ = std::move(*set);
  return keys;
}

std::shared_ptr<const TlsTicketKeySet> TlsTicketKeys::set() const {
  std::lock_guard lock(mutex_);
  return set_;
}

void TlsTicketKeys::Rotate() {
  std::shared_ptr<const TlsTicketKeySet> old = set();
  Keys next;
  next.all[0] = old->keys[1];
  next.all[1] = old->keys[2];
  Randomize(&next.all[2]);
  auto made = std::make_shared<TlsTicketKeySet>(next.all);
  std::lock_guard lock(mutex_);
  set_ = std::move(made);
}

std::expected<void, TlsConfigError> TlsTicketKeys::Reload(const std::string& path) {
  auto loaded = Load(path);
  if (!loaded) return std::unexpected(loaded.error());
  std::lock_guard lock(mutex_);
  set_ = std::move(*loaded);
  return {};
}

std::expected<void, TlsConfigError> TlsTicketKeys::Save(const std::string& path) const {
  std::shared_ptr<const TlsTicketKeySet> keys = set();
  std::string text;
  for (const TlsTicketKey& key : keys->keys) {
    std::array<uint8_t, 112> line;
    int n = EVP_EncodeBlock(line.data(), reinterpret_cast<const uint8_t*>(&key), sizeof(key));
    text.append(reinterpret_cast<const char*>(line.data()), static_cast<size_t>(n)).push_back('\n');
    OPENSSL_cleanse(line.data(), line.size());
  }
  std::string scratch = path + ".new";
  unlink(scratch.c_str());
  int fd = open(scratch.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  bool ok = fd >= 0 && write(fd, text.data(), text.size()) == static_cast<ssize_t>(text.size()) &&
            fsync(fd) == 0;
  int error = errno;
  if (fd >= 0) close(fd);
  OPENSSL_cleanse(text.data(), text.size());
  if (ok && rename(scratch.c_str(), path.c_str()) != 0) {
    error = errno;
    ok = false;
  }
  if (ok) return {};
  unlink(scratch.c_str());
  return std::unexpected(TlsConfigError{path,
                                        std::string("cannot be written: ") + std::strerror(error),
                                        "check the folder's owner and free space"});
}

}  // namespace net
