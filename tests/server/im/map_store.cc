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
    const auto* archive = std::get_if<AddArchive>(&write);
    if (archive != nullptr && users[archive->entry.owner].archive.contains(archive->entry.id)) {
      return std::unexpected(StoreError::kConflict);
    }
    const auto* add = std::get_if<AddOffline>(&write);
    if (add == nullptr || add->most == 0) continue;
    if (users[add->entry.owner].offline.size() >= add->most) {
      return std::unexpected(StoreError::kConflict);
    }
  }
  for (const StoreWrite& write : batch) {
    if (const auto fault = Fault(write)) return std::unexpected(*fault);
  }
  for (const StoreWrite& write : batch) ApplyOne(write);
  return std::monostate();
}

// What a batch as a whole ends with when this of it changes nothing.
std::optional<StoreError> MapStore::Fault(const StoreWrite& write) const {
  const auto room = [this](const std::string& name) {
    return rooms.contains(name) ? std::nullopt : std::optional(StoreError::kAbsent);
  };
  if (const auto* set = std::get_if<SetRoomConfig>(&write)) return room(set->room);
  if (const auto* set = std::get_if<SetRoomSubject>(&write)) return room(set->room);
  if (const auto* put = std::get_if<ReplaceArchive>(&write)) {
    const auto owner = users.find(put->owner);
    const bool there = owner != users.end() && owner->second.archive.contains(put->id);
    return there ? std::nullopt : std::optional(StoreError::kAbsent);
  }
  return std::nullopt;
}

void MapStore::ApplyOne(const SetRoomAffiliation& set) {
  const auto at = rooms.find(set.room);
  if (at == rooms.end()) return;
  auto& rows = at->second.affiliations;
  std::erase_if(rows, [&](const StoredAffiliation& row) { return row.jid == set.row.jid; });
  if (set.row.affiliation != "none") rows.push_back(set.row);
}

void MapStore::ApplyOne(const StoreWrite& write) {
  std::visit(
      Overloaded{
          [&](const CreateAccount& create) { users[create.user].account = create.account; },
          [&](const SetKeys& set) { users[set.user].account.keys = set.keys; },
          [&](const SetBanned& set) { users[set.user].account.banned = set.reason; },
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
            for (const uint64_t id : remove.ids) offline.erase(id);
          },
          [&](const AddArchive& add) { users[add.entry.owner].archive[add.entry.id] = add.entry; },
          [&](const PutVcard& put) { users[put.user].vcard = put.xml; },
          [&](const PutPrivate&) {},
          [&](const PutLast& put) {
            const auto user = users.find(put.user);
            if (user != users.end()) user->second.last = put.last;
          },
          [&](const PutArchivePrefs& put) { users[put.user].archive_prefs = put.xml; },
          [&](const ReplaceArchive& put) { users[put.owner].archive[put.id].xml = put.xml; },
          [&](const PutRoom& put) { rooms[put.room.jid] = put.room; },
          [&](const SetRoomConfig& set) {
            StoredRoom& room = rooms[set.room];
            room.name = set.name;
            room.listed = set.listed;
            room.config = set.config;
          },
          [&](const SetRoomSubject& set) {
            StoredRoom& room = rooms[set.room];
            room.subject = set.subject;
            room.subject_by = set.by;
            room.subject_us = set.time_us;
          },
          [&](const SetRoomAffiliation& set) { ApplyOne(set); },
          [&](const RemoveRoom& remove) {
            rooms.erase(remove.room);
            users.erase(remove.room);
          },
      },
      write);
}

}  // namespace server
