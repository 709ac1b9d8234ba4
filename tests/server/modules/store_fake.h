// A store in maps, whose calls end when the test says so (Run), and fail when it says so.
#pragma once

#include <algorithm>
#include <deque>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "server/store/store.h"

namespace server {

class StoreFake final : public StoreClient {
 public:
  std::map<std::string, LoadedUser> users;
  std::map<std::string, std::string> vcards;
  std::map<std::tuple<std::string, std::string, std::string>, std::string> privates;
  std::map<std::string, LastActivity> lasts;
  std::map<std::string, std::string> prefs;
  std::vector<ArchiveEntry> archive;  // sorted by id
  std::optional<StoreError> error;    // of every call from now on

  // Ends what waits, and what that leads to.
  void Run() {
    while (!waiting_.empty()) {
      auto next = std::move(waiting_.front());
      waiting_.pop_front();
      next();
    }
  }
  void Drop() { waiting_.clear(); }

  void Load(std::string user, Done<LoadedUser> done) override {
    const auto at = users.find(user);
    End<LoadedUser>(std::move(done), at == users.end() ? LoadedUser{} : at->second);
  }

  void Write(WriteBatch batch, Done<std::monostate> done) override {
    if (!error) {
      for (const StoreWrite& write : batch) {
        if (const auto failed = std::visit([this](const auto& one) { return Apply(one); }, write)) {
          return End<std::monostate>(std::move(done), std::unexpected(*failed));
        }
      }
    }
    End<std::monostate>(std::move(done), std::monostate());
  }

  void Offline(std::string, uint64_t, uint32_t, Done<OfflinePage> done) override {
    End<OfflinePage>(std::move(done), OfflinePage{.complete = true});
  }

  void Archive(ArchiveQuery query, Done<ArchivePage> done) override {
    End<ArchivePage>(std::move(done), PageOf(query));
  }

  void Vcard(std::string user, Done<std::string> done) override {
    End<std::string>(std::move(done), vcards[user]);
  }
  void Private(std::string user, std::string name, std::string space,
               Done<std::string> done) override {
    End<std::string>(std::move(done), privates[{user, name, space}]);
  }
  void Last(std::string user, Done<LastActivity> done) override {
    const auto at = lasts.find(user);
    if (at == lasts.end()) {
      return End<LastActivity>(std::move(done), std::unexpected(StoreError::kAbsent));
    }
    End<LastActivity>(std::move(done), at->second);
  }
  void ArchivePrefs(std::string user, Done<std::string> done) override {
    End<std::string>(std::move(done), prefs[user]);
  }
  void Accounts(std::string domain, std::string after, uint32_t most,
                Done<std::vector<std::string>> done) override {
    std::vector<std::string> names;
    for (const auto& [user, loaded] : users) {
      if (user.ends_with("@" + domain) && user > after && names.size() < most) {
        names.push_back(user);
      }
    }
    End<std::vector<std::string>>(std::move(done), std::move(names));
  }
  void CountAccounts(std::string domain, Done<uint64_t> done) override {
    End<uint64_t>(std::move(done),
                  static_cast<uint64_t>(std::ranges::count_if(
                      users, [&](const auto& one) { return one.first.ends_with("@" + domain); })));
  }
  // Modules know of no rooms.
  void Room(std::string, Done<StoredRoom> done) override {
    End<StoredRoom>(std::move(done), StoredRoom());
  }
  void ListedRooms(std::string, std::string, uint32_t, Done<std::vector<RoomName>> done) override {
    End<std::vector<RoomName>>(std::move(done), std::vector<RoomName>());
  }

 private:
  template <typename T>
  void End(Done<T> done, std::expected<T, StoreError> result) {
    if (error) result = std::unexpected(*error);
    waiting_.emplace_back([done = std::move(done), result = std::move(result)]() mutable {
      done(std::move(result));
    });
  }

  std::optional<StoreError> Apply(const CreateAccount& create) {
    LoadedUser& user = users[create.user];
    if (user.exists) return StoreError::kConflict;
    user.exists = true;
    user.account = create.account;
    return std::nullopt;
  }
  std::optional<StoreError> Apply(const SetKeys& set) {
    const auto user = users.find(set.user);
    if (user == users.end() || !user->second.exists) return StoreError::kAbsent;
    user->second.account.keys = set.keys;
    return std::nullopt;
  }
  std::optional<StoreError> Apply(const RemoveAccount& remove) {
    return users.erase(remove.user) == 0 ? std::optional(StoreError::kAbsent) : std::nullopt;
  }
  std::optional<StoreError> Apply(const AddArchive& add) {
    archive.insert(std::ranges::upper_bound(archive, add.entry.id, {}, &ArchiveEntry::id),
                   add.entry);
    return std::nullopt;
  }
  std::optional<StoreError> Apply(const PutVcard& put) {
    vcards[put.user] = put.xml;
    return std::nullopt;
  }
  std::optional<StoreError> Apply(const PutPrivate& put) {
    const auto kept = std::ranges::count_if(
        privates, [&](const auto& one) { return std::get<0>(one.first) == put.user; });
    if (put.most > 0 && static_cast<uint32_t>(kept) >= put.most &&
        !privates.contains({put.user, put.name, put.space})) {
      return StoreError::kConflict;
    }
    privates[{put.user, put.name, put.space}] = put.xml;
    return std::nullopt;
  }
  std::optional<StoreError> Apply(const PutLast& put) {
    lasts[put.user] = put.last;
    return std::nullopt;
  }
  std::optional<StoreError> Apply(const PutArchivePrefs& put) {
    prefs[put.user] = put.xml;
    return std::nullopt;
  }
  std::optional<StoreError> Apply(const PutRosterItem& put) {
    auto& user = users[put.user];
    std::erase_if(user.roster, [&](const RosterItem& one) { return one.jid == put.item.jid; });
    user.roster.push_back(put.item);
    user.roster_version = put.item.version;
    return std::nullopt;
  }
  std::optional<StoreError> Apply(const SetBlocked& set) {
    auto& blocked = users[set.user].blocked;
    std::erase(blocked, set.jid);
    if (set.blocked) blocked.push_back(set.jid);
    return std::nullopt;
  }
  template <typename T>
  std::optional<StoreError> Apply(const T&) {
    return StoreError::kDown;  // nobody here writes it
  }

  ArchivePage PageOf(const ArchiveQuery& query) const {
    ArchivePage page;
    const auto known = [&](uint64_t id) {
      return id == 0 || std::ranges::any_of(archive, [&](const ArchiveEntry& one) {
               return one.id == id && one.owner == query.owner;
             });
    };
    page.bound_known = known(query.after) && known(query.before);
    if (!page.bound_known) return page;
    for (const ArchiveEntry& one : archive) {
      const auto time = static_cast<int64_t>(one.id >> 8U);
      const bool with = query.with.empty() || query.with == one.peer ||
                        query.with == one.peer + "/" + one.resource;
      if (one.owner == query.owner && with && time >= query.start_us &&
          (query.end_us == 0 || time <= query.end_us) && one.id > query.after &&
          (query.before == 0 || one.id < query.before)) {
        page.entries.push_back(one);
      }
    }
    if (query.count) page.count = page.entries.size();
    page.complete = page.entries.size() <= query.most;
    if (!page.complete) {
      auto& all = page.entries;
      const auto most = static_cast<std::ptrdiff_t>(query.most);
      query.backwards ? all.erase(all.begin(), all.end() - most)
                      : all.erase(all.begin() + most, all.end());
    }
    return page;
  }

  std::deque<std::move_only_function<void()>> waiting_;
};

}  // namespace server
