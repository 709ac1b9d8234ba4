#include "dns/answer/publisher.h"

#include <algorithm>
#include <utility>

namespace dns {

Publisher::Publisher(std::shared_ptr<const Generation> first)
    : current_(first.get()), owner_(std::move(first)) {}

Publisher::Reader* Publisher::AddReader() {
  readers_.push_back(std::make_unique<Reader>(*this));
  return readers_.back().get();
}

void Publisher::RemoveReader(Reader* reader) {
  std::erase_if(readers_, [&](const auto& owned) { return owned.get() == reader; });
}

void Publisher::Publish(std::shared_ptr<const Generation> next) {
  current_.store(next.get(), std::memory_order_seq_cst);
  retired_.push_back(std::exchange(owner_, std::move(next)));
  Collect();
}

void Publisher::Collect() {
  std::erase_if(retired_, [&](const std::shared_ptr<const Generation>& generation) {
    return std::ranges::none_of(readers_, [&](const auto& reader) {
      return reader->held_.load(std::memory_order_seq_cst) == generation.get();
    });
  });
}

}  // namespace dns
