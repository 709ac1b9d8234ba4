// mongooseim: init, start, stop and what else MongooseIM's own script of that name does. A node's
// life is told in server/README.md.
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "net/service/hand_over.h"
#include "net/tls/wiping_allocator.h"
#include "server/dist/node_name.h"
#include "server/dist/rpc_client.h"
#include "server/program/daemon.h"
#include "server/program/descriptors.h"
#include "server/program/memory.h"
#include "server/program/node_init.h"
#include "server/program/node_lock.h"
#include "server/program/node_setup.h"
#include "server/program/remote_node.h"
#include "server/program/run_node.h"
#include "server/program/stop_node.h"
#include "server/program/xmpp_node.h"

namespace server {
namespace {

constexpr int kOk = 0;
constexpr int kFailed = 1;
constexpr int kUsage = 2;
constexpr net::Duration kPingTime = std::chrono::seconds(5);

constexpr std::string_view kHelp =
    R"(Usage: mongooseim COMMAND

  init DIR [--sname NAME | --name NAME] [--cookie COOKIE] [--http HOST:PORT]
                 Make a node's folder: bin, etc, data, log
  start          Start the node in the background; returns when it has started
  live           Start the node with its log on this terminal
  foreground     The same, for service managers
  stop           Stop the node in order, and wait for its end
  force_stop     The same; SIGTERM after 30 s, SIGKILL after 60 s
  restart        Stop the node in order and start it anew, in the same process
  ping           Whether the node answers: pong
  check          Read the configuration, and tell all that is wrong with it
  memory         Bytes that a node takes before its first connection, by ERL_MAX_PORTS
  version        [--simple]
  console, attach, debug
                 There is no Erlang shell; what is there instead is said

The node is the one of MONGOOSEIM_DIR, of the folder that this program was called in (DIR/bin), or of
the working directory.
)";

struct Call {
  std::string program;             // path
  std::vector<std::string> words;  // behind the command
};

int Fail(const std::vector<std::string>& errors) {
  for (const std::string& error : errors) std::fprintf(stderr, "mongooseim: %s\n", error.c_str());
  return kFailed;
}

int Misused(std::string_view what) {
  std::fprintf(stderr, "mongooseim: %.*s\n\n%.*s", static_cast<int>(what.size()), what.data(),
               static_cast<int>(kHelp.size()), kHelp.data());
  return kUsage;
}

std::string Environment(const char* name, std::string otherwise) {
  const char* value = std::getenv(name);
  return value != nullptr && *value != '\0' ? value : std::move(otherwise);
}

// Containers say by their environment what others say by options.
int Init(const Call& call) {
  InitOptions options;
  const std::string type = Environment("NODE_TYPE", "sname");
  if (type != "sname" && type != "name") return Misused("NODE_TYPE is neither sname nor name");
  options.long_names = type == "name";
  options.name = Environment("NODE_NAME", "mongooseim");
  if (const std::string host = Environment("NODE_HOST", ""); !host.empty()) {
    options.name += '@' + host;
  }
  options.cookie = Environment("CLUSTER_COOKIE", "");
  options.http = Environment("HTTP_LISTEN", options.http);
  bool named = false;
  for (size_t i = 0; i < call.words.size(); ++i) {
    const std::string& word = call.words[i];
    if (!word.starts_with("--")) {
      if (!options.dir.empty()) return Misused("init takes one folder");
      options.dir = word;
      continue;
    }
    if (i + 1 == call.words.size()) return Misused(word + " needs a value");
    const std::string& value = call.words[++i];
    if (word == "--sname" || word == "--name") {
      if (std::exchange(named, true)) return Misused("a node has one name: --sname or --name");
      options.long_names = word == "--name";
      options.name = value;
    } else if (word == "--cookie") {
      options.cookie = value;
    } else if (word == "--http") {
      options.http = value;
    } else {
      return Misused("init has no option " + word);
    }
  }
  if (options.dir.empty()) return Misused("init needs a folder");
  const bool bare = options.name.find('@') == std::string::npos;
  if (bare ? !IsAliveName(options.name) : !IsNodeName(options.name)) {
    return Misused("'" + options.name + "' is no name of a node: NAME or NAME@HOST");
  }
  if (options.cookie.find_first_of(" \t\r\n\"'#\\") != std::string::npos) {
    return Misused("a cookie is one word of letters, digits, - and _");
  }
  auto made = InitNodeFolder(options, call.program);
  if (!made) return Fail({made.error()});
  for (const std::string& path : *made) std::printf("%s\n", path.c_str());
  if (made->empty()) std::printf("nothing to do: all is there\n");
  return kOk;
}

// Finds the folder, or says why not.
std::optional<NodeFolder> Folder(const Call& call) {
  auto folder = FindNodeFolder(call.program);
  if (folder) return std::move(*folder);
  Fail({folder.error()});
  return std::nullopt;
}

std::optional<NodeSetup> Setup(const Call& call) {
  const auto folder = Folder(call);
  if (!folder) return std::nullopt;
  auto setup = ReadNodeSetup(*folder);
  if (setup) return std::move(*setup);
  Fail(setup.error());
  return std::nullopt;
}

bool AlreadyRuns(const NodeFolder& folder) {
  if (NodeLock::Holder(folder.Lock()) == 0) return false;
  std::printf("Node is already running!\n");
  return true;
}

// A restart keeps the process: its pid is what service managers and containers know.
int After(const Call& call, const NodeFolder& folder, const RunResult& result, const char* verb) {
  if (result.end == RunEnd::kStopped) return kOk;
  if (result.end == RunEnd::kFailed) return Fail(result.errors);
  setenv("MONGOOSEIM_DIR", folder.root.c_str(), 1);
  execl(call.program.c_str(), "mongooseim", verb, static_cast<char*>(nullptr));
  return Fail({call.program + ": cannot be started again: " + std::strerror(errno)});
}

int Start(const Call& call) {
  const auto folder = Folder(call);
  if (!folder) return kFailed;
  if (AlreadyRuns(*folder)) return kFailed;
  // Said here, where it is read; the node says it to its log.
  if (const auto setup = ReadNodeSetup(*folder)) {
    const DescriptorLimit limit =
        RaiseDescriptorLimit(setup->max_ports.value, setup->max_ports.origin);
    if (limit.warning) std::fprintf(stderr, "mongooseim: %s\n", limit.warning->c_str());
  }
  const DaemonResult result = RunInBackground(*folder);
  return result.in_background ? After(call, *folder, result.node, "daemon") : result.exit_code;
}

int Live(const Call& call) {
  const auto folder = Folder(call);
  if (!folder) return kFailed;
  if (AlreadyRuns(*folder)) return kFailed;
  return After(call, *folder, RunNode(*folder, {}), "live");
}

// What a node in the background becomes by a restart; not for people.
int Daemon(const Call& call) {
  const auto folder = Folder(call);
  if (!folder) return kFailed;
  return After(call, *folder, RunNode(*folder, {.mode = RunMode::kBackground}), "daemon");
}

int Stop(const Call& call, bool by_force) {
  auto setup = Setup(call);
  if (!setup) return kFailed;
  const pid_t pid = NodeLock::Holder(setup->folder.Lock());
  if (pid == 0) {
    std::printf("Node is not running!\n");
    return kFailed;
  }
  if (by_force) return ForceStop(pid);
  RemoteNode node(std::move(*setup), call.program);
  if (!node.Up())
    return Fail({"the node does not answer: " + node.trouble() + "; force_stop ends it"});
  node.Stop();
  return kOk;
}

int Restart(const Call& call) {
  auto setup = Setup(call);
  if (!setup) return kFailed;
  RemoteNode node(std::move(*setup), call.program);
  if (!node.Up()) {
    std::printf("Node is not running!\n");
    return kFailed;
  }
  node.Restart();
  return kOk;
}

int Ping(const Call& call) {
  const auto setup = Setup(call);
  if (!setup) return kFailed;
  auto client = RpcClient::Connect(ClientOptionsOf(*setup, kPingTime));
  if (client && (*client)->Call("erlang", "node", {}, kPingTime)) {
    std::printf("pong\n");
    return kOk;
  }
  std::printf("Node %s not responding to pings.\n", QuotedNodeName(setup->dist.node).c_str());
  if (!client) std::fprintf(stderr, "mongooseim: %s\n", client.error().what.c_str());
  return kFailed;
}

int Check(const Call& call) {
  const auto setup = Setup(call);
  if (!setup) return kFailed;
  if (const XmppErrors errors = CheckXmpp(*setup); !errors.empty()) return Fail(errors);
  for (const std::string& warning : setup->warnings) {
    std::fprintf(stderr, "mongooseim: %s\n", warning.c_str());
  }
  const DescriptorLimit limit =
      RaiseDescriptorLimit(setup->max_ports.value, setup->max_ports.origin);
  if (limit.warning) std::fprintf(stderr, "mongooseim: %s\n", limit.warning->c_str());
  std::printf("%s: good: %s, %u connections (%s)\n", setup->folder.root.c_str(),
              setup->dist.node.c_str(), setup->max_ports.value, setup->max_ports.origin.c_str());
  return kOk;
}

int Memory(const Call& call) {
  VmArgs args;
  if (const auto folder = FindNodeFolder(call.program)) {
    if (auto setup = ReadNodeSetup(*folder)) args = std::move(setup->args);
  }
  const auto ports = MaxPortsOf(args, std::getenv("ERL_MAX_PORTS"));
  if (!ports) return Fail({ports.error().ToString()});
  const DescriptorLimit limit = RaiseDescriptorLimit(ports->value, ports->origin);
  const auto bytes = MeasureNodeMemory(ports->value, static_cast<uint32_t>(limit.usable));
  if (!bytes) return Fail({bytes.error()});
  std::printf("%llu\n", static_cast<unsigned long long>(*bytes));
  return kOk;
}

int Version(const Call& call) {
  const bool simple = !call.words.empty() && call.words[0] == "--simple";
  std::printf(simple ? "%s\n" : "MongooseIM version %s (mongoose edge)\n", MONGOOSE_VERSION);
  return kOk;
}

int NoShell(const Call&) {
  std::fprintf(
      stderr,
      "mongooseim: this node has no Erlang shell to attach to. Its log: `mongooseim live` "
      "or log/mongooseim.log; its state: `mongooseimctl status`, `mongooseimctl mnesia "
      "info`; calls: `erl -sname probe -setcookie COOKIE`, then rpc:call(NODE, M, F, A).\n");
  return kFailed;
}

struct Command {
  std::string_view name;
  bool takes_words;
  int (*run)(const Call&);
};

constexpr Command kCommands[] = {
    {"init", true, Init},
    {"start", false, Start},
    {"live", true, Live},  // upstream's own containers say `live --no-daemon`
    {"foreground", true, Live},
    {"daemon", false, Daemon},
    {"stop", false, [](const Call& call) { return Stop(call, false); }},
    {"force_stop", false, [](const Call& call) { return Stop(call, true); }},
    {"restart", false, Restart},
    {"ping", false, Ping},
    {"check", false, Check},
    {"memory", false, Memory},
    {"version", true, Version},
    {"console", true, NoShell},
    {"attach", true, NoShell},
    {"debug", true, NoShell},
};

int Main(int argc, char** argv) {
  const std::vector<std::string> words(argv + std::min(argc, 1), argv + argc);
  if (words.empty()) return Misused("what is to be done?");
  if (words[0] == "help" || words[0] == "--help" || words[0] == "-h") {
    std::fwrite(kHelp.data(), 1, kHelp.size(), stdout);
    return kOk;
  }
  for (const Command& command : kCommands) {
    if (command.name != words[0]) continue;
    if (words.size() > 1 && !command.takes_words) return Misused(words[0] + " takes no arguments");
    return command.run(
        {.program = net::ProgramPath(argv[0]), .words = {words.begin() + 1, words.end()}});
  }
  return Misused("there is no command '" + words[0] + "'");
}

}  // namespace
}  // namespace server

int main(int argc, char** argv) {
  net::InstallWipingAllocator();
  return server::Main(argc, argv);
}
