#include "server/config/node_config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <fstream>

#include "server/config/cookie_file.h"

namespace server {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

TEST(NodeConfig, TheDocumentedFileHoldsTheDefaults) {
  const auto [config, errors] = ReadNodeConfig(MONGOOSEIM_TOML);
  EXPECT_THAT(errors, IsEmpty());
  const auto [defaults, none] = ParseNodeConfig("", "empty.toml");
  EXPECT_THAT(none, IsEmpty());
  EXPECT_EQ(config.log.level, defaults.log.level);
  EXPECT_EQ(config.log.file, defaults.log.file);
  EXPECT_EQ(config.http.listen, defaults.http.listen);
  EXPECT_EQ(config.dist.links_max, defaults.dist.links_max);
  EXPECT_EQ(config.cluster.heartbeat, defaults.cluster.heartbeat);
  EXPECT_EQ(config.cluster.silence, defaults.cluster.silence);
  EXPECT_EQ(config.cluster.link_grace, defaults.cluster.link_grace);
  EXPECT_EQ(config.cluster.isolate_after, defaults.cluster.isolate_after);
  EXPECT_EQ(config.cluster.operation_timeout, defaults.cluster.operation_timeout);
  EXPECT_EQ(config.cluster.auto_join, defaults.cluster.auto_join);
  EXPECT_EQ(config.c2s.listen, defaults.c2s.listen);
  EXPECT_EQ(config.c2s.listen_tls, defaults.c2s.listen_tls);
  EXPECT_EQ(config.c2s.listen_proxy, defaults.c2s.listen_proxy);
  EXPECT_EQ(config.c2s.workers, defaults.c2s.workers);
  EXPECT_EQ(config.c2s.tls_required, defaults.c2s.tls_required);
  EXPECT_EQ(config.c2s.connections_max, defaults.c2s.connections_max);
  EXPECT_EQ(config.c2s.unauthenticated_max, defaults.c2s.unauthenticated_max);
  EXPECT_EQ(config.c2s.login_timeout, defaults.c2s.login_timeout);
  EXPECT_EQ(config.c2s.stanza_bytes_max, defaults.c2s.stanza_bytes_max);
  EXPECT_EQ(config.c2s.stanza_depth_max, defaults.c2s.stanza_depth_max);
  EXPECT_EQ(config.c2s.stanza_rate, defaults.c2s.stanza_rate);
  EXPECT_EQ(config.c2s.stanza_burst, defaults.c2s.stanza_burst);
  EXPECT_EQ(config.c2s.idle_ping, defaults.c2s.idle_ping);
  EXPECT_EQ(config.c2s.ping_timeout, defaults.c2s.ping_timeout);
  EXPECT_EQ(config.c2s.resume_timeout, defaults.c2s.resume_timeout);
  EXPECT_EQ(config.c2s.resume_bytes_max, defaults.c2s.resume_bytes_max);
  EXPECT_EQ(config.c2s.unacked_bytes_max, defaults.c2s.unacked_bytes_max);
  EXPECT_EQ(config.c2s.drain_on_stop, defaults.c2s.drain_on_stop);
  EXPECT_EQ(config.auth.mechanisms, defaults.auth.mechanisms);
  EXPECT_DOUBLE_EQ(config.auth.failures_per_account, defaults.auth.failures_per_account);
  EXPECT_DOUBLE_EQ(config.auth.failures_per_address, defaults.auth.failures_per_address);
  EXPECT_EQ(config.store.url, defaults.store.url);
  EXPECT_EQ(config.store.readers, defaults.store.readers);
  EXPECT_THAT(config.hosts, IsEmpty());
}

TEST(NodeConfig, TheDocumentedFileHoldsTheDefaultsOfModulesToo) {
  const NodeConfig config = ReadNodeConfig(MONGOOSEIM_TOML).config;
  const LimitsConfig limits;
  EXPECT_EQ(config.limits.sessions, limits.sessions);
  EXPECT_EQ(config.limits.roster_items, limits.roster_items);
  EXPECT_EQ(config.limits.blocked, limits.blocked);
  EXPECT_EQ(config.limits.directed_presence, limits.directed_presence);
  EXPECT_EQ(config.limits.memory, limits.memory);
  EXPECT_DOUBLE_EQ(config.limits.login_cpu, limits.login_cpu);
  EXPECT_EQ(ParseNodeConfig("[limits]\nmemory = \"2GiB\"\n", "m.toml").config.limits.memory,
            uint64_t{2} << 30U);
  const ModulesConfig& read = config.modules;
  const ModulesConfig known;
  EXPECT_EQ(read.archive.enabled, known.archive.enabled);
  EXPECT_EQ(read.archive.page, known.archive.page);
  EXPECT_EQ(read.archive.page_max, known.archive.page_max);
  EXPECT_EQ(read.archive.prefs, known.archive.prefs);
  EXPECT_EQ(read.archive.by_default, known.archive.by_default);
  EXPECT_EQ(read.archive.keep, known.archive.keep);
  EXPECT_EQ(read.archive.keep_most, known.archive.keep_most);
  EXPECT_EQ(read.archive.clean_every, known.archive.clean_every);
  for (const auto* addresses :
       {&read.contact.abuse, &read.contact.admin, &read.contact.feedback, &read.contact.sales,
        &read.contact.security, &read.contact.status, &read.contact.support}) {
    EXPECT_THAT(*addresses, IsEmpty());
  }
  EXPECT_EQ(read.disco.enabled, known.disco.enabled);
  EXPECT_EQ(read.disco.name, known.disco.name);
  EXPECT_EQ(read.offline.enabled, known.offline.enabled);
  EXPECT_EQ(read.offline.messages_max, known.offline.messages_max);
  EXPECT_EQ(read.offline.expires, known.offline.expires);
  EXPECT_EQ(read.private_storage.enabled, known.private_storage.enabled);
  EXPECT_EQ(read.private_storage.elements_max, known.private_storage.elements_max);
  EXPECT_EQ(read.private_storage.element_bytes_max, known.private_storage.element_bytes_max);
  EXPECT_EQ(read.registration.sign_up, known.registration.sign_up);
  EXPECT_DOUBLE_EQ(read.registration.sign_ups_per_address, known.registration.sign_ups_per_address);
  EXPECT_EQ(read.registration.reserved, known.registration.reserved);
  EXPECT_EQ(read.registration.instructions, known.registration.instructions);
  EXPECT_EQ(read.registration.password_change, known.registration.password_change);
  EXPECT_DOUBLE_EQ(read.registration.password_changes, known.registration.password_changes);
  EXPECT_EQ(read.registration.removal, known.registration.removal);
  EXPECT_EQ(read.registration.password_bytes_min, known.registration.password_bytes_min);
  EXPECT_EQ(read.vcard.enabled, known.vcard.enabled);
  EXPECT_EQ(read.vcard.bytes_max, known.vcard.bytes_max);
  EXPECT_EQ(read.version.enabled, known.version.enabled);
  EXPECT_EQ(read.version.show_os, known.version.show_os);
  EXPECT_EQ(read.last, known.last);
  EXPECT_EQ(read.ping, known.ping);
  EXPECT_EQ(read.time, known.time);
}

TEST(NodeConfig, MistakesInModulesAreToldWithTheirLines) {
  std::string all;
  for (const auto& error :
       ParseNodeConfig("[modules.archve]\nenabled = true\n[modules.archive]\npage = 300\n"
                       "kep = \"1d\"\n[modules.contact]\nabuse = [\"nobody\"]\n"
                       "[modules.registration]\nsign_ups_per_address = \"0\"\n"
                       "reserved = [\"a@b\"]\n[limits]\nsessions = 0\n",
                       "m.toml")
           .errors) {
    all += error.ToString() + "\n";
  }
  EXPECT_THAT(all, HasSubstr("m.toml:1: modules.archve: unknown section; did you mean 'archive'?"));
  EXPECT_THAT(all, HasSubstr("m.toml:4: modules.archive.page: is more than page_max"));
  EXPECT_THAT(all, HasSubstr("m.toml:5: modules.archive.kep: unknown key; did you mean 'keep'?"));
  EXPECT_THAT(all, HasSubstr("m.toml:7: modules.contact.abuse: 'nobody' is no address"));
  EXPECT_THAT(all, HasSubstr("m.toml:9: modules.registration.sign_ups_per_address: is no limit"));
  EXPECT_THAT(all, HasSubstr("m.toml:10: modules.registration.reserved: 'a@b' is no name"));
  EXPECT_THAT(all, HasSubstr("m.toml:12: limits.sessions: "));
}

TEST(NodeConfig, HostsAreReadAndTheirMistakesTold) {
  const auto good = ParseNodeConfig(
      "[[host]]\ndomain = \"Example.ORG\"\ncertificate = \"a\"\nkey = \"b\"\n"
      "[[host]]\ndomain = \"localhost\"\n",
      "m.toml");
  EXPECT_THAT(good.errors, IsEmpty());
  ASSERT_EQ(good.config.hosts.size(), 2U);
  EXPECT_EQ(good.config.hosts[0].domain, "example.org");
  EXPECT_EQ(good.config.hosts[0].key, "b");
  std::string all;
  for (const auto& error :
       ParseNodeConfig("[[host]]\ndomain = \"a\"\nkey = \"b\"\n[[host]]\ndomain = \"A\"\n"
                       "[[host]]\ndomain = \"a b@c\"\n[[host]]\n"
                       "[c2s]\nlisten_proxy = [\"127.0.0.1:1\"]\n"
                       "[auth]\nmechanisms = [\"DIGEST-MD5\"]\n[store]\nurl = \"mysql:\"\n"
                       "readers = 65\n",
                       "m.toml")
           .errors) {
    all += error.ToString() + "\n";
  }
  EXPECT_THAT(all, HasSubstr("m.toml:3: host[1].key: stands alone"));
  EXPECT_THAT(all, HasSubstr("is served by another [[host]]"));
  EXPECT_THAT(all, HasSubstr("m.toml:15: store.readers: "));
  EXPECT_THAT(all, HasSubstr("is no domain name"));
  EXPECT_THAT(all, HasSubstr("set proxy_from"));
  EXPECT_THAT(all, HasSubstr("'DIGEST-MD5' is not known"));
  EXPECT_THAT(all, HasSubstr("names no store"));
}

TEST(NodeConfig, EachHostHasItsServiceOfRooms) {
  const NodeConfig::Muc known;
  const NodeConfig::Muc read = ReadNodeConfig(MONGOOSEIM_TOML).config.muc;
  EXPECT_EQ(read.enabled, known.enabled);
  EXPECT_EQ(read.host, known.host);
  EXPECT_EQ(read.anyone_creates, known.anyone_creates);
  EXPECT_EQ(read.lock_new, known.lock_new);
  EXPECT_EQ(read.rooms_max, known.rooms_max);
  EXPECT_EQ(read.occupants_max, known.occupants_max);
  EXPECT_EQ(read.history_max, known.history_max);
  EXPECT_EQ(read.archive, known.archive);

  const std::string hosts =
      "[[host]]\ndomain = \"Example.org\"\n[[host]]\ndomain = \"example.net\"\n";
  const auto services = [&](const std::string& muc) {
    return ParseNodeConfig("[muc]\n" + muc + hosts, "x.toml").config.muc.services;
  };
  EXPECT_THAT(services(""), ElementsAre("conference.example.org", "conference.example.net"));
  EXPECT_THAT(services("host = \"Rooms.Example.com\"\n"),
              ElementsAre("rooms.example.com", "rooms.example.com"));
  EXPECT_THAT(services("enabled = false\n"), IsEmpty());
  for (const char* wrong : {"host = \"example.net\"\n", "host = \"%h\"\n", "host = \"\"\n"}) {
    const auto errors = ParseNodeConfig("[muc]\n" + std::string(wrong) + hosts, "x.toml").errors;
    ASSERT_EQ(errors.size(), 1U) << wrong;
    EXPECT_EQ(errors[0].key, "muc.host");
    EXPECT_EQ(errors[0].line, 2);
  }
}

TEST(NodeConfig, AllMistakesAreToldWithTheirLines) {
  const auto errors =
      ParseNodeConfig("[log]\nlevle = \"info\"\n[cluster]\nheartbeat = \"3s\"\nauto_join = true\n",
                      "m.toml")
          .errors;
  ASSERT_EQ(errors.size(), 3U);
  EXPECT_THAT(errors[0].ToString(), HasSubstr("m.toml:2: log.levle"));
  EXPECT_THAT(errors[0].ToString(), HasSubstr("did you mean 'level'?"));
  std::string all = errors[1].ToString() + errors[2].ToString();
  EXPECT_THAT(all, HasSubstr("less than four heartbeats"));
  EXPECT_THAT(all, HasSubstr("set discovery to"));
}

TEST(NodeConfig, NodesFindEachOtherByOneWay) {
  using Discovery = NodeConfig::Cluster::Discovery;
  const auto read = [](const std::string& cluster, const std::string& hosts = "") {
    return ParseNodeConfig("[cluster]\n" + cluster + hosts, "m.toml");
  };
  EXPECT_EQ(read("").config.cluster.discovery, Discovery::kNone);
  EXPECT_EQ(read("discovery_file = \"etc/nodes\"\n").config.cluster.discovery, Discovery::kFile);
  EXPECT_EQ(read("discovery_file = \"etc/nodes\"\ndiscovery = \"none\"\n").config.cluster.discovery,
            Discovery::kNone);
  const std::string host = "[[host]]\ndomain = \"example.org\"\n";
  const auto store = read("discovery = \"store\"\nauto_join = true\n", host);
  EXPECT_TRUE(store.errors.empty());
  EXPECT_EQ(store.config.cluster.discovery, Discovery::kStore);

  const auto error_of = [&](const std::string& cluster, const std::string& hosts) {
    const auto errors = read(cluster, hosts).errors;
    EXPECT_EQ(errors.size(), 1U);
    return errors.empty() ? "" : errors[0].ToString();
  };
  EXPECT_THAT(error_of("discovery = \"file\"\n", ""), HasSubstr("set discovery_file"));
  EXPECT_THAT(error_of("discovery = \"store\"\n", ""), HasSubstr("add a [[host]]"));
  EXPECT_THAT(error_of("discovery = \"store\"\ndiscovery_file = \"etc/nodes\"\n", host),
              HasSubstr("remove one of them"));
}

TEST(CookieFile, OfOthersIsRefusedWithTheRemedyAndTheCookieIsInNoError) {
  const std::string path = ::testing::TempDir() + "/cookie_file_test";
  std::ofstream(path) << "  s3cret\n";
  ASSERT_EQ(chmod(path.c_str(), 0644), 0);
  EXPECT_EQ(ReadCookieFile(path).error(), path +
                                              ": has mode 0644, so others may read the cookie; "
                                              "chmod 0600 " +
                                              path);
  ASSERT_EQ(chmod(path.c_str(), 0600), 0);
  EXPECT_EQ(ReadCookieFile(path).value(), "s3cret");
  std::ofstream(path) << "two words";
  EXPECT_THAT(ReadCookieFile(path).error(), HasSubstr("is no cookie"));
  EXPECT_THAT(ReadCookieFile(path).error(), ::testing::Not(HasSubstr("two")));
  std::ofstream(path) << "";
  EXPECT_THAT(ReadCookieFile(path).error(), HasSubstr("is empty"));
  std::remove(path.c_str());
  EXPECT_THAT(ReadCookieFile(path).error(), HasSubstr("cannot be read"));
  EXPECT_THAT(ReadCookieFile("/dev").error(), HasSubstr("is not a file"));
}

}  // namespace
}  // namespace server
