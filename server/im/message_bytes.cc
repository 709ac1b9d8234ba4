#include "server/im/message_bytes.h"

#include <atomic>

namespace server {
namespace {

std::atomic<uint64_t>& Sum() {
  static std::atomic<uint64_t> sum{0};
  return sum;
}

std::atomic<bool>& Short() {
  static std::atomic<bool> is_short{false};
  return is_short;
}

}  // namespace

bool MemoryIsShort() { return Short().load(std::memory_order_relaxed); }

void SetMemoryIsShort(bool is_short) { Short().store(is_short, std::memory_order_relaxed); }

uint64_t MessageBytes() { return Sum().load(std::memory_order_relaxed); }

CountedBytes::CountedBytes(size_t bytes) : bytes_(bytes) {
  Sum().fetch_add(bytes_, std::memory_order_relaxed);
}

CountedBytes::~CountedBytes() {
  if (bytes_ != 0) Sum().fetch_sub(bytes_, std::memory_order_relaxed);
}

std::shared_ptr<const std::string> CountedContent(std::string content) {
  struct Counted {
    explicit Counted(std::string text) : content(std::move(text)), bytes(content.size()) {}
    const std::string content;
    CountedBytes bytes;
  };
  const auto counted = std::make_shared<const Counted>(std::move(content));
  return {counted, &counted->content};
}

std::shared_ptr<const std::string> ContentOf(StanzaKind kind, std::string content) {
  return kind == StanzaKind::kPresence ? std::make_shared<const std::string>(std::move(content))
                                       : CountedContent(std::move(content));
}

}  // namespace server
