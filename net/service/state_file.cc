#include "net/service/state_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "net/io/socket.h"

namespace net {
namespace {

std::string Failed(const char* what, const std::string& path) {
  return std::string(what) + " " + path + ": " + std::strerror(errno);
}

bool WriteAll(int fd, const std::string& text) {
  size_t done = 0;
  while (done < text.size()) {
    const ssize_t count = write(fd, text.data() + done, text.size() - done);
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) return false;
    done += static_cast<size_t>(count);
  }
  return true;
}

}  // namespace

std::optional<std::string> ReadStateFile(const std::string& path) {
  const UniqueFd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd) return std::nullopt;
  std::string text;
  char part[4096];
  while (text.size() <= kStateFileMax) {
    const ssize_t count = read(fd.get(), part, sizeof part);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return std::nullopt;
    if (count == 0) break;
    text.append(part, static_cast<size_t>(count));
  }
  if (text.size() > kStateFileMax) text.resize(kStateFileMax + 1);
  return text;
}

std::expected<void, std::string> WriteStateFile(const std::string& path, const std::string& text) {
  const std::string fresh = path + ".new";
  UniqueFd fd(open(fresh.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
  if (!fd) return std::unexpected(Failed("cannot open", fresh));
  if (!WriteAll(fd.get(), text) || fsync(fd.get()) != 0) {
    return std::unexpected(Failed("cannot write", fresh));
  }
  if (rename(fresh.c_str(), path.c_str()) != 0) {
    return std::unexpected(Failed("cannot rename", fresh));
  }
  // The name, too, must survive a power cut.
  const size_t slash = path.rfind('/');
  const std::string folder = slash == std::string::npos ? "." : path.substr(0, slash + 1);
  const UniqueFd directory(open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (directory && fsync(directory.get()) != 0 && errno != EINVAL) {
    return std::unexpected(Failed("cannot sync", folder));
  }
  return {};
}

}  // namespace net
