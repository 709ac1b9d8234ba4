#include "lb/config/config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "tests/lb/config_text.h"

namespace lb {
namespace {

using std::chrono::milliseconds;
using std::chrono::minutes;
using std::chrono::seconds;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::StartsWith;

TEST(Config, AGoodFileIsRead) {
  auto config = ParseConfig(kGood, "lb.toml");
  ASSERT_TRUE(config) << config.error()[0].ToString();
  EXPECT_EQ(config->process.workers, 2U);
  EXPECT_EQ(config->process.admin_listen->ToString(), "127.0.0.1:8404");
  ASSERT_EQ(config->listeners.size(), 1U);
  EXPECT_EQ(config->listeners[0].name, "c2s");
  ASSERT_EQ(config->listeners[0].binds.size(), 1U);
  EXPECT_EQ(config->listeners[0].binds[0].ToString(), "127.0.0.1:5222");
  EXPECT_EQ(config->listeners[0].pool_index, 0U);
  EXPECT_EQ(config->listeners[0].bind_origin.line, 5);
  ASSERT_EQ(config->pools.size(), 1U);
  const PoolConfig& pool = config->pools[0];
  EXPECT_EQ(pool.balance, Policy::kLeastConn);
  ASSERT_EQ(pool.nodes.size(), 2U);
  EXPECT_EQ(pool.nodes[1].name, "n2");
  EXPECT_EQ(pool.nodes[1].address.kind, net::Endpoint::Kind::kHost);
  EXPECT_EQ(pool.nodes[1].origin.line, 17);
  EXPECT_EQ(pool.nodes[1].origin.key, "pool.xmpp.node[2].address");
  EXPECT_THAT(pool.checks, IsEmpty());
  EXPECT_FALSE(pool.status);
}

TEST(Config, EveryKeyArrives) {
  auto config = ParseConfig(R"(
[process]
connections_max = 5000
user = "lb"
group = "lb"
ctl_socket = "/tmp/ctl.sock"
admin_listen = ""
drain_deadline = "5m"
buffer_bytes = "8KiB"
buffers = 2048
state_file = "/var/lib/lb/state"
[log]
level = "warn"
format = "json"
target = "journald"
access = "/var/log/lb.log"
access_format = "json"
[warmup]
enabled = true
initial_rate = "500/s"
growth = 1
interval = "1m"
[listener.a]
bind = ["[::1]:1", "unix:/run/a.sock"]
pool = "p"
mode = "tcp"
backlog = 100
accept_proxy = true
proxy_trusted = ["10.0.0.0/8", "::1"]
proxy_header_timeout = "2s"
connections_max = 1000
source_connections_max = 10
source_rate = "60/m"
source_table_max = 1024
source_prefix_v6 = 56
[pool.p]
balance = "maglev"
bounded_load = 2
connect_timeout = "1s"
retries = 1
redispatch = false
queue_max = 7
queue_timeout = "3s"
idle_timeout = "1h"
fin_timeout = "2s"
tcp_user_timeout = "9s"
keepalive_idle = "0"
keepalive_interval = "7s"
keepalive_count = 5
send_proxy = "v2"
send_proxy_tlvs = ["crc32c"]
source_addresses = ["127.0.0.2", "::1"]
panic_threshold = 0.5
passive_errors = 9
pending_bytes_max = "1MiB"
splice_after = "0"
[[pool.p.node]]
name = "n"
address = "[2001:db8::1]:5222"
weight = 50
backup = true
connections_max = 99
[pool.p.discover]
record = "srv"
name = "_xmpp-client._tcp.example.org"
resolver = "127.0.0.1:5353"
interval = "10s"
nodes_max = 8
weight = 10
[[pool.p.check]]
type = "http"
interval = "3s"
fast_interval = "500ms"
timeout = "1s"
rise = 1
fall = 4
jitter = 0.2
port = 5280
start = "up"
method = "POST"
path = "/api/graphql"
host = "localhost"
headers = ["Content-Type: application/json", "X-A:b"]
body = "{}"
expect_status = 201
expect_json = "data.server.status.statusCode"
expect_value = "RUNNING"
[[pool.p.check]]
type = "xmpp"
to = "example.org"
namespace = "jabber:server"
[pool.p.status]
path = "/status"
port = 5281
interval = "1s"
timeout = "500ms"
fall = 2
netsplit = false
[pool.p.warmup]
mode = "envoy"
duration = "2m"
start_rate = "5/s"
end_rate = "50/s"
aggression = 2
share_cap = 3
min_weight = 0.2
)",
                            "lb.toml");
  ASSERT_TRUE(config) << config.error()[0].ToString();
  const ProcessConfig& process = config->process;
  EXPECT_EQ(process.connections_max, 5000U);
  EXPECT_EQ(process.user + process.group, "lblb");
  EXPECT_EQ(process.ctl_socket, "/tmp/ctl.sock");
  EXPECT_FALSE(process.admin_listen);
  EXPECT_EQ(process.drain_deadline, minutes(5));
  EXPECT_EQ(process.buffer_bytes, 8192U);
  EXPECT_EQ(process.buffers, 2048U);
  EXPECT_EQ(process.state_file, "/var/lib/lb/state");
  EXPECT_EQ(config->log.level, net::LogLevel::kWarn);
  EXPECT_EQ(config->log.format, net::LogFormat::kJson);
  EXPECT_EQ(config->log.target, net::LogTarget::kJournal);
  EXPECT_EQ(config->log.access, AccessLogTarget::kFile);
  EXPECT_EQ(config->log.access_file, "/var/log/lb.log");
  EXPECT_EQ(config->log.access_format, net::LogFormat::kJson);
  EXPECT_TRUE(config->warmup.enabled);
  EXPECT_EQ(config->warmup.initial_rate, 500);
  EXPECT_EQ(config->warmup.growth, 1);
  EXPECT_EQ(config->warmup.interval, minutes(1));

  const ListenerConfig& listener = config->listeners.at(0);
  EXPECT_EQ(listener.binds.at(1).ToString(), "unix:/run/a.sock");
  EXPECT_EQ(listener.backlog, 100U);
  EXPECT_TRUE(listener.accept_proxy);
  EXPECT_EQ(listener.proxy_trusted.at(0).ToString(), "10.0.0.0/8");
  EXPECT_EQ(listener.proxy_header_timeout, seconds(2));
  EXPECT_EQ(listener.connections_max, 1000U);
  EXPECT_EQ(listener.source_connections_max, 10U);
  EXPECT_EQ(listener.source_rate, 1);
  EXPECT_EQ(listener.source_table_max, 1024U);
  EXPECT_EQ(listener.source_prefix_v6, 56);

  const PoolConfig& pool = config->pools.at(0);
  EXPECT_EQ(pool.balance, Policy::kMaglev);
  EXPECT_EQ(pool.bounded_load, 2);
  EXPECT_EQ(pool.connect_timeout, seconds(1));
  EXPECT_EQ(pool.retries, 1U);
  EXPECT_FALSE(pool.redispatch);
  EXPECT_EQ(pool.queue_max, 7U);
  EXPECT_EQ(pool.queue_timeout, seconds(3));
  EXPECT_EQ(pool.idle_timeout, minutes(60));
  EXPECT_EQ(pool.fin_timeout, seconds(2));
  EXPECT_EQ(pool.tcp_user_timeout, seconds(9));
  EXPECT_EQ(pool.keepalive_idle, seconds(0));
  EXPECT_EQ(pool.keepalive_interval, seconds(7));
  EXPECT_EQ(pool.keepalive_count, 5U);
  EXPECT_EQ(pool.send_proxy, SendProxy::kV2);
  EXPECT_FALSE(pool.proxy_unique_id);
  EXPECT_TRUE(pool.proxy_crc32c);
  EXPECT_EQ(pool.source_addresses.at(1).IpToString(), "::1");
  EXPECT_EQ(pool.panic_threshold, 0.5);
  EXPECT_EQ(pool.passive_errors, 9U);
  EXPECT_EQ(pool.pending_bytes_max, 1U << 20);
  EXPECT_EQ(pool.splice_after, 0U);
  EXPECT_EQ(pool.nodes.at(0).weight, 50U);
  EXPECT_TRUE(pool.nodes.at(0).backup);
  EXPECT_EQ(pool.nodes.at(0).connections_max, 99U);

  EXPECT_EQ(pool.discover->record, DiscoverRecord::kSrv);
  EXPECT_EQ(pool.discover->name, "_xmpp-client._tcp.example.org");
  EXPECT_EQ(pool.discover->resolver->ToString(), "127.0.0.1:5353");
  EXPECT_EQ(pool.discover->interval, seconds(10));
  EXPECT_EQ(pool.discover->nodes_max, 8U);
  EXPECT_EQ(pool.discover->weight, 10U);

  const CheckConfig& http = pool.checks.at(0);
  EXPECT_EQ(http.type, net::CheckType::kHttp);
  EXPECT_EQ(http.interval, seconds(3));
  EXPECT_EQ(http.fast_interval, milliseconds(500));
  EXPECT_EQ(http.timeout, seconds(1));
  EXPECT_EQ(http.rise, 1U);
  EXPECT_EQ(http.fall, 4U);
  EXPECT_EQ(http.jitter, 0.2);
  EXPECT_EQ(http.port, 5280);
  EXPECT_EQ(http.start, CheckStart::kUp);
  EXPECT_EQ(http.method + http.path + http.host, "POST/api/graphqllocalhost");
  EXPECT_EQ(http.headers.at(1).name, "X-A");
  EXPECT_EQ(http.headers.at(1).value, "b");
  EXPECT_EQ(http.body, "{}");
  EXPECT_EQ(http.expect_status, 201);
  EXPECT_EQ(http.expect_json, "data.server.status.statusCode");
  EXPECT_EQ(http.expect_value, "RUNNING");
  EXPECT_EQ(pool.checks.at(1).to, "example.org");
  EXPECT_EQ(pool.checks.at(1).xmlns, "jabber:server");

  EXPECT_EQ(pool.status->path, "/status");
  EXPECT_EQ(pool.status->port, 5281);
  EXPECT_EQ(pool.status->interval, seconds(1));
  EXPECT_EQ(pool.status->timeout, milliseconds(500));
  EXPECT_EQ(pool.status->fall, 2U);
  EXPECT_FALSE(pool.status->netsplit);
  EXPECT_EQ(pool.warmup.mode, WarmupMode::kEnvoy);
  EXPECT_EQ(pool.warmup.duration, minutes(2));
  EXPECT_EQ(pool.warmup.start_rate, 5);
  EXPECT_EQ(pool.warmup.end_rate, 50);
  EXPECT_EQ(pool.warmup.aggression, 2);
  EXPECT_EQ(pool.warmup.share_cap, 3);
  EXPECT_EQ(pool.warmup.min_weight, 0.2);
}

struct Mistake {
  std::string text;
  std::string message;
};

// Each text has exactly one mistake, and this is what is said about it.
void ExpectEach(const std::vector<Mistake>& mistakes) {
  for (const Mistake& mistake : mistakes) {
    EXPECT_THAT(Mistakes(mistake.text), ElementsAre(mistake.message)) << mistake.text;
  }
}

TEST(Config, ChecksSendTheHeaderThatThePoolSendsToTheSamePort) {
  auto sent = [](const std::string& pool, const std::string& check) {
    std::string text = With("balance = \"leastconn\"\n", pool + "\n");
    auto config = ParseConfig(text + "[[pool.xmpp.check]]\ntype = \"tcp\"\n" + check, "lb.toml");
    return config->pools.at(0).checks.at(0).send_proxy;
  };
  EXPECT_EQ(sent("", ""), SendProxy::kOff);
  EXPECT_EQ(sent("send_proxy = \"v1\"", ""), SendProxy::kV1);
  EXPECT_EQ(sent("send_proxy = \"v2\"", ""), SendProxy::kV2);
  EXPECT_EQ(sent("send_proxy = \"v2\"", "port = 8080"), SendProxy::kOff);
  EXPECT_EQ(sent("send_proxy = \"v2\"", "port = 8080\nsend_proxy = true"), SendProxy::kV2);
  EXPECT_EQ(sent("send_proxy = \"v2\"", "send_proxy = false"), SendProxy::kOff);
}

TEST(ConfigMistakes, OfListeners) {
  ExpectEach({
      {With("pool = \"xmpp\"", "pool = \"xmp\""),
       "lb.toml:6: listener.c2s.pool: is 'xmp', but there is no [pool.xmp]; did you mean 'xmpp'?"},
      {With("pool = \"xmpp\"", "pool = \"zzzzzz\""),
       "lb.toml:6: listener.c2s.pool: is 'zzzzzz', but there is no [pool.zzzzzz]; pools of this "
       "file: xmpp"},
      {With("pool = \"xmpp\"\n", ""),
       "lb.toml:4: listener.c2s.pool: is required, but missing; add pool = \"...\""},
      {With("bind = \"127.0.0.1:5222\"\n", ""),
       "lb.toml:4: listener.c2s.bind: is required, but missing; add bind = \"0.0.0.0:5222\""},
      {With("bind = \"127.0.0.1:5222\"", "bind = []"),
       "lb.toml:5: listener.c2s.bind: names no address; add one, as in bind = \"0.0.0.0:5222\""},
      {With("bind = \"127.0.0.1:5222\"", "bind = \"127.0.0.1\""),
       "lb.toml:5: listener.c2s.bind: is '127.0.0.1', which has no port; write ADDRESS:PORT, as in "
       "\"192.0.2.1:5222\" or \"[2001:db8::1]:5222\""},
      {With("bind = \"127.0.0.1:5222\"", "bind = \"localhost:5222\""),
       "lb.toml:5: listener.c2s.bind: is 'localhost:5222', but an address of this machine is "
       "expected; write its IP address, or 0.0.0.0 or [::] for all"},
      {With("bind = \"127.0.0.1:5222\"", "bind = [\"127.0.0.1:1\", \"127.0.0.1:1\"]"),
       "lb.toml:5: listener.c2s.bind: is '127.0.0.1:1', which listener.c2s.bind has already; give "
       "each its own address or port"},
      {AtEnd("[listener.s2s]\nbind = \"127.0.0.1:5222\"\npool = \"xmpp\""),
       "lb.toml:19: listener.s2s.bind: is '127.0.0.1:5222', which listener.c2s.bind has already; "
       "give each its own address or port"},
      {With("bind = \"127.0.0.1:5222\"", "bind = \"127.0.0.1:8404\""),
       "lb.toml:5: listener.c2s.bind: is '127.0.0.1:8404', which process.admin_listen has already; "
       "give each its own address or port"},
      {InListener("mode = \"starttls\""),
       "lb.toml:4: listener.c2s.certificates: is required to end TLS, but missing; add "
       "certificates = "
       "[{ chain = \"/path/chain.pem\", key = \"/path/key.pem\" }]"},
      {InListener("mode = \"tpc\""),
       "lb.toml:7: listener.c2s.mode: is 'tpc', which is not known; did you mean 'tcp'? use one "
       "of: tcp, tls, starttls, sni"},
      {InListener("proxy_trusted = [\"10.0.0.0/8\"]"),
       "lb.toml:7: listener.c2s.proxy_trusted: has no effect without accept_proxy; add "
       "accept_proxy = true, or remove it"},
      {InListener("accept_proxy = true\nproxy_trusted = [\"10.0.0.1/8\"]"),
       "lb.toml:8: listener.c2s.proxy_trusted: is '10.0.0.1/8', which has bits set behind its "
       "prefix; write \"10.0.0.0/8\" for the network, or the address alone"},
      {InListener("source_prefix_v6 = 129"),
       "lb.toml:7: listener.c2s.source_prefix_v6: is 129, which is above the largest allowed, 128; "
       "set it between 1 and 128"},
      {InListener("connections_max = 200000"),
       "lb.toml:7: listener.c2s.connections_max: is 200000, which process.connections_max, 100000, "
       "never lets it reach; raise process.connections_max or lower this one"},
      {InListener("connections_max = 10\nsource_connections_max = 11"),
       "lb.toml:8: listener.c2s.source_connections_max: is 11, which the limit for all sources, "
       "10, never lets it reach; set it below, or to 0 for none"},
      {With("[listener.c2s]", "[listener.\"c 2s\"]"),
       "lb.toml:4: listener.'c 2s': has the name 'c 2s', which cannot be used in commands; use up "
       "to 64 letters, digits and the characters - _ . : @"},
      {"[pool.a]\n[[pool.a.node]]\nname = \"n\"\naddress = \"127.0.0.1:1\"\n",
       "lb.toml: there is no listener; add a [listener.NAME] with bind and pool"},
  });
}

TEST(ConfigMistakes, OfPoolsAndNodes) {
  ExpectEach({
      {InPool("balanse = \"p2c\""),
       "lb.toml:9: pool.xmpp.balanse: unknown key; did you mean 'balance'?"},
      {InPool("connect_timeout = 5"),
       "lb.toml:9: pool.xmpp.connect_timeout: is 5 without a unit of time; write a number and a "
       "unit in quotes, as in \"5s\"; units: ns, us, ms, s, m, h, d"},
      {InPool("bounded_load = 0.5"),
       "lb.toml:9: pool.xmpp.bounded_load: is below 1, at which no node may have its fair share; "
       "set it to 1 or more, or to 0 for no bound"},
      {InPool("retries = 17"),
       "lb.toml:9: pool.xmpp.retries: is 17, which is above the largest allowed, 16; set it "
       "between 0 and 16"},
      {InPool("keepalive_idle = \"1500ms\""),
       "lb.toml:9: pool.xmpp.keepalive_idle: is not a whole number of seconds; the system counts "
       "in seconds"},
      {InPool("pending_bytes_max = 1024"),
       "lb.toml:9: pool.xmpp.pending_bytes_max: is 1024 bytes, which is less than one buffer, "
       "process.buffer_bytes, 4096; set it to at least that"},
      {InPool("send_proxy_tlvs = [\"uniqe_id\"]"),
       "lb.toml:9: pool.xmpp.send_proxy_tlvs: holds 'uniqe_id', which is not known; use unique_id, "
       "crc32c, ssl, alpn, authority, channel_binding"},
      {InPool("source_addresses = \"127.0.0.1:5\""),
       "lb.toml:9: pool.xmpp.source_addresses: holds '127.0.0.1:5', which is not an IP address; "
       "write addresses of this machine without ports, as in \"192.0.2.1\""},
      {InPool("source_addresses = [\"::1\", \"0::1\"]"),
       "lb.toml:9: pool.xmpp.source_addresses: holds '0::1' twice; remove one"},
      {With("name = \"n2\"", "name = \"n1\""),
       "lb.toml:16: pool.xmpp.node[2].name: is 'n1', which the node of line 12 has already; give "
       "each node of a pool its own name"},
      {With("name = \"n1\"\n", ""),
       "lb.toml:11: pool.xmpp.node[1].name: is required, but missing; add name = \"...\""},
      {With("name = \"n1\"", "name = \"n 1\""),
       "lb.toml:12: pool.xmpp.node[1].name: has the name 'n 1', which cannot be used in commands; "
       "use up to 64 letters, digits and the characters - _ . : @"},
      {With("address = \"127.0.0.1:15222\"", "address = \"127.0.0.1:0\""),
       "lb.toml:13: pool.xmpp.node[1].address: has the port 0; write the port on which the node "
       "listens"},
      {With("address = \"127.0.0.1:15222\"", "address = \"300.0.0.1:5222\""),
       "lb.toml:13: pool.xmpp.node[1].address: is '300.0.0.1:5222', which holds no IPv4 address; "
       "write ADDRESS:PORT, as in \"192.0.2.1:5222\" or \"[2001:db8::1]:5222\""},
      {InNode("weight = 1001"),
       "lb.toml:13: pool.xmpp.node[1].weight: is 1001, which is above the largest allowed, 1000; "
       "set it between 0 and 1000"},
      {"[listener.a]\nbind = \"127.0.0.1:1\"\npool = \"a\"\n[pool.a]\n",
       "lb.toml:4: pool.a: has no node; add [[pool.a.node]] with name and address, or "
       "[pool.a.discover]"},
      {AtEnd("[pool.xmpp.warmup]\nstart_rate = \"2000/s\""),
       "lb.toml:19: pool.xmpp.warmup.start_rate: makes the ramp fall: end_rate is below "
       "start_rate; set end_rate to at least start_rate"},
      {AtEnd("[pool.xmpp.warmup]\nshare_cap = 0.5"),
       "lb.toml:19: pool.xmpp.warmup.share_cap: is below 1, at which a warming node never gets its "
       "fair share; set it to 1 or more, or to 0 for no cap"},
      {AtEnd("[pool.xmpp.status]\npath = \"/x\""),
       "lb.toml:18: pool.xmpp.status.port: is required, but missing; add port = 5280"},
  });
}

TEST(Config, ListenersOwnKeysArrive) {
  auto config = ParseConfig(
      InListener("rate = \"100/s\"\nat_limit = \"wait\"\nsource_allow = [\"192.0.2.0/24\"]\n"
                 "source_deny = [\"192.0.2.7\", \"2001:db8::/32\"]\nunix_mode = \"0660\"\n"
                 "unix_user = \"xmpp\"\nunix_group = \"web\""),
      "lb.toml");
  ASSERT_TRUE(config) << config.error()[0].ToString();
  const ListenerConfig& listener = config->listeners[0];
  EXPECT_EQ(listener.rate, 100);
  EXPECT_TRUE(listener.wait_at_limit);
  ASSERT_EQ(listener.source_allow.size(), 1U);
  ASSERT_EQ(listener.source_deny.size(), 2U);
  EXPECT_EQ(listener.source_deny[1].ToString(), "2001:db8::/32");
  EXPECT_EQ(listener.unix_mode, 0660U);
  EXPECT_EQ(listener.unix_user, "xmpp");
  EXPECT_EQ(listener.unix_group, "web");
  EXPECT_THAT(Mistakes(InListener("source_deny = [\"192.0.2.7/8\"]")),
              ElementsAre(HasSubstr("listener.c2s.source_deny: is '192.0.2.7/8'")));
}

TEST(Config, WhoMustLeaveIsSaidInThePool) {
  auto config = ParseConfig(
      InPool("client_idle_timeout = \"1h\"\nnode_idle_timeout = \"2h\"\nmax_age = \"7d\"\n"
             "on_down = \"close\"\non_down_rate = \"5/s\""),
      "lb.toml");
  ASSERT_TRUE(config) << config.error()[0].ToString();
  const PoolConfig& pool = config->pools[0];
  EXPECT_EQ(pool.client_idle_timeout, std::chrono::hours(1));
  EXPECT_EQ(pool.node_idle_timeout, std::chrono::hours(2));
  EXPECT_EQ(pool.max_age, std::chrono::hours(7 * 24));
  EXPECT_TRUE(pool.close_on_down);
  EXPECT_EQ(pool.on_down_rate, 5);
  EXPECT_EQ(ParseConfig(InPool("idle_timeout = \"50d\""), "lb.toml")->pools[0].idle_timeout,
            std::chrono::days(50));
  EXPECT_THAT(Mistakes(InPool("idle_timeout = \"366d\"")),
              ElementsAre(HasSubstr("pool.xmpp.idle_timeout: is 366d, which is above")));
}

TEST(Config, SourcesStickUnlessABoundIsSet) {
  auto config = ParseConfig(With("leastconn", "maglev"), "lb.toml");
  ASSERT_TRUE(config);
  EXPECT_EQ(config->pools[0].bounded_load, 0);
}

TEST(Config, TheAccessLogGoesToDaemonsToo) {
  auto local =
      ParseConfig(AtEnd("[log]\naccess = \"syslog:/dev/log\"\naccess_silent = false"), "lb.toml");
  ASSERT_TRUE(local) << local.error()[0].ToString();
  EXPECT_EQ(local->log.access, AccessLogTarget::kSyslog);
  EXPECT_EQ(local->log.access_daemon.ToString(), "unix:/dev/log");
  EXPECT_FALSE(local->log.access_silent);
  auto remote = ParseConfig(AtEnd("[log]\naccess = \"syslog:192.0.2.1:514\""), "lb.toml");
  ASSERT_TRUE(remote);
  EXPECT_EQ(remote->log.access_daemon.ToString(), "192.0.2.1:514");
  auto journal = ParseConfig(AtEnd("[log]\naccess = \"journald\""), "lb.toml");
  ASSERT_TRUE(journal);
  EXPECT_EQ(journal->log.access, AccessLogTarget::kJournal);
  EXPECT_THAT(Mistakes(AtEnd("[log]\naccess = \"syslog:loghost:514\"")),
              ElementsAre(HasSubstr("log.access: names the log daemon 'loghost:514'")));
}

TEST(Config, PoolsThatMustBeReadyAreThere) {
  auto config = ParseConfig(InProcess("ready_pools = [\"xmpp\"]"), "lb.toml");
  ASSERT_TRUE(config);
  EXPECT_THAT(config->process.ready_pools, ElementsAre("xmpp"));
  EXPECT_THAT(
      Mistakes(InProcess("ready_pools = [\"xmp\"]")),
      ElementsAre(HasSubstr("process.ready_pools: is 'xmp', but there is no [pool.xmp]; did "
                            "you mean 'xmpp'?")));
}

TEST(ConfigMistakes, OfProcessAndLog) {
  ExpectEach({
      {InProcess("workers = -3"),
       "lb.toml:2: process.workers: is -3, which is below the smallest allowed, 0; set it between "
       "0 and 256"},
      {InProcess("workers = \"one\""),
       "lb.toml:2: process.workers: is a string, but a whole number is expected; write it without "
       "quotes"},
      {InProcess("worker = 1"), "lb.toml:2: process.worker: unknown key; did you mean 'workers'?"},
      {InProcess("buffers = 1000"),
       "lb.toml:2: process.buffers: is 1000, which is no power of two; set it to 512 or 1024"},
      {InProcess("ctl_socket = \"ctl.sock\""),
       "lb.toml:2: process.ctl_socket: is 'ctl.sock', which is not an absolute path; begin it with "
       "\"/\""},
      {InProcess("ctl_socket = \"\""),
       "lb.toml:2: process.ctl_socket: is empty; name the socket for mongooselb ctl"},
      {InProcess("ctl_socket = \"/" + std::string(107, 'x') + "\""),
       "lb.toml:2: process.ctl_socket: is 108 bytes long, which is above the largest allowed, 107; "
       "choose a shorter path"},
      {InProcess("admin_listen = \"localhost:8404\""),
       "lb.toml:2: process.admin_listen: is 'localhost:8404', but an address of this machine is "
       "expected; write its IP address and port, as in \"127.0.0.1:8404\""},
      {AtEnd("[log]\naccess = \"access.log\""),
       "lb.toml:19: log.access: is 'access.log', which is not known; use \"off\", \"stderr\", "
       "the absolute path of a file, \"syslog:/dev/log\", \"syslog:192.0.2.1:514\" or "
       "\"journald\""},
      {AtEnd("[warmup]\ninitial_rate = \"1/m\""),
       "lb.toml:19: warmup.initial_rate: is below 1/s, at which nobody gets in; set enabled = "
       "false to have no warm-up"},
      {AtEnd("[proces]\nworkers = 1"),
       "lb.toml:18: proces: unknown section; did you mean 'process'?"},
  });
}

TEST(ConfigMistakes, OfBuffers) {
  ExpectEach({
      {InProcess("buffer_bytes = \"1MiB\""),
       "lb.toml:2: process.buffer_bytes: is 1MiB, which is above the largest allowed, 32KiB; set "
       "it between 512 and 32KiB"},
      {InProcess("buffers = 1000"),
       "lb.toml:2: process.buffers: is 1000, which is no power of two; set it to 512 or 1024"},
      {InProcess("large_buffers = 12"),
       "lb.toml:2: process.large_buffers: is 12, which is no power of two; set it to 8 or 16"},
  });
  EXPECT_EQ(Mistakes(InProcess("large_buffers = 0")), std::vector<std::string>());
}

TEST(ConfigMistakes, OfDiscovery) {
  auto with = [](const std::string& lines) { return AtEnd("[pool.xmpp.discover]\n" + lines); };
  ExpectEach({
      {with("record = \"a\"\nname = \"x.example\""),
       "lb.toml:18: pool.xmpp.discover.port: is required for address records, but missing; add "
       "port = 5222"},
      {with("record = \"srv\"\nname = \"x.example\"\nport = 1"),
       "lb.toml:21: pool.xmpp.discover.port: has no meaning for SRV records, which have their own; "
       "remove it"},
      {with("record = \"mx\"\nname = \"x.example\"\nport = 1"),
       "lb.toml:19: pool.xmpp.discover.record: is 'mx', which is not known; use one of: a, aaaa, "
       "srv"},
      {with("record = \"a\"\nname = \"x y\"\nport = 1"),
       "lb.toml:20: pool.xmpp.discover.name: is 'x y', which is not a domain name; write it as in "
       "\"xmpp.example.org\""},
      {with("record = \"a\"\nname = \"x\"\nport = 1\nresolver = \"ns1\""),
       "lb.toml:22: pool.xmpp.discover.resolver: is 'ns1', which has no port; write the resolver's "
       "address, as in \"127.0.0.1:5353\""},
      {with("record = \"a\"\nname = \"x\"\nport = 1\nnodes_max = 256"),
       "lb.toml:22: pool.xmpp.discover.nodes_max: has 258 entries, which is above the largest "
       "allowed, 256; remove some"},
  });
  auto good = ParseConfig(with("record = \"a\"\nname = \"x\"\nport = 1\nresolver = \"::1\""), "f");
  ASSERT_TRUE(good);
  EXPECT_EQ(good->pools[0].discover->resolver->ToString(), "[::1]:53");
}

TEST(ConfigMistakes, OfChecks) {
  auto with = [](const std::string& lines) { return AtEnd("[[pool.xmpp.check]]\n" + lines); };
  ExpectEach({
      {with("type = \"tcp\"\nsend_proxy = true"),
       "lb.toml:20: pool.xmpp.check[1].send_proxy: is true, but the pool's send_proxy is off; set "
       "send_proxy = \"v1\" or \"v2\" in the pool; checks send the same version"},
      {with("interval = \"5s\""),
       "lb.toml:18: pool.xmpp.check[1].type: is required, but missing; add type = \"...\""},
      {with("type = \"htp\"\npath = \"/x\""),
       "lb.toml:19: pool.xmpp.check[1].type: is 'htp', which is not known; did you mean 'http'? "
       "use one of: tcp, http, xmpp"},
      {with("type = \"tcp\"\npath = \"/x\""),
       "lb.toml:20: pool.xmpp.check[1].path: belongs to checks of type \"http\"; remove it, or set "
       "type = \"http\""},
      {with("type = \"xmpp\""),
       "lb.toml:18: pool.xmpp.check[1].to: is required, but missing; add to = \"...\""},
      {with("type = \"xmpp\"\nto = \"a'/><x\""),
       "lb.toml:20: pool.xmpp.check[1].to: is 'a'/><x', which is not a domain; write the XMPP "
       "domain that the node serves"},
      {with("type = \"xmpp\"\nto = \"a\"\nnamespace = \"jabber:cleint\""),
       "lb.toml:21: pool.xmpp.check[1].namespace: is 'jabber:cleint', which is not known; did you "
       "mean 'jabber:client'? use one of: jabber:client, jabber:server"},
      {with("type = \"tcp\"\nfast_interval = \"9s\""),
       "lb.toml:20: pool.xmpp.check[1].fast_interval: is above interval; set it to at most "
       "interval"},
      {with("type = \"http\"\npath = \"x\""),
       "lb.toml:20: pool.xmpp.check[1].path: is 'x', which is not an HTTP path; begin it with "
       "\"/\" and escape blanks as %20"},
      {with("type = \"http\"\nmethod = \"GET /\""),
       "lb.toml:20: pool.xmpp.check[1].method: is 'GET /', which is not an HTTP method; use GET, "
       "HEAD or POST"},
      {with("type = \"http\"\nheaders = \"X-A b\""),
       "lb.toml:20: pool.xmpp.check[1].headers: holds 'X-A b', which is not an HTTP header; write "
       "\"Name: value\""},
      {with("type = \"http\"\nheaders = [\"X: a\\nY: b\"]"),
       "lb.toml:20: pool.xmpp.check[1].headers: holds 'X: a\\nY: b', which is not an HTTP header; "
       "write \"Name: value\""},
      {with("type = \"http\"\nheaders = [\"Content-length: 1\"]"),
       "lb.toml:20: pool.xmpp.check[1].headers: holds 'Content-length', which the check writes by "
       "itself; remove it; for Host and Authorization there are host, user and password_file"},
      {with("type = \"http\"\nexpect_json = \"a.b\""),
       "lb.toml:20: pool.xmpp.check[1].expect_json: stands alone, but expect_json and expect_value "
       "belong together; name the path of a value in the answer, and the value"},
      {with("type = \"http\"\nuser = \"u\""),
       "lb.toml:20: pool.xmpp.check[1].user: has no password; add password_file = \"/path\""},
      {with("type = \"http\"\nuser = \"u\"\npassword_file = \"/nonexistent/p\""),
       "lb.toml:21: pool.xmpp.check[1].password_file: '/nonexistent/p' cannot be read: No such "
       "file or directory; check the path and its permissions"},
      {with("type = \"tcp\"\nport = 99") +
           "[[pool.xmpp.node]]\nname = \"u\"\naddress = \"unix:/run/u\"\n",
       "lb.toml:20: pool.xmpp.check[1].port: cannot be asked of node 'u', which is a Unix socket; "
       "give the node an IP address, or remove the port"},
  });
}

TEST(ConfigMistakes, AllAreToldInOneRunInTheOrderOfTheFile) {
  std::string text = With("workers = 2", "worker = 2");
  text.replace(text.find("leastconn"), 9, "leastcon ");
  text.replace(text.find("127.0.0.1:15222"), 15, "127.0.0.1;15222");
  auto mistakes = Mistakes(text);
  ASSERT_EQ(mistakes.size(), 3U);
  EXPECT_THAT(mistakes[0], StartsWith("lb.toml:2: process.worker: "));
  EXPECT_THAT(mistakes[1], StartsWith("lb.toml:9: pool.xmpp.balance: "));
  EXPECT_THAT(mistakes[2], StartsWith("lb.toml:13: pool.xmpp.node[1].address: "));
}

TEST(ConfigMistakes, WhatIsNoTomlIsTheOnlyMistakeTold) {
  auto mistakes = Mistakes(With("workers = 2", "workers = = 2"));
  ASSERT_EQ(mistakes.size(), 1U);
  EXPECT_THAT(mistakes[0], StartsWith("lb.toml:2: not TOML: "));
  auto missing = LoadConfig("/nonexistent/lb.toml");
  ASSERT_FALSE(missing);
  ASSERT_EQ(missing.error().size(), 1U);
  EXPECT_EQ(missing.error()[0].ToString(),
            "/nonexistent/lb.toml: cannot be opened: No such file or directory; check the path and "
            "its permissions");
}

TEST(ConfigMistakes, ListsAreBounded) {
  std::string nodes(kGood);
  for (int i = 0; i < 300; ++i) {
    nodes +=
        "[[pool.xmpp.node]]\nname = \"x" + std::to_string(i) + "\"\naddress = \"127.0.0.1:1\"\n";
  }
  EXPECT_THAT(Mistakes(nodes),
              Contains(HasSubstr("pool.xmpp.node: has 302 entries, which is above the largest "
                                 "allowed, 256; remove some")));
}

}  // namespace
}  // namespace lb
