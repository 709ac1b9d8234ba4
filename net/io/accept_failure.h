// What an operator reads when connections cannot be taken: every listener says it in the same
// words, now and then, and waits for kAcceptPause.
#pragma once

#include <cstring>
#include <string_view>

#include "net/io/errors.h"
#include "net/report/log.h"

namespace net {

// `error` is an errno; `part` as of all lines of a log.
inline void LogAcceptFailure(std::string_view part, std::string_view listener, int error) {
  LOG_EVERY(std::chrono::seconds(10), LogLevel::kWarn, part, "cannot accept; waiting",
            {{"listener", listener},
             {"error", ErrnoName(error)},
             {"reason", std::strerror(error)},
             {"remedy", OurErrorRemedy(error)}});
}

}  // namespace net
