// On which processors the workers stand, so that a connection is served where its packets arrive: a
// listening socket of each worker takes those of its own processor (SO_INCOMING_CPU in a group of
// SO_REUSEPORT), and no packet wakes a thread on another one.
//
// Where the network hands all packets to one processor this would hand all connections to one
// worker, so `auto` is off unless every interface can deliver to each of them. Where the queues'
// interrupts go it does not know, nor what else runs on these processors: it is for operators to
// choose. Start only; reads /sys.
#pragma once

#include <string>
#include <vector>

#include "lb/config/config.h"

namespace lb {

// The processor of each worker, or none: then the workers are not pinned, and the kernel spreads
// connections by a hash of their addresses. `cpus`: those that the process may use.
std::vector<int> WorkerCpus(FollowPackets follow, size_t workers, const std::vector<int>& cpus,
                            const std::string& net_folder = "/sys/class/net");
std::vector<int> AllowedCpus();

// Each interface that carries packets, but loopback, has as many receive queues as there are
// processors, or spreads what it receives over all of them (RPS). The loopback interface delivers
// where the sender runs.
bool PacketsReachAll(const std::vector<int>& cpus, const std::string& net_folder);

}  // namespace lb
