// A room (XEP-0045): who is in it, who may what, what was said; stanzas in, stanzas out.
//
//   room_enter    entering, presence, nicks, leaving      section 7.1, 7.2, 7.6, 7.7, 7.14
//   room_messages messages, subject, invitations, voice   section 7.4, 7.5, 7.8, 7.13, 8.1
//   room_admin    roles and affiliations                  sections 8 and 9
//   room_owner    configuration, destruction              section 10
//   room_queries  what is asked of it and of its occupants: XEP-0030, 0199, 0410, 0425
//
// Pure: no sockets, no store, time and randomness are given. What it says is returned
// (RoomOutputs); one content that many get stands there once. What must be durable before it
// happens is a RoomChange: whoever has the room writes it, then calls `apply`, or answers the
// request with what failed. A room that is not persistent changes at once.
//
// One thread: of whoever has it.
#pragma once

#include <cstdint>
#include <deque>
#include <expected>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "server/im/iq.h"
#include "server/im/parcel.h"
#include "server/muc/muc_xml.h"
#include "server/muc/room_config.h"
#include "server/muc/standing.h"
#include "server/store/store.h"
#include "server/xmpp/jid.h"

namespace server {

class Room;

// What rooms stand on; outlives them.
struct RoomGround {
  RoomLimits limits;
  std::function<int64_t()> unix_us;
  std::function<uint64_t()> random;
  std::function<uint64_t()> next_id;  // of archives (XEP-0359), rising
};

// A stanza for all of `to`, each with its own address.
struct RoomOut {
  Parcel stanza;
  std::vector<Jid> to;
};

struct RoomOutputs {
  using Apply = std::function<void(Room& room, RoomOutputs& out)>;
  // To be durable first. `request` is answered with the error where it cannot be (kAbsent:
  // item-not-found).
  struct Change {
    WriteBatch batch;
    Parcel request;
    Apply apply;
  };
  // A message for the archive. Its sender's count goes on when it is durable, or cannot be.
  struct Copy {
    ArchiveEntry entry;
    SenderMark mark;
  };

  std::vector<RoomOut> stanzas;
  std::vector<Change> changes;
  std::vector<Copy> copies;
  std::vector<SenderMark> settled;
};

class Room {
 public:
  // Empty, unlocked, of nobody. `secret`: of occupant ids, kept as long as the room.
  Room(Jid jid, const RoomGround& ground, RoomConfig config, std::string secret);
  // As it was stored. Nothing where that is damaged.
  static std::unique_ptr<Room> Restore(const StoredRoom& stored, const RoomGround& ground);
  Room(const Room&) = delete;
  Room& operator=(const Room&) = delete;

  // Its first owner comes; locked (section 10.1.3), others are kept out until it is configured.
  RoomOutputs Create(const Parcel& presence, bool locked);
  // Any stanza for the room or for an occupant of it, of anybody's.
  RoomOutputs Arrive(const Parcel& parcel);
  // An IQ of operators, from the room's own address: they may what an owner may who moderates, and
  // are nobody in it.
  RoomOutputs Order(const Parcel& iq);
  // By operators, instead of Create(): it is of `owner`, who is not there yet.
  void Found(const Jid& owner);
  // What it said before, from its archive, oldest first.
  void RestoreHistory(const std::vector<ArchiveEntry>& entries);
  // All leave: the service ends, or the room goes elsewhere (status 332).
  RoomOutputs Shutdown();
  // By operators: there is no actor.
  RoomOutputs Destroy(const std::string& reason);

  const Jid& jid() const { return jid_; }
  const RoomConfig& config() const { return config_; }
  // Destroyed, or nobody is there and nothing keeps it.
  bool over() const { return destroyed_ || (occupants_.empty() && !config_.persistent); }
  bool destroyed() const { return destroyed_; }
  bool locked() const { return locked_; }
  size_t occupants() const { return occupants_.size(); }
  const std::string& subject() const { return subject_.text; }
  // (the address of its last session, nick, role), in the order of their coming.
  template <typename Visit>
  void ForEachOccupant(Visit visit) const {
    for (const auto& one : occupants_) visit(one->sessions.back().full, one->nick, one->role);
  }
  Affiliation AffiliationOf(std::string_view bare) const;
  // Whether its archive is open to who asks (XEP-0313 section 5.1.2): who could enter may read.
  bool MayReadArchive(const Jid& from) const;
  // As stores have it, with its affiliations.
  StoredRoom Stored() const;

 private:
  struct Session {
    Jid full;
    std::shared_ptr<const std::string> presence;  // cleaned
    uint64_t tag = 0;  // stands for it in ids of requests that others get
  };
  struct Occupant {
    std::string nick;
    Jid bare;
    Jid in_room;  // room@service/nick
    Role role = Role::kNone;
    std::string id;                 // XEP-0421
    std::vector<Session> sessions;  // the last one's presence is shown
    // Its presence as others get it, without and with its real address; null: to be written.
    std::shared_ptr<const std::string> shown[2];
  };
  struct Member {
    Affiliation affiliation;
    std::string nick;  // reserved
    std::string reason;
  };
  struct Telling {
    std::vector<MucStatus> statuses = {};  // to all
    std::optional<Jid> fresh = {};         // the session that it is about; the others know already
    std::vector<MucStatus> fresh_statuses = {};
    std::string_view id = {};  // goes back to it
    bool fresh_only = false;
    std::string_view reason = {};
    std::string_view actor = {};
  };
  struct Said {
    Parcel stanza;  // without `to`
    uint64_t id;    // 0: it is in no archive
    int64_t time_us;
    size_t bytes;
  };
  struct Subject {
    std::string text;
    std::string by;  // nick
    int64_t time_us = 0;
  };
  struct Item {                                   // a change of muc#admin, as it was read
    std::optional<Affiliation> affiliation = {};  // of `jid`; else `role` of `nick`
    Role role = Role::kNone;
    std::string jid = {};  // bare
    std::string nick = {};
    std::string reason = {};
  };

  // --- room.cc: who is where; what goes out.
  Occupant* FindNick(std::string_view nick) const;
  Occupant* FindSession(std::string_view full) const;
  std::vector<Occupant*> FindUser(std::string_view bare) const;
  Occupant& Add(const Jid& bare, std::string nick, Role role);
  void AddSession(Occupant& occupant, Jid full, std::shared_ptr<const std::string> presence);
  void RemoveSession(Occupant& occupant, std::string_view full);
  void Remove(const Occupant& occupant);
  std::string OccupantId(const Jid& bare) const;
  std::string NewId() const;
  bool SeesAddresses(const Occupant& viewer) const {
    return config_.non_anonymous || viewer.role == Role::kModerator;
  }
  static std::vector<Jid> SessionsOf(const Occupant& occupant);
  std::vector<Jid> AllSessions() const;
  void Send(RoomOutputs& out, Parcel stanza, std::vector<Jid> to) const;
  void Answer(RoomOutputs& out, const Parcel& request, std::string content = {}) const;
  void Refuse(RoomOutputs& out, const Parcel& request, StanzaError error,
              std::string_view text = {}) const;
  void RefuseWith(RoomOutputs& out, const Parcel& request, std::string error_xml) const;
  // Now, or when it is durable.
  void Commit(RoomOutputs& out, const Parcel& request, WriteBatch batch, RoomOutputs::Apply apply);
  void SendStatuses(RoomOutputs& out, const std::vector<MucStatus>& statuses) const;

  // --- room_enter.cc
  void Presence(RoomOutputs& out, const Parcel& presence);
  void Enter(RoomOutputs& out, const Parcel& presence, const XmlElement& x, bool created);
  std::optional<std::string> RefusalToEnter(const Parcel& presence, std::string_view nick,
                                            const XmlElement& x) const;
  // All that who comes is to know, in the order of section 7.1.
  void Welcome(RoomOutputs& out, Occupant& occupant, const XmlElement& x, const Telling& telling);
  void SendHistory(RoomOutputs& out, const Jid& to, const XmlElement& wish) const;
  void SendSubject(RoomOutputs& out, const Jid& to) const;
  void Update(RoomOutputs& out, Occupant& occupant, const Parcel& presence);
  void ChangeNick(RoomOutputs& out, Occupant& occupant, const Parcel& presence, std::string nick);
  void Leave(RoomOutputs& out, Occupant& occupant, const Jid& session,
             const std::shared_ptr<const std::string>& content, std::vector<MucStatus> statuses);
  bool IsTold(Role role) const { return config_.presence_told[static_cast<size_t>(role)]; }
  std::shared_ptr<const std::string> Shown(Occupant& occupant, bool address) const;
  void TellPresence(RoomOutputs& out, Occupant& occupant, const Telling& telling) const;
  struct Going {
    std::shared_ptr<const std::string> content = nullptr;
    MucItem item = {};
    std::vector<MucStatus> statuses = {};
    std::string extra = {};  // <destroy/>
  };
  // To `own` as its own going, to all others as they may see it.
  void TellGone(RoomOutputs& out, const Occupant& occupant, std::vector<Jid> own,
                const Going& going) const;
  void TellGoneToSelf(RoomOutputs& out, const Occupant& occupant, std::vector<Jid> own,
                      const Going& going) const;
  void Expel(RoomOutputs& out, Occupant& occupant, const Going& going);

  // --- room_messages.cc
  void Message(RoomOutputs& out, const Parcel& message);
  void Groupchat(RoomOutputs& out, const Parcel& message);
  void SetSubject(RoomOutputs& out, const Occupant& by, const Parcel& message, std::string text);
  // To all, into the history and the archive. `content`: cleaned, without marks.
  void Publish(RoomOutputs& out, Parcel message, std::string content);
  void Remember(Said said);
  void Private(RoomOutputs& out, const Parcel& message);
  void ToRoom(RoomOutputs& out, const Parcel& message);
  void Invite(RoomOutputs& out, const Parcel& message, const XmlElement& x);
  bool MayInvite(const Occupant& by) const;
  std::string InvitationXml(const Occupant& by, const XmlElement& invite) const;
  void Decline(RoomOutputs& out, const Parcel& message, const XmlElement& decline) const;
  void Voice(RoomOutputs& out, Occupant& by, const Parcel& message, const DataForm& form);
  void AskForVoice(RoomOutputs& out, const Occupant& by) const;
  void Error(RoomOutputs& out, const Parcel& error);

  // --- room_admin.cc
  void Admin(RoomOutputs& out, const Parcel& iq, const XmlElement& query);
  void List(RoomOutputs& out, const Parcel& iq, const XmlElement& item) const;
  bool MayList(const Parcel& iq, std::optional<Affiliation> affiliation,
               std::optional<Role> role) const;
  std::expected<std::vector<Item>, StanzaError> ReadItems(const XmlElement& query) const;
  std::expected<Item, StanzaError> ReadItem(const XmlElement& element) const;
  std::optional<StanzaError> RefusalOf(const Parcel& iq, const Item& item) const;
  std::optional<StanzaError> RefusalOfAll(const Parcel& iq, const std::vector<Item>& items) const;
  void AddWrites(WriteBatch& batch, const std::vector<Item>& items) const;
  Standing StandingOf(const Jid& who) const;
  void Apply(RoomOutputs& out, const Item& item, std::string_view actor);
  void SetRole(RoomOutputs& out, Occupant& occupant, Role role, std::string_view reason,
               std::string_view actor);
  void SetAffiliation(RoomOutputs& out, const Item& item, std::string_view actor);
  void WriteAffiliation(WriteBatch& batch, std::string_view jid, const Member& member) const;
  void PutMember(const std::string& jid, Member member);
  std::string NickOf(const Jid& from) const;

  // --- room_owner.cc
  void Owner(RoomOutputs& out, const Parcel& iq, const XmlElement& query);
  void Configure(RoomOutputs& out, const Parcel& iq, const XmlElement& x);
  std::expected<std::vector<Item>, StanzaError> ReadLists(const DataForm& form) const;
  void Reconfigure(RoomOutputs& out, RoomConfig config);
  void DestroyBy(RoomOutputs& out, const Parcel& iq, const XmlElement& destroy);
  void End(RoomOutputs& out, const std::string& destroy_xml);
  WriteBatch WritesOf(const RoomConfig& config) const;

  // --- room_queries.cc
  void Iq(RoomOutputs& out, const Parcel& iq);
  void IqToRoom(RoomOutputs& out, const Parcel& iq);
  void IqToOccupant(RoomOutputs& out, const Parcel& iq);
  void IqAnswer(RoomOutputs& out, const Parcel& answer) const;
  void Info(RoomOutputs& out, const Parcel& iq, const XmlElement& query) const;
  void Items(RoomOutputs& out, const Parcel& iq) const;
  void Moderate(RoomOutputs& out, const Parcel& iq, const XmlElement& moderate);

  const Jid jid_;
  const RoomGround& ground_;
  RoomConfig config_;
  const std::string secret_;
  bool locked_ = false;
  bool destroyed_ = false;
  bool ordered_ = false;                              // it deals with an order
  std::vector<std::unique_ptr<Occupant>> occupants_;  // in the order of their coming
  std::unordered_map<std::string, Occupant*> by_nick_;
  std::unordered_map<std::string, Occupant*> by_session_;
  std::map<std::string, Member, std::less<>> members_;  // by bare JID; not those with none
  std::deque<Said> said_;
  size_t said_bytes_ = 0;
  Subject subject_;
};

// A stanza of a room's, without an addressee yet.
Parcel RoomStanza(StanzaKind kind, StanzaType type, const Jid& from, std::string content,
                  std::string_view id = {});

}  // namespace server
