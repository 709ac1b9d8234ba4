// All that is stored of one user, between formats: read from another server's files, or written for
// one; and as writes for a store.
//
// A value. Pure.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "server/store/store.h"
#include "server/xmpp/stanza.h"

namespace server {

struct PrivateElement {
  std::string name;
  std::string space;
  std::string xml;
};

struct UserData {
  std::string user;  // bare JID
  Account account;
  std::string password;  // where it is not known as keys
  std::vector<RosterItem> roster;
  std::vector<std::string> blocked;
  std::string vcard;
  std::vector<PrivateElement> privates;
  std::string archive_prefs;  // XEP-0441
  std::vector<OfflineEntry> offline;
  std::vector<ArchiveEntry> archive;
  std::vector<std::string> problems;  // what could not be taken over, in words
};
inline constexpr size_t kProblemsMax = 20;  // of one user
void AddProblem(UserData& data, std::string problem);

// An item of the roster, made where it is missing; null where `jid` is no bare address.
RosterItem* RosterItemOf(UserData& data, std::string_view jid);
// A message that was kept, with its time: into the archive, in order of time. `id`: as it was
// given out, kept where it is one of ours.
void AddArchived(UserData& data, const XmlElement& message, int64_t unix_us, std::string_view id);
void AddOfflineMessage(UserData& data, const XmlElement& message, int64_t unix_us);

// The first has the account, which must not exist, and all but messages: whole or not at all.
inline constexpr size_t kTransferBatch = 200;  // messages
std::vector<WriteBatch> BatchesOf(UserData data);

}  // namespace server
