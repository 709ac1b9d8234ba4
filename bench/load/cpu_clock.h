// CPU time of processes: what an operation costs, independent of who saturates first.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <vector>

namespace bench {

std::int64_t MonotonicNs();

// CPU time of all threads, dead ones included, of the process (its CPU clock). Nothing when there
// is no such process.
std::optional<std::int64_t> ProcessCpuNs(pid_t pid);
std::int64_t OwnCpuNs();

// How long our threads were ready to run but waited for a core.
std::int64_t OwnRunqueueNs();

// What all cores of the machine idled since boot, from /proc/stat (in its ticks of 10 ms); nothing
// where that cannot be read.
std::optional<std::int64_t> MachineIdleNs();
unsigned MachineCores();

// Differences since Start(), of ourselves and of the processes watched.
class CpuWindow {
 public:
  explicit CpuWindow(std::vector<pid_t> watched) : watched_(std::move(watched)) {}

  struct Reading {
    std::int64_t wall_ns = 0;
    std::int64_t own_ns = 0;
    std::int64_t runqueue_ns = 0;
    // Of all cores: whatever the load costs outside the processes watched (kernel threads, soft
    // interrupts, the generator itself) is in it, and so is everybody else's work. -1: not known.
    std::int64_t machine_busy_ns = -1;
    std::vector<std::int64_t> watched_ns;  // -1: the process is gone
  };

  void Start();
  Reading Stop() const;
  const std::vector<pid_t>& Watched() const { return watched_; }

 private:
  Reading Read() const;

  std::vector<pid_t> watched_;
  Reading start_;
  std::optional<std::int64_t> machine_idle_ns_;  // at the start
};

}  // namespace bench
