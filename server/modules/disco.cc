#include "server/modules/disco.h"

#include <memory>
#include <optional>

#include "server/modules/caps.h"
#include "server/modules/guards.h"
#include "server/xmpp/xml_text.h"

namespace server {
namespace {

constexpr std::string_view kInfoSpace = "http://jabber.org/protocol/disco#info";
constexpr std::string_view kItemsSpace = "http://jabber.org/protocol/disco#items";
constexpr std::string_view kCapsSpace = "http://jabber.org/protocol/caps";
constexpr std::string_view kCapsNode = "urn:mongoose-edge:mongooseim";

DiscoIdentity ServerIdentity(const DiscoOptions& options) {
  return {.category = "server", .type = "im", .name = options.name, .lang = {}};
}

std::string QueryStart(std::string_view space, std::string_view node) {
  std::string xml = "<query";
  AppendXmlAttribute(xml, "xmlns", space);
  if (!node.empty()) AppendXmlAttribute(xml, "node", node);
  return xml += '>';
}

void AppendIdentity(std::string& out, const DiscoIdentity& identity) {
  out += "<identity";
  AppendXmlAttribute(out, "category", identity.category);
  AppendXmlAttribute(out, "type", identity.type);
  if (!identity.name.empty()) AppendXmlAttribute(out, "name", identity.name);
  out += "/>";
}

void AppendFeatures(std::string& out, const std::vector<std::string>& features) {
  for (const std::string& feature : features) {
    out += "<feature";
    AppendXmlAttribute(out, "var", feature);
    out += "/>";
  }
}

std::string ServerVer(const IqTable& table, const DiscoOptions& options) {
  std::vector<DataForm> forms;
  for (const std::string& xml : table.forms()) {
    const auto read = ParseStanza(xml, kClientSpace);
    auto form = read ? ReadDataForm(read->root()) : std::nullopt;
    if (form) forms.push_back(std::move(*form));
  }
  return CapsVer({ServerIdentity(options)}, table.features(IqTarget::kServer), std::move(forms));
}

// What is told of the server, written when it is first asked for: then the table is full.
class ServerInfo {
 public:
  ServerInfo(const IqTable& table, DiscoOptions options)
      : table_(table), options_(std::move(options)) {}

  void Info(IqCall call) {
    Write();
    const XmlElement query = call.payload();
    const std::string node(query ? query.Attribute("node") : std::string_view());
    if (!node.empty() && node != node_) return call.Error(StanzaError::kItemNotFound);
    call.Result(QueryStart(kInfoSpace, node) + info_ + "</query>");
  }

  void Items(IqCall call) const {
    const XmlElement query = call.payload();
    if (query && !query.Attribute("node").empty()) return call.Error(StanzaError::kItemNotFound);
    std::string xml = QueryStart(kItemsSpace, {});
    for (const DiscoItem& item : options_.items) {
      if (!item.domain.empty() && item.domain != call.request().to.domain()) continue;
      xml += "<item";
      AppendXmlAttribute(xml, "jid", item.jid);
      if (!item.name.empty()) AppendXmlAttribute(xml, "name", item.name);
      xml += "/>";
    }
    call.Result(xml += "</query>");
  }

 private:
  void Write() {
    if (!info_.empty()) return;
    AppendIdentity(info_, ServerIdentity(options_));
    AppendFeatures(info_, table_.features(IqTarget::kServer));
    for (const std::string& form : table_.forms()) info_ += form;
    ((node_ = kCapsNode) += '#') += ServerVer(table_, options_);
  }

  const IqTable& table_;
  const DiscoOptions options_;
  std::string info_;
  std::string node_;
};

void InfoOfAccount(const IqTable& table, IqCall call) {
  const XmlElement query = call.payload();
  if (query && !query.Attribute("node").empty()) return call.Error(StanzaError::kItemNotFound);
  std::string xml = QueryStart(kInfoSpace, {});
  AppendIdentity(xml, {.category = "account", .type = "registered", .name = {}, .lang = {}});
  AppendFeatures(xml, table.features(IqTarget::kAccount));
  call.Result(xml += "</query>");
}

void ItemsOfAccount(IqCall call) {
  const XmlElement query = call.payload();
  if (query && !query.Attribute("node").empty()) return call.Error(StanzaError::kItemNotFound);
  call.Result(QueryStart(kItemsSpace, {}) + "</query>");
}

}  // namespace

void AddDisco(IqTable& table, ModuleGround&, const DiscoOptions& options) {
  if (!options.enabled) return;
  const auto server = std::make_shared<ServerInfo>(table, options);
  table.Add(IqTarget::kServer, "query", kInfoSpace,
            GetOnly([server](IqCall call) { server->Info(std::move(call)); }));
  table.Add(IqTarget::kServer, "query", kItemsSpace,
            GetOnly([server](IqCall call) { server->Items(std::move(call)); }));
  table.Add(IqTarget::kAccount, "query", kInfoSpace,
            SeenOnly(GetOnly([&table](IqCall call) { InfoOfAccount(table, std::move(call)); })));
  table.Add(IqTarget::kAccount, "query", kItemsSpace, SeenOnly(GetOnly(&ItemsOfAccount)));
  for (const IqTarget target : {IqTarget::kServer, IqTarget::kAccount}) {
    table.Feature(target, kInfoSpace);
    table.Feature(target, kItemsSpace);
  }
  table.Feature(IqTarget::kServer, kCapsSpace);
}

std::string ServerCaps(const IqTable& table, const DiscoOptions& options) {
  std::string xml = "<c";
  AppendXmlAttribute(xml, "xmlns", kCapsSpace);
  AppendXmlAttribute(xml, "hash", "sha-1");
  AppendXmlAttribute(xml, "node", kCapsNode);
  AppendXmlAttribute(xml, "ver", ServerVer(table, options));
  return xml += "/>";
}

}  // namespace server
