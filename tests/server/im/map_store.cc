#include "tests/server/im/map_store.h"

namespace server {
namespace {

template <typename... Cases>
struct Overloaded : Cases... {
  using Cases::operator()...;
};

}  // namespace

LoadedUser MapStore::Read(const std::string& user) const {
  LoadedUser loaded;
  const auto found = users.find(user);
  if (found == users.end()) return loaded;
  const Rows& rows = found->second;
  loaded.exists = true;
  loaded.account = rows.account;
  loaded.roster_version = rows.version;
  for (const auto& [jid, item] : rows.roster) loaded.roster.push_back(item);
  loaded.blocked = rows.blocked;
  loaded.archive_prefs = rows.archive_prefs;
  loaded.offline = static_cast<uint32_t>(rows.offline.size());
  return loaded;
}

std::expected<std::monostate, StoreError> MapStore::Apply(const WriteBatch& batch) {
  for (const StoreWrite& write : batch) {
    const auto* add = std::get_if<AddOffline>(&write);
    if (add == nullptr || add->most == 0) continue;
    if (users[add->entry.owner].offline.size() >= add->most) {
      return std::unexpected(StoreError::kConflict);
    }
  }
  for (const StoreWrite& write : batch) ApplyOne(write);
  return std::monostate();
}

void MapStore::ApplyOne(const StoreWrite& write) {
  std::visit(
      Overloaded{
          [&](const PutAccount& put) { users[put.user].account = put.account; },
          [&](const RemoveAccount& remove) { users.erase(remove.user); },
          [&](const PutRosterItem& put) {
            users[put.user].roster[put.item.jid] = put.item;
            users[put.user].version = put.item.version;
          },
          [&](const RemoveRosterItem& remove) {
            users[remove.user].roster.erase(remove.jid);
            users[remove.user].version = remove.version;
          },
          [&](const SetBlocked& set) {
            auto& blocked = users[set.user].blocked;
            std::erase(blocked, set.jid);
            if (set.blocked) blocked.push_back(set.jid);
          },
          [&](const ClearBlocked& clear) { users[clear.user].blocked.clear(); },
          [&](const AddOffline& add) { users[add.entry.owner].offline[add.entry.id] = add.entry; },
          [&](const RemoveOffline& remove) {
            auto& offline = users[remove.user].offline;
            offline.erase(offline.begin(), offline.upper_bound(remove.up_to));
          },
          [&](const AddArchive& add) { users[add.entry.owner].archive[add.entry.id] = add.entry; },
          [&](const PutVcard& put) { users[put.user].vcard = put.xml; },
          [&](const PutPrivate&) {},
          [&](const PutLast& put) { users[put.user].last = put.last; },
          [&](const PutArchivePrefs& put) { users[put.user].archive_prefs = put.xml; },
      },
      write);
}

}  // namespace server
