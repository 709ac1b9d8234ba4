// A socket for programs that do one thing at a time: each call blocks until its deadline.
#pragma once

#include <cstdint>
#include <expected>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "net/base/address.h"
#include "net/base/clock.h"
#include "net/io/socket.h"
#include "net/tls/tls_engine.h"

namespace server {

class BlockingStream {
 public:
  enum class Error : uint8_t { kTimeout, kClosed, kRefused, kTls };

  // With TLS the handshake is done when it returns.
  static std::expected<std::unique_ptr<BlockingStream>, Error> Connect(const net::Address& to,
                                                                       net::Time deadline);
  std::expected<void, Error> StartTls(net::TlsEnginePtr engine, net::Time deadline);

  std::expected<void, Error> Write(std::span<const uint8_t> bytes, net::Time deadline);
  // Appends what is there, at least a byte.
  std::expected<void, Error> Read(std::vector<uint8_t>* into, net::Time deadline);

 private:
  explicit BlockingStream(net::UniqueFd fd) : fd_(std::move(fd)) {}
  std::expected<void, Error> WriteRaw(std::span<const uint8_t> bytes, net::Time deadline);
  std::expected<std::vector<uint8_t>, Error> ReadRaw(net::Time deadline);
  std::expected<void, Error> FlushTls(net::Time deadline);
  std::expected<void, Error> FeedTls(std::span<uint8_t> cipher, std::vector<uint8_t>* into,
                                     net::Time deadline);
  bool Wait(short events, net::Time deadline);

  net::UniqueFd fd_;
  net::TlsEnginePtr tls_;
  net::SystemClock clock_;
};

}  // namespace server
