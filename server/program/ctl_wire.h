// What travels between mongooseimctl and its node: answers of NodeApi as terms, both directions in
// one place. Called by rpc as functions of the module `mongooseimctl`.
//
//   order(Kind, Target, Force) → {Outcome, Detail}     facts(), cluster(), tables(), stats(),
//   metrics(), log_level() → as below                   set_log_level(Level), stop(), restart() →
//   ok                                                 account(Action, User, Password, Limit,
//   Index) → {Outcome, Detail, Names, Count}
//   xmpp(Category, Command, [{Name, Value}]) → {Json, [{Message, [{Key, Value}]}]}, where Json is a
//   binary (text), {json, Binary} (another scalar), {list, [Json]} or {object, [{Key, Json}]}
//   xmpp_here(Category, Command, [{Name, Value}], Hops): the same, as a node passes it on to
//   another
//   cluster_metrics([Node]) → [{Node, Metrics, Error}]
//
// Pure. Reading is as for what any peer sends: nothing is trusted, nothing for what does not fit.
#pragma once

#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "server/ctl/node_api.h"
#include "server/dist/term.h"

namespace server {

inline constexpr std::string_view kCtlModule = "mongooseimctl";

Term ToTerm(const NodeFacts& facts);
Term ToTerm(const NodeCluster& cluster);
Term ToTerm(const std::vector<NodeTable>& tables);
Term ToTerm(const NodeStats& stats);
Term ToTerm(const std::vector<NodeMetric>& metrics);
Term ToTerm(const std::vector<NodeMetrics>& nodes);
Term ToTerm(const OrderResult& result);

std::optional<NodeFacts> ReadFacts(const TermView& term);
std::optional<NodeCluster> ReadCluster(const TermView& term);
std::optional<std::vector<NodeTable>> ReadTables(const TermView& term);
std::optional<NodeStats> ReadStats(const TermView& term);
std::optional<std::vector<NodeMetric>> ReadMetrics(const TermView& term);
std::optional<std::vector<NodeMetrics>> ReadClusterMetrics(const TermView& term);
Term NamesTerm(const std::vector<std::string>& names);
std::optional<std::vector<std::string>> ReadNames(const TermView& term);
std::optional<OrderResult> ReadOrderResult(const TermView& term);

std::vector<Term> ToTerms(const AccountRequest& request);
std::optional<AccountRequest> ReadAccountRequest(std::span<const TermView> args);
Term ToTerm(const AccountResult& result);
std::optional<AccountResult> ReadAccountResult(const TermView& term);

struct XmppRequest {
  std::string category;
  std::string command;
  CtlArguments arguments;
  uint8_t hops = 0;  // 0: of mongooseimctl
};
inline constexpr size_t kCtlArgumentsMax = 32;
std::vector<Term> ToTerms(const XmppRequest& request);
std::optional<XmppRequest> ReadXmppRequest(std::span<const TermView> args);
std::vector<Term> PassedTerms(const XmppRequest& request);
std::optional<XmppRequest> ReadPassedRequest(std::span<const TermView> args);
Term ToTerm(const CtlAnswer& answer);
std::optional<CtlAnswer> ReadCtlAnswer(const TermView& term);

struct OrderRequest {
  OrderKind kind = OrderKind::kJoin;
  std::string target;
  bool force = false;
};
std::vector<Term> ToTerms(const OrderRequest& request);
std::optional<OrderRequest> ReadOrderRequest(std::span<const TermView> args);

}  // namespace server
