#include <algorithm>

#include "net/base/base64.h"
#include "server/im/roster_item.h"
#include "server/transfer/xep0227.h"
#include "server/xmpp/date_time.h"
#include "server/xmpp/forwarded.h"
#include "server/xmpp/xml_text.h"

namespace server {
namespace {

void AppendElement(std::string& out, std::string_view name, std::string_view text) {
  ((out += '<') += name) += '>';
  AppendXmlContent(out, text);
  ((out += "</") += name) += '>';
}

void AppendKeys(std::string& out, ScramHash hash, const ScramKeys& keys) {
  out += "<scram-credentials xmlns='urn:xmpp:pie:0#scram'";
  AppendXmlAttribute(out, "mechanism", ScramName(hash));
  out += '>';
  AppendElement(out, "iter-count", std::to_string(keys.iterations));
  AppendElement(out, "salt", net::Base64Encode(keys.salt));
  AppendElement(out, "server-key", net::Base64Encode(keys.server_key));
  AppendElement(out, "stored-key", net::Base64Encode(keys.stored_key));
  out += "</scram-credentials>";
}

// A request alone makes no contact.
bool IsContact(const RosterItem& item) { return item.subscription != Subscription::kRemove; }

// With the time that it was kept at, where it does not say it.
void AppendKept(std::string& out, const OfflineEntry& entry) {
  static constexpr std::string_view kEnd = "</message>";
  AppendClientStanza(out, entry.xml);
  if (!out.ends_with(kEnd) || entry.xml.find("'urn:xmpp:delay'") != std::string::npos) return;
  out.resize(out.size() - kEnd.size());
  out += "<delay xmlns='urn:xmpp:delay'";
  AppendXmlAttribute(out, "stamp", DateTimeText(static_cast<int64_t>(entry.id >> 8U)));
  (out += "/>") += kEnd;
}

}  // namespace

void AppendXep0227Start(std::string& out) {
  out += "<?xml version='1.0' encoding='UTF-8'?>\n<server-data";
  AppendXmlAttribute(out, "xmlns", kPieSpace);
  out += ">\n";
}

void AppendXep0227Host(std::string& out, std::string_view domain) {
  out += "<host";
  AppendXmlAttribute(out, "jid", domain);
  out += ">\n";
}

void AppendXep0227User(std::string& out, std::string_view local, const LoadedUser& user) {
  out += "<user";
  AppendXmlAttribute(out, "name", local);
  if (!user.account.banned.empty()) {
    AppendXmlAttribute(out, "xmlns:edge", "urn:mongoose-edge:transfer");
    AppendXmlAttribute(out, "edge:banned", user.account.banned);
  }
  out += '>';
  for (size_t i = 0; i < kScramHashes; ++i) {
    if (user.account.keys[i]) AppendKeys(out, static_cast<ScramHash>(i), *user.account.keys[i]);
  }
  out += "<query xmlns='jabber:iq:roster'";
  AppendXmlAttribute(out, "version", std::to_string(user.roster_version));
  out += '>';
  for (const RosterItem& item : user.roster) {
    if (IsContact(item)) AppendRosterItem(out, item);
  }
  out += "</query>";
  for (const RosterItem& item : user.roster) {
    if (!item.pending_in) continue;
    out += "<presence xmlns='jabber:client' type='subscribe'";
    AppendXmlAttribute(out, "from", item.jid);
    ((out += '>') += item.request) += "</presence>";
  }
  if (user.blocked.empty()) return;
  out += "<blocklist xmlns='urn:xmpp:blocking'>";
  for (const std::string& jid : user.blocked) {
    out += "<item";
    AppendXmlAttribute(out, "jid", jid);
    out += "/>";
  }
  out += "</blocklist>";
}

void AppendXep0227Offline(std::string& out, const OfflineEntry& entry) { AppendKept(out, entry); }

void AppendXep0227Archived(std::string& out, const ArchiveEntry& entry) {
  out += "<result xmlns='urn:xmpp:mam:2'";
  AppendXmlAttribute(out, "id", std::to_string(entry.id));
  out += '>';
  AppendForwarded(out, entry.xml, static_cast<int64_t>(entry.id >> 8U));
  out += "</result>";
}

}  // namespace server
