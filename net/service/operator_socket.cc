#include "net/service/operator_socket.h"

#include <fcntl.h>

#include <chrono>
#include <utility>

#include "net/service/privileges.h"

namespace net {
namespace {

// Of a process that was killed just now: net::ListenOptions has why.
constexpr Duration kPatience = std::chrono::seconds(2);
constexpr int kBacklog = 64;

}  // namespace

std::expected<OperatorSocket, std::string> OperatorSocket::Open(
    std::string name, Inheritance& inheritance,
    const std::function<std::expected<UniqueFd, std::string>()>& listen) {
  for (Inheritance::Socket& socket : inheritance.sockets) {
    if (socket.name == name && socket.fd) {
      return OperatorSocket(std::move(name), std::move(socket.fd));
    }
  }
  auto made = listen();
  if (!made) return std::unexpected(made.error());
  return OperatorSocket(std::move(name), std::move(*made));
}

std::expected<OperatorSocket, std::string> OperatorSocket::Open(std::string name,
                                                                Inheritance& inheritance,
                                                                const SocketName& at) {
  return Open(std::move(name), inheritance, [&at] {
    return Listen(at.get(), at.size(),
                  {.backlog = kBacklog, .unix_mode = 0600, .unix_patience = kPatience});
  });
}

std::expected<OperatorSocket, std::string> OperatorSocket::OpenAt(const std::string& path,
                                                                  const std::string& user,
                                                                  std::string name,
                                                                  Inheritance& inheritance) {
  auto opened = Open(std::move(name), inheritance, SocketName::Unix(path));
  if (opened && !user.empty()) GiveFile(path, user);
  return opened;
}

UniqueFd OperatorSocket::Duplicate() const {
  return UniqueFd(fd_ ? fcntl(fd_.get(), F_DUPFD_CLOEXEC, 3) : -1);
}

void OperatorSocket::LeaveTo(Inheritance& inheritance) const {
  if (fd_) inheritance.sockets.push_back({name_, Duplicate()});
}

}  // namespace net
