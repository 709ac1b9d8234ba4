// The lines of a file in which a secret stands: its bytes are in one place, which is wiped behind
// them. (A stream of the library has a buffer that nobody wipes.)
//
// Not copied or moved; views of its lines end with it.
#pragma once

#include <array>
#include <cstddef>
#include <string>
#include <string_view>

namespace dns {

class SecretFile {
 public:
  static constexpr size_t kBytesMax = size_t{16} * 1024;  // a key's file has some hundreds

  explicit SecretFile(const std::string& path);
  ~SecretFile();
  SecretFile(const SecretFile&) = delete;
  SecretFile& operator=(const SecretFile&) = delete;

  // It could be read, and is not too large.
  explicit operator bool() const { return good_; }
  // False: there are no more.
  bool NextLine(std::string_view& line);

 private:
  std::array<char, kBytesMax + 1> bytes_;
  size_t size_ = 0;
  size_t at_ = 0;
  bool good_ = false;
};

}  // namespace dns
