// What the commands of mongoosebench do, once their arguments are read. Each returns the exit
// status: 0 the run may be believed (or: no regression); 1 it is INVALID (or: a regression); 2 it
// could not be made: wrong usage, or the machine cannot carry it.
#pragma once

#include <cstdint>
#include <expected>
#include <optional>
#include <string>
#include <vector>

#include "bench/load/pacing.h"
#include "bench/load/result.h"
#include "bench/load/tls_client.h"

namespace bench {

inline constexpr int kExitInvalid = 1;
inline constexpr int kExitUsage = 2;

// As the command line gives them; which of them a command has, mongoosebench.cc says.
struct Arguments {
  std::vector<std::string> targets;
  std::vector<std::string> sources;
  std::size_t connections = 0;
  std::string duration = "5s";
  std::string warmup = "500ms";
  std::string timeout = "10s";
  std::uint64_t count = UINT64_MAX;
  std::string rate;
  std::string profile;
  std::string arrivals = "constant";
  std::uint64_t seed = 1;
  std::size_t payload = 0;
  std::string send;
  std::string reply = "echo";
  double gigabytes = 1;
  std::string hold = "5s";
  std::size_t retries = 0;
  bool no_exchange = false;
  TlsOptions tls;
  std::vector<int> watched;
  std::string json;
  bool quiet = false;
  // sink, compare
  int backlog = 4096;
  std::string before;
  std::string after;
  double tolerance = 0.05;
};

int RunConnect(const Arguments& args);
int RunEcho(const Arguments& args);
int RunBulk(const Arguments& args);
int RunIdle(const Arguments& args);
int RunStorm(const Arguments& args);
int RunSink(const Arguments& args);
int RunCompare(const Arguments& args);
int RunMerge(const Arguments& args);

// From a signal handler: whatever runs ends soon, with its result so far.
void StopRuns();

// ---- what the commands of other files share
// ------------------------------------------------------

int Complain(const std::string& what);
std::expected<std::optional<Arrivals>, std::string> MakeArrivals(const Arguments& args);
std::expected<Timing, std::string> MakeTiming(const Arguments& args,
                                              const std::optional<Arrivals>& arrivals);
std::expected<std::vector<Endpoint>, std::string> MakeTargets(const Arguments& args);
std::expected<std::vector<Endpoint>, std::string> MakeSources(const Arguments& args);
std::expected<void, std::string> CheckMeans(const Arguments& args, std::size_t connections);
std::expected<std::vector<pid_t>, std::string> MakeWatched(const Arguments& args);
// Whether a live line belongs on the terminal.
bool WantsLive(const Arguments& args);
struct HoldTime {
  std::int64_t ns = 0;  // kNever: until told
  bool until_told = false;
};
std::expected<HoldTime, std::string> MakeHold(const Arguments& args);
// End of input, or a line, ends the holding.
bool InputSaysStop();
// Writes the result; the exit status.
int Report(const Arguments& args, const Result& result);

}  // namespace bench
