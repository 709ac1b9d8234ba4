// What a worker counts of its clients. Written by the worker alone, read by anyone.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>

#include "net/xmpp/stream_xml.h"

namespace server {

struct ClientCounters {
  using Counter = std::atomic<uint64_t>;
  Counter streams{0};  // opened
  Counter logins{0};
  Counter auth_failed{0};
  Counter auth_limited{0};  // not even tried
  Counter bound{0};
  Counter resumed{0};
  Counter resume_failed{0};
  std::array<Counter, 3> elements_in{};   // by StanzaKind
  std::array<Counter, 3> elements_out{};  //
  Counter throttled{0};
  Counter dead{0};  // clients that did not answer
  std::array<Counter, net::kStreamErrors> stream_errors{};

  static void Add(Counter& counter, uint64_t by = 1) {
    counter.store(counter.load(std::memory_order_relaxed) + by, std::memory_order_relaxed);
  }
};

}  // namespace server
