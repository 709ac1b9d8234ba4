#include "dns/zone/secret_file.h"

#include <fcntl.h>
#include <openssl/crypto.h>
#include <unistd.h>

#include <algorithm>

namespace dns {

SecretFile::SecretFile(const std::string& path) {
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return;
  ssize_t got = 1;
  while (got > 0 && size_ < bytes_.size()) {
    got = read(fd, bytes_.data() + size_, bytes_.size() - size_);
    if (got > 0) size_ += static_cast<size_t>(got);
  }
  close(fd);
  good_ = got >= 0 && size_ <= kBytesMax;
}

SecretFile::~SecretFile() { OPENSSL_cleanse(bytes_.data(), bytes_.size()); }

bool SecretFile::NextLine(std::string_view& line) {
  if (!good_ || at_ >= size_) return false;
  const std::string_view rest(bytes_.data() + at_, size_ - at_);
  line = rest.substr(0, rest.find('\n'));
  at_ += std::min(line.size() + 1, rest.size());
  return true;
}

}  // namespace dns
