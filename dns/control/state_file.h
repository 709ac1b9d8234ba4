// What must survive a restart, an upgrade and kill -9: the operator's overrides, the verdicts of
// health with the drains and warm-ups that are under way, the serials, and the ACME tokens. JSON,
// replaced as a whole.
#pragma once

#include <expected>
#include <map>
#include <string>
#include <vector>

#include "dns/control/serials.h"
#include "dns/pool/health.h"

namespace dns {

struct SavedToken {
  std::string owner;  // _acme-challenge.NAME.
  std::string token;
  int64_t until_ms = 0;  // since 1970

  bool operator==(const SavedToken&) const = default;
};

struct SavedState {
  std::string boot;                              // BootId() of who wrote it
  std::map<std::string, SavedHealth> balancers;  // "pool/balancer"
  std::map<std::string, ZoneSerial> serials;     // by zone
  std::vector<SavedToken> tokens;

  bool operator==(const SavedState&) const = default;
};

// Pure: the file's text and back. Unknown keys are ignored, so that versions can differ; a state of
// version 1 ("down" instead of verdicts) is read.
std::string WriteState(const SavedState& state);
std::expected<SavedState, std::string> ReadState(std::string_view text);

// Differs after each boot of the machine.
std::string BootId();

class StateFile {
 public:
  explicit StateFile(std::string path = "") : path_(std::move(path)) {}

  const std::string& path() const { return path_; }
  // An absent file is an empty state; a broken one is an error, and is left as it is.
  std::expected<SavedState, std::string> Load() const;
  // "" or why not. Written when it returns, and so safe from whatever happens to the process;
  // `durable`: from what happens to the machine, too.
  std::string Save(const SavedState& state, bool durable) const;

 private:
  std::string path_;
};

}  // namespace dns
