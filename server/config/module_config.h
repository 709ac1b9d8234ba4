// [limits] and [modules] of mongooseim.toml: what one account may have, and which extensions there
// are. Names and defaults are those of server/im and server/modules, which stand above and are
// filled from this; a test compares them.
//
// Used at the start. Mistakes go into the sections' reader.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "net/base/clock.h"
#include "net/config/toml_reader.h"

namespace server {

// Of one account, where nothing else is said.
struct LimitsConfig {
  uint32_t sessions = 10;
  uint32_t roster_items = 2'000;
  uint32_t blocked = 1'000;
  uint32_t directed_presence = 500;  // of a session
  // Of the node.
  uint64_t memory = 0;     // bytes; 0: what the machine or the cgroup has, but for a fifth
  double login_cpu = 0.8;  // of each worker's processor; above it logins wait
};

struct ModulesConfig {
  struct Archive {
    bool enabled = true;
    uint32_t page = 50;
    uint32_t page_max = 250;
    bool prefs = true;
    uint8_t by_default = 0;  // always, never, roster
    net::Duration keep{0};   // 0: for ever
    uint64_t keep_most = 0;  // messages of an account; 0: no limit
    net::Duration clean_every = std::chrono::hours(1);
  } archive;
  struct Contact {
    std::vector<std::string> abuse, admin, feedback, sales, security, status, support;
  } contact;
  struct Disco {
    bool enabled = true;
    std::string name = "mongooseim";
  } disco;
  struct Offline {
    bool enabled = true;
    uint32_t messages_max = 1'000;
    net::Duration expires{0};  // 0: never
  } offline;
  struct Private {
    bool enabled = true;
    uint32_t elements_max = 100;
    size_t element_bytes_max = size_t{64} << 10U;
  } private_storage;
  struct Registration {
    bool sign_up = false;
    double sign_ups_per_address = 3.0 / 3'600;  // a second
    std::vector<std::string> reserved = {"abuse",      "admin", "administrator", "hostmaster",
                                         "postmaster", "root",  "security",      "support",
                                         "webmaster",  "xmpp"};
    std::string instructions = "Choose a name and a password.";
    bool password_change = true;
    double password_changes = 6.0 / 3'600;
    bool removal = true;
    uint32_t password_bytes_min = 8;
  } registration;
  struct Vcard {
    bool enabled = true;
    size_t bytes_max = size_t{128} << 10U;
  } vcard;
  struct Version {
    bool enabled = true;
    bool show_os = false;
  } version;
  bool last = true;
  bool ping = true;
  bool time = true;
};

void ReadLimits(const net::TomlSection& section, LimitsConfig& limits);
void ReadModules(const net::TomlSection& section, ModulesConfig& modules);

}  // namespace server
