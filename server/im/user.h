// What a home keeps in memory of a user and of each of the user's sessions. Packed: of most users
// this is all that an idle session costs here.
#pragma once

#include <algorithm>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "net/base/clock.h"
#include "server/im/archive_prefs.h"
#include "server/im/block_list.h"
#include "server/im/contacts.h"
#include "server/im/moved_session.h"
#include "server/im/parcel.h"
#include "server/store/store.h"
#include "server/xmpp/jid.h"

namespace server {

struct HomeSession : SessionAtHome {
  bool ending : 1 = false;  // lost something already; its end is on its way
  // The content of its last presence while it is available; null: it has none.
  std::shared_ptr<const std::string> presence;
  // Who has its presence because it was sent to them alone (RFC 6121 section 4.6).
  std::unique_ptr<std::vector<std::string>> directed;
  // As which it was known before it was resumed elsewhere: what it sent there may be under way.
  std::vector<SessionId> before;
};

struct User;
// With the user, or with none where the store fails (kBusy, kDown) or has no such account
// (kAbsent).
using UserAction = std::move_only_function<void(User* user, StoreError error)>;

struct User {
  explicit User(Jid bare) : jid(std::move(bare)) {}

  HomeSession* Find(const SessionId& id) {
    for (HomeSession& session : sessions) {
      if (session.id == id) return &session;
    }
    return nullptr;
  }
  // Also by what it was known as before it moved.
  HomeSession* FindSender(const SessionId& id) {
    for (HomeSession& session : sessions) {
      if (session.id == id || std::ranges::find(session.before, id) != session.before.end()) {
        return &session;
      }
    }
    return nullptr;
  }
  // One that still takes something.
  HomeSession* FindResource(std::string_view resource) {
    for (HomeSession& session : sessions) {
      if (session.resource == resource && !session.ending) return &session;
    }
    return nullptr;
  }
  // XEP-0191; never the user's own sessions, nor the server that answers for the account.
  bool Blocks(const Jid& other) const {
    if (blocked.addresses().empty() || other.bare() == jid.full()) return false;
    return other != Jid::OfPrepared(std::string(jid.domain())) && blocked.Blocks(other);
  }
  // XEP-0441, as the store has it.
  void SetArchivePrefs(std::string_view xml) {
    const auto prefs = ParseArchivePrefs(xml, ArchiveDefault::kAlways);
    archive_prefs = xml.empty() || !prefs ? nullptr : std::make_unique<ArchivePrefs>(*prefs);
  }
  Jid FullOf(const HomeSession& session) const {
    std::string full = jid.full();
    (full += '/') += session.resource;
    return Jid::OfPrepared(std::move(full));
  }

  const Jid jid;  // bare
  Contacts contacts;
  BlockList blocked;
  std::unique_ptr<ArchivePrefs> archive_prefs;  // null: what holds for all (HomeOptions)
  std::vector<HomeSession> sessions;            // in the order of their binding
  uint64_t roster_version = 0;
  uint32_t offline = 0;  // messages that wait in the store, but for those that are being read
  // Ids of those that are to leave the store and have not yet; null: none.
  std::unique_ptr<std::vector<uint64_t>> offline_taken;
  uint32_t keeping = 0;  // messages on their way to wait in the store
  bool loading = false;
  bool busy = false;             // a change of roster or blocking list is on its way to the store
  bool offline_running = false;  // some of the waiting messages are with a session
  bool offline_reading = false;  // they are being read: what comes meanwhile comes after them
  bool stale = false;            // was changed since a login may have read it
  uint16_t doubts = 0;           // messages that may be among those that wait: none is delivered

  // As read at the login, while the roster's names and the requests that wait may be asked for.
  std::shared_ptr<const LoadedUser> loaded;

  // What waits for it: to be loaded, for its turn to change it, for the offline messages before.
  struct Waiting {
    std::deque<UserAction> load;
    std::deque<UserAction> turn;
    std::deque<Parcel> messages;
  };
  std::unique_ptr<Waiting> waiting;
  uint64_t idle_mark = 0;
};

}  // namespace server
