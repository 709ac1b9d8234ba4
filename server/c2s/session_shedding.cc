// Sessions that go because the node is short of memory.
#include <utility>

#include "server/c2s/xmpp_worker.h"

namespace server {
namespace {

constexpr std::string_view kShortOfMemory = "the server is short of memory";
// Of a client that reads the last word goes out behind what is queued; where more is queued than
// this nobody reads, and it would stay for as long as a last word may take.
constexpr size_t kLastWordsBehind = 4096;

}  // namespace

std::vector<HeavySession> XmppWorker::Heaviest(uint64_t bytes) {
  std::vector<HeavySession> all;
  const auto add = [&](const SessionId& id, Session& session) {
    const BoundSession* bound = session.stream().session();
    if (bound == nullptr) return;
    const uint64_t waits = bound->waiting_bytes() + session.queued();
    if (waits < kHeavyBytes) return;
    all.push_back({.id = id, .bytes = waits, .bound = id.life, .worker = index_});
  };
  places_.ForEach([&](uint32_t index, Place& place) {
    const SessionId id{.worker = static_cast<uint16_t>(index_), .place = index, .life = place.life};
    if (place.state == PlaceState::kHere) add(id, *place.here);
    if (place.state != PlaceState::kParked) return;
    all.push_back({.id = id,
                   .bytes = place.parked->MemoryBytes(),
                   .bound = id.life,
                   .detached = true,
                   .worker = index_});
  });
  for (const auto& [id, foreign] : foreign_) {
    if (foreign.session != nullptr) add(id, *foreign.session);
  }
  return ChooseHeaviest(std::move(all), bytes);
}

void XmppWorker::EndForMemory(const std::vector<HeavySession>& sessions) {
  for (const HeavySession& one : sessions) {
    // Each that ends may have ended others, or let them move.
    Session* session = nullptr;
    if (one.id.worker != index_) {
      const auto it = foreign_.find(one.id);
      if (it != foreign_.end()) session = it->second.session;
    } else if (const Place* place = Find(one.id); place != nullptr) {
      if (place->state == PlaceState::kHere) session = place->here;
      if (place->state == PlaceState::kParked) {
        ClientCounters::Add(counters_.parked_ended);
        EndWithout(one.id);
      }
    }
    if (session == nullptr || session->stream().state() == ClientStream::State::kEnded) continue;
    ClientCounters::Add(counters_.heavy_ended);
    const bool reads = session->queued() <= kLastWordsBehind;
    session->stream().End(net::StreamError::kResourceConstraint, kShortOfMemory);
    if (!reads) session->EndNow(net::EndReason::kNoResources);
  }
}

}  // namespace server
