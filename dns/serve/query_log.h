// A sample of the queries for the operator's log: every n-th, through a ring of fixed size, so that
// the workers neither write nor wait. One writer, one reader; what does not fit is counted and left
// out.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <string>

#include "dns/answer/counters.h"
#include "net/base/address.h"

namespace dns {

struct QueryLogEntry {
  net::Address client;
  Transport transport = Transport::kUdp;
  uint16_t type = 0;
  uint16_t rcode = 0;
  uint16_t bytes = 0;
  bool dnssec_ok = false;
  uint8_t name_size = 0;
  std::array<uint8_t, 255> name;
};

class QueryLog {
 public:
  static constexpr size_t kEntries = 256;

  // `every`: 0 logs nothing, 1 everything that fits.
  explicit QueryLog(uint32_t every) : every_(every) {}

  // By the worker: is it this query's turn?
  bool Due() { return every_ != 0 && ++seen_ % every_ == 0; }
  // Space for an entry, or null; Push() hands it over.
  QueryLogEntry* Reserve() {
    size_t head = head_.load(std::memory_order_relaxed);
    if (head - tail_.load(std::memory_order_acquire) == kEntries) {
      lost_.Add();
      return nullptr;
    }
    return &entries_[head % kEntries];
  }
  void Push() { head_.store(head_.load(std::memory_order_relaxed) + 1, std::memory_order_release); }

  // By the control thread. Null when there is nothing more.
  const QueryLogEntry* Front() const {
    size_t tail = tail_.load(std::memory_order_relaxed);
    return head_.load(std::memory_order_acquire) == tail ? nullptr : &entries_[tail % kEntries];
  }
  void Pop() { tail_.store(tail_.load(std::memory_order_relaxed) + 1, std::memory_order_release); }
  uint64_t lost() const { return lost_.Get(); }

 private:
  uint32_t every_;
  uint64_t seen_ = 0;
  Counter lost_;
  alignas(64) std::atomic<size_t> head_{0};
  alignas(64) std::atomic<size_t> tail_{0};
  std::array<QueryLogEntry, kEntries> entries_;
};

// "client=192.0.2.1 transport=udp name=www.example.org. type=A rcode=NOERROR bytes=93 do=0"
std::string ToText(const QueryLogEntry& entry);

}  // namespace dns
