#include "server/im/letter_dealer.h"

#include <utility>

#include "net/base/byte_writer.h"

namespace server {

LetterDealer::Dealt LetterDealer::Deal(std::span<const uint8_t> stream, size_t workers) {
  Dealt dealt{.by_worker = std::vector<std::vector<uint8_t>>(workers)};
  has_.resize(workers);
  std::span<const uint8_t> rest = stream;
  while (const auto head = ReadLetterHead(rest)) {
    if (head->size > kLetterBytesMax) {
      dealt.too_large = head->size;
      break;
    }
    const size_t size = kLetterHeadBytes + head->size;
    if (rest.size() < size) break;
    DealOne(*head, rest.first(size), dealt);
    rest = rest.subspan(size);
  }
  dealt.taken = stream.size() - rest.size();
  return dealt;
}

void LetterDealer::DealOne(const LetterHead& head, std::span<const uint8_t> letter, Dealt& dealt) {
  if (head.kind == LetterKind::kContent) {
    content_.assign(letter.begin(), letter.end());
    for (Has& has : has_) {
      if (has == Has::kThis) has = Has::kAnother;
    }
    return;
  }
  if (head.kind == LetterKind::kContentEnd) {
    content_ = std::vector<uint8_t>();  // its memory goes, too
    for (size_t worker = 0; worker < has_.size(); ++worker) {
      if (std::exchange(has_[worker], Has::kNothing) == Has::kNothing) continue;
      net::AppendBytes(&dealt.by_worker[worker], letter);
    }
    return;
  }
  const size_t workers = dealt.by_worker.size();
  const size_t worker =
      head.for_home() ? head.for_whom % workers : static_cast<size_t>(head.for_whom);
  if (worker >= workers) return;
  std::vector<uint8_t>& share = dealt.by_worker[worker];
  if (head.kind == LetterKind::kRouteShared && !content_.empty() && has_[worker] != Has::kThis) {
    net::AppendBytes(&share, content_);
    has_[worker] = Has::kThis;
  }
  net::AppendBytes(&share, letter);
}

}  // namespace server
