// What this process holds of stanzas that are under way: their contents, from when they come until
// nobody needs them any more, delivered, durable or gone back. Contents are shared: each counts
// once, however many sessions wait for it, and wherever it is (a home, a mailbox, the store's
// queue).
//
// Any thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>

#include "server/im/parcel.h"

namespace server {

uint64_t MessageBytes();

// The process is short of memory: what a session did not take is not given to each of the user's
// other sessions, which would be a copy for each; it goes by way of the store, to one of them.
bool MemoryIsShort();
void SetMemoryIsShort(bool is_short);

// So many of them, as long as this lives.
class CountedBytes {
 public:
  explicit CountedBytes(size_t bytes);
  ~CountedBytes();
  CountedBytes(CountedBytes&& other) noexcept : bytes_(std::exchange(other.bytes_, 0)) {}
  CountedBytes& operator=(CountedBytes&&) = delete;

 private:
  size_t bytes_;
};

// Counted until the last who shares it has let go.
std::shared_ptr<const std::string> CountedContent(std::string content);
// A parcel's: counted, but for presence, which is kept for as long as its session has it, and is
// not under way then.
std::shared_ptr<const std::string> ContentOf(StanzaKind kind, std::string content);

}  // namespace server
