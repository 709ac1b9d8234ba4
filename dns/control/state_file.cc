#include "dns/control/state_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

namespace dns {

namespace {

using Json = nlohmann::json;

class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  ~Descriptor() {
    if (fd_ >= 0) close(fd_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int get() const { return fd_; }
  explicit operator bool() const { return fd_ >= 0; }

 private:
  int fd_;
};

template <class T>
T Number(const Json& json, const char* key) {
  auto it = json.find(key);
  return it != json.end() && it->is_number_integer() ? it->get<T>() : T{};
}

std::string Text(const Json& json, const char* key) {
  auto it = json.find(key);
  return it != json.end() && it->is_string() ? it->get<std::string>() : std::string();
}

bool Flag(const Json& json, const char* key) {
  auto it = json.find(key);
  return it != json.end() && it->is_boolean() && it->get<bool>();
}

// The objects of an object; others are left out.
template <class Take>
void EachObject(const Json& json, const char* key, Take take) {
  auto it = json.find(key);
  if (it == json.end() || !it->is_object()) return;
  for (const auto& [name, entry] : it->items()) {
    if (entry.is_object()) take(name, entry);
  }
}

Json HealthJson(const SavedHealth& saved) {
  Json json = {{"override", ToString(saved.override_value)}, {"by", saved.by}};
  if (saved.was_down) json["was_down"] = true;
  if (saved.draining_since_ms) json["draining_since_ms"] = *saved.draining_since_ms;
  if (saved.warming_since_ms) json["warming_since_ms"] = *saved.warming_since_ms;
  Json verdicts = Json::object();
  for (const auto& [check, verdict] : saved.verdicts) verdicts[check] = ToString(verdict);
  json["verdicts"] = verdicts;
  return json;
}

SavedHealth HealthFrom(const Json& json) {
  SavedHealth saved;
  std::string value = Text(json, "override");
  for (Override o : {Override::kUp, Override::kDown, Override::kDrain}) {
    if (value == ToString(o)) saved.override_value = o;
  }
  saved.by = Text(json, "by");
  saved.was_down = Flag(json, "was_down") || Flag(json, "down");
  if (json.contains("draining_since_ms")) {
    saved.draining_since_ms = Number<int64_t>(json, "draining_since_ms");
  } else if (saved.override_value == Override::kDrain) {
    saved.draining_since_ms = 0;  // version 1 did not say when it began: it is over
  }
  if (json.contains("warming_since_ms")) {
    saved.warming_since_ms = Number<int64_t>(json, "warming_since_ms");
  }
  auto verdicts = json.find("verdicts");
  if (verdicts == json.end() || !verdicts->is_object()) return saved;
  for (const auto& [check, verdict] : verdicts->items()) {
    if (verdict == ToString(CheckState::Verdict::kUp)) {
      saved.verdicts[check] = CheckState::Verdict::kUp;
    } else if (verdict == ToString(CheckState::Verdict::kDown)) {
      saved.verdicts[check] = CheckState::Verdict::kDown;
    }
  }
  return saved;
}

}  // namespace

std::string WriteState(const SavedState& state) {
  Json balancers = Json::object();
  for (const auto& [name, saved] : state.balancers) balancers[name] = HealthJson(saved);
  Json serials = Json::object();
  for (const auto& [name, zone] : state.serials) {
    serials[name] = {{"serial", zone.serial},
                     {"configured", zone.configured},
                     {"content", zone.content},
                     {"reserved", zone.reserved},
                     {"announced", zone.announced}};
  }
  Json tokens = Json::array();
  for (const SavedToken& token : state.tokens) {
    tokens.push_back(
        {{"owner", token.owner}, {"token", token.token}, {"until_ms", token.until_ms}});
  }
  Json json = {{"version", 2},
               {"boot", state.boot},
               {"balancers", balancers},
               {"serials", serials},
               {"tokens", tokens}};
  return json.dump(1, ' ', false, Json::error_handler_t::replace) + "\n";
}

std::expected<SavedState, std::string> ReadState(std::string_view text) {
  auto shallow = [](int depth, Json::parse_event_t, Json&) { return depth <= 6; };
  Json json = Json::parse(text, shallow, false);
  if (!json.is_object() || !json.contains("balancers") || !json["balancers"].is_object()) {
    return std::unexpected("is not a state file");
  }
  for (const auto& [name, entry] : json["balancers"].items()) {
    if (!entry.is_object()) return std::unexpected("is not a state file");
  }
  SavedState state;
  state.boot = Text(json, "boot");
  EachObject(json, "balancers", [&](const std::string& name, const Json& entry) {
    state.balancers[name] = HealthFrom(entry);
  });
  EachObject(json, "serials", [&](const std::string& name, const Json& entry) {
    state.serials[name] = {Number<uint32_t>(entry, "serial"), Number<uint32_t>(entry, "configured"),
                           Number<uint64_t>(entry, "content"), Number<uint32_t>(entry, "reserved"),
                           Number<uint32_t>(entry, "announced")};
  });
  auto tokens = json.find("tokens");
  if (tokens == json.end() || !tokens->is_array()) return state;
  for (const Json& token : *tokens) {
    if (!token.is_object()) continue;
    state.tokens.push_back(
        {Text(token, "owner"), Text(token, "token"), Number<int64_t>(token, "until_ms")});
  }
  return state;
}

std::string BootId() {
  std::ifstream file("/proc/sys/kernel/random/boot_id");
  std::string id;
  std::getline(file, id);
  return id;
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

std::string StateFile::Save(const SavedState& state, bool durable) const {
  if (path_.empty()) return "";
  std::string text = WriteState(state);
  std::string next = path_ + ".new";
  Descriptor fd(open(next.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
  if (!fd) return next + ": " + std::strerror(errno);
  auto failed = [&] {
    std::string why = next + ": " + std::strerror(errno);
    unlink(next.c_str());
    return why;
  };
  for (size_t at = 0; at < text.size();) {
    ssize_t written = write(fd.get(), text.data() + at, text.size() - at);
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return failed();
    at += static_cast<size_t>(written);
  }
  if (durable && fsync(fd.get()) != 0) return failed();
  if (std::rename(next.c_str(), path_.c_str()) != 0) return failed();
  if (!durable) return "";
  std::string folder = std::filesystem::path(path_).parent_path().string();
  Descriptor directory(open(folder.empty() ? "." : folder.c_str(), O_RDONLY | O_CLOEXEC));
  if (!directory || fsync(directory.get()) != 0) return folder + ": " + std::strerror(errno);
  return "";
}

}  // namespace dns
