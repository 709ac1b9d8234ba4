#include "server/config/cookie_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>

namespace server {

std::expected<std::string, std::string> ReadCookieFile(const std::string& path) {
  return ReadSecretFile(path, "cookie");
}

std::expected<std::string, std::string> ReadSecretFile(const std::string& path,
                                                       std::string_view what) {
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOCTTY);
  if (fd < 0) return std::unexpected(path + ": cannot be read: " + std::strerror(errno));
  // Judged and read through one descriptor, so it is one file.
  struct stat facts{};
  char bytes[kCookieBytesMax + 2];
  const bool known = fstat(fd, &facts) == 0 && S_ISREG(facts.st_mode);
  const ssize_t size = known ? read(fd, bytes, sizeof(bytes)) : -1;
  close(fd);
  if (!known) return std::unexpected(path + ": is not a file");
  if ((facts.st_mode & 077U) != 0) {
    char mode[8];
    std::snprintf(mode, sizeof(mode), "%04o", facts.st_mode & 07777U);
    return std::unexpected(path + ": has mode " + mode + ", so others may read the " +
                           std::string(what) + "; chmod 0600 " + path);
  }
  if (size < 0) return std::unexpected(path + ": cannot be read: " + std::strerror(errno));
  std::string cookie(bytes, static_cast<size_t>(size));
  const auto blank = [](char c) { return c == ' ' || c == '\t' || c == '\r' || c == '\n'; };
  cookie.erase(std::find_if_not(cookie.rbegin(), cookie.rend(), blank).base(), cookie.end());
  cookie.erase(cookie.begin(), std::find_if_not(cookie.begin(), cookie.end(), blank));
  if (cookie.empty()) return std::unexpected(path + ": is empty; write the " + std::string(what));
  if (cookie.size() > kCookieBytesMax ||
      std::find_if(cookie.begin(), cookie.end(), blank) != cookie.end()) {
    return std::unexpected(path + ": is no " + std::string(what) +
                           ": one word of at most 255 bytes");
  }
  return cookie;
}

}  // namespace server
