// What an operator reads when something of this machine was missing, a port, a descriptor or
// memory, for a connection: now and then, with the remedy. Nobody else is to blame for it.
#pragma once

#include <string_view>

#include "lb/proxy/runtime.h"
#include "net/io/errors.h"
#include "net/report/log.h"

namespace lb {

inline void LogNoConnect(const Node& node, int error) {
  LOG_EVERY(std::chrono::seconds(10), net::LogLevel::kWarn, "lb",
            "cannot connect, for want of something of ours",
            {{"pool", node.pool},
             {"node", node.name},
             {"reason", net::ErrnoName(error)},
             {"remedy", net::OurErrorRemedy(error)}});
}

// One that was there already, or came in.
inline void LogCutShort(int error) {
  LOG_EVERY(std::chrono::seconds(10), net::LogLevel::kWarn, "lb",
            "a connection ends, for want of something of ours",
            {{"reason", net::ErrnoName(error)}, {"remedy", net::OurErrorRemedy(error)}});
}

}  // namespace lb
