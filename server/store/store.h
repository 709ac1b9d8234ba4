// What is durable: accounts, rosters, blocking lists, offline messages, archives, vCards, private
// XML, last activity, rooms. One interface over SQLite and PostgreSQL.
//
// Asynchronous: a StoreClient belongs to a loop; every call returns at once and `done` is called on
// that loop, later, in the order in which the calls were made for one user's writes. Bounded: above
// `waiting_max` a call ends with kBusy, and so does a call that nothing was begun for within
// `patience`: a store that stalls holds nobody for ever. A StoreClient that is destroyed calls
// nothing more; what `done` captured may be destroyed on another thread. A read sees all writes
// that were done when it was called, and may see later ones. A read of what one user has sees, too,
// what was asked to be written of that user by the same client before, and waits for it; Load()
// does not, since a login waits for nobody's archive.
//
// "Done" means durable: a write's end comes behind its fsync (SQLite, synchronous=FULL) or COMMIT
// (PostgreSQL). Many writes share one.
#pragma once

#include <array>
#include <cstdint>
#include <expected>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "server/sasl/scram.h"

namespace server {

enum class StoreError : uint8_t {
  kBusy,      // too much waits
  kDown,      // it cannot be reached, is full, or failed; nothing of the call was kept
  kConflict,  // it exists already; it changed since it was read
  kAbsent,
  kUnknown,  // the connection broke during COMMIT, and it could not be found out in time
};
std::string_view ToString(StoreError error);

// --- Rows. Addresses are prepared bare JIDs as text.

struct Account {
  std::array<std::optional<ScramKeys>, kScramHashes> keys;  // by ScramHash
  std::string banned;                                       // the reason; "": not
  int64_t created_s = 0;
};

enum class Subscription : uint8_t { kNone, kTo, kFrom, kBoth, kRemove };

// RFC 6121 section 2.1.2 with what appendix A calls pending.
struct RosterItem {
  std::string jid;
  std::string name;
  std::vector<std::string> groups;
  // kRemove: no item of the roster; the row keeps somebody's request (pending_in) alone.
  Subscription subscription = Subscription::kNone;
  bool ask = false;         // pending out
  bool approved = false;    // pre-approval, section 3.4
  bool pending_in = false;  // not shown in the roster unless something else makes it an item
  std::string request;      // of pending_in: the <presence/>'s content, written XML
  uint64_t version = 0;     // of the roster when it last changed
};

struct LastActivity {
  int64_t seconds = 0;  // since the epoch
  std::string status;
};

// All that a login needs: one round trip.
struct LoadedUser {
  bool exists = false;
  Account account;
  uint64_t roster_version = 0;
  std::vector<RosterItem> roster;
  std::vector<std::string>
      blocked;                // XEP-0191, as they were given: bare, full, domain, domain/resource
  uint32_t offline = 0;       // messages that wait
  std::string archive_prefs;  // XEP-0441 <prefs/>; "": none
};

// A message in an archive (XEP-0313). `id` is microseconds since the epoch << 8 | number of the
// process (server/im/archive_ids.h): ordered by time, unique in the cluster. As text in decimal.
struct ArchiveEntry {
  std::string owner;
  std::string peer;  // bare
  uint64_t id = 0;
  bool outgoing = false;
  std::string origin_id;  // XEP-0359 or the stanza's id; for corrections and duplicates
  std::string xml;        // the whole stanza, with xmlns='jabber:client'
  std::string resource;   // the peer's, for queries `with` a full JID; "": it has none
};

struct OfflineEntry {
  std::string owner;
  uint64_t id = 0;        // made as those of archives, in the order in which they are stored
  int64_t expires_s = 0;  // 0: never
  std::string from;
  std::string xml;
};

// Of what waits, in the order of its ids.
struct OfflinePage {
  std::vector<OfflineEntry> entries;
  bool complete = false;  // nothing lies behind
};

// A room that stays (XEP-0045). What of its row has a column of its own is what lists are made of.
struct StoredAffiliation {
  std::string jid;          // bare
  std::string affiliation;  // the XEP's word; "none": there is no row
  std::string nick;         // reserved; "": none
  std::string reason;
};
struct StoredRoom {
  std::string jid;
  std::string name;
  bool listed = true;
  std::string config;  // <x/> of muc#roomconfig
  std::string subject;
  std::string subject_by;  // a nick
  int64_t subject_us = 0;
  std::string secret;  // of occupant ids (XEP-0421)
  std::vector<StoredAffiliation> affiliations;
};
struct RoomName {
  std::string jid;
  std::string name;
};

// --- Writes. What stands in one WriteBatch is done whole or not at all.

// An account is made once; each part of it is changed by a write of its own, so that two writers
// never put back what the other has changed.
struct CreateAccount {  // with nothing that another account of that name has left; kConflict when
  std::string user;     // it exists
  Account account;
};
struct SetKeys {  // kAbsent when there is no such account, here and below
  std::string user;
  std::array<std::optional<ScramKeys>, kScramHashes> keys;
};
struct SetBanned {
  std::string user;
  std::string reason;  // "": not banned
};
struct RemoveAccount {  // with all that it has; kAbsent when it does not exist
  std::string user;
};
struct PutRosterItem {  // sets the roster's version to the item's
  std::string user;
  RosterItem item;
};
struct RemoveRosterItem {
  std::string user;
  std::string jid;
  uint64_t version = 0;  // of the roster from now on
};
struct SetBlocked {
  std::string user;
  std::string jid;
  bool blocked = true;
};
struct ClearBlocked {
  std::string user;
};
struct AddOffline {
  OfflineEntry entry;
  uint32_t most = 0;  // of the owner's; above it the batch ends with kConflict. 0: no limit
};
// Each by its id: another node may have stored one between them by now.
struct RemoveOffline {
  std::string user;
  std::vector<uint64_t> ids;
};
struct AddArchive {  // kConflict when the owner has an entry with that id
  ArchiveEntry entry;
};
struct PutVcard {
  std::string user;
  std::string xml;  // "": none from now on, here and in the two below
};
struct PutPrivate {
  std::string user;
  std::string name;
  std::string space;
  std::string xml;
  uint32_t most = 0;  // elements of the user's; a new one above ends with kConflict. 0: no limit
};
struct PutLast {  // nothing where there is no such account any more
  std::string user;
  LastActivity last;
};
struct PutArchivePrefs {
  std::string user;
  std::string xml;  // XEP-0441 <prefs/>
};
struct ReplaceArchive {  // kAbsent when the owner has no such entry
  std::string owner;
  uint64_t id = 0;
  std::string xml;
};
struct PutRoom {  // instead of all that there may have been of it, but its archive
  StoredRoom room;
};
struct SetRoomConfig {  // this and the next two: kAbsent when there is no such room
  std::string room;
  std::string name;
  bool listed = true;
  std::string config;
};
struct SetRoomSubject {
  std::string room;
  std::string subject;
  std::string by;
  int64_t time_us = 0;
};
struct SetRoomAffiliation {
  std::string room;
  StoredAffiliation row;
};
struct RemoveRoom {  // with its affiliations and its archive
  std::string room;
};

using StoreWrite =
    std::variant<CreateAccount, SetKeys, SetBanned, RemoveAccount, PutRosterItem, RemoveRosterItem,
                 SetBlocked, ClearBlocked, AddOffline, RemoveOffline, AddArchive, PutVcard,
                 PutPrivate, PutLast, PutArchivePrefs, ReplaceArchive, PutRoom, SetRoomConfig,
                 SetRoomSubject, SetRoomAffiliation, RemoveRoom>;
using WriteBatch = std::vector<StoreWrite>;

// --- Reads.

// Of stanzas no more are read at once: whoever has many of the largest takes them in many pages.
inline constexpr size_t kReadBytesMax = 1024 * 1024;

struct ArchiveQuery {
  std::string owner;
  std::string with;        // "": all; a bare or full JID
  int64_t start_us = 0;    // since the epoch; 0: no bound
  int64_t end_us = 0;      // 0: no bound
  uint64_t after = 0;      // ids, exclusive; 0: no bound
  uint64_t before = 0;     // exclusive; 0: no bound
  bool backwards = false;  // the last page of what is left, still told in order of time
  uint32_t most = 50;      // and kReadBytesMax, but for the first of them
  bool count = false;      // ArchivePage::count is wanted, at its price
};
struct ArchivePage {
  std::vector<ArchiveEntry> entries;
  bool complete = false;  // nothing lies beyond, in the direction of the paging
  std::optional<uint64_t> count;
  bool bound_known = true;  // false: `after` or `before` names no entry of the owner's
};

class StoreClient {
 public:
  template <typename T>
  using Done = std::move_only_function<void(std::expected<T, StoreError>)>;

  virtual ~StoreClient() = default;
  virtual void Load(std::string user, Done<LoadedUser> done) = 0;
  virtual void Write(WriteBatch batch, Done<std::monostate> done) = 0;
  // Those with ids behind `after`: `most` of them, and kReadBytesMax, but for the first.
  virtual void Offline(std::string user, uint64_t after, uint32_t most,
                       Done<OfflinePage> done) = 0;
  virtual void Archive(ArchiveQuery query, Done<ArchivePage> done) = 0;
  virtual void Vcard(std::string user, Done<std::string> done) = 0;  // "": none
  virtual void Private(std::string user, std::string name, std::string space,
                       Done<std::string> done) = 0;                  // "": none
  virtual void Last(std::string user, Done<LastActivity> done) = 0;  // kAbsent
  virtual void ArchivePrefs(std::string user, Done<std::string> done) = 0;
  // For operators: bare JIDs of a domain's accounts in order, `most` of them behind `after`.
  virtual void Accounts(std::string domain, std::string after, uint32_t most,
                        Done<std::vector<std::string>> done) = 0;
  virtual void CountAccounts(std::string domain, Done<uint64_t> done) = 0;
  // Without an address: there is none.
  virtual void Room(std::string room, Done<StoredRoom> done) = 0;
  // Rooms of a service that may be listed, in order of their addresses, `most` of them behind
  // `after`.
  virtual void ListedRooms(std::string service, std::string after, uint32_t most,
                           Done<std::vector<RoomName>> done) = 0;
};

}  // namespace server
