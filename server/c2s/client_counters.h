// What a worker counts of its clients. Written by the worker alone, read by anyone.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>

#include "net/xmpp/stream_xml.h"

namespace server {

struct ClientCounters {
  using Counter = std::atomic<uint64_t>;
  // Of each domain, in the order in which they are served.
  static constexpr size_t kHostsMax = 64;
  struct Host {
    Counter auth_failed{0};
    Counter bound{0};
    std::array<Counter, 3> in{};   // by StanzaKind
    std::array<Counter, 3> out{};  //
  };
  std::array<Host, kHostsMax> hosts{};
  Counter streams{0};  // opened
  Counter logins{0};
  Counter auth_limited{0};  // not even tried
  Counter resumed{0};
  Counter resume_failed{0};
  // Refused for want of memory.
  Counter streams_shed{0};
  Counter bindings_shed{0};
  Counter stanzas_shed{0};
  Counter throttled{0};
  Counter dead{0};  // clients that did not answer
  std::array<Counter, net::kStreamErrors> stream_errors{};

  static void Add(Counter& counter, uint64_t by = 1) {
    counter.store(counter.load(std::memory_order_relaxed) + by, std::memory_order_relaxed);
  }
};

}  // namespace server
