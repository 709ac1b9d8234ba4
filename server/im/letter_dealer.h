// Deals the letters of another node (server/im/letters.h) out to the workers of this one, by their
// heads alone. A content that is shared goes to those who get a parcel that names it, before the
// first of these; who got one hears of its end.
//
// Bounded: it keeps one content, until that ends or another one comes.
//
// One for each relation with a node. Pure. One thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "server/im/letters.h"

namespace server {

class LetterDealer {
 public:
  struct Dealt {
    std::vector<std::vector<uint8_t>> by_worker;
    size_t taken = 0;        // bytes; what follows is of a letter that is not whole
    uint32_t too_large = 0;  // as a letter says it is: the stream ends with it
  };
  // `stream`: what was not taken before, and what came since.
  Dealt Deal(std::span<const uint8_t> stream, size_t workers);
  size_t kept_bytes() const { return content_.size(); }

 private:
  enum class Has : uint8_t { kNothing, kAnother, kThis };

  void DealOne(const LetterHead& head, std::span<const uint8_t> letter, Dealt& dealt);

  std::vector<uint8_t> content_;  // the letter with it
  std::vector<Has> has_;          // by worker
};

}  // namespace server
