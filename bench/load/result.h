// What one run of the generator found. Filled by the engine and the scenario, judged by verdict.h,
// written by report.h.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "bench/load/cpu_clock.h"
#include "bench/load/histogram.h"

namespace bench {

// Why an operation or a connection came to nothing.
enum class FailReason : std::uint8_t {
  kConnect,
  kHandshake,
  kReset,
  kClosed,
  kTimeout,
  kMismatch,
  kRefused,  // the server said no
  kResources
};
inline constexpr std::size_t kFailReasons = 8;
const char* ToString(FailReason reason);

struct NamedHistogram {
  std::string name;
  Histogram histogram;
};

inline constexpr std::size_t kExamplesMax = 3;

// Of what one message is to many: copies that did not come, came again, or came behind later ones.
struct CopyFaults {
  std::uint64_t lost = 0;
  std::uint64_t doubled = 0;
  std::uint64_t swapped = 0;

  bool operator==(const CopyFaults&) const = default;
};

struct Result {
  std::string mode;
  std::string target;
  bool open_loop = false;
  bool tls = false;
  bool resume = false;
  bool interrupted = false;

  // In the measuring window. `offered` is what the profile meant; in a closed loop it equals
  // `started`, since the system under test sets the pace.
  std::uint64_t offered = 0;
  std::uint64_t started = 0;
  std::uint64_t completed = 0;
  std::uint64_t bytes = 0;
  std::uint64_t shed = 0;  // starts given up because the generator's own queue was full

  // Over the whole run.
  std::uint64_t opened = 0;
  std::uint64_t held = 0;      // connections open at the end of the opening phase
  std::uint64_t held_max = 0;  // most open at one time
  std::uint64_t lost = 0;      // ended by the other side while they were held
  std::uint64_t retries = 0;
  std::array<std::uint64_t, kFailReasons> failed{};
  std::uint64_t handshakes = 0;
  std::uint64_t resumed = 0;
  std::uint64_t resumptions = 0;          // of XMPP streams that were asked for
  std::uint64_t resumptions_refused = 0;  // of these, answered by a new session
  std::uint64_t deliveries = 0;           // stanzas that reached a receiver, in the window
  CopyFaults copies;
  std::vector<std::string> examples;  // what the first failures looked like

  Histogram tcp_connect;    // from the call of connect
  Histogram tls_handshake;  // from the TCP connection
  Histogram reply;          // from the request's first byte sent to the reply's first byte
  Histogram total;          // from the INTENDED start to the end of the operation
  Histogram pacing_lag;     // from the intended start to the generator getting to it
  std::vector<NamedHistogram> phases;  // those that only some modes have

  CpuWindow::Reading window;
  std::vector<pid_t> watched;
  std::vector<std::string> invalid;

  std::uint64_t Failures() const {
    std::uint64_t sum = 0;
    for (const std::uint64_t n : failed) sum += n;
    return sum;
  }
};

}  // namespace bench
