// A store in memory for tests: answers when it is told to, or fails.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "server/store/store.h"

namespace server {

class MapStore final : public StoreClient {
 public:
  struct Rows {
    Account account;
    uint64_t version = 0;
    std::map<std::string, RosterItem> roster;
    std::vector<std::string> blocked;
    std::map<uint64_t, OfflineEntry> offline;
    std::map<uint64_t, ArchiveEntry> archive;
    std::optional<LastActivity> last;
    std::string vcard;
    std::string archive_prefs;
  };

  std::map<std::string, Rows> users;
  uint32_t offline_at_once = 1'000'000;  // as if they were large
  std::map<std::string, StoredRoom> rooms;
  std::optional<StoreError> fails;  // all calls
  // Writes end with kUnknown: done (true) or not (false).
  std::optional<bool> in_doubt;
  bool stalled = false;  // answers wait
  int loads = 0;
  int writes = 0;

  // Runs what was asked, in order; whether there was any.
  bool Answer() {
    if (stalled || asked_.empty()) return false;
    auto asked = std::exchange(asked_, {});
    for (auto& one : asked) one();
    return true;
  }

  LoadedUser Read(const std::string& user) const;

  void Load(std::string user, Done<LoadedUser> done) override {
    ++loads;
    Ask<LoadedUser>(std::move(done),
                    [this, user = std::move(user)]() -> std::expected<LoadedUser, StoreError> {
                      return Read(user);
                    });
  }
  void Write(WriteBatch batch, Done<std::monostate> done) override {
    ++writes;
    Ask<std::monostate>(
        std::move(done),
        [this, batch = std::move(batch)]() -> std::expected<std::monostate, StoreError> {
          if (in_doubt == false) return std::unexpected(StoreError::kUnknown);
          auto applied = Apply(batch);
          if (in_doubt) return std::unexpected(StoreError::kUnknown);
          return applied;
        });
  }
  void Offline(std::string user, uint64_t after, uint32_t most, Done<OfflinePage> done) override {
    Ask<OfflinePage>(
        std::move(done),
        [this, user = std::move(user), after,
         most = std::min(most, offline_at_once)]() -> std::expected<OfflinePage, StoreError> {
          OfflinePage page{.complete = true};
          for (const auto& [id, entry] : users[user].offline) {
            if (id <= after) continue;
            page.complete = page.entries.size() < most;
            if (!page.complete) break;
            page.entries.push_back(entry);
          }
          return page;
        });
  }
  void Archive(ArchiveQuery query, Done<ArchivePage> done) override {
    Ask<ArchivePage>(std::move(done), [this, query]() -> std::expected<ArchivePage, StoreError> {
      ArchivePage page;
      for (const auto& [id, entry] : users[query.owner].archive) page.entries.push_back(entry);
      page.complete = page.entries.size() <= query.most;
      if (!page.complete) {
        const auto most = static_cast<std::ptrdiff_t>(query.most);
        query.backwards ? page.entries.erase(page.entries.begin(), page.entries.end() - most)
                        : page.entries.erase(page.entries.begin() + most, page.entries.end());
      }
      return page;
    });
  }
  void Vcard(std::string user, Done<std::string> done) override {
    Ask<std::string>(std::move(done), [this, user]() -> std::expected<std::string, StoreError> {
      return users[user].vcard;
    });
  }
  void Private(std::string, std::string, std::string, Done<std::string> done) override {
    Ask<std::string>(std::move(done),
                     []() -> std::expected<std::string, StoreError> { return std::string(); });
  }
  void Last(std::string user, Done<LastActivity> done) override {
    Ask<LastActivity>(std::move(done), [this, user]() -> std::expected<LastActivity, StoreError> {
      if (!users[user].last) return std::unexpected(StoreError::kAbsent);
      return *users[user].last;
    });
  }
  void ArchivePrefs(std::string user, Done<std::string> done) override {
    Ask<std::string>(std::move(done), [this, user]() -> std::expected<std::string, StoreError> {
      return users[user].archive_prefs;
    });
  }
  void Accounts(std::string, std::string, uint32_t, Done<std::vector<std::string>> done) override {
    Ask<std::vector<std::string>>(std::move(done),
                                  []() -> std::expected<std::vector<std::string>, StoreError> {
                                    return std::vector<std::string>();
                                  });
  }
  void CountAccounts(std::string, Done<uint64_t> done) override {
    Ask<uint64_t>(std::move(done),
                  [this]() -> std::expected<uint64_t, StoreError> { return users.size(); });
  }
  void Room(std::string room, Done<StoredRoom> done) override {
    Ask<StoredRoom>(std::move(done), [this, room]() -> std::expected<StoredRoom, StoreError> {
      const auto at = rooms.find(room);
      if (at == rooms.end()) return StoredRoom();
      return at->second;
    });
  }
  void ListedRooms(std::string service, std::string after, uint32_t most,
                   Done<std::vector<RoomName>> done) override {
    Ask<std::vector<RoomName>>(
        std::move(done),
        [this, service, after, most]() -> std::expected<std::vector<RoomName>, StoreError> {
          std::vector<RoomName> names;
          for (const auto& [jid, room] : rooms) {
            if (room.listed && jid.ends_with("@" + service) && jid > after && names.size() < most) {
              names.push_back({.jid = jid, .name = room.name});
            }
          }
          return names;
        });
  }

 private:
  template <typename T, typename Work>
  void Ask(Done<T> done, Work work) {
    asked_.emplace_back([this, done = std::move(done), work = std::move(work)]() mutable {
      if (fails) return done(std::unexpected(*fails));
      done(work());
    });
  }
  std::expected<std::monostate, StoreError> Apply(const WriteBatch& batch);
  void ApplyOne(const StoreWrite& write);
  void ApplyOne(const SetRoomAffiliation& set);
  std::optional<StoreError> Fault(const StoreWrite& write) const;

  std::deque<std::move_only_function<void()>> asked_;
};

}  // namespace server
