// CHECK: for what must hold in our own code, whatever peers and operators do. A failed CHECK is a
// bug of ours: it prints where and what, and aborts. Never for input, never for resources.
// DCHECK costs nothing in release builds; use it on the data path.
#pragma once

#include <cstdio>
#include <cstdlib>

namespace net {

[[noreturn]] inline void CheckFailed(const char* file, int line, const char* what) {
  std::fprintf(stderr, "<2>CHECK failed at %s:%d: %s\n", file, line, what);
  std::abort();
}

}  // namespace net

#define CHECK(condition) \
  (__builtin_expect(!(condition), 0) ? ::net::CheckFailed(__FILE__, __LINE__, #condition) : void())

#ifdef MONGOOSE_DEBUG
#define DCHECK(condition) CHECK(condition)
#else
#define DCHECK(condition) static_cast<void>(sizeof(!(condition)))
#endif
