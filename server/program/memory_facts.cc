#include "server/program/memory_facts.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <fstream>
#include <sstream>
#include <string_view>

namespace server {
namespace {

std::string Content(const std::string& path) {
  const std::ifstream file(path);
  std::ostringstream text;
  text << file.rdbuf();
  return std::move(text).str();
}

// The number that stands at the beginning; "max" and what else is none are nothing.
std::optional<uint64_t> Number(std::string_view text) {
  uint64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  return error == std::errc() ? std::optional(number) : std::nullopt;
}

// Of a file of lines "KEY VALUE".
std::optional<uint64_t> Value(std::string_view text, std::string_view key) {
  while (!text.empty()) {
    const std::string_view line = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(text.size(), line.size() + 1));
    if (line.starts_with(key) && line.substr(key.size()).starts_with(' ')) {
      return Number(line.substr(key.size() + 1));
    }
  }
  return std::nullopt;
}

std::optional<uint64_t> PagesOf(std::string_view statm) {
  const size_t blank = statm.find(' ');
  if (blank == statm.npos) return std::nullopt;
  const auto pages = Number(statm.substr(blank + 1));
  // A process has some: 0 is what a kernel says that hides it.
  if (!pages || *pages == 0) return std::nullopt;
  return *pages * static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
}

void TakeLimit(const std::string& folder, bool second, MemoryFacts& facts, bool* readable) {
  static constexpr std::array<const char*, 2> kSecond = {"/memory.max", "/memory.high"};
  static constexpr std::array<const char*, 1> kFirst = {"/memory.limit_in_bytes"};
  const auto take = [&](const char* file) {
    const std::string text = Content(folder + file);
    *readable = *readable || !text.empty();
    const auto limit = Number(text);
    if (limit && (!facts.group || *limit < facts.group->limit)) {
      facts.group = MemoryGroup{.limit = *limit, .folder = folder, .second = second};
    }
  };
  if (second) {
    for (const char* file : kSecond) take(file);
  } else {
    for (const char* file : kFirst) take(file);
  }
}

// The least limit of the group and of those above it.
void ReadGroup(const std::string& root, MemoryFacts& facts) {
  std::istringstream lines(Content(root + "/proc/self/cgroup"));
  bool in_group = false;
  bool readable = false;
  for (std::string line; std::getline(lines, line);) {
    const size_t colon = line.find(':');
    const size_t path_at = colon == line.npos ? line.npos : line.find(':', colon + 1);
    if (path_at == line.npos) continue;
    const std::string controllers = "," + line.substr(colon + 1, path_at - colon - 1) + ",";
    const bool second = controllers == ",,";
    if (!second && controllers.find(",memory,") == controllers.npos) continue;
    const std::string base = root + "/sys/fs/cgroup" + (second ? "" : "/memory");
    std::string path = line.substr(path_at + 1);
    if (path == "/") path.clear();
    in_group |= !path.empty();
    while (true) {
      TakeLimit(base + path, second, facts, &readable);
      const size_t slash = path.rfind('/');
      if (path.empty() || slash == path.npos) break;
      path.resize(slash);
    }
  }
  if (in_group && !readable) {
    facts.warnings.push_back(
        "the memory limit of the cgroup cannot be read below " + root +
        "/sys/fs/cgroup: the node may be killed before it sheds; mount it, or set [limits] memory "
        "below that limit");
  }
}

}  // namespace

MemoryFacts ReadMemoryFacts(const std::string& root) {
  MemoryFacts facts;
  facts.resident = PagesOf(Content(root + "/proc/self/statm"));
  if (!facts.resident) {
    facts.warnings.push_back("what the node takes cannot be read from " + root +
                             "/proc/self/statm: it does not see when memory runs short; mount "
                             "/proc");
  }
  std::string meminfo = Content(root + "/proc/meminfo");
  std::erase(meminfo, ':');
  if (const size_t at = meminfo.find("MemTotal "); at != meminfo.npos) {
    const size_t digit = meminfo.find_first_of("0123456789", at);
    const auto kilobytes =
        Number(std::string_view(meminfo).substr(std::min(digit, meminfo.size())));
    if (kilobytes) facts.machine = *kilobytes * 1'024;
  }
  ReadGroup(root, facts);
  return facts;
}

MemoryBounds MemoryBoundsOf(uint64_t configured, const MemoryFacts& facts) {
  std::optional<uint64_t> least = facts.machine;
  if (facts.group) least = std::min(facts.group->limit, least.value_or(facts.group->limit));
  MemoryBounds bounds;
  if (least) bounds.process = *least / 5 * 4;
  if (configured != 0) {
    bounds.process = least ? std::min(configured, *least / 10 * 9) : configured;
  }
  // Each is there several times before it has gone its way: for its home, for a session, for the
  // connection, and twice for the store.
  bounds.messages = bounds.process / 16;
  // Without a limit version 1 says a number beyond all machines.
  const bool limits = facts.group && facts.group->limit <= facts.machine.value_or(UINT64_MAX / 2);
  if (limits) bounds.group = facts.group->limit / 10 * 9;
  return bounds;
}

namespace {

std::optional<std::string_view> Read(const net::UniqueFd& file, std::span<char> buffer) {
  if (!file) return std::nullopt;
  const ssize_t size = pread(file.get(), buffer.data(), buffer.size(), 0);
  if (size <= 0) return std::nullopt;
  return std::string_view(buffer.data(), static_cast<size_t>(size));
}

net::UniqueFd OpenFile(const std::string& path) {
  return net::UniqueFd(open(path.c_str(), O_RDONLY | O_CLOEXEC));
}

}  // namespace

MemoryGauge::MemoryGauge(const std::optional<MemoryGroup>& group, const std::string& root)
    : statm_(OpenFile(root + "/proc/self/statm")) {
  if (!group) return;
  second_ = group->second;
  stat_ = OpenFile(group->folder + "/memory.stat");
}

std::optional<uint64_t> MemoryGauge::Resident() const {
  std::array<char, 256> buffer;
  const auto text = Read(statm_, buffer);
  return text ? PagesOf(*text) : std::nullopt;
}

// Not what the group is charged less its cache of files: the kernel sums the parts up every two
// seconds, and what was written to files since would count as taken.
std::optional<uint64_t> MemoryGauge::Group() const {
  static constexpr std::array<std::string_view, 4> kSecond = {"anon", "shmem", "sock",
                                                              "slab_unreclaimable"};
  static constexpr std::array<std::string_view, 2> kFirst = {"total_rss", "total_shmem"};
  std::array<char, 16'384> buffer;
  const auto text = Read(stat_, buffer);
  if (!text) return std::nullopt;
  // Kernels have not all of them; what the processes have all do.
  if (!Value(*text, second_ ? kSecond[0] : kFirst[0])) return std::nullopt;
  uint64_t sum = 0;
  const auto add = [&](std::string_view key) { sum += Value(*text, key).value_or(0); };
  if (second_) {
    std::ranges::for_each(kSecond, add);
  } else {
    std::ranges::for_each(kFirst, add);
  }
  return sum;
}

}  // namespace server
