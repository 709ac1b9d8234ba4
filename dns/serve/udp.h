// What both engines of a UDP worker keep to.
#pragma once

#include <chrono>

namespace dns {

// Datagrams of one turn. More costs memory and the latency of the first; fewer, system calls.
inline constexpr int kUdpBatch = 64;

// How long a worker that is told to stop may still be asleep.
inline constexpr std::chrono::milliseconds kWakeInterval{250};

}  // namespace dns
