// The service itself: what it is, which rooms it lists (XEP-0045 sections 6.2 and 6.3, XEP-0059).
#include <algorithm>
#include <map>
#include <utility>

#include "server/modules/rsm.h"
#include "server/muc/muc_host.h"
#include "server/muc/muc_xml.h"
#include "server/xmpp/xml_text.h"

namespace server {
namespace {

constexpr uint32_t kPage = 100;  // rooms told at once

}  // namespace

void MucHost::Service(const Parcel& parcel) {
  if (parcel.kind == StanzaKind::kPresence || parcel.type == StanzaType::kError ||
      parcel.type == StanzaType::kResult) {
    if (parcel.mark) out_.emplace_back(parcel.mark);
    return;
  }
  if (parcel.type != StanzaType::kGet || !parcel.to.is_bare()) {
    return Bounce(parcel, ErrorXml(StanzaError::kServiceUnavailable));
  }
  const auto content = ReadContent(parcel.content_view());
  const XmlElement payload = content ? content->root().FirstChild() : XmlElement();
  const bool of_node = payload && !payload.Attribute("node").empty();
  if (payload.Is("query", kDiscoInfoSpace)) {
    return of_node ? Bounce(parcel, ErrorXml(StanzaError::kItemNotFound)) : ServiceInfo(parcel);
  }
  if (payload.Is("query", kDiscoItemsSpace)) {
    return of_node ? Bounce(parcel, ErrorXml(StanzaError::kItemNotFound))
                   : ServiceItems(parcel, payload);
  }
  if (payload.Is("ping", kPingSpace)) return AnswerIq(parcel, {});
  Bounce(parcel, ErrorXml(StanzaError::kServiceUnavailable));
}

void MucHost::AnswerIq(const Parcel& iq, std::string content) {
  Send({RoomStanza(StanzaKind::kIq, StanzaType::kResult, iq.to, std::move(content), iq.id),
        {iq.from}});
}

void MucHost::ServiceInfo(const Parcel& iq) {
  std::string xml = "<query";
  AppendXmlAttribute(xml, "xmlns", kDiscoInfoSpace);
  xml += "><identity category='conference' type='text' name='Rooms'/>";
  for (const std::string_view feature :
       {kDiscoInfoSpace, kDiscoItemsSpace, kMucSpace, kRsmSpace, kPingSpace, kOccupantIdSpace}) {
    xml += "<feature";
    AppendXmlAttribute(xml, "var", feature);
    xml += "/>";
  }
  AnswerIq(iq, xml += "</query>");
}

void MucHost::ServiceItems(const Parcel& iq, const XmlElement& query) {
  const auto page = ReadRsm(query.Child("set", kRsmSpace));
  if (!page) return Bounce(iq, ErrorXml(StanzaError::kBadRequest));
  if (page->index || page->before) {
    return Bounce(iq, ErrorXml(StanzaError::kFeatureNotImplemented));
  }
  ListFrom(iq, page->after.value_or(std::string()), std::min(page->max.value_or(kPage), kPage));
}

void MucHost::ListFrom(const Parcel& iq, const std::string& after, uint32_t most) {
  store_.ListedRooms(std::string(iq.to.domain()), after, most + 1,
                     InTurn<std::vector<RoomName>>([this, iq, after, most](auto stored) {
                       if (!stored) {
                         return Bounce(iq,
                                       ErrorXml(ErrorType::kWait, StanzaError::kResourceConstraint,
                                                "the store does not answer"));
                       }
                       TellItems(iq, after, most, std::move(*stored));
                     }));
}

// Of those in memory what is true now, of the others what the store has.
void MucHost::TellItems(const Parcel& iq, const std::string& after, uint32_t most,
                        std::vector<RoomName> stored) {
  std::map<std::string, std::string> rooms;
  // Where the store had more than these, nothing is told from behind them.
  const std::string end = stored.size() > most ? stored.back().jid : std::string();
  for (RoomName& room : stored) {
    const auto live = directory_.Find(room.jid);
    if (!live) rooms.emplace(std::move(room.jid), std::move(room.name));
  }
  for (RoomName& room : directory_.List(iq.to.domain(), after, most + 1)) {
    if (end.empty() || room.jid <= end) rooms.emplace(std::move(room.jid), std::move(room.name));
  }
  if (rooms.empty() && !end.empty()) return ListFrom(iq, end, most);
  std::string xml = "<query";
  AppendXmlAttribute(xml, "xmlns", kDiscoItemsSpace);
  xml += '>';
  RsmResult set{.first = {}, .last = {}, .index = {}, .count = {}};
  uint32_t told = 0;
  for (const auto& [jid, name] : rooms) {
    if (told++ == most) break;
    if (set.first.empty()) set.first = jid;
    set.last = jid;
    xml += "<item";
    AppendXmlAttribute(xml, "jid", jid);
    if (!name.empty()) AppendXmlAttribute(xml, "name", name);
    xml += "/>";
  }
  // Where all are told, their number is known.
  if (after.empty() && end.empty() && rooms.size() <= most) set.count = rooms.size();
  AppendRsm(xml, set);
  AnswerIq(iq, xml += "</query>");
}

}  // namespace server
