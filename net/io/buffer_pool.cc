#include "net/io/buffer_pool.h"

#include <sys/mman.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace net {

BufferPool::BufferPool(Ring& ring, const Options& options)
    : ring_(ring),
      group_(options.group),
      buffer_bytes_(options.buffer_bytes),
      maximum_(options.maximum),
      large_group_(options.large_group),
      large_bytes_(options.large_bytes),
      large_(options.large) {}

std::expected<std::unique_ptr<BufferPool>, std::string> BufferPool::Create(Ring& ring,
                                                                           const Options& options) {
  CHECK(options.buffer_bytes > 0 && options.buffer_bytes <= 65'535);
  CHECK(options.initial > 0 && options.initial <= options.maximum && options.maximum <= 32'768);
  CHECK(options.large_bytes <= 65'535 && options.large < 32'768);
  std::unique_ptr<BufferPool> pool(new BufferPool(ring, options));
  uint32_t entries = 1;
  while (entries < options.maximum) entries *= 2;
  if (auto registered = ring.RegisterBuffers(options.group, entries); !registered) {
    return std::unexpected(registered.error());
  }
  pool->registered_ = true;
  if (options.large > 0) {
    if (auto registered = ring.RegisterBuffers(options.large_group, options.large); !registered) {
      return std::unexpected(registered.error());
    }
    pool->large_registered_ = true;
  }
  // One mapping: the buffers, then the two side tables. Untouched pages cost nothing.
  const size_t small = size_t{options.maximum} * options.buffer_bytes;
  const size_t data = (small + size_t{options.large} * options.large_bytes + 63) & ~size_t{63};
  const size_t ids = size_t{options.maximum} + options.large;
  pool->mapped_ = data + ids * 2 * sizeof(uint16_t);
  void* memory = mmap(nullptr, pool->mapped_, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) {
    return std::unexpected("mmap of " + std::to_string(pool->mapped_) +
                           " bytes of buffers: " + std::strerror(errno) +
                           "; lower process.buffers or process.buffer_bytes");
  }
  pool->memory_ = static_cast<uint8_t*>(memory);
  pool->large_memory_ = pool->memory_ + small;
  pool->length_ = reinterpret_cast<uint16_t*>(pool->memory_ + data);
  pool->next_ = pool->length_ + ids;
  // The first buffers will be used in any case: their pages are taken now, not on the data path.
  madvise(memory, size_t{options.initial} * options.buffer_bytes, MADV_POPULATE_WRITE);
  while (pool->provided_ < options.initial) {
    pool->Give(static_cast<uint16_t>(pool->provided_++));
  }
  for (uint32_t i = 0; i < options.large; ++i) {
    pool->Give(static_cast<uint16_t>(options.maximum + i));
  }
  pool->Publish();
  return pool;
}

BufferPool::~BufferPool() {
  if (registered_) ring_.UnregisterBuffers(group_);
  if (large_registered_) ring_.UnregisterBuffers(large_group_);
  if (memory_ != nullptr) munmap(memory_, mapped_);
}

void BufferPool::Grow() {
  uint32_t until = std::min(maximum_, provided_ * 2);
  while (provided_ < until) Give(static_cast<uint16_t>(provided_++));
}

}  // namespace net
