#include "server/program/memory_watch.h"

#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <fstream>
#include <sstream>

namespace server {
namespace {

std::string Content(const std::string& path) {
  const std::ifstream file(path);
  std::ostringstream text;
  text << file.rdbuf();
  return std::move(text).str();
}

// "max" and what is no number are none.
uint64_t Number(const std::string& text) {
  uint64_t number = 0;
  std::from_chars(text.data(), text.data() + text.size(), number);
  return number;
}

uint64_t Least(uint64_t a, uint64_t b) {
  if (a == 0 || b == 0) return std::max(a, b);
  return std::min(a, b);
}

// The least bound of the group and of those above it.
uint64_t CgroupBound(const std::string& root) {
  std::istringstream lines(Content(root + "/proc/self/cgroup"));
  uint64_t least = 0;
  for (std::string line; std::getline(lines, line);) {
    const size_t colon = line.find(':');
    const size_t path_at = line.find(':', colon + 1);
    if (colon == line.npos || path_at == line.npos) continue;
    const std::string controllers = line.substr(colon + 1, path_at - colon - 1);
    const bool second = controllers.empty();
    if (!second && controllers.find("memory") == controllers.npos) continue;
    const std::string base = root + "/sys/fs/cgroup" + (second ? "" : "/memory");
    std::string path = line.substr(path_at + 1);
    while (true) {
      const std::string folder = base + (path == "/" ? "" : path);
      for (const char* file : {"/memory.max", "/memory.high", "/memory.limit_in_bytes"}) {
        least = Least(least, Number(Content(folder + file)));
      }
      if (path.empty() || path == "/") break;
      path.resize(std::max<size_t>(path.rfind('/'), 0));
    }
  }
  return least;
}

}  // namespace

MemoryFacts ReadMemoryFacts(const std::string& root) {
  MemoryFacts facts;
  const std::string statm = Content(root + "/proc/self/statm");
  if (const size_t blank = statm.find(' '); blank != statm.npos) {
    facts.resident = Number(statm.substr(blank + 1)) * static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
  }
  const std::string meminfo = Content(root + "/proc/meminfo");
  constexpr std::string_view kTotal = "MemTotal:";
  if (const size_t at = meminfo.find(kTotal); at != meminfo.npos) {
    const size_t digit = meminfo.find_first_of("0123456789", at);
    if (digit != meminfo.npos) facts.machine = Number(meminfo.substr(digit)) * 1'024;
  }
  facts.cgroup = CgroupBound(root);
  return facts;
}

uint64_t MemoryBound(uint64_t configured, const MemoryFacts& facts) {
  if (configured != 0) return configured;
  return Least(facts.machine, facts.cgroup) / 5 * 4;
}

MemoryPressure MemoryWatch::Look(uint64_t resident) {
  resident_ = resident;
  if (bound_ == 0) return pressure_;
  const uint64_t percent = resident * 100 / bound_;
  if (percent >= 97) {
    pressure_ = MemoryPressure::kFull;
  } else if (percent >= 90) {
    pressure_ = MemoryPressure::kShort;
  } else if (percent < 80) {
    pressure_ = MemoryPressure::kEnough;
  } else if (pressure_ == MemoryPressure::kFull) {
    pressure_ = MemoryPressure::kShort;
  }
  return pressure_;
}

}  // namespace server
