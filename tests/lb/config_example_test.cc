// conf/mongooselb.toml: the file that operators read.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <string>
#include <vector>

#include "tests/lb/config_text.h"

namespace lb {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;

std::vector<std::string> ExampleLines() {
  std::ifstream in(MONGOOSE_SOURCE_DIR "/conf/mongooselb.toml");
  std::vector<std::string> lines;
  for (std::string line; std::getline(in, line);) lines.push_back(line);
  return lines;
}

std::string Joined(const std::vector<std::string>& lines) {
  std::string out;
  for (const std::string& line : lines) out += line + "\n";
  return out;
}

// "#key = value" and "#[section]"; prose has a blank behind its "#".
bool IsCommentedKey(const std::string& line) {
  return line.size() > 1 && line[0] == '#' && line[1] != ' ' && line[1] != '[';
}
bool IsCommentedSection(const std::string& line) { return line.starts_with("#["); }

TEST(ConfigExample, ParsesAsItIs) {
  ASSERT_THAT(ExampleLines(), ::testing::Not(IsEmpty()));
  EXPECT_THAT(Mistakes(Joined(ExampleLines())), IsEmpty());
}

TEST(ConfigExample, UncommentingAnyKeyOfAnActiveSectionChangesNothing) {
  std::vector<std::string> lines = ExampleLines();
  auto plain = ParseConfig(Joined(lines), "lb.toml");
  ASSERT_TRUE(plain);
  bool active = true;
  int keys = 0;
  for (std::string& line : lines) {
    if (line.starts_with("[")) active = true;
    if (IsCommentedSection(line)) active = false;
    if (!active || !IsCommentedKey(line)) continue;
    std::string key = line.substr(1);
    std::swap(line, key);
    auto config = ParseConfig(Joined(lines), "lb.toml");
    ASSERT_TRUE(config) << line << ": " << config.error()[0].ToString();
    EXPECT_TRUE(*config == *plain) << "not the default: " << line;
    std::swap(line, key);
    ++keys;
  }
  EXPECT_GT(keys, 50);
}

TEST(ConfigExample, UncommentingAnyWholeSectionParses) {
  const std::vector<std::string> lines = ExampleLines();
  int sections = 0;
  for (size_t i = 0; i < lines.size(); ++i) {
    if (!IsCommentedSection(lines[i])) continue;
    std::vector<std::string> changed = lines;
    changed[i].erase(0, 1);
    for (size_t j = i + 1;
         j < lines.size() && lines[j].starts_with("#") && !IsCommentedSection(lines[j]); ++j) {
      if (IsCommentedKey(lines[j])) changed[j].erase(0, 1);
    }
    EXPECT_THAT(Mistakes(Joined(changed)), IsEmpty()) << lines[i];
    ++sections;
  }
  EXPECT_EQ(sections, 6);
}

TEST(ConfigExample, ShowsEveryKey) {
  std::string text = Joined(ExampleLines());
  for (const char* key : {"workers",
                          "connections_max",
                          "user",
                          "group",
                          "ctl_socket",
                          "admin_listen",
                          "drain_deadline",
                          "buffer_bytes",
                          "buffers",
                          "large_buffers",
                          "state_file",
                          "level",
                          "format",
                          "access",
                          "access_format",
                          "enabled",
                          "initial_rate",
                          "growth",
                          "interval",
                          "bind",
                          "pool",
                          "mode",
                          "certificates",
                          "tls_min",
                          "tls_max",
                          "ciphers",
                          "suites",
                          "groups",
                          "alpn",
                          "alpn_required",
                          "strict_sni",
                          "client_auth",
                          "client_ca",
                          "client_crl",
                          "ticket_key_file",
                          "ticket_rotation",
                          "own_records",
                          "own_handshake",
                          "handshake_timeout",
                          "handshakes_max",
                          "namespace",
                          "route",
                          "tls",
                          "tls_ca",
                          "tls_verify",
                          "tls_verify_name",
                          "tls_sni",
                          "starttls_to",
                          "starttls_namespace",
                          "backlog",
                          "accept_proxy",
                          "proxy_trusted",
                          "proxy_header_timeout",
                          "source_connections_max",
                          "source_rate",
                          "source_table_max",
                          "source_prefix_v6",
                          "balance",
                          "bounded_load",
                          "connect_timeout",
                          "retries",
                          "redispatch",
                          "queue_max",
                          "queue_timeout",
                          "idle_timeout",
                          "fin_timeout",
                          "tcp_user_timeout",
                          "keepalive_idle",
                          "keepalive_interval",
                          "keepalive_count",
                          "send_proxy",
                          "send_proxy_tlvs",
                          "source_addresses",
                          "panic_threshold",
                          "passive_errors",
                          "pending_bytes_max",
                          "splice_after",
                          "name",
                          "address",
                          "weight",
                          "backup",
                          "record",
                          "port",
                          "resolver",
                          "nodes_max",
                          "type",
                          "fast_interval",
                          "timeout",
                          "rise",
                          "fall",
                          "jitter",
                          "send_proxy",
                          "start",
                          "method",
                          "path",
                          "host",
                          "headers",
                          "body",
                          "password_file",
                          "expect_status",
                          "expect_json",
                          "expect_value",
                          "to",
                          "namespace",
                          "netsplit",
                          "duration",
                          "start_rate",
                          "end_rate",
                          "aggression",
                          "share_cap",
                          "min_weight"}) {
    EXPECT_THAT(text, HasSubstr(std::string(key) + " = ")) << key;
  }
}

}  // namespace
}  // namespace lb
