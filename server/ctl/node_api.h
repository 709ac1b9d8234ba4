// What mongooseimctl asks of a node. The program's own is a distribution link to its node; tests
// hold one in their hand.
//
// Every call may block for as long as an order takes. Nothing here is called before Up() said yes,
// but for Name, WaitFor and Launch.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "server/cluster/operation.h"
#include "server/ctl/ctl_answer.h"

namespace server {

struct NodeFacts {
  std::string version;
  std::string commit;
  int os_pid = 0;
  int64_t uptime_s = 0;
  std::string status = "started";  // or starting, stopping
  std::string protocol = "inet_tcp";
  std::string log_path;
  std::string directory;  // where it keeps its data
};

struct NodeCluster {
  std::vector<std::string> members;
  std::vector<std::string> running;  // the node itself included
  std::vector<std::string> stopped;
  std::vector<std::string> discovered;
  bool discovery_works = true;
  std::vector<std::string> conflict_nodes;
  std::vector<std::string> conflict_tables;
};

struct NodeTable {
  std::string name;
  uint64_t size = 0;
  uint64_t memory_bytes = 0;
  std::string digest;  // hexadecimal
};

struct NodeStats {
  int64_t uptime_s = 0;
  uint64_t registered_users = 0;
  uint64_t online_users_node = 0;
  uint64_t online_users = 0;
  uint64_t incoming_s2s = 0;
  uint64_t outgoing_s2s = 0;
};

struct NodeMetric {
  std::vector<std::string> name;  // "global", "uptime"
  int64_t value = 0;
};

struct NodeMetrics {
  std::string node;
  std::vector<NodeMetric> metrics;
  std::string error;  // "": it told them
};

struct OrderResult {
  Outcome outcome = Outcome::kDone;
  std::string detail;
};

enum class AccountAction : uint8_t {
  kRegister,
  kRemove,
  kSetPassword,
  kCheckPassword,
  kCheck,
  kList,   // of a domain
  kCount,  //
};
struct AccountRequest {
  AccountAction action = AccountAction::kCheck;
  std::string user;  // a bare JID; kList, kCount: the domain
  std::string password;
  uint64_t limit = 0;  // kList; 0: as many as one answer holds
  uint64_t index = 0;  // of the first
};
enum class AccountOutcome : uint8_t {
  kDone,
  kExists,
  kAbsent,
  kWrong,     // the password
  kInvalid,   // the address, or the password
  kNoDomain,  // it is not served here
  kFailed,    // the store
  kNoXmpp,    // the node has no [[host]]
};
struct AccountResult {
  AccountOutcome outcome = AccountOutcome::kFailed;
  std::string detail;
  std::vector<std::string> names;
  uint64_t count = 0;
};

class NodeApi {
 public:
  virtual ~NodeApi() = default;
  virtual std::string Name() const = 0;
  virtual bool Up() = 0;  // it answers
  virtual OrderResult Order(OrderKind kind, const std::string& target, bool force) = 0;
  virtual NodeFacts Facts() = 0;
  virtual NodeCluster ClusterView() = 0;
  virtual std::vector<NodeTable> Tables() = 0;
  virtual NodeStats Stats() = 0;
  virtual std::vector<NodeMetric> Metrics() = 0;
  // Of the cluster's nodes by their names; of all, where none is named.
  virtual std::vector<NodeMetrics> ClusterMetrics(const std::vector<std::string>& nodes) = 0;
  virtual AccountResult Account(const AccountRequest& request) = 0;
  // A command that the node's XMPP answers (kXmppCommands).
  virtual CtlAnswer Xmpp(std::string_view category, std::string_view command,
                         const CtlArguments& arguments) = 0;
  virtual std::string LogLevel() = 0;  // "INFO"
  virtual void SetLogLevel(std::string_view level) = 0;
  virtual std::string Cookie() = 0;
  virtual void Stop() = 0;  // in order; does not wait
  virtual void Restart() = 0;
  // Whether it is up (or down) within 60 s.
  virtual bool WaitFor(bool up) = 0;
  // start, live, foreground: the program's exit code, after it has printed what there is to say.
  virtual int Launch(std::string_view how) = 0;
};

// Where answers to questions come from and lines go to.
class Terminal {
 public:
  virtual ~Terminal() = default;
  virtual std::optional<std::string> ReadLine() = 0;  // nothing: the end of the input
  virtual void Print(std::string_view line) = 0;      // the newline is added
};

}  // namespace server
