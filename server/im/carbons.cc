#include "server/im/carbons.h"

#include <algorithm>
#include <functional>

#include "server/xmpp/xml_text.h"

namespace server {

bool Carbons::Set(HomeSession& session, std::string_view name) {
  if (name != "enable" && name != "disable") return false;
  session.carbons = name == "enable";
  return true;
}

uint64_t Carbons::KeyOf(const Jid& sender, const Jid& to, std::string_view id) {
  const std::hash<std::string_view> hash;
  return (hash(sender.full()) * 31 + hash(to.full())) * 31 + hash(id) + 1;
}

void Carbons::Copy(const User& user, const HomeSession& to, std::string_view wrapper,
                   const Parcel& message, std::string_view extra) {
  Delivery delivery;
  delivery.kind = StanzaKind::kMessage;
  delivery.message_of_people = !message.traits.chat_state;
  if (message.traits.chat_state) {
    ((delivery.replaces = "chat-state:") += wrapper) += message.to.bare();
  }
  std::string& xml = delivery.xml;
  xml.reserve(message.content_view().size() + 512);
  xml += "<message";
  AppendXmlAttribute(xml, "from", user.jid.full());
  AppendXmlAttribute(xml, "to", user.FullOf(to).full());
  const std::string_view type = ToString(message.type);
  if (!type.empty()) AppendXmlAttribute(xml, "type", type);
  (xml += "><") += wrapper;
  AppendXmlAttribute(xml, "xmlns", kCarbonsSpace);
  xml += "><forwarded xmlns='urn:xmpp:forward:0'>";
  AppendParcel(xml, message, extra, kClientSpace);
  ((xml += "</forwarded></") += wrapper) += "></message>";
  core_.Deliver(to.id, std::move(delivery));
}

void Carbons::Sent(const User& user, const HomeSession& by, const Parcel& message,
                   std::string_view extra) {
  bool copied = false;
  for (const HomeSession& session : user.sessions) {
    if (!session.carbons || session.id == by.id) continue;
    // Of the user's own sessions the one that it is for gets the message itself.
    if (message.to.bare() == user.jid.full() &&
        (message.to.is_bare() || message.to.resource() == session.resource)) {
      continue;
    }
    Copy(user, session, "sent", message, extra);
    copied = true;
  }
  if (copied && !message.id.empty()) {
    const uint64_t key = KeyOf(message.from, message.to, message.id);
    copied_[key % copied_.size()] = key;
  }
}

void Carbons::Received(const User& user, std::span<const SessionId> got, const Parcel& message,
                       std::string_view extra) {
  const bool own = message.from.bare() == user.jid.full();
  for (const HomeSession& session : user.sessions) {
    if (!session.carbons || std::ranges::find(got, session.id) != got.end()) continue;
    // Who sent it knows it, and who saw it sent has a copy.
    if (own) continue;
    Copy(user, session, "received", message, extra);
  }
}

bool Carbons::AnswersCopied(const Parcel& error) const {
  if (error.id.empty()) return false;
  const uint64_t key = KeyOf(error.to, error.from, error.id);
  return copied_[key % copied_.size()] == key;
}

}  // namespace server
