// A UUID of version 4 (RFC 4122 section 4.4), from the system's randomness. Thread-safe.
#pragma once

#include <string>

namespace server {

std::string RandomId();

}  // namespace server
