// A disk that can fail, be full, stall, and lose at a power cut what was not synced. It stands in
// front of the system's calls in the program that it is linked into, for files in one folder.
//
// Any thread.
#pragma once

#include <atomic>
#include <cstdint>
#include <string>

namespace server::test {

struct DiskShim {
  std::string folder;  // whose files are meant; "": none. Set before threads use it
  // Where each file's content lies as it was when it was last synced; "": nowhere.
  std::string synced_folder;
  std::atomic<uint64_t> syncs{0};     // that were good
  std::atomic<int> failing_syncs{0};  // so many of the next ones end with EIO, the data written
  std::atomic<bool> full{false};      // writes that would make a file longer end with ENOSPC
  std::atomic<bool> stalled{false};   // syncs wait until it is false
  std::atomic<int> in_sync{0};        // threads that wait
};
DiskShim& Disk();

}  // namespace server::test
