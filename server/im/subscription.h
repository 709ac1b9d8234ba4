// Who may see whose presence, and how that changes: the nine states of RFC 6121 appendix A.1 and
// what each of the four stanzas does in each, sent (A.2) or received (A.3), as one table.
//
// Pre-approval (section 3.4) lies beside the states: a flag of the contact that a <subscribed/>
// sets where the table routes nothing, and that answers the request when it comes.
//
// Pure; thread-safe.
#pragma once

#include <cstdint>
#include <span>

#include "server/im/parcel.h"
#include "server/store/store.h"

namespace server {

// What is known of a contact, as little as presence needs.
struct ContactState {
  Subscription subscription = Subscription::kRemove;  // kRemove: no item of the roster
  bool ask = false;
  bool approved = false;
  bool pending_in = false;

  bool listed() const { return subscription != Subscription::kRemove; }
  // The user sees the contact; the contact sees the user.
  bool to() const {
    return subscription == Subscription::kTo || subscription == Subscription::kBoth;
  }
  bool from() const {
    return subscription == Subscription::kFrom || subscription == Subscription::kBoth;
  }
  friend bool operator==(const ContactState&, const ContactState&) = default;
};

enum class SubscriptionState : uint8_t {
  kNone,
  kNoneOut,
  kNoneIn,
  kNoneOutIn,
  kTo,
  kToIn,
  kFrom,
  kFromOut,
  kBoth,
};
inline constexpr size_t kSubscriptionStates = 9;

SubscriptionState StateOf(const ContactState& contact);
// `contact` with the state `next`; what is no item stays none while nothing makes it one.
ContactState WithState(ContactState contact, SubscriptionState next);

struct SubscriptionStep {
  bool passes = false;  // sent: is routed. Received: is delivered
  SubscriptionState next = SubscriptionState::kNone;
};
// `type`: kSubscribe, kSubscribed, kUnsubscribe, kUnsubscribed.
SubscriptionStep OutboundStep(SubscriptionState state, StanzaType type);
SubscriptionStep InboundStep(SubscriptionState state, StanzaType type);

inline bool IsSubscriptionType(StanzaType type) {
  return type == StanzaType::kSubscribe || type == StanzaType::kSubscribed ||
         type == StanzaType::kUnsubscribe || type == StanzaType::kUnsubscribed;
}

}  // namespace server
