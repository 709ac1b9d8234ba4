// Homes with rooms beside them: two hosts, each with the rooms that the hash of their addresses
// gives it, as workers have them.
#pragma once

#include <array>
#include <memory>
#include <string>

#include "net/base/random.h"
#include "server/muc/muc_host.h"
#include "tests/server/im/world.h"

namespace server {

class MucWorld final : public World {
 public:
  static constexpr const char* kService = "rooms.a.example";

  explicit MucWorld(MucOptions options = {})
      : World(2, {}, HomeOptions{.services = {kService}}), options_(options) {
    options_.services = {kService};
    Restart();
  }

  // All that was in memory of rooms is gone.
  void Restart() {
    for (size_t i = 0; i < hosts_.size(); ++i) {
      hosts_[i] = nullptr;
      hosts_[i] = std::make_unique<MucHost>(
          options_, archive_ids_, directory, *this, *this, store, clock,
          [this] { return unix_us += 1'000; },
          [random = net::FastRandom(40 + i)]() mutable { return random.Next(); });
    }
  }
  MucHost& Host(std::string_view bare) {
    return *hosts_[std::hash<std::string_view>()(bare) % hosts_.size()];
  }
  void TickRooms() {
    for (const auto& host : hosts_) host->Tick();
    Run();
  }
  void EaseRooms() {
    for (const auto& host : hosts_) host->Ease();
    Run();
  }
  void ShutRooms() {
    for (const auto& host : hosts_) host->Shutdown();
    Run();
  }
  size_t rooms() const { return hosts_[0]->rooms() + hosts_[1]->rooms(); }

  void Route(Parcel parcel) override {
    if (parcel.to.domain() != kService) return World::Route(std::move(parcel));
    if (on_routed) on_routed(parcel);
    Post([this, parcel = std::move(parcel)]() mutable {
      const std::string bare(parcel.to.bare());
      Host(bare).Route(std::move(parcel));
    });
  }

  RoomDirectory directory;

 private:
  MucOptions options_;
  std::array<std::unique_ptr<MucHost>, 2> hosts_;
};

}  // namespace server
