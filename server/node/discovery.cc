#include "server/node/discovery.h"

#include <algorithm>
#include <fstream>
#include <sstream>
#include <utility>

#include "net/report/log.h"
#include "server/dist/node_name.h"

namespace server {

std::vector<std::string> ParseDiscovery(std::string_view text) {
  std::vector<std::string> names;
  while (!text.empty() && names.size() < kDiscoveredMax) {
    std::string_view line = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(line.size() + 1, text.size()));
    line = line.substr(0, line.find('#'));
    const size_t first = line.find_first_not_of(" \t\r");
    if (first == std::string_view::npos) continue;
    line = line.substr(first, line.find_last_not_of(" \t\r") - first + 1);
    if (IsNodeName(line)) names.emplace_back(line);
  }
  std::ranges::sort(names);
  names.erase(std::ranges::unique(names).begin(), names.end());
  return names;
}

namespace {

class File final : public DiscoverySource {
 public:
  explicit File(std::string path) : path_(std::move(path)) {}

  void Look(Told told) override {
    std::ifstream file(path_);
    if (!file) {
      LOG_EVERY(std::chrono::minutes(1), net::LogLevel::kWarn, "discovery",
                "the file cannot be read; what it said last holds", {{"file", path_}});
      return;
    }
    std::ostringstream text;
    text << file.rdbuf();
    if (text.view() == text_) return;
    text_ = std::move(text).str();
    told(ParseDiscovery(text_));
  }

 private:
  const std::string path_;
  std::string text_;
};

}  // namespace

std::unique_ptr<DiscoverySource> DiscoveryFile(std::string path) {
  return std::make_unique<File>(std::move(path));
}

Discovery::Discovery(net::EventLoop& loop, ClusterHost& cluster,
                     std::unique_ptr<DiscoverySource> source, Options options)
    : loop_(loop), cluster_(cluster), source_(std::move(source)), options_(std::move(options)) {
  Look();
}

Discovery::~Discovery() {
  *alive_ = false;
  loop_.CancelTimer(timer_);
}

void Discovery::Look() {
  timer_ = loop_.After(kLookEvery, [this] { Look(); });
  source_->Look([this](std::vector<std::string> names) { Known(std::move(names)); });
  const ClusterStatus status = cluster_.Status();
  if (!options_.auto_join || joining_ || status.state != NodeState::kRunning) return;
  if (status.members.size() > 1) {
    alone_for_ = 0;
    return;
  }
  ++alone_for_;
  JoinSomebody();
}

void Discovery::Known(std::vector<std::string> names) {
  if (names == names_) return;
  names_ = std::move(names);
  next_ = 0;
  net::Log(net::LogLevel::kInfo, "discovery", "other nodes are known", {{"nodes", names_.size()}});
}

void Discovery::JoinSomebody() {
  std::vector<std::string> targets;
  for (const std::string& name : names_) {
    const bool below = name < options_.node;
    if (below || (name != options_.node && alone_for_ > kPatience)) targets.push_back(name);
  }
  if (targets.empty()) return;
  const std::string target = targets[next_++ % targets.size()];
  joining_ = true;
  cluster_.Join(target, [this, alive = alive_](const ClusterHost::OrderEnd& end) {
    if (!*alive) return;
    joining_ = false;
    if (end.outcome == Outcome::kDone) return;
    LOG_EVERY(std::chrono::seconds(30), net::LogLevel::kWarn, "discovery", "not joined yet",
              {{"target", end.target}, {"detail", end.detail}});
  });
}

}  // namespace server
