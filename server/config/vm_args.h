// vm.args and vm.dist.args, read as Erlang's emulator reads a file of arguments.
//
//   -sname mongooseim@localhost
//   -setcookie ejabberd
//   -kernel inet_dist_listen_min 50000 inet_dist_listen_max 50010
//   -env ERL_MAX_PORTS 350000      # a comment goes to the end of its line
//   -args_file vm.dist.args
//
// Words are set apart by blanks and line ends; a backslash quotes the next character, '#' begins a
// comment. A flag begins with '-' or '+' and takes the words up to the next one. What a node of
// ours uses is in VmArgs; flags of the emulator that mean nothing here are accepted and listed, so
// that files of real installations work; a flag that Erlang has not is an error with file, line and
// remedy, since a typing error would go unnoticed. All mistakes are told, not only the first.
//
// Pure but for the reader of files, which is passed in. Secrets: the cookie is in VmArgs and in no
// error.
#pragma once

#include <cstdint>
#include <expected>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "net/config/toml_reader.h"

namespace server {

inline constexpr size_t kVmArgsBytesMax = 256 * 1024;  // of a file
inline constexpr size_t kVmArgsWordsMax = 4096;        // of all files
inline constexpr int kVmArgsDepthMax = 8;              // -args_file in a file in a file …
inline constexpr size_t kVmArgsErrorsMax = 64;
inline constexpr uint32_t kErlMaxPortsMin = 1024;  // as +Q
inline constexpr uint32_t kErlMaxPortsMax = 134'217'727;

enum class ProtoDist : uint8_t { kTcp, kTcp6, kTls, kTls6 };

struct VmArgs {
  std::string name;         // as it stands there: with or without a host
  bool long_names = false;  // -name, not -sname
  std::string cookie;       // -setcookie
  std::string cookie_at;    // "etc/vm.args:4"
  uint16_t listen_min = 0;  // 0: any port
  uint16_t listen_max = 0;
  std::string interface;  // inet_dist_use_interface as an address, or nothing
  std::optional<uint32_t> net_ticktime_s;
  std::optional<uint32_t> net_setuptime_s;
  ProtoDist proto = ProtoDist::kTcp;
  std::string ssl_dist_optfile;
  std::vector<std::pair<std::string, std::string>> ssl_dist_opt;  // server_certfile → path …
  std::optional<uint16_t> epmd_port;                              // -erl_epmd_port: without epmd
  bool start_epmd = true;
  bool hidden = true;                      // -hidden true, or nothing said: see server/README.md
  std::optional<uint32_t> processes_max;   // +P
  std::optional<uint32_t> ports_max;       // +Q
  std::map<std::string, std::string> env;  // -env
  std::vector<std::string> unused;         // "+K (etc/vm.args:9)": for one line in the log
};

struct VmArgsResult {
  VmArgs args;
  std::vector<net::ConfigError> errors;
};

// The text of a file, or nothing.
using FileReader = std::function<std::optional<std::string>(const std::string& path)>;

// Read one after the other, as if they were one file; a path in -args_file is relative to the file
// it stands in. The second of the two usual files may be absent: leave it out then.
VmArgsResult ReadVmArgs(const std::vector<std::string>& paths, const FileReader& read);

// What is not there is an error of the whole: a name and a cookie, in upstream's words.
inline constexpr std::string_view kNoName =
    "vm.args needs to have either -name or -sname parameter.";
inline constexpr std::string_view kNoCookie = "vm.args needs to have a -setcookie parameter.";

struct MaxPorts {
  uint32_t value = 65'536;             // Erlang's own default
  std::string origin = "the default";  // "ERL_MAX_PORTS of the environment", …
};
// ERL_MAX_PORTS bounds a node's connections: of the environment (nothing: not set), of -env, or +Q,
// in this order. The error has its remedy.
std::expected<MaxPorts, net::ConfigError> MaxPortsOf(const VmArgs& args,
                                                     const char* of_environment);

}  // namespace server
