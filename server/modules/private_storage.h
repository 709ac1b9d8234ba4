// Private XML storage (XEP-0049): what a client keeps for its account's other clients.
#pragma once

#include "server/im/iq.h"

namespace server {

struct PrivateStorageOptions {
  bool enabled = true;
  size_t element_bytes_max = 64 * 1024;  // <policy-violation/> above
  uint32_t elements_max = 100;           // of an account; <not-allowed/> above
};
inline constexpr size_t kPrivateElementsMax = 16;  // of one request

void AddPrivateStorage(IqTable& table, ModuleGround& ground, const PrivateStorageOptions& options);

}  // namespace server
