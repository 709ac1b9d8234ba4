#include "server/modules/private_storage.h"

#include "server/modules/guards.h"
#include "server/xmpp/xml_text.h"

namespace server {
namespace {

constexpr std::string_view kPrivateSpace = "jabber:iq:private";

// "A proper namespace": one of its own.
bool IsProper(const XmlElement& element) {
  return !element.space().empty() && element.space() != kPrivateSpace;
}

void Put(ModuleGround& ground, const PrivateStorageOptions& options, IqCall call) {
  WriteBatch batch;
  const std::string user = call.account().user().full();
  const XmlElement query = call.payload();
  for (XmlElement child = query ? query.FirstChild() : query; child; child = child.Next()) {
    if (!IsProper(child)) return call.Error(StanzaError::kNotAcceptable);
    PutPrivate put{.user = user,
                   .name = std::string(child.name()),
                   .space = std::string(child.space()),
                   .xml = {},
                   .most = options.elements_max};
    child.AppendTo(put.xml, {});
    if (put.xml.size() > options.element_bytes_max || batch.size() == kPrivateElementsMax) {
      return call.Error(StanzaError::kPolicyViolation, "too large");
    }
    batch.emplace_back(std::move(put));
  }
  if (batch.empty()) return call.Error(StanzaError::kNotAcceptable);
  ground.store.Write(std::move(batch), [call = std::move(call)](
                                           std::expected<std::monostate, StoreError> done) mutable {
    if (done) return call.Result();
    if (done.error() != StoreError::kConflict) return call.StoreFailed(done.error());
    call.Error(StanzaError::kNotAllowed, "the account keeps as many elements as it may");
  });
}

void GetElement(ModuleGround& ground, IqCall call) {
  const XmlElement query = call.payload();
  const XmlElement asked = query ? query.FirstChild() : query;
  if (!asked) return call.Error(StanzaError::kBadRequest);
  if (asked.Next()) return call.Error(StanzaError::kBadRequest, "one element a request");
  if (!IsProper(asked)) return call.Error(StanzaError::kNotAcceptable);
  std::string name(asked.name());
  std::string space(asked.space());
  std::string nothing = "<" + name;
  AppendXmlAttribute(nothing, "xmlns", space);
  nothing += "/>";
  std::string user = call.account().user().full();
  ground.store.Private(std::move(user), std::move(name), std::move(space),
                       [call = std::move(call), nothing = std::move(nothing)](
                           std::expected<std::string, StoreError> xml) mutable {
                         if (!xml) return call.StoreFailed(xml.error());
                         call.Result("<query xmlns='jabber:iq:private'>" +
                                     (xml->empty() ? nothing : *xml) + "</query>");
                       });
}

}  // namespace

void AddPrivateStorage(IqTable& table, ModuleGround& ground, const PrivateStorageOptions& options) {
  if (!options.enabled) return;
  table.Add(IqTarget::kAccount, "query", kPrivateSpace, OwnerOnly([&ground, options](IqCall call) {
              call.is_set() ? Put(ground, options, std::move(call))
                            : GetElement(ground, std::move(call));
            }));
  table.Feature(IqTarget::kServer, kPrivateSpace);
  table.Feature(IqTarget::kAccount, kPrivateSpace);
}

}  // namespace server
