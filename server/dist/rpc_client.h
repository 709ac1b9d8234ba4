// Calls to a node from a program that is none: mongooseimctl. It comes without a name, and the node
// gives it one (NAME_ME), so it is nowhere registered and disturbs nobody.
//
//   auto client = RpcClient::Connect({.node = "mongooseim@localhost", .cookie = cookie});
//   RpcResult result = (*client)->Call("erlang", "node", {}, std::chrono::seconds(5));
//
// Blocks; no thread, no ring. Ends with the object. Works with erl (OTP 23 and later) as with ours.
#pragma once

#include <cstdint>
#include <expected>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "net/base/clock.h"
#include "server/dist/dist_options.h"
#include "server/dist/rpc.h"

namespace server {

struct RpcClientError {
  enum class Kind : uint8_t {
    kHost,        // the node's host has no address
    kNoEpmd,      // nobody listens at epmd's port of that host
    kUnknown,     // epmd knows no such node: it is down
    kNoNode,      // nobody listens at the node's port
    kCookie,      // wrong, or the node closed during the handshake, which means the same
    kNotAllowed,  // by the node
    kTimeout,
    kProtocol,
  };
  Kind kind = Kind::kProtocol;
  std::string what;
};

class RpcClient {
 public:
  struct Options {
    std::string node;
    std::string cookie;
    std::optional<uint16_t> fixed_port;  // as DistOptions has it
    uint16_t epmd_port = kEpmdPort;
    bool ipv6 = false;
    DistTls tls;
    net::Duration connect_time = std::chrono::seconds(7);
    net::Duration net_ticktime = std::chrono::seconds(60);  // the node's
  };

  static std::expected<std::unique_ptr<RpcClient>, RpcClientError> Connect(const Options& options);
  ~RpcClient();
  RpcClient(const RpcClient&) = delete;
  RpcClient& operator=(const RpcClient&) = delete;

  // Whether the link is still there: between calls nothing ticks, so that a node drops who is
  // silent for net_ticktime. Takes a millisecond.
  bool Alive();
  // Long calls keep the link alive with ticks. After kNodeDown all further calls fail too.
  RpcResult Call(std::string_view module, std::string_view function, std::span<const Term> args,
                 net::Duration timeout);

  // What the node calls us.
  const std::string& name() const;

 private:
  class Impl;
  explicit RpcClient(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace server
