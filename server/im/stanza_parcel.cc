#include "server/im/stanza_parcel.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <utility>

#include "server/im/message_bytes.h"

namespace server {
namespace {

constexpr std::string_view kCarbons = "urn:xmpp:carbons:2";
constexpr std::string_view kHints = "urn:xmpp:hints";

struct TypeName {
  std::string_view name;
  StanzaType type;
};
constexpr std::array kMessageTypes = {
    TypeName{"chat", StanzaType::kChat}, TypeName{"error", StanzaType::kError},
    TypeName{"groupchat", StanzaType::kGroupchat}, TypeName{"headline", StanzaType::kHeadline}};
constexpr std::array kPresenceTypes = {TypeName{"", StanzaType::kAvailable},
                                       TypeName{"unavailable", StanzaType::kUnavailable},
                                       TypeName{"subscribe", StanzaType::kSubscribe},
                                       TypeName{"subscribed", StanzaType::kSubscribed},
                                       TypeName{"unsubscribe", StanzaType::kUnsubscribe},
                                       TypeName{"unsubscribed", StanzaType::kUnsubscribed},
                                       TypeName{"probe", StanzaType::kProbe},
                                       TypeName{"error", StanzaType::kError}};
constexpr std::array kIqTypes = {
    TypeName{"get", StanzaType::kGet}, TypeName{"set", StanzaType::kSet},
    TypeName{"result", StanzaType::kResult}, TypeName{"error", StanzaType::kError}};

std::optional<StanzaType> TypeIn(std::span<const TypeName> types, std::string_view name) {
  const auto found = std::ranges::find(types, name, &TypeName::name);
  if (found == types.end()) return std::nullopt;
  return found->type;
}

bool IsEncrypted(const XmlElement& child) {
  return child.Is("encryption", "urn:xmpp:eme:0") ||
         child.Is("encrypted", "eu.siacs.conversations.axolotl") ||
         child.Is("encrypted", "urn:xmpp:omemo:2") || child.Is("openpgp", "urn:xmpp:openpgp:0") ||
         child.Is("x", "jabber:x:encrypted");
}

bool IsReceipt(const XmlElement& child) {
  const std::string_view name = child.name();
  return child.Is("received", "urn:xmpp:receipts") ||
         (child.space() == "urn:xmpp:chat-markers:0" &&
          (name == "received" || name == "displayed" || name == "acknowledged"));
}

void NoteHint(std::string_view name, MessageTraits& traits) {
  if (name == "store") traits.store = true;
  if (name == "no-store") traits.no_store = true;
  if (name == "no-permanent-store") traits.no_permanent = true;
  if (name == "no-copy") traits.no_copy = true;
}

MessageTraits TraitsOf(const XmlElement& message) {
  MessageTraits traits;
  bool subject = false;
  bool chat_state = false;
  bool other = false;  // beside a chat state, a thread and hints
  for (XmlElement child = message.FirstChild(); child; child = child.Next()) {
    if (child.space() == kHints) {
      NoteHint(child.name(), traits);
    } else if (child.space() == "http://jabber.org/protocol/chatstates") {
      chat_state = true;
    } else if (child.Is("private", kCarbons)) {
      traits.private_ = true;
    } else if (!child.Is("thread", kClientSpace)) {
      other = true;
      if (child.Is("body", kClientSpace)) traits.body = true;
      if (child.Is("subject", kClientSpace)) subject = true;
      if (child.space() == kCarbons) traits.carbon = true;
      if (child.Is("x", "http://jabber.org/protocol/muc#user")) traits.muc_user = true;
      if (IsReceipt(child)) traits.receipt = true;
      if (IsEncrypted(child)) traits.encrypted = true;
    }
  }
  traits.subject_only = subject && !traits.body;
  traits.chat_state = chat_state && !other;
  return traits;
}

// Whether a client speaks there in the name of this server.
bool IsForged(const XmlElement& child, std::span<const std::string> domains) {
  if (child.space() == kCarbons) return child.name() == "sent" || child.name() == "received";
  std::string_view by;
  if (child.Is("stanza-id", "urn:xmpp:sid:0")) by = child.Attribute("by");
  if (child.Is("delay", "urn:xmpp:delay")) by = child.Attribute("from");
  if (by.empty()) return false;
  const auto jid = Jid::Parse(by);
  return jid && std::ranges::find(domains, jid->domain()) != domains.end();
}

std::optional<int> PriorityOf(const XmlElement& presence) {
  const XmlElement element = presence.Child("priority", kClientSpace);
  if (!element) return 0;
  const std::string text = element.Text();
  std::string_view digits = text;
  if (digits.starts_with('+')) digits.remove_prefix(1);
  int priority = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), priority);
  if (error != std::errc() || end != digits.data() + digits.size()) return std::nullopt;
  if (priority < -128 || priority > 127) return std::nullopt;
  return priority;
}

// RFC 6120 section 8.2.3.
std::optional<StanzaError> FaultOfIq(const Parcel& iq, size_t children) {
  const bool request = iq.type == StanzaType::kGet || iq.type == StanzaType::kSet;
  if (iq.id.empty()) return StanzaError::kBadRequest;
  if (request && children != 1) return StanzaError::kBadRequest;
  if (iq.type == StanzaType::kResult && children > 1) return StanzaError::kBadRequest;
  return std::nullopt;
}

StanzaKind KindOf(std::string_view name) {
  if (name == "message") return StanzaKind::kMessage;
  return name == "presence" ? StanzaKind::kPresence : StanzaKind::kIq;
}

std::optional<StanzaType> TypeOfStanza(StanzaKind kind, std::string_view name) {
  switch (kind) {
    case StanzaKind::kMessage:  // RFC 6121 section 5.2.2: an unknown type is normal
      return TypeIn(kMessageTypes, name).value_or(StanzaType::kNormal);
    case StanzaKind::kPresence:
      return TypeIn(kPresenceTypes, name);
    case StanzaKind::kIq:
      return TypeIn(kIqTypes, name);
  }
  return std::nullopt;
}

}  // namespace

SentStanza ReadSentStanza(const Stanza& stanza, const Jid& from, SenderMark mark,
                          std::span<const std::string> domains) {
  const XmlElement root = stanza.root();
  const auto to_text = root.Find("to");
  auto to = to_text ? Jid::Parse(*to_text) : std::optional(from.Bare());
  SentStanza sent{.parcel = {.kind = KindOf(root.name()),
                             .type = StanzaType::kNormal,
                             .traits = {},
                             .from = from,
                             .to = to ? std::move(*to) : from.Bare(),
                             .id = std::string(root.Attribute("id")),
                             .lang = std::string(root.lang()),
                             .content = nullptr,
                             .mark = mark,
                             .iq_name = {},
                             .iq_space = {}},
                  .addressed = to_text.has_value(),
                  .priority = 0,
                  .status = {},
                  .error = std::nullopt};
  Parcel& parcel = sent.parcel;
  const auto type = TypeOfStanza(parcel.kind, root.Attribute("type"));
  if (!type) sent.error = StanzaError::kBadRequest;
  parcel.type = type.value_or(StanzaType::kGet);
  if (!to) sent.error = StanzaError::kJidMalformed;

  std::string content;
  size_t children = 0;
  for (XmlElement child = root.FirstChild(); child; child = child.Next(), ++children) {
    if (parcel.kind == StanzaKind::kMessage && IsForged(child, domains)) continue;
    if (parcel.kind == StanzaKind::kIq && children == 0) {
      parcel.iq_name = child.name();
      parcel.iq_space = child.space();
    }
    child.AppendTo(content, kClientSpace);
  }
  if (!content.empty()) parcel.content = ContentOf(parcel.kind, std::move(content));
  if (parcel.kind == StanzaKind::kMessage) parcel.traits = TraitsOf(root);
  parcel.traits.carbon = false;  // those were left out
  if (parcel.kind == StanzaKind::kPresence) {
    const auto priority = PriorityOf(root);
    if (!priority) sent.error = StanzaError::kBadRequest;
    sent.priority = priority.value_or(0);
    if (const XmlElement status = root.Child("status", kClientSpace)) sent.status = status.Text();
  }
  if (parcel.kind == StanzaKind::kIq && !sent.error) sent.error = FaultOfIq(parcel, children);
  return sent;
}

}  // namespace server
