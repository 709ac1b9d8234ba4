// What goes to accounts: to the home here, or as a letter to the node that deals with them; and
// what waits for that to be known (route_order.h).
#include <utility>

#include "server/c2s/far_side.h"
#include "server/im/iq.h"
#include "server/im/message_bytes.h"

namespace server {
namespace {

// Of marks of messages that went to another node: no session has such a place.
constexpr uint32_t kRoutedPlace = UINT32_MAX;

// Of all else nobody would hear that it is lost.
bool AnsweredWhenRefused(const Parcel& parcel) {
  return parcel.kind != StanzaKind::kPresence && parcel.type != StanzaType::kError &&
         parcel.type != StanzaType::kResult;
}

// How often the bound of what is held counts for it.
size_t TimesHeld(const Parcel& parcel) {
  return AnsweredWhenRefused(parcel) ? 1 : FarSide::kHeldWordless;
}

}  // namespace

std::string FarSide::BusyXml() {
  return ErrorXml(ErrorType::kWait, StanzaError::kResourceConstraint,
                  "too much waits for the other node");
}

void FarSide::Route(Parcel parcel, uint8_t hops, Turn turn) {
  const std::string bare(parcel.to.bare());
  const size_t bytes = parcel.content_view().size();
  const auto again = [&] {
    return [this, parcel = std::move(parcel), hops, turn]() mutable {
      Route(std::move(parcel), hops, turn);
    };
  };
  // What other nodes had sent before they held it back is for the home as it is.
  if (hops == 0 || !leaving_.contains(bare) || Given(bare)) {
    if (HoldsTooMuch(bare, TimesHeld(parcel))) return SendBack(parcel);
    if (HoldBack(bare, again, bytes)) return;
  }
  // Who is granted it does not know yet, and would send it back.
  if (const auto asked = asked_.find(bare); asked != asked_.end()) {
    if (asked->second.hold.full(TimesHeld(parcel))) return RefuseHeld(parcel);
    return asked->second.hold.Add(again(), bytes);
  }
  NodeNumber node = 0;
  bool homeless = false;
  if (!directory_.alone() && hops < kHopsMax) {
    const auto at = directory_.HomeOf(bare, Now());
    homeless = !at;
    node = at ? *at : directory_.WardenOf(bare);
  }
  if (Find(node) == nullptr) node = 0;
  const bool kept =
      parcel.mark || (parcel.kind == StanzaKind::kMessage && parcel.type != StanzaType::kError);
  // What others send on is a part of what is waited for.
  if (kept && hops == 0 && turn == Turn::kInOrder && WaitsForOthers(parcel, bare, node)) return;
  if (node == 0) return home().Route(std::move(parcel));
  Peer& peer = *Find(node);
  if (peer.routed >= kRoutedMax || ground_.crowded(node)) return Refuse(parcel);
  if (!kept) {
    if (!PostRoute(node, {parcel, static_cast<uint8_t>(hops + 1)})) Refuse(parcel);
    return;
  }
  RouteLetter letter{parcel, static_cast<uint8_t>(hops + 1)};
  letter.parcel.mark = {
      .session = {.worker = ground_.worker, .place = kRoutedPlace, .life = ++last_routed_},
      .number = 1};
  if (!PostRoute(node, std::move(letter))) return Refuse(parcel);
  // It may wait in the store.
  if (homeless) KeepInMind(bare);
  ++peer.routed;
  route_order_.Went(bare, node);
  routed_.emplace(last_routed_, Routed{node, std::move(parcel)});
}

bool FarSide::WaitsForOthers(Parcel& parcel, const std::string& bare, NodeNumber node) {
  if (route_order_.MayGo(bare, node)) return false;
  const RouteOrder::Waiting* waiting = route_order_.Of(bare);
  if (waiting != nullptr && TooMuch(waiting->parcels.size(), waiting->bytes, TimesHeld(parcel))) {
    RefuseHeld(parcel);
  } else {
    route_order_.Wait(bare, std::move(parcel), Now());
  }
  return true;
}

void FarSide::RouteNow(std::vector<Parcel> parcels) {
  for (Parcel& parcel : parcels) Route(std::move(parcel), 0, Turn::kNow);
}

void FarSide::Refuse(const Parcel& parcel) {
  ClientCounters::Add(counters_.refused);
  SendBack(parcel);
}

void FarSide::RefuseHeld(const Parcel& parcel) {
  ClientCounters::Add(counters_.held_refused);
  SendBack(parcel);
}

void FarSide::SendBack(const Parcel& parcel) {
  if (AnsweredWhenRefused(parcel)) ground_.homes.Route(ErrorFor(parcel, BusyXml()));
  ground_.sessions.Settled(parcel.mark);
}

bool FarSide::SettledRouted(const SenderMark& mark) {
  if (mark.session.node != 0 || mark.session.place != kRoutedPlace) return false;
  const auto routed = routed_.extract(mark.session.life);
  if (!routed) return true;
  if (Peer* peer = Find(routed.mapped().node)) --peer->routed;
  const Parcel& parcel = routed.mapped().parcel;
  ground_.sessions.Settled(parcel.mark);
  const std::string bare(parcel.to.bare());
  std::vector<Parcel> next = route_order_.Settled(bare);
  if (next.empty()) return true;
  // What it was behind may be in the store.
  directory_.IsMine(bare) ? ground_.home.Look(Jid::OfPrepared(bare)) : LookAt(bare);
  RouteNow(std::move(next));
  return true;
}

}  // namespace server
