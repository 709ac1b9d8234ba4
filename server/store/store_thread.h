// The threads of a store that write.
#pragma once

namespace server {

// Beside what carries chat they get less of a busy processor (setpriority(2)).
enum class StoreThread {
  kWrite,  // 5: the more waits for it, the less each write of a transaction costs
  kCopy,   // 10: nobody waits for it
};

// Of the calling thread: its name, of at most 15 characters, and its priority.
void BeStoreThread(const char* name, StoreThread kind);

}  // namespace server
