// stanza …: stanzas sent in a user's name, and the last of what the user sent and got.
#include <algorithm>
#include <array>
#include <atomic>
#include <utility>

#include "net/base/wall_clock.h"
#include "server/program/xmpp_commands.h"
#include "server/store/rows.h"
#include "server/xmpp/date_time.h"
#include "server/xmpp/xml_text.h"

namespace server {
namespace {

constexpr uint64_t kLastMessagesMax = 500;  // of getLastMessages

std::string RandomId(int64_t unix_us) {
  static std::atomic<uint64_t> count{0};
  return "order-" + std::to_string(unix_us) + "-" + std::to_string(++count);
}

void Child(std::string& xml, std::string_view name, std::string_view text) {
  ((xml += '<') += name) += '>';
  AppendXmlContent(xml, text);
  ((xml += "</") += name) += '>';
}

// `xml` in the name of `at.user`; the answer has its id.
void Send(CommandCall call, const HomeOf& at, const std::string& xml, std::string id) {
  auto stanza = ParseStanza(xml, kClientSpace);
  if (!stanza) return call.Fault("The text is none of XML", "invalid_stanza");
  at.home.SendAs(
      at.user, std::move(*stanza),
      [call = std::move(call), from = at.user, id = std::move(id)](std::string error) mutable {
        if (error.empty()) {
          CtlJson result = CtlJson::Object();
          result.Set("id", CtlJson::Text(id));
          return call.Result(std::move(result));
        }
        const std::string condition = ConditionOf(error);
        if (condition == "item-not-found") return call.NoSuchUser(from);
        call.Fault("It was not sent: " + condition, condition);
      });
}

// Who sends: an account of ours.
std::optional<Jid> Sender(CommandCall& call, std::string_view text) {
  const auto from = Jid::Parse(text);
  if (!from || from->local().empty()) {
    call.Fault("Invalid sender JID", "invalid_sender", {{"from", std::string(text)}});
    return std::nullopt;
  }
  if (std::ranges::find(call.ground().domains, from->domain()) == call.ground().domains.end()) {
    call.Fault("User's domain does not exist", "unknown_user", {{"from", from->full()}});
    return std::nullopt;
  }
  return from;
}

void SendMessage(CommandCall call, const HomeOf& at, bool headline) {
  const auto to = call.Address("to");
  if (!to) return;
  const std::string id = RandomId(net::UnixUs());
  std::string xml = "<message xmlns='jabber:client'";
  AppendXmlAttribute(xml, "type", headline ? "headline" : "chat");
  AppendXmlAttribute(xml, "to", to->full());
  AppendXmlAttribute(xml, "id", id);
  xml += '>';
  if (call.Has("subject")) Child(xml, "subject", call.Text("subject"));
  if (call.Has("body")) Child(xml, "body", call.Text("body"));
  Send(std::move(call), at, xml + "</message>", id);
}

// Who sends the stanza that is given.
std::optional<Jid> StanzaSender(CommandCall& call) {
  const auto stanza = ParseStanza(call.Text("stanza"), kClientSpace);
  const XmlElement root = stanza ? stanza->root() : XmlElement();
  if (!root || root.space() != kClientSpace ||
      (root.name() != "message" && root.name() != "presence" && root.name() != "iq")) {
    call.Fault("The stanza is no message, presence or iq", "invalid_stanza");
    return std::nullopt;
  }
  if (!root.Find("from")) {
    call.Fault("Missing sender JID", "no_sender");
    return std::nullopt;
  }
  return Sender(call, root.Attribute("from"));
}

void SendStanza(CommandCall call, const HomeOf& at) {
  const std::string xml = call.Text("stanza");
  const auto stanza = ParseStanza(xml, kClientSpace);
  const XmlElement root = stanza->root();
  const auto to = root.Find("to");
  if (!to) return call.Fault("Missing recipient JID", "no_recipient");
  if (!Jid::Parse(*to)) return call.Fault("Invalid recipient JID", "invalid_recipient");
  std::string id(root.Attribute("id"));
  if (!id.empty()) return Send(std::move(call), at, xml, std::move(id));
  id = RandomId(net::UnixUs());
  std::string with_id = "<" + std::string(root.name()) + " xmlns='jabber:client'";
  for (const auto& [name, value] : root.Attributes()) {
    if (name != "id") AppendXmlAttribute(with_id, name, value);
  }
  AppendXmlAttribute(with_id, "id", id);
  with_id += '>';
  for (XmlElement child = root.FirstChild(); child; child = child.Next()) {
    child.AppendTo(with_id, kClientSpace);
  }
  ((with_id += "</") += root.name()) += '>';
  Send(std::move(call), at, with_id, std::move(id));
}

// To one of the user's own sessions, as if somebody had sent it.
void SendToSession(CommandCall call, const HomeOf& at) {
  const auto stanza = ParseStanza(call.Text("stanza"), kClientSpace);
  if (!stanza || at.user.is_bare()) {
    return call.Fault("That is no session, or no stanza", "invalid_stanza");
  }
  std::string xml;
  stanza->AppendTo(xml, kClientSpace, {.from = at.user.full()});
  at.home.SendAs(at.user, *ParseStanza(xml, kClientSpace),
                 [call = std::move(call)](std::string error) mutable {
                   if (error.empty()) return call.Result("Stanza sent");
                   call.Fault("It was not sent: " + ConditionOf(error), ConditionOf(error));
                 });
}

// A part of other commands: a stanza as it stands, of a session where one is named.
void SendPart(CommandCall call, const HomeOf& at) {
  Send(std::move(call), at, call.Text("stanza"), {});
}

void GetLastMessages(CommandCall call, const HomeOf& at) {
  ArchiveQuery query{.owner = std::string(at.user.bare()), .backwards = true};
  if (call.Has("with")) {
    const auto with = call.Address("with");
    if (!with) return;
    query.with = with->full();
  }
  const auto before = call.Time("before");
  if (!before) return;
  query.end_us = *before;
  query.most = static_cast<uint32_t>(std::min(call.Number("limit", 50), kLastMessagesMax));
  WithAccount(std::move(call), at.store, at.user,
              [query = std::move(query), &store = at.store](CommandCall c, LoadedUser) mutable {
                const uint32_t most = query.most;
                store.Archive(
                    std::move(query),
                    [c = std::move(c), most](std::expected<ArchivePage, StoreError> page) mutable {
                      if (!page) return c.StoreFailed(page.error());
                      CtlJson stanzas = CtlJson::List();
                      for (const ArchiveEntry& entry : page->entries) {
                        stanzas.Add(ArchiveEntryJson(entry));
                      }
                      CtlJson result = CtlJson::Object();
                      result.Set("stanzas", std::move(stanzas));
                      result.Set("limit", CtlJson::Count(most));
                      c.Result(std::move(result));
                    });
              });
}

std::optional<Jid> From(CommandCall& call) { return Sender(call, call.Text("from")); }

constexpr std::array kStanzaCommands = std::to_array<XmppCommand>({
    {"stanza", "sendMessage",
     AtHome{From, [](CommandCall c, const HomeOf& at) { SendMessage(std::move(c), at, false); }}},
    {"stanza", "sendMessageHeadLine",
     AtHome{From, [](CommandCall c, const HomeOf& at) { SendMessage(std::move(c), at, true); }}},
    {"stanza", "sendStanza", AtHome{StanzaSender, SendStanza}},
    {"stanza", "getLastMessages",
     AtHome{[](CommandCall& c) { return Sender(c, c.Text("caller")); }, GetLastMessages}},
    {"flat", "sendStanza", AtHome{[](CommandCall& c) { return c.User("user"); }, SendToSession}},
    {"flat", "sendPart", AtHome{From, SendPart}},
});

}  // namespace

CtlJson ArchiveEntryJson(const ArchiveEntry& entry) {
  const auto read = ParseStanza(entry.xml, kClientSpace);
  const auto sender = read ? Jid::Parse(read->root().Attribute("from")) : std::nullopt;
  CtlJson json = CtlJson::Object();
  json.Set("sender",
           CtlJson::Text(sender ? sender->full() : (entry.outgoing ? entry.owner : entry.peer)));
  json.Set("timestamp",
           CtlJson::Text(DateTimeText(static_cast<int64_t>(entry.id >> kArchiveIdNodeBits))));
  json.Set("stanza_id", CtlJson::Text(std::to_string(entry.id)));
  json.Set("stanza", CtlJson::Text(entry.xml));
  return json;
}

void SendFrom(CommandGround& ground, const Jid& from, std::string xml, CtlDone done) {
  DoPart(ground, "flat", "sendPart", {{"from", from.full()}, {"stanza", std::move(xml)}},
         std::move(done));
}

std::span<const XmppCommand> StanzaCommands() { return kStanzaCommands; }

}  // namespace server
