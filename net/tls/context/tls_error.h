// A mistake in TLS configuration or in one of its files, said so that an operator can mend it.
#pragma once

#include <expected>
#include <string>
#include <vector>

namespace net {

struct TlsConfigError {
  std::string file;    // the file at fault; empty where it is an option
  std::string what;    // "the private key does not match the certificate /etc/…/chain.pem"
  std::string remedy;  // "set key to the key that the certificate was issued for"

  std::string ToString() const {
    std::string text = file.empty() ? what : file + ": " + what;
    return remedy.empty() ? text : text + "; " + remedy;
  }
};

using TlsConfigErrors = std::vector<TlsConfigError>;

// Empties OpenSSL's error queue of this thread and returns the last reason in words.
std::string TakeOpenSslError();

// The whole file, at most `max_bytes`; an error with a remedy when it cannot be read.
std::expected<std::string, TlsConfigError> ReadTlsFile(const std::string& path,
                                                       size_t max_bytes = size_t{1} << 20);

// An error when others than the owner may read the file at `path`, which holds a secret.
std::expected<void, TlsConfigError> CheckSecretFileMode(const std::string& path);

}  // namespace net
