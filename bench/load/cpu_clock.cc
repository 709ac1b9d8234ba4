#include "bench/load/cpu_clock.h"

#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <string>

namespace bench {
namespace {

std::int64_t ReadClock(clockid_t clock) {
  timespec now{};
  if (clock_gettime(clock, &now) != 0) return -1;
  return now.tv_sec * 1'000'000'000 + now.tv_nsec;
}

}  // namespace

std::int64_t MonotonicNs() { return ReadClock(CLOCK_MONOTONIC); }
std::int64_t OwnCpuNs() { return ReadClock(CLOCK_PROCESS_CPUTIME_ID); }

std::optional<std::int64_t> ProcessCpuNs(pid_t pid) {
  clockid_t clock{};
  if (clock_getcpuclockid(pid, &clock) != 0) return std::nullopt;
  const std::int64_t value = ReadClock(clock);
  if (value < 0) return std::nullopt;
  return value;
}

std::int64_t OwnRunqueueNs() {
  std::ifstream file("/proc/self/schedstat");
  std::int64_t run = 0;
  std::int64_t wait = 0;
  return file >> run >> wait ? wait : 0;
}

std::optional<std::int64_t> MachineIdleNs() {
  std::ifstream file("/proc/stat");
  std::string name;
  std::int64_t user = 0;
  std::int64_t nice = 0;
  std::int64_t system = 0;
  std::int64_t idle = 0;
  std::int64_t iowait = 0;
  if (!(file >> name >> user >> nice >> system >> idle >> iowait)) return std::nullopt;
  return (idle + iowait) * (1'000'000'000 / sysconf(_SC_CLK_TCK));
}

unsigned MachineCores() {
  return static_cast<unsigned>(std::max(sysconf(_SC_NPROCESSORS_ONLN), 1L));
}

void CpuWindow::Start() {
  start_ = Read();
  machine_idle_ns_ = MachineIdleNs();
}

CpuWindow::Reading CpuWindow::Read() const {
  Reading now;
  now.wall_ns = MonotonicNs();
  now.own_ns = OwnCpuNs();
  now.runqueue_ns = OwnRunqueueNs();
  for (const pid_t pid : watched_) now.watched_ns.push_back(ProcessCpuNs(pid).value_or(-1));
  return now;
}

CpuWindow::Reading CpuWindow::Stop() const {
  Reading now = Read();
  now.wall_ns -= start_.wall_ns;
  now.own_ns -= start_.own_ns;
  now.runqueue_ns -= start_.runqueue_ns;
  if (const auto idle_ns = MachineIdleNs(); idle_ns && machine_idle_ns_) {
    // Ticks: an idle machine may seem to have idled a moment longer than there was.
    now.machine_busy_ns =
        std::max<std::int64_t>(now.wall_ns * MachineCores() - (*idle_ns - *machine_idle_ns_), 0);
  }
  for (std::size_t i = 0; i < now.watched_ns.size(); ++i) {
    const bool known =
        now.watched_ns[i] >= 0 && i < start_.watched_ns.size() && start_.watched_ns[i] >= 0;
    now.watched_ns[i] = known ? now.watched_ns[i] - start_.watched_ns[i] : -1;
  }
  return now;
}

}  // namespace bench
