#include "server/program/node_init.h"

#include <fcntl.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <system_error>

#include "net/base/check.h"
#include "net/io/socket.h"
#include "server/program/node_folder.h"

namespace server {
namespace {

namespace fs = std::filesystem;

constexpr mode_t kSecretMode = 0600;
constexpr mode_t kOpenMode = 0644;

std::string RandomCookie() {
  std::array<uint8_t, 20> bytes{};
  CHECK(getrandom(bytes.data(), bytes.size(), 0) == static_cast<ssize_t>(bytes.size()));
  std::string cookie;
  for (uint8_t byte : bytes) cookie += static_cast<char>('A' + byte % 26);
  return cookie;
}

std::string VmArgsText(const InitOptions& options) {
  return "# The name of this node; its host must be resolvable on the other nodes of the "
         "cluster.\n" +
         std::string(options.long_names ? "-name " : "-sname ") + options.name +
         "\n\n# Who knows it may order anything: the same on all nodes of the cluster, and this "
         "file "
         "0600.\n-setcookie " +
         (options.cookie.empty() ? RandomCookie() : options.cookie) +
         "\n\n# Connections that this node may have; 350000 for 100 k users with SSL/TLS, else "
         "250000.\n#-env ERL_MAX_PORTS 350000\n";
}

constexpr std::string_view kVmDistArgs =
    "# To connect to other nodes, a node listens at the first free port of this range: one for "
    "each\n"
    "# node of the machine. Where a firewall stands between the nodes, leave epmd's port (4369) "
    "open "
    "too.\n"
    "#-kernel inet_dist_listen_min 50000 inet_dist_listen_max 50010\n"
    "\n"
    "# Where it listens; without it on all addresses.\n"
    "#-kernel inet_dist_use_interface {127,0,0,1}\n"
    "\n"
    "# Links over TLS, with certificates of both sides.\n"
    "#-proto_dist inet_tls\n"
    "#-ssl_dist_opt server_certfile etc/node.pem server_keyfile etc/node.key\n"
    "#-ssl_dist_opt server_cacertfile etc/ca.pem\n";

std::string TomlText(const std::string& http) {
  return R"(# What MongooseIM's page has in vm.args (name, cookie, port range, ERL_MAX_PORTS) stands in
# vm.args and vm.dist.args. Every key is here, commented, with its default. Paths are relative to the
# node's folder. Times: "250ms", "5s", "10m".

[log]
#level = "info"                 # debug, info, warning, error
#format = "text"                # or json
#target = "file"                # or stderr; or journald, with fields (journalctl SYSLOG_IDENTIFIER=mongooseim)
#file = "log/mongooseim.log"    # "": stderr

[http]
listen = [")" +
         http + R"("]    # /livez /readyz /metrics /api/cluster/status
#drain_file = ""                # USER:PASSWORD, mode 0600: who may POST /api/drain, as balancers do; "": nobody

[dist]
#cookie_file = ""               # mode 0600; instead of -setcookie of vm.args
#links_max = 256                # links to other nodes, ctl and erl
#visible = false                # true: nodes() of an erl lists this node
#allow = []                     # who may connect, with the cookie: ["mongooseim@*", "*@10.0.0.7"]; []: all who have it

[cluster]
#heartbeat = "1s"               # to every other node
#silence = "8s"                 # without a fresh echo a node is not seen; at least four heartbeats
#link_grace = "500ms"           # a broken link may come back within
#isolate_after = "2s"           # on the minority's side for so long: "isolated"
#operation_timeout = "5s"       # of join, leave, remove: to reach a node, to hear its answer
#discovery = "none"             # other nodes are found by "file", or by the "store" that they share
#discovery_file = ""            # a node's name a line, read again when it changes
#auto_join = false              # with a discovery: who stands alone joins by itself

[c2s]                          # clients; nothing listens without a [[host]]
#listen = ["0.0.0.0:5222"]      # STARTTLS
#listen_tls = ["0.0.0.0:5223"]  # TLS at once (XEP-0368)
#listen_proxy = []              # behind balancers that say who the client is (PROXY v1, v2; mongooselb's TLVs)
#proxy_from = []                # whom that is believed: ["192.0.2.0/28"]
#workers = 0                    # threads; 0: one a processor
#tls = "required"               # optional: SCRAM without TLS too
#connections_max = 100000
#unauthenticated_max = 4096     # connections that have not said who they are
#login_timeout = "60s"
#stanza_bytes_max = "256KiB"
#stanza_depth_max = 64
#stanza_rate = "0"              # of a session, "100/s"; above it is read more slowly. 0: no limit
#stanza_burst = "5s"            # so long a time's stanzas may come at once
#idle_ping = "5m"               # a client that says nothing for so long is asked; 0: never
#ping_timeout = "60s"           # and is dead when it does not answer
#resume_timeout = "1h"          # XEP-0198; 0: no resumption
#resume_bytes_max = "1GiB"      # of sessions that may come back; above it the oldest go
#unacked_bytes_max = "4MiB"     # of a session; above it the session ends
#drain_on_stop = "0"            # a node that is stopped closes its connections within this, one by one; 0: at once

[auth]
#mechanisms = ["SCRAM-SHA-512", "SCRAM-SHA-256", "SCRAM-SHA-1", "PLAIN", "EXTERNAL"]
#failures_per_account = "10/m"  # failed logins; above it nobody is tried for a while
#failures_per_address = "30/m"

[store]
#url = "sqlite:data/mongooseim.db"
#readers = 0                    # connections that read; 0: two of SQLite, four of PostgreSQL

[limits]                       # of one account; what is above is refused with the RFC's error
#sessions = 10                  # with those that may be resumed
#roster_items = 2000            # requests that wait count
#blocked = 1000                 # addresses in the blocking list
#directed_presence = 500        # of a session: who got its presence out of order
#memory = "auto"                # of the node, as "2GiB"; auto: four fifths of the machine's or cgroup's. Above
#                               nine tenths of it no new sessions, and those that wait with the most go
#login_cpu = 0.8                # of each worker's processor; logins that would take more wait

# Extensions. What is off is answered as if it were unknown, and not advertised.
[modules.archive]              # XEP-0313, 0441
#enabled = true
#page = 50                      # messages where a client names no number
#page_max = 250
#prefs = true                   # accounts may choose what is kept
#default = "always"             # always, never, roster: of those that have not chosen
#keep = "0"                     # messages older than "365d" go; 0: none
#keep_most = 0                  # the newest so many of each account stay; 0: all
#clean_every = "1h"             # what is too old, too much or expired is looked for

[modules.contact]              # XEP-0157: ["mailto:abuse@example.org", "xmpp:admin@example.org"]
#abuse = []
#admin = []
#feedback = []
#sales = []
#security = []
#status = []
#support = []

[modules.disco]                # XEP-0030, 0115
#enabled = true
#name = "mongooseim"

[modules.last]                 # XEP-0012
#enabled = true

[modules.offline]              # XEP-0160: messages for who is away
#enabled = true
#messages_max = 1000            # of an account; above it they go back
#expires = "0"                  # 0: never

[modules.ping]                 # XEP-0199
#enabled = true

[modules.private]              # XEP-0049
#enabled = true
#elements_max = 100             # of an account
#element_bytes_max = "64KiB"

[modules.registration]         # XEP-0077
#sign_up = false                # anybody may make an account, over TLS
#sign_ups_per_address = "3/h"
#reserved = ["abuse", "admin", "administrator", "hostmaster", "postmaster", "root", "security", "support", "webmaster", "xmpp"]  # nobody gets these
#instructions = "Choose a name and a password."
#password_change = true         # by who is logged in
#password_changes = "6/h"       # of an account
#removal = true                 # accounts may end themselves
#password_bytes_min = 8

[modules.time]                 # XEP-0202
#enabled = true

[modules.vcard]                # XEP-0054, 0153
#enabled = true
#bytes_max = "128KiB"

[modules.version]              # XEP-0092
#enabled = true
#show_os = false

[muc]                          # rooms (XEP-0045)
#enabled = true
#host = "conference.%h"        # the service's domain; %h: the [[host]]'s
#create = "anyone"             # or "operators"
#lock_new = true               # until its owner has configured it, nobody enters a new room
#rooms_max = 50000             # of a service, in memory
#occupants_max = 5000          # of a room
#history_max = 100             # messages that a room may give to those who enter
#archive = true                # of new rooms

# A domain that is served, once for each. Certificates are read again on SIGHUP.
# [[host]]
# domain = "example.org"
# certificate = "etc/example.org.pem"   # with its chain
# key = "etc/example.org.key"           # mode 0600
# client_ca = ""                        # clients may show certificates of it (EXTERNAL)
)";
}

class Maker {
 public:
  explicit Maker(fs::path root) : root_(std::move(root)) {}

  void Folder(const char* name, mode_t mode) {
    const fs::path path = root_ / name;
    if (!error_.empty()) return;
    if (mkdir(path.c_str(), mode) == 0) {
      made_.push_back(path.string());
    } else if (errno != EEXIST) {
      Failed(path);
    }
  }
  void File(const char* name, std::string_view text, mode_t mode) {
    const fs::path path = root_ / name;
    if (!error_.empty()) return;
    const net::UniqueFd fd(open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode));
    if (!fd) {
      if (errno != EEXIST) Failed(path);
      return;
    }
    if (write(fd.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size())) {
      return Failed(path);
    }
    made_.push_back(path.string());
  }
  void Link(const char* name, const std::string& target) {
    const fs::path path = root_ / name;
    if (!error_.empty()) return;
    if (symlink(target.c_str(), path.c_str()) == 0) {
      made_.push_back(path.string());
    } else if (errno != EEXIST) {
      Failed(path);
    }
  }
  std::expected<std::vector<std::string>, std::string> Finish() {
    if (!error_.empty()) return std::unexpected(std::move(error_));
    return std::move(made_);
  }

 private:
  void Failed(const fs::path& path) {
    error_ = path.string() + ": cannot be made: " + std::strerror(errno) +
             "; choose a folder that this user may write to";
  }
  const fs::path root_;
  std::vector<std::string> made_;
  std::string error_;
};

}  // namespace

std::expected<std::vector<std::string>, std::string> InitNodeFolder(
    const InitOptions& options, const std::string& program_path) {
  std::error_code error;
  const fs::path root = fs::absolute(options.dir, error);
  fs::create_directories(root, error);
  if (error) {
    return std::unexpected(root.string() + ": cannot be made: " + error.message() +
                           "; choose a folder that this user may write to");
  }
  Maker maker(root);
  maker.Folder("bin", 0755);
  maker.Folder("etc", 0755);
  maker.Folder("data", 0700);
  maker.Folder("log", 0755);
  maker.File("etc/vm.args", VmArgsText(options), kSecretMode);
  maker.File("etc/vm.dist.args", kVmDistArgs, kOpenMode);
  maker.File("etc/mongooseim.toml", TomlText(options.http), kOpenMode);
  maker.Link("bin/mongooseim", SiblingProgram(program_path, "mongooseim"));
  maker.Link("bin/mongooseimctl", SiblingProgram(program_path, "mongooseimctl"));
  return maker.Finish();
}

}  // namespace server
