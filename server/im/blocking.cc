#include "server/im/blocking.h"

#include <algorithm>
#include <expected>
#include <optional>
#include <utility>

#include "server/xmpp/xml_text.h"

namespace server {
namespace {

std::string ItemsXml(const std::vector<std::string>& addresses) {
  std::string xml;
  for (const std::string& address : addresses) {
    xml += "<item";
    AppendXmlAttribute(xml, "jid", address);
    xml += "/>";
  }
  return xml;
}

std::string Element(std::string_view name, const std::vector<std::string>& addresses) {
  std::string xml = "<";
  xml += name;
  AppendXmlAttribute(xml, "xmlns", kBlockingSpace);
  if (addresses.empty()) return xml += "/>";
  (xml += '>') += ItemsXml(addresses);
  return ((xml += "</") += name) += '>';
}

// Nothing where one is no address.
std::optional<std::vector<std::string>> Addresses(const XmlElement& order) {
  std::vector<std::string> addresses;
  for (XmlElement item = order.FirstChild(); item; item = item.Next()) {
    if (!item.Is("item", kBlockingSpace)) continue;
    const auto jid = Jid::Parse(item.Attribute("jid"));
    if (!jid) return std::nullopt;
    if (std::ranges::find(addresses, jid->full()) == addresses.end()) {
      addresses.push_back(jid->full());
    }
  }
  return addresses;
}

}  // namespace

std::string BlockedByYouXml() {
  return ErrorXml(ErrorType::kCancel, StanzaError::kNotAcceptable, {},
                  "<blocked xmlns='urn:xmpp:blocking:errors'/>");
}

void Blocking::Handle(User& user, HomeSession& session, IqCall call) {
  const XmlElement payload = call.payload();
  if (!call.is_set()) {
    if (!payload.Is("blocklist", kBlockingSpace)) return call.Error(StanzaError::kBadRequest);
    // Behind the change that was asked for before (RFC 6120 section 10.1).
    return core_.BeginTurn(
        user, [this, id = session.id, call = std::move(call)](User* at, StoreError error) mutable {
          if (at == nullptr) return call.StoreFailed(error);
          if (HomeSession* asks = at->Find(id)) asks->blocklist = true;
          call.Result(Element("blocklist", at->blocked.addresses()));
          core_.EndChange(at->jid.full());
        });
  }
  const bool block = payload.Is("block", kBlockingSpace);
  if (!block && !payload.Is("unblock", kBlockingSpace)) {
    return call.Error(StanzaError::kBadRequest);
  }
  auto addresses = Addresses(payload);
  if (!addresses) return call.Error(StanzaError::kJidMalformed);
  if (block && addresses->empty()) return call.Error(StanzaError::kBadRequest);
  if (block && std::ranges::find(*addresses, user.jid.full()) != addresses->end()) {
    return call.Error(StanzaError::kNotAllowed, "nobody blocks themselves");
  }
  core_.BeginChange(user, [this, order = Order{std::move(*addresses), block},
                           call = std::move(call)](User* at, StoreError error) mutable {
    if (at == nullptr) return call.StoreFailed(error);
    Change(*at, std::move(order), std::move(call));
  });
}

void Blocking::Change(User& user, Order order, IqCall call) {
  WriteBatch batch;
  size_t added = 0;
  for (const std::string& address : order.addresses) {
    if (order.block && !user.blocked.Has(address)) ++added;
    batch.push_back(SetBlocked{.user = user.jid.full(), .jid = address, .blocked = order.block});
  }
  if (user.blocked.addresses().size() + added > core_.limits().blocked) {
    call.ErrorWith(ErrorXml(ErrorType::kModify, StanzaError::kNotAcceptable,
                            "the list has as many addresses as it may"));
    return core_.EndChange(user.jid.full());
  }
  if (order.addresses.empty()) batch.push_back(ClearBlocked{.user = user.jid.full()});
  auto written = [this, bare = user.jid, order,
                  call = std::move(call)](std::optional<StoreError> error) mutable {
    User* at = core_.Find(bare.full());
    if (error) {
      call.StoreFailed(*error);
    } else {
      call.Result();
      if (at != nullptr) Apply(*at, order);
    }
    core_.EndChange(bare.full());
  };
  core_.store().Write(
      std::move(batch),
      core_.InTurn<std::monostate>([this, bare = user.jid, order = std::move(order),
                                    written = std::move(written)](const auto& done) mutable {
        if (done) return written(std::nullopt);
        if (done.error() != StoreError::kUnknown) return written(done.error());
        core_.ReadBack(bare, [order = std::move(order),
                              written = std::move(written)](const LoadedUser& stored) mutable {
          written(IsDone(order, stored.blocked) ? std::nullopt : std::optional(StoreError::kDown));
        });
      }));
}

bool Blocking::IsDone(const Order& order, const std::vector<std::string>& blocked) {
  if (order.addresses.empty()) return blocked.empty();
  return std::ranges::all_of(order.addresses, [&](const std::string& address) {
    return (std::ranges::find(blocked, address) != blocked.end()) == order.block;
  });
}

void Blocking::Apply(User& user, const Order& order) {
  Push(user, order);
  if (order.block) {
    // Who sees the user sees the user leave (section 3.3), before nothing more is said.
    ForVisible(user, order.addresses, true);
    for (const std::string& address : order.addresses) user.blocked.Add(address);
    return;
  }
  const std::vector<std::string> freed =
      order.addresses.empty() ? user.blocked.addresses() : order.addresses;
  for (const std::string& address : freed) user.blocked.Remove(address);
  ForVisible(user, freed, false);
}

// Contacts that what stands in `addresses` is about: they see the user leave, or come.
void Blocking::ForVisible(const User& user, const std::vector<std::string>& addresses, bool block) {
  BlockList changed;
  changed.Set(addresses);
  std::vector<Jid> contacts;
  user.contacts.ForEach(user.jid.domain(), [&](const std::string& jid, const ContactState& state) {
    Jid contact = Jid::OfPrepared(jid);
    if (!changed.Blocks(contact) || user.Blocks(contact)) return;
    if (state.from()) {
      if (block) {
        presences_.Hide(user, contact);
      } else {
        presences_.Show(user, contact);
      }
    }
    // What was not let in meanwhile is asked for.
    if (!block && state.to()) presences_.Probe(user, contact);
  });
  if (!block) return;
  for (const HomeSession& session : user.sessions) {
    if (session.directed == nullptr) continue;
    std::erase_if(*session.directed, [&](const std::string& address) {
      const Jid to = Jid::OfPrepared(address);
      if (!changed.Blocks(to)) return false;
      core_.Route(MakePresence(StanzaType::kUnavailable, user.FullOf(session), to));
      return true;
    });
  }
}

void Blocking::Push(const User& user, const Order& order) {
  ++pushes_;
  const std::string payload = Element(order.block ? "block" : "unblock", order.addresses);
  for (const HomeSession& session : user.sessions) {
    if (!session.blocklist) continue;
    Delivery delivery;
    delivery.kind = StanzaKind::kIq;
    delivery.xml = "<iq type='set'";
    AppendXmlAttribute(delivery.xml, "id", "block" + std::to_string(pushes_));
    AppendXmlAttribute(delivery.xml, "to", user.FullOf(session).full());
    ((delivery.xml += '>') += payload) += "</iq>";
    core_.Deliver(session.id, std::move(delivery));
  }
}

}  // namespace server
