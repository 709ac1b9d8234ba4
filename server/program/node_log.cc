#include "server/program/node_log.h"

#include <mutex>

#include "net/report/log.h"
#include "net/report/log_output.h"
#include "net/report/log_target.h"

namespace server {
namespace {

struct LevelName {
  std::mutex mutex;
  std::string name = "INFO";
};

// Never destroyed: threads may ask until the very end.
LevelName& TheLevel() {
  static auto* level = new LevelName;
  return *level;
}

void Name(std::string_view name) {
  LevelName& level = TheLevel();
  std::lock_guard lock(level.mutex);
  level.name = name;
}

std::string_view NameOf(net::LogLevel level) {
  switch (level) {
    case net::LogLevel::kDebug:
      return "DEBUG";
    case net::LogLevel::kInfo:
      return "INFO";
    case net::LogLevel::kWarn:
      return "WARNING";
    case net::LogLevel::kError:
      break;
  }
  return "ERROR";
}

}  // namespace

std::expected<void, std::string> StartLog(const NodeConfig::Log& config, const std::string& path,
                                          bool live) {
  using Target = NodeConfig::Log::Target;
  Name(NameOf(config.level));
  net::ConfigureLog({.level = config.level, .format = config.format});
  if (config.target == Target::kFile && !path.empty()) {
    const std::string error = net::SetLogFile(path, live);
    if (error.empty()) return {};
    return std::unexpected(error +
                           "; make its folder, owned by the user that the node runs as, or set "
                           "log.target = \"stderr\" or \"journald\"");
  }
  const auto target =
      config.target == Target::kJournal ? net::LogTarget::kJournal : net::LogTarget::kStderr;
  const std::string error = net::SetLogTarget(target, "mongooseim");
  if (!error.empty()) return std::unexpected("log.target: " + error);
  return {};
}

void SetLogLevelByName(std::string_view name) {
  Name(name);
  net::SetLogLevel(name == "DEBUG" || name == "ALL"     ? net::LogLevel::kDebug
                   : name == "INFO" || name == "NOTICE" ? net::LogLevel::kInfo
                   : name == "WARNING"                  ? net::LogLevel::kWarn
                                                        : net::LogLevel::kError);
}

std::string LogLevelName() {
  LevelName& level = TheLevel();
  std::lock_guard lock(level.mutex);
  return level.name;
}

}  // namespace server
