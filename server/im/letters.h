// What workers of two nodes say to each other: the calls of SessionGate and HomeGate as bytes, and
// a few of their own. Letters travel in a stream, in order:
//
//   u8 kind  u64 for whom  u32 size  body
//
// "For whom" lets a node deal letters out to its workers without reading them: the hash of a user's
// bare address for what goes to a home, a worker's number for what goes to a session.
//
// The content of parcels for many who are at home on one node (a room's message) goes there once:
//
//   RouteLetter (whole)  ContentLetter  RouteLetter (its number) …  ContentEndLetter
//
// All of it within one mail of one worker of the sender (FarSide::TakeMail), which nothing parts.
// So in the stream of a node one content counts at a time, and who reads keeps one and no more.
//
// A letter names sessions of its sender or of its receiver, never of a third node, so no node is
// written in it: `mine` are its sender's, `yours` its receiver's. Numbers are big-endian, texts
// have their length before them. A letter of another build that cannot be read is dropped by its
// size; a change of the layout raises kLettersVersion, which nodes tell each other before anything
// else (server/cluster/frames.h, Hello): who speaks none that is read here is refused, with words.
//
// Pure: values in, bytes out, and back; every field is bounded. Any thread.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "server/im/moved_session.h"
#include "server/im/parcel.h"
#include "server/im/ports.h"

namespace server {

inline constexpr uint8_t kLettersVersion = 2;
// The oldest that is read, too.
inline constexpr uint8_t kLettersVersionMin = 1;
// From which on a session's bytes may end with what is owed to it (server/c2s/bound_state.h): who
// is older takes no such session.
inline constexpr uint8_t kLettersWithDebts = 2;
// From which on homes move. Where one of the nodes is older, they stay where they are.
inline constexpr uint8_t kLettersWithMovingHomes = 2;
// From which on a content may come by itself. Who is older gets it with every parcel.
inline constexpr uint8_t kLettersWithSharedContents = 2;
// The largest; above every stanza that a client may send, with what is put into it.
inline constexpr size_t kLetterBytesMax = size_t{24} << 20U;
inline constexpr size_t kLetterHeadBytes = 13;
// A parcel goes on to where its user is now; more often than that nobody knows, and it stays.
inline constexpr uint8_t kHopsMax = 3;

enum class LetterKind : uint8_t {
  // For homes.
  kBind = 1,
  kArrive,
  kChanged,
  kDeliveryEnded,
  kGone,
  kRoute,
  kBindFailed,  // to the home's deputy at the session's node, which forgets it and tells it
  kClaim,       // may the user's home be at my node?
  kClaimed,     // it is at `node` ("": at yours)
  kExpel,       // the account is no more
  kLook,        // something of the user changed in the store while its home was not known
  kResume,      // the session of that tag is wanted by `mine`
  // A home moves (server/c2s/far_side_moves.cc).
  kHomeLeaves,   // hold what you have for it from here on
  kHomeHeld,     // all before that was sent
  kHomeState,    // it is to be yours
  kHomeHere,     // it is mine, with these sessions of yours
  kHomeStays,    // it does not move: go on
  kHomeRefused,  // I do not take it
  kRouteShared,  // as kRoute, with the number of its content
  // For sessions.
  kBound = 32,
  kDeliver,
  kSettled,
  kClose,
  kTicketLost,  // there is no such session, and who asked knows no more than the ticket
  kLeave,       // the session goes on as one of `node`
  kSession,     // here it is
  kResumeFailed,
  // For every worker that gets a kRouteShared between these (server/im/letter_dealer.h).
  kContent = 64,
  kContentEnd,
};

// --- Sessions named `mine` on the wire.
struct ArriveLetter {
  SessionId session;
  Jid user;
  Stanza stanza = {};
  uint32_t number = 0;
};
struct ChangedLetter {
  SessionId session;
  Jid user;
  SessionState state = {};
};
struct DeliveryEndedLetter {
  SessionId session;
  Jid user;
  uint64_t ticket = 0;
  DeliveryEnd end = DeliveryEnd::kTaken;
};
struct GoneLetter {
  SessionId session;
  Jid user;
};
struct RouteLetter {
  Parcel parcel;  // its mark is of a session of the sender's
  uint8_t hops = 0;
  uint32_t content = 0;  // the number of what the parcel then has not with it
};
struct ContentLetter {
  uint32_t number = 0;                                   // never 0
  StanzaKind kind{};                                     // of its parcels
  std::shared_ptr<const std::string> content = nullptr;  // never empty
};
struct ContentEndLetter {};
struct ClaimLetter {
  Jid user;
};
struct ClaimedLetter {
  Jid user;
  std::string node;
  bool changed = false;  // what a login has read of it may be old
};
struct ExpelLetter {
  Jid user;
  std::string text;
};

struct ResumeLetter {
  SessionId session;
  Jid user;
  uint64_t tag = 0;
};
struct LookLetter {
  Jid user;
};

// A letter may be asked for more than once: the round says which is answered. Of one worker no two
// are the same, whatever they are for. 0 asks for nothing: who holds goes on holding.
struct HomeLeavesLetter {
  Jid user;
  uint32_t round = 0;
};
struct HomeHeldLetter {
  Jid user;
  uint32_t round = 0;
};
struct HomeStateLetter {
  Jid user;
  std::vector<MovedSession> sessions;
};
struct HomeStaysLetter {
  Jid user;
};
struct HomeRefusedLetter {
  Jid user;
};

// --- Sessions named `yours`.
struct BindFailedLetter {
  SessionId session;
  Jid user;
  std::string error;
  bool not_home = false;  // the user is not at home where it was asked
};
struct BoundLetter {
  SessionId session;
  Jid full;
};
struct DeliverLetter {
  SessionId session;
  uint16_t from = 0;  // the worker that wants to hear of it
  Delivery delivery = {};
};
struct SettledLetter {
  SessionId session;
  uint32_t number = 0;
};
struct CloseLetter {
  SessionId session;
  net::StreamError error = net::StreamError::kNone;
  std::string text;
};
struct TicketLostLetter {
  uint16_t worker = 0;
  uint64_t ticket = 0;
};

struct LeaveLetter {
  SessionId session;
  SessionId next;  // of `node`
  std::string node;
  Jid user;
};
struct SessionLetter {
  SessionId session;
  std::string state;  // server/c2s/bound_state.h
};
struct ResumeFailedLetter {
  SessionId session;
};
struct HomeHereLetter {
  Jid user;
  std::vector<SessionId> sessions;
};

using Letter =
    std::variant<BindRequest, ArriveLetter, ChangedLetter, DeliveryEndedLetter, GoneLetter,
                 RouteLetter, BindFailedLetter, ClaimLetter, ClaimedLetter, ExpelLetter, LookLetter,
                 BoundLetter, DeliverLetter, SettledLetter, CloseLetter, TicketLostLetter,
                 ResumeLetter, LeaveLetter, SessionLetter, ResumeFailedLetter, HomeLeavesLetter,
                 HomeHeldLetter, HomeStateLetter, HomeHereLetter, HomeStaysLetter,
                 HomeRefusedLetter, ContentLetter, ContentEndLetter>;

// The number that all nodes have for a user's home among their workers.
uint64_t HomeHash(std::string_view bare);

// False: a part of it is too large for a letter, and nothing was appended.
bool AppendLetter(std::vector<uint8_t>& out, const Letter& letter);

struct LetterHead {
  LetterKind kind{};
  uint64_t for_whom = 0;  // HomeHash, or a worker
  uint32_t size = 0;      // of the body
  bool for_home() const { return kind < LetterKind::kBound; }
};
// Nothing where the head is not there whole. A size above kLetterBytesMax is malformed: `size` says
// it, and the stream ends.
std::optional<LetterHead> ReadLetterHead(std::span<const uint8_t> bytes);
// `node` becomes that of the sessions which are the sender's. Nothing: malformed.
std::optional<Letter> ReadLetter(LetterKind kind, std::span<const uint8_t> body, uint16_t node);

}  // namespace server
