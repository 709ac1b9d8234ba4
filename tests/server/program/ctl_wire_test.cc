// What mongooseimctl and its node say to each other: what one writes the other reads, and what does
// not fit is nothing.
#include "server/program/ctl_wire.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <variant>
#include <vector>

#include "server/ctl/ctl.h"
#include "server/program/xmpp_commands.h"

namespace server {
namespace {

TEST(CtlWire, WhatIsWrittenIsRead) {
  const NodeFacts facts{.version = "0.1",
                        .commit = "c",
                        .os_pid = 7,
                        .uptime_s = 90,
                        .status = "stopping",
                        .protocol = "inet_tls",
                        .log_path = "/l",
                        .directory = "/d"};
  const auto f = ReadFacts(ToTerm(facts).view());
  ASSERT_TRUE(f.has_value());
  EXPECT_EQ(f->version, "0.1");
  EXPECT_EQ(f->os_pid, 7);
  EXPECT_EQ(f->uptime_s, 90);
  EXPECT_EQ(f->status, "stopping");
  EXPECT_EQ(f->directory, "/d");

  const NodeCluster cluster{.members = {"a@h", "b@h"},
                            .running = {"a@h"},
                            .stopped = {"b@h"},
                            .discovered = {},
                            .discovery_works = false,
                            .conflict_nodes = {"c@h"},
                            .conflict_tables = {}};
  const auto c = ReadCluster(ToTerm(cluster).view());
  ASSERT_TRUE(c.has_value());
  EXPECT_EQ(c->members, cluster.members);
  EXPECT_EQ(c->running, cluster.running);
  EXPECT_EQ(c->stopped, cluster.stopped);
  EXPECT_FALSE(c->discovery_works);
  EXPECT_EQ(c->conflict_nodes, cluster.conflict_nodes);

  const auto t = ReadTables(ToTerm(std::vector<NodeTable>{{"session", 3, 312, "00ff"}}).view());
  ASSERT_TRUE(t.has_value());
  ASSERT_EQ(t->size(), 1U);
  EXPECT_EQ((*t)[0].name, "session");
  EXPECT_EQ((*t)[0].memory_bytes, 312U);

  const auto s = ReadStats(ToTerm(NodeStats{.uptime_s = 5, .outgoing_s2s = 9}).view());
  ASSERT_TRUE(s.has_value());
  EXPECT_EQ(s->outgoing_s2s, 9U);

  const auto m = ReadMetrics(ToTerm(std::vector<NodeMetric>{{{"global", "uptime"}, 5}}).view());
  ASSERT_TRUE(m.has_value());
  EXPECT_EQ((*m)[0].name, (std::vector<std::string>{"global", "uptime"}));

  for (int outcome = 0; outcome < kOutcomes; ++outcome) {
    const auto r = ReadOrderResult(ToTerm(OrderResult{static_cast<Outcome>(outcome), "d"}).view());
    ASSERT_TRUE(r.has_value());
    EXPECT_EQ(static_cast<int>(r->outcome), outcome);
    EXPECT_EQ(r->detail, "d");
  }
}

TEST(CtlWire, OrdersOfEachKindAreRead) {
  for (const OrderKind kind : {OrderKind::kJoin, OrderKind::kLeave, OrderKind::kRemove}) {
    const std::vector<Term> terms = ToTerms({kind, "a@h", true});
    std::vector<TermView> views;
    for (const Term& term : terms) views.push_back(term.view());
    const auto request = ReadOrderRequest(views);
    ASSERT_TRUE(request.has_value());
    EXPECT_EQ(request->kind, kind);
    EXPECT_EQ(request->target, "a@h");
    EXPECT_TRUE(request->force);
    views.pop_back();
    EXPECT_FALSE(ReadOrderRequest(views).has_value());
  }
}

TEST(CtlWire, CommandsOfXmppAndTheirAnswersGoBothWays) {
  const XmppRequest request{.category = "stanza",
                            .command = "sendMessage",
                            .arguments = {{"from", "a@d"}, {"body", "ä"}}};
  const std::vector<Term> terms = ToTerms(request);
  std::vector<TermView> views;
  for (const Term& term : terms) views.push_back(term.view());
  const auto read = ReadXmppRequest(views);
  ASSERT_TRUE(read.has_value());
  EXPECT_EQ(read->category, "stanza");
  EXPECT_EQ(read->command, "sendMessage");
  EXPECT_EQ(read->arguments, request.arguments);
  CtlAnswer answer;
  answer.data = *CtlJson::Parse(R"({"a":[1,"x",null,true,[]],"b":{"c":{}}})");
  answer.faults = {{.message = "no", .extensions = {{"code", "x"}, {"jid", "a@d"}}}};
  const Term told = ToTerm(answer);
  const auto back = ReadCtlAnswer(told.view());
  ASSERT_TRUE(back.has_value());
  EXPECT_EQ(back->data.Pretty(), answer.data.Pretty());
  ASSERT_EQ(back->faults.size(), 1U);
  EXPECT_EQ(back->faults[0].message, "no");
  EXPECT_EQ(back->faults[0].extensions, answer.faults[0].extensions);
}

TEST(XmppCommands, AreThoseThatMongooseimctlKnows) {
  std::vector<std::pair<std::string_view, std::string_view>> here;
  for (const auto commands : XmppCommands()) {
    for (const XmppCommand& command : commands)
      here.emplace_back(command.category, command.command);
  }
  std::ranges::sort(here);
  const auto known = XmppCommandNames();
  EXPECT_EQ(here, (std::vector(known.begin(), known.end())));
}

// Who adds a command says where it is done; that one is done anywhere, or on the node that was
// asked alone, is said here a second time, since a user is on one node and nobody may forget it.
TEST(XmppCommands, SayWhereTheyAreDone) {
  const std::vector<std::string> this_node = {"account importUsers", "flat drain",
                                              "flat drainStatus",    "flat memory",
                                              "flat rebalance",      "flat rebalanceStatus",
                                              "flat undrain",        "gdpr retrievePersonalData"};
  // Of the store or of tables that all nodes hold.
  std::vector<std::string> anywhere = {"blocklist listBlockedUsers", "blocklist userCount",
                                       "last countActiveUsers",      "last listOldUsers",
                                       "last removeOldUsers",        "session countSessions",
                                       "session countUserResources", "session getUserResource",
                                       "flat userResources",         "stat domainStats"};
  // Of the file, which is the same for all.
  for (const char* name : {"addDomain", "allDomains", "deleteDomainPassword", "disableDomain",
                           "domainDetails", "domainsByHostType", "enableDomain", "removeDomain",
                           "requestRemoveDomain", "setDomainPassword"}) {
    anywhere.push_back(std::string("domain ") + name);
  }
  // Made of parts, each of which is in the table itself.
  for (const char* name :
       {"addContact", "addContacts", "deleteContact", "deleteContacts", "setMutualSubscription",
        "subscribeAllToAll", "subscribeToAll", "subscription"}) {
    anywhere.push_back(std::string("roster ") + name);
  }
  for (const char* name :
       {"countUsersWithStatus", "listSessions", "listUserSessions", "listUsersWithStatus"}) {
    anywhere.push_back(std::string("session ") + name);
  }
  anywhere.emplace_back("account checkPasswordHash");
  anywhere.emplace_back("offline deleteExpiredMessages");
  anywhere.emplace_back("offline deleteOldMessages");
  anywhere.emplace_back("muc createInstantRoom");
  anywhere.emplace_back("muc listRooms");
  std::vector<std::string> told_this_node;
  std::vector<std::string> told_anywhere;
  for (const auto commands : XmppCommands()) {
    for (const XmppCommand& command : commands) {
      const std::string name = std::string(command.category) + ' ' + std::string(command.command);
      if (std::holds_alternative<ThisNode>(command.reach)) told_this_node.push_back(name);
      if (std::holds_alternative<Anywhere>(command.reach)) told_anywhere.push_back(name);
    }
  }
  std::ranges::sort(told_this_node);
  std::ranges::sort(told_anywhere);
  std::ranges::sort(anywhere);
  EXPECT_EQ(told_this_node, this_node);
  EXPECT_EQ(told_anywhere, anywhere);
}

TEST(CtlWire, WhatANodePassesOnSaysHowFarItCame) {
  XmppRequest request{
      .category = "session", .command = "kickUser", .arguments = {{"user", "a@d"}}, .hops = 2};
  const auto read = [](const XmppRequest& from) {
    const std::vector<Term> terms = PassedTerms(from);
    std::vector<TermView> views;
    for (const Term& term : terms) views.push_back(term.view());
    EXPECT_FALSE(ReadXmppRequest(views).has_value());
    return ReadPassedRequest(views);
  };
  const auto passed = read(request);
  ASSERT_TRUE(passed.has_value());
  EXPECT_EQ(passed->command, "kickUser");
  EXPECT_EQ(passed->arguments, request.arguments);
  EXPECT_EQ(passed->hops, 2);
  request.hops = 0;  // of no node
  EXPECT_FALSE(read(request).has_value());

  const std::vector<NodeMetrics> nodes = {{"a@h", {{{"global", "uptime"}, 5}}, ""},
                                          {"b@h", {}, "timeout"}};
  const auto metrics = ReadClusterMetrics(ToTerm(nodes).view());
  ASSERT_TRUE(metrics.has_value());
  ASSERT_EQ(metrics->size(), 2U);
  EXPECT_EQ((*metrics)[0].metrics[0].value, 5);
  EXPECT_EQ((*metrics)[1].error, "timeout");
  EXPECT_EQ(ReadNames(NamesTerm({"a@h", "b@h"}).view()), (std::vector<std::string>{"a@h", "b@h"}));
}

TEST(CtlWire, WhatDoesNotFitIsNothing) {
  const std::vector<Term> foreign = {
      Term(),
      Term::Atom("ok"),
      Term::Integer(1),
      Term::Tuple({}),
      Term::Tuple({Term::Integer(99), Term::Binary("an outcome of tomorrow")}),
      Term::Tuple({Term::Integer(-1), Term::Binary("")}),
      Term::List({Term::Tuple({Term::Atom("session")})}),
      Term::Tuple({Term::Binary("only"), Term::Binary("texts"), Term::Binary(""), Term::Binary(""),
                   Term::Binary(""), Term::Binary(""), Term::Binary(""), Term::Binary("")})};
  for (const Term& term : foreign) {
    EXPECT_FALSE(ReadFacts(term.view()).has_value()) << term.ToText();
    EXPECT_FALSE(ReadCluster(term.view()).has_value()) << term.ToText();
    EXPECT_FALSE(ReadStats(term.view()).has_value()) << term.ToText();
    EXPECT_FALSE(ReadOrderResult(term.view()).has_value()) << term.ToText();
    EXPECT_FALSE(ReadCtlAnswer(term.view()).has_value()) << term.ToText();
  }
  EXPECT_FALSE(ReadTables(foreign[6].view()).has_value());
  EXPECT_FALSE(ReadMetrics(foreign[6].view()).has_value());
  // A newer node may put more behind.
  EXPECT_TRUE(
      ReadOrderResult(Term::Tuple({Term::Integer(0), Term::Binary(""), Term::Atom("new")}).view())
          .has_value());
}

}  // namespace
}  // namespace server
