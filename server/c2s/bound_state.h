// A BoundSession between two places: as values, and as bytes for another node.
//
// Pure; bounded by what a session may have, and by its bytes.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "server/c2s/bound_session.h"

namespace server {

struct BoundState {
  Jid full;
  std::string secret;
  UnackedQueue unacked;
  SettledCount settled;
  std::vector<UnackedQueue::Item> held;
  std::vector<SessionDebt> debts;
  uint32_t answer_at = 0;
  bool owes_answer = false;
  bool asked = false;
  bool managed = false;
  bool active = true;

  // Whose ends a home of this node waits for.
  std::vector<uint64_t> Tickets() const;

  // Numbers of nodes are each node's own: a home whose ticket it is goes by its name, 0 among them.
  // A home that the one side or the other does not know any more waits for nothing.
  // `version`: of letters, as the reader speaks; before kLettersWithDebts it hears of no debts, and
  // the session goes on without them.
  std::string ToBytes(const std::function<std::string(uint16_t node)>& name_of,
                      uint8_t version) const;
  static std::optional<BoundState> Parse(
      std::string_view bytes,
      const std::function<std::optional<uint16_t>(const std::string& name)>& number_of);
};

}  // namespace server
