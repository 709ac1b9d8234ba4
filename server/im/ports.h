// The two sides of a node's XMPP, and what they say to each other.
//
//   c2s session ──Arrive──▶ home of its user ──Route──▶ home of the other user
//        ◀──Deliver/Settled/Close──┘                        └──Deliver──▶ that user's sessions
//
// A *session* is a client's stream: SASL, stream management, what was sent and not yet
// acknowledged. It lives on the worker that accepted its connection. A *home* has users: their
// sessions, roster, presence, blocking, archive, and all of RFC 6121's rules. A user's home is the
// worker that the hash of the bare JID names. Both sides call each other through these interfaces
// only; where the other is on another thread, the call travels as a message. Order holds from each
// session to its home, from each home to each session, and between each pair of homes.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "net/xmpp/stream_xml.h"
#include "server/im/parcel.h"
#include "server/store/store.h"
#include "server/xmpp/stanza.h"

namespace server {

// A stanza for one session.
struct Delivery {
  std::string xml;  // whole, for the default namespace jabber:client
  StanzaKind kind = StanzaKind::kMessage;
  // May wait while a client is inactive, replaced by the next with the same key (XEP-0352): ""
  // never. Presence: the sender's full JID; chat states: its bare JID with a prefix.
  std::string replaces;
  // Unique for the home, when it wants to hear what became of it; 0: it does not.
  uint64_t ticket = 0;
  uint16_t home = 0;  // the node of that home, as in SessionId
  // XEP-0203 is put in when it is resent after a resumption or was kept back.
  bool message_of_people = false;
};

enum class DeliveryEnd : uint8_t {
  kTaken,  // acknowledged (XEP-0198), or written to a stream that does not acknowledge
  kLost,   // the session ended before
};

struct BindRequest {
  SessionId session;
  Jid user;                                  // bare
  std::string resource;                      // as asked for, prepared; "": the server makes one
  std::shared_ptr<const LoadedUser> loaded;  // read when the session authenticated
  bool resumable = false;                    // told later by Changed(), too
  std::string address;                       // of the client, for operators
  bool secure = false;
};

struct SessionState {
  bool resumable = false;  // has stream management with resumption
  bool detached = false;   // its connection is gone and may come back
  bool active = true;      // XEP-0352
  // Of the secret that it is resumed by: who shows it may have the session. 0: nobody.
  uint64_t resume_tag = 0;
};

// What homes want of sessions. Any thread that is a worker's.
class SessionGate {
 public:
  virtual ~SessionGate() = default;
  // The session is bound as `full`. Where another had that address it was ended with <conflict/>.
  virtual void Bound(const SessionId& session, const Jid& full) = 0;
  virtual void BindFailed(const SessionId& session, std::string error_xml) = 0;
  virtual void Deliver(const SessionId& session, Delivery delivery) = 0;
  virtual void Settled(const SenderMark& mark) = 0;
  virtual void Close(const SessionId& session, net::StreamError error, std::string text) = 0;
  // It was resumed elsewhere and is `next` from here on, whose home has been told: all that it has
  // goes there. What comes for `next` before that waits there.
  virtual void Move(const SessionId& session, const SessionId& next, const Jid& user) = 0;
  // There is no session to become `next`.
  virtual void ResumeFailed(const SessionId& next) = 0;
};

// What sessions and homes want of homes. Any thread that is a worker's.
class HomeGate {
 public:
  virtual ~HomeGate() = default;
  virtual void Bind(BindRequest request) = 0;
  // A stanza of a bound session, in order. `mark.number` 0: not counted.
  virtual void Arrive(const SessionId& session, const Jid& user, Stanza stanza,
                      SenderMark mark) = 0;
  virtual void Changed(const SessionId& session, const Jid& user, SessionState state) = 0;
  virtual void DeliveryEnded(const SessionId& session, const Jid& user, uint64_t ticket,
                             DeliveryEnd end) = 0;
  // The session is gone for good, behind DeliveryEnded() of all that it had, but for the last words
  // of a stream that was closed in order: those end when they are sent. RFC 6121 section 4.5.
  virtual void Gone(const SessionId& session, const Jid& user) = 0;
  // The session of that tag shall be `next`, whose client waits for it.
  virtual void Resume(const SessionId& next, const Jid& user, uint64_t tag) = 0;
  // To the home of `parcel.to`'s user; to the server itself where that has none.
  virtual void Route(Parcel parcel) = 0;
};

}  // namespace server
