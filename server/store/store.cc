#include "server/store/store.h"

namespace server {

std::string_view ToString(StoreError error) {
  switch (error) {
    case StoreError::kBusy:
      return "busy";
    case StoreError::kDown:
      return "down";
    case StoreError::kConflict:
      return "conflict";
    case StoreError::kAbsent:
      return "absent";
    case StoreError::kUnknown:
      return "unknown";
  }
  return "";
}

}  // namespace server
