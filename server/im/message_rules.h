// What becomes of a message beside being delivered, by what is in it: one question each.
//
// Pure; thread-safe.
#pragma once

#include "server/im/parcel.h"

namespace server {

// Of people, for a person: somebody would miss it. Its sender hears what became of it (XEP-0198's
// count stays below it until then); what it is not, a chat state, an error, a headline, is over
// when it is handed on.
inline bool IsMissed(const Parcel& message) {
  if (message.type != StanzaType::kNormal && message.type != StanzaType::kChat) return false;
  return message.content != nullptr && !message.traits.chat_state;
}

// XEP-0160 section 3, with XEP-0334's hints.
inline bool IsKeptOffline(const Parcel& message) {
  return IsMissed(message) && !message.traits.no_store;
}

// XEP-0313 section 5.1.3, with XEP-0334's hints: what a client would show, and what belongs to it.
inline bool IsArchived(const Parcel& message) {
  const MessageTraits& traits = message.traits;
  if (!IsMissed(message) || traits.no_store || traits.no_permanent) return false;
  return traits.body || traits.encrypted || traits.receipt || traits.store || traits.muc_user;
}

// XEP-0280 section 6.1. Of errors the home knows better: those that answer what was copied are.
inline bool IsCopied(const Parcel& message) {
  const MessageTraits& traits = message.traits;
  if (traits.private_ || traits.no_copy || traits.carbon) return false;
  if (message.type == StanzaType::kChat) return true;
  return message.type == StanzaType::kNormal &&
         (traits.body || traits.encrypted || traits.receipt || traits.chat_state);
}

// Of what comes in: a private message of a room goes to each session that is in the room by itself.
inline bool IsCopiedIn(const Parcel& message) {
  return IsCopied(message) && !(message.traits.muc_user && !message.to.is_bare());
}

}  // namespace server
