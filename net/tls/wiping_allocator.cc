#include "net/tls/wiping_allocator.h"

#include <malloc.h>
#include <openssl/crypto.h>
#include <strings.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>

namespace net {

namespace {

bool g_installed = false;

void* Allocate(size_t size, const char*, int) { return std::malloc(size); }

void Free(void* block, const char*, int) {
  if (block == nullptr) return;
  explicit_bzero(block, malloc_usable_size(block));
  std::free(block);
}

// realloc() may move a block and leave the old one unwiped, so a block always moves by hand.
void* Reallocate(void* block, size_t size, const char* file, int line) {
  if (block == nullptr) return std::malloc(size);
  if (size == 0) {
    Free(block, file, line);
    return nullptr;
  }
  size_t usable = malloc_usable_size(block);
  if (size <= usable && size >= usable / 2) return block;
  void* moved = std::malloc(size);
  if (moved == nullptr) return nullptr;
  std::memcpy(moved, block, std::min(usable, size));
  Free(block, file, line);
  return moved;
}

}  // namespace

bool InstallWipingAllocator() {
  if (!g_installed) g_installed = CRYPTO_set_mem_functions(Allocate, Reallocate, Free) == 1;
  return g_installed;
}

bool WipingAllocatorInstalled() { return g_installed; }

}  // namespace net
