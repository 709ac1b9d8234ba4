#include "dns/control/state_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

namespace dns {

std::string WriteState(const SavedState& state) {
  nlohmann::json balancers = nlohmann::json::object();
  for (const auto& [name, saved] : state.balancers) {
    balancers[name] = {
        {"override", ToString(saved.override_value)}, {"by", saved.by}, {"down", saved.down}};
  }
  return nlohmann::json{{"version", 1}, {"balancers", balancers}}.dump(2) + "\n";
}

std::expected<SavedState, std::string> ReadState(std::string_view text) {
  auto json = nlohmann::json::parse(text, nullptr, false);
  if (!json.is_object() || !json.contains("balancers") || !json["balancers"].is_object()) {
    return std::unexpected("is not a state file");
  }
  SavedState state;
  for (const auto& [name, entry] : json["balancers"].items()) {
    if (!entry.is_object()) return std::unexpected("is not a state file");
    SavedBalancer saved;
    std::string value = entry.value("override", "none");
    for (Override o : {Override::kUp, Override::kDown, Override::kDrain}) {
      if (value == ToString(o)) saved.override_value = o;
    }
    auto by = entry.find("by");
    if (by != entry.end() && by->is_string()) saved.by = by->get<std::string>();
    auto down = entry.find("down");
    saved.down = down != entry.end() && down->is_boolean() && down->get<bool>();
    state.balancers[name] = saved;
  }
  return state;
}

std::expected<SavedState, std::string> StateFile::Load() const {
  if (path_.empty()) return SavedState{};
  std::ifstream file(path_);
  if (!file) {
    if (errno == ENOENT) return SavedState{};
    return std::unexpected(path_ + ": " + std::strerror(errno));
  }
  std::ostringstream text;
  text << file.rdbuf();
  auto state = ReadState(text.str());
  if (!state) return std::unexpected(path_ + ": " + state.error());
  return state;
}

std::string StateFile::Save(const SavedState& state) const {
  if (path_.empty()) return "";
  std::string text = WriteState(state);
  std::string next = path_ + ".new";
  int fd = open(next.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  if (fd < 0) return next + ": " + std::strerror(errno);
  bool good = write(fd, text.data(), text.size()) == static_cast<ssize_t>(text.size());
  good = fsync(fd) == 0 && good;
  good = close(fd) == 0 && good;
  if (!good || std::rename(next.c_str(), path_.c_str()) != 0) {
    return path_ + ": " + std::strerror(errno);
  }
  return "";
}

}  // namespace dns
