// What Mnesia would say of the cluster: our membership and tables in its words.
#include <algorithm>
#include <array>
#include <utility>

#include "server/ctl/ctl.h"
#include "server/dist/node_name.h"

namespace server {
namespace {

using Value = MnesiaValue;

std::vector<std::string> TableNames(NodeApi& node) {
  std::vector<std::string> names = {"schema"};
  for (const NodeTable& table : node.Tables()) names.push_back(table.name);
  return names;
}

struct Key {
  std::string_view name;
  Value (*get)(NodeApi&);
};

constexpr std::array<Key, 9> kKeys = {{
    {"db_nodes", [](NodeApi& n) { return Value{true, n.ClusterView().members}; }},
    {"directory", [](NodeApi& n) { return Value{false, {n.Facts().directory}}; }},
    {"extra_db_nodes", [](NodeApi&) { return Value{true, {}}; }},
    {"is_running", [](NodeApi&) { return Value{false, {"yes"}}; }},
    {"local_tables", [](NodeApi& n) { return Value{true, TableNames(n)}; }},
    {"master_node_tables", [](NodeApi&) { return Value{true, {}}; }},
    {"running_db_nodes", [](NodeApi& n) { return Value{true, n.ClusterView().running}; }},
    {"tables", [](NodeApi& n) { return Value{true, TableNames(n)}; }},
    {"version", [](NodeApi& n) { return Value{false, {n.Facts().version}}; }},
}};

}  // namespace

std::string NodeList(const std::vector<std::string>& names) {
  std::string out = "[";
  for (size_t i = 0; i < names.size(); ++i) {
    out += (i == 0 ? "" : ", ") + QuotedNodeName(names[i]);
  }
  return out + "]";
}

std::optional<MnesiaValue> MnesiaKey(NodeApi& node, std::string_view key) {
  const auto* it = std::find_if(kKeys.begin(), kKeys.end(),
                                [key](const Key& known) { return known.name == key; });
  if (it == kKeys.end()) return std::nullopt;
  return it->get(node);
}

std::vector<std::string_view> MnesiaKeys() {
  std::vector<std::string_view> keys;
  for (const Key& key : kKeys) keys.push_back(key.name);
  return keys;
}

std::string MnesiaInfo(NodeApi& node) {
  const NodeFacts facts = node.Facts();
  const NodeCluster cluster = node.ClusterView();
  const std::vector<NodeTable> tables = node.Tables();
  std::string out =
      "---> Processes holding locks <--- \n---> Processes waiting for locks <--- \n"
      "---> Participant transactions <--- \n---> Coordinator transactions <---\n"
      "---> Uncertain transactions <--- \n---> Active tables <--- \n";
  std::string names;
  for (const NodeTable& table : tables) {
    std::string name = table.name;
    name.resize(std::max<size_t>(name.size(), 15), ' ');
    out += name + ": with " + std::to_string(table.size) + " records occupying " +
           std::to_string(table.memory_bytes / 8) + " words of mem\n";
    names += (names.empty() ? "" : ", ") + table.name;
  }
  out += "===> System info in version \"" + facts.version + "\", debug level = none <===\n";
  out += "opt_disc. Directory \"" + facts.directory + "\" is used.\n";
  out += "use fallback at restart = false\n";
  out += "running db nodes   = " + NodeList(cluster.running) + "\n";
  out += "stopped db nodes   = " + NodeList(cluster.stopped) + " \n";
  out += "master node tables = []\nremote             = []\n";
  out += "ram_copies         = [" + names + "]\n";
  out += "disc_copies        = [schema]\ndisc_only_copies   = []\n";
  std::string holders;
  for (const std::string& name : cluster.running) {
    holders += (holders.empty() ? "{" : ",{") + QuotedNodeName(name) + ",ram_copies}";
  }
  out += "[" + holders + "] = [" + names + "]\n";
  return out +
         "0 transactions committed, 0 aborted, 0 restarted, 0 logged to disc\n"
         "0 held locks, 0 in queue; 0 local transactions, 0 remote\n"
         "0 transactions waits for other nodes: []";
}

}  // namespace server
