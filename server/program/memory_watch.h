// Whether the node has memory left: what it takes, what it may take, and how near it is.
//
//   kEnough   below 80 % of the bound (or below 90 %, on the way up)
//   kShort    above 90 %: who may come back goes, new sessions are refused
//   kFull     above 97 %: new streams are refused as well
//
// Looked at once a second, on the node's thread. Pure but for the files that it reads.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "server/c2s/client_stream.h"

namespace server {

// What the kernel says of this process: its own bound (cgroup v2, then v1), and the machine's.
struct MemoryFacts {
  uint64_t resident = 0;
  uint64_t machine = 0;  // 0: not known
  uint64_t cgroup = 0;   // 0: none
};
// `root`: "" but in tests.
MemoryFacts ReadMemoryFacts(const std::string& root = "");

// Of [limits] memory; 0: "auto", four fifths of the least that there is. 0: nothing is known.
uint64_t MemoryBound(uint64_t configured, const MemoryFacts& facts);

class MemoryWatch {
 public:
  explicit MemoryWatch(uint64_t bound) : bound_(bound) {}
  // Where it stands now.
  MemoryPressure Look(uint64_t resident);

  uint64_t bound() const { return bound_; }
  uint64_t resident() const { return resident_; }
  MemoryPressure pressure() const { return pressure_; }

 private:
  const uint64_t bound_;
  uint64_t resident_ = 0;
  MemoryPressure pressure_ = MemoryPressure::kEnough;
};

}  // namespace server
