// The file of -ssl_dist_optfile, in which Erlang has the options of TLS between nodes as terms:
//
//   [{server, [{certfile, "/etc/ssl/node.pem"}, {keyfile, "/etc/ssl/node.key"},
//              {cacertfile, "/etc/ssl/ca.pem"}, {verify, verify_peer}, {fail_if_no_peer_cert,
//              true}]},
//    {client, [{certfile, "/etc/ssl/node.pem"}, …]}].
//
// Atoms, strings, numbers, lists and tuples are read, comments too; of values that are lists or
// tuples themselves only that they end. Pure; depth and size are bounded.
#pragma once

#include <expected>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace server {

inline constexpr size_t kSslOptfileBytesMax = 64 * 1024;

// ("server_certfile", "/etc/ssl/node.pem"), … as -ssl_dist_opt would have them. The error says line
// and what was expected there.
std::expected<std::vector<std::pair<std::string, std::string>>, std::string> ParseSslOptfile(
    std::string_view text);

}  // namespace server
