#include "server/program/memory.h"

#include <unistd.h>

#include <fstream>

#include "net/base/clock.h"
#include "net/io/event_loop.h"

namespace server {
namespace {

// The kernel's own entry of a ring's table of sockets: a pointer and its tag.
constexpr uint64_t kKernelBytesASlot = 16;

uint64_t ResidentBytes() {
  std::ifstream file("/proc/self/statm");
  uint64_t total = 0;
  uint64_t resident = 0;
  file >> total >> resident;
  return resident * static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
}

// With a table of so many, held while it is looked at.
std::expected<uint64_t, std::string> BytesWith(uint32_t slots) {
  net::SystemClock clock;
  auto loop = net::EventLoop::Create({.submission_entries = 512,
                                      .completion_entries = 2048,
                                      .accept_slots = slots,
                                      .outgoing_slots = 1},
                                     clock);
  if (!loop) return std::unexpected(loop.error());
  return ResidentBytes() + kKernelBytesASlot * slots;
}

}  // namespace

std::expected<uint64_t, std::string> MeasureNodeMemory(uint32_t max_ports, uint32_t makeable) {
  if (max_ports <= makeable) return BytesWith(max_ports);
  const auto few = BytesWith(1);
  if (!few) return few;
  const auto many = BytesWith(makeable);
  if (!many) return many;
  const uint64_t grown = *many > *few ? *many - *few : 0;
  return *few + grown * max_ports / makeable;
}

}  // namespace server
