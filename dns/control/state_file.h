// What must survive a restart: the operator's overrides, and the last verdicts of health, so that a
// start does not begin with everything down or everything up. JSON, replaced atomically.
#pragma once

#include <expected>
#include <map>
#include <string>

#include "dns/pool/health.h"

namespace dns {

struct SavedBalancer {
  Override override_value = Override::kNone;
  std::string by;  // who set it
  bool down = false;
};

struct SavedState {
  std::map<std::string, SavedBalancer> balancers;  // "pool/balancer"
};

// Pure: the file's text and back. Unknown keys are ignored, so that versions can differ.
std::string WriteState(const SavedState& state);
std::expected<SavedState, std::string> ReadState(std::string_view text);

class StateFile {
 public:
  explicit StateFile(std::string path = "") : path_(std::move(path)) {}

  // An absent file is an empty state; a broken one is an error, and is left as it is.
  std::expected<SavedState, std::string> Load() const;
  std::string Save(const SavedState& state) const;  // "" or why not

 private:
  std::string path_;
};

}  // namespace dns
