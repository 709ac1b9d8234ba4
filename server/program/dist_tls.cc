#include "server/program/dist_tls.h"

#include <algorithm>
#include <array>
#include <expected>
#include <fstream>
#include <map>
#include <sstream>
#include <string_view>

#include "net/tls/context/tls_context.h"
#include "server/config/ssl_optfile.h"

namespace server {
namespace {

constexpr std::array<std::string_view, 3> kFiles = {"certfile", "keyfile", "cacertfile"};
// What Erlang has and ours does always: the peer is verified, or there is no link.
constexpr std::array<std::string_view, 6> kImplied = {
    "verify", "fail_if_no_peer_cert", "secure_renegotiate", "depth", "reuse_sessions", "versions"};

struct Side {
  std::string certfile, keyfile, cacertfile;
  std::string& Of(std::string_view key) {
    return key == "certfile" ? certfile : key == "keyfile" ? keyfile : cacertfile;
  }
};

std::expected<std::vector<std::pair<std::string, std::string>>, std::string> ReadOptfile(
    const std::string& path) {
  std::ifstream file(path);
  std::stringstream text;
  if (!(text << file.rdbuf())) {
    return std::unexpected("-ssl_dist_optfile " + path + ": cannot be read");
  }
  auto pairs = ParseSslOptfile(text.view());
  if (!pairs) {
    return std::unexpected("-ssl_dist_optfile " + path + ": " + pairs.error() +
                           "; see the example in server/README.md");
  }
  return pairs;
}

}  // namespace

std::expected<DistTls, std::vector<std::string>> MakeDistTls(const VmArgs& args,
                                                             const NodeFolder& folder) {
  std::vector<std::string> errors;
  auto options = args.ssl_dist_opt;
  if (!args.ssl_dist_optfile.empty()) {
    // Behind the others: what the file says counts, as in Erlang.
    auto of_file = ReadOptfile(folder.Path(args.ssl_dist_optfile));
    if (!of_file) return std::unexpected(std::vector<std::string>{of_file.error()});
    options.insert(options.end(), of_file->begin(), of_file->end());
  }
  std::array<Side, 2> sides;  // server, client
  for (const auto& [key, value] : options) {
    std::string_view name = key;
    const bool server = !name.starts_with("client_");
    const bool client = !name.starts_with("server_");
    if (!server || !client) name.remove_prefix(7);
    if (std::ranges::find(kFiles, name) != kFiles.end()) {
      if (server) sides[0].Of(name) = folder.Path(value);
      if (client) sides[1].Of(name) = folder.Path(value);
    } else if (std::ranges::find(kImplied, name) == kImplied.end()) {
      errors.push_back("-ssl_dist_opt " + key +
                       ": is not known; there are certfile, keyfile and cacertfile, for both "
                       "directions or with server_ or client_ in front");
    } else if (name == "verify" && value == "verify_none") {
      errors.push_back("-ssl_dist_opt " + key + " " + value +
                       ": nodes verify each other; write verify_peer and cacertfile");
    }
  }
  // One certificate for both directions is what most have.
  for (std::string_view key : kFiles) {
    if (sides[1].Of(key).empty()) sides[1].Of(key) = sides[0].Of(key);
    if (sides[0].Of(key).empty()) {
      errors.push_back("-proto_dist inet_tls needs -ssl_dist_opt server_" + std::string(key) +
                       " FILE");
    }
  }
  if (!errors.empty()) return std::unexpected(std::move(errors));
  auto server = net::TlsServerContext::Create(
      {.sites = {{.certificates = {{.chain = sides[0].certfile, .key = sides[0].keyfile}},
                  .client_auth = net::TlsClientAuth::kRequired,
                  .client_ca = sides[0].cacertfile,
                  .client_any_purpose = true}}});
  auto client = net::TlsClientContext::Create(
      {.ca = sides[1].cacertfile,
       .certificate = {.chain = sides[1].certfile, .key = sides[1].keyfile}});
  const auto take = [&](const net::TlsConfigErrors& from) {
    for (const net::TlsConfigError& error : from) errors.push_back(error.ToString());
  };
  if (!server) take(server.error());
  if (!client) take(client.error());
  if (!errors.empty()) return std::unexpected(std::move(errors));
  return DistTls{.server = std::move(*server), .client = std::move(*client)};
}

}  // namespace server
