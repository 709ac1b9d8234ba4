// What a reload does with each key.
#include "lb/config/reload_table.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <set>
#include <string>
#include <vector>

#include "tests/known_keys.h"
#include "tests/lb/config_text.h"

namespace lb {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

// Every key that the readers ask for, by section: each section of this file has a key that nobody
// knows, and the error lists those that are known.
std::set<std::string> KeysOfReaders() {
  const std::string unknown = "zzzzzzzzzzzzzzzzzzzz";
  const std::string it = unknown + " = 1\n";
  std::string text = it + "[process]\n" + it + "[log]\n" + it + "[warmup]\n" + it;
  for (const char* mode : {"tcp", "tls", "starttls", "sni"}) {
    text += std::string("[listener.") + mode +
            "]\nbind = \"127.0.0.1:1\"\npool = \"p\"\nmode = \"" + mode + "\"\n" + it +
            "route = [{ " + unknown + " = 1 }]\n";
    if (mode[0] == 't' || mode[2] == 'a') text += "certificates = [{ " + unknown + " = 1 }]\n";
  }
  for (const char* tls : {"off", "tls", "starttls"}) {
    const std::string pool = std::string("pool.") + (tls[0] == 'o' ? "p" : tls);
    text += "[" + pool + "]\ntls = \"" + tls + "\"\n" + it + "[[" + pool + ".node]]\n" + it + "[" +
            pool + ".discover]\nrecord = \"" + (tls[0] == 'o' ? "a" : "srv") + "\"\n" + it + "[" +
            pool + ".status]\n" + it + "[" + pool + ".warmup]\n" + it;
    for (const char* check : {"tcp", "http", "xmpp"}) {
      text += "[[" + pool + ".check]]\ntype = \"" + std::string(check) + "\"\n" + it;
    }
  }
  auto config = ParseConfig(text, "lb.toml");
  std::set<std::string> keys;
  if (config) return keys;
  for (const net::ConfigError& error : config.error()) {
    const size_t at = error.key.find(unknown);
    const std::string known = "known here: ";
    if (at == std::string::npos) continue;
    EXPECT_TRUE(error.remedy.starts_with(known)) << error.ToString();
    EXPECT_FALSE(error.remedy.ends_with("...")) << "the list is cut: " << error.ToString();
    // "pool.p.check[1].zzz" is of "pool.*.check."
    std::string section;
    int part = 0;
    for (size_t i = 0; i < at; ++i) {
      const char c = error.key[i];
      if (c == '[') {
        i = error.key.find(']', i);
        continue;
      }
      if (c == '.') ++part;
      const bool named = section.starts_with("listener.") || section.starts_with("pool.");
      if (part == 1 && named && c != '.') {
        if (section.back() != '*') section += '*';
        continue;
      }
      section += c;
    }
    InsertKnownKeys(keys, section, std::string_view(error.remedy).substr(known.size()));
  }
  return keys;
}

TEST(ReloadTable, NamesEveryKeyThatTheReadersKnowAndNoOther) {
  const std::set<std::string> read = KeysOfReaders();
  EXPECT_GT(read.size(), 100U);
  ExpectEachKeyInOneRow(read, net::KeysOfTable(ReloadTable()));
}

TEST(ReloadTable, RefusesWithNameLineAndRemedyAndOnlyWhatDiffers) {
  const std::string base =
      "[listener.a]\nbind = \"127.0.0.1:1\"\npool = \"p\"\nsource_connections_max = 3\n"
      "source_prefix_v6 = 56\n[pool.p]\n[[pool.p.node]]\nname = \"n\"\naddress = "
      "\"127.0.0.1:2\"\n";
  const std::string changed =
      "[process]\nlarge_buffers = 16\n[log]\n# access = \"off\"\nlevel = "
      "\"debug\"\n" +
      std::string(base).replace(base.find("56"), 2, "48");
  auto now = ParseConfig(base, "lb.toml");
  auto next = ParseConfig(changed, "lb.toml");
  ASSERT_TRUE(now && next);
  EXPECT_THAT(net::RefusedByReload(ReloadTable(), *now, *now, "lb.toml", base), IsEmpty());
  std::vector<std::string> texts;
  for (const net::ConfigError& error :
       net::RefusedByReload(ReloadTable(), *now, *next, "lb.toml", changed)) {
    texts.push_back(error.ToString());
  }
  const std::string what =
      ": cannot change while the process runs; take the change over without losing a connection by "
      "`mongooselb ctl upgrade`";
  EXPECT_THAT(texts,
              ElementsAre("lb.toml:2: process.large_buffers" + what, "lb.toml:5: log.level" + what,
                          "lb.toml:10: listener.a.source_prefix_v6" + what));
}

}  // namespace
}  // namespace lb
