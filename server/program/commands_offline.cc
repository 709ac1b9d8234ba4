// offline …: messages that wait and shall not any longer.
#include <algorithm>
#include <array>
#include <cstdlib>
#include <utility>
#include <vector>

#include "net/base/wall_clock.h"
#include "server/program/xmpp_commands.h"
#include "server/store/backend.h"
#include "server/store/rows.h"

namespace server {
namespace {

constexpr int64_t kDayUs = int64_t{86'400} * 1'000'000;
constexpr uint64_t kDaysMax = 36'500;  // no message waits longer

void Removed(CommandCall call, uint64_t messages) {
  call.Result("Removed " + std::to_string(messages) + " messages");
}

// --- Those that expired, slice by slice, so that others' writes get in between.

void NextSlice(CommandCall call, StoreKeeper& keeper, uint64_t removed) {
  const Retention expired{.now_s = net::UnixUs() / 1'000'000};
  keeper.Retire(expired, [call = std::move(call), &keeper,
                          removed](std::expected<Retired, StoreError> retired) mutable {
    if (!retired) return call.StoreFailed(retired.error());
    const uint64_t all = removed + retired->offline;
    if (!retired->more) return Removed(std::move(call), all);
    NextSlice(std::move(call), keeper, all);
  });
}

// Of all domains: what has expired is nobody's any more.
void DeleteExpired(CommandCall call) {
  if (!call.Domain("domain")) return;
  XmppService& service = call.ground().service;
  service.OnWorker([call = std::move(call)](XmppWorker& worker) mutable {
    StoreKeeper* keeper = worker.home_box().keeper();
    if (keeper == nullptr) return call.Fault("The node keeps no house", "not_implemented");
    NextSlice(std::move(call), *keeper, 0);
  });
}

// --- Those that are old, account by account, each at its home, which may be writing more; slice by
// slice as well.

struct OldOnes {
  std::string user;
  uint64_t end;  // of the ids that go
  uint64_t removed = 0;
};

void NextOld(CommandCall call, StoreClient& store, OldOnes old) {
  const std::string user = old.user;
  store.Offline(user, 0, kRetireSlice,
                [call = std::move(call), &store, old = std::move(old)](auto page) mutable {
                  if (!page) return call.StoreFailed(page.error());
                  std::vector<uint64_t> ids;
                  for (const OfflineEntry& entry : page->entries) {
                    if (entry.id < old.end) ids.push_back(entry.id);
                  }
                  const bool last = page->complete || ids.size() < page->entries.size();
                  old.removed += ids.size();
                  if (ids.empty()) return call.Result(CtlJson::Count(old.removed));
                  // Made before `old` moves on: which argument is made first is open.
                  WriteBatch batch;
                  batch.push_back(RemoveOffline{.user = old.user, .ids = std::move(ids)});
                  store.Write(std::move(batch),
                              [call = std::move(call), &store, old = std::move(old),
                               last](const auto& written) mutable {
                                if (!written) return call.StoreFailed(written.error());
                                if (last) return call.Result(CtlJson::Count(old.removed));
                                NextOld(std::move(call), store, std::move(old));
                              });
                });
}

void TrimHere(CommandCall call, const HomeOf& at) {
  const auto before_us = static_cast<int64_t>(call.Number("before", 0));
  NextOld(std::move(call), at.store,
          {.user = std::string(at.user.bare()), .end = FirstArchiveId(before_us)});
}

struct Trimming {
  CommandCall call;
  uint64_t removed = 0;
  std::vector<CtlFault> faults = {};
};
constexpr size_t kFaultsMax = 20;

void DeleteOld(CommandCall call) {
  const auto domain = call.Domain("domain");
  if (!domain) return;
  // What is no number is 0, and that would be all of them.
  const uint64_t days = std::min(call.Number("days", 0), kDaysMax);
  if (days == 0) return call.Fault("'days' is a number above 0", "invalid_days");
  CommandGround& ground = call.ground();
  const int64_t before = net::UnixUs() - static_cast<int64_t>(days) * kDayUs;
  if (before <= 0) return Removed(std::move(call), 0);
  const auto all = std::make_shared<Trimming>(Trimming{.call = std::move(call)});
  ground.OnStore([&ground, all, domain = *domain, before](StoreClient& accounts) {
    ForEachAccount(
        accounts, {domain},
        [&ground, all, before](StoreClient& store, const std::string& user, auto next) {
          store.Load(user, [&ground, all, before, user,
                            next = std::move(next)](const auto& loaded) mutable {
            if (loaded && loaded->offline == 0) return next();
            DoPart(ground, "flat", "trimOffline",
                   {{"user", user}, {"before", std::to_string(before)}},
                   [&ground, all, next = std::move(next)](CtlAnswer answer) mutable {
                     // Back to where the walk is.
                     ground.OnStore([all, next = std::move(next),
                                     answer = std::move(answer)](StoreClient&) mutable {
                       all->removed += std::strtoull(answer.data.Plain().c_str(), nullptr, 10);
                       for (CtlFault& fault : answer.faults) {
                         if (all->faults.size() < kFaultsMax)
                           all->faults.push_back(std::move(fault));
                       }
                       next();
                     });
                   });
          });
        },
        [all](std::optional<StoreError> error) {
          if (error) return all->call.StoreFailed(*error);
          if (all->faults.empty()) return Removed(std::move(all->call), all->removed);
          all->call.Answer(
              {.data = CtlJson::Text("Removed " + std::to_string(all->removed) + " messages"),
               .faults = std::move(all->faults)});
        });
  });
}

constexpr std::array kOfflineCommands = std::to_array<XmppCommand>({
    {"offline", "deleteExpiredMessages", Anywhere{DeleteExpired}},
    {"offline", "deleteOldMessages", Anywhere{DeleteOld}},
    {"flat", "trimOffline", AtHome{[](CommandCall& c) { return c.User("user"); }, TrimHere}},
});

}  // namespace

std::span<const XmppCommand> OfflineCommands() { return kOfflineCommands; }

}  // namespace server
