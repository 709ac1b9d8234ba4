// Letters of another node, whatever is in them: no crash, bounded memory, and what is taken is
// written back as it is read; the dealer keeps no more than came.
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "net/base/check.h"
#include "server/im/letter_dealer.h"
#include "server/im/letters.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::span<const uint8_t> rest(data, size);
  while (const auto head = server::ReadLetterHead(rest)) {
    rest = rest.subspan(server::kLetterHeadBytes);
    if (head->size > rest.size()) break;
    const auto body = rest.first(head->size);
    rest = rest.subspan(head->size);
    const auto letter = server::ReadLetter(head->kind, body, 1);
    if (!letter) continue;
    std::vector<uint8_t> once, twice;
    CHECK(server::AppendLetter(once, *letter));
    const auto again =
        server::ReadLetter(head->kind, std::span(once).subspan(server::kLetterHeadBytes), 1);
    CHECK(again.has_value());
    CHECK(server::AppendLetter(twice, *again));
    CHECK(once == twice);
  }
  server::LetterDealer dealer;
  const auto dealt = dealer.Deal({data, size}, 3);
  CHECK(dealt.taken <= size && dealer.kept_bytes() <= dealt.taken);
  return 0;
}
