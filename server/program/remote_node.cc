#include "server/program/remote_node.h"

#include <poll.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <thread>
#include <utility>

#include "server/program/ctl_wire.h"
#include "server/program/node_lock.h"

namespace server {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using Kind = RpcClientError::Kind;

constexpr net::Duration kConnectTime = seconds(5);
constexpr net::Duration kAnswerTime = seconds(10);
// An order ends by the cluster's own times, which are below this.
constexpr net::Duration kOrderTime = seconds(150);
constexpr net::Duration kWaitTime = seconds(60);  // started, stopped
constexpr net::Duration kLookAgain = milliseconds(20);

int PidFd(pid_t pid) { return static_cast<int>(syscall(SYS_pidfd_open, pid, 0U)); }

// Whether the process has ended within the time.
bool WaitForEnd(pid_t pid, net::Duration time) {
  const net::UniqueFd fd(PidFd(pid));
  if (!fd) return errno == ESRCH;
  pollfd wait{.fd = fd.get(), .events = POLLIN, .revents = 0};
  return poll(&wait, 1, static_cast<int>(std::chrono::duration_cast<milliseconds>(time).count())) >
         0;
}

}  // namespace

RemoteNode::RemoteNode(NodeSetup setup, std::string program_path)
    : setup_(std::move(setup)), program_path_(std::move(program_path)) {}

bool RemoteNode::Connect() {
  // An operator may have thought for long before the answer to a prompt.
  if (client_ != nullptr && client_->Alive()) return true;
  auto client = RpcClient::Connect(ClientOptionsOf(setup_, kConnectTime));
  trouble_.clear();
  if (client) {
    client_ = std::move(*client);
    return true;
  }
  const Kind kind = client.error().kind;
  const bool down = kind == Kind::kUnknown || kind == Kind::kNoEpmd || kind == Kind::kNoNode;
  if (!down) trouble_ = client.error().what;
  return false;
}

bool RemoteNode::Up() { return Connect(); }

std::optional<Term> RemoteNode::Ask(std::string_view function, std::span<const Term> args,
                                    net::Duration time) {
  if (!Connect()) return std::nullopt;
  auto answer = client_->Call(kCtlModule, function, args, time);
  if (answer) return std::move(*answer);
  trouble_ = "the node's answer: " + answer.error().ToText();
  if (answer.error().kind == RpcError::Kind::kNodeDown) client_.reset();
  return std::nullopt;
}

template <typename T>
T RemoteNode::Read(std::string_view function, std::optional<T> (*read)(const TermView&)) {
  const auto answer = Ask(function, {}, kAnswerTime);
  auto value = answer ? read(answer->view()) : std::nullopt;
  if (!value) {
    std::fprintf(stderr, "%s gave no answer that this mongooseimctl understands%s%s\n",
                 Name().c_str(), trouble_.empty() ? "" : ": ", trouble_.c_str());
    return {};
  }
  return std::move(*value);
}

OrderResult RemoteNode::Order(OrderKind kind, const std::string& target, bool force) {
  const std::vector<Term> args = ToTerms({kind, target, force});
  const auto answer = Ask("order", args, kOrderTime);
  auto result = answer ? ReadOrderResult(answer->view()) : std::nullopt;
  if (result) {
    // The words for it are upstream's, and name no reason.
    if (result->outcome == Outcome::kUnreachable) trouble_ = result->detail;
    return std::move(*result);
  }
  return {Outcome::kFailed, trouble_.empty() ? "the node's answer was not understood" : trouble_};
}

NodeFacts RemoteNode::Facts() { return Read("facts", ReadFacts); }
NodeCluster RemoteNode::ClusterView() { return Read("cluster", ReadCluster); }
std::vector<NodeTable> RemoteNode::Tables() { return Read("tables", ReadTables); }
NodeStats RemoteNode::Stats() { return Read("stats", ReadStats); }
std::vector<NodeMetric> RemoteNode::Metrics() { return Read("metrics", ReadMetrics); }

std::vector<NodeMetrics> RemoteNode::ClusterMetrics(const std::vector<std::string>& nodes) {
  const std::vector<Term> args = {NamesTerm(nodes)};
  const auto answer = Ask("cluster_metrics", args, kAnswerTime);
  auto read = answer ? ReadClusterMetrics(answer->view()) : std::nullopt;
  if (read) return std::move(*read);
  return {{.node = Name(),
           .metrics = {},
           .error = trouble_.empty() ? "the node's answer was not understood" : trouble_}};
}

AccountResult RemoteNode::Account(const AccountRequest& request) {
  const std::vector<Term> args = ToTerms(request);
  const auto answer = Ask("account", args, kAnswerTime);
  auto result = answer ? ReadAccountResult(answer->view()) : std::nullopt;
  if (result) return std::move(*result);
  return {.detail = trouble_.empty() ? "the node's answer was not understood" : trouble_};
}

CtlAnswer RemoteNode::Xmpp(std::string_view category, std::string_view command,
                           const CtlArguments& arguments) {
  const std::vector<Term> args =
      ToTerms(XmppRequest{std::string(category), std::string(command), arguments});
  const auto answer = Ask("xmpp", args, kOrderTime);  // some walk over all accounts
  auto read = answer ? ReadCtlAnswer(answer->view()) : std::nullopt;
  if (read) return std::move(*read);
  CtlAnswer failed;
  failed.faults.push_back(
      {.message = trouble_.empty() ? "the node's answer was not understood" : trouble_,
       .extensions = {{"code", "rpc_error"}}});
  return failed;
}

std::string RemoteNode::LogLevel() {
  const auto answer = Ask("log_level", {}, kAnswerTime);
  return answer ? answer->view().AsText().value_or("") : "";
}

void RemoteNode::SetLogLevel(std::string_view level) {
  const std::vector<Term> args = {Term::Binary(level)};
  Ask("set_log_level", args, kAnswerTime);
}

void RemoteNode::Stop() {
  const pid_t pid = NodeLock::Holder(setup_.folder.Lock());
  Ask("stop", {}, kAnswerTime);
  client_.reset();
  if (pid <= 0) return;
  const auto began = std::chrono::steady_clock::now();
  while (!WaitForEnd(pid, seconds(5))) {
    const auto waited = std::chrono::steady_clock::now() - began;
    std::printf("Waiting for %d for %lld seconds\n", static_cast<int>(pid),
                static_cast<long long>(std::chrono::duration_cast<seconds>(waited).count()));
    std::fflush(stdout);
    if (waited > kWaitTime) return;
  }
}

void RemoteNode::Restart() { Ask("restart", {}, kAnswerTime); }

bool RemoteNode::WaitFor(bool up) {
  const auto deadline = std::chrono::steady_clock::now() + kWaitTime;
  while (true) {
    client_.reset();
    const pid_t holder = NodeLock::Holder(setup_.folder.Lock());
    if (up ? Connect() && Facts().status == "started" : holder == 0) return true;
    const auto left = deadline - std::chrono::steady_clock::now();
    if (left <= net::Duration::zero()) return false;
    if (!up) {
      WaitForEnd(holder, left);
    } else {
      std::this_thread::sleep_for(kLookAgain);
    }
  }
}

int RemoteNode::Launch(std::string_view how) {
  const std::string program = SiblingProgram(program_path_, "mongooseim");
  setenv("MONGOOSEIM_DIR", setup_.folder.root.c_str(), 1);
  const std::string verb(how);
  execl(program.c_str(), "mongooseim", verb.c_str(), static_cast<char*>(nullptr));
  std::fprintf(stderr, "%s: cannot be started: %s; install mongooseim beside mongooseimctl\n",
               program.c_str(), std::strerror(errno));
  return 1;
}

}  // namespace server
