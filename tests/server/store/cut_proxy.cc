#include "tests/server/store/cut_proxy.h"

#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <cstring>
#include <string_view>
#include <vector>

#include "net/base/check.h"

namespace server::test {
namespace {

struct Pair {
  int client = -1;
  int server = -1;
  bool mute = false;  // the next answer is thrown away, and the pair with it
};

bool SendAll(int fd, std::string_view data) {
  while (!data.empty()) {
    const ssize_t sent = send(fd, data.data(), data.size(), MSG_NOSIGNAL);
    if (sent <= 0) return false;
    data.remove_prefix(static_cast<size_t>(sent));
  }
  return true;
}

int ConnectTo(const std::string& path) {
  const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  CHECK(path.size() < sizeof(address.sun_path));
  std::memcpy(address.sun_path, path.data(), path.size());
  if (connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof(address)) == 0) return fd;
  close(fd);
  return -1;
}

}  // namespace

CutProxy::CutProxy(std::string socket_path) : socket_path_(std::move(socket_path)) {
  listener_ = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof(address);
  CHECK(bind(listener_, reinterpret_cast<sockaddr*>(&address), size) == 0);
  CHECK(listen(listener_, 64) == 0);
  CHECK(getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &size) == 0);
  port_ = ntohs(address.sin_port);
  thread_ = std::thread([this] { Loop(); });
}

CutProxy::~CutProxy() {
  stopping_ = true;
  thread_.join();
  close(listener_);
}

void CutProxy::Loop() {
  std::vector<Pair> pairs;
  std::array<char, 65536> block;
  const auto end = [](Pair& pair) {
    close(pair.client);
    close(pair.server);
    pair.client = -1;
  };
  const auto from_client = [&](Pair& pair) {
    const ssize_t got = recv(pair.client, block.data(), block.size(), 0);
    if (got <= 0) return end(pair);
    std::string_view data(block.data(), static_cast<size_t>(got));
    Cut cut = armed_;
    if (cut == Cut::kRefuse) return end(pair);
    if (cut != Cut::kNone && data.find("cut me") != data.npos) {
      armed_ = Cut::kNone;
      ++cuts_;
      if (cut == Cut::kRequest) return end(pair);
      if (cut == Cut::kHalf) {
        SendAll(pair.server, data.substr(0, data.size() / 2));
        return end(pair);
      }
      pair.mute = true;
    }
    if (!SendAll(pair.server, data)) end(pair);
  };
  const auto from_server = [&](Pair& pair) {
    const ssize_t got = recv(pair.server, block.data(), block.size(), 0);
    if (got <= 0) return end(pair);
    const std::string_view data(block.data(), static_cast<size_t>(got));
    // The server says what it did: it is done then.
    if (pair.mute && data.find("COMMIT") != data.npos) return end(pair);
    if (!pair.mute && !SendAll(pair.client, data)) end(pair);
  };
  while (!stopping_) {
    if (armed_ == Cut::kRefuse) {
      for (Pair& pair : pairs) end(pair);
      pairs.clear();
    }
    open_ = pairs.size();
    std::vector<pollfd> fds = {{.fd = listener_, .events = POLLIN, .revents = 0}};
    for (const Pair& pair : pairs) {
      fds.push_back({.fd = pair.client, .events = POLLIN, .revents = 0});
      fds.push_back({.fd = pair.server, .events = POLLIN, .revents = 0});
    }
    if (poll(fds.data(), fds.size(), 20) <= 0) continue;
    for (size_t i = 0; i < pairs.size(); ++i) {
      if (fds[1 + 2 * i].revents != 0) from_client(pairs[i]);
      if (pairs[i].client >= 0 && fds[2 + 2 * i].revents != 0) from_server(pairs[i]);
    }
    std::erase_if(pairs, [](const Pair& pair) { return pair.client < 0; });
    if (fds[0].revents != 0) {
      Pair pair{.client = accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC)};
      pair.server = armed_ == Cut::kRefuse ? -1 : ConnectTo(socket_path_);
      if (pair.server >= 0) {
        pairs.push_back(pair);
      } else {
        close(pair.client);
      }
    }
  }
  for (Pair& pair : pairs) end(pair);
}

}  // namespace server::test
