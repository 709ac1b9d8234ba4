// The node of a folder as mongooseimctl sees it: over a link of the distribution, with a name that
// the node gives it. One link for all that a run of the program asks.
//
// One thread; every call may block.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "server/ctl/node_api.h"
#include "server/dist/rpc_client.h"
#include "server/program/node_setup.h"

namespace server {

class RemoteNode final : public NodeApi {
 public:
  // `program_path`: of mongooseimctl or mongooseim; what Launch() starts stands beside it.
  RemoteNode(NodeSetup setup, std::string program_path);

  std::string Name() const override { return setup_.dist.node; }
  bool Up() override;
  OrderResult Order(OrderKind kind, const std::string& target, bool force) override;
  NodeFacts Facts() override;
  NodeCluster ClusterView() override;
  std::vector<NodeTable> Tables() override;
  NodeStats Stats() override;
  std::vector<NodeMetric> Metrics() override;
  std::vector<NodeMetrics> ClusterMetrics(const std::vector<std::string>& nodes) override;
  AccountResult Account(const AccountRequest& request) override;
  CtlAnswer Xmpp(std::string_view category, std::string_view command,
                 const CtlArguments& arguments) override;
  std::string LogLevel() override;
  void SetLogLevel(std::string_view level) override;
  std::string Cookie() override { return setup_.dist.cookie; }
  // Until it has ended: what is started next must find the folder free.
  void Stop() override;
  void Restart() override;
  bool WaitFor(bool up) override;
  int Launch(std::string_view how) override;

  // Why it is not up, where that is more than that nobody is there; "" otherwise.
  const std::string& trouble() const { return trouble_; }

 private:
  // Nothing: the link was lost, or the answer is not one of ours.
  std::optional<Term> Ask(std::string_view function, std::span<const Term> args,
                          net::Duration time);
  template <typename T>
  T Read(std::string_view function, std::optional<T> (*read)(const TermView&));
  bool Connect();

  const NodeSetup setup_;
  const std::string program_path_;
  std::unique_ptr<RpcClient> client_;
  std::string trouble_;
};

}  // namespace server
