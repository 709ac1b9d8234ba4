#include "server/im/subscription.h"

#include <array>

#include "net/base/check.h"

namespace server {
namespace {

using enum SubscriptionState;

struct Row {
  SubscriptionState state;
  // subscribe, subscribed, unsubscribe, unsubscribed
  std::array<SubscriptionStep, 4> sent;
  std::array<SubscriptionStep, 4> received;
};

constexpr bool kPass = true;
constexpr bool kStop = false;

constexpr std::array<Row, kSubscriptionStates> kTable = {{
    {kNone,
     {{{kPass, kNoneOut}, {kStop, kNone}, {kPass, kNone}, {kStop, kNone}}},
     {{{kPass, kNoneIn}, {kStop, kNone}, {kStop, kNone}, {kStop, kNone}}}},
    {kNoneOut,
     {{{kPass, kNoneOut}, {kStop, kNoneOut}, {kPass, kNone}, {kStop, kNoneOut}}},
     {{{kPass, kNoneOutIn}, {kPass, kTo}, {kStop, kNoneOut}, {kPass, kNone}}}},
    {kNoneIn,
     {{{kPass, kNoneOutIn}, {kPass, kFrom}, {kPass, kNoneIn}, {kPass, kNone}}},
     {{{kStop, kNoneIn}, {kStop, kNoneIn}, {kPass, kNone}, {kStop, kNoneIn}}}},
    {kNoneOutIn,
     {{{kPass, kNoneOutIn}, {kPass, kFromOut}, {kPass, kNoneIn}, {kPass, kNoneOut}}},
     {{{kStop, kNoneOutIn}, {kPass, kToIn}, {kPass, kNoneOut}, {kPass, kNoneIn}}}},
    {kTo,
     {{{kPass, kTo}, {kStop, kTo}, {kPass, kNone}, {kStop, kTo}}},
     {{{kPass, kToIn}, {kStop, kTo}, {kStop, kTo}, {kPass, kNone}}}},
    {kToIn,
     {{{kPass, kToIn}, {kPass, kBoth}, {kPass, kNoneIn}, {kPass, kTo}}},
     {{{kStop, kToIn}, {kStop, kToIn}, {kPass, kTo}, {kPass, kNoneIn}}}},
    {kFrom,
     {{{kPass, kFromOut}, {kStop, kFrom}, {kPass, kFrom}, {kPass, kNone}}},
     {{{kStop, kFrom}, {kStop, kFrom}, {kPass, kNone}, {kStop, kFrom}}}},
    {kFromOut,
     {{{kPass, kFromOut}, {kStop, kFromOut}, {kPass, kFrom}, {kPass, kNoneOut}}},
     {{{kStop, kFromOut}, {kPass, kBoth}, {kPass, kNoneOut}, {kPass, kFrom}}}},
    {kBoth,
     {{{kPass, kBoth}, {kStop, kBoth}, {kPass, kFrom}, {kPass, kTo}}},
     {{{kStop, kBoth}, {kStop, kBoth}, {kPass, kTo}, {kPass, kFrom}}}},
}};

const Row& RowOf(SubscriptionState state) {
  const Row& row = kTable[static_cast<size_t>(state)];
  DCHECK(row.state == state);
  return row;
}

size_t ColumnOf(StanzaType type) {
  switch (type) {
    case StanzaType::kSubscribe:
      return 0;
    case StanzaType::kSubscribed:
      return 1;
    case StanzaType::kUnsubscribe:
      return 2;
    default:
      CHECK(type == StanzaType::kUnsubscribed);
      return 3;
  }
}

}  // namespace

SubscriptionState StateOf(const ContactState& contact) {
  switch (contact.subscription) {
    case Subscription::kTo:
      return contact.pending_in ? kToIn : kTo;
    case Subscription::kFrom:
      return contact.ask ? kFromOut : kFrom;
    case Subscription::kBoth:
      return kBoth;
    case Subscription::kNone:
    case Subscription::kRemove:
      break;
  }
  if (contact.ask) return contact.pending_in ? kNoneOutIn : kNoneOut;
  return contact.pending_in ? kNoneIn : kNone;
}

ContactState WithState(ContactState contact, SubscriptionState next) {
  const bool listed = contact.listed();
  contact.ask = next == kNoneOut || next == kNoneOutIn || next == kFromOut;
  contact.pending_in = next == kNoneIn || next == kNoneOutIn || next == kToIn;
  if (next == kBoth) {
    contact.subscription = Subscription::kBoth;
  } else if (next == kTo || next == kToIn) {
    contact.subscription = Subscription::kTo;
  } else if (next == kFrom || next == kFromOut) {
    contact.subscription = Subscription::kFrom;
  } else {
    contact.subscription =
        listed || contact.ask || contact.approved ? Subscription::kNone : Subscription::kRemove;
  }
  return contact;
}

SubscriptionStep OutboundStep(SubscriptionState state, StanzaType type) {
  return RowOf(state).sent[ColumnOf(type)];
}

SubscriptionStep InboundStep(SubscriptionState state, StanzaType type) {
  return RowOf(state).received[ColumnOf(type)];
}

}  // namespace server
