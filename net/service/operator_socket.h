// A listening socket at which operators ask a program (its ctl, its admin pages), and which goes to
// the successor of an upgrade under a name, so that it answers all along. What serves gets
// duplicates, and may go while the socket stays.
//
// One thread.
#pragma once

#include <expected>
#include <functional>
#include <string>
#include <utility>

#include "net/base/address.h"
#include "net/io/socket.h"
#include "net/service/hand_over.h"

namespace net {

class OperatorSocket {
 public:
  OperatorSocket() = default;  // none

  // As the predecessor left it in `inheritance` under that name; else made by `listen`.
  static std::expected<OperatorSocket, std::string> Open(
      std::string name, Inheritance& inheritance,
      const std::function<std::expected<UniqueFd, std::string>()>& listen);
  // A Unix socket is its owner's only; where another process has it, that has a moment to go, as
  // one that was killed just now (ListenOptions::unix_patience).
  static std::expected<OperatorSocket, std::string> Open(std::string name, Inheritance& inheritance,
                                                         const SocketName& at);
  // One at a path, which belongs to `user` then ("": to who runs this).
  static std::expected<OperatorSocket, std::string> OpenAt(const std::string& path,
                                                           const std::string& user,
                                                           std::string name,
                                                           Inheritance& inheritance);

  explicit operator bool() const { return static_cast<bool>(fd_); }
  UniqueFd Duplicate() const;
  // Leaves it to a successor, too. None: nothing.
  void LeaveTo(Inheritance& inheritance) const;
  void Reset() { fd_.Reset(); }

 private:
  OperatorSocket(std::string name, UniqueFd fd) : name_(std::move(name)), fd_(std::move(fd)) {}

  std::string name_;
  UniqueFd fd_;
};

}  // namespace net
