// Bytes that many connections send and nobody changes: a stanza for all who are in a room, a frame
// for all links. Written once, counted, freed by whoever lets go last.
//
// Any thread may copy and drop its own SharedBytes; the bytes are made before the first copy. A
// copy costs one atomic addition, no allocation.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <new>
#include <span>
#include <string_view>
#include <utility>

namespace net {

class SharedBytes {
 public:
  SharedBytes() = default;  // none
  explicit SharedBytes(std::span<const uint8_t> bytes) : block_(Make(bytes.size())) {
    if (!bytes.empty()) std::memcpy(Data(), bytes.data(), bytes.size());
  }
  explicit SharedBytes(std::string_view text)
      : SharedBytes(std::span(reinterpret_cast<const uint8_t*>(text.data()), text.size())) {}
  // `write(std::span<uint8_t>)` fills all `size` bytes in place.
  template <typename Write>
  SharedBytes(size_t size, Write&& write) : block_(Make(size)) {
    write(std::span(Data(), size));
  }
  SharedBytes(const SharedBytes& other) : block_(other.block_) {
    // Whoever copies holds one already, so nothing needs to be ordered.
    if (block_ != nullptr) block_->holders.fetch_add(1, std::memory_order_relaxed);
  }
  SharedBytes(SharedBytes&& other) noexcept : block_(std::exchange(other.block_, nullptr)) {}
  SharedBytes& operator=(SharedBytes other) noexcept {
    std::swap(block_, other.block_);
    return *this;
  }
  ~SharedBytes() {
    // The last one must see what the others did before they let go.
    if (block_ != nullptr && block_->holders.fetch_sub(1, std::memory_order_acq_rel) == 1) {
      block_->~Block();
      ::operator delete(block_);
    }
  }

  size_t size() const { return block_ == nullptr ? 0 : block_->size; }
  bool empty() const { return size() == 0; }
  std::span<const uint8_t> bytes() const {
    if (block_ == nullptr) return {};
    return {reinterpret_cast<const uint8_t*>(block_ + 1), block_->size};
  }
  // How many hold it at the moment; for tests.
  uint32_t holders() const {
    return block_ == nullptr ? 0 : block_->holders.load(std::memory_order_relaxed);
  }

 private:
  struct Block {
    std::atomic<uint32_t> holders{1};
    size_t size;
  };
  static Block* Make(size_t size) {
    if (size == 0) return nullptr;
    return new (::operator new(sizeof(Block) + size)) Block{.size = size};
  }
  uint8_t* Data() { return reinterpret_cast<uint8_t*>(block_ + 1); }

  Block* block_ = nullptr;
};
static_assert(sizeof(SharedBytes) == sizeof(void*));

}  // namespace net
