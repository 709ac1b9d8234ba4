// muc …: rooms (XEP-0045). What concerns a room is done where it lives, by the rules of its owners;
// what is said or done in a user's name, at that user's home.
#include <algorithm>
#include <array>
#include <map>
#include <utility>

#include "net/base/ascii.h"
#include "server/modules/guards.h"
#include "server/muc/muc_host.h"
#include "server/muc/muc_xml.h"
#include "server/program/room_config_json.h"
#include "server/program/room_list.h"
#include "server/program/xmpp_commands.h"
#include "server/xmpp/xml_text.h"

namespace server {
namespace {

constexpr uint32_t kRoomsMax = 20'000;      // of listRooms
constexpr uint64_t kRoomsPage = 100;        // of them, where no limit is told
constexpr uint64_t kRoomMessagesMax = 500;  // of getRoomMessages
constexpr std::string_view kInfoQuery = "<query xmlns='http://jabber.org/protocol/disco#info'/>";

void NoRoom(CommandCall call, const Jid& room) {
  call.Fault("Room not found", "room_not_found", {{"room", room.full()}});
}

void Refused(CommandCall call, const Jid& room, const std::string& error_xml) {
  const std::string condition = ConditionOf(error_xml);
  if (condition == "item-not-found") return NoRoom(std::move(call), room);
  const bool busy = condition == "resource-constraint";
  call.Fault("It was not done: " + condition,
             busy                         ? "store_failed"
             : condition == "conflict"    ? "conflict"
             : condition == "forbidden"   ? "not_allowed"
             : condition == "not-allowed" ? "not_allowed"
                                          : condition,
             {{"room", room.full()}});
}

// The room, which is read from the store where nobody is in it; where there is none this has
// answered.
void WithRoom(CommandCall call, const RoomsAt& at,
              std::function<void(CommandCall call, const Room& room)> then) {
  at.rooms.Ask(at.room, StanzaType::kGet, std::string(kInfoQuery),
               [call = std::move(call), &rooms = at.rooms, jid = at.room, then = std::move(then)](
                   StanzaType type, const std::string& content) mutable {
                 if (type != StanzaType::kResult) return Refused(std::move(call), jid, content);
                 const Room* room = rooms.Peek(jid.full());
                 if (room == nullptr) return NoRoom(std::move(call), jid);
                 then(std::move(call), *room);
               });
}

// `text` where the room did it.
void Order(CommandCall call, const RoomsAt& at, std::string xml, std::string text) {
  at.rooms.Ask(at.room, StanzaType::kSet, std::move(xml),
               [call = std::move(call), jid = at.room, text = std::move(text)](
                   StanzaType type, const std::string& content) mutable {
                 if (type == StanzaType::kResult) return call.Result(text);
                 Refused(std::move(call), jid, content);
               });
}

std::string Upper(std::string_view text) {
  std::string upper(text);
  std::ranges::transform(upper, upper.begin(), [](unsigned char c) {
    return static_cast<char>(c >= 'a' && c <= 'z' ? c - ('a' - 'A') : c);
  });
  return upper;
}

// --- What is told.

void ListRoomUsers(CommandCall call, const RoomsAt& at) {
  WithRoom(std::move(call), at, [](CommandCall c, const Room& room) {
    CtlJson list = CtlJson::List();
    room.ForEachOccupant([&](const Jid& full, const std::string& nick, Role role) {
      CtlJson user = CtlJson::Object();
      user.Set("jid", CtlJson::Text(full.full()));
      user.Set("nick", CtlJson::Text(nick));
      user.Set("role", CtlJson::Text(Upper(ToString(role))));
      list.Add(std::move(user));
    });
    c.Result(std::move(list));
  });
}

void ListRoomAffiliations(CommandCall call, const RoomsAt& at) {
  WithRoom(std::move(call), at, [](CommandCall c, const Room& room) {
    const std::string wanted = c.Text("affiliation");
    CtlJson list = CtlJson::List();
    for (const StoredAffiliation& one : room.Stored().affiliations) {
      const std::string affiliation = Upper(one.affiliation);
      if (!wanted.empty() && affiliation != wanted) continue;
      CtlJson line = CtlJson::Object();
      line.Set("jid", CtlJson::Text(one.jid));
      line.Set("affiliation", CtlJson::Text(affiliation));
      list.Add(std::move(line));
    }
    c.Result(std::move(list));
  });
}

void GetRoomMessages(CommandCall call, const RoomsAt& at) {
  const auto before = call.Time("before");
  if (!before) return;
  ArchiveQuery query{.owner = at.room.full(), .end_us = *before, .backwards = true};
  query.most = static_cast<uint32_t>(std::min(call.Number("pageSize", 50), kRoomMessagesMax));
  const uint32_t most = query.most;
  at.store.Archive(std::move(query), [c = std::move(call),
                                      most](std::expected<ArchivePage, StoreError> page) mutable {
    if (!page) return c.StoreFailed(page.error());
    CtlJson stanzas = CtlJson::List();
    for (const ArchiveEntry& entry : page->entries) stanzas.Add(ArchiveEntryJson(entry));
    CtlJson result = CtlJson::Object();
    result.Set("stanzas", std::move(stanzas));
    result.Set("limit", CtlJson::Count(most));
    c.Result(std::move(result));
  });
}

// --- Configuration

void GetRoomConfig(CommandCall call, const RoomsAt& at) {
  WithRoom(std::move(call), at,
           [](CommandCall c, const Room& room) { c.Result(RoomConfigJson(room.config())); });
}

void ChangeRoomConfiguration(CommandCall call, const RoomsAt& at) {
  const auto json = CtlJson::Parse(call.Text("config"));
  if (!json || json->scalar() || json->list()) {
    return call.Fault("A configuration is an object of JSON", "invalid_config");
  }
  const auto form = RoomConfigForm(*json);
  if (!form) return call.Fault(form.error(), "invalid_config");
  at.rooms.Ask(at.room, StanzaType::kSet,
               "<query xmlns='http://jabber.org/protocol/muc#owner'>" + *form + "</query>",
               [call = std::move(call), &rooms = at.rooms, jid = at.room](
                   StanzaType type, const std::string& content) mutable {
                 if (type != StanzaType::kResult) return Refused(std::move(call), jid, content);
                 const Room* room = rooms.Peek(jid.full());
                 if (room == nullptr) return NoRoom(std::move(call), jid);  // nobody was in it
                 call.Result(RoomConfigJson(room->config()));
               });
}

// --- What an owner or a moderator does.

void DeleteRoom(CommandCall call, const RoomsAt& at) {
  std::string xml = "<query xmlns='http://jabber.org/protocol/muc#owner'><destroy>";
  if (call.Has("reason")) AppendXmlElement(xml, "reason", call.Text("reason"));
  at.rooms.Ask(
      at.room, StanzaType::kSet, xml + "</destroy></query>",
      [call = std::move(call), jid = at.room](StanzaType type, const std::string& content) mutable {
        if (type == StanzaType::kResult) return call.Result("Room deleted successfully");
        if (ConditionOf(content) != "item-not-found") {
          return Refused(std::move(call), jid, content);
        }
        call.Fault("Cannot remove non-existent room", "room_not_found", {{"room", jid.full()}});
      });
}

std::string ItemXml(std::string_view attributes, const std::string& reason) {
  std::string xml = "<query xmlns='http://jabber.org/protocol/muc#admin'><item";
  xml += attributes;
  xml += '>';
  if (!reason.empty()) AppendXmlElement(xml, "reason", reason);
  return xml + "</item></query>";
}

// Of an occupant, who must be there.
void SetRole(CommandCall call, const RoomsAt& at, const std::string& role, std::string text) {
  WithRoom(std::move(call), at,
           [at, role, text = std::move(text)](CommandCall c, const Room& room) {
             const std::string nick = c.Text("nick");
             bool there = false;
             room.ForEachOccupant(
                 [&](const Jid&, const std::string& one, Role) { there = there || one == nick; });
             if (!there) {
               return c.Fault("Given user not found", "user_not_found",
                              {{"room", at.room.full()}, {"nick", nick}});
             }
             std::string attributes;
             AppendXmlAttribute(attributes, "nick", nick);
             AppendXmlAttribute(attributes, "role", role);
             std::string xml = ItemXml(attributes, c.Text("reason"));
             Order(std::move(c), at, std::move(xml), text);
           });
}

void KickUser(CommandCall call, const RoomsAt& at) {
  SetRole(std::move(call), at, "none", "Kick message sent successfully");
}

void SetUserRole(CommandCall call, const RoomsAt& at) {
  const std::string role = net::AsciiLower(call.Text("role"));
  if (!ParseRole(role) || role == "none") {
    return call.Fault("A role is VISITOR, PARTICIPANT or MODERATOR", "invalid_role");
  }
  SetRole(std::move(call), at, role, "Role set successfully");
}

void SetUserAffiliation(CommandCall call, const RoomsAt& at) {
  const auto user = call.Address("user");
  if (!user) return;
  const std::string affiliation = net::AsciiLower(call.Text("affiliation"));
  if (!ParseAffiliation(affiliation)) {
    return call.Fault("An affiliation is OWNER, ADMIN, MEMBER, OUTCAST or NONE",
                      "invalid_affiliation");
  }
  std::string attributes;
  AppendXmlAttribute(attributes, "jid", user->Bare().full());
  AppendXmlAttribute(attributes, "affiliation", affiliation);
  Order(std::move(call), at, ItemXml(attributes, {}), "Affiliation set successfully");
}

// --- In a user's name.

std::optional<Jid> Session(CommandCall& call, std::string_view name) {
  auto user = call.User(name);
  if (user && user->is_bare()) {
    call.Fault("Name a session: its address has a resource", "invalid_jid",
               {{std::string(name), user->full()}});
    return std::nullopt;
  }
  return user;
}

std::optional<Jid> Speaker(CommandCall& call) { return Session(call, "from"); }
std::optional<Jid> User(CommandCall& call) { return Session(call, "user"); }

// `text` where it was sent, which says nothing of what the room makes of it.
void Say(CommandCall call, const HomeOf& at, const std::string& xml, std::string text) {
  auto stanza = ParseStanza(xml, kClientSpace);
  if (!stanza) return call.Fault("A text is none of XML", "invalid_stanza");
  at.home.SendAs(at.user, std::move(*stanza),
                 [call = std::move(call), user = at.user,
                  text = std::move(text)](const std::string& error) mutable {
                   if (error.empty()) return call.Result(text);
                   const std::string condition = ConditionOf(error);
                   if (condition == "item-not-found") return call.NoSuchUser(user);
                   call.Fault("It was not sent: " + condition, condition);
                 });
}

// The address of an occupant; else this has answered.
std::optional<Jid> Occupant(CommandCall& call, std::string_view nick) {
  const auto room = call.Room("room");
  if (!room) return std::nullopt;
  auto in_room = room->With(call.Text(nick));
  if (!in_room || in_room->is_bare()) {
    call.Fault("'" + call.Text(nick) + "' is no nick", "invalid_nick");
    return std::nullopt;
  }
  return in_room;
}

std::string Stanza(std::string_view name, std::string_view type, const Jid& to) {
  std::string xml = "<" + std::string(name) + " xmlns='jabber:client'";
  if (!type.empty()) AppendXmlAttribute(xml, "type", type);
  AppendXmlAttribute(xml, "to", to.full());
  return xml += '>';
}

void SendMessageToRoom(CommandCall call, const HomeOf& at) {
  const auto room = call.Room("room");
  if (!room) return;
  std::string xml = Stanza("message", "groupchat", *room);
  AppendXmlElement(xml, "body", call.Text("body"));
  Say(std::move(call), at, xml + "</message>", "Message sent successfully");
}

void SendPrivateMessage(CommandCall call, const HomeOf& at) {
  const auto to = Occupant(call, "toNick");
  if (!to) return;
  std::string xml = Stanza("message", "chat", *to);
  AppendXmlElement(xml, "body", call.Text("body"));
  Say(std::move(call), at, xml + "<x xmlns='http://jabber.org/protocol/muc#user'/></message>",
      "Message sent successfully");
}

std::string EntryXml(const Jid& in_room, const std::string& password) {
  std::string xml = Stanza("presence", {}, in_room) + "<x xmlns='http://jabber.org/protocol/muc'>";
  if (!password.empty()) AppendXmlElement(xml, "password", password);
  return xml + "</x></presence>";
}

void EnterRoom(CommandCall call, const HomeOf& at) {
  const auto to = Occupant(call, "nick");
  if (!to) return;
  const std::string xml = EntryXml(*to, call.Text("password"));
  Say(std::move(call), at, xml, "Entering room message sent successfully");
}

void ExitRoom(CommandCall call, const HomeOf& at) {
  const auto to = Occupant(call, "nick");
  if (!to) return;
  Say(std::move(call), at, Stanza("presence", "unavailable", *to) + "</presence>",
      "Exiting room message sent successfully");
}

void InviteUser(CommandCall call, const RoomsAt& at) {
  const auto sender = call.User("sender");
  if (!sender) return;
  const auto recipient = call.Address("recipient");
  if (!recipient) return;
  WithRoom(std::move(call), at,
           [sender = *sender, recipient = *recipient](CommandCall c, const Room& room) {
             const Affiliation affiliation = room.AffiliationOf(sender.bare());
             const RoomConfig& config = room.config();
             if (room.locked() && affiliation != Affiliation::kOwner) {
               return c.Fault("Room is locked", "internal", {{"room", room.jid().full()}});
             }
             if (affiliation == Affiliation::kOutcast ||
                 (config.members_only && affiliation < Affiliation::kMember)) {
               return c.Fault("Given user does not have permission to invite to this room",
                              "not_allowed", {{"sender", sender.full()}});
             }
             // XEP-0249: from one to the other.
             std::string xml = Stanza("message", {}, recipient) + "<x xmlns='jabber:x:conference'";
             AppendXmlAttribute(xml, "jid", room.jid().full());
             if (config.password_protected) AppendXmlAttribute(xml, "password", config.password);
             if (c.Has("reason")) AppendXmlAttribute(xml, "reason", c.Text("reason"));
             CommandGround& ground = c.ground();
             SendFrom(ground, sender, xml + "/></message>",
                      [c = std::move(c)](CtlAnswer sent) mutable {
                        if (sent.faults.empty()) return c.Result("Invitation sent successfully");
                        c.Answer(std::move(sent));
                      });
           });
}

// --- A room of somebody's who enters it, where the session that is named is there; else it stays
// until its owner comes.

void MakeRoom(CommandCall call, const RoomsAt& at) {
  const auto owner = call.User("owner");
  if (!owner) return;
  at.store.Load(std::string(owner->bare()), [at, call = std::move(call),
                                             owner = *owner](auto loaded) mutable {
    if (!loaded) return call.StoreFailed(loaded.error());
    if (!loaded->exists) {
      return call.Fault("Given user not found", "user_not_found", {{"owner", owner.full()}});
    }
    const bool stays = call.Text("stays") == "true";
    at.rooms.Make(at.room, owner, stays,
                  [call = std::move(call), jid = at.room](StanzaType type,
                                                          const std::string& content) mutable {
                    if (type == StanzaType::kResult) return call.Result(jid.full());
                    Refused(std::move(call), jid, content);
                  });
  });
}

void Made(CommandCall call, const Jid& room) {
  CtlJson json = CtlJson::Object();
  json.Set("jid", CtlJson::Text(room.full()));
  json.Set("title", CtlJson::Text(room.local()));
  json.Set("private", CtlJson::Bool(false));
  json.Set("usersNumber", CtlJson::Number(0));
  call.Result(std::move(json));
}

void CreateInstantRoom(CommandCall call) {
  const auto in_room = Occupant(call, "nick");
  if (!in_room) return;
  const auto owner = call.User("owner");
  if (!owner) return;
  CommandGround& ground = call.ground();
  const auto known = ground.hooks.sessions();
  const bool there = std::ranges::find(known, owner->full(), &KnownSession::full) != known.end();
  DoPart(ground, "flat", "makeRoom",
         {{"room", in_room->Bare().full()},
          {"owner", owner->full()},
          {"stays", there ? "false" : "true"}},
         [&ground, call = std::move(call), in_room = *in_room, owner = *owner,
          there](CtlAnswer made) mutable {
           if (!made.faults.empty()) {
             made.data = CtlJson::Null();
             return call.Answer(std::move(made));
           }
           if (!there) return Made(std::move(call), in_room.Bare());
           SendFrom(ground, owner, EntryXml(in_room, {}),
                    [call = std::move(call), in_room](CtlAnswer sent) mutable {
                      if (sent.faults.empty()) return Made(std::move(call), in_room.Bare());
                      sent.data = CtlJson::Null();
                      call.Answer(std::move(sent));
                    });
         });
}

// --- Rooms of a service: those that live, wherever, and those that are stored.

void RoomsHere(CommandCall call) {
  XmppService& service = call.ground().service;
  const std::string domain = call.Text("mucDomain");
  GatherRooms(service, domain,
              [call = std::move(call)](const std::vector<RoomFacts>& rooms) mutable {
                CtlJson list = CtlJson::List();
                for (const RoomFacts& facts : rooms) {
                  if (list.values().size() == kRoomsMax) break;
                  CtlJson room = CtlJson::Object();
                  room.Set("jid", CtlJson::Text(facts.jid));
                  room.Set("name", CtlJson::Text(facts.name));
                  room.Set("listed", CtlJson::Bool(facts.listed));
                  room.Set("occupants", CtlJson::Count(facts.occupants));
                  list.Add(std::move(room));
                }
                call.Result(std::move(list));
              });
}

CtlAnswer JoinRooms(const CommandCall&, std::vector<NodeAnswer> answers) {
  CtlAnswer all{.data = CtlJson::List(), .faults = {}};
  for (const NodeAnswer& answer : answers) {
    for (const auto& [_, room] : answer.data.values()) all.data.Add(room);
  }
  return all;
}

CtlJson RoomDescJson(const std::string& jid, const std::string& title, int64_t users) {
  CtlJson json = CtlJson::Object();
  json.Set("jid", CtlJson::Text(jid));
  json.Set("title", CtlJson::Text(title));
  json.Set("private", CtlJson::Bool(false));
  json.Set("usersNumber", CtlJson::Number(users));
  return json;
}

struct Listed {
  std::string title;
  int64_t users = 0;
};

void TellRooms(CommandCall call, std::map<std::string, Listed> rooms,
               std::vector<CtlFault> faults) {
  const uint64_t first = call.Number("index", 0);
  const uint64_t most = call.Number("limit", kRoomsPage);
  CtlJson list = CtlJson::List();
  CtlJson from = CtlJson::Null();
  CtlJson to = CtlJson::Null();
  uint64_t i = 0;
  for (const auto& [jid, room] : rooms) {
    const uint64_t at = i++;
    if (at < first || at - first >= most) continue;
    const std::string title = room.title.empty() ? jid.substr(0, jid.find('@')) : room.title;
    if (from.null()) from = CtlJson::Text(title);
    to = CtlJson::Text(title);
    list.Add(RoomDescJson(jid, title, room.users));
  }
  CtlJson payload = CtlJson::Object();
  payload.Set("rooms", std::move(list));
  payload.Set("count", CtlJson::Count(rooms.size()));
  payload.Set("index", CtlJson::Count(first));
  payload.Set("first", std::move(from));
  payload.Set("last", std::move(to));
  call.Answer({.data = std::move(payload), .faults = std::move(faults)});
}

void ListRooms(CommandCall call) {
  const auto service = PrepareDomain(call.Text("mucDomain"));
  const std::vector<std::string>& services = call.ground().services;
  if (!service || std::ranges::find(services, *service) == services.end()) {
    return call.Fault("MUC server not found", "muc_server_not_found",
                      {{"mucDomain", call.Text("mucDomain")}});
  }
  if (!call.Address("from")) return;
  CommandGround& ground = call.ground();
  ground.OnStore([&ground, call = std::move(call), service = *service](StoreClient& store) mutable {
    store.ListedRooms(
        service, {}, kRoomsMax, [&ground, call = std::move(call), service](auto stored) mutable {
          if (!stored) return call.StoreFailed(stored.error());
          DoPart(ground, "flat", "roomFacts", {{"mucDomain", service}},
                 [call = std::move(call), stored = std::move(*stored)](CtlAnswer live) mutable {
                   std::map<std::string, Listed> rooms;
                   for (RoomName& room : stored) rooms[room.jid] = {.title = std::move(room.name)};
                   // Of those that live, what is true now.
                   for (const auto& [_, room] : live.data.values()) {
                     const std::string jid = room.PlainOf("jid");
                     if (room.PlainOf("listed") != "true") {
                       rooms.erase(jid);
                     } else {
                       rooms[jid] = {.title = room.PlainOf("name"),
                                     .users = std::atoll(room.PlainOf("occupants").c_str())};
                     }
                   }
                   TellRooms(std::move(call), std::move(rooms), std::move(live.faults));
                 });
        });
  });
}

constexpr std::array kMucCommands = std::to_array<XmppCommand>({
    {"muc", "changeRoomConfiguration", AtRoom{ChangeRoomConfiguration}},
    {"muc", "createInstantRoom", Anywhere{CreateInstantRoom}},
    {"muc", "deleteRoom", AtRoom{DeleteRoom}},
    {"muc", "enterRoom", AtHome{User, EnterRoom}},
    {"muc", "exitRoom", AtHome{User, ExitRoom}},
    {"muc", "getRoomConfig", AtRoom{GetRoomConfig}},
    {"muc", "getRoomMessages", AtRoom{GetRoomMessages}},
    {"muc", "inviteUser", AtRoom{InviteUser}},
    {"muc", "kickUser", AtRoom{KickUser}},
    {"muc", "listRoomAffiliations", AtRoom{ListRoomAffiliations}},
    {"muc", "listRoomUsers", AtRoom{ListRoomUsers}},
    {"muc", "listRooms", Anywhere{ListRooms}},
    {"muc", "sendMessageToRoom", AtHome{Speaker, SendMessageToRoom}},
    {"muc", "sendPrivateMessage", AtHome{Speaker, SendPrivateMessage}},
    {"muc", "setUserAffiliation", AtRoom{SetUserAffiliation}},
    {"muc", "setUserRole", AtRoom{SetUserRole}},
    {"flat", "makeRoom", AtRoom{MakeRoom}},
    {"flat", "roomFacts", OnAllNodes{RoomsHere, JoinRooms}},
});

}  // namespace

std::span<const XmppCommand> MucCommands() { return kMucCommands; }

}  // namespace server
