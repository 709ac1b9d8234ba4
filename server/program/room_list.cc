#include "server/program/room_list.h"

#include <algorithm>
#include <memory>
#include <mutex>
#include <utility>

#include "server/muc/muc_host.h"

namespace server {
namespace {

struct GatheredRooms {
  std::mutex mutex;
  size_t open;  // workers that have not told theirs
  std::string muc_service;
  std::vector<RoomFacts> rooms;
  std::move_only_function<void(const std::vector<RoomFacts>&)> done;
};

}  // namespace

void GatherRooms(XmppService& service, std::string_view muc_service,
                 std::move_only_function<void(const std::vector<RoomFacts>&)> done) {
  const auto all = std::make_shared<GatheredRooms>();
  all->open = service.workers();
  all->muc_service = muc_service;
  all->done = std::move(done);
  service.OnEachWorker([all](XmppWorker& worker) {
    std::vector<RoomFacts> rooms;
    if (const MucHost* host = worker.home_box().rooms()) {
      host->ForEachRoom([&](const Room& room) {
        if (room.jid().domain() != all->muc_service) return;
        rooms.push_back({.jid = room.jid().full(),
                         .name = room.config().name,
                         .listed = room.config().listed && !room.locked() && !room.destroyed(),
                         .occupants = room.occupants()});
      });
    }
    bool last = false;
    {
      const std::lock_guard lock(all->mutex);
      std::ranges::move(rooms, std::back_inserter(all->rooms));
      last = --all->open == 0;
    }
    if (last) all->done(all->rooms);
  });
}

}  // namespace server
