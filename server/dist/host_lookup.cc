#include "server/dist/host_lookup.h"

#include <fcntl.h>
#include <glob.h>
#include <netdb.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>

extern char** environ;

namespace server {
namespace {

// Where Debian has it besides /usr/bin, which a service's PATH may lack.
constexpr const char* kErlangPrograms = "/usr/lib/erlang/erts-*/bin/epmd";

bool IsProgram(const std::string& path) { return access(path.c_str(), X_OK) == 0; }

std::string FindProgram(const std::string& program) {
  if (program.find('/') != std::string::npos) return IsProgram(program) ? program : "";
  const char* path = std::getenv("PATH");
  std::string_view rest = path != nullptr ? path : "/usr/local/bin:/usr/bin:/bin";
  while (!rest.empty()) {
    const size_t end = rest.find(':');
    std::string candidate = std::string(rest.substr(0, end)) + '/' + program;
    if (IsProgram(candidate)) return candidate;
    rest.remove_prefix(end == std::string_view::npos ? rest.size() : end + 1);
  }
  std::string found;
  glob_t matches{};
  if (glob(kErlangPrograms, 0, nullptr, &matches) == 0 && matches.gl_pathc > 0) {
    found = matches.gl_pathv[0];
  }
  globfree(&matches);
  return found;
}

}  // namespace

std::expected<std::vector<net::Address>, std::string> LookUpHost(const std::string& host,
                                                                 bool ipv6) {
  addrinfo hints{};
  hints.ai_family = ipv6 ? AF_INET6 : AF_INET;
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* list = nullptr;
  const int error = getaddrinfo(host.c_str(), nullptr, &hints, &list);
  if (error != 0) {
    return std::unexpected("the host " + host + " has no " + (ipv6 ? "IPv6" : "IPv4") +
                           " address: " + gai_strerror(error));
  }
  std::vector<net::Address> addresses;
  for (addrinfo* at = list; at != nullptr && addresses.size() < kHostAddressesMax;
       at = at->ai_next) {
    auto address = net::Address::FromSockaddr(at->ai_addr, at->ai_addrlen);
    if (address) addresses.push_back(*address);
  }
  freeaddrinfo(list);
  if (addresses.empty()) return std::unexpected("the host " + host + " has no address");
  return addresses;
}

std::expected<void, std::string> StartEpmd(const EpmdOptions& options,
                                           const net::Address& interface) {
  const std::string path = FindProgram(options.program);
  if (path.empty()) {
    return std::unexpected(options.program +
                           " is not installed; install Debian's erlang-base, or " +
                           "set ERL_DIST_PORT to do without it");
  }
  std::vector<std::string> arguments = {path, "-daemon", "-port", std::to_string(options.port)};
  // epmd adds the loopback address by itself.
  if (!options.addresses.empty()) {
    arguments.insert(arguments.end(), {"-address", options.addresses});
  } else if (interface && !interface.IsUnspecified()) {
    arguments.insert(arguments.end(), {"-address", interface.IpToString()});
  }
  std::vector<char*> argv;
  for (std::string& argument : arguments) argv.push_back(argument.data());
  argv.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  for (int fd : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
    posix_spawn_file_actions_addopen(&actions, fd, "/dev/null", O_RDWR, 0);
  }
  pid_t child = 0;
  const int error = posix_spawn(&child, path.c_str(), &actions, nullptr, argv.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  if (error != 0) return std::unexpected(path + ": " + std::strerror(error));
  int status = 0;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  return {};
}

}  // namespace server
