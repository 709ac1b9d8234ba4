#include "server/transfer/user_data.h"

#include <algorithm>
#include <charconv>
#include <utility>

#include "server/xmpp/jid.h"

namespace server {
namespace {

constexpr uint64_t kImported = 0xff;  // in the place of a node's number

// Behind the last one: messages of one moment stay in their order.
template <typename Entry>
uint64_t NextId(const std::vector<Entry>& entries, int64_t unix_us) {
  uint64_t id = static_cast<uint64_t>(std::max<int64_t>(unix_us, 1)) << 8U | kImported;
  if (!entries.empty() && id <= entries.back().id) {
    id = ((entries.back().id >> 8U) + 1) << 8U | kImported;
  }
  return id;
}

// One of our own, which names its time.
uint64_t OwnId(std::string_view text, int64_t unix_us) {
  uint64_t id = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), id);
  const bool whole = error == std::errc() && end == text.data() + text.size();
  return whole && id >> 8U == static_cast<uint64_t>(unix_us) ? id : 0;
}

std::string Written(const XmlElement& element) {
  std::string xml;
  element.AppendTo(xml, kClientSpace);
  return xml;
}

template <typename Entry, typename Write>
void AppendSlices(std::vector<WriteBatch>& batches, std::vector<Entry>& entries, Write write) {
  for (size_t i = 0; i < entries.size(); ++i) {
    if (i % kTransferBatch == 0) batches.emplace_back();
    batches.back().emplace_back(write(std::move(entries[i])));
  }
}

}  // namespace

void AddProblem(UserData& data, std::string problem) {
  if (data.problems.size() < kProblemsMax) data.problems.push_back(std::move(problem));
}

RosterItem* RosterItemOf(UserData& data, std::string_view jid) {
  const auto parsed = Jid::Parse(jid);
  if (!parsed || !parsed->is_bare() || parsed->full() == data.user) return nullptr;
  const auto at = std::ranges::find(data.roster, parsed->full(), &RosterItem::jid);
  if (at != data.roster.end()) return &*at;
  RosterItem& item = data.roster.emplace_back();
  item.jid = parsed->full();
  item.subscription = Subscription::kRemove;  // until something makes it a contact
  item.version = data.roster.size();
  return &item;
}

void AddArchived(UserData& data, const XmlElement& message, int64_t unix_us, std::string_view id) {
  const auto from = Jid::Parse(message.Attribute("from"));
  const auto to = Jid::Parse(message.Attribute("to"));
  // Clients leave out what their server knows (RFC 6120 section 8.1.1).
  const bool outgoing = !from || (from->bare() == data.user && to && to->bare() != data.user);
  const auto& peer = outgoing ? to : from;
  ArchiveEntry entry;
  entry.owner = data.user;
  entry.peer = peer ? std::string(peer->bare()) : data.user;
  entry.resource = peer ? std::string(peer->resource()) : std::string();
  entry.outgoing = outgoing;
  entry.origin_id = message.Attribute("id");
  entry.xml = Written(message);
  entry.id = OwnId(id, unix_us);
  if (entry.id == 0 || (!data.archive.empty() && entry.id <= data.archive.back().id)) {
    entry.id = NextId(data.archive, unix_us);
  }
  data.archive.push_back(std::move(entry));
}

void AddOfflineMessage(UserData& data, const XmlElement& message, int64_t unix_us) {
  OfflineEntry entry;
  entry.owner = data.user;
  entry.from = message.Attribute("from");
  entry.xml = Written(message);
  entry.id = NextId(data.offline, unix_us);
  data.offline.push_back(std::move(entry));
}

std::vector<WriteBatch> BatchesOf(UserData data) {
  std::vector<WriteBatch> batches(1);
  WriteBatch& head = batches.front();
  head.emplace_back(CreateAccount{.user = data.user, .account = std::move(data.account)});
  for (RosterItem& item : data.roster) {
    head.emplace_back(PutRosterItem{.user = data.user, .item = std::move(item)});
  }
  for (std::string& jid : data.blocked) {
    head.emplace_back(SetBlocked{.user = data.user, .jid = std::move(jid), .blocked = true});
  }
  if (!data.vcard.empty()) head.emplace_back(PutVcard{.user = data.user, .xml = data.vcard});
  for (PrivateElement& one : data.privates) {
    head.emplace_back(PutPrivate{.user = data.user,
                                 .name = std::move(one.name),
                                 .space = std::move(one.space),
                                 .xml = std::move(one.xml)});
  }
  if (!data.archive_prefs.empty()) {
    head.emplace_back(PutArchivePrefs{.user = data.user, .xml = data.archive_prefs});
  }
  AppendSlices(batches, data.archive,
               [](ArchiveEntry entry) { return AddArchive{.entry = std::move(entry)}; });
  AppendSlices(batches, data.offline,
               [](OfflineEntry entry) { return AddOffline{.entry = std::move(entry), .most = 0}; });
  return batches;
}

}  // namespace server
