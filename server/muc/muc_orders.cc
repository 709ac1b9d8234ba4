// What operators order of rooms: IQs from a room's own address, which nobody else has, so that all
// of a room's rules hold and what it answers finds its way back here.
#include <utility>

#include "server/muc/muc_host.h"
#include "server/muc/muc_xml.h"

namespace server {
namespace {

constexpr size_t kOrdersMax = 1'000;  // that are not answered

constexpr std::string_view kPersistent =
    "<field var='FORM_TYPE'><value>http://jabber.org/protocol/muc#roomconfig</value></field>"
    "<field var='muc#roomconfig_persistentroom'><value>1</value></field>";

}  // namespace

void MucHost::Ask(const Jid& room, StanzaType type, std::string xml, Ordered ordered) {
  PutOrder(room, type, std::move(xml), {.ordered = std::move(ordered), .owner = std::nullopt});
}

void MucHost::Make(const Jid& room, const Jid& owner, bool stays, Ordered ordered) {
  std::string xml =
      "<query xmlns='http://jabber.org/protocol/muc#owner'>"
      "<x xmlns='jabber:x:data' type='submit'>";
  if (stays) xml += kPersistent;
  PutOrder(room, StanzaType::kSet, xml + "</x></query>",
           {.ordered = std::move(ordered), .owner = owner.Bare()});
}

const Room* MucHost::Peek(const std::string& jid) const {
  const auto at = rooms_.find(jid);
  return at == rooms_.end() ? nullptr : at->second.room.get();
}

void MucHost::PutOrder(const Jid& room, StanzaType type, std::string xml, Order order) {
  const Turn turn(*this);
  const auto read = ParseStanza(xml, kClientSpace);
  if (!read) return order.ordered(StanzaType::kError, ErrorXml(StanzaError::kBadRequest));
  if (orders_.size() >= kOrdersMax) {
    return order.ordered(StanzaType::kError,
                         ErrorXml(ErrorType::kWait, StanzaError::kResourceConstraint,
                                  "too many orders wait for rooms"));
  }
  Parcel iq{.kind = StanzaKind::kIq,
            .type = type,
            .from = room,
            .to = room,
            .id = "order-" + std::to_string(++last_order_),
            .content = std::make_shared<const std::string>(std::move(xml)),
            .iq_name = std::string(read->root().name()),
            .iq_space = std::string(read->root().space())};
  orders_.emplace(iq.id, std::move(order));
  Route(std::move(iq));
}

// Null where it is none: nothing else comes from the address that it goes to.
MucHost::Order* MucHost::OrderOf(const Parcel& parcel) {
  const bool own = parcel.kind == StanzaKind::kIq && parcel.from == parcel.to &&
                   (parcel.type == StanzaType::kGet || parcel.type == StanzaType::kSet);
  if (!own) return nullptr;
  const auto at = orders_.find(parcel.id);
  return at == orders_.end() ? nullptr : &at->second;
}

void MucHost::Obey(const std::string& jid, Room& room, const Parcel& parcel, const Order& order) {
  if (!order.owner) return Do(jid, room.Order(parcel));
  // One is to be made that is there.
  if (room.AffiliationOf(order.owner->full()) != Affiliation::kOwner) {
    return Bounce(parcel, ErrorXml(StanzaError::kConflict, "there is such a room"));
  }
  AnswerIq(parcel, {});
}

bool MucHost::TakeAnswer(const RoomOut& out) {
  const bool answer =
      out.stanza.kind == StanzaKind::kIq && out.to.size() == 1 &&
      out.to.front() == out.stanza.from &&
      (out.stanza.type == StanzaType::kResult || out.stanza.type == StanzaType::kError);
  if (!answer) return false;
  auto order = orders_.extract(out.stanza.id);
  if (!order) return false;
  order.mapped().ordered(out.stanza.type, std::string(out.stanza.content_view()));
  return true;
}

}  // namespace server
