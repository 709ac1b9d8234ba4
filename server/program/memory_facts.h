// What the kernel says of memory: how much this process and its cgroup have, and how much they may.
// What cannot be read is not known; it is never taken for 0.
//
// Reads files, but for MemoryBoundsOf(). One thread.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "net/io/socket.h"
#include "server/program/memory_keeper.h"

namespace server {

// Of the groups that the process is in (cgroup v2, or v1), the one with the least limit.
struct MemoryGroup {
  uint64_t limit = 0;
  std::string folder;  // of its files
  bool second = true;  // version 2
};

struct MemoryFacts {
  std::optional<uint64_t> resident;
  std::optional<uint64_t> machine;
  std::optional<MemoryGroup> group;   // none: none has a limit, or it cannot be read
  std::vector<std::string> warnings;  // of what cannot be read and should, with the remedy
};
// `root`: "" but in tests.
MemoryFacts ReadMemoryFacts(const std::string& root = "");

// `configured`: [limits] memory; 0: "auto", four fifths of the least of machine and group. A
// configured one counts up to nine tenths of that.
MemoryBounds MemoryBoundsOf(uint64_t configured, const MemoryFacts& facts);

// What is looked at again and again. The files stay open.
class MemoryGauge {
 public:
  explicit MemoryGauge(const std::optional<MemoryGroup>& group, const std::string& root = "");
  std::optional<uint64_t> Resident() const;
  // Of all processes of the group, without what the kernel can take back at any time (the cache of
  // files). Dearer, and up to two seconds old.
  std::optional<uint64_t> Group() const;

 private:
  net::UniqueFd statm_;
  net::UniqueFd stat_;
  bool second_ = true;
};

}  // namespace server
