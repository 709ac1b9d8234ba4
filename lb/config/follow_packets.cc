#include "lb/config/follow_packets.h"

#include <sched.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <set>

namespace lb {
namespace {

namespace fs = std::filesystem;

std::string FirstLine(const fs::path& path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line;
}

// "00000000,0000000f", the highest processors first, four of them a digit.
void AddMask(const std::string& mask, std::set<int>* cpus) {
  int cpu = 0;
  for (auto digit = mask.rbegin(); digit != mask.rend(); ++digit) {
    if (*digit == ',') continue;
    const bool number = *digit >= '0' && *digit <= '9';
    const bool letter = *digit >= 'a' && *digit <= 'f';
    if (!number && !letter) return;
    const int bits = number ? *digit - '0' : *digit - 'a' + 10;
    for (int bit = 0; bit < 4; ++bit) {
      if ((bits >> bit & 1) != 0) cpus->insert(cpu + bit);
    }
    cpu += 4;
  }
}

}  // namespace

bool PacketsReachAll(const std::vector<int>& cpus, const std::string& net_folder) {
  std::error_code error;
  for (const fs::directory_entry& interface : fs::directory_iterator(net_folder, error)) {
    if (interface.path().filename() == "lo") continue;
    if (FirstLine(interface.path() / "operstate") == "down") continue;
    size_t queues = 0;
    std::set<int> spread;
    std::error_code none;
    for (const auto& queue : fs::directory_iterator(interface.path() / "queues", none)) {
      if (!queue.path().filename().string().starts_with("rx-")) continue;
      ++queues;
      AddMask(FirstLine(queue.path() / "rps_cpus"), &spread);
    }
    const bool all = std::ranges::all_of(cpus, [&](int cpu) { return spread.contains(cpu); });
    if (queues < cpus.size() && !all) return false;
  }
  return !error;
}

std::vector<int> AllowedCpus() {
  std::vector<int> cpus;
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof set, &set) != 0) return cpus;
  for (size_t cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (CPU_ISSET(cpu, &set)) cpus.push_back(static_cast<int>(cpu));
  }
  return cpus;
}

std::vector<int> WorkerCpus(FollowPackets follow, size_t workers, const std::vector<int>& cpus,
                            const std::string& net_folder) {
  if (follow == FollowPackets::kOff || cpus.empty()) return {};
  if (follow == FollowPackets::kAuto &&
      (cpus.size() < 2 || workers != cpus.size() || !PacketsReachAll(cpus, net_folder))) {
    return {};
  }
  std::vector<int> places;
  for (size_t worker = 0; worker < workers; ++worker) places.push_back(cpus[worker % cpus.size()]);
  return places;
}

}  // namespace lb
