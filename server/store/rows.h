// How values that are no text or number of SQL's stand in columns. The same in all stores, so that
// rows can be copied from one into another, and readable by whoever looks into a table.
//
// Pure; thread-safe.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "server/sasl/scram.h"
#include "server/store/store.h"

namespace server {

// As RFC 5803 has it behind the name of the scheme: iterations ":" salt "$" stored ":" server key,
// in Base64. "": no keys.
std::string ScramColumn(const std::optional<ScramKeys>& keys);
// Nothing where the column is empty or damaged: then nobody can log in with it.
std::optional<ScramKeys> ReadScramColumn(std::string_view column);

// Each name ends with U+001F, which no XML can hold.
std::string GroupsColumn(const std::vector<std::string>& groups);
std::vector<std::string> ReadGroupsColumn(std::string_view column);

// One letter, as ejabberd and MongooseIM write it: N, T, F, B.
std::string_view SubscriptionColumn(Subscription subscription);
Subscription ReadSubscriptionColumn(std::string_view column);

// What ids mean: microseconds since the epoch << 8 | number of the node.
inline constexpr int kArchiveIdNodeBits = 8;
constexpr uint64_t FirstArchiveId(int64_t us) {
  return us <= 0 ? 0 : static_cast<uint64_t>(us) << kArchiveIdNodeBits;
}
constexpr uint64_t LastArchiveId(int64_t us) {
  return FirstArchiveId(us) | ((uint64_t{1} << kArchiveIdNodeBits) - 1);
}

struct SplitJid {
  std::string_view bare;
  std::string_view resource;
};
SplitJid SplitResource(std::string_view jid);
std::string_view DomainOf(std::string_view bare_jid);

// Whose data it changes.
const std::string& OwnerOf(const StoreWrite& write);
// What a batch weighs in a queue, about.
size_t BatchBytes(const WriteBatch& batch);

}  // namespace server
