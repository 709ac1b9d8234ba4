#include "server/ctl/ctl.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <deque>
#include <nlohmann/json.hpp>

namespace server {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

class FakeNode final : public NodeApi {
 public:
  std::string Name() const override { return name; }
  bool Up() override { return up; }
  OrderResult Order(OrderKind kind, const std::string& target, bool force) override {
    ordered.push_back({kind, target, force});
    return result;
  }
  NodeFacts Facts() override {
    return {.version = "6.8",
            .commit = "abc",
            .os_pid = 7,
            .uptime_s = 90'065,
            .log_path = "/srv/m/log/mongooseim.log",
            .directory = "/srv/m/data"};
  }
  NodeCluster ClusterView() override { return cluster; }
  std::vector<NodeTable> Tables() override { return {{"session", 3, 312, "00ff"}}; }
  NodeStats Stats() override { return {.uptime_s = 5, .online_users = 9}; }
  std::vector<NodeMetric> Metrics() override {
    return {{{"global", "uptime"}, 5}, {{"localhost", "x"}, 6}};
  }
  std::vector<NodeMetrics> ClusterMetrics(const std::vector<std::string>& nodes) override {
    metrics_of = nodes;
    return {{.node = "a@h", .metrics = Metrics(), .error = ""},
            {.node = "b@h", .metrics = {}, .error = "timeout"}};
  }
  AccountResult Account(const AccountRequest& request) override {
    asked.push_back(request);
    return account;
  }
  CtlAnswer Xmpp(std::string_view category, std::string_view command,
                 const CtlArguments& arguments) override {
    std::string line = std::string(category) + ' ' + std::string(command);
    for (const auto& [key, value] : arguments) line += " " + key + "=" + value;
    xmpp.push_back(std::move(line));
    return xmpp_answer;
  }
  std::string LogLevel() override { return level; }
  void SetLogLevel(std::string_view to) override { level = to; }
  std::string Cookie() override { return "cookie"; }
  void Stop() override { ++stops; }
  void Restart() override {}
  bool WaitFor(bool want) override { return up == want; }
  int Launch(std::string_view how) override { return launched = how, 0; }

  struct Ordered {
    OrderKind kind;
    std::string target;
    bool force;
  };
  std::string name = "mongooseim2@localhost";
  bool up = true;
  std::vector<Ordered> ordered;
  OrderResult result;
  NodeCluster cluster{.members = {"mongooseim@node1", "mongooseim@node2"},
                      .running = {"mongooseim@node1", "mongooseim@node2"}};
  std::string level = "INFO";
  std::string launched;
  int stops = 0;
  std::vector<std::string> metrics_of;
  std::vector<AccountRequest> asked;
  AccountResult account{.outcome = AccountOutcome::kDone};
  std::vector<std::string> xmpp;
  CtlAnswer xmpp_answer;
};

class Script final : public Terminal {
 public:
  std::optional<std::string> ReadLine() override {
    if (answers.empty()) return std::nullopt;
    std::string line = answers.front();
    answers.pop_front();
    return line;
  }
  void Print(std::string_view line) override { out += std::string(line) + "\n"; }
  std::deque<std::string> answers;
  std::string out;
};

struct Ctl {
  int Run(std::vector<std::string> args, std::deque<std::string> answers = {}) {
    terminal = {};
    terminal.answers = std::move(answers);
    return RunCtl(args, node, terminal);
  }
  nlohmann::json Json() const { return nlohmann::json::parse(terminal.out); }
  FakeNode node;
  Script terminal;
};

constexpr const char* kOne = "mongooseim@localhost";
constexpr const char* kWarning =
    "Warning. This will drop all current connections and will discard all persistent data from "
    "Mnesia. Do you want to continue? (yes/no)\n";

TEST(CtlFlat, ThePagesJoinWordForWord) {
  Ctl ctl;
  EXPECT_EQ(ctl.Run({"join_cluster", kOne}, {"yes"}), 0);
  EXPECT_EQ(ctl.terminal.out,
            std::string(kWarning) +
                "Joining the cluster...\nYou have successfully joined the node "
                "mongooseim2@localhost to the cluster with node member mongooseim@localhost\n");
}

TEST(CtlFlat, NoAndTheEndOfTheInputDiscardAndAnythingElseAsksAgain) {
  Ctl ctl;
  EXPECT_EQ(ctl.Run({"leave_cluster"}, {"no"}), 1);
  EXPECT_EQ(ctl.terminal.out, std::string(kWarning) + "Operation discarded by user\n");
  EXPECT_EQ(ctl.Run({"leave_cluster"}), 1);
  EXPECT_EQ(ctl.terminal.out, std::string(kWarning) + "Operation discarded by user\n");
  EXPECT_TRUE(ctl.node.ordered.empty()) << "nothing was ordered";
  EXPECT_EQ(ctl.Run({"leave_cluster"}, {"maybe", "yes"}), 0);
  EXPECT_EQ(ctl.terminal.out, std::string(kWarning) +
                                  "Command unknown. Do you want to continue? (yes/no)\n" +
                                  kWarning +
                                  "Leaving the cluster...\nYou have successfully left the node "
                                  "mongooseim2@localhost from the cluster.\n");
}

TEST(CtlFlat, ForceIsAWholeWordBeforeOrBehindTheName) {
  Ctl ctl;
  for (const std::vector<std::string>& args : std::vector<std::vector<std::string>>{
           {"join_cluster", "-f", kOne}, {"join_cluster", kOne, "--force"}}) {
    EXPECT_EQ(ctl.Run(args), 0);
    EXPECT_EQ(ctl.node.ordered.back().target, kOne);
    EXPECT_TRUE(ctl.node.ordered.back().force);
    EXPECT_THAT(ctl.terminal.out, StartsWith("You have successfully joined"));
  }
  EXPECT_EQ(ctl.Run({"join_cluster", "mim@my-foo"}, {"yes"}), 0);
  EXPECT_EQ(ctl.node.ordered.back().target, "mim@my-foo");
  EXPECT_FALSE(ctl.node.ordered.back().force);
}

TEST(CtlFlat, RemoveHasItsOwnWarning) {
  Ctl ctl;
  ctl.node.name = kOne;
  EXPECT_EQ(ctl.Run({"remove_from_cluster", "mongooseim2@localhost"}, {"yes"}), 0);
  EXPECT_EQ(ctl.terminal.out,
            "Warning. If the node is alive this will drop all current connections on the remote "
            "node and will discard all persistent data from Mnesia. Do you want to continue? "
            "(yes/no)\nRemoving node from the cluster...\nThe node mongooseim2@localhost has been "
            "removed from the cluster\n");
}

TEST(CtlFlat, ExitCodesTellRefusalUsageAndDeathApart) {
  Ctl ctl;
  EXPECT_EQ(ctl.Run({"join_cluster"}), 1);
  EXPECT_EQ(ctl.terminal.out, "This command requires one argument: other node's name\n");
  EXPECT_EQ(ctl.Run({"join_cluster", "a@b", "c@d"}), 2);
  EXPECT_EQ(ctl.Run({}), 2);
  EXPECT_THAT(ctl.terminal.out, StartsWith("Usage: "));
  ctl.node.result.outcome = Outcome::kUnreachable;
  EXPECT_EQ(ctl.Run({"join_cluster", "-f", "m@my-host"}), 1);
  EXPECT_EQ(ctl.terminal.out, "Timeout while attempting to connect to node m@my-host\n");
  ctl.node.up = false;
  ctl.node.name = "mongooseim@my-host";
  EXPECT_EQ(ctl.Run({"status"}), 3);
  EXPECT_EQ(ctl.terminal.out, "Failed RPC connection to the node 'mongooseim@my-host': nodedown\n");
  EXPECT_EQ(ctl.Run({"join_cluster", "a@b"}), 3);
  EXPECT_EQ(ctl.Run({"server", "status"}), 3);
  EXPECT_EQ(ctl.Run({"started"}), 1);
  EXPECT_EQ(ctl.terminal.out, "wait_for_status: timeout\n");
  EXPECT_EQ(ctl.Run({"stopped"}), 0);
  EXPECT_EQ(ctl.terminal.out, "");
  EXPECT_EQ(ctl.Run({"start"}), 0);
  EXPECT_EQ(ctl.node.launched, "start");
}

TEST(CtlFlat, StatusAsOperatorsParseIt) {
  Ctl ctl;
  EXPECT_EQ(ctl.Run({"status"}), 0);
  EXPECT_EQ(ctl.terminal.out,
            "MongooseIM node mongooseim2@localhost:\n    operating system pid: 7\n"
            "    Erlang VM status: started (of: starting | started | stopping)\n"
            "    boot script status: started\n    version: 6.8 (as mongooseim)\n"
            "    uptime: 1 days 01:01:05\n    distribution protocol: inet_tcp\n    logs:\n"
            "        /srv/m/log/mongooseim.log\n");
  EXPECT_EQ(ctl.Run({"start"}), 1);
  EXPECT_EQ(ctl.terminal.out, "Node is already running!\n");
}

TEST(CtlFlat, MnesiaInfoHasThePagesLines) {
  Ctl ctl;
  EXPECT_EQ(ctl.Run({"mnesia", "info"}), 0);
  EXPECT_THAT(ctl.terminal.out,
              HasSubstr("\nrunning db nodes   = [mongooseim@node1, mongooseim@node2]\n"));
  EXPECT_THAT(ctl.terminal.out, HasSubstr("\nstopped db nodes   = [] \n"));
  EXPECT_EQ(ctl.Run({"mnesia", "running_db_nodes"}), 0);
  EXPECT_EQ(ctl.terminal.out, "[mongooseim@node1, mongooseim@node2]\n");
  EXPECT_EQ(ctl.Run({"mnesia", "x"}), 1);
  EXPECT_THAT(ctl.terminal.out, StartsWith("Key \"x\" does not exist"));
  EXPECT_EQ(ctl.Run({"cluster", "digest"}), 0);
  EXPECT_EQ(ctl.terminal.out, "session 00ff 3\n");
}

TEST(CtlCategory, JoinInTheNewerWords) {
  Ctl ctl;
  ctl.node.name = kOne;
  EXPECT_EQ(ctl.Run({"server", "joinCluster", "--node", "mongooseim2@localhost"}), 0);
  EXPECT_EQ(
      ctl.terminal.out,
      "{\n  \"data\" : {\n    \"server\" : {\n      \"joinCluster\" : \"You have successfully "
      "added the MongooseIM node mongooseim@localhost to the cluster with node member "
      "mongooseim2@localhost.\"\n    }\n  }\n}\n");
  ctl.node.result.outcome = Outcome::kAlreadyJoined;
  EXPECT_EQ(ctl.Run({"server", "joinCluster", "--node", "X@h"}), 1);
  EXPECT_EQ(
      ctl.Json(),
      nlohmann::json::parse(
          R"({"errors":[{"path":["server","joinCluster"],"message":"The MongooseIM node X@h has already joined the cluster.","extensions":{"node":"X@h","code":"already_joined"}}],"data":{"server":{"joinCluster":null}}})"));
}

TEST(CtlCategory, LeaveAndRemoveInTheNewerWords) {
  Ctl ctl;
  EXPECT_EQ(ctl.Run({"server", "leaveCluster"}), 0);
  EXPECT_EQ(ctl.Json()["data"]["server"]["leaveCluster"],
            "The MongooseIM node mongooseim2@localhost has successfully left the cluster");
  ctl.node.result.outcome = Outcome::kNotInCluster;
  EXPECT_EQ(ctl.Run({"server", "leaveCluster"}), 1);
  EXPECT_EQ(ctl.Json()["errors"][0]["extensions"]["code"], "not_in_cluster");
  ctl.node.result.outcome = Outcome::kDoneDead;
  EXPECT_EQ(ctl.Run({"server", "removeFromCluster", "--node", "a@b"}), 0);
  EXPECT_EQ(ctl.Json()["data"]["server"]["removeFromCluster"],
            "The dead MongooseIM node a@b has been removed from the cluster");
}

TEST(CtlCategory, WhatIsKnownComesInTheEnvelope) {
  Ctl ctl;
  EXPECT_EQ(ctl.Run({"mnesia", "systemInfo", "--keys", "[\"running_db_nodes\", \"x\"]"}), 1);
  EXPECT_EQ(ctl.Json()["data"]["mnesia"]["systemInfo"][0],
            nlohmann::json::parse(
                R"({"result":["mongooseim@node1","mongooseim@node2"],"key":"running_db_nodes"})"));
  EXPECT_EQ(ctl.Json()["errors"][0]["message"], "Key \"x\" does not exist");
  EXPECT_EQ(ctl.Run({"cets", "systemInfo"}), 0);
  EXPECT_EQ(ctl.Json()["data"]["cets"]["systemInfo"].size(), 12U);
  EXPECT_EQ(ctl.Json()["data"]["cets"]["systemInfo"]["discoveryWorks"], true);
  EXPECT_EQ(ctl.Run({"cets", "tableInfo"}), 0);
  EXPECT_EQ(ctl.Json()["data"]["cets"]["tableInfo"][0]["tableName"], "cets_session");
  EXPECT_EQ(ctl.Run({"server", "status"}), 0);
  EXPECT_EQ(ctl.Json()["data"]["server"]["status"]["statusCode"], "RUNNING");
  EXPECT_EQ(ctl.Run({"stat", "globalStats"}), 0);
  EXPECT_EQ(ctl.Json()["data"]["stat"]["globalStats"]["onlineUsers"], 9);
  EXPECT_EQ(ctl.Run({"metric", "getMetrics", "--name", "[\"global\"]"}), 0);
  EXPECT_EQ(ctl.Json()["data"]["metric"]["getMetrics"].size(), 1U);
  EXPECT_EQ(ctl.Run({"server", "setLoglevel", "--level", "DEBUG"}), 0);
  EXPECT_EQ(ctl.node.level, "DEBUG");
  EXPECT_EQ(ctl.Run({"server", "stop"}), 0);
  EXPECT_EQ(ctl.node.stops, 1);
}

TEST(CtlCategory, WhatIsNotThereYetSaysSoInTheSameEnvelope) {
  Ctl ctl;
  for (const CtlCommandSpec& spec : CtlCommandSpecs()) {
    if (!spec.arguments.empty()) continue;
    const int exit_code = ctl.Run({std::string(spec.category), std::string(spec.command)});
    const auto json = ctl.Json();
    EXPECT_EQ(exit_code, json.contains("errors") ? 1 : 0);
    EXPECT_TRUE(json["data"][spec.category].contains(spec.command)) << spec.command;
  }
  EXPECT_EQ(ctl.Run({"inbox", "flushGlobalBin", "--hostType", "x"}), 1);
  EXPECT_EQ(ctl.Json()["errors"][0]["extensions"]["code"], "not_implemented");
}

TEST(CtlCategory, UsageErrorsAreUpstreams) {
  Ctl ctl;
  const auto first = [&](std::vector<std::string> args) {
    EXPECT_EQ(ctl.Run(std::move(args)), 1);
    return ctl.terminal.out.substr(0, ctl.terminal.out.find('\n'));
  };
  EXPECT_EQ(first({"frobnicate"}), "Unknown command 'frobnicate'");
  EXPECT_EQ(first({"frob", "nicate"}), "Unknown category");
  EXPECT_EQ(first({"server", "frob"}), "Unknown command 'frob'");
  EXPECT_EQ(first({"server", "joinCluster", "--nod", "x"}),
            "Unknown argument 'nod' for command 'joinCluster'");
  EXPECT_EQ(first({"server", "setLoglevel", "--level", "loud"}),
            "Invalid value 'loud' of argument 'level' for command 'setLoglevel'");
  EXPECT_EQ(first({"account", "banUser"}),
            "Missing mandatory arguments for command 'banUser': 'user', 'reason'");
  EXPECT_EQ(ctl.Run({"server", "--help"}), 0);
  EXPECT_THAT(ctl.terminal.out, HasSubstr("joinCluster"));
  EXPECT_EQ(ctl.Run({"server", "joinCluster", "--help"}), 0);
  EXPECT_EQ(ctl.terminal.out, "Usage: mongooseimctl server joinCluster --node String\n");
}

TEST(CtlDocument, AnswersWhatItsFieldsChoose) {
  Ctl ctl;
  ctl.node.name = kOne;
  EXPECT_EQ(ctl.Run({"graphql", "{server{status{statusCode version}}}"}), 0);
  EXPECT_EQ(ctl.Json(),
            nlohmann::json::parse(
                R"({"data":{"server":{"status":{"statusCode":"RUNNING","version":"6.8"}}}})"));
  EXPECT_EQ(ctl.Run({"graphql",
                     "query Q { cets { tableInfo { size } } # a comment\n stat {"
                     " globalStats { onlineUsers } } }"}),
            0);
  EXPECT_EQ(ctl.Json()["data"]["cets"]["tableInfo"], nlohmann::json::parse(R"([{"size":3}])"));
  EXPECT_EQ(ctl.Json()["data"]["stat"]["globalStats"]["onlineUsers"], 9);
  EXPECT_EQ(
      ctl.Run({"graphql", "{ mnesia { systemInfo(keys: [\"running_db_nodes\"]) { result } } }"}),
      0);
  EXPECT_EQ(ctl.Json()["data"]["mnesia"]["systemInfo"][0]["result"].size(), 2U);
}

TEST(CtlDocument, AMutationOrdersAndAQueryDoesNot) {
  Ctl ctl;
  EXPECT_EQ(ctl.Run({"graphql", R"(mutation { server { joinCluster(node: "a@b") } })"}), 0);
  ASSERT_EQ(ctl.node.ordered.size(), 1U);
  EXPECT_EQ(ctl.node.ordered[0].target, "a@b");
  EXPECT_EQ(ctl.Run({"graphql", R"(query Named { server { joinCluster(node: "a@b") } })"}), 1);
  EXPECT_EQ(ctl.node.ordered.size(), 1U) << "a query that is named is a query all the same";
  EXPECT_EQ(ctl.Json()["errors"][0]["extensions"]["code"], "unknown_field");
}

TEST(CtlDocument, WhatIsNotUnderstoodIsSaidInTheEnvelope) {
  Ctl ctl;
  const auto code = [&](std::string document) {
    EXPECT_EQ(ctl.Run({"graphql", std::move(document)}), 1);
    const nlohmann::json json = ctl.Json();
    return json["errors"][0]["extensions"]["code"].get<std::string>();
  };
  for (const char* document :
       {"", "{", "{}", "{server{status", "subscription {a}", "{server{...F}}", "query($a: Int){b}",
        "{a:server{status}}", "{server{status @include(if: true)}}", "{server} {server}",
        "{server{joinCluster(node: \"a)}}", "mutation{server{joinCluster(node: $n)}}"}) {
    EXPECT_EQ(code(document), "parser_error") << document;
  }
  EXPECT_EQ(code(std::string(200, '{')), "parser_error");
  EXPECT_EQ(code("{server}"), "unknown_field");
  EXPECT_EQ(code("{server{nothing}}"), "unknown_field");
  EXPECT_EQ(code("{server{status{nothing}}}"), "unknown_field");
  EXPECT_EQ(code("mutation{server{joinCluster}}"), "bad_argument");
  EXPECT_EQ(code("mutation{inbox{flushUserBin(user: \"x@y\")}}"), "not_implemented");
  ctl.node.up = false;
  EXPECT_EQ(ctl.Run({"graphql", "{server{status}}"}), 3);
  EXPECT_EQ(ctl.Run({"graphql"}), 3);
}

TEST(CtlFlat, OlderCommandsThatAreNotThereYetSaySo) {
  Ctl ctl;
  EXPECT_EQ(ctl.Run({"remove_node", "a@h"}), 1);
  EXPECT_THAT(ctl.terminal.out, HasSubstr("'remove_node' is not there yet"));
  EXPECT_EQ(ctl.Run({"no_such_word"}), 1);
  EXPECT_THAT(ctl.terminal.out, HasSubstr("Unknown command 'no_such_word'"));
}

TEST(CtlFlat, ANumberOfDaysThatIsNoneRemovesNothing) {
  Ctl ctl;
  for (const char* days : {"", "x30", "30d", "-1", "1e3", "123456"}) {
    EXPECT_EQ(ctl.Run({"delete_old_messages", "d", days}), 2) << days;
    EXPECT_EQ(ctl.Run({"delete_old_users", days}), 2) << days;
    EXPECT_EQ(ctl.Run({"delete_old_users_vhost", "d", days}), 2) << days;
  }
  EXPECT_TRUE(ctl.node.xmpp.empty());
  EXPECT_EQ(ctl.Run({"delete_old_messages", "d", "30"}), 0);
  EXPECT_EQ(ctl.node.xmpp.back(), "offline deleteOldMessages days=30 domain=d");
}

TEST(CtlXmpp, NewerCommandsGoToTheNodeAsTheyAre) {
  Ctl ctl;
  ctl.node.xmpp_answer.data = CtlJson::Object();
  ctl.node.xmpp_answer.data.Set("id", CtlJson::Text("7"));
  EXPECT_EQ(ctl.Run({"stanza", "sendMessage", "--from", "a@d", "--to", "b@d", "--body", "hi you"}),
            0);
  EXPECT_EQ(ctl.node.xmpp.back(), "stanza sendMessage body=hi you from=a@d to=b@d");
  EXPECT_EQ(ctl.Json()["data"]["stanza"]["sendMessage"]["id"], "7");
  EXPECT_EQ(ctl.Run({"graphql",
                     "mutation{stanza{sendMessage(from:\"a@d\", to:\"b@d\", body:\"x\"){id}}}"}),
            0);
  EXPECT_EQ(ctl.node.xmpp.back(), "stanza sendMessage body=x from=a@d to=b@d");
  ctl.node.xmpp_answer = {};
  ctl.node.xmpp_answer.faults = {
      {.message = "No active session", .extensions = {{"code", "no_session"}}}};
  EXPECT_EQ(ctl.Run({"session", "kickUserSession", "--user", "a@d/x"}), 1);
  EXPECT_EQ(ctl.Json()["errors"][0]["message"], "No active session");
  EXPECT_EQ(ctl.Json()["errors"][0]["extensions"]["code"], "no_session");
  EXPECT_EQ(ctl.Json()["errors"][0]["path"][1], "kickUserSession");
  ctl.node.up = false;
  EXPECT_EQ(ctl.Run({"session", "countSessions"}), 3);
}

TEST(CtlXmpp, ValuesThatAreNoJsonAreUsageErrors) {
  Ctl ctl;
  EXPECT_EQ(ctl.Run({"roster", "deleteContacts", "--user", "a@d", "--contacts", "[b@d]"}), 1);
  EXPECT_THAT(ctl.terminal.out, HasSubstr("Invalid value '[b@d]' of argument 'contacts'"));
  EXPECT_EQ(ctl.Run({"vcard", "setVcard", "--user", "a@d", "--vcard", "[]"}), 1);
  EXPECT_EQ(ctl.Run({"vcard", "setVcard", "--user", "a@d", "--vcard", R"({"formattedName":"A"})"}),
            0);
}

TEST(CtlXmpp, OlderCommandsStandOnTheNewerOnes) {
  Ctl ctl;
  CtlJson session = CtlJson::Object();
  session.Set("user", CtlJson::Text("a@d/x"));
  session.Set("connection", CtlJson::Text("c2s_tls"));
  session.Set("ip", CtlJson::Text("192.0.2.1"));
  session.Set("port", CtlJson::Number(5));
  session.Set("priority", CtlJson::Null());
  session.Set("node", CtlJson::Text("m@h"));
  session.Set("uptime", CtlJson::Number(9));
  ctl.node.xmpp_answer.data = CtlJson::List();
  ctl.node.xmpp_answer.data.Add(session);
  EXPECT_EQ(ctl.Run({"connected_users"}), 0);
  EXPECT_EQ(ctl.terminal.out, "a@d/x\n");
  EXPECT_EQ(ctl.Run({"connected_users_info"}), 0);
  EXPECT_EQ(ctl.terminal.out, "a@d/x\tc2s_tls\t192.0.2.1\t5\tundefined\tm@h\t9\n");
  EXPECT_EQ(ctl.Run({"user_sessions_info", "a", "d"}), 0);
  EXPECT_EQ(ctl.node.xmpp.back(), "session listUserSessions user=a@d");
  ctl.node.xmpp_answer.data = CtlJson::Number(3);
  EXPECT_EQ(ctl.Run({"connected_users_number"}), 0);
  EXPECT_EQ(ctl.terminal.out, "3\n");
  CtlJson contact = CtlJson::Object();
  contact.Set("jid", CtlJson::Text("b@d"));
  contact.Set("name", CtlJson::Text("B"));
  contact.Set("groups", CtlJson::Texts({"g", "h"}));
  contact.Set("subscription", CtlJson::Text("BOTH"));
  contact.Set("ask", CtlJson::Text("NONE"));
  ctl.node.xmpp_answer.data = CtlJson::List();
  ctl.node.xmpp_answer.data.Add(contact);
  EXPECT_EQ(ctl.Run({"get_roster", "a", "d"}), 0);
  EXPECT_EQ(ctl.terminal.out, "b@d\tB\tboth\tnone\tg;h\n");
  ctl.node.xmpp_answer.data = CtlJson::Object();
  ctl.node.xmpp_answer.data.Set("kicked", CtlJson::Bool(false));
  ctl.node.xmpp_answer.data.Set("message", CtlJson::Text("No active session"));
  EXPECT_EQ(ctl.Run({"kick_session", "a", "d", "x", "why"}), 1);
  EXPECT_EQ(ctl.terminal.out, "No active session\n");
  EXPECT_EQ(ctl.node.xmpp.back(), "session kickUserSession reason=why user=a@d/x");
}

TEST(CtlXmpp, AnOlderRosterItemIsAddedAndSubscribedTo) {
  Ctl ctl;
  EXPECT_EQ(ctl.Run({"add_rosteritem", "a", "d", "b", "e", "Bob", "friends", "to"}), 0);
  ASSERT_EQ(ctl.node.xmpp.size(), 3U);
  EXPECT_THAT(ctl.node.xmpp[0], StartsWith("roster addContact contact=b@e groups=["));
  EXPECT_EQ(ctl.node.xmpp[1], "roster subscription action=ACCEPT contact=a@d user=b@e");
  EXPECT_EQ(ctl.node.xmpp[2], "roster subscription action=INVITE contact=b@e user=a@d");
  EXPECT_EQ(ctl.Run({"add_rosteritem", "a", "d", "b", "e", "Bob", "", "both"}), 0);
  EXPECT_EQ(ctl.node.xmpp.back(),
            "roster setMutualSubscription action=CONNECT userA=a@d userB=b@e");
  EXPECT_EQ(ctl.Run({"add_rosteritem", "a", "d", "b", "e", "Bob", "", "some"}), 2);
  EXPECT_EQ(ctl.Run({"add_rosteritem", "a"}), 2);
  EXPECT_THAT(ctl.terminal.out, StartsWith("Usage: mongooseimctl add_rosteritem USER HOST"));
}

TEST(CtlXmpp, EachOlderCommandIsInTheHelpAndTellsItsFault) {
  Ctl ctl;
  ctl.Run({});
  const std::string help = ctl.terminal.out;
  ctl.node.xmpp_answer.faults = {{.message = "so it is", .extensions = {}}};
  for (const FlatXmppCommand& command : FlatXmppCommands()) {
    EXPECT_THAT(help, HasSubstr("  " + std::string(command.name) + ' '));
    std::vector<std::string> words = {std::string(command.name)};
    if (!command.arguments.empty()) {
      const auto count = std::ranges::count(command.arguments, ' ') + 1;
      for (int i = 0; i < count; ++i)
        words.push_back(command.name == "add_rosteritem" ? "none" : "1");
    }
    EXPECT_EQ(ctl.Run(words), 1) << command.name;
    EXPECT_EQ(ctl.terminal.out, "Error: so it is\n") << command.name;
  }
}

TEST(CtlXmpp, ADrainTellsWhatIsLeftAndEndsWithTheLast) {
  Ctl ctl;
  ctl.node.xmpp_answer.data = *CtlJson::Parse(R"({"draining":true,"connections":7,"late":false})");
  EXPECT_EQ(ctl.Run({"drain", "--rate", "50", "--deadline", "9"}), 0);
  EXPECT_EQ(ctl.terminal.out, "7 connections left\n");
  EXPECT_EQ(ctl.node.xmpp.back(), "flat drain deadline=9 rate=50");
  ctl.node.xmpp_answer.data = *CtlJson::Parse(R"({"draining":true,"connections":0,"late":false})");
  EXPECT_EQ(ctl.Run({"drain", "--wait"}), 0);
  EXPECT_EQ(ctl.terminal.out, "Drained\n");
  ctl.node.xmpp_answer.data = *CtlJson::Parse(R"({"draining":true,"connections":0,"late":true})");
  EXPECT_EQ(ctl.Run({"drain", "--wait"}), 1);
  for (const std::vector<std::string>& words :
       std::vector<std::vector<std::string>>{{"drain", "--rate"},
                                             {"drain", "--rate", "x"},
                                             {"drain", "--rate", "0"},
                                             {"drain", "now"}}) {
    EXPECT_EQ(ctl.Run(words), 2);
  }
  ctl.Run({"drain", "--force", "--rate", "7"});
  EXPECT_EQ(ctl.node.xmpp.back(), "flat drain force=true rate=7");
}

TEST(CtlXmpp, ARebalanceSaysWhatItDid) {
  Ctl ctl;
  ctl.node.xmpp_answer.data = *CtlJson::Parse(
      R"({"left":0,"drained":5,"resumable":4,"sessions":1312,"mean":1000,"surplus":262})");
  EXPECT_EQ(ctl.Run({"rebalance", "--rate", "20", "--epsilon", "0.05"}), 0);
  EXPECT_THAT(ctl.terminal.out,
              HasSubstr("Sheds 262 of 1312 sessions (1000 a node), 20 a second\n"));
  EXPECT_THAT(ctl.terminal.out, HasSubstr("Shed 0: 0 may resume elsewhere, 0 log in anew\n"));
  EXPECT_EQ(ctl.node.xmpp.front(), "flat rebalance permille=50 rate=20");
  ctl.node.xmpp_answer.data = *CtlJson::Parse(R"({"sessions":900,"mean":1000,"surplus":0})");
  EXPECT_EQ(ctl.Run({"rebalance"}), 0);
  EXPECT_EQ(ctl.terminal.out, "Nothing to shed: 900 sessions here, 1000 a node\n");
  for (const std::vector<std::string>& words :
       std::vector<std::vector<std::string>>{{"rebalance", "--epsilon"},
                                             {"rebalance", "--epsilon", "-1"},
                                             {"rebalance", "--epsilon", "x"},
                                             {"rebalance", "--rate", "0"},
                                             {"rebalance", "now"}}) {
    EXPECT_EQ(ctl.Run(words), 2);
  }
}

TEST(CtlXmpp, ADrainIsTakenBackOrItIsSaidWhyNot) {
  Ctl ctl;
  EXPECT_EQ(ctl.Run({"undrain"}), 0);
  EXPECT_EQ(ctl.node.xmpp.back(), "flat undrain");
  EXPECT_EQ(ctl.terminal.out, "It takes clients again\n");
  EXPECT_EQ(ctl.Run({"undrain", "now"}), 2);
  ctl.node.xmpp_answer.faults.push_back({.message = "It drains on: the node stops"});
  EXPECT_EQ(ctl.Run({"undrain"}), 1);
  EXPECT_EQ(ctl.terminal.out, "Error: It drains on: the node stops\n");
}

TEST(CtlJson, IsReadAsItIsWrittenAndWhatIsNoneIsNothing) {
  const std::string text = R"({"a":[1,-2,"x\u00e4\ud83d\ude00\n\"",null,true],"b":{}})";
  const auto json = CtlJson::Parse(text);
  ASSERT_TRUE(json.has_value());
  EXPECT_EQ(nlohmann::json::parse(json->Pretty()), nlohmann::json::parse(text));
  EXPECT_EQ(json->Find("a")->values()[2].second.Plain(), "x\u00e4\U0001F600\n\"");
  for (const char* none : {"", "[", "[1", "[1,]", "{\"a\"}", "{\"a\":}", "{1:2}", "\"", "\"\\",
                           "\"\\x\"", "\"\\ud800\"", "nul", "1.5", "1 2", "[1]]", "\"\n\""}) {
    EXPECT_FALSE(CtlJson::Parse(none).has_value()) << none;
  }
  EXPECT_TRUE(CtlJson::Parse(std::string(16, '[') + std::string(16, ']')).has_value());
  EXPECT_FALSE(CtlJson::Parse(std::string(20, '[') + std::string(20, ']')).has_value());
}

TEST(Ctl, StatisticsAreShownInBothGenerations) {
  Ctl ctl;
  EXPECT_EQ(ctl.Run({"stats", "onlineusers"}), 0);
  EXPECT_EQ(ctl.terminal.out, "9\n");
  EXPECT_EQ(ctl.Run({"stats", "nothing"}), 1);
  EXPECT_EQ(ctl.Run({"metric", "getMetricsAsDicts", "--name", "[\"global\",\"uptime\"]"}), 0);
  EXPECT_EQ(ctl.Json()["data"]["metric"]["getMetricsAsDicts"],
            nlohmann::json::parse(
                R"([{"name":["global","uptime"],"dict":[{"key":"value","value":5}]}])"));
}

TEST(Ctl, MetricsOfAllNodesAreToldAndWhoDoesNotTellIsNamed) {
  Ctl ctl;
  EXPECT_EQ(ctl.Run({"metric", "getClusterMetricsAsDicts", "--name", "[\"global\"]", "--nodes",
                     "[\"a@h\",\"b@h\"]"}),
            1);
  EXPECT_EQ(ctl.node.metrics_of, (std::vector<std::string>{"a@h", "b@h"}));
  EXPECT_EQ(ctl.Json()["data"]["metric"]["getClusterMetricsAsDicts"],
            nlohmann::json::parse(R"([{"node":"a@h","result":[
                {"name":["global","uptime"],"dict":[{"key":"value","value":5}]}]}])"));
  EXPECT_EQ(ctl.Json()["errors"][0]["extensions"],
            nlohmann::json::parse(R"({"node":"b@h","code":"node_not_answering"})"));
}

TEST(Ctl, AccountsAreOrderedInBothGenerationsWithMongooseimsWords) {
  Ctl ctl;
  EXPECT_EQ(ctl.Run({"account", "registerUser", "--username", "alice", "--domain", "d",
                     "--password", "p"}),
            0);
  EXPECT_THAT(ctl.terminal.out,
              HasSubstr("\"message\" : \"User alice@d successfully registered\""));
  EXPECT_THAT(ctl.terminal.out, HasSubstr("\"jid\" : \"alice@d\""));
  ASSERT_EQ(ctl.node.asked.size(), 1U);
  EXPECT_EQ(ctl.node.asked[0].user, "alice@d");
  EXPECT_EQ(ctl.node.asked[0].password, "p");
  EXPECT_EQ(ctl.Run({"register", "bob", "d", "p"}), 0);
  EXPECT_EQ(ctl.terminal.out, "User bob@d successfully registered\n");
  ctl.node.account = {.outcome = AccountOutcome::kExists};
  EXPECT_EQ(ctl.Run({"register", "bob", "d", "p"}), 1);
  EXPECT_THAT(ctl.terminal.out, HasSubstr("Error: User bob@d already registered at node"));
  ctl.node.account = {.outcome = AccountOutcome::kWrong};
  EXPECT_EQ(ctl.Run({"account", "checkPassword", "--user", "a@d", "--password", "x"}), 0);
  EXPECT_THAT(ctl.terminal.out, HasSubstr("\"correct\" : false"));
  EXPECT_EQ(ctl.Run({"check_password", "a", "d", "x"}), 1);
  ctl.node.account = {.outcome = AccountOutcome::kAbsent};
  EXPECT_EQ(ctl.Run({"account", "removeUser", "--user", "a@d"}), 1);
  EXPECT_THAT(ctl.terminal.out, HasSubstr("\"code\" : \"not_found\""));
  ctl.node.account = {.outcome = AccountOutcome::kDone, .names = {"a@d", "b@d"}, .count = 2};
  EXPECT_EQ(ctl.Run({"registered_users", "d"}), 0);
  EXPECT_EQ(ctl.terminal.out, "a@d\nb@d\n");
  EXPECT_EQ(ctl.Run({"account", "countUsers", "--domain", "d"}), 0);
  EXPECT_THAT(ctl.terminal.out, HasSubstr("\"countUsers\" : 2"));
}

}  // namespace
}  // namespace server
