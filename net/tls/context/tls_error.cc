#include "net/tls/context/tls_error.h"

#include <fcntl.h>
#include <openssl/err.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>

namespace net {

std::string TakeOpenSslError() {
  unsigned long last = 0;
  while (unsigned long code = ERR_get_error()) last = code;
  if (last == 0) return "unknown error";
  const char* reason = ERR_reason_error_string(last);
  if (reason != nullptr) return reason;
  std::array<char, 32> number;
  std::snprintf(number.data(), number.size(), "OpenSSL error %lx", last);
  return number.data();
}

namespace {

std::string RemedyFor(int error) {
  if (error == ENOENT) return "create it or correct the path";
  if (error == EACCES) return "let the user that runs the program read it";
  return "";
}

}  // namespace

std::expected<std::string, TlsConfigError> ReadTlsFile(const std::string& path, size_t max_bytes) {
  int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) {
    int error = errno;
    return std::unexpected(TlsConfigError{
        path, std::string("cannot be read: ") + std::strerror(error), RemedyFor(error)});
  }
  std::string content;
  std::array<char, 4096> block;
  ssize_t n = 0;
  while ((n = read(fd, block.data(), block.size())) > 0 && content.size() <= max_bytes) {
    content.append(block.data(), static_cast<size_t>(n));
  }
  int error = n < 0 ? errno : 0;
  close(fd);
  explicit_bzero(block.data(), block.size());
  if (error != 0) {
    return std::unexpected(
        TlsConfigError{path, std::string("cannot be read: ") + std::strerror(error), ""});
  }
  if (content.size() > max_bytes) {
    return std::unexpected(TlsConfigError{
        path, "is larger than " + std::to_string(max_bytes) + " bytes", "check the path"});
  }
  return content;
}

std::expected<void, TlsConfigError> CheckSecretFileMode(const std::string& path) {
  struct stat info;
  if (stat(path.c_str(), &info) != 0) {
    int error = errno;
    return std::unexpected(TlsConfigError{
        path, std::string("cannot be read: ") + std::strerror(error), RemedyFor(error)});
  }
  if ((info.st_mode & 077) != 0) {
    std::array<char, 8> mode;
    std::snprintf(mode.data(), mode.size(), "%04o", info.st_mode & 07777);
    return std::unexpected(TlsConfigError{
        path, std::string("holds secrets but has mode ") + mode.data(), "run: chmod 0600 " + path});
  }
  return {};
}

}  // namespace net
