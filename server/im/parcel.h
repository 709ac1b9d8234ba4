// A stanza on its way: who sends it, who is to have it, and its content as written XML, shared by
// all who get it. What its sender's side found out about it travels along (MessageTraits), so
// nobody on the way parses it again. Between the homes of users, between threads, and later
// between nodes, this is what goes.
//
// A value, moved. Immutable where it is shared.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "server/xmpp/jid.h"

namespace server {

enum class StanzaKind : uint8_t { kMessage, kPresence, kIq };

// RFC 6120 section 8.2.3, RFC 6121 sections 4.7.1 and 5.2.2.
enum class StanzaType : uint8_t {
  kAvailable,  // presence without a type
  kUnavailable,
  kSubscribe,
  kSubscribed,
  kUnsubscribe,
  kUnsubscribed,
  kProbe,
  kNormal,  // also a message without a type, or of one that is unknown
  kChat,
  kGroupchat,
  kHeadline,
  kGet,
  kSet,
  kResult,
  kError,  // of all kinds
};

// What of a message's content decides where it goes and where it is kept.
struct MessageTraits {
  bool body : 1 = false;
  bool subject_only : 1 = false;  // of a room (XEP-0045)
  bool chat_state : 1 = false;    // XEP-0085, and nothing else in it
  bool receipt : 1 = false;       // XEP-0184 received, XEP-0333 markers
  bool store : 1 = false;         // XEP-0334 hints
  bool no_store : 1 = false;      //
  bool no_permanent : 1 = false;  //
  bool no_copy : 1 = false;       //
  bool private_ : 1 = false;      // XEP-0280 <private/>
  bool carbon : 1 = false;        // has <sent/> or <received/> of XEP-0280
  bool muc_user : 1 =
      false;  // <x xmlns='http://jabber.org/protocol/muc#user'/>: private message, invitation
  bool encrypted : 1 = false;  // XEP-0380, XEP-0384: has content though no body
  // Of an error: it is a home of ours that says so, of a session that is no more.
  bool no_session : 1 = false;
};

// A session, found again by those who keep no pointer to it. `node` is 0 for this node, else a
// number that it gave to one life of another, as long as both are of one side; `worker` says on
// whose thread; `life` makes a place that is used again another session.
struct SessionId {
  uint16_t worker = 0;
  uint16_t node = 0;
  uint32_t place = 0;
  uint64_t life = 0;  // 0: none

  explicit operator bool() const { return life != 0; }
  friend bool operator==(const SessionId&, const SessionId&) = default;
  friend auto operator<=>(const SessionId&, const SessionId&) = default;
};

// A message that its sender counts (XEP-0198): the `number`-th stanza of that session. Whoever
// finds out that it was delivered, is durable, or went back, says so with SessionGate::Settled(),
// once; until then the sender's <a/> stays below it. number 0: nobody counts it.
struct SenderMark {
  SessionId session;
  uint32_t number = 0;

  explicit operator bool() const { return number != 0; }
};

struct Parcel {
  StanzaKind kind = StanzaKind::kMessage;
  StanzaType type = StanzaType::kNormal;
  MessageTraits traits;
  Jid from;  // full; of the server's own: its domain
  Jid to;
  std::string id;
  std::string lang;
  // The children, written for the default namespace jabber:client. Null: none.
  std::shared_ptr<const std::string> content;
  SenderMark mark;
  // Of the first child of an IQ, so that it is dispatched without being read.
  std::string iq_name;
  std::string iq_space;

  std::string_view content_view() const {
    return content == nullptr ? std::string_view() : std::string_view(*content);
  }
};

std::string_view ToString(StanzaKind kind);  // the element's name
std::string_view ToString(StanzaType type);  // the attribute; "" for none

// <message from='…' to='…' type='…' id='…' xml:lang='…'>content extra</message>, for a stream whose
// default namespace is jabber:client; with `space`, for a place where it is not (a carbon's
// <forwarded/>).
void AppendParcel(std::string& out, const Parcel& parcel, std::string_view extra = {},
                  std::string_view space = {});
// With another `to` (a copy for a session, whose full address it then has).
void AppendParcelTo(std::string& out, const Parcel& parcel, std::string_view to,
                    std::string_view extra = {}, std::string_view space = {});

}  // namespace server
