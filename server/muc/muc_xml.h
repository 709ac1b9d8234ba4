// What rooms say and read in XML (XEP-0045): items, statuses, what of a sender's content may not
// go on.
//
// Pure; thread-safe.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "server/im/parcel.h"
#include "server/muc/standing.h"
#include "server/xmpp/stanza.h"

namespace server {

inline constexpr std::string_view kMucSpace = "http://jabber.org/protocol/muc";
inline constexpr std::string_view kMucUserSpace = "http://jabber.org/protocol/muc#user";
inline constexpr std::string_view kMucAdminSpace = "http://jabber.org/protocol/muc#admin";
inline constexpr std::string_view kMucOwnerSpace = "http://jabber.org/protocol/muc#owner";
inline constexpr std::string_view kMucRequestForm = "http://jabber.org/protocol/muc#request";
inline constexpr std::string_view kMucConfigForm = "http://jabber.org/protocol/muc#roomconfig";
inline constexpr std::string_view kMucInfoForm = "http://jabber.org/protocol/muc#roominfo";
inline constexpr std::string_view kOccupantIdSpace = "urn:xmpp:occupant-id:0";
inline constexpr std::string_view kModerateSpace = "urn:xmpp:message-moderate:1";
inline constexpr std::string_view kRetractSpace = "urn:xmpp:message-retract:1";
inline constexpr std::string_view kDiscoInfoSpace = "http://jabber.org/protocol/disco#info";
inline constexpr std::string_view kDiscoItemsSpace = "http://jabber.org/protocol/disco#items";
inline constexpr std::string_view kPingSpace = "urn:xmpp:ping";

// Section 15.6, those that this service sends.
enum class MucStatus : uint16_t {
  kNonAnonymous = 100,
  kSelf = 110,
  kConfigChanged = 104,
  kLogged = 170,
  kNotLogged = 171,
  kNowNonAnonymous = 172,
  kNowSemiAnonymous = 173,
  kCreated = 201,
  kNickModified = 210,
  kBanned = 301,
  kNewNick = 303,
  kKicked = 307,
  kNotMemberNow = 321,
  kMembersOnlyNow = 322,
  kShutdown = 332,
  kError = 333,  // it went away with an error
};

struct MucItem {
  Affiliation affiliation = Affiliation::kNone;
  Role role = Role::kNone;
  std::string jid = {};  // "": not told
  std::string nick = {};
  std::string actor = {};  // a nick
  std::string reason = {};
};
void AppendItem(std::string& out, const MucItem& item);
void AppendStatus(std::string& out, MucStatus status);
// <x xmlns='…muc#user'>inner</x>
std::string MucUserXml(std::string_view inner);
std::string OccupantIdXml(std::string_view id);

// The children of a parcel, below an element that stands for it. Nothing where they are not
// well-formed.
std::optional<Stanza> ReadContent(std::string_view content);
// The first child that is it.
XmlElement ChildOf(const std::optional<Stanza>& content, std::string_view name,
                   std::string_view space);

// The content without what a room alone may say: <x/> of muc and muc#user, occupant ids, and
// stanza ids and delays in the name of `room` (bare). The same object where there is none of it.
std::shared_ptr<const std::string> CleanContent(const std::shared_ptr<const std::string>& content,
                                                std::string_view room);

}  // namespace server
