// Sessions and where they are: bound, without a connection, on another worker, gone.
#include <algorithm>
#include <utility>

#include "net/base/check.h"
#include "server/c2s/xmpp_worker.h"

namespace server {
namespace {

// Sessions that are gone, whose clients may still ask how far they got.
constexpr size_t kTombstonesMax = 1024;
constexpr size_t kStaleRefs = 1024;
// A session that is given from one place to another is there by then, or lost.
constexpr net::Duration kArrivalTime = std::chrono::seconds(5);

// The connection's successor is somewhere else (XEP-0198 section 5).
constexpr std::string_view kResumedElsewhere = "the session goes on on another connection";

constexpr const char* kUnheard = "a node by which the session would have heard is gone";

}  // namespace

XmppWorker::Place* XmppWorker::Find(const SessionId& id) {
  if (id.worker != index_ || !places_.Live(id.place)) return nullptr;
  Place& place = places_[id.place];
  return place.life == id.life ? &place : nullptr;
}

void XmppWorker::Free(const SessionId& id) {
  CHECK(Find(id) != nullptr);
  places_.Free(id.place);
}

void XmppWorker::Record(bool gone, const SessionId& id, const Jid& full) {
  ClientCounters::Add(counters_.sessions, gone ? static_cast<uint64_t>(-1) : 1);
  records_.push_back({.gone = gone, .id = id, .full = full.full()});
}

// --- Binding.

void XmppWorker::BindSession(Session& session, const Jid& user, std::string resource,
                             std::shared_ptr<const LoadedUser> loaded) {
  const uint32_t place = places_.Allocate();
  if (place == net::kNoIndex) {
    return session.stream().BindFailed(
        "<error type='wait'><resource-constraint "
        "xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error>");
  }
  // Unlike any before, and the time of its binding.
  last_life_ = std::max(last_life_ + 1, static_cast<uint64_t>(UnixUs()));
  const SessionId id{.worker = static_cast<uint16_t>(index_), .place = place, .life = last_life_};
  places_[place].life = id.life;
  places_[place].here = &session;
  session.set_id(id);
  Bind({.session = id,
        .user = user,
        .resource = std::move(resource),
        .loaded = std::move(loaded),
        .address = session.peer().ToString(),
        .secure = session.secure()});
}

void XmppWorker::Bound(const SessionId& id, const Jid& full) {
  if (id.node != 0) return far_->Bound(id, full);
  if (id.worker != index_) {
    return Post(id.worker, [=](XmppWorker& w) { w.Bound(id, full); });
  }
  Place* place = Find(id);
  if (place == nullptr || place->state != PlaceState::kBinding) return;
  if (place->here == nullptr) {  // it did not wait
    Free(id);
    return Gone(id, full.Bare());
  }
  Session& session = *place->here;
  place->state = PlaceState::kHere;
  Unwait(session);
  Record(false, id, full);
  session.stream().Bound(std::make_unique<BoundSession>(id, full, &ground_.limits.bound));
  session.Arm();
}

void XmppWorker::BindFailed(const SessionId& id, std::string error_xml) {
  if (id.node != 0) return far_->BindFailed(id, std::move(error_xml));
  if (id.worker != index_) {
    return Post(id.worker, [id, error = std::move(error_xml)](XmppWorker& w) mutable {
      w.BindFailed(id, std::move(error));
    });
  }
  Place* place = Find(id);
  if (place == nullptr || place->state != PlaceState::kBinding) return;
  Session* session = place->here;
  Free(id);
  if (session == nullptr) return;
  session->set_id({});
  session->stream().BindFailed(error_xml);
  session->Arm();
}

// --- What homes have for sessions.

void XmppWorker::Deliver(const SessionId& id, Delivery delivery) {
  if (id.node != 0) return far_->Deliver(id, std::move(delivery));
  const Origin from{.node = 0, .worker = static_cast<uint16_t>(index_)};
  if (id.worker == index_) return DeliverAt(id, std::move(delivery), from);
  Post(id.worker, [id, d = std::move(delivery), from](XmppWorker& w) mutable {
    w.DeliverAt(id, std::move(d), from);
  });
}

void XmppWorker::DeliverAt(const SessionId& id, Delivery delivery, Origin from) {
  Place* place = Find(id);
  if (place == nullptr || (place->state == PlaceState::kBinding)) {
    return LoseTicket(delivery.ticket, from);
  }
  switch (place->state) {
    case PlaceState::kBinding:
      break;
    case PlaceState::kArriving:
      if (!place->arrival->held.Add(ground_.limits.bound, delivery)) {
        // It would end for that when it is here. What it has finds another way, this behind it.
        ArrivalFailed(id);
        return LoseTicket(delivery.ticket, from);
      }
      place->arrival->held.items.push_back(
          [id, d = std::move(delivery), from](XmppWorker& w) mutable {
            w.DeliverAt(id, std::move(d), from);
          });
      break;
    case PlaceState::kHere:
      place->here->stream().Deliver(std::move(delivery));
      break;
    case PlaceState::kParked: {
      BoundSession::Out out;
      parked_bytes_ -= place->parked->MemoryBytes();
      const bool fits = place->parked->Deliver(std::move(delivery), UnixUs(), false, out);
      parked_bytes_ += place->parked->MemoryBytes();
      TellDelivered(id, place->parked->full(), out.ended);
      if (!fits) EndWithout(id);
      break;
    }
    case PlaceState::kAway: {
      Away& away = *place->away;
      if (away.moving && !away.held.Add(ground_.limits.bound, delivery)) {
        // It ends for that when it is back; this is lost behind what it has.
        away.over = true;
        away.held.items.push_back(
            [ticket = delivery.ticket, from](XmppWorker& w) { w.LoseTicket(ticket, from); });
        break;
      }
      Item item = [id, d = std::move(delivery), from](XmppWorker& w) mutable {
        w.DeliverForeign(id, std::move(d), from);
      };
      if (!away.moving) return Post(away.worker, std::move(item));
      away.held.items.push_back(std::move(item));
      break;
    }
  }
}

void XmppWorker::DeliverForeign(const SessionId& id, Delivery delivery, Origin from) {
  // Held at its place, it may find it there.
  if (id.worker == index_) return DeliverAt(id, std::move(delivery), from);
  const auto it = foreign_.find(id);
  if (it == foreign_.end()) return LoseTicket(delivery.ticket, from);
  if (it->second.session != nullptr) {
    return it->second.session->stream().Deliver(std::move(delivery));
  }
  BoundSession::Out out;
  const bool fits = it->second.limbo->Deliver(std::move(delivery), UnixUs(), false, out);
  TellDelivered(id, it->second.limbo->full(), out.ended);
  if (!fits) EndWithout(id);
}

// There is no such session any more: whoever asked hears of it where it asked.
void XmppWorker::LoseTicket(uint64_t ticket, Origin from) {
  if (ticket == 0) return;
  if (from.node != 0 || from.worker == index_) return far_->TicketLost(from, ticket);
  Post(from.worker, [ticket, from](XmppWorker& w) { w.far_->TicketLost(from, ticket); });
}

void XmppWorker::Settled(const SenderMark& mark) {
  if (!mark) return;
  const SessionId id = mark.session;
  if (id.node != 0) return far_->Settled(mark);
  if (id.worker == index_ && far_->SettledRouted(mark)) return;
  if (id.worker == index_) return SettleAt(id, mark.number);
  Post(id.worker, [mark](XmppWorker& w) { w.Settled(mark); });
}

void XmppWorker::SettleAt(const SessionId& id, uint32_t number) {
  if (id.worker != index_) {
    const auto it = foreign_.find(id);
    if (it == foreign_.end()) return;
    if (it->second.session != nullptr) return it->second.session->Settled(number);
    BoundSession::Out out;
    return it->second.limbo->Settle(number, out);
  }
  Place* place = Find(id);
  if (place == nullptr) {
    if (const auto next = left_.Settle(id, number)) Settled({.session = *next, .number = number});
    return;
  }
  switch (place->state) {
    case PlaceState::kBinding:
      return;
    case PlaceState::kArriving:
      place->arrival->held.items.push_back([id, number](XmppWorker& w) { w.SettleAt(id, number); });
      return;
    case PlaceState::kHere:
      return place->here->Settled(number);
    case PlaceState::kParked: {
      BoundSession::Out out;
      return place->parked->Settle(number, out);
    }
    case PlaceState::kAway: {
      Item item = [id, number](XmppWorker& w) { w.SettleAt(id, number); };
      if (!place->away->moving) return Post(place->away->worker, std::move(item));
      place->away->held.items.push_back(std::move(item));
    }
  }
}

void XmppWorker::Close(const SessionId& id, net::StreamError error, std::string text) {
  if (id.node != 0) return far_->Close(id, error, std::move(text));
  if (id.worker == index_) return CloseAt(id, error, text);
  Post(id.worker,
       [id, error, text = std::move(text)](XmppWorker& w) { w.CloseAt(id, error, text); });
}

void XmppWorker::CloseAt(const SessionId& id, net::StreamError error, const std::string& text) {
  if (id.worker != index_) {
    const auto it = foreign_.find(id);
    if (it == foreign_.end()) return;
    if (it->second.session != nullptr) return it->second.session->stream().End(error, text);
    return EndWithout(id);
  }
  Place* place = Find(id);
  if (place == nullptr) {
    if (const auto next = left_.Next(id)) Close(*next, error, text);
    return;
  }
  switch (place->state) {
    case PlaceState::kBinding:
      // Its home would not have it: nothing follows.
      if (place->here != nullptr) {
        place->here->set_id({});
        place->here->stream().End(error, text);
      }
      return Free(id);
    case PlaceState::kArriving:
      place->arrival->held.items.push_back(
          [id, error, text](XmppWorker& w) { w.CloseAt(id, error, text); });
      return;
    case PlaceState::kHere:
      return place->here->stream().End(error, text);
    case PlaceState::kParked:
      return EndWithout(id);
    case PlaceState::kAway: {
      Item item = [id, error, text](XmppWorker& w) { w.CloseAt(id, error, text); };
      if (!place->away->moving) return Post(place->away->worker, std::move(item));
      place->away->held.items.push_back(std::move(item));
    }
  }
}

// --- A connection is gone.

void XmppWorker::Park(Session& session, std::unique_ptr<BoundSession> bound) {
  if (bound == nullptr || !bound->resumable() || stopping_) {
    return EndSession(session, std::move(bound));
  }
  session.set_id({});
  Changed(bound->id(), bound->full().Bare(), bound->State(true));
  ParkBound(std::move(bound));
}

void XmppWorker::EndSession(Session& session, std::unique_ptr<BoundSession> bound) {
  const SessionId id = session.id();
  session.set_id({});
  Unwait(session);
  if (bound != nullptr) return FinishBound(std::move(bound));
  // While it was being bound: its home's answer finds nobody.
  Place* place = id ? Find(id) : nullptr;
  if (place == nullptr) return;
  if (place->state == PlaceState::kBinding || place->state == PlaceState::kArriving) {
    place->here = nullptr;
  }
}

void XmppWorker::ParkBound(std::unique_ptr<BoundSession> bound) {
  const SessionId id = bound->id();
  if (Place* place = Find(id); place != nullptr) return PutParked(*place, std::move(bound));
  Foreign& foreign = foreign_[id];
  foreign = {.session = nullptr, .limbo = std::move(bound)};
  Post(id.worker, [id](XmppWorker& w) { w.OnParting(id); });
}

void XmppWorker::PutParked(Place& place, std::unique_ptr<BoundSession> bound) {
  parked_bytes_ += bound->MemoryBytes();
  ++parked_live_;
  counters_.parked.store(parked_live_, std::memory_order_relaxed);
  place.state = PlaceState::kParked;
  place.here = nullptr;
  place.away.reset();
  place.parked_at = Now();
  parked_.push_back({bound->id().place, place.life, place.parked_at});
  place.parked = std::move(bound);
}

std::unique_ptr<BoundSession> XmppWorker::TakeParked(Place& place) {
  parked_bytes_ -= place.parked->MemoryBytes();
  --parked_live_;
  counters_.parked.store(parked_live_, std::memory_order_relaxed);
  return std::move(place.parked);
}

// It has no connection, and ends; whoever has ended, or got one, meanwhile does not.
void XmppWorker::EndWithout(const SessionId& id) {
  if (id.worker != index_) {
    const auto it = foreign_.find(id);
    if (it == foreign_.end() || it->second.session != nullptr) return;
    return FinishBound(std::move(it->second.limbo));
  }
  Place* place = Find(id);
  if (place != nullptr && place->state == PlaceState::kParked) FinishBound(TakeParked(*place));
}

void XmppWorker::EvictParked() {
  const net::Time oldest = Now() - ground_.limits.resume_timeout;
  const size_t most = shared_.options.parked_bytes_max;
  const auto stale = [&](const ParkedRef& ref) {
    if (!places_.Live(ref.place)) return true;
    const Place& place = places_[ref.place];
    return place.life != ref.life || place.state != PlaceState::kParked ||
           place.parked_at != ref.since;
  };
  while (!parked_.empty()) {
    const ParkedRef ref = parked_.front();
    const bool expired = ref.since <= oldest;
    if (!stale(ref)) {
      const bool evicted = parked_bytes_ > most;
      if (!expired && !evicted) break;
      ClientCounters::Add(expired ? counters_.parked_expired : counters_.parked_evicted);
      EndWithout({.worker = static_cast<uint16_t>(index_), .place = ref.place, .life = ref.life});
    }
    parked_.pop_front();
  }
  if (parked_.size() > 2 * parked_live_ + kStaleRefs) std::erase_if(parked_, stale);
  counters_.parked.store(parked_live_, std::memory_order_relaxed);
  counters_.parked_bytes.store(parked_bytes_, std::memory_order_relaxed);
}

void XmppWorker::FinishBound(std::unique_ptr<BoundSession> bound) {
  const SessionId id = bound->id();
  const Jid user = bound->full().Bare();
  std::vector<TicketEnd> ended;
  bound->Lose(ended);
  const bool here = id.worker == index_;
  if (here) {
    if (bound->resumable()) {
      if (tombstones_.size() >= kTombstonesMax) tombstones_.pop_front();
      tombstones_.push_back({bound->secret(), user.full(), bound->settled()});
    }
    Free(id);
    Record(true, id, bound->full());
  } else {
    foreign_.erase(id);
    Post(id.worker, [id](XmppWorker& w) { w.OnAwayEnded(id); });
  }
  TellDelivered(id, user, ended);
  Gone(id, user);
}

// --- It comes back.

void XmppWorker::ResumeSession(Session& session, const Jid& user, std::string_view previd,
                               uint32_t h) {
  const auto key = ResumeKey::Parse(previd);
  if (!key || stopping_) return session.stream().ResumeFailed(std::nullopt);
  // Where it is not in the place that the key names, its home knows where it is.
  const Wish wish{.user = user, .tag = ResumeTag(key->secret), .h = h};
  if (key->worker >= out_.size()) return StartArrival(session, wish);
  wishes_.insert_or_assign(session.serial(), wish);
  const Pending by{.worker = index_, .serial = session.serial(), .h = h};
  if (key->worker == index_) return TryResume(*key, user, by);
  Post(key->worker, [key = *key, user, by](XmppWorker& w) { w.TryResume(key, user, by); });
}

void XmppWorker::TryResume(const ResumeKey& key, const Jid& user, const Pending& by) {
  Place* place = places_.Live(key.place) ? &places_[key.place] : nullptr;
  const auto owns = [&](const std::string& secret, const Jid& full) {
    return key.SameSecret(secret) && full.Bare() == user;
  };
  const SessionId id{.worker = static_cast<uint16_t>(index_),
                     .place = key.place,
                     .life = place == nullptr ? 0 : place->life};
  if (place != nullptr && place->state == PlaceState::kParked &&
      owns(place->parked->secret(), place->parked->full())) {
    return Give(id, TakeParked(*place), by);
  }
  if (place != nullptr && place->state == PlaceState::kHere) {
    const BoundSession& bound = *place->here->stream().session();
    if (owns(bound.secret(), bound.full())) {
      return Give(id, place->here->Yield(net::StreamError::kConflict, kResumedElsewhere), by);
    }
  }
  if (place != nullptr && place->state == PlaceState::kAway && !place->away->pending &&
      owns(place->away->secret, place->away->full)) {
    Away& away = *place->away;
    away.pending = by;
    if (!std::exchange(away.moving, true)) {
      Post(away.worker, [id](XmppWorker& w) { w.OnTakeBack(id); });
    }
    return;
  }
  std::optional<uint32_t> h;
  for (const Tombstone& gone : tombstones_) {
    if (key.SameSecret(gone.secret) && gone.user == user.full()) h = gone.h;
  }
  RefuseResume(by, h);
}

void XmppWorker::RefuseResume(const Pending& by, std::optional<uint32_t> h) {
  if (by.worker != index_) {
    return Post(by.worker, [by, h](XmppWorker& w) { w.RefuseResume(by, h); });
  }
  Session* session = Waiting(by.serial);
  if (session == nullptr) return;
  const auto wish = wishes_.extract(by.serial);
  if (!h && wish && !stopping_) return StartArrival(*session, wish.mapped());
  session->stream().ResumeFailed(h);
  session->Arm();
}

void XmppWorker::Give(const SessionId& id, std::unique_ptr<BoundSession> bound, const Pending& by) {
  Place& place = *Find(id);
  place.here = nullptr;
  if (by.worker != index_) {
    ClientCounters::Add(counters_.moved);
    place.state = PlaceState::kAway;
    place.away = std::make_unique<Away>(
        Away{.worker = by.worker, .secret = bound->secret(), .full = bound->full()});
    return Post(by.worker, [bound = std::move(bound), by](XmppWorker& w) mutable {
      w.ReceiveForeign(std::move(bound), by.serial, by.h);
    });
  }
  Session* session = Waiting(by.serial);
  if (session == nullptr || session->stream().state() != ClientStream::State::kBinding) {
    return PutParked(place, std::move(bound));
  }
  place.state = PlaceState::kHere;
  place.away.reset();
  place.here = session;
  session->set_id(id);
  Unwait(*session);
  session->stream().Resumed(std::move(bound), by.h);
  session->Arm();
}

void XmppWorker::ReceiveForeign(std::unique_ptr<BoundSession> bound, uint64_t serial, uint32_t h) {
  Session* session = Waiting(serial);
  if (session == nullptr || stopping_ ||
      session->stream().state() != ClientStream::State::kBinding) {
    return ParkBound(std::move(bound));
  }
  const SessionId id = bound->id();
  foreign_[id] = {.session = session, .limbo = nullptr};
  session->set_id(id);
  Unwait(*session);
  const bool lost = LostDebt(*bound);
  session->stream().Resumed(std::move(bound), h);
  session->Arm();
  if (lost) CloseForDebt(id);
}

// --- Between a place and the worker that has its session.

void XmppWorker::OnParting(const SessionId& id) {
  Place* place = Find(id);
  if (place == nullptr || place->state != PlaceState::kAway) return;
  if (std::exchange(place->away->moving, true)) return;
  Post(place->away->worker, [id](XmppWorker& w) { w.OnTakeBack(id); });
}

void XmppWorker::OnTakeBack(const SessionId& id) {
  const auto it = foreign_.find(id);
  if (it == foreign_.end()) return;  // its end is on its way
  Foreign foreign = std::move(it->second);
  foreign_.erase(it);
  if (foreign.session != nullptr) {
    foreign.limbo = foreign.session->Yield(net::StreamError::kConflict, kResumedElsewhere);
  }
  Post(id.worker, [id, bound = std::move(foreign.limbo)](XmppWorker& w) mutable {
    w.OnReturned(id, std::move(bound));
  });
}

void XmppWorker::OnReturned(const SessionId& id, std::unique_ptr<BoundSession> bound) {
  Place* place = Find(id);
  CHECK(place != nullptr && place->state == PlaceState::kAway);
  const auto away = std::move(place->away);
  const bool ends = away->over || LostDebt(*bound);
  if (ends || away->leaving) {
    if (ends) {
      FinishBound(std::move(bound));
    } else {
      PutParked(*place, std::move(bound));
    }
    if (away->pending) RefuseResume(*away->pending, std::nullopt);
  } else if (away->pending) {
    Give(id, std::move(bound), *away->pending);
  } else if (stopping_) {
    FinishBound(std::move(bound));
  } else {
    PutParked(*place, std::move(bound));
  }
  // What came meanwhile goes where it is now.
  for (Item& item : away->held.items) {
    place = Find(id);
    if (place != nullptr && place->state == PlaceState::kAway) {
      Post(place->away->worker, std::move(item));
    } else {
      item(*this);
    }
  }
  if (away->leaving) LeaveAt(id, *away->leaving);
}

void XmppWorker::OnAwayEnded(const SessionId& id) {
  Place* place = Find(id);
  if (place == nullptr || place->state != PlaceState::kAway) return;
  const auto away = std::move(place->away);
  Free(id);
  Record(true, id, away->full);
  if (away->leaving) ResumeFailed(away->leaving->next);
  if (away->pending) RefuseResume(*away->pending, std::nullopt);
  for (Item& item : away->held.items) item(*this);
}

// --- From and to other places: the session's home gives it a new one, on whichever node.

void XmppWorker::StartArrival(Session& session, const Wish& wish) {
  const uint32_t place = places_.Allocate();
  if (place == net::kNoIndex) {
    session.stream().ResumeFailed(std::nullopt);
    return session.Arm();
  }
  // Unlike any before, and the time of its coming.
  last_life_ = std::max(last_life_ + 1, static_cast<uint64_t>(UnixUs()));
  const SessionId id{.worker = static_cast<uint16_t>(index_), .place = place, .life = last_life_};
  places_[place].life = id.life;
  places_[place].state = PlaceState::kArriving;
  places_[place].here = &session;
  places_[place].arrival = std::make_unique<Arrival>(
      Arrival{.user = wish.user, .h = wish.h, .since = Now(), .held = {}});
  session.set_id(id);
  arriving_.push_back(id);
  Resume(id, wish.user, wish.tag);
}

void XmppWorker::ResumeFailed(const SessionId& next) {
  if (next.node != 0) return far_->ResumeFailed(next);
  if (next.worker == index_) return ArrivalFailed(next);
  Post(next.worker, [next](XmppWorker& w) { w.ArrivalFailed(next); });
}

void XmppWorker::ArrivalFailed(const SessionId& id) {
  Place* place = Find(id);
  if (place == nullptr || place->state != PlaceState::kArriving) return;
  Session* session = place->here;
  const auto arrival = std::move(place->arrival);
  Free(id);
  NeverCame(id, arrival->user);
  Gone(id, arrival->user);
  for (Item& item : arrival->held.items) item(*this);  // they find that it is not there
  if (session == nullptr) return;
  session->set_id({});
  session->stream().ResumeFailed(std::nullopt);
  session->Arm();
}

void XmppWorker::NeverCame(const SessionId& id, const Jid& user) {
  const size_t worker = HomeOf(user.bare());
  if (worker == index_) return far_->NeverCame(id, user);
  Post(worker, [=](XmppWorker& w) { w.far_->NeverCame(id, user); });
}

void XmppWorker::EndArrivals() {
  while (!arriving_.empty()) {
    const SessionId id = arriving_.front();
    const Place* place = Find(id);
    const bool waits = place != nullptr && place->state == PlaceState::kArriving;
    if (waits && Now() - place->arrival->since < kArrivalTime) return;
    arriving_.pop_front();
    if (waits) ArrivalFailed(id);
  }
}

void XmppWorker::OnArrived(const SessionId& id, NodeNumber from, BoundState state) {
  Place* place = Find(id);
  if (place == nullptr || place->state != PlaceState::kArriving) {
    // Too late: what it had goes another way.
    BoundSession late(id, std::move(state), &ground_.limits.bound);
    std::vector<TicketEnd> ended;
    late.Lose(ended);
    return TellDelivered(id, late.full(), ended);
  }
  ClientCounters::Add(counters_.moved);
  const auto arrival = std::move(place->arrival);
  Session* session = std::exchange(place->here, nullptr);
  auto bound = std::make_unique<BoundSession>(id, std::move(state), &ground_.limits.bound);
  bound->Owed(from);
  const bool lost = LostDebt(*bound);
  Record(false, id, bound->full());
  if (session == nullptr || stopping_ ||
      session->stream().state() != ClientStream::State::kBinding) {
    Changed(id, bound->full().Bare(), bound->State(true));
    if (stopping_) {
      FinishBound(std::move(bound));
    } else {
      PutParked(*place, std::move(bound));
    }
  } else {
    place->state = PlaceState::kHere;
    place->here = session;
    Unwait(*session);
    session->stream().Resumed(std::move(bound), arrival->h);
    session->Arm();
  }
  if (lost) CloseForDebt(id);
  for (Item& item : arrival->held.items) item(*this);
}

void XmppWorker::Move(const SessionId& session, const SessionId& next, const Jid& user) {
  far_->Moved(session, next, user);  // its home is here
  if (session.node != 0) return far_->Move(session, next, user);
  const Leaving leaving{.next = next, .user = user, .home = 0};
  if (session.worker == index_) return LeaveAt(session, leaving);
  Post(session.worker, [session, leaving](XmppWorker& w) { w.LeaveAt(session, leaving); });
}

void XmppWorker::LeaveAt(const SessionId& id, const Leaving& leaving) {
  Place* place = Find(id);
  if (place == nullptr) return ResumeFailed(leaving.next);
  switch (place->state) {
    case PlaceState::kBinding:
      return ResumeFailed(leaving.next);
    case PlaceState::kArriving:
      place->arrival->held.items.push_back(
          [id, leaving](XmppWorker& w) { w.LeaveAt(id, leaving); });
      return;
    case PlaceState::kHere:
      return GiveAway(id, place->here->Yield(net::StreamError::kConflict, kResumedElsewhere),
                      leaving);
    case PlaceState::kParked:
      return GiveAway(id, TakeParked(*place), leaving);
    case PlaceState::kAway:
      if (place->away->leaving) return ResumeFailed(leaving.next);
      place->away->leaving = leaving;
      if (!std::exchange(place->away->moving, true)) {
        Post(place->away->worker, [id](XmppWorker& w) { w.OnTakeBack(id); });
      }
  }
}

void XmppWorker::GiveAway(const SessionId& id, std::unique_ptr<BoundSession> bound,
                          const Leaving& leaving) {
  const SessionId next = leaving.next;
  Free(id);
  Record(true, id, bound->full());
  auto ways = bound->Ways();
  if (leaving.home != 0) ways.push_back(leaving.home);
  if (const auto forgotten = left_.Add(id, next, bound->Unsettled(), std::move(ways))) {
    Close(*forgotten, net::StreamError::kReset, "too many sessions moved at once");
  }
  BoundState state = bound->Take();
  std::vector<uint64_t> tickets;
  if (next.node == 0) {
    Post(next.worker, [next, state = std::move(state)](XmppWorker& w) mutable {
      w.OnArrived(next, 0, std::move(state));
    });
  } else {
    tickets = state.Tickets();
    // Too much, or its node is gone: what it had is lost, by NeverCame() or AwaitTickets().
    const auto name_of = [this](NodeNumber node) { return far_->NameOf(node); };
    if (!far_->SendSession(next, state.ToBytes(name_of, far_->VersionOf(next.node)))) {
      far_->ResumeFailed(next);
    }
  }
  // For its deputy: its home knows no such session any more. What it had is awaited before that, so
  // that whatever it became ends behind it.
  Post(HomeOf(leaving.user.bare()),
       [id, next, user = leaving.user, tickets = std::move(tickets)](XmppWorker& w) {
         w.far_->AwaitTickets(next, user, tickets);
         w.far_->Gone(id, user);
       });
}

// What sessions had sent before they came from there may never be settled: their clients say again
// what `h` does not cover.
void XmppWorker::OnWent(NodeNumber node) {
  for (const SessionId& next : left_.NodeDown(node)) {
    Close(next, net::StreamError::kReset, kUnheard);
  }
  std::vector<SessionId> lost;
  places_.ForEach([&](uint32_t index, Place& place) {
    const BoundSession* bound = place.parked.get();
    if (place.state == PlaceState::kHere) bound = place.here->stream().session();
    if (bound == nullptr || !LostDebt(*bound)) return;
    lost.push_back({.worker = static_cast<uint16_t>(index_), .place = index, .life = place.life});
  });
  // Of one that is between two workers it is seen where it lands.
  for (const auto& [id, foreign] : foreign_) {
    const BoundSession* bound =
        foreign.session == nullptr ? foreign.limbo.get() : foreign.session->stream().session();
    if (bound != nullptr && LostDebt(*bound)) lost.push_back(id);
  }
  for (const SessionId& id : lost) CloseForDebt(id);
}

// What it has under way it hears of by that node, though its home is another's.
void XmppWorker::Owe(const SessionId& id, NodeNumber node) {
  if (id.worker == index_) return OweAt(id, node);
  Post(id.worker, [id, node](XmppWorker& w) { w.OweAt(id, node); });
}

void XmppWorker::OweAt(const SessionId& id, NodeNumber node) {
  BoundSession* bound = nullptr;
  if (id.worker != index_) {
    const auto it = foreign_.find(id);
    if (it == foreign_.end()) return;
    bound = it->second.session == nullptr ? it->second.limbo.get()
                                          : it->second.session->stream().session();
  } else if (Place* place = Find(id)) {
    Item again = [id, node](XmppWorker& w) { w.OweAt(id, node); };
    switch (place->state) {
      case PlaceState::kBinding:
        return;
      case PlaceState::kArriving:
        return place->arrival->held.items.push_back(std::move(again));
      case PlaceState::kHere:
        bound = place->here->stream().session();
        break;
      case PlaceState::kParked:
        bound = place->parked.get();
        break;
      case PlaceState::kAway:
        if (!place->away->moving) return Post(place->away->worker, std::move(again));
        return place->away->held.items.push_back(std::move(again));
    }
  } else if (const auto next = left_.Owe(id, node); next && far_->NameOf(node).empty()) {
    Close(*next, net::StreamError::kReset, kUnheard);
  }
  if (bound == nullptr) return;
  bound->Owed(node);
  if (LostDebt(*bound)) CloseForDebt(id);  // it has gone meanwhile
}

bool XmppWorker::LostDebt(const BoundSession& bound) const {
  return bound.LostDebt([this](NodeNumber node) { return far_->NameOf(node).empty(); });
}

void XmppWorker::CloseForDebt(const SessionId& id) {
  CloseAt(id, net::StreamError::kReset, "the node that the session came from is gone");
}

}  // namespace server
