#include "server/im/roster.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "server/xmpp/xml_text.h"

namespace server {
namespace {

const RosterItem* FindItem(const std::vector<RosterItem>& items, std::string_view jid) {
  const auto found = std::ranges::find(items, jid, &RosterItem::jid);
  return found == items.end() ? nullptr : &*found;
}

std::string ItemsXml(const std::vector<RosterItem>& items) {
  std::string xml;
  for (const RosterItem& item : items) {
    if (ContactOf(item).listed()) AppendRosterItem(xml, item);
  }
  return xml;
}

RosterItem NewItem(const Jid& contact) {
  RosterItem item;
  item.jid = contact.full();
  item.subscription = Subscription::kRemove;
  return item;
}

std::string FailureXml() {
  return ErrorXml(ErrorType::kWait, StanzaError::kResourceConstraint, "the store does not answer");
}

}  // namespace

void Rosters::Handle(User& user, HomeSession& session, IqCall call) {
  const XmlElement query = call.payload();
  if (!query.Is("query", kRosterSpace)) return call.Error(StanzaError::kBadRequest);
  if (!call.is_set()) {
    // Behind the change that was asked for before (RFC 6120 section 10.1).
    return core_.BeginTurn(
        user, [this, id = session.id, call = std::move(call)](User* at, StoreError error) mutable {
          if (at == nullptr) return call.StoreFailed(error);
          if (HomeSession* asks = at->Find(id)) asks->interested = true;
          Get(*at, std::move(call));
        });
  }
  auto order = ReadRosterOrder(query);
  if (!order) return call.Error(order.error());
  if (order->jid == user.jid) {
    return call.Error(StanzaError::kNotAllowed, "nobody is a contact of their own");
  }
  core_.BeginChange(user, [this, order = std::move(*order), call = std::move(call)](
                              User* at, StoreError error) mutable {
    if (at == nullptr) return call.StoreFailed(error);
    if (order.remove) return Remove(*at, order, std::move(call));
    Set(*at, std::move(order), std::move(call));
  });
}

// Ends its turn when it has answered: a change would be told before it else.
void Rosters::Get(User& user, IqCall call) {
  const std::string bare = user.jid.full();
  const auto version = call.payload().Find("ver");
  if (version && *version == std::to_string(user.roster_version)) {
    call.Result();
    return core_.EndChange(bare);
  }
  if (user.loaded != nullptr) {
    call.Result(RosterXml(user.roster_version, ItemsXml(user.loaded->roster)));
    return core_.EndChange(bare);
  }
  core_.store().Load(
      bare, core_.InTurn<LoadedUser>([this, bare, call = std::move(call)](auto loaded) mutable {
        if (loaded) {
          call.Result(RosterXml(loaded->roster_version, ItemsXml(loaded->roster)));
        } else {
          call.StoreFailed(loaded.error());
        }
        core_.EndChange(bare);
      }));
}

void Rosters::ReadItem(User& user, const Jid& contact, Failure failure, ItemAction then) {
  const ContactState state = user.contacts.Find(contact.full(), user.jid.domain());
  if (state == ContactState()) return then(user, NewItem(contact));
  if (user.loaded != nullptr) {
    const RosterItem* item = FindItem(user.loaded->roster, contact.full());
    return then(user, item == nullptr ? NewItem(contact) : *item);
  }
  core_.store().Load(
      user.jid.full(),
      core_.InTurn<LoadedUser>([this, bare = user.jid, contact, failure = std::move(failure),
                                then = std::move(then)](auto loaded) mutable {
        User* at = core_.Find(bare.full());
        if (!loaded || at == nullptr) {
          core_.EndChange(bare.full());
          return failure(loaded ? StoreError::kAbsent : loaded.error());
        }
        const RosterItem* item = FindItem(loaded->roster, contact.full());
        then(*at, item == nullptr ? NewItem(contact) : *item);
      }));
}

void Rosters::WriteItem(User& user, RosterItem item, const ContactState& next, Failure failure,
                        Success then) {
  const bool was_listed = ContactOf(item).listed();
  item.subscription = next.subscription;
  item.ask = next.ask;
  item.approved = next.approved;
  item.pending_in = next.pending_in;
  if (!next.pending_in) item.request.clear();
  item.version = user.roster_version + 1;
  const bool gone = !next.listed() && !next.pending_in;
  WriteBatch batch;
  if (gone) {
    batch.push_back(
        RemoveRosterItem{.user = user.jid.full(), .jid = item.jid, .version = item.version});
  } else {
    batch.push_back(PutRosterItem{.user = user.jid.full(), .item = item});
  }
  const uint64_t version = item.version;
  auto written = [this, bare = user.jid, item = std::move(item), next, was_listed,
                  failure = std::move(failure),
                  then = std::move(then)](std::optional<StoreError> error) mutable {
    User* at = core_.Find(bare.full());
    if (error || at == nullptr) {
      core_.EndChange(bare.full());
      return failure(error.value_or(StoreError::kAbsent));
    }
    at->loaded = nullptr;
    at->roster_version = item.version;
    at->contacts.Put(item.jid, next, at->jid.domain());
    then(*at);
    if (was_listed || next.listed()) Push(*at, item);
    core_.EndChange(bare.full());
  };
  core_.store().Write(
      std::move(batch),
      core_.InTurn<std::monostate>([this, bare = user.jid, version,
                                    written = std::move(written)](const auto& done) mutable {
        if (done) return written(std::nullopt);
        if (done.error() != StoreError::kUnknown) return written(done.error());
        // Nobody else moves the version meanwhile.
        core_.ReadBack(bare, [version, written = std::move(written)](const auto& stored) mutable {
          written(stored.roster_version == version ? std::nullopt
                                                   : std::optional(StoreError::kDown));
        });
      }));
}

void Rosters::Push(const User& user, const RosterItem& item) {
  std::string xml;
  AppendRosterItem(xml, item);
  const std::string query = RosterXml(item.version, xml);
  ++pushes_;
  for (const HomeSession& session : user.sessions) {
    if (!session.interested) continue;
    Delivery delivery;
    delivery.kind = StanzaKind::kIq;
    delivery.xml = "<iq type='set'";
    AppendXmlAttribute(delivery.xml, "id", "push" + std::to_string(pushes_));
    AppendXmlAttribute(delivery.xml, "to", user.FullOf(session).full());
    ((delivery.xml += '>') += query) += "</iq>";
    core_.Deliver(session.id, std::move(delivery));
  }
}

void Rosters::Set(User& user, RosterOrder order, IqCall call) {
  const ContactState state = user.contacts.Find(order.jid.full(), user.jid.domain());
  if (state == ContactState() && user.contacts.size() >= core_.limits().roster_items) {
    call.ErrorWith(ErrorXml(ErrorType::kModify, StanzaError::kNotAcceptable,
                            "the roster has as many items as it may"));
    return core_.EndChange(user.jid.full());
  }
  const auto shared = std::make_shared<IqCall>(std::move(call));
  const Jid contact = order.jid;
  ReadItem(
      user, contact, [shared](StoreError error) { shared->StoreFailed(error); },
      [this, order = std::move(order), shared](User& at, RosterItem item) mutable {
        ContactState next = ContactOf(item);
        if (!next.listed()) next.subscription = Subscription::kNone;
        item.name = std::move(order.name);
        item.groups = std::move(order.groups);
        WriteItem(
            at, std::move(item), next, [shared](StoreError error) { shared->StoreFailed(error); },
            [shared](User&) { shared->Result(); });
      });
}

// Section 2.5: the subscriptions end with the item.
void Rosters::Remove(User& user, const RosterOrder& order, IqCall call) {
  const ContactState state = user.contacts.Find(order.jid.full(), user.jid.domain());
  if (!state.listed()) {
    call.Error(StanzaError::kItemNotFound);
    return core_.EndChange(user.jid.full());
  }
  const auto shared = std::make_shared<IqCall>(std::move(call));
  RosterItem item = NewItem(order.jid);
  item.subscription = state.subscription;
  WriteItem(
      user, std::move(item), ContactState(),
      [shared](StoreError error) { shared->StoreFailed(error); },
      [this, shared, state, contact = order.jid](User& at) {
        shared->Result();
        EndSubscriptions(at, contact, state);
      });
}

void Rosters::EndSubscriptions(const User& user, const Jid& contact, const ContactState& state) {
  if (state.to() || state.ask) {
    core_.Route(MakePresence(StanzaType::kUnsubscribe, user.jid, contact));
  }
  if (state.from() || state.pending_in) {
    core_.Route(MakePresence(StanzaType::kUnsubscribed, user.jid, contact));
  }
  if (state.from()) presences_.Hide(user, contact);
}

void Rosters::RemoveAll(const User& user) {
  user.contacts.ForEach(user.jid.domain(), [&](const std::string& jid, const ContactState& state) {
    EndSubscriptions(user, Jid::OfPrepared(jid), state);
  });
}

// --- Subscriptions.

void Rosters::Send(User& user, Parcel parcel) {
  core_.Settled(std::exchange(parcel.mark, {}));
  // Section 3.1.2: between accounts, whatever was written.
  const Jid sender = std::exchange(parcel.from, user.jid);
  parcel.to = parcel.to.Bare();
  if (parcel.to == user.jid) return;
  core_.BeginChange(user, [this, sender, parcel = std::move(parcel)](User* at, StoreError) mutable {
    if (at == nullptr) {
      parcel.from = sender;
      return core_.Bounce(parcel, FailureXml());
    }
    const ContactState state = at->contacts.Find(parcel.to.full(), at->jid.domain());
    if (state == ContactState() && parcel.type == StanzaType::kSubscribe &&
        at->contacts.size() >= core_.limits().roster_items) {
      parcel.from = sender;
      core_.Bounce(parcel, ErrorXml(ErrorType::kModify, StanzaError::kNotAcceptable,
                                    "the roster has as many items as it may"));
      return core_.EndChange(at->jid.full());
    }
    Outbound(*at, parcel, sender);
  });
}

void Rosters::Outbound(User& user, const Parcel& parcel, const Jid& sender) {
  const ContactState state = user.contacts.Find(parcel.to.full(), user.jid.domain());
  const SubscriptionStep step = OutboundStep(StateOf(state), parcel.type);
  ContactState next = state;
  // Section 3.4.2: an approval that nobody asked for yet is kept, and withdrawn.
  if (!state.from() && !step.passes) {
    if (parcel.type == StanzaType::kSubscribed) next.approved = true;
    if (parcel.type == StanzaType::kUnsubscribed) next.approved = false;
  } else if (parcel.type == StanzaType::kSubscribed || parcel.type == StanzaType::kUnsubscribed) {
    next.approved = false;
  }
  next = WithState(next, step.next);
  if (next == state) {
    if (step.passes) core_.Route(parcel);
    return core_.EndChange(user.jid.full());
  }
  const auto failure = [this, parcel, sender](StoreError) {
    Parcel refused = parcel;
    refused.from = sender;
    core_.Bounce(refused, FailureXml());
  };
  ReadItem(user, parcel.to, failure,
           [this, next, state, step, parcel, failure](User& at, RosterItem item) {
             WriteItem(at, std::move(item), next, failure, [=, this](User& changed) {
               if (step.passes) core_.Route(parcel);
               if (!state.from() && next.from()) presences_.Show(changed, parcel.to);
               if (state.from() && !next.from()) presences_.Hide(changed, parcel.to);
             });
           });
}

void Rosters::Arrive(const Parcel& parcel) {
  core_.WithUser(parcel.to.Bare(), [this, parcel](User* user, StoreError error) {
    if (user == nullptr) {
      // Section 8.5.1: who asks somebody who is not is told so.
      if (error == StoreError::kAbsent && parcel.type == StanzaType::kSubscribe) {
        core_.Route(MakePresence(StanzaType::kUnsubscribed, parcel.to.Bare(), parcel.from.Bare()));
      } else if (error != StoreError::kAbsent) {
        Again(parcel);
      }
      return;
    }
    if (user->Blocks(parcel.from)) return;
    core_.BeginChange(*user, [this, parcel](User* at, StoreError) {
      if (at == nullptr) return Again(parcel);
      Inbound(*at, parcel);
    });
  });
}

// The contact's side has it written: it is tried again until this side has, too.
void Rosters::Again(const Parcel& parcel) {
  if (again_.size() >= core_.limits().unkept) again_.pop_front();
  again_.push_back(parcel);
}

void Rosters::Tick() {
  for (const Parcel& parcel : std::exchange(again_, {})) Arrive(parcel);
}

void Rosters::Inbound(User& user, const Parcel& parcel) {
  const Jid contact = parcel.from.Bare();
  const ContactState state = user.contacts.Find(contact.full(), user.jid.domain());
  SubscriptionStep step = InboundStep(StateOf(state), parcel.type);
  const bool asks = parcel.type == StanzaType::kSubscribe;
  ContactState next = state;
  // Section 3.1.3 and 3.4.2: who was approved, or sees the user already, is answered at once.
  const bool approved = asks && (state.from() || (state.approved && step.passes));
  if (asks && state.approved && !state.from()) {
    step = {.passes = false, .next = OutboundStep(step.next, StanzaType::kSubscribed).next};
    next.approved = false;
  }
  next = WithState(next, step.next);
  const bool full =
      asks && state == ContactState() && user.contacts.size() >= core_.limits().roster_items;
  if (next == state || full) {
    if (approved) core_.Route(MakePresence(StanzaType::kSubscribed, user.jid, contact));
    return core_.EndChange(user.jid.full());
  }
  const auto failure = [this, parcel](StoreError error) {
    if (error != StoreError::kAbsent) Again(parcel);
  };
  ReadItem(user, contact, failure, [=, this](User& at, RosterItem item) {
    if (next.pending_in && asks) item.request = parcel.content_view();
    WriteItem(at, std::move(item), next, failure, [=, this](User& changed) {
      if (approved) {
        core_.Route(MakePresence(StanzaType::kSubscribed, changed.jid, contact));
        presences_.Show(changed, contact);
      }
      if (step.passes) ToInterested(changed, parcel);
      if (state.from() && !next.from()) presences_.Hide(changed, contact);
    });
  });
}

// A request concerns all who are there; the rest those who have the roster (section 3).
void Rosters::ToInterested(const User& user, const Parcel& parcel) {
  Parcel told = parcel;
  told.from = parcel.from.Bare();
  told.to = user.jid;
  for (const HomeSession& session : user.sessions) {
    const bool wants =
        parcel.type == StanzaType::kSubscribe ? session.available : session.interested;
    if (wants) core_.DeliverParcel(session, told);
  }
}

void Rosters::TellRequests(User& user, const SessionId& session) {
  if (user.contacts.pending_in() == 0) return;
  const auto tell = [this, session](User& at, const std::vector<RosterItem>& roster) {
    const HomeSession* told = at.Find(session);
    if (told == nullptr || !told->available) return;
    for (const RosterItem& item : roster) {
      if (!item.pending_in) continue;
      core_.DeliverParcel(*told,
                          MakePresence(StanzaType::kSubscribe, Jid::OfPrepared(item.jid), at.jid,
                                       std::make_shared<const std::string>(item.request)));
    }
  };
  if (user.loaded != nullptr) return tell(user, user.loaded->roster);
  core_.store().Load(user.jid.full(),
                     core_.InTurn<LoadedUser>([this, tell, bare = user.jid](auto loaded) {
                       User* at = core_.Find(bare.full());
                       if (loaded && at != nullptr) tell(*at, loaded->roster);
                     }));
}

}  // namespace server
