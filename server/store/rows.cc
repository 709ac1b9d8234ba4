#include "server/store/rows.h"

#include <charconv>

#include "net/base/base64.h"
#include "net/base/check.h"

namespace server {
namespace {

constexpr char kGroupEnd = '\x1f';

constexpr size_t kKeysBytes = 512;

size_t Bytes(const CreateAccount& w) {
  return w.user.size() + w.account.banned.size() + kKeysBytes;
}
size_t Bytes(const SetKeys& w) { return w.user.size() + kKeysBytes; }
size_t Bytes(const SetBanned& w) { return w.user.size() + w.reason.size(); }
size_t Bytes(const RemoveAccount& w) { return w.user.size(); }
size_t Bytes(const PutRosterItem& w) {
  size_t bytes = w.user.size() + w.item.jid.size() + w.item.name.size() + w.item.request.size();
  for (const std::string& group : w.item.groups) bytes += group.size() + sizeof(group);
  return bytes;
}
size_t Bytes(const RemoveRosterItem& w) { return w.user.size() + w.jid.size(); }
size_t Bytes(const SetBlocked& w) { return w.user.size() + w.jid.size(); }
size_t Bytes(const ClearBlocked& w) { return w.user.size(); }
size_t Bytes(const AddOffline& w) {
  return w.entry.owner.size() + w.entry.from.size() + w.entry.xml.size();
}
size_t Bytes(const RemoveOffline& w) { return w.user.size() + w.ids.size() * sizeof(w.ids[0]); }
size_t Bytes(const AddArchive& w) {
  return w.entry.owner.size() + w.entry.peer.size() + w.entry.resource.size() +
         w.entry.origin_id.size() + w.entry.xml.size();
}
size_t Bytes(const PutVcard& w) { return w.user.size() + w.xml.size(); }
size_t Bytes(const PutPrivate& w) {
  return w.user.size() + w.name.size() + w.space.size() + w.xml.size();
}
size_t Bytes(const PutLast& w) { return w.user.size() + w.last.status.size(); }
size_t Bytes(const PutArchivePrefs& w) { return w.user.size() + w.xml.size(); }
size_t Bytes(const ReplaceArchive& w) { return w.owner.size() + w.xml.size(); }
size_t Bytes(const StoredAffiliation& row) {
  return row.jid.size() + row.affiliation.size() + row.nick.size() + row.reason.size();
}
size_t Bytes(const PutRoom& w) {
  const StoredRoom& room = w.room;
  size_t bytes = room.jid.size() + room.name.size() + room.config.size() + room.subject.size() +
                 room.subject_by.size() + room.secret.size();
  for (const StoredAffiliation& row : room.affiliations) bytes += Bytes(row) + sizeof(row);
  return bytes;
}
size_t Bytes(const SetRoomConfig& w) { return w.room.size() + w.name.size() + w.config.size(); }
size_t Bytes(const SetRoomSubject& w) { return w.room.size() + w.subject.size() + w.by.size(); }
size_t Bytes(const SetRoomAffiliation& w) { return w.room.size() + Bytes(w.row); }
size_t Bytes(const RemoveRoom& w) { return w.room.size(); }

}  // namespace

std::string ScramColumn(const std::optional<ScramKeys>& keys) {
  if (!keys) return {};
  return std::to_string(keys->iterations) + ":" + net::Base64Encode(keys->salt) + "$" +
         net::Base64Encode(keys->stored_key) + ":" + net::Base64Encode(keys->server_key);
}

std::optional<ScramKeys> ReadScramColumn(std::string_view column) {
  const size_t salt_at = column.find(':');
  const size_t stored_at = column.find('$');
  const size_t server_at = column.rfind(':');
  if (salt_at == std::string_view::npos || stored_at == std::string_view::npos ||
      stored_at < salt_at || server_at < stored_at) {
    return std::nullopt;
  }
  ScramKeys keys;
  const char* end = column.data() + salt_at;
  const auto number = std::from_chars(column.data(), end, keys.iterations);
  if (number.ec != std::errc() || number.ptr != end || keys.iterations == 0) return std::nullopt;
  auto salt = net::Base64Decode(column.substr(salt_at + 1, stored_at - salt_at - 1));
  auto stored = net::Base64Decode(column.substr(stored_at + 1, server_at - stored_at - 1));
  auto server = net::Base64Decode(column.substr(server_at + 1));
  if (!salt || !stored || !server) return std::nullopt;
  keys.salt = std::move(*salt);
  keys.stored_key = std::move(*stored);
  keys.server_key = std::move(*server);
  return keys;
}

std::string GroupsColumn(const std::vector<std::string>& groups) {
  std::string column;
  for (const std::string& group : groups) {
    column += group;
    column += kGroupEnd;
  }
  return column;
}

std::vector<std::string> ReadGroupsColumn(std::string_view column) {
  std::vector<std::string> groups;
  while (!column.empty()) {
    const size_t end = std::min(column.find(kGroupEnd), column.size());
    groups.emplace_back(column.substr(0, end));
    column.remove_prefix(std::min(end + 1, column.size()));
  }
  return groups;
}

std::string_view SubscriptionColumn(Subscription subscription) {
  switch (subscription) {
    case Subscription::kNone:
      return "N";
    case Subscription::kTo:
      return "T";
    case Subscription::kFrom:
      return "F";
    case Subscription::kBoth:
      return "B";
    case Subscription::kRemove:
      return "R";  // no item: somebody's request alone
  }
  CHECK(false);
}

Subscription ReadSubscriptionColumn(std::string_view column) {
  if (column == "T") return Subscription::kTo;
  if (column == "F") return Subscription::kFrom;
  if (column == "B") return Subscription::kBoth;
  if (column == "R") return Subscription::kRemove;
  return Subscription::kNone;
}

SplitJid SplitResource(std::string_view jid) {
  const size_t slash = jid.find('/');
  if (slash == std::string_view::npos) return {jid, {}};
  return {jid.substr(0, slash), jid.substr(slash + 1)};
}

std::string_view DomainOf(std::string_view bare_jid) {
  const size_t at = bare_jid.find('@');
  return at == std::string_view::npos ? bare_jid : bare_jid.substr(at + 1);
}

const std::string& OwnerOf(const StoreWrite& write) {
  return std::visit(
      [](const auto& w) -> const std::string& {
        if constexpr (requires { w.user; }) {
          return w.user;
        } else if constexpr (requires { w.owner; }) {
          return w.owner;
        } else if constexpr (requires { w.entry; }) {
          return w.entry.owner;
        } else if constexpr (requires { w.room.jid; }) {
          return w.room.jid;
        } else {
          return w.room;
        }
      },
      write);
}

size_t BatchBytes(const WriteBatch& batch) {
  size_t bytes = sizeof(batch);
  for (const StoreWrite& write : batch) {
    bytes += sizeof(write) + std::visit([](const auto& w) { return Bytes(w); }, write);
  }
  return bytes;
}

}  // namespace server
