#include "server/store/store_thread.h"

#include <pthread.h>
#include <sys/resource.h>

namespace server {

void BeStoreThread(const char* name, StoreThread kind) {
  pthread_setname_np(pthread_self(), name);
  // On Linux it is this thread's alone, and who lowers it needs no privilege. What the operator
  // gave the whole process counts as well.
  const int given = getpriority(PRIO_PROCESS, 0);
  setpriority(PRIO_PROCESS, 0, given + (kind == StoreThread::kWrite ? 5 : 10));
}

}  // namespace server
